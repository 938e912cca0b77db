"""Items: what people see and do, with drafts, log lines and posts.

The inbox is a row per (grantee, open item) in `item_grants`, with what the grantee is to the item: of a READY one its
candidates (of a thread its owner, too), of a CLAIMED one its owner, and who has delegated it. Every change goes through
`_change`, which keeps the grants to what the row says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from sqlalchemy import bindparam, select

from penstock.core import codec
from penstock.core import commands as do
from penstock.store import tables
from penstock.store.reader import Read
from penstock.store.rows import DRAFTS, ITEM_GRANTS, ITEM_LOG, ITEMS, POSTS, Tx

READY, CLAIMED, COMPLETED, CANCELLED = "READY", "CLAIMED", "COMPLETED", "CANCELLED"
OPEN_STATES = (READY, CLAIMED)
STATES = (*OPEN_STATES, COMPLETED, CANCELLED)
TASK, MESSAGE, THREAD = "TASK", "MESSAGE", "THREAD"
NEVER = 2**62
"""`due_at` of what is due at no time: it comes last."""


class Role(IntEnum):
    """What a grantee is to an open item; it follows from the item's kind and state."""

    CANDIDATE = 0
    OWNER = 1
    DELEGATOR = 2
    READER = 3
    PARTICIPANT = 4


_READY_ROLES = {TASK: Role.CANDIDATE, MESSAGE: Role.READER, THREAD: Role.PARTICIPANT}


class Row(NamedTuple):
    """A row of `items`, in the order of its columns."""

    pid: int
    n: int
    tid: int
    id: str
    did: int
    scope: int
    node: str
    task: str
    kind: str
    waits: int
    """1: a token stands at the visit until the item is done."""
    name: str
    """Of a thread that no node opened; else "", and the task has the name."""
    state: str
    owner: str | None
    delegator: str | None
    """The owner who has handed it on, and to whom it comes back."""
    data: str
    output: str | None
    candidates: str
    due_at: int
    priority: int
    created_at: int
    ended_at: int | None
    ended_by: str | None
    lines: int
    """Lines in its log."""
    posts: int
    rev: int
    """Rises with every change of what people see of the item itself."""
    drafted: int
    """1: somebody has saved a draft."""


class Seen(NamedTuple):
    """An item with what one must know of its process."""

    process_id: str
    vid: int
    created_by: str
    item: Row


def open(held: Any, command: do.OpenItem, usual: Sequence[str] = ()) -> None:
    """Show something to its candidates; what names nobody is for the definition's (`usual`), or everyone of the tenant. `held` is its process."""
    c, tx = command, held.tx
    id = str(uuid5(UUID(held.process_id), f"{held.tid}/item/{c.visit}"))
    named = c.candidates or tuple(usual) or ("role:everyone",)
    candidates = tuple(dict.fromkeys(held.created_by if one == "role:starter" else one for one in named))
    due_at = NEVER if c.due_at is None else c.due_at
    before = get(tx, held.pid, c.visit) if c.again else None
    lines, posts = (0, 0) if before is None else (before.lines, before.posts)
    row = Row(
        *(held.pid, c.visit, held.tid, id, held.did, c.scope, c.node, c.task, c.kind, int(c.waits), c.name, READY),
        *(c.owner, None, codec.encode_json(c.data), None, codec.encode_json(candidates), due_at, c.priority, tx.now),
        *(None, None, lines, posts, 1 if before is None else before.rev + 1, 0),
    )
    tx.put(ITEMS, tuple(row))
    for grant in _grants(row).values():
        tx.put(ITEM_GRANTS, grant)


def get(tx: Tx, pid: int, n: int) -> Row | None:
    row = tx.get(ITEMS, (pid, n))
    return None if row is None else Row(*row)


def claim(tx: Tx, pid: int, n: int, owner: str) -> None:
    _change(tx, pid, n, {"state": CLAIMED, "owner": owner, "delegator": None})


def unclaim(tx: Tx, pid: int, n: int) -> None:
    """Back to who delegated it, else to its candidates."""
    row = get(tx, pid, n)
    if row is not None and row.delegator is not None:
        _change(tx, pid, n, {"owner": row.delegator, "delegator": None})
    else:
        _change(tx, pid, n, {"state": READY, "owner": None})


def assign(tx: Tx, pid: int, n: int, to: str) -> None:
    """To a group, which is its only candidate then, or to a principal, who owns it."""
    if to.startswith("group:"):
        candidates = codec.encode_json([to])
        _change(tx, pid, n, {"state": READY, "owner": None, "delegator": None, "candidates": candidates})
    else:
        _change(tx, pid, n, {"state": CLAIMED, "owner": to, "delegator": None})


def delegate(tx: Tx, pid: int, n: int, to: str) -> None:
    """Whoever has it, it comes back to who delegated it first."""
    row = get(tx, pid, n)
    if row is not None:
        first = row.delegator or row.owner
        _change(tx, pid, n, {"owner": to, "delegator": None if to == first else first})


def change(tx: Tx, pid: int, n: int, due_at: int | None, priority: int) -> None:
    _change(tx, pid, n, {"due_at": NEVER if due_at is None else due_at, "priority": priority})


def close(tx: Tx, pid: int, command: do.CloseItem) -> None:
    """Completed or withdrawn: the row stays for the record, grants and drafts go. Closing twice keeps the first."""
    row = get(tx, pid, command.visit)
    if row is None or row.state in (COMPLETED, CANCELLED):
        return
    columns: dict[str, Any] = {
        "state": COMPLETED if command.completed else CANCELLED,
        "ended_at": tx.now,
        "ended_by": command.by or (row.owner if command.completed else "system"),
    }
    if command.output is not None:
        columns["output"] = codec.encode_json(command.output)
    if row.drafted:
        columns["drafted"] = 0
        _drop_drafts(tx, pid, command.visit)
    _change(tx, pid, command.visit, columns)


def _change(tx: Tx, pid: int, n: int, columns: dict[str, Any]) -> None:
    row = get(tx, pid, n)
    if row is None:
        return
    columns = {**columns, "rev": row.rev + 1}
    before, after = _grants(row), _grants(row._replace(**columns))
    tx.patch(ITEMS, (pid, n), columns)
    for grantee, grant in before.items():
        if grantee not in after:
            tx.delete(ITEM_GRANTS, grant[: ITEM_GRANTS.keyed])
    for grantee, grant in after.items():
        if before.get(grantee) != grant:
            tx.put(ITEM_GRANTS, grant)


def _grants(row: Row) -> dict[str, tuple[Any, ...]]:
    """The rows of `item_grants` an item has, by grantee."""
    roles: dict[str, Role] = {}
    if row.state == READY:
        roles = dict.fromkeys(codec.decode_json(row.candidates), _READY_ROLES[row.kind])
        if row.owner is not None:
            roles[row.owner] = Role.PARTICIPANT
    elif row.state == CLAIMED:
        if row.delegator is not None:
            roles[row.delegator] = Role.DELEGATOR
        roles[row.owner or ""] = Role.OWNER
    return {
        grantee: (row.tid, grantee, row.created_at, row.pid, row.n, row.due_at, row.priority, int(role))
        for grantee, role in roles.items()
    }


_i, _d = tables.items.c, tables.drafts.c
_OPEN = select(_i.n).where(_i.pid == bindparam("of_pid"), _i.ended_at.is_(None))
_DRAFTS = select(_d.owner).where(_d.pid == bindparam("of_pid"), _d.n == bindparam("of_n"))


def drop_open_grants(tx: Tx, pid: int) -> None:
    """Nobody has the items of this process in the inbox any more: it is about to be removed."""
    for (n,) in tx.select(_OPEN, {"of_pid": pid}, of=[ITEMS]):
        row = get(tx, pid, n)
        for grant in () if row is None else _grants(row).values():
            tx.delete(ITEM_GRANTS, grant[: ITEM_GRANTS.keyed])


# -- drafts ------------------------------------------------------------------------------------------------------------


class Draft(NamedTuple):
    owner: str
    data: str
    rev: int
    saved_at: int


def draft(tx: Tx, row: Row, owner: str) -> Draft | None:
    found = tx.get(DRAFTS, (row.pid, row.n, owner)) if row.drafted else None
    return None if found is None else Draft(*found[2:])


def save_draft(tx: Tx, row: Row, owner: str, data: str) -> Draft:
    """Revisions begin with the time, so that one that was removed and saved anew has another."""
    before = draft(tx, row, owner)
    rev = tx.now if before is None else before.rev + 1
    saved = Draft(owner, data, rev, tx.now)
    tx.put(DRAFTS, (row.pid, row.n, *saved))
    if not row.drafted:
        tx.patch(ITEMS, (row.pid, row.n), {"drafted": 1})
    return saved


def drop_draft(tx: Tx, row: Row, owner: str) -> None:
    tx.delete(DRAFTS, (row.pid, row.n, owner))


def _drop_drafts(tx: Tx, pid: int, n: int) -> None:
    for (owner,) in tx.select(_DRAFTS, {"of_pid": pid, "of_n": n}, of=[DRAFTS]):
        tx.delete(DRAFTS, (pid, n, owner))


# -- log and posts -----------------------------------------------------------------------------------------------------


class Line(NamedTuple):
    """`type` is "log" for what people and programs wrote, else what was done to an item no token waits for."""

    line: int
    at: int
    actor: str
    type: str
    data: str


class Post(NamedTuple):
    post: int
    author: str
    text: str
    at: int
    edited_at: int | None
    deleted_at: int | None


def add_line(tx: Tx, pid: int, n: int, actor: str, type: str, data: Any) -> Line:
    """Append to an item's log."""
    row = get(tx, pid, n)
    assert row is not None
    line = Line(row.lines + 1, tx.now, actor, type, codec.encode_json(data))
    tx.patch(ITEMS, (pid, n), {"lines": line.line})
    tx.put(ITEM_LOG, (pid, n, *line))
    return line


def add_post(tx: Tx, pid: int, n: int, author: str, text: str) -> Post:
    row = get(tx, pid, n)
    assert row is not None
    post = Post(row.posts + 1, author, text, tx.now, None, None)
    tx.patch(ITEMS, (pid, n), {"posts": post.post})
    tx.put(POSTS, (pid, n, *post))
    return post


def post(tx: Tx, pid: int, n: int, number: int) -> Post | None:
    found = tx.get(POSTS, (pid, n, number))
    return None if found is None else Post(*found[2:])


def change_post(tx: Tx, pid: int, n: int, changed: Post) -> None:
    tx.put(POSTS, (pid, n, *changed))


_NAMED = select(_i.candidates, _i.owner).where(_i.pid == bindparam("of_pid"), _i.n == bindparam("of_n"))


def named(read: Read, visits: Iterable[tuple[int, int]]) -> dict[tuple[int, int], frozenset[str]]:
    """By visit, as (process, number), that is an item: whom it is or was for, candidates and owner."""
    found = {}
    for pid, n in visits:
        row = read.row(_NAMED, {"of_pid": pid, "of_n": n})
        if row is not None:
            found[pid, n] = frozenset(codec.decode_json(row[0])) | ({row[1]} - {None})
    return found
