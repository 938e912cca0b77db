"""What changing people has in common: who may, the last administrator, what is taken from whom is locked out."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.errors import Conflict, Forbidden, Invalid, Problem
from penstock.identity.model import Actor
from penstock.identity.policy import ADMIN, OPERATOR, ROLES, Action, may, require
from penstock.store import directory, grants, people, sessions
from penstock.store.directory import ApplicationRow, UserRow
from penstock.store.rows import Tx


def require_administrator(actor: Actor) -> None:
    """Raises: Forbidden."""
    require(actor, Action.PEOPLE_ADMINISTER)


def parse_roles(roles: Sequence[str]) -> list[str]:
    """Raises: Invalid for one there is not, or twice."""
    problems = []
    for at, role in enumerate(roles):
        if role not in ROLES:
            problems.append(
                Problem(f"/roles/{at}", f"no role {role[:50]!r}: there is {', '.join(sorted(ROLES))}", "unknown")
            )
        elif role in roles[:at]:
            problems.append(Problem(f"/roles/{at}", "stands twice", "duplicate"))
    if problems:
        raise Invalid(problems[0].message, problems)
    return sorted(roles)


def require_operator_for(actor: Actor, *roles: Sequence[str]) -> None:
    """Who gives the role `operator`, or changes a principal that has it, must have it: administrators of a tenant could else
    make themselves operators, or log in as one. Raises: Forbidden.
    """
    if any(OPERATOR in given for given in roles) and not may(actor, Action.INSTALLATION_ADMINISTER):
        raise Forbidden(
            f"only who has the role {OPERATOR} may give it or change who has it",
            action=str(Action.INSTALLATION_ADMINISTER),
        )


def gains_operator(before: Sequence[str], after: Sequence[str]) -> bool:
    """Whether a principal becomes an operator. Until now administrators of its tenant could make credentials of it: none of
    them may become an operator's.
    """
    return OPERATOR in after and OPERATOR not in before


def keep_an_administrator(tx: Tx, leaving: UserRow | ApplicationRow) -> None:
    """Somebody must be left to administrate the tenant; a person, where there has been one.

    Raises: Conflict.
    """
    if ADMIN not in directory.roles_of(leaving) or leaving.disabled:
        return
    if isinstance(leaving, UserRow):
        left, who = directory.administrators(tx, leaving.tid, but=leaving.uid), f"user {leaving.email}"
    else:
        left = directory.administrators(tx, leaving.tid, but=0)
        left += directory.administrating_applications(tx, leaving.tid, but=leaving.aid)
        who = f"application {leaving.id}"
    if not left:
        raise Conflict(f"{who} is the last administrator of the tenant")


def require_unused(tx: Tx, tid: int, grantee: str, what: str, instead: str) -> None:
    """Nothing names the grantee: one of the same name that is made later would inherit it. Raises: Conflict."""
    uses = grants.uses(tx, tid, grantee)
    if uses:
        raise Conflict(f"cannot delete {what}: it is named by {', '.join(uses)}; {instead}")


def lock_out(tx: Tx, tid: int, principal: str, *, but: str = "") -> None:
    """Tokens and sessions of the principal are good no more, all but the one with this hash; a log-in by what is taken from them
    is one of these, or refused.
    """
    people.lock(tx, tid, principal)
    people.revoke(tx, tid, principal, but=but)
    sessions.close_all(tx, tid, principal, but=but)
