"""What of processes the caller may see, asked only for people: applications and administrators see everything.

A definition that names viewers shows its processes to them and its managers, to who started one, and to who has an item of it.
Whoever lists processes, or what hangs on them, gives `viewer_of(actor)` to the store's filter; whoever shows one asks `require_process`.
"""

from __future__ import annotations

from penstock.core.requests import Viewer
from penstock.errors import NotFound
from penstock.identity.model import Actor, grantees_of
from penstock.identity.policy import Action, Target, require, sees_everything
from penstock.operations.context import Context
from penstock.store import visibility
from penstock.store.reader import Read


def viewer_of(actor: Actor) -> Viewer | None:
    """For a list; None sees everything."""
    if sees_everything(actor):
        return None
    return Viewer(actor.principal, tuple(sorted(grantees_of(actor))))


def require_seen(read: Read, actor: Actor, id: str, pid: int, action: Action = Action.PROCESS_READ) -> Target:
    """The process as policy sees it, by a reader's snapshot. Raises: NotFound."""
    tid, viewer = actor.tenant.tid, viewer_of(actor)
    target = Target(kind="process", id=id, tid=tid, permissions={})
    if viewer is not None:
        found = visibility.of_process(read, tid, pid, viewer)
        if found is None:
            raise NotFound("process", id)
        starter, permissions, involved = found
        target = Target(
            kind="process", id=id, tid=tid, permissions=permissions, starter=starter, involved=involved
        )  # fmt: skip
    require(actor, action, target)
    return target


async def require_process(
    ctx: Context, actor: Actor, id: str, pid: int, action: Action = Action.PROCESS_READ
) -> Target:  # fmt: skip
    """The process as policy sees it; what the caller may not see is not there. Raises: NotFound."""
    if sees_everything(actor):
        return Target(kind="process", id=id, tid=actor.tenant.tid, permissions={})
    return await ctx.store.async_read(lambda read: require_seen(read, actor, id, pid, action))
