"""``NamedTuple`` as :mod:`typing` has it, without importing typing: that and its classes cost a check a tenth of its start-up.

Only what is used here: fields with annotations (never evaluated) and defaults, properties, methods, ``_fields``, ``_replace``, ``_asdict``.
"""

from __future__ import annotations

from operator import itemgetter

TYPE_CHECKING = False
if TYPE_CHECKING:  # what a type checker sees
    from typing import NamedTuple as NamedTuple  # noqa: PLC0414 - an alias by the same name is an export
else:
    class _Record(type):
        def __new__(mcs, name, bases, space):
            fields = tuple(space.get("__annotations__", ()))
            defaults = {field: space[field] for field in fields if field in space}
            for place, field in enumerate(fields):
                space[field] = property(itemgetter(place))
            if bases != (tuple,):
                space.update(_fields=fields, _defaults=defaults, __match_args__=fields)
            space["__slots__"] = ()
            return super().__new__(mcs, name, bases, space)

    class NamedTuple(tuple, metaclass=_Record):
        def __new__(cls, *values, **named):
            if named or len(values) != len(cls._fields):
                given = {**cls._defaults, **dict(zip(cls._fields, values)), **named}
                if len(values) > len(cls._fields) or given.keys() != set(cls._fields) or named.keys() & set(cls._fields[:len(values)]):
                    raise TypeError(f"{cls.__name__} has the fields {', '.join(cls._fields)}")
                values = [given[field] for field in cls._fields]
            return tuple.__new__(cls, values)

        def __getnewargs__(self):
            return tuple(self)

        def __repr__(self):
            return f"{type(self).__name__}({', '.join(f'{field}={value!r}' for field, value in zip(self._fields, self))})"

        def _replace(self, **named):
            return type(self)(**{**self._asdict(), **named})

        def _asdict(self):
            return dict(zip(self._fields, self))
