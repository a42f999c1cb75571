from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from memtriage.procfs import files, kmsg
from memtriage.procfs.kmsg import Record, Wall

TEXT = "Killed process 7 (x)"


@pytest.mark.parametrize(("line", "up_s", "wall", "caller"), [
    (TEXT, None, None, ""),
    ("[   12.345678] " + TEXT, 12.345678, None, ""),
    ("<3>[   12.345678] " + TEXT, 12.345678, None, ""),
    ("[   12.345678][  T812] " + TEXT, 12.345678, None, "T812"),
    ("[   12.345678][    C1] " + TEXT, 12.345678, None, "C1"),
    ("kern  :err   : [   12.345678] " + TEXT, 12.345678, None, ""),
    ("[Tue Nov 25 03:12:07 2025] " + TEXT, None, Wall(2025, 11, 25, 11527, None), ""),
    ("2025-11-25T03:12:07,123456+01:00 " + TEXT, None, Wall(2025, 11, 25, 11527, 3600), ""),
    ("2025-11-25T03:12:07.123456+01:00 hub kernel: [   12.345678] " + TEXT, 12.345678, Wall(2025, 11, 25, 11527, 3600), ""),
    ("2025-11-25T03:12:07-0330 hub kernel: " + TEXT, None, Wall(2025, 11, 25, 11527, -12600), ""),
    ("2025-11-25T03:12:07Z hub kernel: " + TEXT, None, Wall(2025, 11, 25, 11527, 0), ""),
    ("Tue 2025-11-25 03:12:07 UTC hub kernel: " + TEXT, None, Wall(2025, 11, 25, 11527, 0), ""),
    ("Nov 25 03:12:07 hub kernel: " + TEXT, None, Wall(None, 11, 25, 11527, None), ""),
    ("Nov  5 03:12:07 hub kernel: [   12.345678] " + TEXT, 12.345678, Wall(None, 11, 5, 11527, None), ""),
    ("Nov 25 03:12:07 hub kern.err kernel: [   12.345678] " + TEXT, 12.345678, Wall(None, 11, 25, 11527, None), ""),
    ("[   12.345678] hub kernel: " + TEXT, 12.345678, None, ""),
    ("    MESSAGE=" + TEXT, None, None, ""),
    ("[  +0.000021] " + TEXT, None, None, ""),
    ("[Nov25 03:12] " + TEXT, None, None, ""),
])
def test_forms_of_text(line: str, up_s: float | None, wall: Wall | None, caller: str) -> None:
    assert kmsg.parse(line.encode() + b"\n") == ([Record(TEXT, up_s, wall, caller, None)], [])
    assert kmsg.parse(line.encode()).records[0].text == TEXT


def test_records_of_the_device() -> None:
    data = (b"6,339,5140900,-;NET: Registered\n SUBSYSTEM=net\n DEVICE=+net:lo\n"
            b"3,340,5690716,-,caller=T812;two\\x0alines, \\x5c and \\xc3\\xa9\n6,341,5690717,c;end\n")
    assert kmsg.parse(data).records == [Record("NET: Registered", 5.1409, None, "", 339),
                                        Record("two\nlines, \\ and \u00e9", 5.690716, None, "T812", 340),
                                        Record("end", 5.690717, None, "", 341)]


def test_who_is_not_the_kernel_is_left_out() -> None:
    data = (b"12,341,5690717,-;Killed process 1 (init)\n"
            b"Nov 25 03:12:07 hub app[77]: Killed process 1 (init)\nNov 25 03:12:07 hub app: kernel: Killed process 1 (init)\n")
    assert kmsg.parse(data) == ([], [])


def test_lines_that_a_program_may_not_forge_by_its_name() -> None:
    record, = kmsg.parse(b"[Tue Nov 25 03:12:07 2025] a b: invoked oom-killer: gfp_mask=0xd0, order=0\n").records
    assert record.text == "a b: invoked oom-killer: gfp_mask=0xd0, order=0"


def test_rsyslog_writes_control_characters_in_octal() -> None:
    record, = kmsg.parse(b"2025-11-25T03:12:07+01:00 hub kernel: [ 1.500000] Mem-Info:#012active_anon:1#011#033 #123 #\n").records
    assert record.text == "Mem-Info:\nactive_anon:1\t\x1b #123 #"


def test_a_record_that_is_cut_is_odd() -> None:
    log = kmsg.parse(b"6,339,5140900,-;first\n6,340,5140\n")
    assert [record.text for record in log.records] == ["first"]
    assert log.odd == ["6,340,5140"]


def test_empty() -> None:
    assert kmsg.parse(b"") == ([], [])
    assert kmsg.parse(b"\n\n \n") == ([], [])


def test_ring_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "kmsg").write_bytes(b"3,1,5,-;x\n")
    assert kmsg.ring(str(tmp_path)) == (b"3,1,5,-;x\n", 0)
    assert kmsg.read(str(tmp_path)).records == [Record("x", 5e-6, None, "", 1)]


def test_ring_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(files.Missing):
        kmsg.ring(str(tmp_path))
    with pytest.raises(files.Missing):
        kmsg.ring("a\0b")
    os.mkfifo(tmp_path / "kmsg")
    assert kmsg.ring(str(tmp_path)).data == b""


class Ring:
    """Stands for os.read on the device: a record a call, EPIPE where one was overwritten, EAGAIN at the end."""

    def __init__(self, answers: list[bytes | int]) -> None:
        self.answers = answers

    def __call__(self, handle: int, size: int) -> bytes:
        answer = self.answers.pop(0)
        if isinstance(answer, int):
            raise OSError(answer, os.strerror(answer))
        return answer


def test_overwritten_records_are_counted_and_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kmsg").write_bytes(b"")
    monkeypatch.setattr(kmsg.os, "read", Ring([b"3,1,5,-;a\n", errno.EPIPE, b"3,9,6,-;b\n", errno.EAGAIN]))
    assert kmsg.ring(str(tmp_path)) == (b"3,1,5,-;a\n3,9,6,-;b\n", 1)


def test_a_ring_that_never_ends_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kmsg").write_bytes(b"")
    monkeypatch.setattr(kmsg, "RECORDS", 100)
    monkeypatch.setattr(kmsg.os, "read", lambda handle, size: b"3,1,5,-;a\n")
    assert len(kmsg.ring(str(tmp_path)).data) == 1000
    monkeypatch.setattr(kmsg.os, "read", Ring([errno.EPIPE] * 5000))
    assert kmsg.ring(str(tmp_path)) == (b"", 1000)


def test_another_error_while_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kmsg").write_bytes(b"")
    monkeypatch.setattr(kmsg.os, "read", Ring([b"3,1,5,-;a\n", errno.EIO]))
    with pytest.raises(files.Unreadable):
        kmsg.ring(str(tmp_path))


@pytest.mark.skipif(not os.access("/dev/kmsg", os.R_OK), reason="needs a readable /dev/kmsg")
def test_the_ring_of_this_kernel() -> None:
    try:
        log = kmsg.read()
    except files.Denied as error:
        pytest.skip(str(error))
    assert log.odd == []
    numbers = [record.seq for record in log.records]
    assert None not in numbers
    assert numbers == sorted(number for number in numbers if number is not None)
