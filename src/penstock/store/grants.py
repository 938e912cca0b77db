"""Who may do what with a definition. `definitions.permissions` is what policy asks, and comes with a version at no cost; a row
for each grant in `definition_grants` says the same the other way round, for lists of what somebody may see.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from sqlalchemy import BindParameter, Select, bindparam, literal_column, select

from penstock.core import codec
from penstock.identity.policy import SEEING, SEEING_SCHEDULES
from penstock.store import definitions, tables
from penstock.store.reader import Read
from penstock.store.rows import DEFINITION_GRANTS, DEFINITIONS, Tx

Permissions = dict[str, list[str]]
"""Permission -> grantees."""

_d, _v, _g, _i = tables.definitions.c, tables.versions.c, tables.definition_grants.c, tables.item_grants.c
_a, _u, _gr = tables.applications.c, tables.users.c, tables.groups.c


def of(tx: Tx, did: int) -> Permissions:
    """As they are now. For a unit: what it decides by must not be older than itself."""
    found = tx.recalled("grants", did)
    if isinstance(found, dict):
        return found
    permissions = definitions.row_of(tx, did)[2]
    tx.recall_later("grants", did, permissions)
    return permissions


_OF_VERSIONS = (
    select(_v.vid, _d.permissions)
    .join(tables.definitions, _d.did == _v.did)
    .where(_v.tid == bindparam("tid"), _v.vid.in_(bindparam("vids", expanding=True)))
)
_OF_DEFINITION = select(_d.permissions).where(_d.tid == bindparam("tid"), _d.did == bindparam("did"))


def of_versions(read: Read, tid: int, vids: Sequence[int]) -> dict[int, Permissions]:
    """By version, its definition's as they are now."""
    found = read.rows(_OF_VERSIONS, {"tid": tid, "vids": vids}) if vids else ()
    return {vid: codec.decode_json(text) for vid, text in found}


def of_definition(read: Read, tid: int, did: int) -> Permissions:
    """As they are now, for a reader."""
    row = read.row(_OF_DEFINITION, {"tid": tid, "did": did})
    permissions: Permissions = {} if row is None else codec.decode_json(row[0])
    return permissions


def replace(tx: Tx, tid: int, did: int, permissions: Permissions) -> int:
    """Put these in place of what there is; answers the new revision."""
    _, _, before, rev = definitions.row_of(tx, did)
    old, new = set(_rows(before)), set(_rows(permissions))
    for permission, grantee in sorted(old - new):
        tx.delete(DEFINITION_GRANTS, (did, permission, grantee))
    for permission, grantee in sorted(new - old):
        tx.put(DEFINITION_GRANTS, (did, permission, grantee, tid))
    tx.patch(DEFINITIONS, (did,), {"permissions": codec.encode_json(permissions), "rev": rev + 1})
    tx.reconfigured()
    return rev + 1


def _rows(permissions: Mapping[str, Collection[str]]) -> Iterable[tuple[str, str]]:
    return ((permission, grantee) for permission, grantees in permissions.items() for grantee in grantees)


# -- who is named ----------------------------------------------------------------------------------------------------

_names: BindParameter[Sequence[str]] = bindparam("names", expanding=True)
_USERS = select(_u.email).where(_u.tid == bindparam("tid"), _u.email.in_(_names))
_GROUPS = select(_gr.code).where(_gr.tid == bindparam("tid"), _gr.code.in_(_names))
_APPLICATIONS = select(_a.id).where(_a.tid == bindparam("tid"), _a.id.in_(_names))
_KINDS = (("user", _USERS), ("group", _GROUPS), ("app", _APPLICATIONS))


def unknown(read: Read, tid: int, grantees: Iterable[str]) -> set[str]:
    """Those of them that name nobody of the tenant."""
    wanted: dict[str, list[str]] = {}
    for grantee in grantees:
        kind, _, name = grantee.partition(":")
        wanted.setdefault(kind, []).append(name)
    missing: set[str] = set()
    for kind, statement in _KINDS:
        if names := wanted.get(kind):
            there = {name for (name,) in read.rows(statement, {"tid": tid, "names": names})}
            missing |= {f"{kind}:{name}" for name in names if name not in there}
    return missing


_NAMING: Select[tuple[str]] = (
    select(_d.code)
    .join(tables.definition_grants, _g.did == _d.did)
    .where(_g.tid == bindparam("tid"), _g.grantee == bindparam("grantee"))
    .order_by(_d.code)
    .limit(5)
)
_WAITING = (
    select(_i.pid, _i.n).where(_i.tid == bindparam("tid"), _i.grantee == bindparam("grantee")).limit(1)
)  # fmt: skip


def uses(tx: Tx, tid: int, grantee: str) -> list[str]:
    """What would be left without this grantee: definitions that name it, open items that are its own or may become so."""
    params = {"tid": tid, "grantee": grantee}
    found = [f"the permissions of definition {code}" for (code,) in tx.select(_NAMING, params)]
    if tx.select(_WAITING, params):
        found.append("open items")
    return found


# -- what somebody sees ----------------------------------------------------------------------------------------------

_grantees: BindParameter[Sequence[str]] = bindparam("grantees", expanding=True)
# the permission is written out, or the partial index could not be used
_VIEWED = select(_g.did).where(_g.tid == bindparam("tid"), _g.permission == literal_column("'viewer'")).distinct()
_GRANTED = select(_g.did).where(_g.tid == bindparam("tid"), _g.grantee.in_(_grantees))
_SEEN = _GRANTED.where(_g.permission.in_(sorted(SEEING)))
_SEEN_SCHEDULES = _GRANTED.where(_g.permission.in_(sorted(SEEING_SCHEDULES)))


def hidden(read: Read, tid: int, grantees: Collection[str]) -> frozenset[int]:
    """Definitions of the tenant that name viewers, and none of these grantees among those who see their processes."""
    return _hidden(read, tid, grantees, _SEEN)


def hidden_schedules(read: Read, tid: int, grantees: Collection[str]) -> frozenset[int]:
    """The same of those who see their schedules."""
    return _hidden(read, tid, grantees, _SEEN_SCHEDULES)


def _hidden(read: Read, tid: int, grantees: Collection[str], seen_by: Select[tuple[int]]) -> frozenset[int]:
    viewed = {did for (did,) in read.rows(_VIEWED, {"tid": tid})}
    if not viewed:
        return frozenset()
    seen = {did for (did,) in read.rows(seen_by, {"tid": tid, "grantees": sorted(grantees)})}
    return frozenset(viewed - seen)
