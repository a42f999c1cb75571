from memtriage.procfs.pid import cgroup
from memtriage.procfs.pid.cgroup import Membership
from tests.procfs import samples


def test_lines() -> None:
    found = cgroup.parse(samples.PID_CGROUP)
    assert found == [
        Membership(12, ("cpu", "cpuacct"), "/user.slice"),
        Membership(4, ("memory",), "/docker/0a:b:c"),
        Membership(1, ("name=systemd",), "/user.slice/user-0.slice (deleted)"),
        Membership(0, (), "/../other.scope"),
    ]
    assert [member.deleted for member in found] == [False, False, True, False]


def test_lines_not_understood_are_left_out() -> None:
    assert cgroup.parse(b"\nx\n0:\nx::/\n-1::/\n0::a\n0::/\n0::/cut") == [Membership(0, (), "/")]
