"""Figures of drift against known answers, and alarms on planted changes only."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from alservice.campaigns.policies import DriftPolicy
from alservice.errors import BadConfig
from alservice.learning.drift import DriftFigure, DriftSample, compare_with_first, ks_distance, total_variation

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
    assert DriftSample.from_document(json.loads(json.dumps(now.document()))) == now


@pytest.mark.parametrize(
    "changes",
    [
        {"reference_cycles": 0},
        {"max_ks": 0.0},
        {"max_label_shift": 1.0},
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
    ],
)
def test_reach_is_the_way_to_the_threshold(name: str, value: float, threshold: float, reach: float) -> None:
    """1 at the threshold; a third of the rate is as far as three times it, and no vote at all is infinitely far."""
    assert DriftFigure(name=name, value=value, threshold=threshold, alarm=False).reach == pytest.approx(reach)
