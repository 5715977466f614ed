"""What is kept of a prediction: moments against simulated fractions, and values that cannot be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from alservice.errors import BadInput, NumericalFault
from alservice.science.information import joint_information
from alservice.science.posterior import Posterior
from alservice.science.prediction import Prediction, moments, prediction_of
from alservice.science.tree import load_tree
from alservice.shapes import FloatArray

TREE = load_tree("gz2")
WORTH = np.ones(TREE.n_questions)


def concentrations(n: int, draws: int) -> FloatArray:
    """Return (N, T, A) concentrations that differ between draws."""
    rng = np.random.default_rng(5)
    return np.exp(rng.normal(size=(n, draws, TREE.n_answers))).astype(np.float32)


def kept() -> Prediction:
    """Return what is kept of three galaxies' draws."""
    posterior = Posterior(
        galaxy_ids=("a", "b", "c"),
        concentrations=concentrations(3, 4),
        embeddings=np.ones((3, 2), dtype=np.float16),
        tree_hash=TREE.hash,
        model="m",
    )
    return prediction_of(TREE, posterior, votes=40.0, worth=WORTH)


def test_moments_are_those_of_fractions_drawn_from_the_mixture() -> None:
    """Width of each draw and variance between draws are both in the standard deviation."""
    alpha = concentrations(2, 3)
    rng, n = np.random.default_rng(6), 60_000
    mean, sd = moments(TREE, alpha)
    for answers in TREE.slices:
        for row in range(2):
            drawn = np.concatenate([rng.dirichlet(each, n) for each in alpha[row, :, answers].astype(np.float64)])
            np.testing.assert_allclose(mean[row, answers], drawn.mean(axis=0), atol=0.005)
            np.testing.assert_allclose(sd[row, answers], drawn.std(axis=0), atol=0.005)


def test_what_is_kept_is_scored_for_the_votes_it_names() -> None:
    """Scores are the joint information for those votes and weights, and for no others."""
    found = kept()
    truth = joint_information(TREE, concentrations(3, 4), 40.0, question_weights=WORTH)
    np.testing.assert_allclose(found.scores, truth, rtol=1e-6)
    assert found.is_scored_for(40.0, WORTH)
    assert not found.is_scored_for(39.0, WORTH)
    assert not found.is_scored_for(40.0, 2 * WORTH)


@pytest.mark.parametrize("name", ["mean", "sd", "scores", "embeddings"])
def test_a_value_that_is_not_finite_names_its_galaxy(name: str) -> None:
    """Kind: a number that no page could show."""
    found = kept()
    values = getattr(found, name).copy()
    values[1] = np.nan
    with pytest.raises(NumericalFault, match="'b'") as caught:
        replace(found, **{name: values})
    assert caught.value.evidence["galaxies"] == ["b"]


def test_negative_scores_wrong_shapes_and_repeated_ids_are_refused() -> None:
    """An embedding may be negative, a score may not."""
    found = kept()
    replace(found, embeddings=-found.embeddings)
    with pytest.raises(NumericalFault, match="'a'"):
        replace(found, scores=-found.scores - 1)
    with pytest.raises(BadInput, match="float64"):
        replace(found, mean=found.mean.astype(np.float64))
    with pytest.raises(BadInput, match="do not fit"):
        replace(found, sd=found.sd[:, 1:])
    with pytest.raises(BadInput, match="'a' occurs twice"):
        replace(found, galaxy_ids=("a", "b", "a"))
