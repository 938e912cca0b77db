"""What all operations on items share: an item as a unit or a reader has it, who may do what with it, and in which states.

An item belongs to a process, and a unit that changes it names that process as its key: of two that meet, one comes first.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from penstock.core import codec
from penstock.core import commands as do
from penstock.core import events as ev
from penstock.core.definition import Task, Version
from penstock.errors import Invalid, NotFound, Problem, WrongState
from penstock.identity.model import Actor, parse_grantee
from penstock.identity.policy import Action, Target, require, sees_everything
from penstock.operations import views
from penstock.operations.context import Context, ItemPlace
from penstock.store import grants, items, people, processes
from penstock.store.held import Held
from penstock.store.items import CLAIMED, MESSAGE, NEVER, OPEN_STATES, READY, TASK, THREAD, Row, Seen
from penstock.store.rows import Tx

_ALL = (TASK, MESSAGE, THREAD)
LEGAL: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "claim": ((TASK,), (READY, CLAIMED)),
    "unclaim": ((TASK,), (CLAIMED,)),
    "assign": ((TASK,), OPEN_STATES),
    "delegate": ((TASK,), (CLAIMED,)),
    "save a draft": ((TASK,), (CLAIMED,)),
    "complete": ((TASK, THREAD), OPEN_STATES),
    "acknowledge": ((MESSAGE,), (READY,)),
    "change": (_ALL, OPEN_STATES),
    "cancel": (_ALL, OPEN_STATES),
    "log": (_ALL, OPEN_STATES),
    "post": ((THREAD,), (READY,)),
}
"""Command -> the kinds of item it is for, and the states it is legal in. Claiming what another has claimed is refused."""


class Open(NamedTuple):
    """An item in a unit."""

    tx: Tx
    held: Held
    row: Row

    @property
    def now(self) -> Row:
        """The row as the unit would leave it."""
        found = items.get(self.tx, self.row.pid, self.row.n)
        assert found is not None
        return found

    @property
    def seen(self) -> Seen:
        return Seen(self.held.process_id, self.held.vid, self.held.created_by, self.now)

    @property
    def where(self) -> dict[str, int]:
        """The members that name the visit in an event, and its time."""
        return {"at": self.tx.now, "scope": self.row.scope, "visit": self.row.n}


def opened(tx: Tx, actor: Actor, id: str, place: ItemPlace) -> Open:
    """The item at a place, for a unit. Raises: NotFound."""
    held = processes.load(tx, place.pid)
    row = None if held is None else items.get(tx, place.pid, place.n)
    if held is None or row is None or held.tid != actor.tenant.tid:
        raise NotFound("item", id)
    return Open(tx, held, row)


def allowed(actor: Actor, action: Action, item: Open, command: str) -> None:
    """Policy, then state. Raises: NotFound, Forbidden, WrongState."""
    permissions = grants.of(item.tx, item.held.did)
    require(actor, action, target_of(Seen("", 0, item.held.created_by, item.row), permissions))
    require_legal(command, item.row)


def require_legal(command: str, row: Row) -> None:
    """Raises: WrongState, naming the command and the state."""
    kinds, states = LEGAL[command]
    if row.kind not in kinds:
        raise WrongState(f"cannot {command}: the item is a {row.kind}")
    if row.state not in states:
        raise WrongState(f"cannot {command}: the item is {row.state}")


def target_of(seen: Seen, permissions: grants.Permissions) -> Target:
    row = seen.item
    return Target(
        kind="item",
        id=row.id,
        tid=row.tid,
        permissions=permissions,
        starter=seen.created_by,
        candidates=codec.decode_json(row.candidates),
        owner=row.owner,
        delegator=row.delegator,
    )


async def readable(ctx: Context, actor: Actor, id: str, action: Action = Action.ITEM_READ) -> tuple[Seen, Version]:
    """The item as a reader finds it. Raises: NotFound, Forbidden."""
    tid = actor.tenant.tid
    seen = await ctx.item(tid, id)
    permissions: grants.Permissions = {}
    if not sees_everything(actor):
        permissions = await ctx.store.async_read(
            lambda read: grants.of_definition(read, tid, seen.item.did), single=True
        )
    require(actor, action, target_of(seen, permissions))
    return seen, (await ctx.version_by_vid(tid, seen.vid)).compiled


def carry_out(ctx: Context, item: Open, actor: Actor, event: ev.VisitEvent, record: str) -> None:
    """Let an event have its effect. Where no token waits for the item, the decider has nothing to decide, the process
    may long have ended, and the record is a line of the item's log instead of the process's history.
    """
    if item.row.waits:
        ctx.engine.accept(item.tx, item.row.pid, event)  # type: ignore[arg-type]  # every item's event is of the union
        return
    tx, pid, n = item.tx, item.row.pid, item.row.n
    data: dict[str, object] = {}
    match event:
        case ev.ItemCompleted():
            items.close(tx, pid, _closing(item, actor, completed=True))
        case ev.ItemCancelled():
            items.close(tx, pid, _closing(item, actor, completed=False))
            data = {"reason": event.reason}
        case ev.ItemChanged():
            items.change(tx, pid, n, event.due_at, event.priority)
            data = {"due_at": event.due_at, "priority": event.priority}
        case _:
            raise WrongState(f"cannot do that to a {item.row.kind}")
    items.add_line(tx, pid, n, actor.principal, record, data)


def _closing(item: Open, actor: Actor, *, completed: bool) -> do.CloseItem:
    return do.CloseItem(item.row.n, completed=completed, by=actor.principal)


async def grantee_of(ctx: Context, actor: Actor, text: str, pointer: str, kinds: Iterable[str]) -> str:
    """A grantee who is there and may act. Raises: Invalid."""
    found = parse_grantee(text, pointer)
    kind, _, name = found.partition(":")
    if kind not in kinds:
        raise _unfit(pointer, f"{text!r}: one of {', '.join(sorted(kinds))} is wanted here", "kind")
    if kind != "role":
        tid = actor.tenant.tid
        standing = await ctx.store.async_read(lambda reader: people.standing(reader, tid, kind, name))
        if standing != "known":
            raise _unfit(pointer, f"{found} is {standing}", standing)
    return found


def _unfit(pointer: str, message: str, code: str) -> Invalid:
    return Invalid(message, [Problem(pointer, message, code)])


def view_of(seen: Seen, version: Version, *, whole: bool) -> views.Item:
    row = seen.item
    task = version.tasks.get(row.task) or Task(code=row.task)
    return views.Item(
        id=row.id,
        process=seen.process_id,
        definition=version.code,
        visit=row.n,
        node=row.node,
        task=row.task,
        name=row.name or task.name or row.task,
        description=task.description,
        kind=row.kind,
        state=row.state,
        owner=row.owner,
        delegator=row.delegator,
        candidates=codec.decode_json(row.candidates),
        data=codec.decode_json(row.data),
        output=None if row.output is None else codec.decode_json(row.output),
        priority=row.priority,
        due_at=None if row.due_at == NEVER else row.due_at,
        created_at=row.created_at,
        ended_at=row.ended_at,
        ended_by=row.ended_by,
        posts=row.posts,
        rev=row.rev,
        schema=task.schema if whole else None,
        ui=task.ui if whole else None,
    )
