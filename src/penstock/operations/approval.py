"""How a version comes to be what new processes start with: deployed, submitted, approved by another person where the tenant
demands it, activated, and retired. Every decision is kept, with its comment.
"""

from __future__ import annotations

from typing import Any

from penstock.core.approval import Approval, Decision, State, decided, deployed
from penstock.core.definition import Version
from penstock.errors import Forbidden, Invalid, NotFound, Problem
from penstock.identity.model import Actor
from penstock.identity.policy import Action, require
from penstock.operations import permissions, views
from penstock.operations.context import Context
from penstock.store import decisions, definitions, grants, journal, people
from penstock.store.definitions import Latest
from penstock.store.lookups import VersionRow
from penstock.store.rows import Tx

LONGEST_COMMENT = 2_000


# -- deploying -------------------------------------------------------------------------------------------------------


def add(
    tx: Tx, actor: Actor, version: Version, *, id: str, version_id: str, document: str, digest: str
) -> Latest:  # fmt: skip
    """A new version, in the state the tenant's rule begins with. The unit holds the tenant.

    Raises: Forbidden when the block of permissions says something new, and the actor may not grant.
    """
    tid, code = actor.tenant.tid, version.code
    state = deployed(Approval(people.settings(tx, tid).approval))
    before, running = definitions.latest(tx, tid, code), definitions.current(tx, tid, code)
    added = definitions.add(
        tx, tid, code, id=id, version_id=version_id, document=document, digest=digest, by=actor.principal, state=state
    )
    if before is None:
        permissions.apply(tx, actor, added.did, version, None)
    elif state is State.ACTIVE and running is not None:
        permissions.apply(tx, actor, added.did, version, definitions.version(tx, running.vid)[1])
    data = {"version": added.number, "version_id": version_id, "digest": digest, "state": state.value}
    journal.record(tx, tid, actor.principal, "version.deployed", "definition", code, data)
    return added


# -- deciding --------------------------------------------------------------------------------------------------------


async def decide(
    ctx: Context, actor: Actor, code: str, number: int, decision: Decision, comment: str, key: str | None = None
) -> VersionRow:
    """Bring a version into its next state.

    Raises: NotFound, Forbidden (no right to, a second person is needed, or its block of permissions says something new and
    the actor may not grant), WrongState, Invalid (the comment).
    """
    tid = actor.tenant.tid
    _check_comment(decision, comment)

    def unit(tx: Tx) -> None:
        people.hold(tx, tid)
        found = definitions.numbered(tx, tid, code, number)
        if found is None:
            raise NotFound("definition", f"{code} version {number}")
        _require(tx, actor, code, found, decision)
        rule = Approval(people.settings(tx, tid).approval)
        running = definitions.row_of(tx, found.did)[1]
        after = decided(decision, State(found.state), rule, current=running == number)
        if after is State.ACTIVE:
            _grant(tx, actor, code, found, running)
        _move(tx, actor, code, found, decision, after, comment)
        if after is State.ACTIVE and rule is Approval.REQUIRED:
            for other in definitions.active(tx, found):
                if other.vid != found.vid:
                    _move(tx, actor, code, other, Decision.RETIRE, State.RETIRED, f"version {number} is active")

    try:
        await ctx.once(actor, key, ["decide", code, number, decision.value, comment], unit, type(None))
    finally:
        ctx.deployed(tid, code)
    row = await ctx.version(tid, code, number)
    assert row is not None, "it was there a moment ago, and no version goes"
    return row


def _check_comment(decision: Decision, comment: str) -> None:
    message = ""
    if len(comment) > LONGEST_COMMENT or any(not (sign.isprintable() or sign in "\n\t") for sign in comment):
        message = f"at most {LONGEST_COMMENT} printable characters"
    elif decision is Decision.REJECT and not comment.strip():
        message = "say why it is rejected"
    if message:
        raise Invalid(f"comment: {message}", [Problem("/comment", message, "comment")])


def _require(tx: Tx, actor: Actor, code: str, version: Latest, decision: Decision) -> None:
    """Managers decide; authors submit and withdraw their own; of four eyes two are another's. Raises: Forbidden."""
    author = definitions.author(tx, version.vid)
    if actor.principal != author or decision not in (Decision.SUBMIT, Decision.WITHDRAW):
        target = permissions.target(actor, code, grants.of(tx, version.did))
        require(actor, Action.DEFINITION_DECIDE, target)
    if decision is Decision.APPROVE and people.settings(tx, actor.tenant.tid).four_eyes:
        for principal, did in ((author, "deployed"), (decisions.submitter(tx, version.vid), "submitted")):
            if actor.principal == principal:
                raise Forbidden(
                    f"{principal} {did} version {version.number} of {code!r}: somebody else must approve it"
                )


def _grant(tx: Tx, actor: Actor, code: str, version: Latest, running: int | None) -> None:
    """What the version's document says about permissions, where that is new. Raises: Forbidden."""
    before = definitions.numbered(tx, actor.tenant.tid, code, running if running is not None else 1)
    assert before is not None, "a definition has the versions it names"
    if before.vid != version.vid:
        new, old = definitions.version(tx, version.vid)[1], definitions.version(tx, before.vid)[1]
        permissions.apply(tx, actor, version.did, new, old)


def _move(
    tx: Tx, actor: Actor, code: str, version: Latest, decision: Decision, state: State, comment: str
) -> None:  # fmt: skip
    tid, by = actor.tenant.tid, actor.principal
    definitions.move(tx, version, state.value)
    decisions.add(tx, tid, version.vid, by, decision.value, state.value, comment)
    data = {"version": version.number, "state": state.value, "comment": comment}
    journal.record(tx, tid, by, f"version.{_PAST[decision]}", "definition", code, data)


_PAST = {
    Decision.SUBMIT: "submitted",
    Decision.WITHDRAW: "withdrawn",
    Decision.APPROVE: "approved",
    Decision.REJECT: "rejected",
    Decision.ACTIVATE: "activated",
    Decision.RETIRE: "retired",
}


def retire_all(tx: Tx, actor: Actor, code: str) -> None:
    """No version of a definition is active any more; one that is added later may be. The unit holds the tenant."""
    latest = definitions.latest(tx, actor.tenant.tid, code)
    for version in definitions.active(tx, latest) if latest is not None else ():
        _move(tx, actor, code, version, Decision.RETIRE, State.RETIRED, "")


async def listed(
    ctx: Context, actor: Actor, code: str, number: int, after: list[Any] | None, limit: int
) -> views.Page:  # fmt: skip
    """What was decided about a version, in order. Raises: NotFound."""
    require(actor, Action.DEFINITION_READ)
    row = await ctx.version(actor.tenant.tid, code, number)
    if row is None:
        raise NotFound("definition", f"{code} version {number}")
    vid, start = row.vid, after[0] if after else 0
    found = await ctx.store.async_read(lambda reader: decisions.of_version(reader, vid, start, limit + 1))
    page = [views.Decided(*each) for each in found[:limit]]
    return views.Page(page, [page[-1].n] if len(found) > limit else None)
