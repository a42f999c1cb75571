"""What is read back is what was written, byte for byte, alone and against another; and no bytes whatever end otherwise than as damage."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from memtriage.recording import Content, Damaged, Process, Source, layout, payload
from tests.recording import made

texts = some.one_of(some.binary(max_size=200), some.lists(some.sampled_from(
    [b"a 1", b"a 2", b"a 10", b"", b"b" * 300, b"slab  12 34", b"slab  12 35", b"\0", b"x" * 70000]), max_size=8).map(b"\n".join))
sources = some.dictionaries(some.sampled_from(["meminfo", "vmstat", "net/sockstat", "\u00e9"]), some.one_of(
    some.builds(Source, texts, some.just(0), some.integers(-2**31, 2**31 - 1), some.integers(0, 2**32 - 1)),
    some.builds(Source, some.none(), some.integers(0, 133), some.integers(-9, 9), some.integers(0, 9))), max_size=4)
short = some.binary(max_size=40)
processes = some.dictionaries(some.integers(1, 9), some.one_of(
    some.builds(Process, short, short, short, short),
    some.builds(Process, some.sampled_from([b"1 (a) S 1\n", b"1 (a) S 12\n", b"1 (a\nb) R 1\n"]),
                some.sampled_from([b"1 2\n", b"1 3\n", b"", b"1\n2\n"]))
), max_size=6).map(lambda found: dict(sorted(found.items())))
contents = some.builds(Content, sources, processes, some.just(Source(b"", 0, 5, 6)))


@settings(max_examples=400, deadline=None)
@given(contents, contents)
def test_back_as_it_was(one: Content, two: Content) -> None:
    first = payload.decode(payload.encode(one, None), None)
    assert first == one
    assert payload.decode(payload.encode(two, one), first) == two
    assert payload.decode(payload.encode(one, one), first) == one


@settings(max_examples=400, deadline=None)
@given(some.binary(max_size=300), contents)
def test_noise_is_damage(noise: bytes, base: Content) -> None:
    for against in (None, base):
        try:
            found = payload.decode(noise, against)
        except Damaged:
            continue
        assert isinstance(found, Content)


def test_bent_payloads_end_as_damage_or_as_content() -> None:
    chance = random.Random(5)
    one, two = made.content(chance, 4), made.content(chance, 5)
    whole = payload.encode(two, one)
    for _ in range(3000):
        bent = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            bent[chance.randrange(len(bent))] = chance.randrange(256)
        cut = bytes(bent[: chance.choice((len(bent), chance.randrange(len(bent))))])
        try:
            payload.decode(cut, one)
        except Damaged:
            pass


def test_a_counter_that_moves_costs_few_bytes() -> None:
    before = Source(b"".join(b"counter_%d %d\n" % (place, 1000000 + place) for place in range(200)), 0, 0, 0)
    after = before._replace(data=(before.data or b"").replace(b"counter_7 1000007", b"counter_7 1000009"))
    empty = Source(b"", 0, 0, 0)
    raw = payload.encode(Content({"vmstat": after}, {}, empty), Content({"vmstat": before}, {}, empty))
    assert len(raw) < 80
    assert payload.decode(raw, Content({"vmstat": before}, {}, empty)).sources["vmstat"].data == after.data


def test_a_source_that_vanishes_is_not_inherited() -> None:
    empty = Source(b"", 0, 0, 0)
    old = Content({"meminfo": Source(b"x", 0, 0, 0), "kmsg": empty}, {}, empty)
    new = Content({"kmsg": empty}, {}, empty)
    assert payload.decode(payload.encode(new, old), old) == new


def test_lost_denied_and_empty_are_three_things() -> None:
    empty = Source(b"", 0, 0, 0)
    one = Content({"a": empty, "b": Source(None, 13, 0, 0), "c": Source(None, 0, 0, 0)}, {}, Source(None, 2, 0, 0))
    back = payload.decode(payload.encode(one, None), None)
    assert back == one
    assert [back.sources[name].lost for name in "abc"] == [False, False, True]


@given(some.binary(max_size=200))
def test_heads_of_noise(noise: bytes) -> None:
    assert layout.unpack(noise) is None
    assert layout.unpack_file(noise) is None
    assert layout.unpack(layout.MARK + noise) is None


def test_a_head_with_an_impossible_length_is_none() -> None:
    head = layout.Head(b"n" * 8, 1, 2, 3, layout.LARGEST + 1, 5, 6, 7, 0, layout.KEY, 0, 0)
    buffer = bytearray(layout.ALIGN)
    layout.pack_into(buffer, 0, head)
    assert layout.unpack(buffer) is None
    layout.pack_into(buffer, 0, head._replace(stored=9))
    assert layout.unpack(bytes(buffer)) == head._replace(stored=9)
    layout.pack_into(buffer, 0, head._replace(stored=9, kind=9))
    assert layout.unpack(bytes(buffer)) is None


@pytest.mark.parametrize("size", [1, 63, 64, 65])
def test_lengths_are_whole_steps(size: int) -> None:
    assert layout.padded(size) % layout.ALIGN == 0
    assert 0 <= layout.padded(size) - size < layout.ALIGN
