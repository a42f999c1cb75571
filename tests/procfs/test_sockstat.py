from memtriage.procfs import sockstat
from tests.procfs import samples


def test_protocols_and_memory() -> None:
    found = sockstat.parse(samples.SOCKSTAT)
    assert found.odd == []
    assert found.protocols["TCP"] == {"inuse": 35, "orphan": 2, "tw": 4, "alloc": 59, "mem": 1234}
    assert found.protocols["sockets"] == {"used": 290}
    assert found.memory_pages == 1234 + 62
    assert found.fragment_bytes == 8192


def test_absent_is_none() -> None:
    found = sockstat.parse(b"sockets: used 3\nTCP: inuse 1 highest 5\n")
    assert found.memory_pages is None
    assert found.fragment_bytes is None


def test_odd_lines() -> None:
    found = sockstat.parse(b"TCP: inuse\nUDP: inuse -1\nRAW inuse 1\nFRAG:\nUDP: mem 3\nUDP: mem 4\nTCP: mem 1")
    assert found.protocols == {"UDP": {"mem": 3}}
    assert found.odd == ["TCP: mem 1", "TCP: inuse", "UDP: inuse -1", "RAW inuse 1", "FRAG:", "UDP: mem 4"]
    assert found.memory_pages == 3
