"""What a check remembers: every way a disk, a folder, a file or another process can fail, really made."""

from __future__ import annotations

import ast
import ctypes
import fcntl
import json
import os
import pickle
import random
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memtriage import state
from memtriage.state import LIMIT, Memory, Sample, default_folder, remember
from memtriage.thinning import MOST, SHARE, _ages, decoded, fitted, placed, thinned

ROOT = os.geteuid() == 0
ME = str(os.geteuid())
NOBODY = 65534
LIB = str(Path(state.__file__).parent.parent)
needs_root = pytest.mark.skipif(not ROOT, reason="mounts and foreign owners need root")


def at(uptime: float, boot: str = "boot-1", **values: int) -> Sample:
    return Sample(boot, uptime, values or {"x": int(uptime)})


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "base" / ME)


def uptimes(memory: Memory) -> list[float]:
    return [sample.uptime for sample in memory.samples]


def filled(folder: str, *moments: float) -> None:
    for moment in moments:
        memory = remember(folder, "c", at(moment))
        assert memory.stored and memory.problem is None


def fits(memory: Memory, pattern: str) -> bool:
    """Whether the problem is one plain line of that pattern."""
    assert memory.problem is not None
    assert re.fullmatch(r"[ -{}~]{1,500}", memory.problem), memory.problem
    assert re.search(pattern, memory.problem), memory.problem
    return True


def raw(folder: str, suffix: str = ".json") -> bytes:
    return Path(folder, "c" + suffix).read_bytes()


def child(work: Callable[[], object], uid: int | None = None, mount: tuple[str, str] | None = None) -> object:
    """Runs ``work`` in a process of its own, as ``uid`` and with a tmpfs of those options at ``mount`` that only it sees."""
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer: object = None
            try:
                if mount:
                    private_tmpfs(*mount)
                if uid is not None:
                    os.setgroups([])
                    os.setgid(uid)
                    os.setuid(uid)
                answer = work()
            except BaseException as error:
                answer = error
            with os.fdopen(into, "wb") as pipe:
                pickle.dump(answer, pipe)
        finally:
            os._exit(0)
    os.close(into)
    with os.fdopen(out, "rb") as pipe:
        data = pipe.read()
    os.waitpid(pid, 0)
    answer = pickle.loads(data)
    if isinstance(answer, BaseException):
        raise answer
    return answer


def private_tmpfs(where: str, options: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x20000):  # CLONE_NEWNS
        raise PermissionError("unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True, capture_output=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", where], check=True, capture_output=True)


def mounted(work: Callable[[], object], where: str, options: str) -> object:
    try:
        return child(work, mount=(where, options))
    except (PermissionError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no private mount here: {error}")


# --- the folder -------------------------------------------------------------------------------------------------------------------


def test_the_folder_comes_from_the_option_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = tmp_path / "system"
    monkeypatch.setattr(state, "SYSTEM", str(system))
    surroundings = {"MEMTRIAGE_STATE_DIR": "/env", "XDG_STATE_HOME": "/xdg", "HOME": "/"}
    assert default_folder(surroundings, "/given", 7) == "/given/7"
    assert default_folder(surroundings, None, 7) == "/env/7"
    del surroundings["MEMTRIAGE_STATE_DIR"]
    assert default_folder(surroundings, None, 7) == "/xdg/memtriage/7"
    assert default_folder({**surroundings, "XDG_STATE_HOME": "relative"}, None, 7) == "/.local/state/memtriage/7"
    assert default_folder({"HOME": ""}, None, 7) == f"{system}/7"
    # Services have such a home; as root it would be made.
    assert default_folder({"HOME": str(tmp_path / "gone")}, None, 7) == f"{system}/7"
    assert default_folder({"HOME": str(tmp_path / "gone")}, None, 0) == f"{system}/0"
    assert default_folder({}, None, 0) == f"{system}/0"
    system.mkdir()
    assert default_folder(surroundings, None, 65534) == f"{system}/65534"


@needs_root
def test_root_leaves_nothing_in_the_home_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "SYSTEM", str(tmp_path / "system"))
    os.chown(tmp_path, 1000, 1000)
    assert default_folder({"HOME": str(tmp_path)}, None, 0) == f"{tmp_path}/system/0"
    assert default_folder({"HOME": str(tmp_path)}, None, 1000) == f"{tmp_path}/.local/state/memtriage/1000"


def test_only_the_user_may_read_or_write(folder: str) -> None:
    before = os.umask(0)
    try:
        filled(folder, 1, 2)
        os.umask(0o277)
        filled(folder, 3)
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    assert {name: stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode) for name in os.listdir(folder)} == {
        "c.json": 0o600,
        "c.lock": 0o600,
    }


def test_a_folder_others_can_write_to_is_refused(folder: str) -> None:
    filled(folder, 1)
    os.chmod(folder, 0o770)
    memory = remember(folder, "c", at(2))
    assert uptimes(memory) == [2] and not memory.stored
    assert fits(memory, f"^state not saved: {folder} can be written to by others; chmod it to 0700; no memory of earlier runs$")


@pytest.mark.parametrize("suffix", ["", "/"])
@pytest.mark.parametrize("dangling", [False, True])
@pytest.mark.parametrize("which", ["base", "own"])
def test_a_symlinked_folder_is_refused(tmp_path: Path, which: str, dangling: bool, suffix: str) -> None:
    real = tmp_path / "real"
    if not dangling:
        (real / ME).mkdir(mode=0o700, parents=True)
    folder = tmp_path / "base" / ME
    if which == "base":
        folder.parent.symlink_to(real)
    else:
        folder.parent.mkdir()
        folder.symlink_to(real / ME)
    memory = remember(str(folder) + suffix, "c", at(2))
    assert uptimes(memory) == [2] and not memory.stored
    assert fits(
        memory, r"^state not saved: .*is a symbolic link or not what belongs there; remove it or give another --state-dir; no memory"
    )
    assert not list(tmp_path.rglob("c.*"))


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "base").write_text("")
    assert fits(remember(str(tmp_path / "base" / ME), "c", at(2)), "not what belongs there")
    assert fits(remember(str(tmp_path / "base" / "more" / ME), "c", at(2)), "not what belongs there")


@pytest.mark.parametrize("name", ["", "a/b", "..", ".x", "a\0", "a\n|<b>"])
def test_names_that_lead_elsewhere(folder: str, name: str) -> None:
    assert fits(remember(folder, name, at(2)), "is no name for a state file")


@pytest.mark.parametrize("path", ["/tmp/\0/0", "/tmp/" + "x" * 300 + "/0", "/proc/nothing/0", "/dev/null/0", "/tmp/|<b>\n\udcff\u00e9/\0"])
def test_paths_that_cannot_be(path: str) -> None:
    memory = remember(path, "c", at(2))
    assert uptimes(memory) == [2] and not memory.stored
    assert fits(memory, "^state not saved: ")


@needs_root
def test_a_folder_of_roots(public_path: Path) -> None:
    (public_path / "base").mkdir(mode=0o755)
    folder = str(public_path / "base" / str(NOBODY))
    memory = child(lambda: remember(folder, "c", at(2)), NOBODY)
    assert isinstance(memory, Memory) and fits(memory, "no permission for .* as uid 65534; chown it or give another --state-dir; no memory")
    os.mkdir(folder, 0o755)
    memory = child(lambda: remember(folder, "c", at(2)), NOBODY)
    assert isinstance(memory, Memory) and fits(memory, "belongs to uid 0, not 65534; chown it or give another --state-dir; no memory")
    os.chown(folder, NOBODY, NOBODY)
    memory = child(lambda: remember(folder, "c", at(2)), NOBODY)
    assert memory == Memory([at(2)], None, True)
    os.chmod(folder, 0o500)
    memory = child(lambda: remember(folder, "c", at(3)), NOBODY)
    assert isinstance(memory, Memory) and fits(memory, "no permission for .*/c.new as uid 65534.*; old samples used$")
    assert uptimes(memory) == [2, 3] and not memory.stored


@needs_root
def test_files_of_roots_in_the_users_folder(public_path: Path) -> None:
    folder = public_path / str(NOBODY)
    folder.mkdir(mode=0o700)
    os.chown(folder, NOBODY, NOBODY)
    child(lambda: remember(str(folder), "c", at(1)), NOBODY)
    os.chown(folder / "c.json", 0, 0)
    memory = child(lambda: remember(str(folder), "c", at(2)), NOBODY)
    assert isinstance(memory, Memory) and memory.stored and uptimes(memory) == [2]
    assert fits(memory, "c.json belongs to uid 0, not 65534; old file kept as .*/c.damaged; starting again$")
    os.chown(folder / "c.lock", 0, 0)
    memory = child(lambda: remember(str(folder), "c", at(3)), NOBODY)
    assert isinstance(memory, Memory) and not memory.stored and uptimes(memory) == [2, 3]
    assert fits(memory, "^state not saved: no permission for .*/c.lock as uid 65534")


# --- the disk ---------------------------------------------------------------------------------------------------------------------


@needs_root
def test_full_disk(tmp_path: Path) -> None:
    folder = str(tmp_path / ME)

    def work() -> object:
        filled(folder, 1, 2)
        before = raw(folder)
        with open(tmp_path / "ballast", "wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(b"x" * 512)
            except OSError:
                pass
        memory = remember(folder, "c", at(3))
        untouched = raw(folder) == before
        others = sorted(os.listdir(folder))
        first = remember(folder, "other", at(3))
        os.unlink(tmp_path / "ballast")
        return memory, untouched, others, first, remember(folder, "c", at(4))

    memory, untouched, others, first, after = mounted(work, str(tmp_path), "size=16k,mode=0755")  # type: ignore[misc]
    assert uptimes(memory) == [1, 2, 3] and not memory.stored and untouched
    assert fits(memory, f"^state not saved: no room left in {folder}; make some; old samples used$")
    assert others == ["c.json", "c.lock"]
    assert uptimes(first) == [3] and fits(first, "no room left .*; no memory of earlier runs$")
    assert after == Memory([at(1), at(2), at(4)], None, True)


@needs_root
def test_full_disk_while_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    folder = str(tmp_path / ME)

    def work() -> object:
        filled(folder, 1)
        Path(folder, "c.json").write_bytes(b"half")
        Path(tmp_path, "ballast").write_bytes(b"x" * 4096)
        return remember(folder, "c", at(2)), raw(folder)

    memory, content = mounted(work, str(tmp_path), "size=8k,mode=0755")  # type: ignore[misc]
    assert not memory.stored and content == b"half"
    assert fits(memory, "^state not saved: no room left .*; no memory of earlier runs; .*c.json is damaged$")


@needs_root
@pytest.mark.parametrize("ever", [True, False])
def test_read_only_file_system(tmp_path: Path, ever: bool) -> None:
    folder = str(tmp_path / ME)

    def work() -> object:
        if ever:
            filled(folder, 1, 2)
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path)], check=True, capture_output=True)
        return remember(folder, "c", at(3))

    memory = mounted(work, str(tmp_path), "size=64k,mode=0755")
    assert isinstance(memory, Memory) and not memory.stored
    if ever:
        assert uptimes(memory) == [1, 2, 3]
        assert fits(memory, f"^state not saved: {folder} is read-only; old samples used$")
    else:
        assert uptimes(memory) == [3]
        assert fits(memory, f"^state not saved: {tmp_path} is read-only; no memory of earlier runs$")


# --- the files --------------------------------------------------------------------------------------------------------------------

GOOD = {"format": 1, "name": "c", "keys": ["x", "y"], "boots": ["boot-1"], "rows": [[0, 1.5, 1, None]]}
DEEP = b"[" * 100_000
DAMAGED: dict[str, bytes] = {
    "empty": b"",
    "half": json.dumps(GOOD).encode()[:-7],
    "zeroes": bytes(4096),
    "binary": b"\xff\xfe\x00{",
    "another shape": b"[1, 2]",
    "text": b'"x"',
    "numbers as text": json.dumps({**GOOD, "rows": [[0, 1.5, "1", None]]}).encode(),
    "bool": json.dumps({**GOOD, "rows": [[0, 1.5, True, None]]}).encode(),
    "bool as boot": json.dumps({**GOOD, "rows": [[False, 1.5, 1, None]]}).encode(),
    "float": json.dumps({**GOOD, "rows": [[0, 1.5, 1.0, None]]}).encode(),
    "NaN": json.dumps({**GOOD, "rows": [[0, float("nan"), 1, None]]}).encode(),
    "NaN value": json.dumps({**GOOD, "rows": [[0, 1.5, float("nan"), None]]}).encode(),
    "infinite": json.dumps({**GOOD, "rows": [[0, float("inf"), 1, None]]}).encode(),
    "no uptime": json.dumps({**GOOD, "rows": [[0, None, 1, None]]}).encode(),
    "negative uptime": json.dumps({**GOOD, "rows": [[0, -1, 1, None]]}).encode(),
    "more than 64 bits": json.dumps({**GOOD, "rows": [[0, 1.5, 2**64, None]]}).encode(),
    "150,000 digits": json.dumps(GOOD).encode().replace(b"1.5", b"7" * 150_000),
    "900 digits": json.dumps(GOOD).encode().replace(b"1.5", b"7" * 900),
    "short row": json.dumps({**GOOD, "rows": [[0, 1.5, 1]]}).encode(),
    "no row": json.dumps({**GOOD, "rows": [{}]}).encode(),
    "no boot": json.dumps({**GOOD, "rows": [[1, 1.5, 1, None]]}).encode(),
    "boot from behind": json.dumps({**GOOD, "rows": [[-1, 1.5, 1, None]]}).encode(),
    "boot is none": json.dumps({**GOOD, "boots": [None]}).encode(),
    "key twice": json.dumps({**GOOD, "keys": ["x", "x"]}).encode(),
    "key is a list": json.dumps({**GOOD, "keys": ["x", []]}).encode(),
    "key is a number": json.dumps({**GOOD, "keys": ["x", 1]}).encode(),
    "rows missing": json.dumps({key: GOOD[key] for key in GOOD if key != "rows"}).encode(),
    "deep": DEEP,
    "deep inside": json.dumps(GOOD).encode()[:-1] + b', "more": ' + DEEP,
}
FOREIGN: dict[str, bytes] = {
    "another format": json.dumps({**GOOD, "format": 2}).encode(),
    "true format": json.dumps({**GOOD, "format": True}).encode(),
    "another check's": json.dumps({**GOOD, "name": "d"}).encode(),
    "nothing": b"{}",
}


def test_the_sound_example(folder: str) -> None:
    filled(folder, 1)
    Path(folder, "c.json").write_text(json.dumps(GOOD))
    assert remember(folder, "c", at(2)) == Memory([Sample("boot-1", 1.5, {"x": 1}), at(2)], None, True)
    assert json.loads(raw(folder)) == {**GOOD, "keys": ["x"], "rows": [[0, 1.5, 1], [0, 2, 2]]}


@pytest.mark.parametrize("what", [*DAMAGED, *FOREIGN])
def test_contents_not_ours_are_set_aside(folder: str, what: str) -> None:
    filled(folder, 1)
    contents = {**DAMAGED, **FOREIGN}[what]
    why = "is damaged" if what in DAMAGED else "is of another version or check"
    Path(folder, "c.json").write_bytes(contents)
    Path(folder, "c.damaged").write_bytes(b"an earlier one")
    start = time.process_time()
    memory = remember(folder, "c", at(2))
    assert time.process_time() - start < 0.5
    assert uptimes(memory) == [2] and memory.stored
    assert fits(memory, f"^{folder}/c.json {why}; old file kept as {folder}/c.damaged; starting again$")
    assert raw(folder, ".damaged") == contents
    assert remember(folder, "c", at(3)) == Memory([at(2), at(3)], None, True)
    assert sorted(os.listdir(folder)) == ["c.damaged", "c.json", "c.lock"]


def test_over_long_file(folder: str) -> None:
    filled(folder, 1)
    os.truncate(os.path.join(folder, "c.json"), 2**40)
    memory = remember(folder, "c", at(2))
    assert memory.stored and fits(memory, r"c.json is longer than 180224 bytes; old file kept as .*; starting again$")
    assert os.path.getsize(os.path.join(folder, "c.damaged")) == 2**40


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_contents_make_it_raise(data: st.DataObject) -> None:
    good = bytearray(json.dumps(GOOD).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(good) - 1))
        good[place : place + data.draw(st.integers(0, 5))] = data.draw(st.binary(max_size=4))
        if not good:
            break
    try:
        samples = decoded("c", bytes(good))
    except (LookupError, ValueError, TypeError, RecursionError):
        return
    assert decoded("c", fitted("c", samples, samples[0])[0] if samples else bytes(good)) == samples


@pytest.mark.parametrize("kind", ["symlink", "dangling", "fifo", "folder", "socket"])
@pytest.mark.parametrize("suffix", [".json", ".lock", ".new", ".damaged"])
def test_something_else_in_a_files_place(folder: str, tmp_path: Path, suffix: str, kind: str) -> None:
    filled(folder, 1)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"precious")
    path = Path(folder, "c" + suffix)
    if path.exists():
        path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        os.mknod(path, stat.S_IFSOCK | 0o600)
    else:
        path.symlink_to(elsewhere if kind == "symlink" else tmp_path / "none")
    start = time.monotonic()
    memory = remember(folder, "c", at(2))
    assert time.monotonic() - start < 2
    assert elsewhere.read_bytes() == b"precious" and not (tmp_path / "none").exists()
    if suffix == ".json":
        kinds = "is a symbolic link" if kind in ("symlink", "dangling") else "is not a regular file"
        assert memory.stored and uptimes(memory) == [2] and fits(memory, f"c.json {kinds}; old file kept as .*c.damaged; starting again$")
        assert remember(folder, "c", at(3)) == Memory([at(2), at(3)], None, True)
    elif suffix == ".lock" or (suffix == ".new" and kind == "folder"):
        assert not memory.stored and uptimes(memory) == [1, 2]
        assert fits(memory, f"^state not saved: .*c{suffix} .*; remove it.*; old samples used$")
    else:
        assert memory == Memory([at(1), at(2)], None, True)


def test_nothing_can_be_set_aside(folder: str) -> None:
    filled(folder, 1)
    Path(folder, "c.json").write_bytes(b"half")
    Path(folder, "c.damaged", "full").mkdir(parents=True)
    memory = remember(folder, "c", at(2))
    assert not memory.stored and raw(folder) == b"half"
    assert fits(memory, "^state not saved: .*c.damaged is a symbolic link or not what belongs there; remove it")
    assert sorted(os.listdir(folder)) == ["c.damaged", "c.json", "c.lock"]


def test_a_leftover_of_a_crash_is_replaced(folder: str) -> None:
    filled(folder, 1)
    Path(folder, "c.new").write_bytes(b"x" * 1000)
    filled(folder, 2)
    assert sorted(os.listdir(folder)) == ["c.json", "c.lock"]


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        (Sample("b", float("nan"), {}), "uptime"),
        (Sample("b", float("inf"), {}), "uptime"),
        (Sample("b", -1.0, {}), "uptime"),
        (Sample("", 1.0, {}), "boot id"),
        (Sample("b" * 300, 1.0, {}), "boot id"),
        (Sample("b", 1.0, {"x": 2**64}), "value"),
        (Sample("b", 1.0, {"x": True}), "value"),
        (Sample("b", 1.0, {"x": 1.5}), "value"),  # type: ignore[dict-item]
        (Sample("b", 1.0, {"x" * 300: 1}), "key"),
    ],
)
def test_a_sample_that_is_none_is_refused(folder: str, sample: Sample, words: str) -> None:
    filled(folder, 1)
    memory = remember(folder, "c", sample)
    assert memory.samples == [at(1)] and not memory.stored
    assert fits(memory, f"^state not saved: (the|a) {words} of the sample is no .*; old samples used$")


# --- other processes --------------------------------------------------------------------------------------------------------------


def test_a_lock_held_by_another_process(folder: str) -> None:
    filled(folder, 1)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl,sys; f=open(sys.argv[1]); fcntl.flock(f,2); print(flush=True); sys.stdin.read()",
            f"{folder}/c.lock",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    try:
        holder.stdout.readline()
        before = raw(folder)
        start = time.monotonic()
        memory = remember(folder, "c", at(2), deadline_s=0.3)
        assert 0.28 < time.monotonic() - start < 2
        assert uptimes(memory) == [1, 2] and not memory.stored and raw(folder) == before
        assert fits(
            memory, f"^state not saved: {folder}/c.lock was held by another run for 0.3 s; look for one that hangs; old samples used$"
        )
        start = time.monotonic()
        assert not remember(folder, "c", at(2), deadline_s=0).stored
        assert time.monotonic() - start < 2
    finally:
        holder.communicate(b"")
    assert remember(folder, "c", at(2)) == Memory([at(1), at(2)], None, True)


def test_twenty_at_once(folder: str) -> None:
    code = "import sys,time; from memtriage.state import *; f,n=sys.argv[1:]; m=remember(f,'c',Sample('b',float(n),{'x':1}),10); print(m)"
    code += "; sys.exit(not m.stored or m.problem is not None or not any(s.uptime == float(n) for s in m.samples))"
    start = time.monotonic()
    moments = random.sample(range(100, 120), 20)
    runs = [
        subprocess.Popen([sys.executable, "-SEc", f"import sys; sys.path.insert(0, {LIB!r}); {code}", folder, str(n)], stdout=-1)
        for n in moments
    ]
    answers = [(run.communicate()[0], run.returncode) for run in runs]
    assert [code for _, code in answers] == [0] * 20, answers
    assert time.monotonic() - start < 8
    assert uptimes(remember(folder, "c", at(200, "b"))) == [*range(100, 120), 200]


def test_killed_in_the_middle_of_writing(folder: str) -> None:
    code = f"import sys; sys.path.insert(0, {LIB!r}); from memtriage.state import *\n"
    # Portions and pauses, so that a kill meets a write on any disk; and short writes must do no harm anyway.
    code += "import os, time\nwrite = os.write\n"
    code += "os.write = lambda handle, data: write(handle, data[:4096]) + (time.sleep(0.0005) or 0)\n"
    code += "v = {'key%d' % i: 10**12 + i for i in range(1500)}\nn = float(sys.argv[2])\n"
    code += "while True:\n    n += 1; m = remember(sys.argv[1], 'c', Sample('b', n, v)); assert m.stored and not m.problem, m.problem\n"
    code += "    print(n, flush=True)\n"
    last, leftovers = 0.0, 0
    for _ in range(25):
        run = subprocess.Popen([sys.executable, "-SEc", code, folder, str(last)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert run.stdout is not None
        if not run.stdout.readline():
            pytest.fail(run.communicate()[1].decode())
        time.sleep(random.random() * 0.03)
        run.send_signal(signal.SIGKILL)
        _, trouble = run.communicate()
        assert not trouble
        leftovers += os.path.exists(os.path.join(folder, "c.new"))
        data = raw(folder)
        assert len(data) <= LIMIT
        samples = decoded("c", data)
        assert samples[-1].uptime > last
        last = samples[-1].uptime
    assert leftovers, "no kill met a write: the test proves nothing"
    assert not os.path.exists(os.path.join(folder, "c.damaged"))


def test_the_new_file_is_on_the_disk_before_it_takes_the_name(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(folder, 1)
    calls: list[str] = []
    fsync, rename = os.fsync, os.rename

    def watched_fsync(handle: int) -> None:
        calls.append(f"fsync {os.fstat(handle).st_size > 0}")
        fsync(handle)

    def watched_rename(source: str, target: str, **where: int) -> None:
        calls.append(f"{source} to {target}")
        rename(source, target, **where)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "rename", watched_rename)
    filled(folder, 2)
    assert calls == ["fsync True", "c.new to c.json"]
    calls.clear()
    Path(folder, "c.json").write_bytes(b"half")
    assert remember(folder, "c", at(3)).stored
    assert calls == ["fsync True", "c.json to c.damaged", "c.new to c.json"]


def test_descriptors_are_closed_and_not_inherited(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(os.listdir("/proc/self/fd"))
    filled(folder, 1, 2)
    Path(folder, "c.lock").unlink()
    Path(folder, "c.lock").mkdir()
    remember(folder, "c", at(3))
    os.chmod(folder, 0o777)
    remember(folder, "c", at(3))
    assert len(os.listdir("/proc/self/fd")) == before

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    os.chmod(folder, 0o700)
    os.rmdir(os.path.join(folder, "c.lock"))
    monkeypatch.setattr(fcntl, "flock", interrupted)
    with pytest.raises(KeyboardInterrupt):
        remember(folder, "c", at(3))
    assert len(os.listdir("/proc/self/fd")) == before


# --- order and bounds -------------------------------------------------------------------------------------------------------------


def test_a_sample_that_comes_late_is_put_in_its_place(folder: str) -> None:
    filled(folder, 10, 12)
    memory = remember(folder, "c", at(11))
    assert uptimes(memory) == [10, 11, 12] and memory.problem is None and memory.stored
    memory = remember(folder, "c", at(11, y=5))
    assert memory.samples == [at(10), at(11, y=5), at(12)]
    assert json.loads(raw(folder))["keys"] == ["x", "y"]


def test_after_a_reboot_the_earlier_boot_comes_first(folder: str) -> None:
    filled(folder, 1000, 2000)
    memory = remember(folder, "c", at(5, "boot-2"))
    assert memory == Memory([at(1000), at(2000), at(5, "boot-2")], None, True)
    assert remember(folder, "c", at(6, "boot-2")).samples == [at(1000), at(2000), at(5, "boot-2"), at(6, "boot-2")]
    assert remember(folder, "c", at(3000)).samples == [at(5, "boot-2"), at(6, "boot-2"), at(1000), at(2000), at(3000)]


def test_another_time_line_is_set_aside(folder: str) -> None:
    filled(folder, 10, 1000, 2000)
    before = raw(folder)
    memory = remember(folder, "c", at(50))
    assert uptimes(memory) == [10, 50] and memory.stored and raw(folder, ".damaged") == before
    assert fits(
        memory, r"^2 stored samples of this boot lie in its future \(restored snapshot or captured tree\); old file kept as .*c.damaged$"
    )
    assert remember(folder, "c", at(60)) == Memory([at(10), at(50), at(60)], None, True)


def test_a_step_of_the_wall_clock_changes_nothing(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for moment, wall in ((1, 1.7e9), (2, 0.0), (3, 4e9)):
        monkeypatch.setattr(time, "time", lambda wall=wall: wall)
        memory = remember(folder, "c", at(moment))
    assert memory == Memory([at(1), at(2), at(3)], None, True)


def test_the_state_knows_no_wall_clock() -> None:
    for module in ("state.py", "thinning.py"):
        tree = ast.parse(Path(LIB, "memtriage", module).read_text())
        names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert not names & {"time", "time_ns", "gmtime", "localtime", "now"}


def test_imports_are_cheap() -> None:
    code = f"import sys, os, json, typing, collections.abc; a=set(sys.modules); sys.path.insert(0, {LIB!r}); "
    code += "import memtriage.state; print(set(sys.modules)-a)"
    done = subprocess.run([sys.executable, "-SEc", code], capture_output=True, text=True, check=True)
    assert ast.literal_eval(done.stdout) <= {
        "memtriage",
        "memtriage.state",
        "memtriage.record",
        "memtriage.thinning",
        "fcntl",
        "errno",
        "time",
        "stat",
        "__future__",
    }


def history(interval: float, length: float) -> list[Sample]:
    samples: list[Sample] = []
    moment = 0.0
    while moment <= length:
        samples.append(Sample("b", moment, {}))
        moment += interval
        samples = thinned(samples)
    return samples


@pytest.mark.parametrize("interval", [pytest.param(1, marks=pytest.mark.slow), 60, 300, 3600])
def test_a_week_is_covered_at_any_rate(interval: int) -> None:
    # Only lengths above MOST are thinned, so calling for each of 604,800 runs would test the same at ten times the price.
    week = 7 * 86400
    samples: list[Sample] = []
    for moment in range(0, week + 1, interval):
        samples.append(Sample("b", float(moment), {}))
        if len(samples) > MOST:
            samples = thinned(samples)
            assert samples[0].uptime == 0 and len(samples) == 280
    assert samples[0].uptime == 0 and samples[-1].uptime == week // interval * interval and len(samples) > min(160, MOST - 20)
    ages = [week - sample.uptime for sample in samples]
    for older, newer in zip(ages, ages[1:]):
        assert older - newer <= max(interval, 0.08 * (newer + 60) + interval), (older, newer)


def test_samples_of_more_than_eight_days_go_but_the_last_run_stays() -> None:
    day = 86400.0
    samples = history(3600, 30 * day)
    assert 7 * day < samples[-1].uptime - samples[0].uptime <= 8 * day
    assert [sample.uptime for sample in thinned([at(0), at(day), at(30 * day)])] == [day, 30 * day]
    assert [sample.boot for sample in thinned([at(0), at(1, "b"), at(30 * day, "b")])] == ["boot-1", "b", "b"]


def test_the_age_of_an_earlier_boot_is_what_it_must_be_at_least() -> None:
    assert _ages([at(70, "a"), at(100, "a"), at(1, "b"), at(30, "b"), at(50)]) == [110, 80, 79, 50, 0]


def test_reboots_all_the_time() -> None:
    samples: list[Sample] = []
    for boot in range(100):
        for moment in range(40):
            samples = thinned(placed(samples, at(moment * 60, f"boot-{boot}"))[0])
    assert len(samples) <= MOST
    boots = list(dict.fromkeys(sample.boot for sample in samples))
    assert boots == [f"boot-{boot}" for boot in range(91, 100)]
    for boot in boots:
        line = [sample.uptime for sample in samples if sample.boot == boot]
        assert (line[0], line[-1]) == (0, 39 * 60)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.floats(0, 1e6), st.dictionaries(st.sampled_from("xyz"), st.integers(-(2**63), 2**64 - 1))),
        max_size=60,
    ),
    st.integers(1, 40),
)
def test_whatever_comes_order_and_bounds_hold(rows: list[tuple[str, float, dict[str, int]]], most: int) -> None:
    samples: list[Sample] = []
    for row in rows:
        new = Sample(*row)
        samples, _ = placed(samples, new)
        samples = thinned(samples, most, most, new)
        assert len(samples) <= most
        assert most == 1 or new in samples
        assert samples[-1].boot == new.boot or most == 1
        runs = [sample.boot for before, sample in zip([None, *samples], samples) if before is None or before.boot != sample.boot]
        assert len(runs) == len(set(runs))
        for before, after in zip(samples, samples[1:]):
            assert before.boot != after.boot or before.uptime < after.uptime
        data, cut = fitted("c", samples, new)
        assert not cut and decoded("c", data) == samples


def test_many_keys_cost_samples_and_not_the_bound(folder: str) -> None:
    for moment in range(60):
        sample = at(moment, **{f"a_rather_long_name_of_a_slab_cache_{key}": 10**9 + moment for key in range(700)})
        memory = remember(folder, "c", sample)
        assert memory.stored and memory.problem is None and memory.samples[-1] is sample
        assert len(raw(folder)) <= LIMIT
    stored = decoded("c", raw(folder))
    assert 12 < len(stored) < 30 and stored[0].uptime == 0 and stored[-1].uptime == 59


def test_a_sample_that_leaves_no_room_for_others_is_cut_too() -> None:
    sample = at(1, **{f"process_{key}": key * 1000 for key in range(5000)})
    data, cut = fitted("c", [sample], sample)
    assert 0 < cut < 5000 and len(data) <= SHARE


def test_a_sample_too_large_loses_its_smallest_values(folder: str) -> None:
    for moment in range(20):
        sample = at(moment, **{f"process_{key}": key * 1000 for key in range(20_000)})
        memory = remember(folder, "c", sample)
        assert memory.stored and memory.samples[-1] is sample
        assert len(raw(folder)) <= LIMIT
        assert fits(memory, r"^state of c too large: only the \d+ largest of 20000 values saved$")
    stored = decoded("c", raw(folder))
    assert len(stored) >= 4 and stored[0].uptime == 0
    kept = stored[-1].values
    assert set(kept) == {f"process_{key}" for key in range(20_000 - len(kept), 20_000)}
    assert SHARE * 0.7 < len(fitted("c", stored[-1:], stored[-1])[0]) <= SHARE
