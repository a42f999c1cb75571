from pathlib import Path

from memtriage.procfs import net_tcp
from memtriage.procfs.net_tcp import ESTABLISHED, LISTEN, Socket
from tests.procfs import samples


def test_sockets() -> None:
    found = net_tcp.parse(samples.NET_TCP)
    assert found.odd == []
    assert found.sockets == [Socket(8080, 0, LISTEN, 2354154), Socket(8080, 51516, ESTABLISHED, 0),
                             Socket(8080, 51518, ESTABLISHED, 2354160)]


def test_version_6() -> None:
    assert net_tcp.parse(samples.NET_TCP6).sockets == [Socket(631, 0, LISTEN, 77)]


def test_an_odd_line_costs_itself() -> None:
    lines = samples.NET_TCP.splitlines(keepends=True)
    found = net_tcp.parse(lines[0] + b"   0: zz\n" + lines[1].replace(b"1F90", b"+F90") + lines[3] + lines[2][:-9])
    assert found.sockets == [Socket(8080, 51518, ESTABLISHED, 2354160)]
    assert len(found.odd) == 3


def test_a_host_without_ipv6(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_bytes(samples.NET_TCP)
    assert len(net_tcp.read(str(tmp_path)).sockets) == 3
    (tmp_path / "net" / "tcp6").write_bytes(samples.NET_TCP6)
    assert len(net_tcp.read(str(tmp_path)).sockets) == 4
