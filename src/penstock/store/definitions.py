"""Definitions and their versions. A compiled version never changes, so each is compiled once in a process of the server."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from sqlalchemy import bindparam, select

from penstock.core import codec, loading
from penstock.core.definition import Version
from penstock.core.schema import Checker, compile_schema
from penstock.errors import Defect, Problem
from penstock.store import tables
from penstock.store.rows import DEFINITIONS, VERSIONS, Tx

_compiled: OrderedDict[str, Version] = OrderedDict()
"""By digest of the document: the same for every database and tenant."""

_MOST = 500


ACTIVE, RETIRED = "active", "retired"
"""States of a version: a retired one is not to be started."""


class Latest(NamedTuple):
    did: int
    id: str
    vid: int
    number: int
    digest: str
    state: str


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
_BY_CODE = select(_d.did, _d.id, _d.latest).where(_d.tid == bindparam("tid"), _d.code == bindparam("code"))
_NUMBER = select(_v.vid, _v.number, _v.digest, _v.state).where(
    _v.did == bindparam("did"), _v.number == bindparam("number")
)


def latest(tx: Tx, tid: int, code: str) -> Latest | None:
    """The newest version of a definition, by code."""
    found = tx.recalled("latest", (tid, code))
    if isinstance(found, Latest):
        return found
    rows = tx.select(_BY_CODE, {"tid": tid, "code": code}, of=[DEFINITIONS])
    if not rows:
        return None
    did, id, number = rows[0]
    [row] = tx.select(_NUMBER, {"did": did, "number": number}, of=[VERSIONS])
    answer = Latest(did, id, *row)
    tx.recall_later("latest", (tid, code), answer)
    return answer


def numbered(tx: Tx, tid: int, code: str, number: int) -> Latest | None:
    """A named version of a definition."""
    known = tx.recalled("numbered", (tid, code, number))
    if isinstance(known, Latest):
        return known
    rows = tx.select(_BY_CODE, {"tid": tid, "code": code}, of=[DEFINITIONS])
    if not rows:
        return None
    found = tx.select(_NUMBER, {"did": rows[0][0], "number": number}, of=[VERSIONS])
    if not found:
        return None
    answer = Latest(rows[0][0], rows[0][1], *found[0])
    tx.recall_later("numbered", (tid, code, number), answer)
    return answer


def current(tx: Tx, tid: int, code: str, number: int | None) -> Latest | None:
    """A version by number, the newest without."""
    return latest(tx, tid, code) if number is None else numbered(tx, tid, code, number)


def add(tx: Tx, tid: int, code: str, *, id: str, version_id: str, document: str, digest: str, by: str) -> Latest:
    """A new version, of a new definition where there is none of this code."""
    before = latest(tx, tid, code)
    did = tx.next_id(DEFINITIONS) if before is None else before.did
    number = 1 if before is None else before.number + 1
    vid = tx.next_id(VERSIONS)
    if before is None:
        tx.put(DEFINITIONS, (did, tid, id, code, number, tx.now))
    else:
        tx.patch(DEFINITIONS, (did,), {"latest": number})
    semantics = compiled(digest, document).semantics
    tx.put(VERSIONS, (vid, did, tid, version_id, number, document, digest, semantics, ACTIVE, tx.now, by))
    tx.reconfigured()
    return Latest(did, id if before is None else before.id, vid, number, digest, ACTIVE)


_STATE = select(_v.state).where(_v.vid == bindparam("vid"))
_IN_STATE = select(_v.vid).where(_v.did == bindparam("did"), _v.state == bindparam("state"))


def state(tx: Tx, vid: int) -> str:
    """Whether a version is active or retired."""
    rows = tx.select(_STATE, {"vid": vid}, of=[VERSIONS])
    return rows[0][0] if rows else RETIRED


def retire(tx: Tx, did: int) -> None:
    """No version of a definition is active any more; one that is added later is."""
    for (vid,) in tx.select(_IN_STATE, {"did": did, "state": ACTIVE}, of=[VERSIONS]):
        tx.patch(VERSIONS, (vid,), {"state": RETIRED})
    tx.reconfigured()
