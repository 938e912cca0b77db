"""Every decision in every state, under both rules of a tenant."""

import itertools

import pytest

from penstock.core.approval import RUNS, Approval, Decision, State, decided, deployed
from penstock.errors import WrongState

S, D = State, Decision
LEGAL = {
    (D.SUBMIT, S.DRAFT): S.IN_REVIEW,
    (D.WITHDRAW, S.IN_REVIEW): S.DRAFT,
    (D.WITHDRAW, S.APPROVED): S.DRAFT,
    (D.WITHDRAW, S.REJECTED): S.DRAFT,
    (D.APPROVE, S.IN_REVIEW): S.APPROVED,
    (D.REJECT, S.IN_REVIEW): S.REJECTED,
    (D.ACTIVATE, S.APPROVED): S.ACTIVE,
    (D.ACTIVATE, S.RETIRED): S.ACTIVE,
    (D.RETIRE, S.ACTIVE): S.RETIRED,
}


@pytest.mark.parametrize(("decision", "state"), list(itertools.product(Decision, State)))
@pytest.mark.parametrize("rule", Approval)
@pytest.mark.parametrize("current", [True, False])
def test_a_decision_is_legal_where_the_table_says_so(decision, state, rule, current):
    expected = LEGAL.get((decision, state))
    if decision is D.ACTIVATE and state is S.DRAFT and rule is Approval.NONE:
        expected = S.ACTIVE
    if decision is D.ACTIVATE and state is S.ACTIVE and not current:
        expected = S.ACTIVE
    if expected is not None:
        assert decided(decision, state, rule, current=current) is expected
        return
    with pytest.raises(WrongState) as caught:
        decided(decision, state, rule, current=current)
    assert decision.value in caught.value.message
    assert state.value in caught.value.message


def test_where_approval_is_required_nothing_runs_that_was_not_approved():
    """Whatever is decided, in any order: no way leads from a draft to what runs but through APPROVED."""
    assert deployed(Approval.NONE) is S.ACTIVE
    seen, wave = set(), {deployed(Approval.REQUIRED)}
    while wave:
        seen |= wave
        moves = itertools.product(wave, Decision)
        wave = {to for state, decision in moves if (to := after(decision, state)) not in {None, S.APPROVED}} - seen
    assert seen == {S.DRAFT, S.IN_REVIEW, S.REJECTED}
    assert not seen & RUNS


def after(decision, state):
    try:
        return decided(decision, state, Approval.REQUIRED, current=False)
    except WrongState:
        return None
