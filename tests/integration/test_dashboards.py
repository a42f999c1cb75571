"""Each query of each dashboard finds what it asks for, in databases that a real Icinga 2 has written to."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from memtriage import labels
from memtriage.integration import dashboards, table
from tests.engines.nrpe import free_port
from tests.integration.engines import SYSTEM, Icinga, config, own, program, running

KINDS = ("influxdb", "graphite")
COMMANDS = {"memtriage-" + name[len("check_") :].replace("_", "-"): name for name in table.CHECKS}


def dashboard(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(config(f"grafana-{kind}"))
    return found


def asked(kind: str, target: dict[str, Any]) -> tuple[str, set[str]]:
    """The check and the labels that a query names."""
    if kind == "influxdb":
        match = re.search(r'FROM "([a-z-]+)" .*"metric" =~ /\^\(([a-z0-9_|.*]+)\)\$/\)', target["query"])
        assert match, target
        return COMMANDS[match[1]], {name.replace(".*", "*") for name in match[2].split("|")}
    match = re.fullmatch(r"aliasByNode\(icinga2\.\$host\.services\.\*\.([a-z-]+)\.perfdata\.\{([a-z0-9_,*]+)\}\.value, (?:3, )?6\)",
                         target["target"])
    assert match, target
    return COMMANDS[match[1]], set(match[2].split(","))


@pytest.mark.parametrize("kind", KINDS)
def test_every_query_names_labels_that_exist(kind: str) -> None:
    seen = set()
    for panel in dashboard(kind)["panels"]:
        for target in panel["targets"]:
            check, names = asked(kind, target)
            assert names <= set(labels.LABELS[check[6:].upper()]), (panel["title"], names)
            units = {labels.LABELS[check[6:].upper()][name].unit for name in names}
            shown = panel["fieldConfig"]["defaults"]["unit"]
            assert units == {{"bytes": "B", "binBps": "B", "percent": "%", "s": "s", "none": ""}[shown]}, panel["title"]
            seen.add(check)
    assert seen == set(table.CHECKS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_dashboard_is_laid_out_as_grafana_documents_it(kind: str) -> None:
    found = dashboard(kind)
    assert {"id", "uid", "title", "tags", "timezone", "editable", "graphTooltip", "panels", "time", "timepicker", "templating",
            "annotations", "refresh", "schemaVersion", "version", "links"} <= set(found)
    assert found["id"] is None and [variable["name"] for variable in found["templating"]["list"]] == ["host"]
    places = set()
    for panel in found["panels"]:
        where = panel["gridPos"]
        assert where["x"] + where["w"] <= 24 and panel["type"] == "timeseries" and panel["title"]
        places.add((where["x"], where["y"]))
        assert panel["datasource"] == {"type": kind, "uid": "${DS_ICINGA2}"}
        assert None not in panel["fieldConfig"]["defaults"].values()
        assert [target["refId"] for target in panel["targets"]] == list("ABCDEF"[: len(panel["targets"])])
    assert len(places) == len({panel["id"] for panel in found["panels"]}) == len(found["panels"]) == len(dashboards.PANELS)
    assert found["__inputs"][0]["pluginId"] == kind
    only = json.loads(config(f"grafana-{kind}", "--checks", "check_oom_kill"))
    assert [panel["title"] for panel in only["panels"]] == ["OOM kills that alarm"]


SAMPLES = 30
WIDTH = 700
"""Pixels of half a screen: Grafana asks for about as many buckets."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hours", [1, 6, 24, 7 * 24])
def test_values_are_joined_to_lines_at_the_pace_of_the_checks(kind: str, hours: int) -> None:
    """By Grafana's rule: two values in buckets with empty ones between them are joined where less than spanNulls (ms) lies between."""
    for panel in dashboard(kind)["panels"]:
        every = max(table.PACES[asked(kind, target)[0]].every for target in panel["targets"])
        bucket = max(hours * 3600 / WIDTH, float(panel.get("interval", "0s").rstrip("s")))
        if kind == "graphite":  # its buckets are the storage's, whatever is asked for
            bucket = 10.0
        look = panel["fieldConfig"]["defaults"]["custom"]
        for lost in (0, 1, 3):  # a check that was not run breaks no line
            filled = sorted({int(number * (every + 0.4) // bucket) for number in range(SAMPLES)
                             if not SAMPLES // 2 <= number < SAMPLES // 2 + lost})
            apart = max(after - before for before, after in zip(filled, filled[1:]))
            joined = apart == 1 or apart * bucket * 1000 < look["spanNulls"]
            assert joined == (lost < 3 or bucket > 3 * every), (panel["title"], lost)


class Written(NamedTuple):
    """Where an Icinga 2 has written all labels of all checks."""

    influx: str
    graphite: Path


def everything(check: str) -> str:
    """Perfdata with every label a check may print."""
    names = labels.LABELS[check[6:].upper()]
    return " ".join(f"{name.replace('*', 'dentry')}={number + 1}{'c' if about.unit == 'us' else about.unit}"
                    for number, (name, about) in enumerate(names.items()))


@pytest.fixture(scope="module")
def written() -> Iterator[Written]:
    folder = Path(tempfile.mkdtemp(prefix="memtriage-test-"))  # as pytest's own are not, readable by the engines' users
    folder.chmod(0o755)
    plugins = folder / "plugins"
    plugins.mkdir()
    for check in table.CHECKS:
        (plugins / check).write_text(f"#!/bin/sh\necho 'ALL OK - every label | {everything(check)}'\n")
        (plugins / check).chmod(0o755)
    definitions = folder / "definitions"
    config("icinga2", "--sudo", "none", "--plugin-dir", str(plugins), "-o", f"{definitions}/")
    services = definitions / "memtriage-services.conf"
    services.write_text(re.sub(r"check_interval = \dm", "check_interval = 1s", services.read_text()))
    influx, unused, line, pickled, query = (free_port() for _ in range(5))
    for name in ("influx", "graphite/storage/whisper", "graphite/log"):
        (folder / name).mkdir(parents=True)
    (folder / "influxdb.conf").write_text(
        f'reporting-disabled = true\nbind-address = "127.0.0.1:{unused}"\n[meta]\n  dir = "{folder}/influx/meta"\n[data]\n'
        f'  dir = "{folder}/influx/data"\n  wal-dir = "{folder}/influx/wal"\n[monitor]\n  store-enabled = false\n[http]\n'
        f'  bind-address = "127.0.0.1:{influx}"\n  log-enabled = false\n')
    (folder / "graphite" / "storage-schemas.conf").write_text("[all]\npattern = .*\nretentions = 1s:1h\n")
    (folder / "graphite" / "carbon.conf").write_text(
        f"[cache]\nSTORAGE_DIR = {folder}/graphite/storage\nLOCAL_DATA_DIR = {folder}/graphite/storage/whisper\n"
        f"CONF_DIR = {folder}/graphite\n"
        f"LOG_DIR = {folder}/graphite/log\nPID_DIR = {folder}/graphite\nDATABASE = whisper\nENABLE_LOGROTATION = False\n"
        "MAX_UPDATES_PER_SECOND = 5000\nMAX_CREATES_PER_MINUTE = inf\n"
        f"LINE_RECEIVER_INTERFACE = 127.0.0.1\nLINE_RECEIVER_PORT = {line}\nPICKLE_RECEIVER_INTERFACE = 127.0.0.1\n"
        f"PICKLE_RECEIVER_PORT = {pickled}\nCACHE_QUERY_INTERFACE = 127.0.0.1\nCACHE_QUERY_PORT = {query}\nENABLE_UDP_LISTENER = False\n"
        "WHISPER_AUTOFLUSH = True\n")
    # The writers as Icinga 2's own sample configuration has them.
    icinga = Icinga(folder / "icinga", definitions, more=f"""
        object CheckerComponent "checker" {{ }}
        object Host "hub" {{
          check_command = "dummy"
          vars.os = "Linux"
          vars.memtriage_processes["httpd"] = {{ proc_count_command = "httpd" }}
        }}
        object InfluxdbWriter "influxdb" {{
          port = {influx}
          database = "icinga2"
          flush_interval = 1s
          service_template = {{
            measurement = "$service.check_command$"
            tags = {{
              hostname = "$host.name$"
              service = "$service.name$"
            }}
          }}
        }}
        object GraphiteWriter "graphite" {{ port = {line} }}
        """)
    own(folder / "icinga")
    found = Written(f"http://127.0.0.1:{influx}", folder / "graphite" / "storage" / "whisper")
    try:
        with ExitStack() as stack:
            stack.enter_context(running(program("influxd", "influxdb"), "run", "-config", str(folder / "influxdb.conf"),
                                        log=folder / "i.log"))
            stack.enter_context(running(program("carbon-cache", "graphite-carbon"), "--nodaemon",
                                        f"--config={folder}/graphite/carbon.conf", "start", log=folder / "c.log"))
            for _ in range(600):
                try:
                    ask(found, "CREATE DATABASE icinga2", post=True)
                    break
                except OSError:
                    time.sleep(0.1)
            stack.enter_context(running(*icinga.line, env=icinga.env, log=folder / "icinga.log"))
            wanted = sum(map(len, labels.LABELS.values()))
            for _ in range(300):
                if len(list(found.graphite.rglob("value.wsp"))) >= wanted and len(ask(found, "SHOW SERIES ON icinga2")) >= wanted:
                    break
                time.sleep(0.2)
            yield found
    finally:
        shutil.rmtree(folder)


def ask(where: Written, words: str, post: bool = False) -> list[dict[str, Any]]:
    """The series an InfluxQL query answers with; of a listing its rows."""
    data = urllib.parse.urlencode({"q": words, "db": "icinga2"})
    request = urllib.request.Request(f"{where.influx}/query", data.encode()) if post else f"{where.influx}/query?{data}"
    with urllib.request.urlopen(request, timeout=10) as answer:
        result = json.load(answer)["results"][0]
    assert "error" not in result, result
    series: list[dict[str, Any]] = result.get("series", [])
    return series[0]["values"] if words.startswith("SHOW") and series else series


def filled(names: set[str]) -> set[str]:
    return {name.replace("*", "dentry") for name in names}


@pytest.mark.engine
@pytest.mark.slow
def test_influxdb_answers_every_query_with_every_label(written: Written) -> None:
    found = dashboard("influxdb")
    hosts = ask(written, found["templating"]["list"][0]["query"])
    assert [row[1] for row in hosts] == ["hub"]
    for panel in found["panels"]:
        for target in panel["targets"]:
            words = target["query"].replace("${host:regex}", "hub").replace("$timeFilter", "time > now() - 10m")
            words = words.replace("$__interval", "10s")
            series = ask(written, words)
            assert {item["tags"]["metric"] for item in series} == filled(asked("influxdb", target)[1]), panel["title"]
            assert all(any(row[1] is not None for row in item["values"]) for item in series)
            if "$tag_service" in target["alias"]:
                assert {item["tags"]["service"] for item in series} == {"processes httpd"}


@pytest.mark.engine
@pytest.mark.slow
def test_a_hosts_name_is_no_pattern(written: Written) -> None:
    """Grafana's regex format escapes what stands for something else; without it h.b would be shown with what hub has."""
    line = b"memtriage-oom-kill,hostname=h.b,service=x,metric=kills_hold value=4711"
    with urllib.request.urlopen(urllib.request.Request(f"{written.influx}/write?db=icinga2", line), timeout=10) as answer:
        assert answer.status == 204
    panel, = (panel for panel in dashboard("influxdb")["panels"] if panel["title"] == "OOM kills that alarm")
    words = panel["targets"][0]["query"].replace("$timeFilter", "time > now() - 10m").replace("$__interval", "1h")
    series, = ask(written, words.replace("${host:regex}", "h\\.b"))
    assert {row[1] for row in series["values"]} - {None} == {4711}


RENDER = """
import json, os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "graphite.settings"
import django
from django.conf import settings
settings.ALLOWED_HOSTS = ["*"]
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0, run_syncdb=True)
from django.test import Client
client = Client()
found = {}
for target in json.load(sys.stdin):
    page = "/metrics/find" if target.endswith(".*") else "/render"
    answer = client.get(page, {"query": target} if page == "/metrics/find" else {"target": target, "format": "json", "from": "-10min"})
    assert answer.status_code == 200, (target, answer.content)
    found[target] = json.loads(answer.content)
json.dump(found, sys.stdout)
"""


def rendered(where: Written, targets: list[str]) -> dict[str, list[dict[str, Any]]]:
    """What graphite-web makes of each target."""
    if not Path("/usr/lib/python3/dist-packages/graphite/settings.py").exists():
        pytest.skip("needs graphite-web")
    settings = where.graphite.parents[1] / "memtriage_graphite_settings.py"
    settings.write_text(f"SECRET_KEY = 'x'\nSTORAGE_DIR = {str(where.graphite.parent)!r}\nLOG_DIR = {str(where.graphite.parents[1])!r}\n"
                        f"STANDARD_DIRS = [{str(where.graphite)!r}]\nINDEX_FILE = {str(where.graphite.parents[1] / 'index')!r}\n"
                        "CARBONLINK_HOSTS = []\nDEFAULT_CACHE_DURATION = 0\nFIND_CACHE_DURATION = 0\n"
                        "DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'}}\n")
    done = subprocess.run(["/usr/bin/python3", "-W", "ignore", "-c", RENDER], input=json.dumps(targets), capture_output=True, text=True,
                          timeout=60, check=False,
                          env={**SYSTEM, "PYTHONPATH": str(settings.parent), "GRAPHITE_SETTINGS_MODULE": settings.stem})
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, list[dict[str, Any]]] = json.loads(done.stdout)
    return found


@pytest.mark.engine
@pytest.mark.slow
def test_graphite_answers_every_query_with_every_label(written: Written) -> None:
    found = dashboard("graphite")
    targets = {target["target"].replace("$host", "hub"): target for panel in found["panels"] for target in panel["targets"]}
    variable = found["templating"]["list"][0]["query"]
    answers = rendered(written, [*targets, variable])
    assert [node["text"] for node in answers[variable]] == ["hub"]
    for words, target in targets.items():
        names = filled(asked("graphite", target)[1])
        if ", 3, 6)" in words:
            names = {f"processes_httpd.{name}" for name in names}
        assert {series["target"] for series in answers[words]} == names
        assert all(any(point[0] is not None for point in series["datapoints"]) for series in answers[words])


PHP = """
require_once '/usr/share/php/Icinga/Application/Cli.php';
$app = Icinga\\Application\\Cli::start('/usr/share/icingaweb2');
$app->getModuleManager()->loadModule('graphite', '/usr/share/icingaweb2/modules/graphite');
$templates = new Icinga\\Module\\Graphite\\Graphing\\Templates();
$templates->loadIni($argv[1]);
$found = [];
foreach (json_decode($argv[2]) as $command) {
    foreach ($templates->getTemplates($command) as $name => $template) {
        foreach ($template->getFullCurves() as $curve => $both) {
            $found[] = [$command, $name, (string) $curve, (string) $both[0], (string) $both[1]];
        }
    }
}
echo json_encode($found);
"""


@pytest.mark.engine
@pytest.mark.slow
def test_the_graphite_module_reads_the_templates_and_graphite_draws_them(written: Written, public_path: Path) -> None:
    if not Path("/usr/share/icingaweb2/modules/graphite").exists():
        pytest.skip("needs icingaweb2-module-graphite")
    (public_path / "web").mkdir()
    (public_path / "web" / "config.ini").write_text('[global]\nconfig_backend = "none"\n[logging]\nlog = "none"\n')
    config("icingaweb2-graphite", "-o", f"{public_path}/")
    done = subprocess.run([program("php", "php-cli"), "-r", PHP, str(public_path / "memtriage.ini"), json.dumps(list(COMMANDS))],
                          capture_output=True, text=True, timeout=60, check=False,
                          env={**SYSTEM, "ICINGAWEB_CONFIGDIR": str(public_path / "web")})
    assert done.returncode == 0 and not done.stderr, done
    curves = json.loads(done.stdout)
    assert {command for command, *_ in curves} == set(COMMANDS)
    assert {name for _, name, *_ in curves} == {"memtriage-" + panel.key for panel in dashboards.PANELS}
    targets = {}
    for command, name, curve, path, function in curves:
        prefix = f"icinga2.hub.services.*.{command}"
        where = re.sub(r"\$cache:?([^$]*)\$", lambda match: match[1] or "dentry", path)
        where = re.sub(r"^\$[a-z_]+\$|^icinga2\.\$host\.name\$\.services\.\$service\.name\$\.\$service\.check_command\$", prefix, where)
        assert "$" not in where, where
        targets[function.replace("$metric$", where).replace("$cache$", "dentry")] = (command, name, curve)
    answers = rendered(written, list(targets))
    for words, (command, name, curve) in targets.items():
        assert len(answers[words]) == 1, (words, name, curve)
        assert any(point[0] is not None for point in answers[words][0]["datapoints"]), words
        label = curve.replace(".value", "").replace("one", "s_*" if name == "memtriage-caches" else "g_*")
        assert label in labels.LABELS[COMMANDS[command][6:].upper()]
