"""The picture: what it shows is what was found, and any fleet can be drawn."""

from __future__ import annotations

from pathlib import Path

import pytest

from memtriage.fleet import hosts, perfdata, summary

pytest.importorskip("matplotlib")
from memtriage.fleet import figure


def drawn(size: int, kernels: int = 2, tag: str = "6.%d") -> summary.Summary:
    fleet = hosts.Fleet(1_780_000_000.0)
    for number in range(size):
        attributes = {"kernel": tag % (number % kernels), "role": "x" * 60 if number % 3 else "y"}
        host = fleet.hosts[f"h{number}"] = hosts.Host(f"h{number}", attributes)
        grows = number % kernels == 0
        values = {"slab_total": 9.0, "growth_per_hour": 40.0 * 2**20 * grows * (1 + number % 5), **({"eta": 9.0} if grows else {})}
        host.slab = hosts.Result(hosts.OK, perfdata.Figures(values, {}, {"filp": 5 if grows else 0}, 0), 0)
    return summary.summarise(fleet, "https://m1:5665", (), None, None)


def test_it_shows_what_was_found() -> None:
    found = drawn(60)
    picture = figure.draw(found)
    left, right = picture.axes
    assert "growth goes with kernel=6.0" in picture.get_suptitle()
    labels = [text.get_text() for text in left.get_yticklabels()]
    assert labels[-1] == "kernel=6.0  (30 of 30)" and labels[0] == "kernel=6.1  (0 of 30)"
    assert [text.get_text() for text in right.get_yticklabels()] == ["6.1  (30)", "6.0  (30)"]
    points = [line for line in right.get_lines() if line.get_marker() in (".", "^")]
    proven = [value for line in points if line.get_marker() == "^" for value in line.get_xdata()]
    assert sorted(set(proven)) == [40.0, 80.0, 120.0, 160.0, 200.0] and len(proven) == 30
    plain = [value for line in points if line.get_marker() == "." for value in line.get_xdata()]
    assert plain == [0.0] * 30


def test_there_is_always_a_scale_and_a_name() -> None:
    """Also where the intervals are narrow, and where no host says its kernel."""
    found = drawn(60)
    roles = [one for one in found.kernel.findings if one.group.names[0][0] == "role"]
    left, right = figure.draw(found._replace(kernel_keys=[], growth={}, kernel=found.kernel._replace(findings=roles))).axes
    assert [text.get_text() for text in left.get_xticklabels()] == ["0.1", "1", "10"]
    assert right.get_title(loc="left") == "How fast slab grows, by kernel"


@pytest.mark.slow
@pytest.mark.parametrize(("size", "kernels", "tag"),
                         [(0, 1, "%d"), (1, 1, "%d"), (12, 1, "%d"), (400, 60, "%d"), (60, 3, "$\\frac{\x1b|<%d>\n")])
@pytest.mark.filterwarnings("error")
def test_any_fleet_can_be_drawn(tmp_path: Path, size: int, kernels: int, tag: str) -> None:
    found = drawn(size, kernels, tag)
    for name, magic in (("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF")):
        figure.drawer(str(tmp_path / name))(found)
        assert (tmp_path / name).read_bytes().startswith(magic)


@pytest.mark.slow
def test_the_same_fleet_makes_the_same_picture(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        figure.drawer(str(tmp_path / name))(drawn(60))
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
