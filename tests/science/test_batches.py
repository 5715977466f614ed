"""Batches chosen together: against dense determinants, enumeration of all batches, and what they must not depend on."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from alservice.errors import BadInput
from alservice.science.batches import batch_gains, greedy_batch, survey_covariance, vote_deviations
from alservice.science.information import joint_information
from alservice.science.tree import load_tree
from alservice.shapes import FloatArray

TREE = load_tree("gz2")
ONES = np.ones(TREE.n_questions)


def concentrations(n: int, draws: int, *, seed: int, spread: float = 0.4) -> FloatArray:
    """Return (N, T, A) concentrations that differ between draws."""
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=(n, 1, TREE.n_answers))
    return np.exp(1 + centre + spread * rng.normal(size=(n, draws, TREE.n_answers)))


def precision_of(deviations: FloatArray, places: list[int]) -> FloatArray:
    """Return M of a batch, densely."""
    n_draws = deviations.shape[1]
    return np.eye(n_draws) + sum(deviations[i] @ deviations[i].T for i in places) / n_draws


@pytest.mark.parametrize("has_target", [False, True])
def test_each_galaxy_taken_is_the_best_beside_those_before_it(has_target: bool) -> None:
    """The quick updates choose what dense determinants and inverses choose."""
    deviations = vote_deviations(TREE, concentrations(9, 6, seed=1), 20.0, ONES).astype(np.float64)
    target = survey_covariance(TREE, concentrations(5, 6, seed=2), ONES) if has_target else None

    def worth(places: list[int]) -> float:
        m = precision_of(deviations, places)
        return float(np.linalg.slogdet(m)[1] / 2 if target is None else -np.trace(target @ np.linalg.inv(m)) / 6)

    expected: list[int] = []
    for _ in range(4):
        expected.append(max(set(range(9)) - set(expected), key=lambda i: worth([*expected, i])))
    assert greedy_batch(deviations, 4, target=target).tolist() == expected
    alone = [worth([i]) - worth([]) for i in range(9)]
    scale = 1.0 if target is None else np.trace(target) / 6
    np.testing.assert_allclose(batch_gains(deviations, target), alone, atol=1e-5 * scale)


def test_a_greedy_batch_is_nearly_as_good_as_the_best_of_all() -> None:
    """A submodular sum: at least 1 - 1/e of what the best batch of all tells."""
    deviations = vote_deviations(TREE, concentrations(8, 5, seed=3), 20.0, ONES).astype(np.float64)

    def nats(places: tuple[int, ...]) -> float:
        return float(np.linalg.slogdet(precision_of(deviations, list(places)))[1])

    best = max(nats(places) for places in itertools.combinations(range(8), 3))
    assert nats(tuple(greedy_batch(deviations, 3).tolist())) >= (1 - np.exp(-1)) * best


def test_copies_are_not_taken_twice_before_others_are_taken_once() -> None:
    """Twins that score best: one is taken, then the galaxy that tells another thing, where ranking takes both."""
    draws = concentrations(3, 8, seed=4, spread=0.05)
    draws[0] = concentrations(1, 8, seed=5, spread=0.6)[0]
    draws[1] = draws[0]
    draws[2] = concentrations(1, 8, seed=6, spread=0.35)[0]
    deviations = vote_deviations(TREE, draws, 40.0, ONES)
    gains = batch_gains(deviations)
    assert gains[0] == gains[1] > gains[2]
    assert greedy_batch(deviations, 2).tolist() == [0, 2]


def test_the_survey_decides_what_is_worth_knowing() -> None:
    """Doubt that no galaxy of the survey shares adds nothing to the batch that is chosen for it."""
    pattern = np.array([1.0, -1.0] * 4), np.repeat([1.0, -1.0], 4)
    survey = np.full((4, 8, TREE.n_answers), 5.0)
    survey[:, :, 0] *= np.exp(0.3 * pattern[0])
    odd = np.full((1, 8, TREE.n_answers), 5.0)
    odd[:, :, 0] *= np.exp(1.5 * pattern[1])
    deviations = vote_deviations(TREE, np.concatenate([survey[:1], odd]), 20.0, np.eye(TREE.n_questions)[0])
    target = survey_covariance(TREE, survey, np.eye(TREE.n_questions)[0])
    assert greedy_batch(deviations, 1).tolist() == [1]
    assert greedy_batch(deviations, 1, target=target).tolist() == [0]


def test_gains_are_near_the_joint_information_where_draws_are_close() -> None:
    """The normal approximation, for draws that differ little: within a fifth, and in the same order."""
    draws = concentrations(30, 12, seed=7, spread=0.1)
    gains = batch_gains(vote_deviations(TREE, draws, 20.0, ONES))
    exact = joint_information(TREE, draws, 20.0)
    assert np.corrcoef(gains, exact)[0, 1] > 0.8
    assert 0.5 < (gains / exact).mean() < 2


def test_a_question_that_weighs_nothing_does_not_matter() -> None:
    """Its answers may say anything."""
    first = np.eye(TREE.n_questions)[0]
    draws = concentrations(6, 5, seed=8)
    other = draws.copy()
    other[..., TREE.slices[5]] *= 7
    chosen = [greedy_batch(vote_deviations(TREE, d, 20.0, first), 3).tolist() for d in (draws, other)]
    assert chosen[0] == chosen[1]


def test_more_galaxies_than_there_are_take_all_and_misfits_are_refused() -> None:
    """By name."""
    deviations = vote_deviations(TREE, concentrations(3, 4, seed=9), 20.0, ONES)
    assert sorted(greedy_batch(deviations, 9).tolist()) == [0, 1, 2]
    assert greedy_batch(deviations[:0], 2).tolist() == []
    with pytest.raises(BadInput, match="do not fit"):
        greedy_batch(deviations, 1, target=np.eye(5))
    with pytest.raises(BadInput, match="answers"):
        vote_deviations(TREE, np.ones((2, 3, 4)), 20.0, ONES)
