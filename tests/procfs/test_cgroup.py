from pathlib import Path

import pytest

from memtriage.procfs import cgroup
from memtriage.procfs.cgroup import Group
from memtriage.procfs.files import Malformed
from memtriage.procfs.pid.cgroup import Membership
from tests.procfs import samples


def v1(folder: Path, limit: int, usage: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (folder / "memory.usage_in_bytes").write_text(f"{usage}\n")
    (folder / "memory.stat").write_bytes(samples.CGROUP_V1_STAT)


def v2(folder: Path, limit: str, usage: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{usage}\n")
    (folder / "memory.stat").write_bytes(samples.CGROUP_V2_STAT)


def group1(path: str, limit: "int | None", usage: int) -> Group:
    return Group(path, 1, limit, usage, 249995264, 176517120, None, 435597312, 9084928)


def group2(path: str, limit: "int | None", usage: "int | None") -> Group:
    return Group(path, 2, limit, usage, 400, 500, 600, 2000, 300)


def in_v1(path: str) -> "list[Membership]":
    return [Membership(5, ("cpu", "cpuacct"), "/elsewhere"), Membership(4, ("memory",), path), Membership(0, (), "/other")]


def in_v2(path: str) -> "list[Membership]":
    return [Membership(1, ("name=systemd",), "/elsewhere"), Membership(0, (), path)]


def test_version_1(tmp_path: Path) -> None:
    mount = tmp_path / "fs/cgroup/memory"
    v1(mount, 9223372036854771712, 900)
    v1(mount / "docker", 9223372036854775807, 800)
    v1(mount / "docker/a:b", 536870912, 700)
    assert cgroup.read_limits(str(tmp_path), in_v1("/docker/a:b")) == [
        group1("/docker/a:b", 536870912, 700),
        group1("/docker", None, 800),
        group1("/", None, 900),
    ]


@pytest.mark.parametrize("place", ["fs/cgroup", "fs/cgroup/unified"])
def test_version_2(tmp_path: Path, place: str) -> None:
    mount = tmp_path / place
    v2(mount / "a.slice/b.service", "1048576", 7)
    v2(mount / "a.slice", "max", 8)
    (mount / "cgroup.controllers").write_text("memory\n")
    (mount / "memory.stat").write_bytes(samples.CGROUP_V2_STAT)  # the host's root has no limit and no usage
    assert cgroup.read_limits(str(tmp_path), in_v2("/a.slice/b.service")) == [
        group2("/a.slice/b.service", 1048576, 7),
        group2("/a.slice", None, 8),
        group2("/", None, None),
    ]


def test_version_2_group_without_the_controller_is_left_out(tmp_path: Path) -> None:
    mount = tmp_path / "fs/cgroup"
    v2(mount / "a", "5", 4)
    (mount / "a/b").mkdir()
    assert cgroup.read_limits(str(tmp_path), in_v2("/a/b")) == [group2("/a", 5, 4)]


@pytest.mark.parametrize("path", ["/docker/4f", "/", "/../x", "/x/../../..", "/..", "/a.slice (deleted)", "/a\0b", "/" + "x" * 5000])
def test_a_container_sees_its_own_group_as_the_root(tmp_path: Path, path: str) -> None:
    v2(tmp_path / "fs/cgroup", "1048576", 7)
    v2(tmp_path / "fs/cgroup/x", "1", 1)
    v2(tmp_path / "fs/x", "2", 2)
    assert cgroup.read_limits(str(tmp_path), in_v2(path)) == [group2("/", 1048576, 7)]


def test_version_1_memory_not_mounted_falls_to_version_2(tmp_path: Path) -> None:
    v2(tmp_path / "fs/cgroup", "9", 7)
    assert cgroup.read_limits(str(tmp_path), in_v1("/a")) == [group2("/", 9, 7)]


def test_nothing_mounted(tmp_path: Path) -> None:
    assert cgroup.read_limits(str(tmp_path), in_v2("/a")) == []
    assert cgroup.read_limits(str(tmp_path), []) == []


def test_missing_files_are_none(tmp_path: Path) -> None:
    (tmp_path / "fs/cgroup").mkdir(parents=True)
    (tmp_path / "fs/cgroup/memory.max").write_text("4096\n")
    assert cgroup.read_limits(str(tmp_path), in_v2("/")) == [Group("/", 2, 4096, None, None, None, None, None, None)]


@pytest.mark.parametrize(
    ("data", "limit"),
    [
        (b"max\n", None),
        (b"0\n", 0),
        (b"4611686018427387903\n", 2**62 - 1),
        (b"4611686018427387904\n", None),
        (b"9223372036854771712\n", None),
        (b"18446744073709551615\n", None),
    ],
)
def test_limit(data: bytes, limit: "int | None") -> None:
    assert cgroup.parse_limit(data) == limit


@pytest.mark.parametrize("data", [b"", b"max", b"409", b"-1\n", b"maximum\n", b"1 2\n"])
def test_malformed_limit(data: bytes) -> None:
    with pytest.raises(Malformed):
        cgroup.parse_limit(data)


def test_read_follows_the_process(tmp_path: Path) -> None:
    v2(tmp_path / "sys/fs/cgroup/a", "1048576", 7)
    (tmp_path / "proc/12").mkdir(parents=True)
    (tmp_path / "proc/12/cgroup").write_bytes(b"0::/a\n")
    assert cgroup.read(str(tmp_path / "proc"), str(tmp_path / "sys"), 12) == [group2("/a", 1048576, 7)]


@pytest.mark.parametrize(("folder", "data", "told"), [
    ("fs/cgroup", "nr_descendants 12\nnr_dying_descendants 2067\n", 2067),
    ("fs/cgroup/unified", "nr_descendants 0\nnr_dying_descendants 0\n", 0),
    ("fs/cgroup", "nr_descendants 12\n", None),
    ("fs/cgroup", "nr_dying_descendants many\n", None),
    ("fs/cgroup", "", None),
    ("elsewhere", "nr_dying_descendants 1\n", None),
])
def test_dying(tmp_path: Path, folder: str, data: str, told: "int | None") -> None:
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "cgroup.stat").write_text(data)
    assert cgroup.dying(str(tmp_path)) == told
