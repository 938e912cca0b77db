"""The journal: what is changed that is not a process's. Who there is, what is deployed, tokens; a row each, never changed.

Its rows are numbered in one order with history's (`feed`). A secret is never among the data.
"""

from __future__ import annotations

from typing import Any

from penstock.core import codec
from penstock.store import feed
from penstock.store.rows import JOURNAL, Tx

SYSTEM = "system"
"""The actor of what the platform does by itself."""


def record(tx: Tx, tid: int, actor: str, type: str, kind: str, id: str, data: dict[str, Any]) -> None:
    """One change. `actor` is a grantee or `system`; `type` is the kind and what was done (`user.created`); `kind` and `id` name what it
    is about (`user`, its address). `data` is JSON, without secrets.
    """
    tx.put(JOURNAL, (None, tid, tx.now, actor, type, kind, id, codec.encode_json(data), feed.place(tx, tid)))
