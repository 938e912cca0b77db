"""Sessions of browsers, and log-ins through a provider that have begun. Secrets are here as hashes alone."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import bindparam, delete, select

from penstock.store import people, tables
from penstock.store.people import Principal
from penstock.store.reader import Read
from penstock.store.rows import LOGIN_STATES, SESSIONS, Tx


class Row(NamedTuple):
    """A row of `sessions`, in the order of its columns. `provider`: the code of whom the user came from; None: a password."""

    session_hash: str
    id: str
    tid: int
    principal: str
    created_at: int
    seen_at: int
    expires_at: int
    provider: str | None
    address: str
    agent: str


class State(NamedTuple):
    """A row of `login_states`, in the order of its columns: somebody has left for a provider, and may come back once."""

    state_hash: str
    tid: int
    provider: str
    browser_hash: str
    return_to: str
    expires_at: int


_s, _l = tables.sessions.c, tables.login_states.c
_ALL = select(*tables.sessions.columns)
_ONE = _ALL.where(_s.session_hash == bindparam("hash"))
_OF = _ALL.where(_s.tid == bindparam("tid"), _s.principal == bindparam("principal")).order_by(_s.created_at.desc())
_CLOSE = delete(tables.sessions).where(
    _s.tid == bindparam("of_tid"), _s.principal == bindparam("of_principal"), _s.session_hash != bindparam("but")
)
_EXPIRED = select(_s.session_hash).where(_s.expires_at < bindparam("before")).limit(bindparam("most"))
_LATE = select(_l.state_hash).where(_l.expires_at < bindparam("before")).limit(bindparam("most"))
_TAKE = delete(tables.login_states).where(_l.state_hash == bindparam("hash")).returning(*tables.login_states.columns)


def open(tx: Tx, row: Row) -> None:
    tx.put(SESSIONS, row)


def session(read: Read, session_hash: str) -> tuple[Row, Principal | None, int] | None:
    """A session, whom it speaks for as they are now (None: nobody any more), and the time."""
    row = read.row(_ONE, {"hash": session_hash})
    if row is None:
        return None
    found = Row(*row)
    return found, people.caller(read, found.tid, found.principal), read.now()


def get(tx: Tx, session_hash: str) -> Row | None:
    row = tx.get(SESSIONS, (session_hash,))
    return None if row is None else Row(*row)


def of(read: Read | Tx, tid: int, principal: str) -> list[Row]:
    """Newest first."""
    asked = {"tid": tid, "principal": principal}
    rows = read.select(_OF, asked, of=[SESSIONS]) if isinstance(read, Tx) else read.rows(_OF, asked)
    return [Row(*row) for row in rows]


def seen(tx: Tx, session_hash: str) -> None:
    tx.patch(SESSIONS, (session_hash,), {"seen_at": tx.now})


def close(tx: Tx, session_hash: str) -> None:
    tx.delete(SESSIONS, (session_hash,))


def close_all(tx: Tx, tid: int, principal: str, *, but: str = "") -> int:
    """Close a principal's sessions, all but the one with this hash; answers how many."""
    return tx.execute(_CLOSE, {"of_tid": tid, "of_principal": principal, "but": but})


def forget(tx: Tx, before: int, most: int) -> int:
    """Drop sessions that expired before a time; answers how many."""
    return _drop(tx, SESSIONS, tx.select(_EXPIRED, {"before": before, "most": most}, of=[SESSIONS]))


# -- on the way to a provider ----------------------------------------------------------------------------------------


def leave(tx: Tx, state: State) -> None:
    tx.put(LOGIN_STATES, state)


def come_back(tx: Tx, state_hash: str) -> State | None:
    """The state, which is no more after this: of two who bring it, on whichever node, one gets it."""
    rows = tx.returning(_TAKE, {"hash": state_hash})
    return State(*rows[0]) if rows else None


def forget_states(tx: Tx, before: int, most: int) -> int:
    """Drop what nobody came back with; answers how many."""
    return _drop(tx, LOGIN_STATES, tx.select(_LATE, {"before": before, "most": most}, of=[LOGIN_STATES]))


def _drop(tx: Tx, rows: Any, keys: list[tuple[Any, ...]]) -> int:
    for key in keys:
        tx.delete(rows, tuple(key))
    return len(keys)
