"""How values are kept for searching; rows that follow data are in tests/engines/test_commands.py."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core import loading
from penstock.store import search
from penstock.store.search import LAST, LONGEST, bound_key, entries, keys_of, number_key, text_key, time_key, value_key


@pytest.mark.parametrize(
    ("value", "typed"),
    [("a", "a"), ("5", "5"), (5, "5"), (5.0, "5"), (5.5, "5.5"), (True, "true"), (False, "false"), (-0.0, "0"), (1e300, "1e300"),
     (-7, "-7"), (2**53 + 1, str(2**53 + 1)), ("true", "true"), ("", "")],
)  # fmt: skip
def test_a_value_is_found_by_what_is_typed(value, typed):
    assert value_key(value) in keys_of(typed)


@pytest.mark.parametrize(("value", "typed"), [("a", "A"), (5, "6"), (True, "1"), (1, "true"), (2**53 + 1, str(2**53))])
def test_a_value_is_not_found_by_another(value, typed):
    assert value_key(value) not in keys_of(typed)


@pytest.mark.parametrize("value", [None, [], {}, [1]])
def test_what_is_no_single_value_is_not_searched(value):
    assert value_key(value) is None


@given(st.lists(st.integers(-(10**30), 10**30) | st.floats(allow_nan=False), min_size=2, max_size=20))
def test_numbers_are_kept_in_their_order(numbers):
    doubles = sorted(numbers, key=float)
    for low, high in itertools.pairwise(doubles):
        if float(low) < float(high):
            assert number_key(low) < number_key(high)
        elif abs(float(low)) <= 2**53:
            assert number_key(low) == number_key(high)


@pytest.mark.parametrize(
    ("bound", "below", "above"),
    [
        ("5", 4.9, 5),
        ("-1.5", -2, -1.5),
        ("1e3", 999, 1000),
        ("2026-02-01", "2026-01-31", "2026-02-01"),
        ("b", "a", "b"),
    ],
)
def test_bounds_part_values_of_their_kind(bound, below, above):
    assert value_key(below) < bound_key(bound) <= value_key(above)


def test_kinds_do_not_mix():
    key = bound_key("5")
    assert not key <= value_key("6") < key[0] + LAST
    assert not key <= value_key(True) < key[0] + LAST


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_prefix_is_a_range(prefix, rest):
    key = text_key(prefix)
    if not rest.startswith(LAST):
        assert key <= text_key(prefix + rest) < key + LAST


def test_long_values_are_compared_by_their_beginning():
    assert value_key("x" * 300) == f"t{'x' * LONGEST}"
    assert keys_of("9" * 400) == (f"t{'9' * LONGEST}",)


@pytest.mark.parametrize("number", [10**400, -(10**400), math.inf])
def test_numbers_beyond_doubles_are_at_the_ends(number):
    assert (number_key(number) > number_key(1e308)) == (number > 0)


def test_times_are_texts_in_order():
    assert time_key(999) < time_key(1_000) < time_key(2**45)


def listing(*names):
    """A version that lists these names."""
    version, problems = loading.load(
        {"penstock": 1, "code": "v", "nodes": {"a": {"kind": "job", "topic": "t"}}, "search": list(names)}
    )
    assert version is not None, problems
    return version


def test_entries_are_values_and_words():
    version = listing("metadata.customer", "input.number", "metadata.none", "input.flag")
    data = {"metadata": {"customer": "Straße & Söhne, STRASSE 4"}, "input": {"number": 17, "flag": True}}
    assert entries(version, data) == {
        ("metadata.customer", "tStraße & Söhne, STRASSE 4"),
        ("input.number", number_key(17)),
        ("input.flag", "btrue"),
        *((search.WORD, word) for word in ("strasse", "söhne", "4", "17")),
    }


def test_only_so_many_words_are_kept():
    version = listing("metadata.a")
    found = entries(version, {"metadata": {"a": " ".join(f"w{n}" for n in range(60))}})
    assert len([name for name, _ in found if name == search.WORD]) == search.MOST_WORDS
