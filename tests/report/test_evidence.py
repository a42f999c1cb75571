"""``memtriage evidence`` through its real entry point: the report in full, the same bytes twice, and nothing private in any of it."""

from __future__ import annotations

import gzip
import io
import os
import re
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memtriage.recording import Recording
from memtriage.recording.payload import Process, Source
from memtriage.report import host as host_facts
from memtriage.report.oomtext import lines
from memtriage.report.private import CLASSES, Private
from tests.checks.command import ROOT
from tests.replay.made import Host, process, source

EXPECTED = Path(__file__).parent / "expected"
SECRETS = ["gringotts", "hermione", "alohomora", "10.77.1.9", "192.168.44.5", "fd12:3456:789a::42", "52:54:00:ab:cd:ef", "diagonalley",
           "vault713", "nimbus2000", "sirius", "hedwig@owlery.example", "ffe47ab0-1111-2222-3333-444455556666", "horcrux", "privet-drive"]
"""Words of the hostile host, each of which stands in several places of it."""


def evidence(*words: str, cwd: Path | str = "/", **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "memtriage", "evidence", *words], capture_output=True, text=True, timeout=60, check=False,
                          stdin=subprocess.DEVNULL, cwd=cwd,
                          env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "lib"), "TZ": "Asia/Tokyo", **env})


def opened(path: Path) -> dict[str, bytes]:
    found = {}
    with tarfile.open(path) as archive:
        for member in archive.getmembers():
            assert (member.mtime, member.uid, member.gid, member.uname, member.gname, member.mode) == (0, 0, 0, "", "", 0o644)
            assert member.isreg() and member.name.startswith("memtriage-evidence/")
            handle = archive.extractfile(member)
            assert handle is not None
            found[member.name.partition("/")[2]] = handle.read()
    return found


@pytest.fixture(scope="module")
def leak(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A boot of an older kernel in which nothing grows; of a newer one in which a cache does, until somebody is killed."""
    path = tmp_path_factory.mktemp("leak") / "recording"
    host = Host(path)
    counts = {"kmalloc-4k": 8000, "dentry": 4000}
    host.more = {"/sys/kernel/slab": source("kmalloc-4k :0004096\nnames_cache :0004096\ndentry .\n")}
    for _ in range(30):
        host.sample(caches=counts, available=2_000_000)
    host.reboot()
    host.up = 3700.0
    for minute in range(180):
        grown = max(0, minute - 60) * 2000
        host.more["loadavg"] = source(f"0.00 0.01 0.05 1/90 {1000 + minute * 50}\n")
        host.sample(caches={**counts, "kmalloc-4k": 8000 + grown}, available=2_000_000 - grown * 4)
    host.sample(host.killed("httpd", 20, group="/system.slice/web.service"))
    host.sample()
    host.close()
    return path


def test_the_report(leak: Path, tmp_path: Path) -> None:
    done = evidence(str(leak), "-o", "bundle.tar.gz", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    files = opened(tmp_path / "bundle.tar.gz")
    report = re.sub(r"(left out: picture.png: ).*", r"\1...", files["report.txt"].decode())
    report = re.sub(r"   - picture.png: .*\n", "", report.replace("   - left out: picture.png: ...\n", ""))
    assert report == (EXPECTED / "report.txt").read_text()
    assert max(map(len, report.splitlines())) <= 100
    assert files["oom.txt"].decode() == (EXPECTED / "oom.txt").read_text()
    rows = files["series.csv"].decode().splitlines()
    assert rows[0].startswith("time_utc,boot,release,uptime_s,available,p.anon,")
    assert rows[0].endswith(",c.kmalloc-4k,c.dentry,g.httpd,g.systemd")
    assert rows[-1].startswith("2023-11-15 01:54:20,2,6.1.1-test,14560.00,1073152000,") and rows[-1].count(",") == rows[0].count(",")
    with Recording(str(leak)) as recording:
        contents = [sample.content for sample in recording.samples()]
    for name in ("meminfo", "slabinfo", "vmstat", "zoneinfo"):
        assert files[f"first/{name}"] == contents[30].sources[name].data
        assert files[f"last/{name}"] == contents[-1].sources[name].data


def told(words: tuple[str, ...], tmp_path: Path) -> str:
    done = evidence(*words, "-o", str(tmp_path / "b.tar.gz"), "--force")
    assert (done.returncode, done.stderr) == (0, "")
    return " ".join(opened(tmp_path / "b.tar.gz")["report.txt"].decode().split())


@pytest.mark.slow
def test_a_part_of_the_recording(leak: Path, tmp_path: Path) -> None:
    """Times are UTC, whatever zone the caller is in; of a part before the kill no limit was reached."""
    text = told((str(leak), "--to", "2023-11-15 01:00"), tmp_path)
    assert "A recording of 157 samples (memtriage record), of which 157, evenly spread, were compared; 2023-11-14 22:13:20 to " \
           "2023-11-15 00:59:20." in text
    assert "No limit was reached at the last sample: neither of memory," in text and "None in this history." in text
    assert "struck" not in text and "oom.txt" not in opened(tmp_path / "b.tar.gz")
    rows = opened(tmp_path / "b.tar.gz")["series.csv"].decode().splitlines()
    assert rows[-1].startswith("2023-11-15 00:59:20,2,")
    text = told((str(leak), "--from", "1700004000", "--to", "2023-11-15T01:00:00"), tmp_path)
    assert "A recording of 100 samples (memtriage record), of which 100, evenly spread, were compared; 2023-11-14 23:20:20 to " in text
    assert "Other kernels seen in this history: none." in text


@pytest.mark.parametrize(("words", "why"), [
    (("FILE", "--to", "2001-01-01"), "FILE: no sample between these times"),
    (("FILE", "--from", "soon"), "'soon' is no time such as 2026-05-12T03:04"),
    (("--to", "2001-01-01"), "--from and --to ask for a part of a recording: give FILE")])
def test_a_part_that_is_none(leak: Path, words: tuple[str, ...], why: str) -> None:
    done = evidence(*(str(leak) if word == "FILE" else word for word in words), "--list")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"memtriage evidence: {why.replace('FILE:', f'{leak}:')}\n")


def test_kills_that_the_log_does_not_tell_of(tmp_path: Path) -> None:
    """By the kernel's counter alone: one before the recording began, and one within it."""
    host = Host(tmp_path / "recording")
    host.oom_kills = 1
    host.sample().sample()
    host.close()
    text = told((str(tmp_path / "recording"),), tmp_path)
    assert "A limit was reached: the kernel counts 1 OOM kill since boot; when is not in this history. At the last sample none was " \
           "reached: neither of memory, swap," in text
    assert "8. OOM kills None in this history; the kernel counts 1 since boot." in text
    host = Host(tmp_path / "other")
    host.sample().sample()
    host.oom_kills = 2
    host.sample()
    host.close()
    text = told((str(tmp_path / "other"),), tmp_path)
    assert "A limit was reached: the OOM killer struck 2 times, the last time at" in text and "(not named in the log)." in text
    assert "No limit was reached" not in text


def test_the_list_comes_first_and_tells_all(leak: Path, tmp_path: Path) -> None:
    listed = evidence(str(leak), "--list", cwd=tmp_path)
    done = evidence(str(leak), "-o", "b.tar.gz", cwd=tmp_path)
    assert (listed.returncode, done.returncode) == (0, 0) and os.listdir(tmp_path) == ["b.tar.gz"]
    shown = done.stdout.splitlines()
    assert listed.stdout.splitlines() == shown[:-1]
    files = opened(tmp_path / "b.tar.gz")
    named = {row.split()[0]: int(row.split()[1]) for row in shown[:-1] if " left out: " not in row}
    assert named == {name: len(data) for name, data in files.items()}
    assert re.fullmatch(r"b\.tar\.gz: [0-9]+ bytes, readable by you alone\. Read report\.txt in it before you send it\.", shown[-1])


@pytest.mark.slow
def test_a_warm_up_of_an_hour_that_is_asked_for_is_one(tmp_path: Path) -> None:
    """A night of five minutes after a boot: in the picture less than an hour is the warm-up, unless an hour is what was asked for."""
    pytest.importorskip("matplotlib")
    pictures = []
    for words in ((), ("--warmup", "1h"), ("--warmup", "61m")):
        told((str(ROOT / "tests/fixtures/story/recording"), *words), tmp_path)
        pictures.append(opened(tmp_path / "b.tar.gz")["picture.png"])
    assert pictures[0] != pictures[1] == pictures[2]


def title(picture: bytes) -> str:
    """What a picture of ours says on top, from its metadata."""
    found = re.search(rb"tEXtTitle\0([^\0]*)", picture)
    assert found is not None
    length = int.from_bytes(picture[found.start() - 4 : found.start()], "big")
    return picture[found.start(1) : found.start() + 4 + length].decode("latin-1")


@pytest.mark.parametrize("killed", [False, True], ids=["soon after the boot", "until a kill, and given back"])
def test_words_and_picture_name_the_same(tmp_path: Path, killed: bool) -> None:
    """Half an hour, of which the checks' warm-up of an hour would leave nothing; and a culprit that is small again at the end."""
    pytest.importorskip("matplotlib")
    host = Host(tmp_path / "recording")
    host.up = 120.0
    for minute in range(34):
        host.sample(caches={"kmalloc-4k": 8000 + minute * 12_000, "dentry": 4000}, available=2_600_000 - minute * 48_000)
    if killed:
        host.sample(host.killed("httpd", 20))
        for minute in range(5):
            host.sample(caches={"kmalloc-4k": 8000, "dentry": 4000 + 400 * minute}, available=2_400_000)
    host.close()
    text = told((str(tmp_path / "recording"),), tmp_path)
    shown = title(opened(tmp_path / "b.tar.gz")["picture.png"])
    assert re.fullmatch(r"slab cache 'kmalloc-4k' \+1\.[45][0-9] GiB in 3[0-3]\.[0-9] min", shown), shown
    growth = shown.rpartition("' ")[2]
    assert ": slab cache 'kmalloc-4k' grew by 1." in text.partition("2. Symptom")[0]
    assert f"The picture has it with {growth}: over the time by which it was judged. 2. Symptom" in text
    assert "not proven" not in text
    assert (", before the OOM kill, " in text) == killed and ("At this rate memory is gone in" in text) == (not killed)
    assert "Growth is judged, here and in the picture, by the rules of the checks for a window of 3" in text


def test_two_bundles_are_the_same_bytes(leak: Path, tmp_path: Path) -> None:
    for name, zone, seed in (("a.tar.gz", "UTC", "1"), ("b.tar.gz", "America/Lima", "2")):
        assert evidence(str(leak), "-o", str(tmp_path / name), TZ=zone, PYTHONHASHSEED=seed).returncode == 0
    data = (tmp_path / "a.tar.gz").read_bytes()
    assert data == (tmp_path / "b.tar.gz").read_bytes()
    assert data[3] == 0 and data[4:8] == bytes(4)  # no name, no time in gzip's head
    assert len(gzip.decompress(data)) % 512 == 0


def test_without_room_to_draw_there_is_a_bundle_all_the_same(leak: Path, tmp_path: Path) -> None:
    """On a host whose disks are read only, matplotlib fails as it is imported."""
    (tmp_path / "matplotlib").mkdir()
    (tmp_path / "matplotlib/__init__.py").write_text("raise OSError('Matplotlib requires access to a writable cache directory')\n")
    done = evidence(str(leak), "-o", str(tmp_path / "b.tar.gz"), PYTHONPATH=f"{tmp_path}:{ROOT / 'lib'}")
    assert (done.returncode, done.stderr) == (0, "")
    why = "drawing needs a folder that can be written: set MPLCONFIGDIR to one"
    assert f"{'picture.png':<24} left out: {why}" in done.stdout.splitlines()
    report = " ".join(opened(tmp_path / "b.tar.gz")["report.txt"].decode().split())
    assert f"left out: picture.png: {why}" in report


@pytest.mark.slow
def test_of_those_that_are_alike_the_same_are_told_first(tmp_path: Path) -> None:
    """In the report, in the picture and on its page, whatever order Python's sets have in that run."""
    host = Host(tmp_path / "recording")
    for number, name in enumerate(("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta")):
        host.processes[50 + number] = process(50 + number, name, 40_000)
    for _ in range(4):
        host.sample(available=1_000_000)
    host.close()
    made = []
    for seed in "123":
        out = tmp_path / f"{seed}.tar.gz"
        assert evidence(str(tmp_path / "recording"), "-o", str(out), PYTHONHASHSEED=seed).returncode == 0
        words = ("plot", str(tmp_path / "recording"), "-o", f"{out}.html")
        subprocess.run([sys.executable, "-m", "memtriage", *words], check=True, timeout=60,
                       env={**os.environ, "PYTHONPATH": str(ROOT / "lib"), "PYTHONHASHSEED": seed})
        made.append((out.read_bytes(), Path(f"{out}.html").read_bytes()))
    assert made[0] == made[1] == made[2]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hostile") / "recording"
    host = Host(path)
    group = "/user.slice/hermione.slice/vault713-horcrux.scope"
    command = ("/home/hermione/privet-drive/nimbus2000 --host gringotts.diagonalley.example --listen 10.77.1.9:80 "
               "--peer [fd12:3456:789a::42]:1 "
               "--password alohomora https://sirius:alohomora@vault713.example/horcrux hedwig@owlery.example")
    for minute in range(12):
        host.processes[40] = process(40, "hermione-gringo", 3000, command, f"0::{group}\n1:name=systemd:{group}\n")
        host.processes[41] = process(41, "sh -c /opt/horcrux/privet-drive", 3000 + 500 * minute, command, f"4:memory:{group}:colon\n")
        host.processes[42] = process(42, "Gringotts", 100, "", "")
        host.caches = {"kmalloc-4k": 8000, "dentry(1234:vault713-horcrux.scope)": 900 + 400 * minute}
        host.more = {
            "version": source("Linux version 6.1.0-gringotts (hermione@gringotts.diagonalley.example) (gcc 12 hedwig@owlery.example) #1\n"),
            "sys/kernel/osrelease": source("6.1.0-gringotts\n"),
            "cmdline": source("BOOT_IMAGE=/boot/vmlinuz-horcrux root=UUID=ffe47ab0-1111-2222-3333-444455556666 ip=10.77.1.9::192.168.44.5 "
                              "hostname=gringotts sirius psi=1 ifname=eth0:52:54:00:ab:cd:ef quiet diagonalley.mode=1 -- alohomora\n"),
            "swaps": source("Filename Type Size Used Priority\n/home/hermione/horcrux.swap file 10 0 -2\n"),
            "self/cgroup": source(f"0::{group}\n"), "/sys/kernel/slab": source("dentry(1234:vault713-horcrux.scope) :a-0000192\n"),
            f"/sys/fs/cgroup{group}/memory.max": source("max\n"), f"/sys/fs/cgroup{group}/memory.current": source("9000000\n"),
            "meta": source("page_size 4096\nargv /home/hermione/record\n"), "unknown/file": source("horcrux sirius\n")}
        noise = ("6,1,1,-;audit: sirius logged in from 192.168.44.5 mac 52:54:00:ab:cd:ef\n"
                 "6,2,2,-;IPTables IN=eth0 MAC=52:54:00:ab:cd:ef SRC=10.77.1.9 DST=fd12:3456:789a::42 horcrux\n")
        log = host.killed("hermione-gringo", 40, group=group) if minute == 8 else ""
        header, _, rest = log.partition("\n")
        inside = f"{header}\n4,60,7210000000,-;CPU: 0 PID: 40 Comm: hermione-gringo Not tainted 6.1.0 #1\n{noise}" \
                 "6,61,7210000000,-;[     40]  1000    40    50000     3000   100000        0             0 hermione-gringo\n" \
                 f"6,62,7210000000,-;Memory cgroup stats for {group}:\n{rest}"
        host.sample(noise + (inside if log else ""))
    host.close()
    return path


def words_of(path: Path) -> str:
    return "\n".join(f"{name}\n{data.decode('utf-8', 'replace')}" for name, data in opened(path).items()).lower()


ASKED = ("--hide", "gringotts", "--hide", "diagonalley", "--hide", "sirius")
"""Host names are known on the host itself only; of a recording from elsewhere they must be told."""


def test_a_hostile_host_leaves_no_private_word(hostile: Path, tmp_path: Path) -> None:
    with Recording(str(hostile)) as recording:
        raw = " ".join(str(sample.content) for sample in recording.samples()).lower()
    assert all(secret in raw for secret in SECRETS)
    done = evidence(str(hostile), "-o", str(tmp_path / "b.tar.gz"), *ASKED)
    assert (done.returncode, done.stderr) == (0, "")
    text = words_of(tmp_path / "b.tar.gz") + done.stdout.lower()
    assert [secret for secret in SECRETS if secret in text] == []
    # What is left still says who and what: the same word for the same thing.
    report = opened(tmp_path / "b.tar.gz")
    assert "Comm: user1-gringo Not tainted" in report["oom.txt"].decode()
    assert "Killed process 40 (user1-gringo) total-vm:900kB" in report["oom.txt"].decode()
    assert "(2 lines of something else left out)" in report["oom.txt"].decode()
    group = re.search(r"oom_memcg=(/user\.slice/cg[0-9]+/cg[0-9]+),", report["oom.txt"].decode())
    assert group is not None and group[1] in report["report.txt"].decode()
    assert f"{group[1]}\t" in report["processes.txt"].decode()
    assert "dentry(1234:" in report["last/slabinfo"].decode()


@pytest.mark.parametrize(("kind", "opens"), [
    ("users", ["hermione-gringo"]), ("paths", ["/user.slice/hermione.slice", "/home/hermione/horcrux.swap"]),
    ("commands", ["psi=1", "--password alohomora"]), ("hostnames", []), ("addresses", [])])
def test_include_opens_one_kind_each(hostile: Path, tmp_path: Path, kind: str, opens: list[str]) -> None:
    name = str(tmp_path / "b.tar.gz")
    included = "users,paths" if kind == "paths" else f"{kind},commands" if kind == "addresses" else kind
    assert evidence(str(hostile), "-o", name, "--include", included).returncode == 0
    text = words_of(Path(name))
    assert all(word in text for word in opens)
    assert ("10.77.1.9" in text) == (kind == "addresses") and ("alohomora" in text) == ("commands" in included)
    assert f"left as they are, as was asked: {', '.join(sorted(included.split(',')))}" in text


def test_the_live_host_does_not_name_itself_or_its_people(tmp_path: Path) -> None:
    done = evidence("-o", "b.tar.gz", "--state-dir", str(tmp_path / "none"), cwd=tmp_path, LOGNAME="hermione")
    assert (done.returncode, done.stderr) == (0, "")
    files = opened(tmp_path / "b.tar.gz")
    text = "\n".join(f"{name}\n{data.decode('utf-8', 'replace')}" for name, data in files.items())
    name = os.uname().nodename
    if len(name) > 3:
        assert name not in text
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert boot not in text and str(tmp_path) not in text and sys.executable not in text
    assert files["last/meminfo"].startswith(b"MemTotal:") and "first/meminfo" not in files
    assert f"{'first/':<24} left out: the live host is read once: give a recording" in done.stdout.splitlines()
    assert f", page {os.sysconf('SC_PAGE_SIZE') / 1024:.2f} KiB, " in files["report.txt"].decode().replace("\n  ", "")
    assert b"vm.swappiness = " in files["sysctl-vm.txt"]
    assert not re.search(rb"0x[0-9a-f]{8}", files.get("vmallocinfo.txt", b"") + files.get("modules.txt", b""))


def test_written_for_the_owner_alone_and_over_nothing(leak: Path, tmp_path: Path) -> None:
    target = tmp_path / "b.tar.gz"
    assert evidence(str(leak), "-o", str(target)).returncode == 0
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    before = target.read_bytes()
    for words in ((str(leak), "-o", str(target)), ("/nowhere", "-o", str(target))):
        done = evidence(*words)
        assert (done.returncode, done.stdout, done.stderr) == (
            1, "", f"memtriage evidence: {target} exists: give another name, or --force\n")
    victim, link = tmp_path / "victim", tmp_path / "link.tar.gz"
    victim.write_text("precious")
    link.symlink_to(victim)
    assert evidence(str(leak), "-o", str(link)).returncode == 1 and link.is_symlink()
    assert evidence(str(leak), "-o", str(link), "--force").returncode == 0
    assert victim.read_text() == "precious" and not link.is_symlink() and link.read_bytes() == before
    dangling = tmp_path / "dangling.tar.gz"
    dangling.symlink_to(tmp_path / "made-by-nobody")
    assert evidence(str(leak), "-o", str(dangling)).returncode == 1 and not (tmp_path / "made-by-nobody").exists()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    done = evidence(str(leak), "-o", str(fifo), "--force")
    assert (done.returncode, done.stderr) == (1, f"memtriage evidence: {fifo}: File exists\n") and fifo.is_fifo()
    assert sorted(os.listdir(tmp_path)) == ["b.tar.gz", "dangling.tar.gz", "fifo", "link.tar.gz", "victim"]


@pytest.mark.parametrize(("words", "code", "why"), [
    ((), 1, "memtriage evidence: give the file to write: -o bundle.tar.gz (or --list to see what would be in it)\n"),
    (("/nowhere", "--list"), 1, "memtriage evidence: /nowhere: No such file or directory\n"),
    (("/dev/null", "--list"), 1, "memtriage evidence: /dev/null: not a recording\n"),
    (("--list", "--include", "everything"), 2,
     "argument --include: 'everything' is none of hostnames, users, addresses, commands, paths\n"),
])
def test_what_cannot_be_done(words: tuple[str, ...], code: int, why: str) -> None:
    done = evidence(*words)
    assert done.returncode == code and done.stdout == "" and done.stderr.endswith(why)


def test_a_recording_without_a_sound_sample(tmp_path: Path) -> None:
    host = Host(tmp_path / "recording")
    host.more = {"meminfo": Source(None, 5, 0, 0)}
    host.sample().sample()
    host.close()
    done = evidence(str(tmp_path / "recording"), "--list")
    assert (done.returncode, done.stdout) == (1, "") and done.stderr.startswith("memtriage evidence: ") and "meminfo" in done.stderr


def test_taint_in_words() -> None:
    assert host_facts.tainted(0) == "no (0)"
    assert host_facts.tainted(4097) == "4097 = PO: proprietary module, externally-built module"
    assert host_facts.tainted(1 << 30) == f"{1 << 30} = : bits not known here: {1 << 30}"


def test_forms_of_addresses() -> None:
    private = Private((), ["web01.example.org", "web01"], ["bob", "jo"])
    assert private.text("from 10.0.0.1 to 10.0.0.2, 10.0.0.1. and 300.1.1.1, 127.0.0.1") == (
        "from 192.0.2.2 to 192.0.2.3, 192.0.2.2. and 300.1.1.1, 127.0.0.1")
    assert private.text("fe80::1%eth0 ::1 12:34:56 2001:db8:0:0:0:0:0:1") == "2001:db8::1 ::1 12:34:56 2001:db8::2"
    assert private.text("00:1B:44:11:3a:b7 and 00-1b-44-11-3a-b7") == "02:00:00:00:00:01 and 02:00:00:00:00:02"
    assert private.text("kworker/0:1 func+0x1/0x20 1.5 GiB/h </TASK> cpuset=/") == "kworker/0:1 func+0x1/0x20 1.5 GiB/h </TASK> cpuset=/"
    assert private.text("WEB01.example.org web01 jo john bob-1") == "host1 host2 user1 john user2-1"
    assert private.text("total-jo /srv/a", kernels=True) == "total-jo /path1"  # a host may be called vm, which stands in total-vm
    assert private.text("x /srv/a /srv/b '/srv/a'") == "x /path1 /path2 '/path1'"
    assert private.kernel_line("quiet ro root=/dev/sda slab_nomerge hugepages=8 psi=1 alice key=secret bob=1") == (
        "quiet ro root=cmd1 slab_nomerge hugepages=8 psi=1 cmd2 key=cmd3 user2=1")


@given(st.text(max_size=60), st.sampled_from(["10.9.8.7", "fd00::77", "52:54:00:12:34:56", "/home/bobby/secret",
                                      "bobby", "bobby@x.example"]),
       st.text(alphabet=" ,;()[]'\"", min_size=1, max_size=2))
@settings(max_examples=300, deadline=None)
def test_whatever_stands_around_it(around: str, secret: str, edge: str) -> None:
    private = Private((), [], ["bobby"])
    said = private.text(around.replace("\0", "") + edge + secret + edge + around[::-1])
    assert secret not in said and "bobby" not in said


@given(st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_any_log_is_some_lines(data: bytes) -> None:
    for row in lines(data + b"\n6,9,5000000,-;x invoked oom-killer: order=0\n" + data, Private((), [], [])):
        assert "\n" not in row


@given(st.binary(max_size=200), st.binary(max_size=100))
@settings(max_examples=200, deadline=None)
def test_any_process_is_cleaned(stat_text: bytes, group: bytes) -> None:
    private = Private((), [], [])
    clean = private._process(Process(stat_text, b"1 2 3", b"cmd\0line", group))
    assert clean.cmdline == b"cmd1\0" and clean.statm == b"1 2 3"


def test_every_class_is_an_option() -> None:
    done = evidence("--help")
    assert done.returncode == 0 and ",".join(CLASSES) in " ".join(done.stdout.split()).replace(", ", ",")
    assert io.StringIO(done.stdout).readline().startswith("usage: memtriage evidence ")
