"""Providers of identity of a tenant: administrators say whom to believe, and what for. A client's secret is read by nobody."""

from __future__ import annotations

import os
import re
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from penstock.core import codec
from penstock.errors import AlreadyExists, Conflict, Invalid, NotFound, Problem
from penstock.identity.keys import NONCE_BYTES, Keys
from penstock.identity.model import Actor, parse_code, parse_name
from penstock.identity.oidc import safe_url
from penstock.identity.policy import OPERATOR
from penstock.operations.administration import require_administrator
from penstock.operations.context import Context, require_revision
from penstock.operations.views import Page
from penstock.store import journal, people, providers
from penstock.store.providers import Row
from penstock.store.rows import Tx

SCOPES = ("openid", "email", "profile")
VOUCHING = frozenset({"issuer", "client_id", "client_secret"})
"""Members that say who vouches for the users."""
MOST_OFFERED = 50
"""Providers a log-in page is told of."""
CHUNK = 100
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,100}")
_DOMAIN = re.compile(r"[^\W_](?:[\w.-]{0,251}[^\W_])?")


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of a provider, its client's secret apart. As it is kept."""

    name: str
    issuer: str
    client_id: str
    scopes: tuple[str, ...] = SCOPES
    enabled: bool = True
    create_users: bool = False
    """Make a user of whom the provider vouches for and who is none yet."""
    domains: tuple[str, ...] = ()
    """Of e-mail addresses that may come from there; none: all."""
    groups_claim: str | None = None
    """The claim that says which groups a user is in, at each log-in; None: the provider has no say in it."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is UNSET stays."""

    name: str | UnsetType = UNSET
    issuer: str | UnsetType = UNSET
    client_id: str | UnsetType = UNSET
    client_secret: str | UnsetType | None = UNSET
    scopes: tuple[str, ...] | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    create_users: bool | UnsetType = UNSET
    domains: tuple[str, ...] | UnsetType = UNSET
    groups_claim: str | UnsetType | None = UNSET


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """`secret`: whether the client has one. Times in milliseconds."""

    code: str
    spec: Spec
    secret: bool
    revision: int
    created_at: int
    created_by: str
    modified_at: int
    modified_by: str


class Offer(msgspec.Struct, frozen=True):
    """What everybody may know of a provider."""

    code: str
    name: str


# -- reading ---------------------------------------------------------------------------------------------------------


async def offered(ctx: Context, tenant: str) -> list[Offer]:
    """Those of a tenant (by its code) that are enabled; none of a tenant that there is not."""
    rows = await ctx.store.async_read(lambda read: providers.of_tenant(read, tenant, MOST_OFFERED), single=True)
    specs = [(row.name, spec_of(row)) for row in rows]
    return [Offer(code, spec.name) for code, spec in specs if spec.enabled]


async def listed(ctx: Context, actor: Actor, after: list[Any] | None, limit: int) -> Page:
    """By code. Raises: Forbidden."""
    require_administrator(actor)
    start, tid = after[0] if after else "", actor.tenant.tid
    rows = await ctx.store.async_read(lambda read: providers.NAMED.listed(read, tid, start, limit + 1), single=True)
    return Page([_view(row) for row in rows[:limit]], [rows[limit - 1].name] if len(rows) > limit else None)


async def get(ctx: Context, actor: Actor, code: str) -> Provider:
    """Raises: Forbidden, NotFound."""
    require_administrator(actor)
    row = await ctx.store.async_read(lambda read: providers.NAMED.get(read, actor.tenant.tid, code), single=True)
    if row is None:
        raise NotFound("provider", code)
    return _view(row)


def spec_of(row: Row) -> Spec:
    return msgspec.json.decode(row.document, type=Spec)


def _view(row: Row) -> Provider:
    return Provider(
        code=row.name,
        spec=spec_of(row),
        secret=row.secret is not None,
        revision=row.revision,
        created_at=row.created_at,
        created_by=row.created_by,
        modified_at=row.modified_at,
        modified_by=row.modified_by,
    )


# -- changing --------------------------------------------------------------------------------------------------------


async def create(
    ctx: Context, actor: Actor, code: str, spec: Spec, secret: str | None, key: str | None = None
) -> Provider:
    """Raises: Forbidden, Invalid, AlreadyExists, Conflict when there is a secret and the installation has no key."""
    require_administrator(actor)
    parse_code(code)
    spec, tid = _checked(spec), actor.tenant.tid
    sealed = _sealed(ctx, actor, code, secret)

    def unit(tx: Tx) -> Provider:
        people.hold(tx, tid)
        if providers.NAMED.lock(tx, tid, code) is not None:
            raise AlreadyExists(f"there is a provider {code!r} already")
        by, document = actor.principal, codec.encode_json(spec)
        row = Row(tid, code, document, *sealed, 1, tx.now, by, tx.now, by, by)
        providers.NAMED.put(tx, row)
        journal.record(tx, tid, by, "provider.created", "provider", code, msgspec.to_builtins(spec))
        return _view(row)

    request = ["provider.create", code, spec, _fingerprint(ctx, secret)]
    return (await ctx.once(actor, key, request, unit, Provider))[0]


async def change(
    ctx: Context, actor: Actor, code: str, given: Change, expected: frozenset[int] | None, key: str | None = None
) -> Provider:
    """Raises: Forbidden, NotFound, Invalid, Stale, Conflict."""
    require_administrator(actor)
    tid, secret = actor.tenant.tid, given.client_secret
    sealed = None if secret is UNSET else _sealed(ctx, actor, code, secret)
    members = {
        name: value
        for name in given.__struct_fields__
        if name != "client_secret" and (value := getattr(given, name)) is not UNSET
    }

    def unit(tx: Tx) -> Provider:
        people.hold(tx, tid)
        row = providers.NAMED.lock(tx, tid, code)
        if row is None:
            raise NotFound("provider", code)
        require_revision(expected, row.revision, f"the provider {code!r}")
        before = spec_of(row)
        spec = _checked(msgspec.structs.replace(before, **members))
        changed = {name: value for name in members if (value := getattr(spec, name)) != getattr(before, name)}
        if not changed and sealed is None:
            return _view(row)
        _require_new_secret(row, changed, sealed)
        row = row._replace(document=codec.encode_json(spec), revision=row.revision + 1)
        trusted_by = _trusted_by(row, actor, {*members, *(() if sealed is None else ("client_secret",))}, changed)
        newly = {} if trusted_by == row.trusted_by else {"trusted_by": trusted_by}
        row = row._replace(modified_at=tx.now, modified_by=actor.principal, trusted_by=trusted_by)
        if sealed is not None:
            row = row._replace(key=sealed[0], secret=sealed[1])
        providers.NAMED.put(tx, row)
        told = {**changed, **({} if sealed is None else {"client_secret": row.secret is not None}), **newly}
        journal.record(tx, tid, actor.principal, "provider.changed", "provider", code, told)
        return _view(row)

    shown = _fingerprint(ctx, None if secret is UNSET else secret)
    request = ["provider.change", code, members, secret is UNSET, shown, sorted(expected) if expected else None]
    return (await ctx.once(actor, key, request, unit, Provider))[0]


def _trusted_by(row: Row, actor: Actor, given: set[str], changed: dict[str, Any]) -> str:
    """Who answers for the issuer and the client: who has said all of it, or else has changed a part.

    An operator who changes a part of what another has said has not said the rest: to adopt it they say all of it again.
    """
    if given >= VOUCHING:
        return actor.principal
    touched = "client_secret" in given or not VOUCHING.isdisjoint(changed)
    return actor.principal if touched and OPERATOR not in actor.roles else row.trusted_by


def _require_new_secret(row: Row, changed: dict[str, Any], sealed: tuple[str | None, str | None] | None) -> None:
    """A secret goes to whom it was made for. Raises: Invalid."""
    if "issuer" in changed and row.secret is not None and sealed is None:
        message = "another issuer is not given the secret of this one: send client_secret too, null for none"
        raise Invalid(f"client_secret: {message}", [Problem("/client_secret", message, "missing")])


async def remove(
    ctx: Context, actor: Actor, code: str, expected: frozenset[int] | None, key: str | None = None
) -> None:
    """Nobody comes from there any more; who is logged in stays so. Raises: Forbidden, NotFound, Stale."""
    require_administrator(actor)
    tid = actor.tenant.tid

    def unit(tx: Tx) -> None:
        row = providers.NAMED.lock(tx, tid, code)
        if row is None:
            raise NotFound("provider", code)
        require_revision(expected, row.revision, f"the provider {code!r}")
        providers.NAMED.remove(tx, row)
        journal.record(tx, tid, actor.principal, "provider.removed", "provider", code, {"revision": row.revision})

    await ctx.once(actor, key, ["provider.remove", code], unit, type(None))


def _checked(spec: Spec) -> Spec:
    """In the form in which it is kept. Raises: Invalid, with every problem."""
    spec = msgspec.structs.replace(spec, domains=tuple(domain.casefold() for domain in spec.domains))
    problems = []
    if not safe_url(spec.issuer) or "?" in spec.issuer:
        problems.append(Problem("/issuer", "must be https:// with a host; http:// on this machine alone", "url"))
    if not spec.client_id.isascii() or not spec.client_id.isprintable():
        problems.append(Problem("/client_id", "must be printable ASCII", "invalid"))
    if "openid" not in spec.scopes:
        problems.append(Problem("/scopes", "must have openid among them", "missing"))
    for at, scope in enumerate(spec.scopes):
        if not _SCOPE.fullmatch(scope):
            problems.append(Problem(f"/scopes/{at}", "is not a scope", "invalid"))
    for at, domain in enumerate(spec.domains):
        if not _DOMAIN.fullmatch(domain) or ".." in domain:
            problems.append(Problem(f"/domains/{at}", "is not a domain, as example.com", "invalid"))
    if spec.groups_claim is not None and not spec.groups_claim.isprintable():
        problems.append(Problem("/groups_claim", "must be printable", "invalid"))
    if problems:
        raise Invalid(f"{problems[0].pointer}: {problems[0].message}", problems)
    parse_name(spec.name)
    return spec


# -- the client's secret ---------------------------------------------------------------------------------------------


def secret_of(keys: Keys | None, tenant: str, row: Row) -> str | None:
    """In clear, to be sent. `tenant` is the public id. Raises: Conflict, Unreadable."""
    if row.key is None or row.secret is None:
        return None
    return _keys(keys).open(row.key, row.secret, providers.bound_to(tenant, row.name))


def _sealed(ctx: Context, actor: Actor, code: str, secret: str | None) -> tuple[str | None, str | None]:
    """Key and sealed secret."""
    if secret is None:
        return None, None
    keys = _keys(ctx.keys)
    return keys.newest, keys.seal(secret, providers.bound_to(actor.tenant.id, code), os.urandom(NONCE_BYTES))


def _fingerprint(ctx: Context, secret: str | None) -> str | None:
    return None if secret is None or ctx.keys is None else ctx.keys.fingerprint(secret)


def _keys(keys: Keys | None) -> Keys:
    if keys is None:
        raise Conflict("this installation stores no secrets: it has no key. Set secret_key (PENSTOCK_SECRET_KEY_FILE)")
    return keys
