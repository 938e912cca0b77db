"""Names of a body's members in any case, for doors whose clients are used to that (ASP.NET Core reads them so).

msgspec knows one spelling of a member. Here a plain value's members get the spelling of the Struct they are about to become;
what no Struct names (unknown members, the keys of free maps) stays as it is. Of two spellings of one name the last counts,
as of two members of the same name.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from typing import Any

import msgspec

Fold = Callable[[Any], Any]


def folding(kind: Any) -> Fold:
    """What gives the members of a plain value the spelling of `kind`."""
    return _Folding().of(kind) or (lambda value: value)


class _Folding:
    """Made once for each type; Structs are looked up by name, so that a Struct may hold itself."""

    def __init__(self) -> None:
        self.structs: dict[Any, Fold] = {}

    def of(self, kind: Any) -> Fold | None:
        """None where no Struct lies within."""
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if origin is typing.Annotated:
            return self.of(arguments[0])
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return self._struct(kind)
        if origin is typing.Union or isinstance(kind, types.UnionType):
            return _chained([self.of(each) for each in arguments])
        if origin in (list, tuple, set, frozenset):
            return _elements(self.of(arguments[0]))
        if origin is dict:
            return _values(self.of(arguments[1]))
        return None

    def _struct(self, kind: Any) -> Fold:
        if kind not in self.structs:
            names: dict[str, tuple[str, Fold | None]] = {}
            self.structs[kind] = _members(names)
            for field in msgspec.structs.fields(kind):
                names[field.encode_name.lower()] = field.encode_name, self.of(field.type)
        return self.structs[kind]


def _members(names: dict[str, tuple[str, Fold | None]]) -> Fold:
    def fold(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        found = {}
        for name, each in value.items():
            spelling, inner = names.get(name.lower(), (name, None))
            found[spelling] = each if inner is None else inner(each)
        return found

    return fold


def _chained(folds: list[Fold | None]) -> Fold | None:
    """Of a union's options each takes what is of its shape."""
    known = [fold for fold in folds if fold is not None]
    if not known:
        return None

    def fold(value: Any) -> Any:
        for each in known:
            value = each(value)
        return value

    return fold


def _elements(inner: Fold | None) -> Fold | None:
    if inner is None:
        return None
    return lambda value: [inner(each) for each in value] if isinstance(value, list) else value


def _values(inner: Fold | None) -> Fold | None:
    if inner is None:
        return None
    return lambda value: {name: inner(each) for name, each in value.items()} if isinstance(value, dict) else value
