"""The memory that records wait in: first in, first out, nothing overwritten, full is said."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as some

from memtriage.recorder.writer import Buffer
from memtriage.recording import layout


@settings(max_examples=300, deadline=None)
@given(some.lists(some.one_of(some.integers(0, 900), some.none()), max_size=80))
def test_as_a_queue(steps: list[int | None]) -> None:
    buffer = Buffer(4096)
    waiting: list[tuple[int, bytes]] = []
    for number, size in enumerate(steps):
        if size is None:
            if waiting:
                start, length, head = buffer.records.popleft()
                seq, body = waiting.pop(0)
                assert head.seq == seq and length % layout.ALIGN == 0
                assert bytes(buffer.view[start + layout.ALIGN : start + layout.ALIGN + len(body)]) == body
            continue
        body = bytes([number % 256]) * size
        head = layout.Head(b"", number, 0, 0, size, size, 0, 0, 0, layout.KEY, 0, 0)
        fits = buffer.put(head, body)
        used = sum(layout.padded(layout.ALIGN + len(one)) for _, one in waiting)
        if fits:
            waiting.append((number, body))
        else:  # never while less than half is used
            assert used + head.length > 4096 - 1024
        for (start, length, _), (_, one) in zip(buffer.records, waiting):
            assert bytes(buffer.view[start + layout.ALIGN : start + layout.ALIGN + len(one)]) == one
            assert start + length <= 4096
    assert len(buffer.records) == len(waiting)


def test_what_is_larger_than_all_of_it() -> None:
    buffer = Buffer(1024)
    assert not buffer.put(layout.Head(b"", 1, 0, 0, 2000, 2000, 0, 0, 0, layout.KEY, 0, 0), bytes(2000))
    assert not buffer.records
