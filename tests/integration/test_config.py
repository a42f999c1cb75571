"""``memtriage config``: complete, accepted by the real tools, and with every option's text intact."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memtriage.cli import config as cli_config
from memtriage.integration import nrpe, sudoers, table
from memtriage.integration.nagios import quoted as nagios_words
from tests.conftest import ROOT
from tests.integration.engines import SYSTEM, Icinga, config, daemon_user, nagios, program

HOSTILE = "^a b;c$ d|e!f\\.g\"h'i`j`#%{k}[l]*?~&(m),:=\\ $HOME $ARG1$ $$ é"
HARMLESS = "check_httpd=check_proc_count -C httpd -w 1:150 -k"


def quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


MORE = ("--add", HARMLESS, "--add", f"check_odd=check_oom_kill --log {quoted(HOSTILE)}", "--add",
        "check_free_mem=check_free_mem -w 15%: -vv")


def checks() -> list[table.Check]:
    return [table.check(name) for name in table.CHECKS]


def test_every_check_of_the_folder_is_defined() -> None:
    found = {path.stem for path in (ROOT / "checks").glob("check_*.py")}
    assert set(table.CHECKS) == found == set(table.PACES) and len(table.CHECKS) == len(found)
    assert {check.title for check in checks()} == {name[6:].upper() for name in found}


def test_no_definition_names_two_services_alike() -> None:
    assert len({pace.service for pace in table.PACES.values()}) == len(table.PACES)


@pytest.mark.parametrize("target", cli_config.TARGETS)
def test_output_goes_to_stdout_a_file_or_a_folder(target: str, tmp_path: Path) -> None:
    text = config(target)
    assert text.isascii() and text.endswith("\n") and not re.search(r"[ \t]$", text, re.MULTILINE)
    assert config(target, "-o", str(tmp_path / "file")) == "" and (tmp_path / "file").read_text() == text
    config(target, "-o", f"{tmp_path}/folder/")
    parts = sorted(path.read_text() for path in (tmp_path / "folder").iterdir())
    assert "\n".join(parts) == text or "\n".join(reversed(parts)) == text


@pytest.mark.parametrize("words, said", [
    (["--add", "httpd"], "'httpd' is not NAME=CHECK OPTIONS, such as check_httpd=check_proc_count -C httpd (NAME of A-Z a-z 0-9 _ -)"),
    (["--add", "a b=check_free_mem"], "'a b=check_free_mem' is not NAME=CHECK OPTIONS, such as check_httpd=check_proc_count -C httpd"
                                      " (NAME of A-Z a-z 0-9 _ -)"),
    (["--add", "x=check_load -w 1"], "'check_load' is none of " + ", ".join(table.CHECKS)),
    (["--checks", "check_free_mem", "--add", "x=check_oom_kill"], "--add 'x' needs 'check_oom_kill', which --checks leaves out"),
    (["--add", "x=check_free_mem -w abc"],
     "check_free_mem would refuse this: --warning: 'abc' is no range such as 10, 10:, ~:10, 10:20 or @10:20"),
    (["--add", "x=check_free_mem -C 'a"], "'x=check_free_mem -C 'a': No closing quotation"),
    (["--add", "x=check_proc_count -C 'a\nb'"], "'x': control characters have no place in a definition"),
    (["--add", "x=check_proc_count -C " + "a" * 3000], "x: NRPE reads 2047 characters of a line, this one has 3060"),
    (["-o", "/nonexistent/a/b"], "/nonexistent/a/b: No such file or directory"),
])
def test_what_cannot_be_defined_is_refused(words: list[str], said: str) -> None:
    assert config("nrpe", *words, code=1) == f"memtriage config: {said}\n"


@pytest.mark.parametrize("target", cli_config.TARGETS)
def test_without_any_check_there_is_nothing_to_define(target: str) -> None:
    for none in ("none", ",", ""):
        assert config(target, "--checks", none, code=1) == "memtriage config: --checks leaves no check to be defined\n"


@pytest.mark.parametrize("words", [["other"], ["nrpe", "--sudo", "check_load"], ["nrpe", "--plugin-dir", "here"],
                                   ["nagios", "--user", "a b"],
                                   ["systemd", "--prefix", "/a\nb"], ["nagios", "--local", "a;b"]])
def test_usage_errors_leave_with_2(words: list[str]) -> None:
    assert "usage: memtriage config" in config(*words, code=2)


def test_nothing_depends_on_nrpe_where_there_is_no_service() -> None:
    text = config("nagios", "--checks", "check_proc_count")
    assert "servicedependency" not in text and not re.search(r" $", text, re.MULTILINE)
    assert "dependent_service_description  httpd\n" in config("nagios", "--checks", "check_proc_count", "--add", HARMLESS)


def test_nrpe_lines_are_what_the_docs_say() -> None:
    text = config("nrpe", "--add", HARMLESS)
    assert "command[check_free_mem]=/usr/bin/sudo -n /usr/lib/nagios/plugins/check_free_mem -t 8\n" in text
    assert "#command[check_mem_pressure]=/usr/lib/nagios/plugins/check_mem_pressure -t 8 --short\n" in text
    assert "command[check_httpd]=/usr/lib/nagios/plugins/check_proc_count -C httpd -w 1:150 -k -t 8\n" in text
    assert "sudo" not in config("nrpe", "--sudo", "none")
    own = config("nrpe", "--add", "check_free_mem=check_free_mem -t 5", "--checks", "check_free_mem", "--plugin-dir", "/opt/p/")
    assert re.findall("^command.*", own, re.MULTILINE) == ["command[check_free_mem]=/usr/bin/sudo -n /opt/p/check_free_mem -t 5"]


# --- the tools' own opinion ---

@pytest.mark.engine
@pytest.mark.needs_root  # the distribution's own configuration is root's and nagios'
def test_icinga_accepts_it_and_knows_every_option(public_path: Path) -> None:
    definitions = public_path / "definitions"
    config("icinga2", "--notifications", "--passive", *MORE, "-o", f"{definitions}/")
    for name in ("commands", "users", "timeperiods", "templates"):  # the sample configuration: what the notification uses
        sample = Path(f"/etc/icinga2/conf.d/{name}.conf")
        assert sample.exists(), "needs icinga2-common"
        (definitions / sample.name).write_bytes(sample.read_bytes())
    icinga = Icinga(public_path / "icinga", definitions, more="""
        const MemtriagePassword = "x"
        object Host "hub" {
          check_command = "dummy"
          vars.os = "Linux"
          vars.memtriage_processes["cron"] = { proc_count_command = "cron", proc_count_warning = "1:5" }
        }
        object Host "sender" { check_command = "dummy", vars.os = "Linux", vars.memtriage_passive = true }
        object Host "elsewhere" { check_command = "dummy", vars.os = "Linux" }
        object Host "not" { check_command = "dummy", vars.os = "Linux", vars.agent_endpoint = "hub", vars.memtriage = false }
        """)
    icinga.validate("memory agent", "memtriage-agent")  # rules for hosts with an agent
    commands = icinga.objects("CheckCommand")
    for check in checks():
        known = commands["memtriage-" + check.short.replace("_", "-")]
        assert set(known["arguments"]) == {option.flags[-1] for option in check.options} - {"--help", "--version", "--output"}
        for option in check.arguments:
            argument = known["arguments"][option.flags[-1]]
            assert argument == {"description": table.described(option),
                                "value" if option.metavar else "set_if": f"${check.short}_{option.name}$"}
    said = {check: {name: argument["description"] for name, argument in commands["memtriage-" + check]["arguments"].items()}
            for check in ("slab-growth", "proc-count")}
    assert said["slab-growth"]["--cache"] == "Only caches whose name matches [REGEX]"
    assert said["slab-growth"]["--window"].endswith(" takes a quarter of it at least (default: 4h) [SECONDS]")
    assert said["slab-growth"]["--warning"] == "WARNING where growth per hour of a suspect cache (bytes) is outside RANGE"
    assert said["proc-count"]["--no-kthreads"] == "Leave kernel threads out"
    services = icinga.objects("Service")
    names = {table.PACES[name].service for name in table.CHECKS if name != "check_proc_count"} | {"httpd", "odd", "processes cron"}
    assert {name for name in services if name.startswith("hub!")} == {f"hub!{name}" for name in names}
    passive = names - {"processes cron"}
    assert set(services) - {f"hub!{name}" for name in names} == {f"sender!{name}" for name in passive}
    assert {services[f"sender!{name}"]["check_command"] for name in passive} == {"memtriage-stale"}
    # The engine's own escape for a macro's sign; that the check gets the text itself is shown below by running it.
    assert services["hub!odd"]["vars"]["oom_kill_log"] == HOSTILE.replace("$", "$$")
    assert services["hub!processes cron"]["vars"] == {"proc_count_command": "cron", "proc_count_warning": "1:5"}
    assert services["hub!memory OOM kill"]["max_check_attempts"] == 1
    assert services["hub!memory"]["check_interval"] == 60 and not icinga.objects("Dependency")
    assert len(icinga.objects("Notification")) == len(services) == len(names) + len(passive)


@pytest.mark.engine
@pytest.mark.needs_root
def test_icinga_asks_nothing_of_an_agent_that_is_gone(public_path: Path) -> None:
    definitions = public_path / "zones.d" / "hub"
    config("icinga2", *MORE, "-o", f"{definitions}/")
    hosts = {"asked": "", "sends": ", vars.memtriage_passive = true", "own_rule": ", vars.memtriage_agent = false",
             "not": ", vars.memtriage = false"}
    (definitions / "hosts.conf").write_text("".join(
        f'object Host "{name}" {{ check_command = "dummy", vars.os = "Linux", vars.agent_endpoint = "far"{more} }}\n'
        for name, more in hosts.items()))
    (public_path / "zones").mkdir()
    (public_path / "zones" / "far.conf").write_text(
        'object Endpoint "far" { }\nobject Zone "far" { endpoints = [ "far" ], parent = "hub" }\n'
        f'include_zones "hub", "{definitions.parent}"\n')
    icinga = Icinga(public_path / "icinga", public_path / "zones")
    icinga.validate("processes ")
    services, health = icinga.objects("Service"), "memory agent"
    names = {table.PACES[name].service for name in table.CHECKS if name != "check_proc_count"} | {"httpd", "odd"}
    assert set(services) == {f"{host}!{name}" for host in ("asked", "sends", "own_rule") for name in names} | {
        f"asked!{health}", f"sends!{health}"}
    depends = icinga.objects("Dependency").values()
    assert {(one["child_host_name"], one["child_service_name"]) for one in depends} == {
        (host, name) for host in ("asked", "sends") for name in names}
    for one in depends:
        assert (one["parent_host_name"], one["parent_service_name"]) == (one["child_host_name"], health)
        assert one["disable_checks"] and not one["disable_notifications"] and not one["ignore_soft_states"]
    looks = {host: services[f"{host}!memory OOM kill"]["max_check_attempts"] for host in ("asked", "sends")}
    every = {host: services[f"{host}!memory"]["check_interval"] for host in ("asked", "sends")}
    assert (looks, every) == ({"asked": 2, "sends": 1}, {"asked": 60, "sends": 90})


@pytest.mark.engine
@pytest.mark.parametrize("local", [False, True])
def test_nagios_accepts_it_without_a_warning(public_path: Path, local: bool) -> None:
    where = ["--local", "hub"] if local else []
    line = nagios(public_path / "nagios", config("nagios", "--passive", *MORE, *where), "/usr/lib/nagios/plugins", hostgroup=not local)
    done = subprocess.run([line[0], "-v", line[1]], capture_output=True, text=True, timeout=60, check=False, env=SYSTEM)
    assert done.returncode == 0 and "Total Warnings: 0\nTotal Errors:   0\n" in done.stdout, done.stdout
    assert f"Checked {7 if local else 8} services." in done.stdout, done.stdout


@pytest.mark.engine
def test_visudo_accepts_it(tmp_path: Path) -> None:
    for number, words in enumerate(([], MORE, ["--sudo", "none"], ["--user", "icinga", "--sudo", ",".join(table.CHECKS)])):
        path = tmp_path / str(number)
        config("sudoers", *words, "-o", str(path))
        path.chmod(0o440)
        done = subprocess.run([program("visudo", "sudo"), "-cf", path], capture_output=True, text=True, timeout=20, check=False)
        assert (done.returncode, done.stdout) == (0, f"{path}: parsed OK\n"), done


@pytest.mark.engine
@pytest.mark.needs_root
def test_sudo_allows_the_very_lines_and_no_other(tmp_path: Path) -> None:
    """Asked of sudo itself, with a rule in force for the time of the test."""
    who = daemon_user().pw_name
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    for name in table.CHECKS:
        (plugins / name).write_text("#!/bin/sh\n")
        (plugins / name).chmod(0o755)
    words = ["--user", who, "--plugin-dir", str(plugins)]
    rule = Path(f"/etc/sudoers.d/memtriage-test-{os.getpid()}")
    found = checks()
    more = [MORE[1], MORE[3], MORE[5]]
    wanted = table.Wanted(found, table.lines(found, more), str(plugins))

    def allowed(*line: str) -> bool:
        done = subprocess.run(["sudo", "-n", "-l", "-U", who, "--", *line], capture_output=True, timeout=20, check=False)
        return done.returncode == 0

    config("sudoers", *words, *MORE, "-o", str(tmp_path / "rule"))
    (tmp_path / "rule").chmod(0o440)
    subprocess.run([program("visudo", "sudo"), "-cf", tmp_path / "rule"], timeout=20, check=True, capture_output=True)
    try:
        rule.write_bytes((tmp_path / "rule").read_bytes())
        rule.chmod(0o440)
        ran = 0
        for line in wanted.lines:
            for form in ([str(plugins / line.check.name), *line.words], nrpe.words(line, wanted)[2:], nrpe.words(line, wanted, True)[2:]):
                assert allowed(*form) is (line.check.name in table.SUDO), form
                ran += 1
        assert ran == 3 * len(wanted.lines)
        # Icinga 2 passes long names in their order, and a switch once.
        assert allowed(str(plugins / "check_free_mem"), "--verbose", "--warning", "15%:")
        assert allowed(str(plugins / "check_oom_kill"), "--log", HOSTILE)
        assert not allowed(str(plugins / "check_free_mem"), "--warning", "15%:")
        assert not allowed(str(plugins / "check_slab_growth"), "--state-dir", "/etc")
        assert not allowed(str(plugins / "check_slab_growth"), "-t", "8", "--state-dir", "/etc")
        assert not allowed(str(plugins / "check_free_mem")), "its own line was replaced by one with options"
        assert not allowed(str(plugins / "check_oom_kill"), "--log", HOSTILE.replace("*", "xx"))
    finally:
        rule.unlink(missing_ok=True)


def test_what_sudo_and_nagios_read_is_what_was_written() -> None:
    """Their readers as their manuals describe them, on every kind of letter; the readers themselves are asked in the slow tests."""

    found = checks()

    @settings(deadline=None)
    @given(st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"), max_size=30))
    def both(text: str) -> None:
        stripped = re.sub(r"\\([:,= #\\])", r"\1", sudoers.escaped(text))
        assert fnmatch_words(stripped) == text
        assert shlex.split(nagios_words([text]).replace("$$", "$").replace("\\;", ";")) == [text]
        line = table.lines(found, [f"x=check_oom_kill --log {quoted('/' + text)} --hold 2h"])[-1]
        assert table.variables(line) == {"oom_kill_log": "/" + text, "oom_kill_hold": "2h"}

    both()


def fnmatch_words(pattern: str) -> str:
    """The one text that fnmatch(3) finds equal to ``pattern``, in which nothing may be left that stands for several."""
    assert not re.search(r"(?<!\\)(?:\\\\)*[*?\[]", pattern)
    return re.sub(r"\\(.)", r"\1", pattern)


def test_files_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "memtriage"
    config("sudoers", "-o", str(path))
    assert oct(path.stat().st_mode & 0o777) == "0o440" and [entry.name for entry in tmp_path.iterdir()] == ["memtriage"]
    assert config("sudoers", "-o", "/dev/null", code=1) == "memtriage config: /dev/null: File exists\n"
    assert stat.S_ISCHR(os.lstat("/dev/null").st_mode)
    if os.path.exists("/dev/full"):
        assert "No such file" not in config("nrpe", "-o", "/dev/full/", code=1)


def test_sudoers_escapes_what_sudo_reads_as_something_else() -> None:
    assert sudoers.escaped("1:5,[a]*?=\\") == "1\\:5\\,\\[a\\]\\*\\?\\=\\\\\\\\"


def test_the_packaged_unit_is_what_the_command_prints() -> None:
    unit, drop_in = ((ROOT / "packaging" / name).read_text() for name in ("memtriage-record.service", "memtriage-record-passive.conf"))
    assert config("systemd") == unit and config("systemd", "--passive") == unit + "\n" + drop_in
    text = config("systemd", "--prefix", "/usr", "--user", "icinga", "--group", "icingas")
    assert "\nExecStart=/usr/bin/memtriage record" in text and "\nGroup=icingas\n" in text


@pytest.mark.engine
@pytest.mark.needs_root
def test_tmpfiles_makes_the_folder(tmp_path: Path) -> None:
    who = daemon_user()
    text = config("tmpfiles", "--group", subprocess.check_output(["id", "-gn", who.pw_name], text=True, timeout=20).strip())
    (tmp_path / "memtriage.conf").write_text(text)
    (tmp_path / "root" / "var" / "lib").mkdir(parents=True)
    (tmp_path / "root" / "etc").mkdir()
    for name in ("passwd", "group"):
        (tmp_path / "root" / "etc" / name).write_bytes(Path("/etc", name).read_bytes())
    done = subprocess.run([program("systemd-tmpfiles", "systemd"), "--create", f"--root={tmp_path}/root", tmp_path / "memtriage.conf"],
                          capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    made = (tmp_path / "root/var/lib/memtriage").stat()
    assert (oct(made.st_mode & 0o7777), made.st_uid, made.st_gid) == ("0o1770", 0, who.pw_gid)


def test_the_basket_links_every_field_and_template() -> None:
    basket = json.loads(config("director", *MORE))
    found = {check.name: check for check in checks()}
    for check in found.values():
        name = "memtriage-" + check.short.replace("_", "-")
        command = basket["Command"][name]
        fields = [basket["Datafield"][str(field["datafield_id"])] for field in command["fields"]]
        assert [field["varname"] for field in fields] == [f"{check.short}_{option.name}" for option in check.arguments]
        for option, field in zip(check.arguments, fields):
            argument = command["arguments"][option.flags[-1]]
            assert argument.get("value", argument.get("set_if")) == f"${field['varname']}$"
            assert table.described(option) == argument["description"] and table.described(option) in field["description"]
        assert basket["ServiceTemplate"][name]["check_command"] == name
    services = basket["ServiceSet"]["memtriage"]["services"]
    assert services["odd"]["vars"] == {"oom_kill_log": HOSTILE.replace("$", "$$")}
    assert all(service["imports"][0] in basket["ServiceTemplate"] for service in services.values())
