"""How a version comes to be what new processes start with: its states, what may be decided about it, and where that leads.

Pure. Who may decide, and whether a second person is needed, is for operations.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from penstock.errors import WrongState


class State(StrEnum):
    """Of a version."""

    DRAFT = "DRAFT"
    IN_REVIEW = "IN_REVIEW"
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"
    ACTIVE = "ACTIVE"
    """May be started."""
    RETIRED = "RETIRED"
    """Was active: what runs goes on with it."""


class Decision(StrEnum):
    """What may be decided about a version."""

    SUBMIT = "submit"
    WITHDRAW = "withdraw"
    APPROVE = "approve"
    REJECT = "reject"
    ACTIVATE = "activate"
    RETIRE = "retire"


class Approval(StrEnum):
    """A tenant's rule."""

    NONE = "none"
    """A deployed version is active at once."""
    REQUIRED = "required"
    """It is a draft until it was approved and activated."""


class _Move(NamedTuple):
    of: frozenset[State]
    to: State


def _move(to: State, *of: State) -> _Move:
    return _Move(frozenset(of), to)


MOVES: Mapping[Decision, _Move] = {
    Decision.SUBMIT: _move(State.IN_REVIEW, State.DRAFT),
    Decision.WITHDRAW: _move(State.DRAFT, State.IN_REVIEW, State.APPROVED, State.REJECTED),
    Decision.APPROVE: _move(State.APPROVED, State.IN_REVIEW),
    Decision.REJECT: _move(State.REJECTED, State.IN_REVIEW),
    Decision.ACTIVATE: _move(State.ACTIVE, State.APPROVED, State.RETIRED),
    Decision.RETIRE: _move(State.RETIRED, State.ACTIVE),
}

RUNS = frozenset({State.ACTIVE, State.RETIRED})
"""What processes may run: nothing that was never let in."""


def deployed(rule: Approval) -> State:
    """The state a new version begins in."""
    return State.ACTIVE if rule is Approval.NONE else State.DRAFT


def decided(decision: Decision, state: State, rule: Approval, *, current: bool) -> State:
    """The state after a decision; `current`: the version is the one that new processes start with.

    Where no approval is needed, a draft may be activated, and of several active versions another one become current.

    Raises: WrongState.
    """
    of, to = MOVES[decision]
    legal = state in of
    if decision is Decision.ACTIVATE and not legal:
        legal = (state is State.DRAFT and rule is Approval.NONE) or (state is State.ACTIVE and not current)
    if not legal:
        raise WrongState(f"cannot {decision}: the version is {state}")
    return to
