"""The bearer tokens a principal holds, as the principal and administrators see them: no hash, no secret."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import bindparam, func, select, union_all

from penstock.store import tables
from penstock.store.reader import Read
from penstock.store.rows import SESSIONS, TOKENS, Tx

ACCESS, SESSION, NAMED = "access", "session", "named"
"""What there is: of a grant, of a log-in, made by hand under a name."""


class Held(NamedTuple):
    id: str
    name: str | None
    kind: str
    created_at: int
    expires_at: int


_k, _s = tables.tokens.c, tables.sessions.c
_OF = select(_k.id, _k.name, _k.kind, _k.created_at, _k.expires_at).where(
    _k.tid == bindparam("tid"), _k.principal == bindparam("principal"), _k.expires_at > bindparam("now")
)
_COUNT = select(func.count()).where(
    *(_k.tid == bindparam("tid"), _k.principal == bindparam("principal")),
    *(_k.kind == NAMED, _k.expires_at > bindparam("now")),
)
_ONE = select(_k.token_hash, _k.name, _k.kind).where(
    _k.tid == bindparam("tid"), _k.principal == bindparam("principal"), _k.id == bindparam("id")
)
_CALLING = union_all(
    *(
        select(columns.tid).where(columns.tid == bindparam("tid"), columns.principal == bindparam("principal"), hashed)
        for columns, hashed in (
            (_k, _k.token_hash == bindparam("hash")),
            (_s, _s.session_hash == bindparam("hash")),
        )
    )
)


def listed(read: Read, tid: int, principal: str, after: str, most: int) -> list[Held]:
    """What has not expired, by id: those of one node oldest first."""
    page = _OF.where(_k.id > after).order_by(_k.id).limit(most)
    return [Held(*row) for row in read.rows(page, {"tid": tid, "principal": principal, "now": read.now()})]


def named_ones(tx: Tx, tid: int, principal: str) -> int:
    """How many named tokens are good."""
    rows = tx.select(_COUNT, {"tid": tid, "principal": principal, "now": tx.now}, of=[TOKENS])
    return int(rows[0][0])


def is_held(tx: Tx, tid: int, principal: str, hashed: str) -> bool:
    """Whether the principal's token or session of this hash has not been ended; who asks holds the tenant's people."""
    rows = tx.select(_CALLING, {"tid": tid, "principal": principal, "hash": hashed}, of=[TOKENS, SESSIONS])
    return bool(rows)


def find(tx: Tx, tid: int, principal: str, id: str) -> tuple[str, str | None, str] | None:
    """(hash, name, kind) of one."""
    rows = tx.select(_ONE, {"tid": tid, "principal": principal, "id": id}, of=[TOKENS])
    return (rows[0][0], rows[0][1], rows[0][2]) if rows else None
