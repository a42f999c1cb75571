"""What arrives when a real NRPE runs the checks as a user without rights."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checks.command import CHECKS
from tests.checks.oomkiller import cage
from tests.conftest import ROOT
from tests.engines import foreground, nrpe
from tests.engines.nrpe import Nrpe, direct
from tests.recording import made

pytestmark = pytest.mark.engine
SCENARIOS = sorted(path.parent.name for path in (ROOT / "tests" / "fixtures").glob("*/proc"))
STATES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")


@pytest.fixture(autouse=True)
def _needs_nrpe() -> None:
    if nrpe.programs() is None:
        pytest.skip("needs NRPE: apt-get install nagios-nrpe-server nagios-nrpe-plugin")


@pytest.fixture
def daemon_folder(public_path: Path) -> Path:
    folder = public_path / "nrpe"
    folder.mkdir()
    return folder


def own_folder(parent: Path, name: str) -> Path:
    """A folder that belongs to the user the daemon runs as."""
    folder = parent / name
    folder.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(folder, nrpe.user().pw_uid, nrpe.user().pw_gid)
    return folder


def shape(text: str) -> str:
    """The words without the numbers, which change from one run to the next."""
    first, _, rest = text.partition("\n")
    labels = re.sub(r"=[^ ]*", "=", first.partition(" | ")[2])
    return re.sub(r"[-+]?[0-9][0-9.,]*( [KMGT]iB| B)?", "#", first.partition(" | ")[0] + rest.partition(" | ")[0][:60]) + labels


def state_word(text: str) -> int:
    return STATES.index(text.split(" ")[1])


def commands(checkout: Path, state: Path) -> dict[str, str]:
    """Command lines for this very host."""
    remember = dict.fromkeys(("check_slab_growth", "check_oom_kill", "check_mem_pressure"), f" --state-dir {state}")
    remember["check_mem_recorder"] = f" -v --file {state}/recording"
    if not (state / "recording").exists():
        made.current(str(state / "recording"), [1200, 600, 1])
        (state / "recording").chmod(0o644)
    return {check: f"{checkout}/checks/{check}.py{remember.get(check, '')}" for check in CHECKS}


def test_live_answers_are_those_of_the_command_itself(checkout: Path, public_path: Path, daemon_folder: Path) -> None:
    lines = commands(checkout, own_folder(public_path, "state"))
    with Nrpe(daemon_folder, lines) as daemon:
        for check, line in lines.items():
            daemon.ask(check)  # so that both runs that are compared find a history
            for _ in range(5):  # the largest holder may change between two runs
                through, itself = daemon.ask(check), direct(line)
                if shape(through.out) == shape(itself.out):
                    break
            assert through.code == itself.code == state_word(through.out), through
            assert shape(through.out) == shape(itself.out)
            assert through.out.count("\n") == itself.out.count("\n") >= 2, through
            assert through.out.count("|") == 1 and len(through.out) <= 4096, through


HOST_FILES = ("meminfo", "vmstat", "slabinfo", "uptime", "stat", "sys/kernel/random/boot_id", "sys/fs/dentry-state", "sys/fs/inode-nr",
              "self/cgroup", "1/stat", "1/statm", "1/status", "1/cmdline", "1/cgroup")


def capture(folder: Path) -> None:
    """This host's own files, as one more scenario; what it does not have, or does not show, is left out."""
    for name in HOST_FILES:
        try:
            content = Path("/proc", name).read_bytes()
        except OSError:
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.fixture(scope="module")
def scenarios() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="memtriage-fixtures-"))
    for name in SCENARIOS:
        shutil.copytree(ROOT / "tests" / "fixtures" / name, folder / name, symlinks=True)
    capture(folder / "this_host" / "proc")
    subprocess.run(["chmod", "-R", "a+rX", folder], timeout=60, check=True)
    yield folder
    shutil.rmtree(folder)


TELLING = ("hostile-names", "this_host")
"""Names that want to be more than names, and this machine's own; of the rest ``make test-slow`` asks."""


@pytest.mark.parametrize("all_of_them", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_captured_trees_give_the_same_bytes(checkout: Path, public_path: Path, daemon_folder: Path, scenarios: Path,
                                            all_of_them: bool) -> None:
    """With --short an answer also passes whole through the old protocol, of which 1,023 bytes arrive."""
    lines = {}
    for scenario in sorted(path.name for path in scenarios.iterdir() if all_of_them or path.name in TELLING):
        for check in CHECKS:
            if check in ("check_oom_kill", "check_mem_pressure") and scenario not in ("hostile-names", "k-swap-full", "this_host"):
                continue  # what they read is alike in all the others
            for size in ("", " --short"):
                name = f"{scenario}-{check}{size.strip()}"
                state = f" --state-dir {own_folder(public_path, name)}" if check not in ("check_free_mem", "check_proc_count") else ""
                lines[name] = f"{checkout}/checks/{check}.py --procfs {scenarios}/{scenario}/proc{state}{size}"
    with Nrpe(daemon_folder, lines) as daemon:
        for name, line in lines.items():
            if "check_proc_count" not in name:
                direct(line)  # the first run has no history: it says other words than all that follow
            itself = direct(line)
            assert itself.code == state_word(itself.out), itself
            assert daemon.ask(name) == itself, name
            if "--short" in name:
                assert daemon.ask(name, "-2") == itself, name
                assert len(itself.out) <= 1000, name


def test_slab_says_which_right_is_missing_and_how_to_get_it(checkout: Path, public_path: Path, daemon_folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to run the daemon as nobody")
    line = commands(checkout, own_folder(public_path, "state"))["check_slab_growth"]
    with Nrpe(daemon_folder, {"slab": line, "short": line + " --short"}) as daemon:
        for name in ("slab", "short"):
            answer = daemon.ask(name)
            assert answer.code == 0, answer
            assert "caches unnamed (slabinfo: permission denied)" in answer.out.split(" | ")[0]
            assert "/proc/slabinfo" in answer.out and "NOPASSWD" in answer.out, answer


@pytest.fixture
def sudo_allows(public_path: Path) -> Iterator[Path]:
    """Gives the daemon's user the one right that the docs name, for the time of one test."""
    if shutil.which("sudo") is None or not Path("/etc/sudoers.d").is_dir():
        pytest.skip("needs sudo")
    rule = Path(f"/etc/sudoers.d/memtriage-test-{os.getpid()}")
    draft = public_path / "sudoers"
    command = public_path / "plugins" / "check_slab_growth"
    draft.write_text(f"{nrpe.user().pw_name} ALL=(root) NOPASSWD: {command}\n")
    draft.chmod(0o440)
    subprocess.run(["visudo", "-cf", draft], timeout=20, check=True, capture_output=True)
    try:
        shutil.copy(draft, rule)
        rule.chmod(0o440)
        yield command
    finally:
        rule.unlink(missing_ok=True)


@pytest.mark.needs_root
def test_slab_by_sudo_names_the_caches(checkout: Path, daemon_folder: Path, sudo_allows: Path) -> None:
    if not os.access("/proc/slabinfo", os.R_OK):
        pytest.skip("needs /proc/slabinfo")
    sudo_allows.parent.mkdir()
    state = daemon_folder.parent / "root-state"
    # Arguments are allowed since the rule names none; a plugin folder's entry is a link into the checkout.
    sudo_allows.symlink_to(checkout / "checks" / "check_slab_growth.py")
    with Nrpe(daemon_folder, {"slab": f"sudo -n {sudo_allows} --state-dir {state}"}) as daemon:
        answer = daemon.ask("slab")
    assert answer.code == 0, answer
    assert "unnamed" not in answer.out and "slab cache '" in answer.out.split(" | ")[0], answer
    assert re.search(r" s_[a-z0-9_]+=[0-9]+B", answer.out), answer


def test_no_home_and_no_state_folder_is_said(checkout: Path, daemon_folder: Path) -> None:
    """Debian's nobody has this home; NRPE hands it on. The folder asked for instead is root's to make."""
    with Nrpe(daemon_folder, {"slab": f"/usr/bin/env HOME=/nonexistent {checkout}/checks/check_slab_growth.py"}) as daemon:
        answer = daemon.ask("slab")
    first = answer.out.split(" | ")[0]
    assert answer.code == 3, answer
    assert "state not saved: no permission for /var/lib/memtriage" in first, answer
    assert "--state-dir" in answer.out, answer


@pytest.mark.needs_root
def test_an_oom_kill_is_seen_by_a_user_without_rights(checkout: Path, public_path: Path, daemon_folder: Path, tmp_path: Path) -> None:
    """The counter moves for everybody; names come from /dev/kmsg where dmesg_restrict is 0, from a log of the user's group elsewhere."""
    log = public_path / "kern.log"
    log.write_text("")
    state = own_folder(public_path, "oom-state")
    line = f"{checkout}/checks/check_oom_kill.py --state-dir {state}"
    commands = {"oom": line, "oom_log": f"{line} --log {log}", "oom_soon": f"{line} --hold 3s"}
    with cage(tmp_path) as here, Nrpe(daemon_folder, commands) as daemon:
        before = daemon.ask("oom")
        assert " OK - " in before.out, before
        victim = here.kill()
        after = daemon.ask("oom")
        assert after.code == 2 and after.out.startswith("OOM_KILL CRITICAL - "), after
        counts = [int(re.search(r" oom_kills=([0-9]+)c", answer.out)[1]) for answer in (before, after)]  # type: ignore[index]
        assert counts[1] > counts[0]
        restricted = Path("/proc/sys/kernel/dmesg_restrict").read_text().strip() != "0"
        if restricted:
            assert "; whom it killed is not known (log: permission denied)" in after.out, after
            assert "or grant it by sudo (in sudoers: nagios ALL=(root) NOPASSWD: /usr/lib/nagios/plugins/check_oom_kill)" in after.out
        with open(log, "wb") as handle:
            subprocess.run(["dmesg"], stdout=handle, timeout=20, check=True)
        named = daemon.ask("oom_log")
        assert named.code == 2 and f"'{victim.name}' (pid {victim.pid}, " in named.out, named
        assert f"32.0 MiB cgroup limit of '{here.path}'" in named.out, named
        over = "OOM_KILL OK - no OOM kill in the last 3 s; "
        foreground.until("the end of its hold", lambda: daemon.ask("oom_soon").out.startswith(over))


def test_what_cannot_start_is_unknown(checkout: Path, public_path: Path, daemon_folder: Path) -> None:
    alone = {}
    for check in CHECKS:
        shutil.copy(checkout / "checks" / (check + ".py"), public_path)  # without the library
        alone[check] = f"{public_path}/{check}.py"
        alone["no_python_" + check] = f"/usr/bin/env PATH=/nonexistent /bin/sh {checkout}/checks/{check}.py"
    with Nrpe(daemon_folder, alone) as daemon:
        for name in alone:
            answer = daemon.ask(name)
            assert answer.code == 3, answer
            assert re.fullmatch(r"[A-Z_]+ UNKNOWN - cannot (start|run): .*\n", answer.out), answer
