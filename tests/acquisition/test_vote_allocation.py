"""Votes go where they teach most: the greedy rule against every possible allocation."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alservice.acquisition.votes import allocate_votes
from alservice.errors import BadInput, NumericalFault
from alservice.science.information import binomial_mutual_information


def value(information, tiers, votes):
    """Return the nats that an allocation buys."""
    return sum(curve[tiers.index(n)] for curve, n in zip(information, votes.tolist(), strict=True))


def best(information, tiers, budget):
    """Return the most nats that any allocation within the budget buys."""
    allocations = itertools.product(range(len(tiers)), repeat=len(information))
    affordable = (a for a in allocations if sum(tiers[i] for i in a) <= budget)
    return max(sum(information[row][i] for row, i in enumerate(a)) for a in affordable)


@given(seed=st.integers(0, 10_000), n=st.integers(1, 5), budget=st.integers(0, 22))
def test_unit_steps_on_real_curves_are_spent_optimally(seed, n, budget):
    """For the concave information of binomial votes, no allocation of the same budget teaches more."""
    rng = np.random.default_rng(seed)
    rho = rng.beta(rng.uniform(0.3, 3, (n, 1)), rng.uniform(0.3, 3, (n, 1)), (n, 6))
    tiers = [0, 1, 2, 3, 4]
    information = np.stack([binomial_mutual_information(rho, t) for t in tiers], axis=1)
    votes = allocate_votes(information, tiers, budget)
    assert votes.sum() <= budget
    assert value(information, tiers, votes) == pytest.approx(best(information, tiers, budget), abs=1e-9)


@given(seed=st.integers(0, 10_000), n=st.integers(1, 5), spare=st.integers(0, 90))
def test_uneven_tiers_and_any_curves_miss_less_than_one_step(seed, n, spare):
    """Whatever the curves, greedy is within the largest gain of one climb of the optimum, and within the budget."""
    rng = np.random.default_rng(seed)
    tiers = [5, 10, 20, 40]
    information = np.cumsum(rng.exponential(size=(n, 4)), axis=1)
    budget = 5 * n + spare
    votes = allocate_votes(information, tiers, budget)
    assert votes.sum() <= budget
    climb = (information[:, -1] - information[:, 0]).max()
    assert value(information, tiers, votes) >= best(information, tiers, budget) - climb - 1e-9


def test_steps_that_only_pay_together_are_taken_together():
    """The second vote tells two precisions apart, the first one nothing: a greedy rule by single votes would stop."""
    information = np.array([[0.0, 0.0, 0.9], [0.0, 0.3, 0.4]])
    assert allocate_votes(information, [0, 1, 2], 2).tolist() == [2, 0]
    assert allocate_votes(information, [0, 1, 2], 3).tolist() == [2, 1]


def test_what_does_not_fit_leaves_the_rest_to_others():
    """A climb beyond the budget is passed over, with all that would build on it."""
    information = np.array([[0.0, 8.0], [0.0, 3.0]])
    assert allocate_votes(information, [1, 4], 5).tolist() == [4, 1]
    assert allocate_votes(np.array([[0.0, 1.0, 9.0], [0.0, 0.1, 0.2]]), [0, 1, 4], 2).tolist() == [0, 1]


def test_the_first_tier_is_asked_of_everyone_and_nothing_useless_is_bought():
    """A budget too small still gives the first tier; flat or falling curves stay at it."""
    assert allocate_votes(np.ones((3, 2)).cumsum(axis=1), [5, 40], 2).tolist() == [5, 5, 5]
    assert allocate_votes(np.array([[0.5, 0.5], [0.5, 0.4]]), [5, 40], 999).tolist() == [5, 5]


def test_more_budget_never_teaches_less():
    """The rule spends what it is given, in the same order."""
    rng = np.random.default_rng(0)
    information = np.sort(rng.random((30, 4)), axis=1)
    tiers = [3, 10, 20, 40]
    bought = [value(information, tiers, allocate_votes(information, tiers, b)) for b in range(90, 1300, 50)]
    assert (np.diff(bought) >= -0.05).all()
    assert allocate_votes(information, tiers, 10_000).tolist() == [40] * 30


@pytest.mark.parametrize("tiers", [[], [0, 0], [3, 2], [-1, 2], [1.0, 2.0]])
def test_impossible_tiers_are_refused(tiers):
    """Tiers are growing whole numbers."""
    with pytest.raises(BadInput, match="tiers"):
        allocate_votes(np.zeros((2, 2)), tiers, 5)


def test_impossible_information_is_refused():
    """One column per tier, and every value finite: rows are named."""
    with pytest.raises(BadInput, match="2 tiers"):
        allocate_votes(np.zeros((2, 3)), [1, 2], 5)
    with pytest.raises(NumericalFault, match="row 1"):
        allocate_votes(np.array([[0.0, 1.0], [0.0, np.nan]]), [1, 2], 5)
