"""From a path to the routes that stand there: a tree of segments, compiled once. A literal segment wins over `{name}`.

Segments are split before they are percent-decoded, so a parameter may hold `/` as `%2F`. `{name:int}` takes whole numbers.
A caseless tree takes literal segments in any case, and a slash at the end for nothing, as ASP.NET Core does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar
from urllib.parse import unquote_to_bytes

from penstock.errors import Invalid, Problem
from penstock.web.parsing import path_integer

R = TypeVar("R")
CONVERTERS: dict[str, Callable[[str, str], Any]] = {"": lambda _, text: text, "int": path_integer}


class _Node(Generic[R]):
    __slots__ = ("child", "literals", "names", "routes")

    def __init__(self) -> None:
        self.literals: dict[str, _Node[R]] = {}
        self.child: _Node[R] | None = None
        self.routes: dict[str, R] = {}
        self.names: dict[str, tuple[tuple[str, str], ...]] = {}


class Paths(Generic[R]):
    """The table of a door: (method, path template) -> route."""

    def __init__(self, *, caseless: bool = False) -> None:
        self._caseless = caseless
        self._root: _Node[R] = _Node()
        self._literal: dict[str, dict[str, R]] = {}

    def add(self, method: str, template: str, route: R) -> None:
        """Puts a route into its place, which must be free."""
        node = self._root
        names: list[tuple[str, str]] = []
        for segment in template.split("/")[1:]:
            if segment.startswith("{"):
                name, _, converter = segment[1:-1].partition(":")
                assert converter in CONVERTERS, f"{template}: no converter {converter!r}"
                names.append((name, converter))
                node.child = node.child or _Node()
                node = node.child
            else:
                node = node.literals.setdefault(self._folded(segment), _Node())
        assert method not in node.routes, f"{method} {template} stands twice"
        node.routes[method] = route
        node.names[method] = tuple(names)
        if not names:
            self._literal[self._folded(template)] = node.routes

    def _folded(self, text: str) -> str:
        return text.lower() if self._caseless else text

    def find(self, method: str, path: str) -> tuple[R | None, dict[str, Any], dict[str, R]]:
        """Answers (route, parameters, routes by method at this path); the last is empty where nothing stands.

        Raises: Invalid when a parameter cannot be decoded.
        """
        if self._caseless and len(path) > 1:
            path = path.removesuffix("/")
        folded = self._folded(path)
        if (routes := self._literal.get(folded)) is not None:
            return routes.get(method), {}, routes
        values: list[str] = []
        node = _walk(self._root, path.split("/"), folded.split("/"), 1, values)
        if node is None:
            return None, {}, {}
        route = node.routes.get(method)
        if route is None:
            return None, {}, node.routes
        found = {
            name: CONVERTERS[converter](name, _decoded(name, text))
            for (name, converter), text in zip(node.names[method], values, strict=True)
        }
        return route, found, node.routes


def _walk(node: _Node[R], segments: list[str], folded: list[str], at: int, values: list[str]) -> _Node[R] | None:
    """Depth first, literals (compared as `folded`) before parameters; `values` holds the parameters of the way taken."""
    if at == len(segments):
        return node if node.routes else None
    literal = node.literals.get(folded[at])
    if literal is not None and (found := _walk(literal, segments, folded, at + 1, values)):
        return found
    if node.child is not None and segments[at]:
        values.append(segments[at])
        if found := _walk(node.child, segments, folded, at + 1, values):
            return found
        values.pop()
    return None


def _decoded(name: str, text: str) -> str:
    if "%" not in text:
        return text
    try:
        decoded = unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise Invalid(f"{name}: not UTF-8", [Problem(name, "not UTF-8", "malformed")]) from None
    if "\0" in decoded:
        raise Invalid(f"{name}: NUL is not allowed", [Problem(name, "the character NUL is not allowed", "nul")])
    return decoded
