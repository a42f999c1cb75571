"""On the kernel that runs the tests: a process of ours is killed, and the check names it, its cgroup and the limit."""

from __future__ import annotations

import os
import re
import subprocess
import time

import pytest

from memtriage.procfs import files, kmsg
from tests.checks.command import environment, run
from tests.checks.oomkiller import cage
from tests.conftest import python_for_others

pytestmark = [pytest.mark.needs_root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a cgroup")]


@pytest.fixture
def here(tmp_path):
    """The cgroup; unmounted and removed again."""
    with cage(tmp_path) as made:
        yield made


def sysfs_for(made, tmp_path):
    """/sys, or where the test had to mount the controller itself a folder that stands for it."""
    if str(made.folder).startswith("/sys/fs/cgroup"):
        return []
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/memory").symlink_to(made.folder.parent)
    return ["--sysfs", str(tmp_path / "sys")]


def test_the_host_sees_victim_cgroup_and_limit(here, tmp_path):
    state = ["--state-dir", str(tmp_path / "state"), "--hold", "1s"]
    run("check_oom_kill", *state).sound()
    victim = here.kill()
    answer = run("check_oom_kill", *state, "-v").sound()
    assert answer.code == 2
    assert int(answer.perfdata["kills_new"].split(";")[0]) >= 1
    try:
        kmsg.ring()
    except files.ProcfsError as error:
        assert f"Names are missing: {error}" in answer.out
        return
    # Somebody else's process may have been killed meanwhile: then ours is among them.
    assert f"Killed: '{victim.name}' (pid {victim.pid}, " in answer.out
    assert f"32.0 MiB cgroup limit of '{here.path}', most held by process group '{victim.name}' (1 x " in answer.first
    assert answer.out.splitlines()[1] == "The limit of a cgroup was reached, not the host's memory."
    time.sleep(1.2)
    assert run("check_oom_kill", *state).sound().perfdata["kills_hold"].startswith("0;")


def test_the_cgroup_sees_its_own_kill(here, tmp_path):
    options = ["--state-dir", str(tmp_path / "state"), "--cgroup", here.path, *sysfs_for(here, tmp_path)]
    before = run("check_oom_kill", *options).sound()
    assert (before.code, before.perfdata["oom_kills"]) == (0, "0c;;;0")
    assert before.first == f"OOM_KILL OK - no OOM kill in cgroup '{here.path}' since it was made"
    victim = here.kill()
    answer = run("check_oom_kill", *options).sound()
    assert (answer.code, answer.perfdata["oom_kills"], answer.perfdata["kills_new"]) == (2, "1c;;;0", "1;0;0;0")
    if os.access("/dev/kmsg", os.R_OK):
        assert re.match(rf"OOM_KILL CRITICAL - 1 OOM kill in cgroup '{here.path}' in the last [0-9]+ s: '{victim.name}'", answer.first)
        assert f"culprit: 32.0 MiB cgroup limit of '{here.path}'" in answer.first


def test_a_log_file_of_dmesg_gives_the_same_names(here, tmp_path):
    state = ["--state-dir", str(tmp_path / "state"), "--hold", "1s"]
    run("check_oom_kill", *state).sound()
    victim = here.kill()
    log = tmp_path / "dmesg.txt"
    for form in ([], ["-T"], ["-x"], ["--time-format", "iso"]):
        try:
            with open(log, "wb") as handle:
                subprocess.run(["dmesg", *form], stdout=handle, stderr=subprocess.DEVNULL, timeout=20, check=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("dmesg gives nothing here")
        options = ["--state-dir", str(tmp_path / ("state" + "".join(form))), "--log", str(log), "--hold", "366d"]
        answer = run("check_oom_kill", *options, "-vv").sound(8192)
        assert answer.code == 2
        assert f"Killed: '{victim.name}' (pid {victim.pid}, " in answer.out, form


def test_without_a_readable_log_the_counter_tells_and_the_remedy_is_said(here, public_path):
    state = public_path / "state"
    state.mkdir()
    os.chmod(state, 0o777)
    nobody = {"user": 65534, "group": 65534, "extra_groups": [], "env": environment(PATH=python_for_others())}
    options = ["--state-dir", str(state), "--hold", "1s", "--log", str(public_path / "kern.log")]
    (public_path / "kern.log").write_text("")
    os.chmod(public_path / "kern.log", 0o600)
    run("check_oom_kill", *options, **nobody).sound()
    here.kill()
    answer = run("check_oom_kill", *options, **nobody).sound()
    assert answer.code == 2
    assert answer.first.endswith("; whom it killed is not known (log: permission denied)")
    assert (f"Names are missing: {public_path}/kern.log: permission denied. Add the user to the file's group (mostly adm), or grant it by "
            "sudo.") in answer.out
