"""References to secrets, `${secrets.NAME}`, in rendered values: which there are, and what stands in their place when it is sent.

`expression` leaves them as they are when it renders a request, and sees to it that data can bring none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from penstock.core.pointers import escape

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
"""Of a secret."""
MASK = "***"
SHORTEST_MASKED = 8
"""Characters of the shortest value that is looked for in answers: shorter ones are part of too many words."""

_REFERENCE = re.compile(r"\$\{\s*secrets\.([A-Za-z_][A-Za-z0-9_-]{0,63})\s*\}")
_MARK = re.compile(r"\$\{\s*secrets\b")


def references(value: Any, pointer: str = "") -> Iterator[tuple[str, str]]:
    """(pointer, name) of every reference in a value."""
    if isinstance(value, str):
        for found in _REFERENCE.finditer(value):
            yield pointer, found[1]
    elif isinstance(value, dict):
        for key, below in value.items():
            yield from references(below, f"{pointer}/{escape(str(key))}")
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from references(below, f"{pointer}/{index}")


def names_in(value: Any) -> frozenset[str]:
    return frozenset(name for _, name in references(value))


def marked(value: Any) -> bool:
    """Whether any text, a key included, begins a reference."""
    if isinstance(value, str):
        return _MARK.search(value) is not None
    if isinstance(value, dict):
        return any(marked(key) or marked(below) for key, below in value.items())
    return isinstance(value, list) and any(marked(below) for below in value)


def put_in(value: Any, secrets: Mapping[str, str]) -> Any:
    """The value with the secrets in place of their references. Raises: KeyError for a name that is not there."""
    return _each_text(value, lambda text: _REFERENCE.sub(lambda found: secrets[found[1]], text))


def masked(value: Any, hidden: Collection[str]) -> Any:
    """The value without what must not be seen, keys and numbers included: a secret of digits may come back as a number."""
    wanted = sorted((text for text in hidden if len(text) >= SHORTEST_MASKED), key=len, reverse=True)
    if not wanted:
        return value
    pattern = re.compile("|".join(map(re.escape, wanted)))
    return _each_text(value, lambda text: pattern.sub(MASK, text), whole=True)


def _each_text(value: Any, change: Callable[[str], str], *, whole: bool = False) -> Any:
    """`whole`: keys and numbers, too; a number whose text changes is a text then."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(key) if whole else key: _each_text(below, change, whole=whole) for key, below in value.items()}
    if isinstance(value, list):
        return [_each_text(below, change, whole=whole) for below in value]
    if whole and isinstance(value, int | float):
        return value if change(repr(value)) == repr(value) else MASK
    return value
