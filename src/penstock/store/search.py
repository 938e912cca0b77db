"""What a definition lists under `search:` is found by value: a row for each name, of texts, numbers and booleans."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, select

from penstock.store import tables
from penstock.store.held import Held
from penstock.store.rows import SEARCH

LONGEST = 200
"""Characters of a value that are compared."""

_s = tables.search.c
_OF_PROCESS = select(*tables.search.columns).where(
    _s.tid == bindparam("tid"), _s.did == bindparam("did"), _s.name == bindparam("name"), _s.pid == bindparam("of_pid")
)


def text_of(value: Any) -> str | None:
    """How a value is compared; None when it cannot be searched."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, str | int | float):
        return str(value)[:LONGEST]
    return None


def index(held: Held) -> None:
    """Bring a process's search rows up to date with its data."""
    tx = held.tx
    for name in held.version.search:
        root, _, path = name.partition(".")
        value = held.data(root)
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        text = text_of(value)
        if held.process.seq > 1:
            of = {"tid": held.tid, "did": held.did, "name": name, "of_pid": held.pid}
            for row in tx.select(_OF_PROCESS, of, of=[SEARCH]):
                tx.delete(SEARCH, tuple(row))
        if text is not None:
            tx.put(SEARCH, (held.tid, held.did, name, text, held.pid))
