"""Retries: when to wait, how long, and when to stop."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alservice.errors import BadConfig, ObjectStoreUnavailable, ZooniverseUnavailable
from alservice.retry import RetryPolicy, retried


def test_waits_grow_to_their_bound():
    """Each wait is the last times the factor, and never beyond the longest."""
    policy = RetryPolicy(attempts=9, first_s=1.0, factor=2.0, longest_s=10.0)
    assert [policy.delay_s(n, 1.0) for n in range(1, 7)] == [1, 2, 4, 8, 10, 10]


@given(st.integers(1, 200), st.floats(0, 1, exclude_max=True))
def test_chance_spreads_a_wait_over_its_upper_half(failures, chance):
    """Callers that failed together come back apart, and none at once."""
    policy = RetryPolicy()
    full = policy.delay_s(failures, 1.0)
    assert full / 2 <= policy.delay_s(failures, chance) <= full <= policy.longest_s


def run(outcomes, attempts=4):
    """Return what retried makes of outcomes, and the waits on the way."""
    waits = []
    coming = iter(outcomes)

    def call():
        outcome = next(coming)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    policy = RetryPolicy(attempts=attempts)
    return lambda: retried(call, policy=policy, on=ZooniverseUnavailable, sleep=waits.append, chance=lambda: 1.0), waits


def test_a_call_that_recovers_is_returned():
    """Two failures cost two waits."""
    call, waits = run([ZooniverseUnavailable("a"), ZooniverseUnavailable("b"), "done"])
    assert call() == "done"
    assert waits == [1.0, 2.0]


def test_the_last_failure_is_raised_without_a_wait():
    """After the last attempt there is nothing to wait for."""
    call, waits = run([ZooniverseUnavailable(str(n)) for n in range(9)], attempts=3)
    with pytest.raises(ZooniverseUnavailable, match="2"):
        call()
    assert waits == [1.0, 2.0]


def test_other_errors_pass_at_once():
    """Only the named type is worth another attempt."""
    call, waits = run([ObjectStoreUnavailable("disk"), "done"])
    with pytest.raises(ObjectStoreUnavailable):
        call()
    assert waits == []


@pytest.mark.parametrize("bad", [{"attempts": 0}, {"first_s": -1.0}, {"factor": 0.5}, {"longest_s": 0.5}])
def test_a_policy_that_makes_no_sense_is_refused(bad):
    """A wait must not be negative or shrink, and a call is made at least once."""
    with pytest.raises(BadConfig):
        RetryPolicy(**bad)
