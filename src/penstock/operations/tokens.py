"""Bearer tokens are taken away before their time: one by who holds it, all of a principal's by administrators and itself."""

from __future__ import annotations

from collections.abc import Callable

from penstock.errors import NotFound
from penstock.identity.model import Actor, fold_email
from penstock.identity.tokens import hash_secret
from penstock.operations.administration import require_administrator, require_operator_for
from penstock.operations.context import Context
from penstock.store import directory, journal, people, sessions
from penstock.store.rows import Tx


async def revoke(ctx: Context, actor: Actor, token: str) -> None:
    """Whoever holds a token of the tenant may end it. What is no token, or no more, changes nothing, and is not told apart."""
    tid, hashed = actor.tenant.tid, hash_secret(token)

    def unit(tx: Tx) -> None:
        principal = people.token_of(tx, tid, hashed)
        if principal is None:
            return
        people.drop_token(tx, hashed)
        people.token_ended(tx, hashed)
        _record(tx, actor, principal, 1)

    await ctx.store.submit_async(unit)


async def revoke_user(ctx: Context, actor: Actor, who: str) -> int:
    """End all of a user's tokens and sessions; answers how many.

    Raises: Forbidden (another's; an operator's, by somebody who is none), NotFound.
    """
    asked = fold_email(who[:300]) if "@" in who else who

    def find(tx: Tx) -> tuple[str, list[str]]:
        row = directory.user(tx, actor.tenant.tid, asked)
        if row is None:
            raise NotFound("user", who)
        return f"user:{row.email}", directory.roles_of(row)

    return await _revoke_all(ctx, actor, find)


async def revoke_application(ctx: Context, actor: Actor, id: str) -> int:
    """End all of an application's tokens; answers how many.

    Raises: Forbidden (another's; an operator's, by somebody who is none), NotFound.
    """

    def find(tx: Tx) -> tuple[str, list[str]]:
        row = directory.application(tx, actor.tenant.tid, id)
        if row is None:
            raise NotFound("application", id)
        return f"app:{row.id}", directory.roles_of(row)

    return await _revoke_all(ctx, actor, find)


async def _revoke_all(ctx: Context, actor: Actor, find: Callable[[Tx], tuple[str, list[str]]]) -> int:
    """`find` answers the principal and its roles."""

    def unit(tx: Tx) -> int:
        people.hold(tx, actor.tenant.tid)  # or a token that is made beside this would be left
        principal, roles = find(tx)
        if actor.principal != principal:
            require_administrator(actor)
            require_operator_for(actor, roles)
        found = people.revoke(tx, actor.tenant.tid, principal) + sessions.close_all(tx, actor.tenant.tid, principal)
        people.changed(tx, actor.tenant.tid)
        _record(tx, actor, principal, found)
        return found

    return await ctx.store.submit_async(unit)


def _record(tx: Tx, actor: Actor, principal: str, tokens: int) -> None:
    kind, _, id = principal.partition(":")
    subject = "user" if kind == "user" else "application"
    journal.record(tx, actor.tenant.tid, actor.principal, "tokens.revoked", subject, id, {"tokens": tokens})
