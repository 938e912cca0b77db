"""The journal: what happened outside of processes, with who and when. A process's own changes are in `history`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.core import codec
from penstock.store.rows import JOURNAL, Tx


def record(tx: Tx, tid: int, actor: str, type: str, kind: str, id: str, data: Mapping[str, Any]) -> None:
    """Note that `actor` did `type` to the thing of this kind and public id, in the same commit."""
    tx.put(JOURNAL, (None, tid, tx.now, actor, type, kind, id, codec.encode_json(dict(data)), None))
