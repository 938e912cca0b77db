"""Turns at the writer, as a pure data structure: nothing is lost, order within a tenant, shares where tenants compete."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from penstock.store.fairness import ENGINE, STRANGERS, Room, Turn, Turns, in_turn, of_tenant, turn


class Unit(NamedTuple):
    turn: Turn
    n: int


def units(tag, count, weight=1):
    return [Unit((tag, weight), n) for n in range(count)]


def filled(*queues):
    turns = Turns()
    for queue in queues:
        for unit in queue:
            turns.append(unit)
    return turns


def numbers(taken, tag):
    return [unit.n for unit in taken if unit.turn[0] == tag]


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
            turns.append(Unit((tag, weights[tag]), come[tag]))
            come[tag] += 1
        else:
            taken = turns.take(step[1])
            assert len(taken) <= step[1]
            turns.put_back(taken[step[2] :])
            served += taken[: step[2]]
        assert turns.size == sum(come.values()) - len(served) == sum(come.values()) - sum(turns.served.values())
        for tag in come:
            assert numbers(served, tag) == list(range(len(numbers(served, tag))))
    while turns.size:
        taken = turns.take(3)
        assert taken, "who waits is served"
        served += taken
    for tag, count in come.items():
        assert numbers(served, tag) == list(range(count))


@given(st.lists(st.integers(1, 6), min_size=2, max_size=5), st.integers(1, 10), st.integers(1, 70))
def test_tenants_that_all_wait_are_served_by_their_weights(weights, rounds, most):
    turns = filled(*(units(tag, weight * (rounds + 1), weight) for tag, weight in enumerate(weights, 1)))
    wanted, served = sum(weights) * rounds, []
    while len(served) < wanted:
        served += turns.take(min(most, wanted - len(served)))
    assert [len(numbers(served, tag)) for tag in range(1, len(weights) + 1)] == [weight * rounds for weight in weights]


@given(st.integers(1, 8), st.lists(st.integers(0, 7), max_size=20))
def test_whoever_is_cut_short_is_first_next_time(tenants, cuts):
    turns = filled(*(units(tag, 400) for tag in range(tenants)))
    for cut in cuts:
        taken = turns.take(16)
        turns.put_back(taken[cut:])
        if cut < len(taken):
            assert turns.take(1) == taken[cut : cut + 1]
            turns.put_back(taken[cut : cut + 1])


@given(st.lists(st.integers(1, 16), min_size=1, max_size=5), st.integers(1, 10))
def test_the_platforms_own_work_weighs_as_much_as_the_heaviest_who_waits(weights, rounds):
    heaviest = max(weights)
    turns = filled(
        units(ENGINE[0], heaviest * rounds, ENGINE[1]),
        *(units(tag, weight * rounds, weight) for tag, weight in enumerate(weights, 1)),
    )
    served = turns.take(heaviest + sum(weights))
    assert len(numbers(served, ENGINE[0])) == heaviest
    assert [len(numbers(served, tag)) for tag in range(1, len(weights) + 1)] == weights


def test_what_is_done_for_a_tenant_has_the_weight_of_its_requests():
    turns = filled(units(1, 4, 4), units(2, 100))
    assert len(numbers(turns.take(5), 1)) == 4
    for unit in units(1, 8, of_tenant(1)[1]):
        turns.append(unit)
    turns.append(Unit((3, 1), 0))
    served = turns.take(6)
    assert (len(numbers(served, 1)), len(numbers(served, 2)), len(numbers(served, 3))) == (4, 1, 1)


def test_who_waits_with_no_weight_known_has_a_share_of_one():
    turns = filled(units(1, 4, of_tenant(1)[1]), units(2, 4))
    assert [unit.turn[0] for unit in turns.take(8)] == [1, 2] * 4


def test_whose_turn_it_is_ends_with_its_block():
    assert turn.get() == ENGINE
    with in_turn(STRANGERS):
        with in_turn(of_tenant(7)):
            assert turn.get() == (7, 0)
        assert turn.get() == STRANGERS
    assert turn.get() == ENGINE


def test_a_flood_delays_anothers_single_unit_by_no_more_than_the_group_that_runs():
    turns = filled(units(1, 10_000))
    assert len(turns.take(64)) == 64
    turns.append(Unit((2, 1), 0))
    assert numbers(turns.take(64), 2) == [0]


def test_one_tenant_alone_is_a_queue():
    turns = filled(units(7, 200))
    assert [unit.n for _ in range(4) for unit in turns.take(64)] == list(range(200))


def test_a_tenant_that_fills_the_limit_leaves_the_others_their_part():
    turns, limit = Turns(), 100
    room = Room(turns, Turns())

    def come(tag, count):
        for unit in units(tag, count):
            room.come[tag] = room.come.get(tag, 0) + 1
            turns.append(unit)

    come(1, limit)
    assert not room.may(1, limit)
    for _ in range(50):
        assert room.may(2, limit)
        come(2, 1)
    assert not room.may(2, limit)
    assert room.may(3, limit)
    assert room.may(ENGINE[0], limit)
    taken = turns.take(60)
    assert len(numbers(taken, 2)) == 30
    assert room.may(2, limit)
    assert not room.may(1, limit)
    turns.put_back(taken)
    assert not room.may(2, limit)
    assert len(turns.clear()) == 150
    assert not room.may(1, limit), "nobody else waits, so the limit is the caller's own affair"
    come(2, 1)
    assert room.may(1, limit)
