"""The reply, object by object, in whatever pieces it comes, and whatever it is."""

from __future__ import annotations

import json
from typing import Any, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memtriage.fleet import stream
from memtriage.fleet.trouble import Trouble

CUT = "the reply ends in the middle: the server or the network gave up"
VALUES: Any = st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
                           lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
                           max_leaves=8)


def pieces(data: bytes, size: int) -> Callable[[int], bytes]:
    parts = iter([data[at : at + size] for at in range(0, len(data), size)])
    return lambda count: next(parts, b"")


def read(data: bytes, size: int = 7) -> list[dict[str, Any]]:
    return list(stream.results(pieces(data, size)))


@given(st.lists(st.dictionaries(st.text(max_size=6), VALUES, max_size=4), max_size=6), st.integers(1, 50), st.booleans(), st.booleans())
def test_any_objects_in_any_pieces(objects: list[dict[str, Any]], size: int, indented: bool, ascii_only: bool) -> None:
    data = json.dumps({"results": objects}, indent=2 if indented else None, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    if b"\xed" not in data:  # lone surrogates are no UTF-8
        assert read(data, size) == objects


@given(st.data())
def test_cut_anywhere(data: st.DataObject) -> None:
    whole = json.dumps({"results": [{"name": "a\u00e4]}", "n": [1, 2.5]}, {"name": "b"}]}, ensure_ascii=False).encode()
    end = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(Trouble) as trouble:
        read(whole[:end], 5)
    assert str(trouble.value) == CUT


@given(st.binary(max_size=200), st.integers(0, 40))
def test_nothing_but_trouble_comes_of_other_bytes(junk: bytes, keep: int) -> None:
    try:
        read(b'{"results":[{"a":1},{"b":[2,3]}]}'[:keep] + junk)
    except Trouble:
        pass


@pytest.mark.parametrize("text", ["<html>", '{"error":404}', "[]", '{"results":{}}', '{"results":[1]}', '{"results":[{} {}]}',
                                  '{"results":[,{}]}', '{"results":[{},]}', '{"results":[{}]}x', '{"results":[{}],"more":1}', " " * 300])
def test_another_shape(text: str) -> None:
    with pytest.raises(Trouble, match="the reply is none of an Icinga 2 API: "):
        read(text.encode())


def test_numbers_that_are_none() -> None:
    assert read(b'{"results":[{"a":NaN,"b":-Infinity,"c":%s}]}' % (b"9" * 5000)) == [{"a": None, "b": None, "c": float("inf")}]


def test_nested_without_end() -> None:
    with pytest.raises(Trouble):
        read(b'{"results":[{"a":' + b"[" * 200_000, 65536)


def test_an_object_without_end_is_given_up_before_it_fills_memory() -> None:
    taken = 0

    def endless(count: int) -> bytes:
        nonlocal taken
        taken += count
        return b'{"results":[{"a":"' if taken == count else b"x" * count

    with pytest.raises(Trouble, match="an object that is no JSON, or is longer than 4 MiB"):
        list(stream.results(endless))
    assert taken <= 4 * stream.MOST


def test_a_long_object_is_not_begun_anew_with_every_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    data = json.dumps({"results": [{"output": "x" * 3_000_000}]}).encode()
    begun = []
    real = stream._parse

    def parse(text: str, place: int) -> Any:
        begun.append(len(text))
        return real(text, place)

    monkeypatch.setattr(stream, "_parse", parse)
    assert [len(row["output"]) for row in read(data, 1000)] == [3_000_000]
    assert len(begun) < 15  # 3,000 pieces; each time as much again
