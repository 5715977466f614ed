"""Expected predictive information gain: what a galaxy's votes would teach about galaxies of the survey.

BALD asks what votes teach about the weights; weights that only serve artefacts count as much as any other. EPIG
asks what they teach about predictions that are wanted (Bickford Smith et al. 2023, arXiv:2304.08151, eq. 5):

    EPIG(x) = E_{x* ~ p*}[ I(y; y* | x, x*) ],    p(y, y*) = <p_t(y | x) p_t(y* | x*)>_t

with p* the survey itself: a uniform sample of its galaxies, not the labelled ones. y and y* are one classification
each. A volunteer is asked question q of galaxy x with probability P_q(x), so that a tree's score is

    sum_q w_q P_q(x) E_{x*}[ P_q(x*) I(y_q; y*_q) ]

with I exact for the T draws. It never exceeds what one vote teaches about the weights, the BALD score at one vote.

Two galaxies that have nothing to do with each other still agree by chance over T draws, the more the further their
draws lie apart. With the target's draws shifted against the galaxies', so that only chance is left, scores at T = 30
were a tenth as large for galaxies and half as large for artefacts; at T = 240, a fiftieth and a tenth. EPIG does not
keep artefacts out by itself (`tests/benchmarks/README.md`, wasted votes).
"""

from __future__ import annotations

import numpy as np

from alservice.errors import BadInput, NumericalFault
from alservice.science.pmf import entropy, row_slices
from alservice.science.posterior import answer_probabilities
from alservice.science.scoring import ROUNDING_NATS, check_concentrations, check_weights, refuse_rows
from alservice.science.tree import Tree
from alservice.shapes import FloatArray


def tree_predictive_information(
    tree: Tree, concentrations: FloatArray, target: FloatArray, weights: FloatArray
) -> FloatArray:
    """Return what one classification of each galaxy is expected to tell about one of a survey galaxy.

    Parameters
    ----------
    tree
        The tree of the Q questions and A answers.
    concentrations
        (N, T, A) posterior draws of the galaxies to score.
    target
        (M, T, A) draws of a uniform sample of the survey; draw t must be the same network in both.
    weights
        (Q,) science weight of each question, finite and not negative.

    Returns
    -------
    FloatArray
        (N,) float64, in nats where the weights are 1. Time is O(N M T sum A_q^2), memory does not grow with N.

    Raises
    ------
    NumericalFault
        If a concentration is not finite and positive (rows are named), or a score is impossible.
    BadInput
        If shapes do not fit the tree or each other, the sample is empty, or a weight is negative or not finite.
    """
    concentrations, target = np.asarray(concentrations), np.asarray(target)
    check_concentrations(concentrations)
    check_concentrations(target)
    weights = check_weights(tree, weights)
    if not len(target) or concentrations.shape[1:] != target.shape[1:] or target.shape[2] != tree.n_answers:
        raise BadInput(
            f"a target of {target.shape} cannot judge draws of {concentrations.shape} on {tree.n_answers} answers"
        )
    probabilities = answer_probabilities(tree, target.astype(np.float64))
    asked = tree.asked_probability(probabilities).mean(axis=1)
    scores = np.zeros(len(concentrations))
    widest = max(len(question.answers) for question in tree.questions)
    for rows in row_slices(len(concentrations), len(target) * widest**2):
        draws = answer_probabilities(tree, concentrations[rows].astype(np.float64))
        own = tree.asked_probability(draws).mean(axis=1)
        for question, answers in enumerate(tree.slices):
            information = _one_vote_each(draws[..., answers], probabilities[..., answers])
            scores[rows] += weights[question] * own[:, question] * (information @ asked[:, question]) / len(target)
    refuse_rows(~((scores >= -ROUNDING_NATS) & (scores < np.inf)), "the score", NumericalFault)
    return np.maximum(scores, 0)


def _one_vote_each(galaxies: FloatArray, target: FloatArray) -> FloatArray:
    """Return the mutual information (N, M) of a vote on each galaxy and a vote on each target galaxy.

    Parameters
    ----------
    galaxies, target
        (N, T, A) and (M, T, A) probabilities of the answers of one question.
    """
    n_draws = galaxies.shape[1]
    joint = np.tensordot(galaxies, target, axes=(1, 1)) / n_draws
    of_pair = entropy(joint.swapaxes(1, 2).reshape(len(galaxies), len(target), -1))
    information: FloatArray = entropy(galaxies.mean(axis=1))[:, None] + entropy(target.mean(axis=1)) - of_pair
    return information
