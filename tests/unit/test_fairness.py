"""Turns at the writer, as a pure data structure: nothing is lost, order within a tenant, shares where tenants compete."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from penstock.store.fairness import ENGINE, Turn, Turns, Waiting


class Unit(NamedTuple):
    turn: Turn
    n: int


def units(tag, count, weight=1):
    return [Unit(Turn(tag, weight), n) for n in range(count)]


def filled(*queues):
    turns = Turns()
    for queue in queues:
        for unit in queue:
            turns.append(unit)
    return turns


def numbers(taken, tag):
    return [unit.n for unit in taken if unit.turn.tag == tag]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("come"), st.integers(0, 4)),
        st.tuples(st.just("take"), st.integers(1, 9), st.integers(0, 9)),
    ),
    max_size=120,
)


@given(steps, st.lists(st.integers(1, 5), min_size=5, max_size=5))
def test_nothing_is_lost_and_a_tenants_units_keep_their_order(steps, weights):
    turns, come, served = Turns(), dict.fromkeys(range(5), 0), []
    for step in steps:
        if step[0] == "come":
            tag = step[1]
            turns.append(Unit(Turn(tag, weights[tag]), come[tag]))
            come[tag] += 1
        else:
            taken = turns.take(step[1])
            assert len(taken) <= step[1]
            turns.put_back(taken[step[2] :])
            served += taken[: step[2]]
        assert len(turns) == len(list(turns)) == sum(come.values()) - len(served)
        for tag in come:
            assert numbers(served, tag) == list(range(len(numbers(served, tag))))
    while len(turns):
        taken = turns.take(3)
        assert taken, "who waits is served"
        served += taken
    for tag, count in come.items():
        assert numbers(served, tag) == list(range(count))


@given(st.lists(st.integers(1, 6), min_size=2, max_size=5), st.integers(1, 10), st.integers(1, 70))
def test_tenants_that_all_wait_are_served_by_their_weights(weights, rounds, most):
    turns = filled(*(units(tag, weight * (rounds + 1), weight) for tag, weight in enumerate(weights)))
    wanted, served = sum(weights) * rounds, []
    while len(served) < wanted:
        served += turns.take(min(most, wanted - len(served)))
    assert [len(numbers(served, tag)) for tag in range(len(weights))] == [weight * rounds for weight in weights]


@given(st.integers(1, 8), st.lists(st.integers(0, 7), max_size=20))
def test_whoever_is_cut_short_is_first_next_time(tenants, cuts):
    turns = filled(*(units(tag, 400) for tag in range(tenants)))
    for cut in cuts:
        taken = turns.take(16)
        turns.put_back(taken[cut:])
        if cut < len(taken):
            assert turns.take(1) == taken[cut : cut + 1]
            turns.put_back(taken[cut : cut + 1])


def test_a_flood_delays_anothers_single_unit_by_no_more_than_the_group_that_runs():
    turns = filled(units(1, 10_000))
    assert len(turns.take(64)) == 64
    turns.append(Unit(Turn(2, 1), 0))
    assert numbers(turns.take(64), 2) == [0]


def test_one_tenant_alone_is_a_queue():
    turns = filled(units(7, 200))
    assert [unit.n for _ in range(4) for unit in turns.take(64)] == list(range(200))


def test_a_tenant_that_fills_the_limit_leaves_the_others_their_part():
    waiting, limit = Waiting(), 100
    for _ in range(limit):
        assert waiting.may(1, waiting=sum(waiting._come.values()), limit=limit)
        waiting.come(1)
    assert not waiting.may(1, waiting=100, limit=limit)
    for count in range(50):
        assert waiting.may(2, waiting=100 + count, limit=limit)
        waiting.come(2)
    assert not waiting.may(2, waiting=150, limit=limit)
    assert waiting.may(3, waiting=150, limit=limit)
    assert waiting.may(ENGINE.tag, waiting=150, limit=limit)
    waiting.gone(units(1, 80))
    assert not waiting.may(2, waiting=120, limit=limit)
    waiting.gone(units(2, 20))
    assert waiting.may(2, waiting=100, limit=limit)
    waiting.gone(units(2, 20), back=True)
    assert not waiting.may(2, waiting=120, limit=limit)
