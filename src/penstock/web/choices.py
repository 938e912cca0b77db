"""What could have stood where a word did not fit: msgspec names the word alone."""

from __future__ import annotations

from typing import Any

from msgspec import inspect

REFUSED = "cannot be "
"""How its message begins, in words."""


def choices(kind: Any, pointer: str) -> list[Any]:
    """The words that `kind` takes at an RFC 6901 pointer, in order; none where that is not to be found out."""
    places = _inside(inspect.type_info(kind))
    for step in filter(None, pointer.split("/")):
        name = step.replace("~1", "/").replace("~0", "~")
        places = [inner for place in places for inner in _member(place, name)]
    words: list[Any] = []
    for place in places:
        if isinstance(place, inspect.LiteralType):
            words += place.values
        elif isinstance(place, inspect.EnumType):
            words += [member.value for member in place.cls]
    return sorted(words, key=str)


def _member(place: inspect.Type, name: str) -> list[inspect.Type]:
    match place:
        case inspect.StructType():
            return [inner for field in place.fields if field.encode_name == name for inner in _inside(field.type)]
        case inspect.ListType() | inspect.VarTupleType() | inspect.SetType() | inspect.FrozenSetType():
            return _inside(place.item_type)
        case inspect.DictType():
            return _inside(place.value_type)
        case _:
            return []


def _inside(kind: inspect.Type) -> list[inspect.Type]:
    """A type, or what a union is made of."""
    return list(kind.types) if isinstance(kind, inspect.UnionType) else [kind]
