"""Deploy definitions and read them."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec

from penstock.core import codec, loading, references
from penstock.core import definition as core
from penstock.core.schema import Checker, compile_schema
from penstock.errors import Invalid, NotFound, Problem, WrongState
from penstock.identity.model import Actor
from penstock.identity.policy import Action, may, require
from penstock.operations import approval, permissions
from penstock.operations.context import Context, new_uuid
from penstock.operations.views import Definition, Deployed, Page, Version
from penstock.store import connections, definitions, grants, lookups, people, vault
from penstock.store.lookups import VersionRow
from penstock.store.reader import Read
from penstock.store.rows import Tx

_checkers: dict[tuple[str, str], Checker] = {}


def check(document: Any) -> tuple[str, list[Problem]]:
    """Everything that is wrong with a definition, and its code ("" when it has none)."""
    version, problems = loading.load(document)
    return ("" if version is None else version.code), problems


async def validate(ctx: Context, actor: Actor, document: Any) -> list[Problem]:
    """Everything that is wrong with a definition, and warnings of what it names and the tenant does not have."""
    version, problems = loading.load(document)
    return problems if version is None else [*problems, *await _unknown_names(ctx, actor.tenant.tid, version, document)]


async def _unknown_names(ctx: Context, tid: int, version: core.Version, document: Any) -> list[Problem]:
    """A warning for each place that names a secret or a connection that is not there (yet)."""
    secret_places: list[tuple[str, str]] = []
    connection_places: list[tuple[str, str]] = []
    for code, graph in version.places.items():
        node = graph.nodes[code]
        if not isinstance(node, core.Http) or not (node.request.secrets or node.connection):
            continue
        pointer, written = _written(version, document, code)
        if node.connection is not None:
            connection_places.append((f"{pointer}/connection", node.connection))
        secret_places += references.references(written, pointer)
    if not secret_places and not connection_places:
        return []

    def look(reader: Read) -> tuple[frozenset[str], frozenset[str]]:
        _, known = vault.several(reader, tid, frozenset(name for _, name in secret_places))
        return frozenset(known), connections.known(reader, tid, frozenset(name for _, name in connection_places))

    known_secrets, known_connections = await ctx.store.async_read(look)
    return [
        Problem(pointer, f"there is no {kind} {name!r} yet", f"unknown_{kind}", warning=True)
        for kind, places, known in (
            ("secret", secret_places, known_secrets),
            ("connection", connection_places, known_connections),
        )
        for pointer, name in places
        if name not in known
    ]


def _written(version: core.Version, document: Any, code: str) -> tuple[str, Any]:
    """Where a node stands in its document, and what is written there."""
    path = [code]
    while owner := version.owners[path[0]]:
        path.insert(0, owner)
    pointer, place = "", document
    for step in path:
        pointer, place = f"{pointer}/nodes/{step}", place["nodes"][step]
    return pointer, place


def read(content: bytes, kind: Literal["json", "yaml"] | None) -> Any:
    """The plain value of a document; `kind` None: JSON if it is, else YAML. Raises: Invalid, with every problem."""
    value, problems = loading.read_document(content, kind)
    if problems:
        raise Invalid("the document cannot be read", problems)
    return value


async def deploy(ctx: Context, actor: Actor, document: Any, key: str | None = None) -> Deployed:
    """Make a new version of a definition; the same document as the latest version's makes none.

    Raises: Invalid with every problem, Forbidden.
    """
    await _require_deploy(ctx, actor, document)
    version, problems = loading.load(document)
    if version is None:
        errors = [problem for problem in problems if not problem.warning]
        raise Invalid(f"the definition has {len(errors)} problem{'s' * (len(errors) != 1)}", problems)
    code = version.code
    text = codec.encode_json(document)
    digest = hashlib.sha256(msgspec.json.encode(document, order="deterministic")).hexdigest()
    definitions.compiled(digest, text)
    problems = [*problems, *await permissions.warnings(ctx, actor, version)]
    tid, definition_id, version_id = actor.tenant.tid, new_uuid(), new_uuid()

    def unit(tx: Tx) -> tuple[definitions.Latest, bool]:
        people.hold(tx, tid)
        before = definitions.latest(tx, tid, code)
        if not may(actor, Action.DEFINITION_DEPLOY):
            granted = None if before is None else grants.of(tx, before.did)
            require(actor, Action.DEFINITION_DEPLOY, permissions.target(actor, code, granted))
        if before is not None and before.digest == digest:
            return before, True
        added = approval.add(tx, actor, version, id=definition_id, version_id=version_id, document=text, digest=digest)
        return added, False

    try:
        (latest, unchanged), _ = await ctx.once(actor, key, ["deploy", digest], unit, tuple[definitions.Latest, bool])
    finally:
        ctx.deployed(tid, code)
    row = await _row(ctx, tid, code, latest.number)
    warnings = [*problems, *await _unknown_names(ctx, tid, version, document)]
    return Deployed(row.definition_id, code, row.number, row.id, row.created_at, warnings, unchanged, row.state)


async def _require_deploy(ctx: Context, actor: Actor, document: Any) -> None:
    """Who may not deploy at all may a definition that names them its administrator."""
    if may(actor, Action.DEFINITION_DEPLOY):
        return
    code = document.get("code") if isinstance(document, dict) else None
    row = await ctx.version(actor.tenant.tid, code, None) if isinstance(code, str) and "\0" not in code else None
    granted = None if row is None else row.permissions
    require(actor, Action.DEFINITION_DEPLOY, permissions.target(actor, str(code), granted))


async def _row(
    ctx: Context, tid: int, code: str, number: int | None, *, looked_at_again: bool = False, current: bool = False
) -> VersionRow:
    row = await ctx.version(tid, code, number, looked_at_again=looked_at_again, current=current)
    if row is None:
        raise NotFound("definition", code if number is None else f"{code} version {number}")
    return row


async def version_of(
    ctx: Context,
    tid: int,
    code: str,
    number: int | None = None,
    *,
    looked_at_again: bool = False,
    current: bool = False,
) -> VersionRow:
    """A version by code and number; without, the latest, or the one that new processes start with.

    `looked_at_again` as in `Context.version`. Raises: NotFound.
    """
    return await _row(ctx, tid, code, number, looked_at_again=looked_at_again, current=current)


def require_active(row: VersionRow) -> None:
    """Only an active version is started. Raises: WrongState."""
    if row.state != definitions.ACTIVE:
        what = f"version {row.number} of definition {row.code!r} is {row.state}"
        raise WrongState(
            f"cannot start: {what}; only an active version is started (`penstock activate {row.code} {row.number}`)"
        )


async def get(ctx: Context, actor: Actor, code: str) -> Definition:
    """A definition with the document of its latest version. Raises: NotFound."""
    require(actor, Action.DEFINITION_READ)
    return _definition(await _row(ctx, actor.tenant.tid, code, None), document=True)


async def listed(ctx: Context, actor: Actor, after: list[Any] | None, limit: int) -> Page:
    require(actor, Action.DEFINITION_READ)
    start = after[0] if after else 0
    rows = await ctx.store.async_read(
        lambda reader: lookups.latest_versions(reader, actor.tenant.tid, start, limit + 1)
    )
    return Page([_definition(row) for row in rows[:limit]], [rows[limit - 1].did] if len(rows) > limit else None)


async def versions(ctx: Context, actor: Actor, code: str, after: list[Any] | None, limit: int) -> Page:
    require(actor, Action.DEFINITION_READ)
    tid = actor.tenant.tid
    before = after[0] if after else 2**62
    await _row(ctx, tid, code, None)
    rows = await ctx.store.async_read(lambda reader: lookups.versions(reader, tid, code, before, limit + 1))
    return Page([_version(row) for row in rows[:limit]], [rows[limit - 1].number] if len(rows) > limit else None)


async def get_version(ctx: Context, actor: Actor, code: str, number: int) -> Version:
    """Raises: NotFound."""
    require(actor, Action.DEFINITION_READ)
    return _version(await _row(ctx, actor.tenant.tid, code, number), document=True)


def _definition(row: VersionRow, *, document: bool = False) -> Definition:
    plain = codec.decode_json(row.document)
    name = plain.get("name", row.code)
    return Definition(
        row.definition_id,
        row.code,
        name,
        row.latest,
        row.active,
        row.definition_created_at,
        plain if document else None,
    )


def version_view(row: VersionRow) -> Version:
    """Without its document."""
    return _version(row)


def _version(row: VersionRow, *, document: bool = False) -> Version:
    plain = codec.decode_json(row.document) if document else None
    return Version(row.number, row.id, row.state, row.created_at, row.created_by, plain)


def checker(digest: str, name: str, schema: Any) -> Checker:
    """The compiled schema `name` of a version's document, kept by its digest."""
    found = _checkers.get((digest, name))
    if found is None:
        if len(_checkers) > 2_000:
            _checkers.clear()
        found = _checkers[(digest, name)] = compile_schema(schema)
    return found
