from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import Invalid
from penstock.identity.model import UNLIMITED, Quotas
from penstock.identity.quotas import Bucket, checked_quotas

rates = st.floats(0.1, 1000, allow_nan=False)


@given(rates, st.integers(1, 50), st.lists(st.floats(0, 5, allow_nan=False), min_size=1, max_size=100))
def test_no_more_is_let_through_than_the_burst_and_what_has_come_since(rate, burst, pauses):
    quotas, bucket, now, taken = Quotas(requests_per_second=rate, burst=burst), Bucket(), 100.0, 0
    began = now
    for pause in pauses:
        now += pause
        wait = bucket.take(now, quotas)
        assert wait >= 0
        if not wait:
            taken += 1
    assert taken <= burst + (now - began) * rate + 1e-6


@given(rates, st.integers(1, 50))
def test_who_waits_as_long_as_he_is_told_gets_in(rate, burst):
    quotas, bucket, now = Quotas(requests_per_second=rate, burst=burst), Bucket(), 0.0
    for _ in range(burst):
        assert not bucket.take(now, quotas)
    wait = bucket.take(now, quotas)
    assert 0 < wait <= 1 / rate
    assert not bucket.take(now + wait * (1 + 1e-9) + 1e-9, quotas)


def test_without_a_burst_those_of_a_second_may_come_at_once():
    for rate, at_once in ((0.5, 1), (1, 1), (2.5, 3), (10, 10)):
        bucket, quotas = Bucket(), Quotas(requests_per_second=rate)
        assert [not bucket.take(1.0, quotas) for _ in range(at_once + 1)] == [True] * at_once + [False]


def test_a_quota_that_changes_counts_at_once():
    bucket = Bucket()
    assert not bucket.take(0.0, Quotas(requests_per_second=1))
    assert bucket.take(0.0, Quotas(requests_per_second=1))
    assert not bucket.take(0.0, UNLIMITED)
    assert not bucket.take(0.1, Quotas(requests_per_second=1000))


def test_what_was_nobodys_is_given_back():
    bucket, quotas = Bucket(), Quotas(requests_per_second=1)
    for _ in range(5):
        assert not bucket.take(0.0, quotas)
        bucket.give_back()


@pytest.mark.parametrize(
    ("quotas", "pointers"),
    [
        (Quotas(open_processes=-1), ["/quotas/open_processes"]),
        (Quotas(requests_per_second=0), ["/quotas/requests_per_second"]),
        (Quotas(requests_per_second=float("nan")), ["/quotas/requests_per_second"]),
        (Quotas(requests_per_second=1, burst=0), ["/quotas/burst"]),
        (Quotas(burst=5), ["/quotas/burst"]),
        (Quotas(writer_share=0, open_processes=2**40), ["/quotas/open_processes", "/quotas/writer_share"]),
        (Quotas(writer_share=17), ["/quotas/writer_share"]),
    ],
)
def test_quotas_that_mean_nothing_are_refused_where_they_stand(quotas, pointers):
    with pytest.raises(Invalid) as caught:
        checked_quotas(quotas)
    assert [problem.pointer for problem in caught.value.problems] == pointers


def test_sound_quotas_pass():
    for quotas in (UNLIMITED, Quotas(open_processes=0), Quotas(requests_per_second=0.1, burst=1, writer_share=16)):
        assert checked_quotas(quotas) is quotas
