"""Definitions and their versions. A compiled version never changes, so each is compiled once in a process of the server."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from sqlalchemy import bindparam, select

from penstock.core import codec, loading
from penstock.core.approval import State
from penstock.core.definition import Version
from penstock.core.schema import Checker, compile_schema
from penstock.errors import Defect, Problem
from penstock.store import tables
from penstock.store.rows import DEFINITIONS, VERSIONS, Tx

_compiled: OrderedDict[str, Version] = OrderedDict()
"""By digest of the document: the same for every database and tenant."""

_MOST = 500


ACTIVE = State.ACTIVE.value


class Latest(NamedTuple):
    did: int
    id: str
    vid: int
    number: int
    digest: str
    state: str
    rev: int
    """Of the definition's permissions."""


def compiled(digest: str, document: str) -> Version:
    """The version of a stored document. Raises: Defect when it no longer loads (it did when it was deployed)."""
    found = _compiled.get(digest)
    if found is None:
        found, problems = loading.load(codec.decode_json(document))
        if found is None:
            raise Defect(f"stored definition {digest[:12]} does not load: {loading.problems_text(problems)}")
        _compiled[digest] = found
        while len(_compiled) > _MOST:
            _compiled.popitem(last=False)
    return found


def version(tx: Tx, vid: int) -> tuple[int, Version]:
    """Number and compiled form of a version."""
    known = tx.cached("version", vid)
    if isinstance(known, tuple):
        return known
    row = tx.get(VERSIONS, (vid,))
    if row is None:
        raise Defect(f"no version {vid}")
    found = (int(row[4]), compiled(row[6], row[5]))
    tx.cache("version", vid, found)
    return found


_checkers: dict[int, tuple[object, Checker]] = {}


def unfit(version: Version, name: str, value: object) -> list[Problem]:
    """What of a value does not fit the version's schema of that name ("input", "metadata", "entity")."""
    schema = version.schemas.get(name)
    if schema is None:
        return []
    known = _checkers.get(id(schema))
    if known is None or known[0] is not schema:
        if len(_checkers) > _MOST:
            _checkers.clear()
        known = _checkers[id(schema)] = (schema, compile_schema(schema))
    return known[1].check({} if value is None and schema.get("type") == "object" else value, f"/{name}")


_d, _v = tables.definitions.c, tables.versions.c
_BY_CODE = select(_d.did, _d.id, _d.latest, _d.active, _d.rev).where(
    _d.tid == bindparam("tid"), _d.code == bindparam("code")
)
_NUMBER = select(_v.vid, _v.number, _v.digest, _v.state).where(
    _v.did == bindparam("did"), _v.number == bindparam("number")
)


def latest(tx: Tx, tid: int, code: str) -> Latest | None:
    """The newest version of a definition, by code."""
    return _known(tx, "latest", tid, code)


def current(tx: Tx, tid: int, code: str) -> Latest | None:
    """The version that new processes start with; the newest where none has ever been active."""
    return _known(tx, "current", tid, code)


def _known(tx: Tx, which: str, tid: int, code: str) -> Latest | None:
    found = tx.recalled(which, (tid, code))
    if isinstance(found, Latest):
        return found
    rows = tx.select(_BY_CODE, {"tid": tid, "code": code}, of=[DEFINITIONS])
    if not rows:
        return None
    did, id, newest, active, rev = rows[0]
    answer = _numbered(tx, did, id, newest if which == "latest" or active is None else active, rev)
    assert answer is not None, "a definition has the versions it names"
    tx.recall_later(which, (tid, code), answer)
    return answer


def numbered(tx: Tx, tid: int, code: str, number: int) -> Latest | None:
    """A named version of a definition."""
    known = tx.recalled("numbered", (tid, code, number))
    if isinstance(known, Latest):
        return known
    rows = tx.select(_BY_CODE, {"tid": tid, "code": code}, of=[DEFINITIONS])
    if not rows:
        return None
    did, id, _, _, rev = rows[0]
    answer = _numbered(tx, did, id, number, rev)
    if answer is not None:
        tx.recall_later("numbered", (tid, code, number), answer)
    return answer


def startable(tx: Tx, tid: int, code: str, number: int | None) -> Latest | None:
    """What a start is about: the version of this number, or without one the version that new processes start with."""
    return current(tx, tid, code) if number is None else numbered(tx, tid, code, number)


def _numbered(tx: Tx, did: int, id: str, number: int, rev: int) -> Latest | None:
    found = tx.select(_NUMBER, {"did": did, "number": number}, of=[VERSIONS])
    return Latest._make((did, id, *found[0], rev)) if found else None


def add(  # noqa: PLR0913 - all by name
    tx: Tx, tid: int, code: str, *, id: str, version_id: str, document: str, digest: str, by: str, state: str
) -> Latest:
    """A new version, of a new definition where there is none of this code. One that is active is what starts now."""
    before = latest(tx, tid, code)
    did = tx.next_id(DEFINITIONS) if before is None else before.did
    number = 1 if before is None else before.number + 1
    vid = tx.next_id(VERSIONS)
    if before is None:
        tx.put(DEFINITIONS, (did, tid, id, code, number, tx.now, None, "{}", 1))
    else:
        tx.patch(DEFINITIONS, (did,), {"latest": number})
    semantics = compiled(digest, document).semantics
    tx.put(VERSIONS, (vid, did, tid, version_id, number, document, digest, semantics, state, tx.now, by))
    rev = 1 if before is None else before.rev
    added = Latest(did, id if before is None else before.id, vid, number, digest, state, rev)
    if state == ACTIVE:
        tx.patch(DEFINITIONS, (did,), {"active": number})
    tx.reconfigured()
    return added


def move(tx: Tx, version: Latest, state: str) -> Latest:
    """Bring a version into a state. One that becomes active is what starts now."""
    tx.patch(VERSIONS, (version.vid,), {"state": state})
    if state == ACTIVE:
        tx.patch(DEFINITIONS, (version.did,), {"active": version.number})
    tx.reconfigured()
    return version._replace(state=state)


_ACTIVE = (
    select(_v.vid, _v.number, _v.digest, _v.state)
    .where(_v.did == bindparam("did"), _v.state == ACTIVE)
    .order_by(_v.number)
)


def active(tx: Tx, definition: Latest) -> list[Latest]:
    """The active versions of a definition, oldest first."""
    rows = tx.select(_ACTIVE, {"did": definition.did}, of=[VERSIONS])
    return [Latest._make((definition.did, definition.id, *row, definition.rev)) for row in rows]


def row_of(tx: Tx, did: int) -> tuple[str, int | None, dict[str, list[str]], int]:
    """Code, number of the version that starts, permissions and their revision."""
    row = tx.get(DEFINITIONS, (did,))
    if row is None:
        raise Defect(f"no definition {did}")
    return row[3], row[6], codec.decode_json(row[7]), row[8]


def author(tx: Tx, vid: int) -> str:
    """Who deployed a version."""
    row = tx.get(VERSIONS, (vid,))
    if row is None:
        raise Defect(f"no version {vid}")
    return str(row[10])
