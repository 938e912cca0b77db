"""Secrets of the tenant: stored encrypted, named by definitions and connections, read by nobody, put in when a call is sent."""

from __future__ import annotations

import os

import msgspec

from penstock.core.references import NAME
from penstock.errors import Invalid, Problem
from penstock.identity.keys import NONCE_BYTES
from penstock.identity.model import Actor
from penstock.identity.policy import Action
from penstock.operations.context import Context
from penstock.operations.named import Named
from penstock.store import vault
from penstock.store.rows import Tx

LARGEST = 64 * 1024
"""Bytes of a value."""


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
    _NAMED.require_write(actor, name)
    if not NAME.fullmatch(name):
        message = "a secret's name has 1 to 64 letters, digits, _ and -, no digit first"
        raise Invalid(message, [Problem("name", message, "code")])
    keys, tid = ctx.require_keys(), actor.tenant.tid
    if len(value.encode()) > LARGEST:
        raise Invalid(f"a secret may have {LARGEST} bytes", [Problem("/value", f"at most {LARGEST} bytes", "range")])
    sealed = keys.seal(value, vault.bound_to(actor.tenant.id, name), os.urandom(NONCE_BYTES))

    def unit(tx: Tx) -> tuple[Secret, bool]:
        def make(revision: int, created_at: int, created_by: str) -> vault.Row:
            return vault.Row(tid, name, keys.newest, sealed, revision, created_at, created_by, tx.now, actor.principal)

        row, fresh = _NAMED.keep(tx, actor, name, expected, make, {})
        return _view(row), fresh

    # the fingerprint is keyed: a plain hash of a password could be guessed from
    request = ["secret.put", name, expected, keys.fingerprint(value)]
    answer, _ = await ctx.once(actor, key, request, unit, tuple[Secret, bool])
    return answer


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


_NAMED = Named("secret", vault.NAMED, _view, Action.SECRET_READ, Action.SECRET_WRITE)
get, listed, delete = _NAMED.get, _NAMED.listed, _NAMED.delete
