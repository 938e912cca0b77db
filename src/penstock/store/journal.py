"""The journal: who changed what of a tenant's own objects, and when. What happens to a process stands in `history`."""

from __future__ import annotations

from typing import Any

from penstock.core import codec
from penstock.store.rows import HISTORY, JOURNAL, Tx


def record(tx: Tx, tid: int, actor: str, type: str, kind: str, id: str, data: Any) -> None:
    """Note a change, in the commit that makes it. `data` is JSON and never holds a secret."""
    # as with history: one writer alone commits in the order it numbers
    feed = tx.next_id(HISTORY) if tx.sole_writer else None
    tx.put(JOURNAL, (None, tid, tx.now, actor, type, kind, id, codec.encode_json(data), feed))
