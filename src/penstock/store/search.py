"""What a definition lists under `search:` is found by value: a row for each name, of texts, numbers and booleans.

The rows of a process follow from its data, so a change finds the row it replaces by its key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from penstock.core.definition import Version
from penstock.store.held import Held
from penstock.store.rows import SEARCH, Tx

LONGEST = 200
"""Characters of a value that are compared."""


def text_of(value: Any) -> str | None:
    """How a value is compared; None when it cannot be searched."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))[:LONGEST]
    if isinstance(value, str | int | float):
        return str(value)[:LONGEST]
    return None


def update(held: Held, before: Mapping[str, Any]) -> None:
    """Bring the rows up to date with data of which `before` has what it was."""
    for name in held.version.search:
        root = _root(name)
        if root in before:
            old, new = _text(name, before[root]), _text(name, held.data(root))
            if old != new:
                _delete(held.tx, held.tid, held.did, name, old, held.pid)
                _put(held, name, new)


def move(held: Held, to: Version) -> None:
    """The process comes to a version that lists other names."""
    for name in held.version.search:
        if name not in to.search:
            _delete(held.tx, held.tid, held.did, name, _text(name, held.data(_root(name))), held.pid)
    for name in to.search:
        if name not in held.version.search:
            _put(held, name, _text(name, held.data(_root(name))))


def remove(tx: Tx, tid: int, did: int, pid: int, names: Iterable[str], data: Mapping[str, Any]) -> None:
    """The process is removed."""
    for name in names:
        _delete(tx, tid, did, name, _text(name, data.get(_root(name))), pid)


def _root(name: str) -> str:
    return name.partition(".")[0]


def _text(name: str, value: Any) -> str | None:
    for part in name.split(".")[1:]:
        value = value.get(part) if isinstance(value, dict) else None
    return text_of(value)


def _put(held: Held, name: str, text: str | None) -> None:
    if text is not None:
        held.tx.put(SEARCH, (held.tid, held.did, name, text, held.pid))


def _delete(tx: Tx, tid: int, did: int, name: str, text: str | None, pid: int) -> None:
    if text is not None:
        tx.delete(SEARCH, (tid, did, name, text, pid))
