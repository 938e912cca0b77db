"""Tokens that one makes for oneself under a name, for a script or a device; and the list of all that a principal holds.

They are random, and looked up by their hash. Whatever ends a principal's other tokens ends these.
"""

from __future__ import annotations

import secrets
from typing import Any

import msgspec

from penstock.errors import Conflict, Forbidden, Invalid, NotFound, Problem, Unauthenticated
from penstock.identity.model import Actor, Kind, fold_email, parse_name
from penstock.identity.tokens import RANDOM_BYTES, TOKEN, hash_secret, new_secret
from penstock.operations import views
from penstock.operations.administration import require_administrator
from penstock.operations.context import Context, new_uuid
from penstock.operations.signing import AUDIENCE
from penstock.store import directory, held_tokens, journal, people
from penstock.store.held_tokens import Held
from penstock.store.rows import Tx

DAY = 24 * 3600 * 1000
LONGEST_DAYS = 365
DAYS = 90
"""Where nobody says how long."""
MOST = 100
"""Named tokens of one principal."""


class New(msgspec.Struct, frozen=True, kw_only=True):
    """`expires_at` is milliseconds; at most one of the two is given."""

    name: str
    expires_at: int | None = None
    days: int | None = None


class HeldToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token as lists show it. `kind`: `access`, `session` or `named`."""

    id: str
    name: str | None
    kind: str
    created_at: int
    expires_at: int


async def create(
    ctx: Context, actor: Actor, used: str, new: New, key: str | None = None
) -> tuple[HeldToken, str | None]:
    """A named token, and its text; None for that when the key has had this answer already. `used` is what the caller has
    called with: the text of a token, or a session's secret.

    Raises: Unauthenticated (that was ended meanwhile), Invalid, Forbidden (a named token makes no other: it would outlive itself), Conflict (there are too many).
    """
    if used.startswith(TOKEN):
        raise Forbidden("a named token makes no other: log in, or use the application's secret")
    name = parse_name(new.name)
    _check(new)
    tid, principal = actor.tenant.tid, actor.principal
    id, token = new_uuid(), new_secret(TOKEN.rstrip("_"), secrets.token_bytes(RANDOM_BYTES))

    def unit(tx: Tx) -> HeldToken:
        people.hold(tx, tid)
        _require_standing(tx, actor, hash_secret(used))
        if held_tokens.named_ones(tx, tid, principal) >= MOST:
            raise Conflict(f"there are {MOST} named tokens: end one that nobody uses")
        lifetime = _lifetime(new, tx.now)
        kind = held_tokens.NAMED
        people.add_token(tx, hash_secret(token), tid, principal, AUDIENCE, lifetime, id=id, kind=kind, name=name)
        told = {"audience": AUDIENCE, "expires_in": lifetime // 1000, "id": id, "name": name}
        journal.record(tx, tid, principal, "token.issued", "token", principal, told)
        return HeldToken(id=id, name=name, kind=kind, created_at=tx.now, expires_at=tx.now + lifetime)

    made, replayed = await ctx.once(actor, key, ["token.create", new], unit, HeldToken)
    return made, None if replayed else token


def _check(new: New) -> None:
    if new.days is not None and new.expires_at is not None:
        message = "say `days` or `expires_at`, not both"
        raise Invalid(message, [Problem("/days", message)])
    if new.days is not None and not 1 <= new.days <= LONGEST_DAYS:
        raise _out_of_range("/days")


def _lifetime(new: New, now: int) -> int:
    """Milliseconds. Raises: Invalid."""
    if new.expires_at is None:
        return (DAYS if new.days is None else new.days) * DAY
    if not now < new.expires_at <= now + LONGEST_DAYS * DAY:
        raise _out_of_range("/expires_at")
    return new.expires_at - now


def _out_of_range(pointer: str) -> Invalid:
    message = f"a token lives for {LONGEST_DAYS} days at most"
    return Invalid(message, [Problem(pointer, f"must lie in the next {LONGEST_DAYS} days", "out_of_range")])


def _require_standing(tx: Tx, actor: Actor, used: str) -> None:
    """Who was disabled, removed or logged out since the call began leaves no token behind: one that was stolen would live on
    as another. `used`: the hash of what calls. Raises: Unauthenticated.
    """
    row: Any
    name = actor.principal.partition(":")[2]
    if actor.kind is Kind.USER:
        row = directory.user(tx, actor.tenant.tid, name)
    else:
        row = directory.application(tx, actor.tenant.tid, name)
    if row is None or row.disabled:
        raise Unauthenticated(f"{actor.principal} may not log in (any more)")
    if not held_tokens.is_held(tx, actor.tenant.tid, actor.principal, used):
        raise Unauthenticated("what this call was made with has been ended meanwhile: log in again")


async def listed(ctx: Context, actor: Actor, after: list[Any] | None, limit: int) -> views.Page:
    """The caller's own, of every kind, that have not expired."""
    return await _listed(ctx, actor.tenant.tid, actor.principal, after, limit)


async def listed_of_user(ctx: Context, actor: Actor, who: str, after: list[Any] | None, limit: int) -> views.Page:
    """By id or e-mail address. Raises: Forbidden (another's), NotFound."""
    tid = actor.tenant.tid
    asked = fold_email(who[:300]) if "@" in who else who
    row = await ctx.store.async_read(lambda reader: directory.user(reader, tid, asked))
    if row is None or actor.principal != f"user:{row.email}":
        require_administrator(actor)
    if row is None:
        raise NotFound("user", who)
    return await _listed(ctx, tid, f"user:{row.email}", after, limit)


async def listed_of_application(ctx: Context, actor: Actor, id: str, after: list[Any] | None, limit: int) -> views.Page:
    """Raises: Forbidden (another's), NotFound."""
    tid = actor.tenant.tid
    if actor.principal != f"app:{id}":
        require_administrator(actor)
    row = await ctx.store.async_read(lambda reader: directory.application(reader, tid, id))
    if row is None:
        raise NotFound("application", id)
    return await _listed(ctx, tid, f"app:{row.id}", after, limit)


async def _listed(ctx: Context, tid: int, principal: str, after: list[Any] | None, limit: int) -> views.Page:
    start = after[0] if after else ""
    rows = await ctx.store.async_read(lambda read: held_tokens.listed(read, tid, principal, start, limit + 1))
    return views.Page([_view(row) for row in rows[:limit]], [rows[limit - 1].id] if len(rows) > limit else None)


async def remove(ctx: Context, actor: Actor, id: str, key: str | None = None) -> None:
    """End a token of one's own, of any kind. Raises: NotFound."""
    tid, principal = actor.tenant.tid, actor.principal

    def unit(tx: Tx) -> None:
        found = held_tokens.find(tx, tid, principal, id)
        if found is None:
            raise NotFound("token", id)
        hashed, name, kind = found
        people.drop_token(tx, hashed)
        people.token_ended(tx, hashed)
        who, _, subject = principal.partition(":")
        told = {"tokens": 1, "id": id, "kind": kind, "name": name}
        journal.record(tx, tid, principal, "tokens.revoked", "user" if who == "user" else "application", subject, told)

    await ctx.once(actor, key, ["token.remove", id], unit, type(None))


def _view(row: Held) -> HeldToken:
    return HeldToken(
        id=row.id, name=row.name, kind=row.kind, created_at=row.created_at, expires_at=row.expires_at
    )  # fmt: skip
