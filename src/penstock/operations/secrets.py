"""Secrets of the tenant: stored encrypted, named by definitions and connections, read by nobody, put in when a call is sent."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from penstock.core.references import NAME
from penstock.errors import Conflict, Invalid, NotFound, Problem
from penstock.identity.keys import NONCE_BYTES, Keys
from penstock.identity.model import Actor
from penstock.identity.policy import Action, Target, require
from penstock.operations.context import Context, require_revision
from penstock.operations.views import Page
from penstock.store import Store, journal, people, vault
from penstock.store.rows import Tx

LARGEST = 64 * 1024
"""Bytes of a value."""
CHUNK = 100


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """All that is ever told of a secret. `key`: the id of the key it is encrypted with."""

    name: str
    revision: int
    key: str
    created_at: int
    created_by: str
    modified_at: int
    modified_by: str


async def put(
    ctx: Context, actor: Actor, name: str, value: str, expected: frozenset[int] | None, key: str | None = None
) -> tuple[Secret, bool]:
    """Store a secret; the flag tells whether the name is new.

    Raises: Forbidden, Invalid, Conflict when the installation has no key, Stale when what is there is none of `expected`.
    """
    _require(actor, Action.SECRET_WRITE, name)
    if not NAME.fullmatch(name):
        message = "a secret's name has 1 to 64 letters, digits, _ and -, no digit first"
        raise Invalid(message, [Problem("name", message, "code")])
    keys, tid = _keys(ctx), actor.tenant.tid
    if len(value.encode()) > LARGEST:
        raise Invalid(f"a secret may have {LARGEST} bytes", [Problem("/value", f"at most {LARGEST} bytes", "range")])
    sealed = keys.seal(value, vault.bound_to(actor.tenant.id, name), os.urandom(NONCE_BYTES))

    def unit(tx: Tx) -> tuple[Secret, bool]:
        known, by = people.held_or_first(tx, tid, lambda: vault.lock(tx, tid, name)), actor.principal
        found = 0 if known is None else known.revision
        require_revision(expected, found, f"the secret {name!r}")
        created = (tx.now, by) if known is None else (known.created_at, known.created_by)
        row = vault.Row(tid, name, keys.newest, sealed, found + 1, *created, tx.now, by)
        vault.put(tx, row)
        what = "secret.created" if known is None else "secret.updated"
        journal.record(tx, tid, by, what, "secret", name, {"revision": row.revision})
        return _view(row), known is None

    # the fingerprint is keyed: a plain hash of a password could be guessed from
    request = ["secret.put", name, expected, keys.fingerprint(value)]
    answer, _ = await ctx.once(actor, key, request, unit, tuple[Secret, bool])
    return answer


async def get(ctx: Context, actor: Actor, name: str) -> Secret:
    """Never its value. Raises: NotFound."""
    _require(actor, Action.SECRET_READ, name)
    row = await ctx.store.async_read(lambda read: vault.get(read, actor.tenant.tid, name))
    if row is None:
        raise NotFound("secret", name)
    return _view(row)


async def listed(ctx: Context, actor: Actor, after: list[Any] | None, limit: int) -> Page:
    """By name."""
    require(actor, Action.SECRET_READ)
    start = after[0] if after else ""
    rows = await ctx.store.async_read(lambda read: vault.listed(read, actor.tenant.tid, start, limit + 1))
    return Page([_view(row) for row in rows[:limit]], [rows[limit - 1].name] if len(rows) > limit else None)


async def delete(
    ctx: Context, actor: Actor, name: str, expected: frozenset[int] | None, key: str | None = None
) -> None:
    """Raises: NotFound, Forbidden, Stale."""
    _require(actor, Action.SECRET_WRITE, name)
    tid = actor.tenant.tid

    def unit(tx: Tx) -> bool:
        row = vault.lock(tx, tid, name)
        if row is None:
            raise NotFound("secret", name)
        require_revision(expected, row.revision, f"the secret {name!r}")
        vault.remove(tx, row)
        journal.record(tx, tid, actor.principal, "secret.deleted", "secret", name, {"revision": row.revision})
        return True

    await ctx.once(actor, key, ["secret.delete", name, expected], unit, bool)


async def rotate(store: Store, keys: Keys) -> tuple[int, list[str]]:
    """Encrypt every secret with the newest key, in chunks; answers how many, and which could not be read.

    May be stopped and run again, and may run while servers do that know both keys.
    """
    done, unreadable, after = 0, [], (0, "")
    while True:
        place = after
        found = await store.async_read(lambda read, place=place: vault.chunk(read, place, CHUNK))  # type: ignore[misc]
        changed: list[tuple[vault.Stored, str]] = []
        for each in found:
            of = vault.bound_to(each.tenant, each.name)
            if each.key == keys.newest:
                continue
            try:
                plain = keys.open(each.key, each.value, of)
            except Conflict as error:
                unreadable.append(f"{each.tenant}/{each.name}: {error.message}")
                continue
            changed.append((each, keys.seal(plain, of, os.urandom(NONCE_BYTES))))
        if changed:
            done += await store.submit_async(_rewriting(changed, keys.newest), low=True)
        if len(found) < CHUNK:
            return done, unreadable
        after = (found[-1].tid, found[-1].name)


def _rewriting(changed: list[tuple[vault.Stored, str]], key: str) -> Any:
    def unit(tx: Tx) -> int:
        return sum(vault.reencrypted(tx, before, key, value) for before, value in changed)

    return unit


def _keys(ctx: Context) -> Keys:
    if ctx.keys is None:
        raise Conflict("this installation stores no secrets: it has no key. Set secret_key (PENSTOCK_SECRET_KEY_FILE)")
    return ctx.keys


def _require(actor: Actor, action: Action, name: str) -> None:
    require(actor, action, Target(kind="secret", id=name, tid=actor.tenant.tid))


def _view(row: vault.Row) -> Secret:
    return Secret(
        name=row.name,
        revision=row.revision,
        key=row.key,
        created_at=row.created_at,
        created_by=row.created_by,
        modified_at=row.modified_at,
        modified_by=row.modified_by,
    )
