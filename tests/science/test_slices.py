"""Slices: who is in which, and what is said of them."""

import dataclasses
import json

import numpy as np
import pytest

from alservice.errors import BadInput
from alservice.science.evaluation import Evaluation, slice_metrics, summarise
from tests.learning.test_gate import TREE, make

COLUMN = "smooth-or-featured_smooth"


def sliced(assessment, **properties):
    """Return the slices by some properties."""
    return slice_metrics(assessment, properties, column=COLUMN, rng=np.random.default_rng(0), repeats=100)


def test_every_measured_galaxy_is_in_one_slice_per_property() -> None:
    """Quarters of equal size; NaN and galaxies without votes are in none."""
    votes = np.full((400, TREE.n_questions), 20)
    votes[:40] = 0
    assessment = make(np.random.default_rng(1), votes=votes)
    size = np.arange(400.0)
    size[40:60] = np.nan
    slices = sliced(assessment, size=size)
    assert [s.n_galaxies for s in slices] == [85, 85, 85, 85]
    assert slices[0].low == 60
    assert [a.high for a in slices[:-1]] == [b.low for b in slices[1:]]
    assert sum(s.n_votes for s in slices) == 340 * 20 * TREE.n_questions
    on_edges = sliced(make(np.random.default_rng(1), 401), size=np.arange(401.0))
    assert [s.n_galaxies for s in on_edges] == [101, 100, 100, 100]


def test_a_slice_says_where_the_model_is_bad() -> None:
    """The quarter with the larger loss has the larger figure, and its interval holds it."""
    assessment = make(np.random.default_rng(1))
    size = np.arange(400.0)
    assessment.nll[300:] += 5
    assessment.squared_error[300:] *= 9
    slices = sliced(assessment, size=size)
    worst = slices[-1]
    assert worst.nll_per_vote.low < worst.nll_per_vote.value < worst.nll_per_vote.high
    assert worst.nll_per_vote.low > max(s.nll_per_vote.high for s in slices[:-1])
    assert worst.rmse > 2 * slices[0].rmse
    total = assessment.nll[300:].sum() / assessment.votes[300:].sum()
    assert worst.nll_per_vote.value == pytest.approx(total)


def test_a_property_that_most_share_makes_fewer_slices() -> None:
    """Equal quartiles are one edge; a constant makes none, an unmeasured property neither."""
    assessment = make(np.random.default_rng(1))
    votes = np.full(400, 40.0)
    votes[:60] = 20
    assert [s.n_galaxies for s in sliced(assessment, votes=votes)] == [400]
    assert sliced(assessment, same=np.ones(400), unknown=np.full(400, np.nan)) == ()


def test_a_property_of_other_galaxies_is_refused() -> None:
    """One value per galaxy."""
    with pytest.raises(BadInput, match="'size'"):
        sliced(make(np.random.default_rng(1)), size=np.ones(3))


def test_an_evaluation_with_slices_survive_json() -> None:
    """What is stored comes back; records from before slices have none."""
    assessment = make(np.random.default_rng(1))
    found = summarise(assessment, rng=np.random.default_rng(0), repeats=100)
    document = json.loads(json.dumps(found.document()))
    assert "slices" not in document
    assert Evaluation.from_document(document) == found
    found = dataclasses.replace(found, slices=sliced(assessment, size=np.arange(400.0)))
    assert Evaluation.from_document(json.loads(json.dumps(found.document()))) == found
