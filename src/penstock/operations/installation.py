"""Tenants and their quotas, as operators of the installation see them. Nothing of what a tenant holds is among it.

What an operator does to a tenant stands in the journals of both: in the operator's own, and in the tenant's, where the actor
is `operator` and the data says which.
"""

from __future__ import annotations

import secrets
from typing import Any

import argon2
import msgspec
from msgspec import UNSET, UnsetType

from penstock.errors import AlreadyExists, Conflict, NotFound
from penstock.identity.model import UNLIMITED, Actor, Quotas, parse_code, parse_email, parse_name
from penstock.identity.policy import ADMIN, OPERATOR, Action, require
from penstock.identity.quotas import checked_quotas
from penstock.identity.tokens import RANDOM_BYTES, hash_secret, new_secret
from penstock.operations import views
from penstock.operations.administration import lock_out
from penstock.operations.context import Context, new_uuid, require_revision
from penstock.operations.people import Credentials, check_password
from penstock.store import directory, installation, journal, people
from penstock.store.people import Settings
from penstock.store.rows import APPLICATIONS, USERS, Tx

BY_OPERATOR = "operator"
"""The actor in the journal of a tenant that an operator of another one has changed."""
PASSWORD_BYTES = 12


class NewTenant(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant with the administrator who is to do the rest. Without a password one is made."""

    code: str
    email: str
    name: str | None = None
    password: str | None = None
    administrator: str | None = None
    """What people call the administrator."""
    quotas: Quotas = UNLIMITED


class QuotaChange(msgspec.Struct, frozen=True, kw_only=True):
    """What is UNSET stays."""

    open_processes: int | UnsetType | None = UNSET
    requests_per_second: float | UnsetType | None = UNSET
    burst: int | UnsetType | None = UNSET
    writer_share: int | UnsetType = UNSET


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is UNSET stays."""

    name: str | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET
    quotas: QuotaChange = QuotaChange()


class Made(msgspec.Struct, frozen=True):
    """`password` only where it was made here, and this once."""

    tenant: views.Installed
    email: str
    password: str | None = None


# -- reading ---------------------------------------------------------------------------------------------------------


async def listed(ctx: Context, actor: Actor, after: list[Any] | None, limit: int) -> views.Page:
    """Oldest first. Raises: Forbidden."""
    require(actor, Action.INSTALLATION_ADMINISTER)
    begin = after[0] if after else 0
    rows = await ctx.store.async_read(lambda reader: installation.tenants(reader, begin, limit + 1))
    return views.Page([_view(row) for row in rows[:limit]], [rows[limit - 1].tid] if len(rows) > limit else None)


async def get(ctx: Context, actor: Actor, code: str) -> views.Installed:
    """Raises: Forbidden, NotFound."""
    require(actor, Action.INSTALLATION_ADMINISTER)
    row = await ctx.store.async_read(lambda reader: installation.tenant(reader, code))
    if row is None:
        raise NotFound("tenant", code)
    return _view(row)


def _view(row: Settings) -> views.Installed:
    return views.Installed(
        id=row.id,
        code=row.code,
        name=row.name,
        disabled=bool(row.disabled),
        quotas=people.quotas_of(row.quotas),
        created_at=row.created_at,
        revision=row.rev,
    )


# -- changing --------------------------------------------------------------------------------------------------------


async def create(ctx: Context, credentials: Credentials, actor: Actor, new: NewTenant, key: str | None = None) -> Made:
    """A tenant and its first administrator, in one unit. The key's second answer has no password.

    Raises: Forbidden, Invalid, AlreadyExists (the code), LimitExceeded.
    """
    require(actor, Action.INSTALLATION_ADMINISTER)
    code, email = parse_code(new.code), parse_email(new.email, "/administrator/email")
    quotas = checked_quotas(new.quotas)
    name = parse_name(code if new.name is None else new.name)
    person = parse_name(email if new.administrator is None else new.administrator, "/administrator/name")
    password = secrets.token_urlsafe(PASSWORD_BYTES) if new.password is None else new.password
    hash = await credentials.hash_password(password, "/administrator/password")
    tenant_id, user_id = new_uuid(), new_uuid()

    def unit(tx: Tx) -> views.Installed:
        if installation.tenant(tx, code) is not None:
            raise AlreadyExists(f"there is a tenant {code} already")
        tid = people.add_tenant(tx, tenant_id, code, name, quotas)
        _record(tx, actor, tid, "tenant.created", code, {"name": name, "quotas": msgspec.to_builtins(quotas)})
        people.add_user(tx, tid, user_id, email, person, hash, (ADMIN,))
        data = {"name": person, "roles": [ADMIN], "groups": [], "password": True}
        journal.record(tx, tid, BY_OPERATOR, "user.created", "user", email, data)
        return _view(people.settings(tx, tid))

    # a password is neither kept nor hashed quickly under the key
    request = ["tenant.create", msgspec.structs.replace(new, password=new.password and "")]
    made, replayed = await ctx.once(actor, key, request, unit, views.Installed)
    return Made(made, email, None if replayed or new.password is not None else password)


async def change(
    ctx: Context, actor: Actor, code: str, given: Change, expected: frozenset[int] | None, key: str | None = None
) -> views.Installed:
    """Nobody of a disabled tenant gets in or keeps in; what it has begun goes on. Quotas count at once, on every node.

    Raises: Forbidden, NotFound, Invalid, Stale, Conflict (one's own tenant cannot be disabled).
    """
    require(actor, Action.INSTALLATION_ADMINISTER)
    wanted: dict[str, Any] = {}
    if given.name is not UNSET:
        wanted["name"] = parse_name(given.name)
    if given.disabled is not UNSET:
        wanted["disabled"] = int(given.disabled)
    quotas = {name: value for name, value in msgspec.structs.asdict(given.quotas).items() if value is not UNSET}

    def unit(tx: Tx) -> views.Installed:
        before = _held(tx, code)
        require_revision(expected, before.rev, f"tenant {code}")
        columns = dict(wanted)
        if quotas:
            now = msgspec.structs.replace(people.quotas_of(before.quotas), **quotas)
            columns["quotas"] = people.encode_quotas(checked_quotas(now))
        changed = {name: value for name, value in columns.items() if getattr(before, name) != value}
        if not changed:
            return _view(before)
        if changed.get("disabled") and before.tid == actor.tenant.tid:
            raise Conflict("nobody disables the own tenant: an operator of another tenant may")
        after = before._replace(**changed, rev=before.rev + 1)
        people.set_settings(tx, after)
        people.changed(tx, before.tid)
        _record(tx, actor, before.tid, "tenant.changed", code, _told(changed))
        return _view(after)

    request = ["installation.change", code, wanted, quotas, sorted(expected) if expected is not None else None]
    return (await ctx.once(actor, key, request, unit, views.Installed))[0]


def _held(tx: Tx, code: str) -> Settings:
    """Raises: NotFound."""
    row = installation.tenant(tx, code)
    if row is None:
        raise NotFound("tenant", code)
    people.hold(tx, row.tid)
    return people.settings(tx, row.tid)


def _told(changed: dict[str, Any]) -> dict[str, Any]:
    told = dict(changed)
    if "disabled" in told:
        told["disabled"] = bool(told["disabled"])
    if "quotas" in told:
        told["quotas"] = msgspec.json.decode(told["quotas"])
    return told


def _record(tx: Tx, actor: Actor, tid: int, type: str, code: str, data: dict[str, Any]) -> None:
    """In the journal of the tenant concerned, and the operator's own."""
    own = actor.tenant
    if tid != own.tid:
        operator = {"operator": f"{actor.principal} of {own.code}"}
        journal.record(tx, tid, BY_OPERATOR, type, "tenant", code, {**data, **operator})
    journal.record(tx, own.tid, actor.principal, type, "tenant", code, data)


# -- bootstrap -------------------------------------------------------------------------------------------------------


class Bootstrap(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody at the machine asks for. Without a password one is made."""

    code: str
    email: str
    name: str | None = None
    """Of a tenant that is made."""
    password: str | None = None
    application: str | None = None
    """Name of an application to make, or to give a new secret."""


class Bootstrapped(msgspec.Struct, frozen=True, kw_only=True):
    """What there is now, secrets in clear, and `done`: what was done, a sentence each."""

    tenant_id: str
    code: str
    email: str
    password: str
    application_id: str | None
    application_secret: str | None
    done: list[str]


async def bootstrap(ctx: Context, asked: Bootstrap) -> Bootstrapped:
    """The tenant, its administrator and an application: each made, or repaired where it is there. The administrator is an
    operator, too, where nobody else is one. Raises: Invalid, Conflict (two applications of the name).
    """
    code, email = parse_code(asked.code, "code"), parse_email(asked.email, "--email")
    name = parse_name(code if asked.name is None else asked.name, "--name")
    application = None if asked.application is None else parse_name(asked.application, "--application")
    password = secrets.token_urlsafe(PASSWORD_BYTES) if asked.password is None else asked.password
    check_password(password, "--password-file")
    hash = argon2.PasswordHasher().hash(password)
    tenant_id, user_id, new_id = new_uuid(), new_uuid(), new_uuid()
    secret = new_secret("ps", secrets.token_bytes(RANDOM_BYTES))

    def unit(tx: Tx) -> Bootstrapped:
        done: list[str] = []
        row = _boot_tenant(tx, code, name, tenant_id, done)
        _boot_user(tx, row.tid, email, user_id, hash, done)
        id = None if application is None else _boot_application(tx, row.tid, application, new_id, secret, done)
        people.changed(tx, row.tid)
        return Bootstrapped(
            tenant_id=row.id,
            code=code,
            email=email,
            password=password,
            application_id=id,
            application_secret=None if id is None else secret,
            done=done,
        )

    return await ctx.store.submit_async(unit)


def _boot_tenant(tx: Tx, code: str, name: str, id: str, done: list[str]) -> Settings:
    found = installation.tenant(tx, code)
    if found is None:
        tid = people.add_tenant(tx, id, code, name)
        journal.record(tx, tid, journal.SYSTEM, "tenant.created", "tenant", code, {"name": name})
        done.append(f"the tenant {code} was made")
        return people.settings(tx, tid)
    held = _held(tx, code)
    if held.disabled:
        held = held._replace(disabled=0, rev=held.rev + 1)
        people.set_settings(tx, held)
        journal.record(tx, held.tid, journal.SYSTEM, "tenant.changed", "tenant", code, {"disabled": False})
        done.append(f"the tenant {code} was disabled and is enabled again")
    return held


def _boot_user(tx: Tx, tid: int, email: str, id: str, hash: str, done: list[str]) -> None:
    row = directory.user(tx, tid, email)
    roles = {ADMIN} if row is None else {ADMIN, *directory.roles_of(row)}
    first = not installation.operators(tx, but=0 if row is None else row.uid)
    if first:
        roles.add(OPERATOR)
    given = sorted(roles)
    if row is None:
        people.add_user(tx, tid, id, email, email, hash, tuple(given))
        data: dict[str, Any] = {"name": email, "roles": given, "groups": [], "password": True}
        journal.record(tx, tid, journal.SYSTEM, "user.created", "user", email, data)
        done.append(f"the user {email} was made, with the roles {', '.join(given)}")
        return
    new = sorted(roles - set(directory.roles_of(row)))
    columns = {"password_hash": hash, "roles": people.encode_roles(given), "disabled": 0, "rev": row.rev + 1}
    lock_out(tx, tid, f"user:{email}")
    tx.patch(USERS, (row.uid,), columns)
    journal.record(
        tx, tid, journal.SYSTEM, "user.changed", "user", email, {"roles": given, "password": True, "disabled": False}
    )
    done.append(f"the user {email} was there: a new password, and every token of the old one has ended")
    if new:
        done.append(f"the user {email} has got the roles {', '.join(new)}")
    if row.disabled:
        done.append(f"the user {email} was disabled and is enabled again")


def _boot_application(tx: Tx, tid: int, name: str, id: str, secret: str, done: list[str]) -> str:
    """Answers its id. Raises: Conflict."""
    rows = installation.applications_named(tx, tid, name)
    if len(rows) > 1:
        raise Conflict(f"there are {len(rows)} applications named {name!r}: rename one, or choose another name")
    if not rows:
        people.add_application(tx, tid, id, name, hash_secret(secret))
        journal.record(tx, tid, journal.SYSTEM, "application.created", "application", id, {"name": name, "roles": []})
        done.append(f"the application {name} was made")
        return id
    row = rows[0]
    lock_out(tx, tid, f"app:{row.id}")
    columns = {
        "secret_hash": hash_secret(secret),
        "old_hash": None,
        "old_until": None,
        "disabled": 0,
        "rev": row.rev + 1,
    }
    tx.patch(APPLICATIONS, (row.aid,), columns)
    data = {"old_secret_until": None}
    journal.record(tx, tid, journal.SYSTEM, "application.secret_rotated", "application", row.id, data)
    done.append(f"the application {name} was there: a new secret, and the old one is good no more")
    if row.disabled:
        done.append(f"the application {name} was disabled and is enabled again")
    return row.id
