"""Who may do what with a definition: live, beside its versions. What a document says is applied when it is deployed first, or
says something else than the version before; what was edited since stays otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from penstock.core.definition import Version
from penstock.errors import Invalid, NotFound, Problem
from penstock.identity.model import Actor, parse_grantee
from penstock.identity.policy import PERMISSIONS, Action, Target, require
from penstock.operations import views
from penstock.operations.context import Context, require_revision
from penstock.store import definitions, grants, journal, people
from penstock.store.grants import Permissions
from penstock.store.rows import Tx

MOST = 1_000
"""Grants of one definition."""


def target(actor: Actor, code: str, permissions: Mapping[str, Sequence[str]] | None) -> Target:
    """The definition, for policy."""
    return Target(kind="definition", id=code, tid=actor.tenant.tid, permissions=permissions)


# -- over the API ----------------------------------------------------------------------------------------------------


async def get(ctx: Context, actor: Actor, code: str) -> views.Permissions:
    """Raises: NotFound, Forbidden."""
    row = await ctx.version(actor.tenant.tid, code, None)
    if row is None:
        raise NotFound("definition", code)
    require(actor, Action.DEFINITION_GRANTS_READ, target(actor, code, row.permissions))
    return views.Permissions(_whole(row.permissions), row.rev)


async def put(
    ctx: Context,
    actor: Actor,
    code: str,
    given: Mapping[str, Sequence[str]],
    expected: frozenset[int] | None,
    key: str | None = None,
) -> views.Permissions:
    """Put these in place of all there are.

    Raises: NotFound, Forbidden, Invalid (names nobody of the tenant, or no permission), Stale.
    """
    tid = actor.tenant.tid
    row = await ctx.version(tid, code, None)
    if row is None:
        raise NotFound("definition", code)
    require(actor, Action.DEFINITION_GRANT, target(actor, code, row.permissions))
    wanted = parse(given)
    await _require_known(ctx, tid, wanted, given)

    def unit(tx: Tx) -> views.Permissions:
        people.hold(tx, tid)
        _, _, before, rev = definitions.row_of(tx, row.did)
        require(actor, Action.DEFINITION_GRANT, target(actor, code, before))
        require_revision(expected, rev, f"what the permissions of {code!r} are")
        if before != wanted:
            rev = _replace(tx, actor, row.did, code, wanted)
        return views.Permissions(_whole(wanted), rev)

    request = ["permissions", code, wanted, sorted(expected) if expected is not None else None]
    try:
        answer, _ = await ctx.once(actor, key, request, unit, views.Permissions)
    finally:
        ctx.deployed(tid, code)
    return answer


def parse(given: Mapping[str, Sequence[str]]) -> Permissions:
    """Normalised, sorted, without permissions that nobody has. Raises: Invalid, with every problem."""
    problems: list[Problem] = []
    found: Permissions = {}
    for name in given:
        if name not in PERMISSIONS:
            message = f"no permission {name[:50]!r}: there are {', '.join(PERMISSIONS)}"
            problems.append(Problem(f"/permissions/{_step(name)}", message, "unknown"))
    for name in PERMISSIONS:
        grantees: set[str] = set()
        for at, text in enumerate(given.get(name, ())):
            pointer = f"/permissions/{name}/{at}"
            try:
                grantee = parse_grantee(text, pointer)
            except Invalid as error:
                problems += error.problems
                continue
            if grantee in grantees:
                problems.append(Problem(pointer, f"{grantee} stands twice", "duplicate"))
            grantees.add(grantee)
        if grantees:
            found[name] = sorted(grantees)
    if sum(map(len, found.values())) > MOST:
        problems.append(Problem("/permissions", f"at most {MOST} grantees: use groups", "limit"))
    if problems:
        raise Invalid(problems[0].message, problems)
    return found


def _step(name: str) -> str:
    return name[:50].replace("~", "~0").replace("/", "~1")


async def _require_known(
    ctx: Context, tid: int, wanted: Permissions, given: Mapping[str, Sequence[str]]
) -> None:  # fmt: skip
    missing = await _unknown(ctx, tid, wanted)
    problems = [
        Problem(f"/permissions/{name}/{at}", f"there is no {text}", "unknown")
        for name, grantees in given.items()
        for at, text in enumerate(grantees)
        if parse_grantee(text) in missing
    ]
    if problems:
        raise Invalid(problems[0].message, problems)


async def _unknown(ctx: Context, tid: int, permissions: Mapping[str, Sequence[str]]) -> set[str]:
    named = {grantee for grantees in permissions.values() for grantee in grantees}
    return await ctx.store.async_read(lambda reader: grants.unknown(reader, tid, sorted(named))) if named else set()


def _whole(permissions: Permissions) -> Permissions:
    return {name: permissions.get(name, []) for name in PERMISSIONS}


def _replace(tx: Tx, actor: Actor, did: int, code: str, permissions: Permissions) -> int:
    rev = grants.replace(tx, actor.tenant.tid, did, permissions)
    data = {"permissions": permissions}
    journal.record(tx, actor.tenant.tid, actor.principal, "definition.permissions", "definition", code, data)
    return rev


# -- with a version --------------------------------------------------------------------------------------------------


def block_of(version: Version) -> Permissions:
    """What a version's document says, as it would be granted."""
    return {name: sorted({parse_grantee(each) for each in found}) for name, found in version.permissions.items()}


def apply(tx: Tx, actor: Actor, did: int, version: Version, before: Version | None) -> None:
    """A version comes into use after another, or as the first: its block is granted where it says something new.

    Raises: Forbidden when it does, and the actor may not grant. The first block is its author's: nobody is granted anything yet.
    """
    wanted, granted = block_of(version), grants.of(tx, did)
    if granted == wanted or (before is not None and block_of(before) == wanted):
        return
    if before is not None:
        require(actor, Action.DEFINITION_GRANT, target(actor, version.code, granted))
    _replace(tx, actor, did, version.code, wanted)


async def warnings(ctx: Context, actor: Actor, version: Version) -> list[Problem]:
    """Whom the document names that the tenant does not have: they may come later, or be misspelt."""
    block = {name: [parse_grantee(each) for each in found] for name, found in version.permissions.items()}
    missing = await _unknown(ctx, actor.tenant.tid, block)
    return [
        Problem(f"/permissions/{name}/{at}", f"the tenant has no {grantee} now", "unknown_grantee", warning=True)
        for name, grantees in block.items()
        for at, grantee in enumerate(grantees)
        if grantee in missing
    ]
