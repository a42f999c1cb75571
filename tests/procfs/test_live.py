"""The kernel these tests run on: everything it offers is read, and nothing of it is odd."""

import os
import subprocess
import sys
import time

import pytest

from memtriage.procfs import (
    boot_id,
    cgroup,
    dentry_state,
    files,
    loadavg,
    meminfo,
    osrelease,
    slab_aliases,
    slabinfo,
    uptime,
    vmstat,
    zoneinfo,
)
from memtriage.procfs import stat as host_stat
from memtriage.procfs.files import Denied, Missing, Unreadable
from memtriage.procfs.pid import cmdline, pids, smaps_rollup, stat, statm, status
from tests.procfs.parsers import modules

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/meminfo"), reason="needs Linux")
READERS = {name: module.read for name, module in modules().items() if hasattr(module, "read") and name not in ("files", "keyed")}


@pytest.mark.parametrize("name", sorted(READERS))
def test_read(name: str) -> None:
    try:
        found = READERS[name]()
    except (Missing, Denied) as error:
        pytest.skip(str(error))
    except Unreadable as error:
        if name == "pressure":  # built in and switched off
            pytest.skip(str(error))
        raise
    assert getattr(found, "odd", []) == []


def test_every_key_of_meminfo_is_documented() -> None:
    assert set(meminfo.read().values) - set(meminfo.FIELDS) == set()


def test_every_key_of_smaps_rollup_is_documented() -> None:
    assert set(smaps_rollup.read().values) - set(smaps_rollup.FIELDS) == set()


def test_slabinfo_adds_up_to_slab() -> None:
    try:
        caches = slabinfo.read().caches
    except (Missing, Denied) as error:
        pytest.skip(str(error))
    slab = meminfo.read().get("Slab")
    total = sum(cache.footprint(os.sysconf("SC_PAGE_SIZE")) for cache in caches)
    assert slab is not None
    assert abs(total - slab) < 0.15 * slab + 4 * 1024 * 1024


def test_aliases_know_the_names_of_slabinfo() -> None:
    try:
        caches, links = slabinfo.read().caches, slab_aliases.read()
    except (Missing, Denied) as error:
        pytest.skip(str(error))
    known = [slab_aliases.reclaimable("/sys", cache.name) for cache in caches]
    assert known.count(None) <= len(known) // 10
    dentry = slab_aliases.reclaimable("/sys", "dentry")
    assert dentry in (True, None)
    one = next(names for names in links.groups.values() if names)
    assert links.aliases(one[0]) == one[1:]


def test_memavailable_can_be_reckoned_from_zoneinfo() -> None:
    page = os.sysconf("SC_PAGE_SIZE")
    for _ in range(10):  # other programs allocate meanwhile
        info, zones, counters = meminfo.read(), zoneinfo.read().zones, vmstat.read()
        low, reserve = zoneinfo.low_watermark_pages(zones), zoneinfo.reserve_pages(zones)
        cache = (counters.get("nr_inactive_file") or 0) + (counters.get("nr_active_file") or 0)
        slab = (counters.get("nr_slab_reclaimable") or 0) + (counters.get("nr_kernel_misc_reclaimable") or 0)
        free = (info.get("MemFree") or 0) // page  # not the zones' own: a host that hands memory back may count it as free in meminfo alone
        mine = (free - reserve + cache - min(cache // 2, low) + slab - min(slab // 2, low)) * page
        kernels = info.get("MemAvailable")
        assert kernels is not None
        if abs(mine - kernels) < 0.001 * kernels:
            return
        time.sleep(0.1)
    pytest.fail(f"reckoned {mine}, the kernel says {kernels}")


def test_vmstat_and_meminfo_agree() -> None:
    assert vmstat.read().get("oom_kill") is not None or (osrelease.read().version or (0, 0)) < (4, 13)
    info, counters = meminfo.read(), vmstat.read()
    for key, counter in (
        ("SReclaimable", "nr_slab_reclaimable"),
        ("SUnreclaim", "nr_slab_unreclaimable"),
        ("PageTables", "nr_page_table_pages"),
    ):
        told, pages = info.get(key), counters.get(counter)
        assert told is not None and pages is not None
        assert abs(told - pages * os.sysconf("SC_PAGE_SIZE")) < 0.1 * told + 1024 * 1024


def test_boot() -> None:
    assert boot_id.read() == boot_id.read()
    up, boot = uptime.read().up_s, host_stat.read().btime
    assert boot is not None and up > 0
    assert osrelease.read().text == os.uname().release
    assert loadavg.read().tasks > 0
    state = dentry_state.read()
    assert state.nr_dentry >= state.nr_unused


def test_own_process() -> None:
    own = os.getpid()
    assert own in pids()
    found = stat.read("/proc", own)
    assert (found.pid, found.ppid, found.kthread) == (own, os.getppid(), False)
    names = status.read("/proc", own)
    assert names.get("Threads") == found.num_threads
    assert names.uids is not None and names.uids[0] == os.getuid()
    resident, rolled = statm.read("/proc", own).resident_pages * os.sysconf("SC_PAGE_SIZE"), smaps_rollup.read("/proc", own).get("Rss")
    assert rolled is not None and abs(resident - rolled) < 0.25 * rolled + 2 * 1024 * 1024


def test_a_process_with_a_hostile_name() -> None:
    code = "import sys; open('/proc/self/comm', 'w').write(') Z 1\\n2 \\\\(x'); sys.stdout.write('x'); sys.stdout.flush(); sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", code, "a b", ""], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None and child.stdout.read(1) == b"x"
        name = status.read("/proc", child.pid).name
        found = stat.read("/proc", child.pid)
        assert name == found.comm == ") Z 1\n2 \\(x"
        assert found.ppid == os.getpid()
        assert cmdline.read("/proc", child.pid)[1:] == ["-c", code, "a b"]
    finally:
        child.communicate()


def test_every_process_is_read() -> None:
    for number in pids():
        try:
            found = stat.read("/proc", number)
            assert status.read("/proc", number).odd == []
            cmdline.read("/proc", number)
            pages = statm.read("/proc", number)
        except Missing:
            continue
        assert not found.kthread or pages.resident_pages == 0


def test_control_groups_end_at_the_root() -> None:
    try:
        groups = cgroup.read()
    except Missing as error:
        pytest.skip(str(error))
    if groups:
        assert groups[-1].path == "/"
        assert [group.path for group in groups] == sorted((group.path for group in groups), key=len, reverse=True)


def test_nothing_heavy_is_imported() -> None:
    heavy = "{'re', 'psutil', 'logging', 'json', 'dataclasses', 'argparse'}"
    code = f"import memtriage.procfs.slabinfo, memtriage.procfs.meminfo; print(*sorted(set(sys.modules) & {heavy}))"
    lib = os.path.dirname(os.path.dirname(os.path.dirname(files.__file__)))
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", f"import sys; sys.path.insert(0, {lib!r}); {code}"], stdout=subprocess.PIPE, check=True
    )
    assert set(done.stdout.decode().split()) <= {"re"}  # typing itself needs re before Python 3.13
