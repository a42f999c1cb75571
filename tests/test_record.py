"""Our NamedTuple does what typing's does, as far as it goes."""

from __future__ import annotations

import copy
import pickle
import typing

import pytest

from memtriage.record import NamedTuple


class Ours(NamedTuple):
    """Two fields and a default."""

    name: str
    size: int = 3
    """Bytes."""

    @property
    def twice(self) -> int:
        return self.size * 2


class Theirs(typing.NamedTuple):
    name: str
    size: int = 3


def test_values_names_and_defaults() -> None:
    for values, named in ((("a", 1), {}), (("a",), {}), (("a",), {"size": 2}), ((), {"size": 2, "name": "b"})):
        ours, theirs = Ours(*values, **named), Theirs(*values, **named)  # type: ignore[arg-type]
        assert tuple(ours) == tuple(theirs) and (ours.name, ours.size) == (theirs.name, theirs.size)
        assert ours._asdict() == theirs._asdict() and ours._fields == theirs._fields
        assert repr(ours) == repr(theirs).replace("Theirs", "Ours")
        assert ours._replace(size=9) == theirs._replace(size=9)
    assert Ours("a").twice == 6
    assert Ours.__doc__ == "Two fields and a default."


@pytest.mark.parametrize(("values", "named"), [((), {}), (("a", 1, 2), {}), (("a",), {"name": "b"}), (("a",), {"color": 1})])
def test_what_does_not_fit_is_refused(values: tuple[object, ...], named: dict[str, object]) -> None:
    for kind in (Ours, Theirs):
        with pytest.raises(TypeError):
            kind(*values, **named)  # type: ignore[arg-type]


def test_it_is_a_small_immutable_tuple() -> None:
    one = Ours("a", 1)
    with pytest.raises(AttributeError):
        one.size = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        one.other = 2  # type: ignore[attr-defined]
    assert copy.copy(one) == pickle.loads(pickle.dumps(one)) == ("a", 1)
    assert hash(one) == hash(("a", 1)) and one == ("a", 1)
    name, size = one
    assert (name, size) == ("a", 1)
