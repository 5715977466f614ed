"""Figures of drift against known answers, and alarms on planted changes only."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from alservice.campaigns.policies import DriftPolicy
from alservice.documents import document_of, record_of
from alservice.errors import BadConfig
from alservice.learning.drift import (
    KS_CHANCE,
    DriftFigure,
    DriftSample,
    compare_with_first,
    disagreement_figures,
    ks_distance,
    total_variation,
)
from alservice.science.disagreement import Disagreement

POLICY = DriftPolicy()
VALUES = st.lists(st.integers(0, 9).map(float), min_size=3, max_size=20)


def sample(seed, *, shift=0.0, rate=100.0, abstention=0.4, smooth=0.6, n=400):
    """Return a cycle's data, drawn about the same truth but for what is planted."""
    rng = np.random.default_rng(seed)
    yes = int(rng.binomial(2000, smooth))
    return DriftSample(
        samples={"brightness": tuple(rng.normal(shift, 1, n).tolist())},
        votes_per_hour=rate,
        abstention=abstention,
        labels={"smooth-or-featured": (yes, 2000 - yes)},
    )


FIRST = [sample(seed) for seed in range(3)]


def figures(now, first=FIRST, policy=POLICY):
    """Return the figures by name."""
    return {figure.name: figure for figure in compare_with_first(policy, now, first)}


@given(VALUES, VALUES)
def test_the_distance_is_kolmogorov_smirnovs(first, second) -> None:
    """Ties included."""
    assert ks_distance(first, second) == pytest.approx(stats.ks_2samp(first, second, method="asymp").statistic)


def test_total_variation_is_half_the_difference_of_shares() -> None:
    """Scale does not matter; nothing in common is 1."""
    assert total_variation(np.array([30.0, 10]), np.array([5.0, 5])) == pytest.approx(0.25)
    assert total_variation(np.array([3.0, 0]), np.array([0.0, 9])) == 1.0


def test_more_of_the_same_is_no_alarm() -> None:
    """Over 200 cycles drawn from the same truth nothing is raised, and every figure is there."""
    names = {"ks brightness", "vote-rate", "abstention", "labels smooth-or-featured"}
    for seed in range(10, 210):
        found = figures(sample(seed))
        assert set(found) == names
        assert not any(figure.alarm for figure in found.values())


@pytest.mark.parametrize(
    ("planted", "name"),
    [
        ({"shift": 1.0}, "ks brightness"),
        ({"rate": 20.0}, "vote-rate"),
        ({"rate": 400.0}, "vote-rate"),
        ({"abstention": 0.9}, "abstention"),
        ({"smooth": 0.2}, "labels smooth-or-featured"),
    ],
)
def test_a_planted_change_raises_its_own_alarm(planted, name) -> None:
    """And no other."""
    assert {figure.name for figure in figures(sample(9, **planted)).values() if figure.alarm} == {name}


def test_few_galaxies_do_not_raise_alarms_by_chance() -> None:
    """A distance that chance gives to ten values is none, though above the policy's threshold."""
    alarms = sum(figures(sample(seed, n=10))["ks brightness"].alarm for seed in range(300))
    assert alarms <= 3


def test_what_one_side_lacks_is_not_compared() -> None:
    """No reference, no figure; too few votes, no shift of labels; no time, no rate."""
    assert figures(sample(1), first=[]) == {}
    bare = DriftSample(labels={"smooth-or-featured": (50, 50)})
    assert figures(bare) == {}


def test_a_sample_survives_json() -> None:
    """What is stored comes back."""
    now = sample(4)
    assert record_of(DriftSample, json.loads(json.dumps(document_of(now)))) == now


@pytest.mark.parametrize(
    "changes",
    [
        {"reference_cycles": 0},
        {"max_ks": 0.0},
        {"max_label_shift": 1.0},
        {"max_disagreement": 0.0},
        {"max_rate_factor": 1.0},
        {"confident": float("nan")},
    ],
)
def test_impossible_thresholds_are_refused(changes) -> None:
    """By the field's name."""
    with pytest.raises(BadConfig, match=next(iter(changes))):
        DriftPolicy(**changes)


@pytest.mark.parametrize(
    ("name", "value", "threshold", "reach"),
    [
        ("ks brightness", 0.1, 0.25, 0.4),
        ("abstention", -0.3, 0.2, 1.5),
        ("vote-rate", 3.0, 3.0, 1.0),
        ("vote-rate", 1 / 9, 3.0, 2.0),
        ("vote-rate", 1.0, 3.0, 0.0),
        ("vote-rate", 0.0, 3.0, math.inf),
        ("disagreement bar", 0.2, 0.1, 2.0),
        ("disagreement bar", -0.2, 0.1, 0.0),
    ],
)
def test_reach_is_the_way_to_the_threshold(name: str, value: float, threshold: float, reach: float) -> None:
    """1 at the threshold; a third of the rate is as far as three times it, and no vote at all is infinitely far."""
    assert DriftFigure(name=name, value=value, threshold=threshold, alarm=False).reach == pytest.approx(reach)


@pytest.mark.parametrize(
    ("rate", "alarm"), [(300.0, False), (300.1, True), (100 / 3, False), (33.3, True), (100.0, False)]
)
def test_a_rate_at_its_limit_is_no_alarm(rate, alarm) -> None:
    """Three times as many votes, or a third of them, may be; more or fewer are named."""
    policy = DriftPolicy(max_rate_factor=3.0)
    first = [DriftSample(votes_per_hour=100.0)] * 2
    found = figures(DriftSample(votes_per_hour=rate), first, policy)["vote-rate"]
    assert (found.alarm, found.value) == (alarm, rate / 100)


@pytest.mark.parametrize(("n", "limit"), [(10, KS_CHANCE * math.sqrt(20 / 100)), (4000, 0.25)])
def test_a_distance_is_beyond_the_policy_and_beyond_chance(n, limit) -> None:
    """The larger of both is its threshold: chance for few values, the policy's for many."""
    now, first = (DriftSample(samples={"x": tuple(np.arange(n) + shift)}) for shift in (0.0, 0.5))
    found = figures(now, [first], DriftPolicy(max_ks=0.25))["ks x"]
    assert found.threshold == pytest.approx(limit)


@pytest.mark.parametrize("change", [-0.3, 0.3])
def test_abstention_may_fall_no_further_than_it_may_rise(change) -> None:
    """Both directions are drift."""
    policy = DriftPolicy(max_abstention_change=0.2)
    first = [DriftSample(abstention=0.5)]
    assert figures(DriftSample(abstention=0.5 + change), first, policy)["abstention"].alarm
    assert not figures(DriftSample(abstention=0.5 + change / 2), first, policy)["abstention"].alarm


@pytest.mark.parametrize(
    ("observed", "chance", "alarm"), [(0.31, 0.05, True), (0.29, 0.05, False), (0.4, 0.25, False), (0.0, 0.05, False)]
)
def test_labels_disagree_beyond_the_policy_and_beyond_chance(observed, chance, alarm) -> None:
    """A fifth is expected: a tenth more may be, and what few galaxies give by chance; fewer are never an alarm."""
    found = Disagreement(question="bar", galaxies=50, observed=observed, expected=0.2, chance=chance)
    (figure,) = disagreement_figures(DriftPolicy(max_disagreement=0.1), [found])
    assert (figure.name, figure.alarm) == ("disagreement bar", alarm)
    assert (figure.value, figure.threshold) == (pytest.approx(observed - 0.2), max(0.1, chance))
