"""Items: what people see and do. The inbox is a row per (grantee, open item) in `item_grants`: of a READY item its
candidates, of a CLAIMED one its owner alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from penstock.core import codec
from penstock.core import commands as do
from penstock.store.rows import ITEM_GRANTS, ITEMS, Tx

READY, CLAIMED, COMPLETED, CANCELLED = "READY", "CLAIMED", "COMPLETED", "CANCELLED"


class Row(NamedTuple):
    """A row of `items`, in the order of its columns."""

    pid: int
    n: int
    tid: int
    id: str
    scope: int
    node: str
    task: str
    state: str
    owner: str | None
    data: str
    output: str | None
    candidates: str
    due_at: int | None
    priority: int
    created_at: int
    ended_at: int | None
    ended_by: str | None


def open(
    tx: Tx, tid: int, pid: int, process_id: str, command: do.OpenItem, starter: str, usual: Sequence[str] = ()
) -> None:
    """Show a task to its candidates. One that names nobody is for the definition's (`usual`), or everyone of the tenant."""
    c = command
    id = str(uuid5(UUID(process_id), f"{tid}/item/{c.visit}"))
    named = c.candidates or tuple(usual) or ("role:everyone",)
    candidates = tuple(dict.fromkeys(starter if one == "role:starter" else one for one in named))
    data = codec.encode_json(c.data)
    row = Row(
        *(pid, c.visit, tid, id, c.scope, c.node, c.task, READY, None, data, None, codec.encode_json(candidates)),
        *(c.due_at, c.priority, tx.now, None, None),
    )
    tx.put(ITEMS, tuple(row))
    for grantee in candidates:
        tx.put(ITEM_GRANTS, (tid, grantee, pid, command.visit))


def get(tx: Tx, pid: int, n: int) -> Row | None:
    row = tx.get(ITEMS, (pid, n))
    return None if row is None else Row(*row)


def claim(tx: Tx, pid: int, n: int, owner: str) -> None:
    row = get(tx, pid, n)
    if row is None:
        return
    drop_grants(tx, row)
    tx.patch(ITEMS, (pid, n), {"state": CLAIMED, "owner": owner})
    tx.put(ITEM_GRANTS, (row.tid, owner, pid, n))


def close(tx: Tx, pid: int, command: do.CloseItem, by: str | None = None) -> None:
    """Completed or withdrawn: the row stays for the record, its grants go. Closing twice keeps the first."""
    row = get(tx, pid, command.visit)
    if row is None or row.state in (COMPLETED, CANCELLED):
        return
    columns: dict[str, Any] = {
        "state": COMPLETED if command.completed else CANCELLED,
        "ended_at": tx.now,
        "ended_by": by or row.owner,
    }
    if command.output is not None:
        columns["output"] = codec.encode_json(command.output)
    tx.patch(ITEMS, (pid, command.visit), columns)
    drop_grants(tx, row)


def drop_grants(tx: Tx, row: Row) -> None:
    """Nobody has the item in the inbox any more."""
    for grantee in codec.decode_json(row.candidates) if row.owner is None else (row.owner,):
        tx.delete(ITEM_GRANTS, (row.tid, grantee, row.pid, row.n))
