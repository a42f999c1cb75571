"""The Debian package, built, installed, used as the monitoring user does, upgraded, removed and purged, on a copy of this machine."""

from __future__ import annotations

import gzip
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import memtriage
from memtriage.cli import COMMANDS
from tests.checks.command import CHECKS, Answer
from tests.conftest import ROOT
from tests.packages.host import Host, bash_offers, built

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.needs_root]
PLUGINS = "/usr/lib/nagios/plugins"
STATE = "/var/lib/memtriage"
PAGES = [*CHECKS, "memtriage", *(f"memtriage-{name}" for name in COMMANDS)]
RECORDING = "/var/log/memtriage/recording"


@pytest.fixture(scope="module")
def host(deb: Path) -> Iterator[Host]:
    """A host with the package on it and a recorder that runs as the unit would run it."""
    with Host() as made:
        if not made.path("/usr/sbin/nrpe").exists() or not made.path("/usr/lib/nagios/plugins/check_nrpe").exists():
            pytest.skip("needs nagios-nrpe-server and nagios-nrpe-plugin")
        made.do("dpkg", "--install", made.bring(deb))
        made.do("install", "-d", "-o", "root", "-g", "nagios", "-m", "0750", "/var/log/memtriage", "/run/memtriage")
        made.start("setpriv", "--regid", "nagios", "--clear-groups", "memtriage", "record", "--publish", "/run/memtriage/slabinfo",
                   "--size", "1MiB", "--interval", "1", "--no-lock", "--no-priority")
        wait_for(made.path(RECORDING))
        wait_for(made.path("/run/memtriage/slabinfo"))
        yield made


def wait_for(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not come"
        time.sleep(0.1)


def title(check: str) -> str:
    return check[6:].upper()


def whole(check: str, answer: Answer) -> bool:
    """A state, perfdata and long output."""
    answer.sound()
    return bool(re.match(title(check) + r" (OK|WARNING|CRITICAL) - [^|\n]+ \| [a-z0-9_]+=[^|]*\n[^|]+\n\Z", answer.out))


def test_the_packages_version_is_the_librarys(deb: Path) -> None:
    said = subprocess.run(["dpkg-deb", "--field", deb, "Version"], capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    assert said == memtriage.__version__ == re.match(r"memtriage \((.*)\)", (ROOT / "packaging/debian/changelog").read_text())[1]  # type: ignore[index]


def test_it_depends_on_what_debian_12_has(deb: Path) -> None:
    fields = subprocess.run(["dpkg-deb", "--field", deb, "Depends"], capture_output=True, text=True, timeout=20, check=True).stdout
    assert {item.strip() for item in fields.split(",")} == {
        "adduser", "python3-nagiosplugin (>= 1.3.2)", "python3-psutil (>= 5.9)", "python3:any (>= 3.9~)"}


def test_two_builds_are_the_same_bytes(deb: Path, tmp_path: Path) -> None:
    """Another day, time zone, language, terminal, mask and folder."""
    other = {"TZ": "Pacific/Auckland", "LC_ALL": "C", "COLUMNS": "40", "MEMTRIAGE_RECORDING": "/elsewhere", "PYTHONHASHSEED": "1",
             "TMPDIR": str(tmp_path), "HOME": "/nonexistent"}
    again = built("build-deb.sh", tmp_path / "again", other)
    assert again.name == deb.name
    assert again.read_bytes() == deb.read_bytes()


def test_every_licence_in_it_is_named(deb: Path, tmp_path: Path) -> None:
    subprocess.run(["dpkg-deb", "--extract", deb, tmp_path], timeout=60, check=True)
    said = (tmp_path / "usr/share/doc/memtriage/copyright").read_text()
    library = tmp_path / "usr/lib/python3/dist-packages"
    others = sorted(library.rglob("*-LICENSE.txt"))
    assert others
    for path in others:
        for paragraph in path.read_text().strip().split("\n\n"):
            words = paragraph.replace("Copyright (c) ", "Copyright: ").replace("The MIT License (MIT)", "License: Expat")
            assert " ".join(words.split()) in " ".join(said.split()), (path, paragraph)
    stanza = said.partition("Files: lib/memtriage/report/static/uPlot*")[2]
    assert stanza and said.index("Files: *") < said.index("Files: lib/"), "the last that fits a file counts"


def test_lintian_finds_nothing(deb: Path) -> None:
    line = ["lintian", "--allow-root", "--pedantic", "--display-info", deb]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done


@pytest.mark.parametrize("check", CHECKS)
def test_each_check_as_nagios(host: Host, check: str) -> None:
    answer = host.run(f"{PLUGINS}/{check}", user="nagios")
    assert whole(check, answer), answer
    assert "state not saved" not in answer.out
    for flag in ("--help", "--version"):
        told = host.run(f"{PLUGINS}/{check}", flag, user="nagios")
        assert (told.code, told.err) == (3, "") and check in told.out
    bad = host.run(f"{PLUGINS}/{check}", "--bogus", user="nagios")
    assert (bad.code, bad.out) == (3, f"{title(check)} UNKNOWN - usage: unknown option --bogus; see --help\n")


def test_what_nagios_remembers_is_its_own(host: Host) -> None:
    host.run(f"{PLUGINS}/check_free_mem", user="nagios")
    uid = host.do("id", "-u", "nagios").strip()
    assert host.do("stat", "-c", "%A %U:%G", STATE, f"{STATE}/{uid}", f"{STATE}/{uid}/memory.json").splitlines() == [
        "drwxrwx--T root:nagios", "drwx------ nagios:nagios", "-rw------- nagios:nagios"]


def test_the_recorders_copy_names_caches_without_sudo(host: Host) -> None:
    answer = host.run(f"{PLUGINS}/check_slab_growth", user="nagios")
    assert whole("check_slab_growth", answer) and "slab cache '" in answer.out and "unnamed" not in answer.out, answer
    assert host.run("cat", RECORDING, user="nobody").code == 1


@pytest.mark.parametrize("check", CHECKS)
def test_without_memory_for_python_it_is_unknown(host: Host, check: str) -> None:
    """Python itself would leave with 1, which is WARNING."""
    for kind, need in (("as", 24), ("data", 12)):
        answer = host.run("prlimit", f"--{kind}={8 * 1024 * 1024}", f"{PLUGINS}/{check}", user="nagios")
        words = rf"{title(check)} UNKNOWN - cannot run: the .* is 8 MiB; Python needs {need} MiB\n"
        assert answer.code == 3 and re.fullmatch(words, answer.out), answer


def test_nobody_elses_python_or_modules_are_run(host: Host) -> None:
    """Neither PATH, PYTHONPATH nor the current folder choose the code that sudo runs as root."""
    trap = host.path("/tmp/trap")
    trap.mkdir()
    (trap / "python3").write_text("#!/bin/sh\necho wrong python\n")
    (trap / "python3").chmod(0o755)
    for name in ("memtriage", "nagiosplugin", "os", "argparse"):
        (trap / f"{name}.py").write_text("raise SystemExit('wrong module')")
    env = {"PATH": "/tmp/trap:/usr/bin:/bin", "PYTHONPATH": "/tmp/trap", "PYTHONHOME": "/tmp/trap"}
    assert whole("check_free_mem", host.run("sh", "-c", f"cd /tmp/trap && exec {PLUGINS}/check_free_mem", user="nagios", env=env))


START = """
import os, sys, time
nowhere = os.open("/dev/null", os.O_RDWR)
def cost(*line):
    start = time.perf_counter()
    child = os.posix_spawn(line[0], line, {"PATH": "/usr/bin:/bin"}, file_actions=[(os.POSIX_SPAWN_DUP2, nowhere, 1)])
    os.waitpid(child, 0)
    return time.perf_counter() - start
bare, check = [], []
for _ in range(25):
    bare.append(cost("/usr/bin/python3", "-c", "import nagiosplugin, argparse"))
    check.append(cost(sys.argv[1]))
print(min(check) / min(bare))
"""


@pytest.mark.parametrize("check", ["check_free_mem", "check_slab_growth", "check_mem_pressure"])
def test_a_whole_run_costs_little_more_than_its_imports(host: Host, check: str) -> None:
    """The best of 25 each, in turns, so that what else the machine does is in neither. Without bytecode it is nearly twice as much."""
    ratios = []
    while len(ratios) < 4 and min(ratios, default=2) >= 1.3:
        ratios.append(float(host.do("python3", "-c", START, f"{PLUGINS}/{check}", user="nagios")))
    assert min(ratios) < 1.3, ratios


def test_all_is_compiled(host: Host) -> None:
    sources = host.do("find", "/usr/lib/python3/dist-packages/memtriage", "-name", "*.py", "-size", "+0").splitlines()
    lack = [name for name in sources if not list(host.path(name).parent.glob(f"__pycache__/{Path(name).stem}.cpython-*.pyc"))]
    assert len(sources) > 80 and lack == []


def test_through_nrpe_as_debian_configures_it(host: Host) -> None:
    """The daemon with the file that Debian ships, which reads the package's; some of the commands by sudo with the package's rule."""
    host.do("install", "-d", "-o", "nagios", "/run/nagios")
    host.start("nrpe", "-c", "/etc/nagios/nrpe.cfg", "-f")
    end = time.monotonic() + 60
    while host.run(f"{PLUGINS}/check_nrpe", "-H", "127.0.0.1").code != 0:
        assert time.monotonic() < end
        time.sleep(0.1)
    lines = dict(re.findall(r"^command\[(\w+)\]=(.*)$", host.path("/etc/nagios/nrpe.d/memtriage.cfg").read_text(), re.M))
    assert set(lines) == set(CHECKS)
    for check, line in lines.items():
        answer = host.run(f"{PLUGINS}/check_nrpe", "-H", "127.0.0.1", "-t", "30", "-c", check)
        assert whole(check, answer), (line, answer)
    assert "sudo" in lines["check_slab_growth"]


def test_sudo_allows_these_lines_and_no_others(host: Host) -> None:
    host.do("visudo", "--check")
    assert host.do("stat", "-c", "%a %U:%G", "/etc/sudoers.d/memtriage").strip() == "440 root:root"
    slab = f"{PLUGINS}/check_slab_growth"
    allowed = host.run("sudo", "-n", slab, "-t", "8", user="nagios")
    assert whole("check_slab_growth", allowed) and "slab cache '" in allowed.out, allowed
    assert whole("check_slab_growth", host.run("sudo", "-n", slab, user="nagios"))
    for words in ([slab, "--state-dir", "/etc"], [f"{PLUGINS}/check_proc_count"], ["/bin/sh"], [slab, "-t", "8", "-v"]):
        refused = host.run("sudo", "-n", *words, user="nagios")
        assert refused.code == 1 and refused.out == "" and "password is required" in refused.err, (words, refused)
    assert host.run("sudo", "-n", slab, "-t", "8", user="nobody").code == 1


def test_nagios_and_icinga_read_the_definitions(host: Host) -> None:
    """With the configuration that Debian ships, unchanged."""
    if host.run("which", "nagios4", "icinga2").code:
        pytest.skip("needs nagios4-core and icinga2")
    said = host.do("nagios4", "-v", "/etc/nagios4/nagios.cfg")
    assert re.search(r"Total Warnings: +0\nTotal Errors: +0\n", said), said
    assert "command_name                   memtriage_free_mem" in host.path("/etc/nagios-plugins/config/memtriage.cfg").read_text()
    names = {check: "memtriage-" + check[6:].replace("_", "-") for check in CHECKS}
    host.path("/etc/icinga2/conf.d/memtriage-test.conf").write_text("".join(
        f'object Service "{check}" {{ host_name = NodeName, check_command = "{name}" }}\n' for check, name in names.items()))
    done = host.run("icinga2", "daemon", "--validate")
    assert done.code == 0 and "warning" not in done.out, done
    assert "Instantiated" in done.out


def test_the_examples_go_with_the_commands(host: Host) -> None:
    """Which hosts are watched is for the administrator to say: these files are copied, not read where they are."""
    if host.run("which", "nagios4", "icinga2").code:
        pytest.skip("needs nagios4-core and icinga2")
    folder = "/usr/share/doc/memtriage/examples"
    host.do("cp", f"{folder}/memtriage-services.cfg", "/etc/nagios4/conf.d/")
    host.path("/etc/nagios4/conf.d/hub.cfg").write_text(
        "define host {\n use linux-server\n host_name hub\n address 127.0.0.1\n hostgroups +memtriage\n contacts nagiosadmin\n}\n")
    said = host.do("nagios4", "-v", "/etc/nagios4/nagios.cfg")
    assert re.search(r"Total Warnings: +0\nTotal Errors: +0\n", said), said
    host.do("cp", f"{folder}/memtriage-services.conf", "/etc/icinga2/conf.d/")
    done = host.run("icinga2", "daemon", "--validate")
    assert done.code == 0, done


def test_what_the_command_writes_goes_beside_the_package_as_the_docs_say(deb: Path) -> None:
    with Host() as host:
        if host.run("which", "nagios4", "icinga2").code:
            pytest.skip("needs nagios4-core and icinga2")
        host.do("dpkg", "--install", host.bring(deb))
        host.path("/etc/nagios4/conf.d/hub.cfg").write_text(
            "define host {\n use linux-server\n host_name hub\n address 127.0.0.1\n hostgroups +memtriage\n contacts nagiosadmin\n}\n")
        host.do("memtriage", "config", "nagios", "-o", "/etc/nagios-plugins/config/memtriage.cfg")
        said = host.do("nagios4", "-v", "/etc/nagios4/nagios.cfg")
        assert re.search(r"Total Warnings: +0\nTotal Errors: +0\n", said), said
        host.do("memtriage", "config", "icinga2", "-o", "/etc/icinga2/conf.d/")
        assert "re-defined" in host.run("icinga2", "daemon", "--validate").out
        host.path("/etc/icinga2/conf.d/memtriage-commands.conf").unlink()
        assert "critical/" not in host.do("icinga2", "daemon", "--validate")


def test_the_unit_and_the_folder_rule(host: Host) -> None:
    unit = host.path("/lib/systemd/system/memtriage-record.service").read_text()
    assert "ExecStart=/usr/bin/memtriage record " in unit and "/usr/local" not in unit
    assert not host.path("/etc/systemd/system/multi-user.target.wants/memtriage-record.service").is_symlink()
    if host.run("which", "systemd-analyze").code == 0:
        checked = host.run("systemd-analyze", "verify", "/lib/systemd/system/memtriage-record.service")
        # It looks at all units of the machine, and has a word for other packages' ones.
        assert checked.code == 0 and "memtriage" not in checked.out + checked.err, checked
    if host.run("which", "systemd-tmpfiles").code == 0:
        with Host() as other:
            other.path("/tmp/rule.conf").write_text(host.path("/usr/lib/tmpfiles.d/memtriage.conf").read_text())
            other.do("systemd-tmpfiles", "--create", "/tmp/rule.conf")
            assert other.do("stat", "-c", "%A %U:%G", STATE).strip() == "drwxrwx--T root:nagios"


@pytest.mark.parametrize("page", PAGES)
def test_man_renders_each_page(host: Host, page: str) -> None:
    where = host.do("man", "--where", page).strip()
    assert where == f"/usr/share/man/man1/{page}.1.gz"
    done = host.run("man", "--warnings", "-E", "UTF-8", "-l", where, env={"MANWIDTH": "80", "LC_ALL": "C.UTF-8"})
    assert (done.code, done.err) == (0, "")
    text = re.sub(".\b", "", done.out)
    assert f"{page} - " in " ".join(text.split())
    for heading in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "SEE ALSO"):
        assert f"\n{heading}\n" in text, heading
    synopsis = text.partition("\nSYNOPSIS\n")[2].split()
    assert synopsis[: 1 + ("-" in page)] == page.split("-"), "what is typed"
    if page in CHECKS:
        flags = re.findall(r"--[a-z-]+", host.run(f"{PLUGINS}/{page}", "--help").out)
        assert flags and all(flag in text for flag in flags if flag not in ("--help",))
    other = re.findall(r"\b([a-z_-]+)\(1\)", text.partition("SEE ALSO")[2])
    assert other and set(other) <= set(PAGES)
    raw = gzip.decompress(host.path(where).read_bytes()).decode()
    assert '"memtriage' in raw.splitlines()[0] and str(ROOT) not in raw


def test_bash_completes(host: Host) -> None:
    if not host.path("/usr/share/bash-completion/bash_completion").exists():
        pytest.skip("needs bash-completion")
    assert set(bash_offers(host, "memtriage", "")) == set(COMMANDS)
    assert bash_offers(host, "memtriage", "expl") == ["explain"]
    assert bash_offers(host, "memtriage", "record", "--in") == ["--interval"]
    assert set(bash_offers(host, "memtriage", "record", "--export", "")) == {"jsonl", "csv"}
    assert bash_offers(host, "memtriage", "explain", "--from", "/etc/hostn") == ["/etc/hostname"]
    for check in CHECKS:
        assert bash_offers(host, f"{PLUGINS}/{check}", "--no-p") == ["--no-perfdata"]
        assert bash_offers(host, f"{PLUGINS}/{check}", "--procfs", "/pro") == ["/proc"]


def test_zsh_reads_its_completions(host: Host) -> None:
    if host.run("which", "zsh").code:
        pytest.skip("needs zsh")
    for name in (*CHECKS, "memtriage"):
        assert host.do("zsh", "-n", f"/usr/share/zsh/vendor-completions/_{name}") == ""
    loaded = "autoload -U compinit && compinit -D -u && print -l ${_comps[memtriage]} ${_comps[check_slab_growth]}"
    assert host.do("zsh", "-f", "-c", loaded).split() == ["_memtriage", "_check_slab_growth"]


def test_the_command(host: Host) -> None:
    assert host.do("memtriage", "--version") == f"memtriage {memtriage.__version__}\n"
    assert "%" in host.do("memtriage", "explain", user="nagios")
    assert host.run("memtriage", "bogus").code == 2
    ask = "from importlib.metadata import distribution as d; print(d('memtriage').version, d('memtriage').read_text('INSTALLER'))"
    assert host.do("python3", "-c", ask).split() == [memtriage.__version__, "dpkg"]


def test_upgraded_over_itself_removed_and_purged_without_a_trace(deb: Path) -> None:
    conffiles = {"/etc/nagios/nrpe.d/memtriage.cfg", "/etc/nagios-plugins/config/memtriage.cfg", "/etc/sudoers.d/memtriage"}
    with Host() as host:
        file = host.bring(deb)
        host.do("dpkg", "--install", file)
        for check in CHECKS:
            host.run(f"{PLUGINS}/{check}", user="nagios")
        own = host.path("/etc/nagios/nrpe.d/memtriage.cfg")
        own.write_text(own.read_text() + "command[mine]=/bin/true\n")
        uid = host.do("id", "-u", "nagios").strip()
        host.do("dpkg", "--install", file)
        assert own.read_text().endswith("command[mine]=/bin/true\n"), "a changed configuration file is the administrator's"
        assert host.path(f"{STATE}/{uid}/memory.json").exists(), "what was remembered outlives an upgrade"
        assert whole("check_free_mem", host.run(f"{PLUGINS}/check_free_mem", user="nagios"))

        host.do("dpkg", "--remove", "memtriage")
        left = {path for path in host.changes() - host.before if not path.startswith((STATE, "/var/lib/systemd/"))}
        assert left == conffiles
        host.do("dpkg", "--purge", "memtriage")
        assert host.changes() == host.before
        assert host.run("dpkg-query", "-W", "memtriage").code == 1
        host.do("visudo", "--check")


def test_a_host_without_the_user(deb: Path) -> None:
    """As before any engine is there: the package makes the user as Debian's engines do."""
    with Host() as host:
        for name in ("passwd", "group", "shadow", "gshadow"):
            file = host.path(f"/etc/{name}")
            file.write_text("".join(line for line in file.read_text().splitlines(keepends=True) if not line.startswith("nagios:")))
        assert host.run("id", "nagios").code == 1
        host.do("dpkg", "--install", host.bring(deb))
        name, _, _, _, _, home, shell = host.do("getent", "passwd", "nagios").strip().split(":")
        assert (name, home, shell) == ("nagios", "/var/lib/nagios", "/usr/sbin/nologin")
        answer = host.run(f"{PLUGINS}/check_free_mem", user="nagios")
        assert whole("check_free_mem", answer) and "state not saved" not in answer.out


def test_a_rule_of_the_administrators_own_has_the_last_word(deb: Path) -> None:
    with Host() as host:
        if host.run("which", "systemd-tmpfiles").code:
            pytest.skip("needs systemd-tmpfiles")
        host.path("/etc/tmpfiles.d").mkdir(exist_ok=True)
        host.path("/etc/tmpfiles.d/memtriage.conf").write_text(f"d {STATE} 0750 nobody nogroup -\n")
        host.do("dpkg", "--install", host.bring(deb))
        assert host.do("stat", "-c", "%a %U:%G", STATE).strip() == "750 nobody:nogroup"
