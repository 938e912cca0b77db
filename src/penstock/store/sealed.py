"""What is encrypted in the database, on its way to another key of the configuration. Nothing here knows a plain text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from penstock.store.reader import Read
from penstock.store.rows import Tx


class Sealed(NamedTuple):
    """One encrypted value. `place`: the key of its row, by which chunks are ordered; `of`: what it was encrypted for; `key`: the id of
    the key it is encrypted with.
    """

    place: tuple[Any, ...]
    of: str
    key: str
    value: str


class Kind(NamedTuple):
    """One table of them."""

    word: str
    """For people, in the plural."""
    first: tuple[Any, ...]
    """A place before all others."""
    chunk: Callable[[Read, tuple[Any, ...], int], list[Sealed]]
    """Those after a place, of every tenant, in the order of their keys."""
    rewrite: Callable[[Tx, Sealed, str, str], bool]
    """The same under another key. False when it was changed meanwhile, which used the newest key anyway."""
