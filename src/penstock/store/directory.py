"""Users, groups and applications as administrators see them. Every read is for a reader as well as for a unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, ColumnElement, Select, bindparam, func, literal, literal_column, select, tuple_

from penstock.core import codec
from penstock.core.requests import UserFilter
from penstock.identity.policy import ADMIN
from penstock.store import tables
from penstock.store.reader import Read
from penstock.store.rows import APPLICATIONS, GROUPS, MEMBERSHIPS, USERS, Rows, Tx


class UserRow(NamedTuple):
    """A row of `users`, in the order of its columns."""

    uid: int
    tid: int
    id: str
    email: str
    name: str
    password_hash: str | None
    roles: str
    created_at: int
    disabled: int
    folded: str
    rev: int


class GroupRow(NamedTuple):
    gid: int
    tid: int
    code: str
    name: str
    created_at: int
    rev: int


class ApplicationRow(NamedTuple):
    aid: int
    tid: int
    id: str
    name: str
    secret_hash: str
    roles: str
    created_at: int
    disabled: int
    old_hash: str | None
    old_until: int | None
    rev: int


_u, _g, _m, _a = tables.users.c, tables.groups.c, tables.memberships.c, tables.applications.c
_tid: BindParameter[int] = bindparam("tid")
_uids: BindParameter[Sequence[int]] = bindparam("uids", expanding=True)
_USER = select(*tables.users.columns).where(_u.tid == _tid)
_BY_ID, _BY_EMAIL = _USER.where(_u.id == bindparam("id")), _USER.where(_u.email == bindparam("email"))
_GROUP = select(*tables.groups.columns).where(_g.tid == _tid)
_BY_CODE = _GROUP.where(_g.code == bindparam("code"))
_APPLICATION = select(*tables.applications.columns).where(_a.tid == _tid)
_BY_AID = _APPLICATION.where(_a.id == bindparam("id"))
_GROUPS_OF = (
    select(_m.uid, _g.code).join(tables.groups, _g.gid == _m.gid).where(_m.uid.in_(_uids)).order_by(_g.code)
)  # fmt: skip


def user(read: Read | Tx, tid: int, who: str) -> UserRow | None:
    """By e-mail address (as it is kept), or by id."""
    rows = _ask(read, _BY_EMAIL if "@" in who else _BY_ID, {"tid": tid, "email": who, "id": who}, USERS)
    return UserRow(*rows[0]) if rows else None


def groups_of(read: Read | Tx, uids: Sequence[int]) -> dict[int, list[str]]:
    """The codes of the groups each of them is in."""
    found: dict[int, list[str]] = {uid: [] for uid in uids}
    for uid, code in _ask(read, _GROUPS_OF, {"uids": list(uids)}, GROUPS, MEMBERSHIPS) if uids else ():
        found[uid].append(code)
    return found


def users(read: Read, tid: int, wanted: UserFilter, after: list[Any] | None, most: int) -> list[UserRow]:
    """By e-mail address or by name."""
    backwards = wanted.sort.startswith("-")
    place: tuple[ColumnElement[Any], ...] = (_u.email,) if wanted.sort.endswith("email") else (_u.folded, _u.uid)
    page: Select[Any] = select(*tables.users.columns).where(_u.tid == tid)
    if wanted.group is not None:
        gid = select(_g.gid).where(_g.tid == tid, _g.code == wanted.group).scalar_subquery()
        page = page.join(tables.memberships, _m.uid == _u.uid).where(_m.gid == gid)
    for column, beginning in ((_u.email, wanted.email), (_u.folded, wanted.name)):
        if beginning:
            page = page.where(column >= beginning, column < beginning + "\U0010ffff")
    if wanted.disabled is not None:
        # written out, or the partial index could not be used
        page = page.where(_u.disabled == literal_column(str(int(wanted.disabled))))
    if after is not None:
        here, there = tuple_(*place), tuple_(*(literal(value) for value in after))
        page = page.where(here < there if backwards else here > there)
    page = page.order_by(*(column.desc() if backwards else column for column in place)).limit(most)
    return [UserRow(*row) for row in read.rows(page, {})]


def place_of(row: UserRow, sort: str) -> list[Any]:
    """Where a list goes on after this row."""
    return [row.email] if sort.endswith("email") else [row.folded, row.uid]


def group(read: Read | Tx, tid: int, code: str) -> GroupRow | None:
    rows = _ask(read, _BY_CODE, {"tid": tid, "code": code}, GROUPS)
    return GroupRow(*rows[0]) if rows else None


def groups(read: Read, tid: int, after: str, most: int) -> list[GroupRow]:
    """By code."""
    page = _GROUP.where(_g.code > after).order_by(_g.code).limit(most)
    return [GroupRow(*row) for row in read.rows(page, {"tid": tid})]


def application(read: Read | Tx, tid: int, id: str) -> ApplicationRow | None:
    rows = _ask(read, _BY_AID, {"tid": tid, "id": id}, APPLICATIONS)
    return ApplicationRow(*rows[0]) if rows else None


def applications(read: Read, tid: int, after: int, most: int) -> list[ApplicationRow]:
    """Oldest first."""
    page = _APPLICATION.where(_a.aid > after).order_by(_a.aid).limit(most)
    return [ApplicationRow(*row) for row in read.rows(page, {"tid": tid})]


_ADMINS = (
    select(func.count())
    .where(_u.tid == _tid, _u.roles != literal_column("'[]'"), _u.disabled == 0)
    .where(_u.roles.contains(f'"{ADMIN}"'), _u.uid != bindparam("but"))
)
_ADMIN_APPLICATIONS = select(func.count()).where(
    _a.tid == _tid, _a.disabled == 0, _a.roles.contains(f'"{ADMIN}"'), _a.aid != bindparam("but")
)


def administrators(tx: Tx, tid: int, *, but: int) -> int:
    """How many users administrate the tenant besides this one."""
    return int(tx.select(_ADMINS, {"tid": tid, "but": but}, of=[USERS])[0][0])


def administrating_applications(tx: Tx, tid: int, *, but: int) -> int:
    """How many applications do, besides this one."""
    return int(tx.select(_ADMIN_APPLICATIONS, {"tid": tid, "but": but}, of=[APPLICATIONS])[0][0])


def roles_of(row: UserRow | ApplicationRow) -> list[str]:
    roles: list[str] = codec.decode_json(row.roles)
    return roles


def _ask(read: Read | Tx, statement: Select[Any], params: dict[str, Any], *of: Rows) -> list[tuple[Any, ...]]:
    return read.select(statement, params, of=of) if isinstance(read, Tx) else read.rows(statement, params)
