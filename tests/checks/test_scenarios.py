"""Every scenario through the checks' real files: exit code and complete output as in expected/, which people have read.

After a change of words: ``python -m tests.checks.test_scenarios``, then read the difference.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.checks.command import FIXTURES, on, run

EXPECTED = Path(__file__).parent / "expected"
SCENARIOS = sorted(path.parent.name for path in FIXTURES.glob("*/SOURCE"))
CASES = [(scenario, check, options) for scenario in SCENARIOS for check, options in (
    ("check_free_mem", ("--state-dir", "STATE")), ("check_slab_growth", ("--state-dir", "STATE")),
    ("check_proc_count", ("-C", "httpd", "-w", "50")))]


def output(scenario: str, check: str, options: tuple[str, ...], state: Path) -> str:
    words = [str(state) if word == "STATE" else word for word in options]
    answer = on(scenario, check, *words).sound()
    return f"exit {answer.code}\n{answer.out.replace(str(state), 'STATE')}"


@pytest.mark.parametrize(("scenario", "check", "options"), CASES, ids=[f"{scenario}-{check}" for scenario, check, _ in CASES])
def test_output(scenario, check, options, tmp_path):
    assert output(scenario, check, options, tmp_path) == (EXPECTED / f"{scenario}.{check}.txt").read_text()


@pytest.mark.parametrize(("dying", "words"), [(160_000, ", unreclaimable, of 160000 dying cgroups"), (100_000, ", unreclaimable")])
def test_removed_groups_are_named_where_they_explain_it(dying, words, tmp_path):
    """Also where nothing grows, or not yet provenly."""
    shutil.copytree(FIXTURES / "c-unreclaimable-slab", tmp_path / "host", symlinks=True)
    (tmp_path / "host/sys/fs/cgroup/cgroup.stat").write_text(f"nr_descendants 9\nnr_dying_descendants {dying}\n")
    answer = run("check_free_mem", "--procfs", "host/proc", "--state-dir", str(tmp_path / "state"), cwd=tmp_path).sound()
    assert answer.code == 2
    assert answer.first == f"FREE_MEM CRITICAL - 4.50% of 3.84 GiB available (177 MiB); culprit: slab cache 'kmalloc-4k' 2.40 GiB{words}"
    assert ("control groups that were removed" in answer.out) == (", of " in words)


STATES = {
    "a-page-cache": (0, "largest: page cache 3."),
    "b-reclaimable-slab": (0, "largest: slab cache 'nfs_inode_cache' 2.4", "reclaimable"),
    "c-unreclaimable-slab": (2, "culprit: slab cache 'kmalloc-4k' 2.4", "unreclaimable"),
    "d-process-group": (2, "culprit: process group 'httpd' (41 x "),
    "e-unaccounted": (2, "culprit: memory no counter explains 2."),
    "f-hugepages": (0, "largest: hugepages 2.50 GiB"),
    "g-tmpfs": (2, "culprit: shared memory/tmpfs 2."),
    "h-no-memavailable": (0, "estimated", "largest: slab cache 'nfs_inode_cache'"),
    "i-openvz": (0, "estimated"),
    "j-memtotal-zero": (3, "MemTotal is 0"),
    "k-swap-full": (2, "swap 100.0% used", "culprit: process group 'httpd'"),
    "l-available-over-total": (3, "MemAvailable", "larger than MemTotal", "a container's view"),
    "m-cut-file": (3, "it has no line SwapTotal: cut short"),
    "n-empty-file": (3, "it is empty"),
    "o-not-a-number": (3, "MemFree is not a number"),
}


@pytest.mark.parametrize("scenario", sorted(STATES))
def test_the_fifteen_states_of_one_box(scenario, tmp_path):
    code, *words = STATES[scenario]
    answer = on(scenario, "check_free_mem", "--state-dir", str(tmp_path)).sound()
    assert answer.code == code, answer.out
    for word in words:
        assert word in answer.first


def test_perfdata_ranges_agree_with_the_verdict(tmp_path):
    for scenario in SCENARIOS:
        answer = on(scenario, "check_free_mem", "--state-dir", str(tmp_path)).sound()
        if answer.code == 3:
            continue
        value, warn, crit = answer.perfdata["available_pct"].replace("%", "").split(";")[:3]
        assert (warn, crit) == ("10:", "5:")
        assert answer.code == (2 if float(value) < 5 else 1 if float(value) < 10 else 0)


if __name__ == "__main__":
    import tempfile

    EXPECTED.mkdir(exist_ok=True)
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            (EXPECTED / f"{case[0]}.{case[1]}.txt").write_text(output(*case, Path(folder)))
    sys.exit(0)
