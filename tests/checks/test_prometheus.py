"""``--output prometheus``: accepted by promtool without a word, and read by a real node exporter."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from memtriage import exposition, labels
from tests.checks.command import CHECKS
from tests.checks.forked import on, run
from tests.engines.nrpe import free_port

SAMPLE = re.compile(r'(memtriage_[a-z0-9_]+)(\{[a-z]+="[A-Za-z0-9_]+"(?:,[a-z]+="[A-Za-z0-9_]+")*\})? (-?[0-9]+(?:\.[0-9]{6})?)')


def samples(text: str) -> dict[str, float]:
    """Each line's name and value; every line must be a sample or a comment."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            assert re.fullmatch(r"# (HELP memtriage_\w+ [A-Z0-9].*|TYPE memtriage_\w+ (gauge|counter))", line), line
            continue
        match = SAMPLE.fullmatch(line)
        assert match, line
        assert match[1] + (match[2] or "") not in found, line
        found[match[1] + (match[2] or "")] = float(match[3])
    return found


@pytest.fixture(scope="module")
def outputs() -> dict[tuple[str, str], str]:
    """The answer to every captured tree."""
    found = {}
    for scenario in ("c-unreclaimable-slab", "d-process-group", "k-swap-full"):
        for check in CHECKS:
            answer = on(scenario, check, "--output", "prometheus")
            assert answer.code == 0 and answer.err == "", answer
            found[scenario, check] = answer.out
    return found


def test_every_figure_of_the_usual_output_is_there(outputs: dict[tuple[str, str], str]) -> None:
    for (scenario, check), text in outputs.items():
        found = samples(text)
        state = found.pop(f"memtriage_{check[6:]}_state")
        if check not in ("check_free_mem", "check_proc_count"):
            continue  # rates and ages move from run to run
        usual = on(scenario, check)
        title = check[6:].upper()
        assert state == usual.code
        assert len(found) == len(usual.perfdata), (scenario, check)
        for label, value in usual.perfdata.items():
            about = labels.find(title, label)
            assert about is not None, label
            name, _, factor = exposition.metric(title, label, about)
            assert found[name] == pytest.approx(float(value.split(";")[0].rstrip("Bsc%")) * factor, abs=1e-6), label


def test_what_one_line_of_each_says() -> None:
    text = on("c-unreclaimable-slab", "check_free_mem", "--output", "prometheus").out
    assert ("# HELP memtriage_free_mem_available_ratio Available memory as a share of the effective total\n"
            "# TYPE memtriage_free_mem_available_ratio gauge\nmemtriage_free_mem_available_ratio 0.045000\n") in text
    assert text.endswith("# HELP memtriage_free_mem_state State of the check: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN\n"
                         "# TYPE memtriage_free_mem_state gauge\nmemtriage_free_mem_state 2\n")
    slab = on("c-unreclaimable-slab", "check_slab_growth", "--output", "prometheus:hub").out
    assert '\nmemtriage_slab_growth_cache_bytes{cache="kmalloc_4k",service="hub"} 2576973824\n' in slab
    assert len(samples(on("hostile-names", "check_slab_growth", "--output", "prometheus").out)) > 5


def test_a_check_that_cannot_finish_leaves_no_metrics_and_3() -> None:
    answer = run("check_free_mem", "--output", "prometheus", "-t", "0.001")
    assert (answer.code, answer.out.split(" s")[0], answer.err) == (3, "FREE_MEM UNKNOWN - timed out after 0.001", ""), answer


def test_unknown_is_a_state_and_a_usage_error_is_none() -> None:
    text = ("# HELP memtriage_free_mem_state State of the check: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN\n"
            "# TYPE memtriage_free_mem_state gauge\nmemtriage_free_mem_state 3\n")
    assert on("n-empty-file", "check_free_mem", "--output", "prometheus")[:2] == (0, text)
    for wrong in ("x", "", "prometheus:", "prometheus:a-b", "nagios:a", 'prometheus:a"'):
        answer = run("check_free_mem", "--output", wrong)
        assert answer[:2] == (3, f"FREE_MEM UNKNOWN - usage: --output: '{wrong}' is none of nagios, prometheus, prometheus:NAME "
                                 "(NAME of A-Z a-z 0-9 _); see --help\n"), answer


@pytest.mark.engine
def test_promtool_has_nothing_to_say(outputs: dict[tuple[str, str], str]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool: apt-get install prometheus")
    every = "".join(f"# HELP {name} {about.about}\n# TYPE {name} {kind}\n{name} 1\n" for check, known in labels.LABELS.items()
                    for label, about in known.items() for name, kind, _ in (exposition.metric(check, label, about),))
    for text in [*(outputs["k-swap-full", check] for check in CHECKS), every]:
        done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=20, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), text


@pytest.mark.engine
def test_the_node_exporter_reads_them(outputs: dict[tuple[str, str], str], tmp_path: Path) -> None:
    exporter = shutil.which("prometheus-node-exporter")
    if exporter is None:
        pytest.skip("needs prometheus-node-exporter")
    for check in CHECKS:
        (tmp_path / f"{check}.prom").write_text(outputs["d-process-group", check])
    for name in ("httpd", "php"):  # two runs of one check on one host
        (tmp_path / f"{name}.prom").write_text(on("d-process-group", "check_proc_count", "-C", name, "--output", f"prometheus:{name}").out)
    port = free_port()
    process = subprocess.Popen([exporter, f"--web.listen-address=127.0.0.1:{port}", "--collector.disable-defaults", "--collector.textfile",
                                f"--collector.textfile.directory={tmp_path}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        page = ""
        for _ in range(100):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                    page = answer.read().decode()
                break
            except OSError:
                time.sleep(0.1)
    finally:
        process.terminate()
        process.wait(10)
    assert "\nnode_textfile_scrape_error 0\n" in page, page[-2000:]
    read = {}
    for line in page.splitlines():
        if line.startswith("memtriage_"):
            name, value = line.rsplit(" ", 1)
            read[name] = float(value)
    written = {}
    for path in tmp_path.glob("*.prom"):
        written.update(samples(path.read_text()))
    assert len(written) > 60 and read == {name: pytest.approx(value) for name, value in written.items()}
    assert read['memtriage_proc_count_procs{service="httpd"}'] == 41
