"""How long one waits after how many failures, and what counts as one place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.operations.login_limits import ACCOUNT, ADDRESS, DAY, LONGEST, PAIR, network_of
from penstock.store.login_failures import Row


def test_five_failures_are_free_and_then_waits_double_up_to_a_quarter_of_an_hour():
    seconds = [PAIR.wait(failures) // 1000 for failures in range(1, 20)]
    assert seconds[:4] == [0, 0, 0, 0]
    assert seconds[4:14] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
    assert seconds[14:] == [900] * 5
    assert PAIR.wait(10**9) == LONGEST


@pytest.mark.parametrize("rule", [PAIR, ACCOUNT, ADDRESS])
def test_what_is_quiet_for_long_enough_is_forgotten(rule):
    row = Row("x", 40, DAY, 0)
    assert rule.counted(row, DAY + rule.quiet) == 40
    assert rule.counted(row, DAY + rule.quiet + 1) == 0
    assert rule.counted(None, 0) == 0


def test_the_strictest_is_an_account_at_an_address():
    assert PAIR.free < ACCOUNT.free < ADDRESS.free


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7"), ("::ffff:203.0.113.7", "203.0.113.7"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"), ("", "unknown"), ("nonsense", "unknown"),
    ],
)  # fmt: skip
def test_a_place_is_an_address_or_the_network_of_one_customer(address, network):
    assert network_of(address) == network


@given(st.text())
def test_no_address_breaks_it(text):
    assert network_of(text)
