"""Labels saved: levels read off curves, averaged, with intervals that know seeds and galaxies."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alservice.backfill.savings import Curves, curves_of, falling, labels_needed, savings
from alservice.errors import BadInput
from tests.support.backfills import a_round

LABELS = np.array([100, 200, 300, 400, 500])


def curves(policy, figures, *, n_galaxies=50, is_root=False):
    """Return curves of S seeds whose figure is (S, R), the same for every galaxy."""
    figures = np.asarray(figures, dtype=float)
    terms = np.repeat(figures[..., None], n_galaxies, axis=-1)
    return Curves(
        policy=policy,
        labels=LABELS,
        numerator=terms**2 if is_root else terms,
        denominator=np.ones_like(terms),
        is_root=is_root,
    )


def compare(random, policy, **options):
    """Compare a policy with random drawing."""
    return savings(random, policy, metric="NLL per vote", rng=np.random.default_rng(0), repeats=200, **options)


RANDOM = [[1.0, 0.8, 0.6, 0.4, 0.2]] * 3


@pytest.mark.parametrize("is_root", [False, True])
def test_a_curve_that_learns_twice_as_fast_saves_half_of_the_new_labels(is_root) -> None:
    """A line twice as steep reaches every level with half of the new labels."""
    fast = [[1.0, 0.6, 0.2, 0.2, 0.2]] * 3
    found = compare(curves("random", RANDOM, is_root=is_root), curves("fast", fast, is_root=is_root))
    assert found.new_labels.value == pytest.approx(0.5, abs=0.01)
    assert found.at_end == pytest.approx(0.5, abs=1e-9)
    assert found.best == pytest.approx(0.5, abs=1e-9)
    # With the initial hundred: (100 + 2x - (100 + x)) / (100 + 2x), averaged over x up to 200.
    assert found.all_labels.value == pytest.approx(200 / 2 / (100 + 200), abs=0.01)
    assert (found.seeds_better, found.seeds) == (3, 3)


def test_the_same_curve_saves_nothing() -> None:
    """Zero is zero, with an interval that holds it."""
    found = compare(curves("random", RANDOM), curves("same", RANDOM))
    assert found.new_labels.value == pytest.approx(0, abs=1e-9)
    assert found.new_labels.low <= 0 <= found.new_labels.high
    assert found.gain.value == 0
    assert found.seeds_better == 0


def test_a_slower_curve_costs_labels() -> None:
    """The sign says who pays; where the slow curve never gets it counts with all its labels, which are too few."""
    slow = [[1.0, 0.9, 0.8, 0.7, 0.6]] * 3
    found = compare(curves("random", RANDOM), curves("slow", slow))
    # Twice the labels over the upper half of the curve (200 for 100 on average), all 400 for 300 over the lower.
    assert found.new_labels.value == pytest.approx(1 - (200 + 400) / (100 + 300), abs=0.02)
    assert found.gain.value < 0


def test_a_curve_that_begins_well_and_stalls_saves_nothing() -> None:
    """Its first round is ahead, and it never gets where random drawing goes: the whole curve counts, not the beginning."""
    stalled = [[1.0, 0.7, 0.7, 0.75, 0.75]] * 3
    found = compare(curves("random", RANDOM), curves("stalled", stalled))
    assert found.gain.value < 0
    assert found.new_labels.value < 0


def test_seeds_that_disagree_widen_the_interval() -> None:
    """Three seeds that agree say more than three that do not, at the same mean."""
    rng = np.random.default_rng(3)
    noise = rng.normal(0, 0.05, size=(3, 5))
    noise -= noise.mean(axis=0)
    noise[:, 0] = 0
    fast = np.array([[1.0, 0.7, 0.45, 0.3, 0.15]] * 3)
    sure = compare(curves("random", RANDOM), curves("sure", fast)).new_labels
    unsure = compare(curves("random", RANDOM), curves("unsure", fast + noise)).new_labels
    assert unsure.value == pytest.approx(sure.value, abs=1e-9)
    assert unsure.high - unsure.low > sure.high - sure.low


def test_curves_of_other_seeds_or_rounds_are_refused() -> None:
    """A saving is a paired comparison."""
    with pytest.raises(BadInput, match="random and other"):
        compare(curves("random", RANDOM), curves("other", RANDOM[:2]))


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=30))
def test_falling_is_the_closest_curve_that_never_rises(values) -> None:
    """It falls, keeps the mean, and leaves alone what falls already."""
    found = falling(np.array(values))
    assert (np.diff(found) <= 1e-9).all()
    assert found.mean() == pytest.approx(np.mean(values), abs=1e-9)
    ordered = np.sort(values)[::-1]
    np.testing.assert_allclose(falling(ordered), ordered, atol=1e-9)
    np.testing.assert_allclose(falling(found), found, atol=1e-9)


def test_a_level_is_reached_where_a_flat_piece_begins() -> None:
    """Equal figures are reached at the first of them, and between figures in a line."""
    figures = np.array([1.0, 0.5, 0.5, 0.5, 0.0])
    needed = labels_needed(LABELS, figures, np.array([0.75, 0.5, 0.25]))
    np.testing.assert_allclose(needed, [150, 200, 350])


def test_rounds_become_curves_of_the_figure_that_is_judged() -> None:
    """NLL per vote is a ratio of sums; an RMSE counts judged galaxies only."""
    terms = np.array([[2.0, 4.0, 0.04, 1.0], [1.0, 2.0, 0.5, 0.0]], dtype=np.float32)
    runs = [[a_round(seed=seed, number=n, labels=10 + n, terms=terms) for n in range(2)] for seed in range(3)]
    np.testing.assert_allclose(curves_of("p", runs, is_root=False).by_seed(), np.full((3, 2), 0.5))
    np.testing.assert_allclose(curves_of("p", runs, is_root=True).by_seed(), np.full((3, 2), 0.2), rtol=1e-6)
    uneven = [*runs, [a_round(seed=3, number=n, labels=20 + n, terms=terms) for n in range(2)]]
    with pytest.raises(BadInput, match="labels"):
        curves_of("p", uneven, is_root=False)


def test_the_gain_is_of_the_rounds_after_the_first() -> None:
    """The initial set is the same for both; a policy that is ahead at the end alone gains by its share of rounds."""
    late = [[1.0, 0.8, 0.6, 0.4, 0.0]] * 3
    found = compare(curves("random", RANDOM), curves("late", late))
    assert found.gain.value == pytest.approx(0.2 / 4)
    assert found.seeds_better == 3


def test_levels_go_down_to_what_either_reaches() -> None:
    """Where only the policy gets to an error, random drawing is counted with all its labels."""
    deep = [[1.0, 0.8, 0.6, 0.4, 0.0]] * 3
    found = compare(curves("random", RANDOM), curves("deep", deep))
    assert found.at_end == pytest.approx(0.0)
    assert found.new_labels.value > 0
