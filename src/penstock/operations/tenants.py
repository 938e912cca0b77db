"""The caller's tenant: its name, and by what rule versions come to be used."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from penstock.core.approval import Approval
from penstock.identity.model import Actor, parse_name
from penstock.identity.policy import Action, require
from penstock.operations import views
from penstock.operations.context import Context, require_revision
from penstock.store import journal, people
from penstock.store.people import Settings
from penstock.store.rows import Tx


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is UNSET stays."""

    name: str | UnsetType = UNSET
    approval: Approval | UnsetType = UNSET
    four_eyes: bool | UnsetType = UNSET


async def get(ctx: Context, actor: Actor) -> views.Tenant:
    """Raises: Forbidden."""
    require(actor, Action.TENANT_ADMINISTER)
    return _view(await ctx.store.async_read(lambda reader: people.settings(reader, actor.tenant.tid)))


async def change(
    ctx: Context, actor: Actor, given: Change, expected: frozenset[int] | None, key: str | None = None
) -> views.Tenant:
    """What versions are in stays so: a new rule is for what is decided from now on. Raises: Forbidden, Invalid, Stale."""
    require(actor, Action.TENANT_ADMINISTER)
    wanted: dict[str, Any] = {}
    if given.name is not UNSET:
        wanted["name"] = parse_name(given.name)
    if given.approval is not UNSET:
        wanted["approval"] = given.approval.value
    if given.four_eyes is not UNSET:
        wanted["four_eyes"] = int(given.four_eyes)
    tid = actor.tenant.tid

    def unit(tx: Tx) -> views.Tenant:
        people.hold(tx, tid)
        before = people.settings(tx, tid)
        require_revision(expected, before.rev, "the tenant")
        changed = {name: value for name, value in wanted.items() if getattr(before, name) != value}
        if not changed:
            return _view(before)
        now = before._replace(**changed, rev=before.rev + 1)
        people.set_settings(tx, now)
        if "four_eyes" in changed:
            changed["four_eyes"] = bool(changed["four_eyes"])
        journal.record(tx, tid, actor.principal, "tenant.changed", "tenant", before.id, changed)
        return _view(now)

    request = ["tenant.change", wanted, sorted(expected) if expected is not None else None]
    return (await ctx.once(actor, key, request, unit, views.Tenant))[0]


def _view(found: Settings) -> views.Tenant:
    return views.Tenant(
        id=found.id,
        code=found.code,
        name=found.name,
        approval=found.approval,
        four_eyes=bool(found.four_eyes),
        created_at=found.created_at,
        revision=found.rev,
    )
