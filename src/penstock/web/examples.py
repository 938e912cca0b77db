"""Examples for the OpenAPI document, made from the types that are served: an example cannot be of another shape than its type.

What to say in them stands in a door's *words*: a value for a member's name, or for `Struct.member` where one name has two
meanings. A word that does not fit a member's type is not for it. Where there is no word, the type alone decides.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from enum import Enum
from http import HTTPStatus
from typing import Any

import msgspec

from penstock import errors
from penstock.web.errors import ErrorRenderer

DEEPEST = 6
_NONE: Any = type(None)
_PLAIN: Mapping[Any, Any] = {str: "text", int: 1, float: 1.0, bool: True, _NONE: None, Any: {"any": "JSON"}, bytes: ""}


class Examples:
    """A door's words, applied."""

    def __init__(self, words: Mapping[str, Any]) -> None:
        self._words = words

    def answer(self, kind: Any) -> Any:
        """With every member."""
        return msgspec.to_builtins(self._of(kind, whole=True))

    def request(self, kind: Any) -> Any:
        """With what is needed, and what there is a word for."""
        return msgspec.to_builtins(self._of(kind, whole=False))

    def word(self, name: str, kind: Any = Any) -> Any:
        """What stands for a parameter; `msgspec.UNSET` when nothing does."""
        value = self._words.get(name, msgspec.UNSET)
        return value if value is msgspec.UNSET or _fits(value, kind) else msgspec.UNSET

    def _of(self, kind: Any, *, whole: bool, depth: int = 0) -> Any:
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if origin is typing.Annotated:
            return self._bounded(arguments, whole=whole, depth=depth)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return self._struct(kind, whole=whole, depth=depth)
        if origin is typing.Literal:
            return arguments[0]
        if origin is typing.Union or isinstance(kind, types.UnionType):
            return self._of(_telling(arguments, depth), whole=whole, depth=depth)
        if isinstance(kind, type) and issubclass(kind, Enum):
            return next(iter(kind)).value
        if (origin or kind) in {list, tuple, set, frozenset}:
            return [self._of(arguments[0] if arguments else Any, whole=whole, depth=depth + 1)]
        if (origin or kind) is dict:
            return {"name": self._of(arguments[1] if arguments else Any, whole=whole, depth=depth + 1)}
        return _PLAIN.get(kind, "text")

    def _bounded(self, arguments: tuple[Any, ...], *, whole: bool, depth: int) -> Any:
        """A number within its bounds."""
        value = self._of(arguments[0], whole=whole, depth=depth)
        for bound in arguments[1:]:
            if isinstance(value, int | float) and getattr(bound, "ge", None) is not None:
                value = max(value, bound.ge)
        return value

    def _struct(self, kind: type[msgspec.Struct], *, whole: bool, depth: int) -> dict[str, Any]:
        made = {}
        for field in msgspec.structs.fields(kind):
            word = self._word(kind.__name__, field.encode_name, field.type)
            if word is not msgspec.UNSET:
                made[field.encode_name] = word
            elif whole or field.required:
                made[field.encode_name] = self._of(field.type, whole=whole, depth=depth + 1)
        return made

    def _word(self, owner: str, name: str, kind: Any) -> Any:
        for key in (f"{owner}.{name}", name):
            if key in self._words and _fits(self._words[key], kind):
                return self._words[key]
        return msgspec.UNSET


def _telling(options: tuple[Any, ...], depth: int) -> Any:
    """The option that says most; at some depth None, for a Struct may hold itself."""
    real = [option for option in options if option not in {_NONE, msgspec.UnsetType}]
    if _NONE in options and (depth >= DEEPEST or not real):
        return _NONE
    return real[0]


def _fits(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def problem(door_errors: ErrorRenderer, kind: type[errors.PenstockError]) -> Any:
    """What a door answers an error of a class with."""
    shape = door_errors.shape(kind)
    if issubclass(kind, errors.NotFound):
        error: errors.PenstockError = kind("process", "01890a5d-ac96-774b-bcce-b302099a8057")
    elif issubclass(kind, errors.Invalid):
        where = errors.Problem("/definition", "Object missing required field `definition`", "invalid")
        error = kind(f"{where.pointer}: {where.message}" if kind is errors.Invalid else _said(kind), [where])
    else:
        error = kind(_said(kind))
    return msgspec.to_builtins(door_errors.body(shape, error))


def _said(kind: type[errors.PenstockError]) -> str:
    """The class's own first sentence."""
    text = (kind.__doc__ or HTTPStatus(500).phrase).partition("\n")[0]
    return text.strip().rstrip(".")
