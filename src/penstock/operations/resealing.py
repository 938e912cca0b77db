"""Everything that is encrypted is encrypted anew with the newest key of the configuration, so that an old one can go."""

from __future__ import annotations

import os
from collections.abc import Callable

from penstock.errors import Conflict
from penstock.identity.keys import NONCE_BYTES, Keys
from penstock.store import Store, access_keys, signing_keys, vault
from penstock.store.rows import Tx
from penstock.store.sealed import Kind, Sealed

CHUNK = 100
KINDS = (vault.SEALED, access_keys.SEALED, signing_keys.SEALED)


async def rotate(store: Store, keys: Keys) -> tuple[dict[str, int], list[str]]:
    """In chunks; answers how many of each kind (`secrets`, …), and what could not be read.

    May be stopped and run again, and may run while servers do that know both keys.
    """
    done: dict[str, int] = {}
    unreadable: list[str] = []
    for kind in KINDS:
        done[kind.word] = await _rotate(store, keys, kind, unreadable)
    return done, unreadable


async def _rotate(store: Store, keys: Keys, kind: Kind, unreadable: list[str]) -> int:
    done, after = 0, kind.first
    while True:
        place = after
        found = await store.async_read(lambda read, place=place: kind.chunk(read, place, CHUNK))  # type: ignore[misc]
        changed: list[tuple[Sealed, str]] = []
        for each in found:
            if each.key == keys.newest:
                continue
            try:
                plain = keys.open(each.key, each.value, each.of)
            except Conflict as error:
                unreadable.append(f"{each.of}: {error.message}")
                continue
            changed.append((each, keys.seal(plain, each.of, os.urandom(NONCE_BYTES))))
        if changed:
            done += await store.submit_async(_rewriting(kind, changed, keys.newest), low=True)
        if len(found) < CHUNK:
            return done
        after = found[-1].place


def _rewriting(kind: Kind, changed: list[tuple[Sealed, str]], key: str) -> Callable[[Tx], int]:
    def unit(tx: Tx) -> int:
        return sum(kind.rewrite(tx, before, key, value) for before, value in changed)

    return unit
