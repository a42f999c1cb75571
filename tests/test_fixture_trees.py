"""The captured trees in tests/fixtures: made by the script beside them, and read by every parser without a line left over."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import runpy
import sys
from pathlib import Path

import pytest

from memtriage import accounting, procfs
from memtriage.procfs import auxv, files, meminfo, osrelease, pid, slabinfo, vmstat, zoneinfo
from memtriage.procfs.pid import stat, statm, status

FIXTURES = Path(__file__).parent / "fixtures"
SCENARIOS = sorted(folder.name for folder in FIXTURES.iterdir() if (folder / "proc").is_dir())
SPOILT = {"m-cut-file", "o-not-a-number"}
"""Their meminfo has odd lines. That is what they are for."""
SELECTION = {"vmstat"}
"""FIELDS of these documents what memtriage uses, not all there is."""
PARSERS = [importlib.import_module(module.name)
           for package in (procfs, pid) for module in pkgutil.iter_modules(package.__path__, package.__name__ + ".")]


def readers(per_process: bool):
    """All modules that read a kernel file, of processes or of the host."""
    for module in PARSERS:
        if module is files or not hasattr(module, "read") or module.__name__.endswith(".cgroup"):
            continue
        if ("pid" in inspect.signature(module.read).parameters) == per_process:
            yield module


def folders(name: str) -> tuple[str, str]:
    return str(FIXTURES / name / "proc"), str(FIXTURES / name / "sys")


def whole(result: object, module: object) -> None:
    """Asserts that nothing was left over in what ``module`` read."""
    assert not getattr(result, "odd", None), result.odd  # type: ignore[attr-defined]
    values = getattr(result, "values", None)
    fields = getattr(module, "FIELDS", None)
    if fields and isinstance(values, dict) and module.__name__.rpartition(".")[2] not in SELECTION:  # type: ignore[attr-defined]
        assert set(values) <= set(fields)


def test_names_are_those_that_other_tests_use() -> None:
    assert sorted([
        "a-page-cache", "b-reclaimable-slab", "c-unreclaimable-slab", "d-process-group", "e-unaccounted", "f-hugepages", "g-tmpfs",
        "h-no-memavailable", "i-openvz", "j-memtotal-zero", "k-swap-full", "l-available-over-total", "m-cut-file", "n-empty-file",
        "o-not-a-number", "healthy", "no-slabinfo", "cgroup-v2-limit", "cgroup-v1-limit", "merged-slab", "hostile-names",
        "container-hidepid"]) == SCENARIOS


@pytest.mark.parametrize("name", SCENARIOS)
def test_says_where_it_comes_from(name: str) -> None:
    source = (FIXTURES / name / "SOURCE").read_text()
    assert source.startswith("made by tests/fixtures/make.py: ") and source.count("\n") == 1
    assert "/work" not in source and "/home" not in source


def contents(root: Path) -> dict[str, bytes]:
    found = {}
    for folder, below, names in os.walk(root):
        for name in names + [one for one in below if os.path.islink(os.path.join(folder, one))]:
            path = os.path.join(folder, name)
            key = os.path.relpath(path, root)
            found[key] = b"-> " + os.fsencode(os.readlink(path)) if os.path.islink(path) else Path(path).read_bytes()
    return found


def test_script_makes_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    runpy.run_path(str(FIXTURES / "make.py"))["main"](str(tmp_path))
    made = contents(tmp_path)
    kept = {key: value for key, value in contents(FIXTURES).items() if key.split(os.sep)[0] in SCENARIOS}
    assert sorted(made) == sorted(kept)
    assert [key for key in made if made[key] != kept[key]] == []
    assert sum(map(len, made.values())) < 3_000_000


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_parser_understands_every_line(name: str) -> None:
    proc, sys_folder = folders(name)
    seen = set()
    for module in readers(per_process=False):
        root = sys_folder if "sys" in inspect.signature(module.read).parameters else proc
        try:
            result = module.read(root)
        except files.Missing:
            continue
        seen.add(module.__name__.rpartition(".")[2])
        if module is not meminfo or name not in SPOILT:
            whole(result, module)
    assert {"meminfo", "vmstat", "uptime", "stat", "swaps", "sockstat", "osrelease", "boot_id"} <= seen
    assert name == "i-openvz" or "zoneinfo" in seen
    for number in pid.pids(proc):
        for module in readers(per_process=True):
            try:
                whole(module.read(proc, number), module)
            except files.Missing:
                if module is not auxv:  # which only trees made of a recording have
                    assert module.__name__.endswith("smaps_rollup") and (
                        name in ("h-no-memavailable", "i-openvz") or stat.read(proc, number).rss_pages == 0)


@pytest.mark.parametrize("name", sorted(SPOILT))
def test_spoilt_meminfo_has_one_odd_line(name: str) -> None:
    assert len(meminfo.read(folders(name)[0]).odd) == 1


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name not in ("i-openvz", "j-memtotal-zero", "n-empty-file", *SPOILT)])
def test_numbers_agree_with_each_other(name: str) -> None:
    proc = folders(name)[0]
    info, counters, zones = meminfo.read(proc).get, vmstat.read(proc).get, zoneinfo.read(proc).zones
    total = info("MemTotal") or 0
    assert total == sum(zone.managed_pages or 0 for zone in zones) * 4096
    assert info("MemFree") == sum(zone.free_pages for zone in zones) * 4096 == (counters("nr_free_pages") or 0) * 4096
    assert info("SReclaimable") == (counters("nr_slab_reclaimable") or 0) * 4096
    assert info("SUnreclaim") == (counters("nr_slab_unreclaimable") or 0) * 4096
    pages = [info(key) or 0 for key in ("Buffers", "Cached", "SwapCached", "AnonPages")]
    assert sum(info(key) or 0 for key in ("Active", "Inactive", "Unevictable")) == sum(pages)
    if name != "no-slabinfo":
        listed = sum(cache.footprint(4096) for cache in slabinfo.read(proc).caches)
        assert 0.98 < listed / (info("Slab") or 0) <= 1
    known = info("MemAvailable")
    if known is not None and name != "l-available-over-total":
        marks = accounting.Watermarks(zoneinfo.low_watermark_pages(zones) * 4096, zoneinfo.reserve_pages(zones) * 4096)
        without = meminfo.Meminfo({key: value for key, value in meminfo.read(proc).values.items() if key != "MemAvailable"}, [])
        estimate, estimated = accounting.available(without, marks)
        assert estimated and abs(estimate - known) <= 8192
    book = accounting.ledger(meminfo.read(proc), accounting.Extra(osrelease.read(proc).version >= (5, 3)))
    hidden = (book.get("unaccounted") or 0) / total
    assert 0.6 < hidden < 0.7 if name == "e-unaccounted" else 0.005 < hidden < 0.02
    if len(pid.pids(proc)) > 3:
        assert sum(statm.read(proc, number).anon_pages for number in pid.pids(proc)) * 4096 == info("AnonPages")
    for number in pid.pids(proc):
        assert stat.read(proc, number).rss_pages == statm.read(proc, number).resident_pages


def test_a_hostile_name_comes_through_whole() -> None:
    proc = folders("hostile-names")[0]
    assert stat.read(proc, 1300).comm == "x | a=1;;\n\x1b[31m"
    assert stat.read(proc, 1301).comm == ") R 1 1 1 (x" and stat.read(proc, 1301).ppid == 1300
    assert status.read(proc, 1300).values  # the name's newline is written as two characters there
    assert slabinfo.read(proc).caches[0].name == "x|a=1;;'<b>$(id)"
