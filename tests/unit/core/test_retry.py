import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.definition import RetryPolicy
from penstock.core.retry import backoff, exhausted

POLICIES = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 100),
    delay=st.integers(0, 10**9),
    factor=st.floats(1, 10),
    cap=st.integers(0, 10**10),
    jitter=st.floats(0, 1),
)


@pytest.mark.parametrize(
    ("policy", "waits"),
    [
        (RetryPolicy(delay=1_000, factor=2, cap=300_000, jitter=0), [1_000, 2_000, 4_000, 8_000]),
        (RetryPolicy(delay=1_000, factor=1, cap=300_000, jitter=0), [1_000] * 4),
        (RetryPolicy(delay=1_000, factor=10, cap=5_000, jitter=0), [1_000, 5_000, 5_000, 5_000]),
        (RetryPolicy(delay=0, factor=10, cap=5_000, jitter=0), [0] * 4),
        (RetryPolicy(delay=9_000, factor=2, cap=5_000, jitter=0), [5_000] * 4),
    ],
)
def test_delays_grow_by_the_factor_up_to_the_cap(policy, waits):
    assert [backoff(policy, "p", 1, attempt, attempt) for attempt in range(1, 5)] == waits


@given(POLICIES, st.text(max_size=40), st.integers(0, 2**40), st.integers(1, 10_000), st.integers(1, 100))
def test_delay_is_within_the_bounds_of_the_jitter(policy, process_id, visit, attempt, tries):
    full = backoff(RetryPolicy(policy.max_attempts, policy.delay, policy.factor, policy.cap, 0), "p", 1, 1, tries)
    found = backoff(policy, process_id, visit, attempt, tries)
    assert 0 <= found <= full <= max(policy.cap, 0)
    assert found >= int(full * (1 - policy.jitter)) - 1
    assert found == backoff(policy, process_id, visit, attempt, tries)


def test_jitter_spreads_processes_visits_and_attempts():
    policy = RetryPolicy(delay=1_000_000, cap=1_000_000, jitter=1)
    waits = {backoff(policy, f"p{p}", n, a, 1) for p in range(10) for n in range(10) for a in range(10)}
    assert len(waits) > 990
    assert sum(waits) / len(waits) == pytest.approx(500_000, rel=0.1)


@pytest.mark.parametrize(("tries", "over"), [(1, False), (2, False), (3, True), (4, True)])
def test_policy_is_exhausted_after_its_attempts(tries, over):
    assert exhausted(RetryPolicy(max_attempts=3), tries) is over
