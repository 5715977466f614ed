"""Two rankings of the same galaxies."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from alservice.acquisition.policies import compare_selections
from alservice.errors import BadInput, NumericalFault

SCORES = arrays(float, 12, elements=st.integers(0, 6).map(float))


@given(SCORES, SCORES)
def test_rank_correlation_is_spearmans(first, second) -> None:
    """Ties included; none where a ranking ranks nothing."""
    found = compare_selections(first, second, 3).rank_correlation
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert found is None
    else:
        assert found == pytest.approx(stats.spearmanr(first, second).statistic)


def test_the_same_scores_select_the_same() -> None:
    """Everything in common, whatever the scale; reversed scores have nothing."""
    scores = np.arange(10.0)
    same = compare_selections(scores, scores**3, 4)
    assert (same.common, same.chance, same.rank_correlation) == (1.0, 0.4, pytest.approx(1))
    other = compare_selections(scores, -scores, 4)
    assert (other.common, other.rank_correlation) == (0.0, pytest.approx(-1))
    assert compare_selections(scores, -scores, 99).common == 1.0
    assert "0.0% of the best 4 of 10" in other.text()


@pytest.mark.parametrize(
    ("first", "second", "top", "error"),
    [
        (np.ones(3), np.ones(4), 1, BadInput),
        (np.ones(0), np.ones(0), 1, BadInput),
        (np.ones(3), np.ones(3), 0, BadInput),
        (np.ones(3), np.array([1, np.nan, 0]), 1, NumericalFault),
    ],
)
def test_no_two_rankings_are_refused(first, second, top, error) -> None:
    """Other galaxies, none, no selection, no number."""
    with pytest.raises(error):
        compare_selections(first, second, top)
