"""The tree-aware score: what the votes that a galaxy's classifications are expected to hold would teach."""

from __future__ import annotations

import math

import numpy as np

from alservice.errors import BadInput, BadVotes
from alservice.science.pmf import row_slices
from alservice.science.posterior import answer_probabilities
from alservice.science.scoring import ROUNDING_NATS, check_concentrations, check_weights, refuse_rows, score_by_votes
from alservice.science.tree import Tree
from alservice.science.vote_information import question_information
from alservice.shapes import FloatArray, IntArray

_ENUMERATED_STATES = 256
"""Outcomes of one question up to which the sum is exact: any votes on two answers, 21 on three, 4 on six."""

_SAMPLES = 64
"""Simulated outcomes otherwise: 90 at T = 30, with a standard error of 0.03 nats."""


def score_note(n_draws: int) -> str:
    """Return what a score is not, with the bound of what T draws can hold, for every place that shows one."""
    return (
        f"A score sums what each question's votes would teach. Questions share their draws, so it may exceed "
        f"ln {n_draws} = {math.log(n_draws):.2f} nats, the most that {n_draws} draws can hold: it ranks galaxies, and "
        "is no amount of information."
    )


def tree_information(
    tree: Tree, concentrations: FloatArray, votes: float | FloatArray, weights: FloatArray, *, seed: int = 0
) -> FloatArray:
    """Return the science-weighted sum of what each question's expected votes would teach.

    score = sum_q w_q I_q(votes * P(asked_q)); `expected_question_information` says how I_q is found.

    Parameters
    ----------
    tree, concentrations, votes, seed
        As `expected_question_information`.
    weights
        (Q,) science weight of each question, finite and not negative.

    Returns
    -------
    FloatArray
        (N,) float64, in nats where the weights are 1. A sum over questions, not their joint information: it may
        exceed ln T, which the information of T draws never does.

    Raises
    ------
    NumericalFault
        If a concentration is not finite and positive (rows are named), or a score is impossible.
    BadVotes
        If expected votes are negative or not finite.
    BadInput
        If shapes do not fit the tree, or a weight is negative or not finite.
    """
    weights = check_weights(tree, weights)
    score: FloatArray = expected_question_information(tree, concentrations, votes, seed=seed) @ weights
    return score


def expected_question_information(
    tree: Tree, concentrations: FloatArray, votes: float | FloatArray, *, seed: int = 0
) -> FloatArray:
    """Return the information that each question's votes are expected to give.

    A question is expected to get N_q = votes * P(asked) votes, P averaged over draws. Its information is
    interpolated linearly between the whole numbers around N_q; for a question that is hardly asked that is
    N_q I(1). Outcomes are enumerated while few and simulated above, by fixed random numbers: unlike the best
    answer-versus-rest marginal, a lower bound that can be half the truth, that is unbiased, so questions of
    two and of seven answers compete fairly.

    Parameters
    ----------
    tree
        The tree of the Q questions and A answers.
    concentrations
        (N, T, A) posterior draws.
    votes
        Expected classifications of a galaxy: one number, or (N,); not negative, need not be whole.
    seed
        Of the simulated votes.

    Returns
    -------
    FloatArray
        (N, Q) float64 nats. Their sum is an upper bound of the joint information, because questions share one
        network.

    Raises
    ------
    NumericalFault, BadVotes, BadInput
        As `tree_information`.
    """
    concentrations = np.asarray(concentrations)
    check_concentrations(concentrations)
    n_galaxies, n_draws, n_answers = concentrations.shape
    if n_answers != tree.n_answers:
        raise BadInput(f"tree {tree.name!r} has {tree.n_answers} answers, the concentrations {n_answers}")
    classifications = np.asarray(votes, dtype=np.float64)
    if classifications.shape not in {(), (n_galaxies,)}:
        raise BadVotes(f"expected votes must be one number or {n_galaxies}, not {classifications.shape}")
    classifications = np.broadcast_to(classifications, (n_galaxies,))
    refuse_rows(~((classifications >= 0) & (classifications < np.inf)), "expected votes", BadVotes)
    information = np.zeros((n_galaxies, tree.n_questions))
    for rows in row_slices(n_galaxies, n_draws * n_answers):
        asked = tree.asked_probability(answer_probabilities(tree, concentrations[rows]))
        expected = classifications[rows, None] * asked.mean(axis=1, dtype=np.float64)
        for question, answers in enumerate(tree.slices):
            alpha = concentrations[rows, :, answers]
            information[rows, question] = _interpolated(alpha, expected[:, question], seed)
    return information


def _interpolated(alpha: FloatArray, expected: FloatArray, seed: int) -> FloatArray:
    def score(rows: IntArray, n: int) -> FloatArray:
        return question_information(alpha[rows], n, max_states=_ENUMERATED_STATES, samples=_SAMPLES, seed=seed)

    below = np.floor(expected).astype(np.int64)
    share = expected - below
    # A whole number needs no second score; zero votes cost nothing.
    above = np.where(share > 0, below + 1, 0)
    at_below, at_above = (score_by_votes(n, score, tolerance=ROUNDING_NATS) for n in (below, above))
    interpolated: FloatArray = (1 - share) * at_below + share * at_above
    return interpolated
