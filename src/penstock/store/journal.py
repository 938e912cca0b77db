"""The journal: who did what to a thing that is no process, and when. Rows are added and never changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.core import codec
from penstock.store.rows import JOURNAL, Tx


def record(tx: Tx, tid: int, actor: str, type: str, kind: str, id: str, data: Mapping[str, Any]) -> None:
    """`actor` did `type` (`user.disabled`) to the thing of this kind and id. `data` never holds a secret or its hash."""
    tx.put(JOURNAL, (None, tid, tx.now, actor, type, kind, id, codec.encode_json(dict(data)), None))
