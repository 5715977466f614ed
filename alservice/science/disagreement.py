"""Whether labels of model and votes disagree with those of votes alone more than calibrated posteriors allow.

Of the votes that a galaxy has on a question some are drawn as the first, as few as a stopping rule may end at. The
label after them is that of the fused posterior; the label of votes alone is the majority of all of the votes. If the
posterior is calibrated it says itself how often the two differ, chance among few votes included: the later votes are
draws of its mixture. What is observed beyond that cannot exceed a bound but in a stated share of cases (Bernstein's
inequality: S. Boucheron, G. Lugosi and P. Massart, Concentration Inequalities, 2013, section 2.8).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from alservice.errors import BadInput, BadVotes
from alservice.science.fusion import dirichlet_draws
from alservice.science.pmf import row_slices
from alservice.science.posterior import checked_counts, question_evidence, question_totals, tempered
from alservice.science.tree import Tree
from alservice.shapes import FloatArray, IntArray

WHOLE_TREE: Final = "all"
"""Names the figure over all questions of a galaxy."""

_SAMPLES: Final = 100
"""Simulated sets of later votes per galaxy and question; they add a hundredth to the variance, which is counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Disagreement:
    """How often the labels of one question differ.

    Parameters
    ----------
    question
        Name in the tree, or ``all``: the mean over the questions of a galaxy.
    galaxies
        Galaxies with enough votes.
    observed, expected
        Share of labels that differ, and what the posterior says of it; labels of a tie are shared.
    chance
        Excess that a calibrated posterior goes beyond by chance in at most a stated share of cases.
    """

    question: str
    galaxies: int
    observed: float
    expected: float
    chance: float

    @property
    def excess(self) -> float:
        """Share of labels that differ beyond what is expected."""
        return self.observed - self.expected


def label_disagreements(
    tree: Tree,
    concentrations: FloatArray,
    counts: IntArray,
    *,
    rng: np.random.Generator,
    temper: FloatArray | None = None,
    first_votes: int = 3,
    min_votes: int = 10,
    false_alarms: float = 1e-3,
) -> tuple[Disagreement, ...]:
    """Compare labels of model and few votes with labels of all votes, for every question and over the tree.

    Galaxies must have got their number of votes whatever was said of them, such as members of the evaluation stream:
    where asking ended by a rule, votes are few because they agreed.

    Parameters
    ----------
    tree
        The tree of the Q questions and A answers.
    concentrations
        (N, T, A) posterior draws of a model that was not trained on these galaxies.
    counts
        (N, A) whole votes.
    rng
        Chooses the first votes, and draws the later ones that the posterior expects.
    temper
        (Q,) factors as of `alservice.science.posterior.update`; None judges the model as it is.
    first_votes
        Votes that the fused label knows, not negative.
    min_votes
        Votes on a question from which a galaxy is compared there, above `first_votes`.
    false_alarms
        Share of calibrated data sets, within (0, 1), of which any excess goes beyond its chance, at most.

    Returns
    -------
    tuple of Disagreement
        One per question for which a galaxy has enough votes, in tree order, the whole tree last; none without votes.

    Raises
    ------
    BadInput
        If a number is out of its range, or shapes do not fit.
    BadVotes, NumericalFault
        If counts are not whole, or as `alservice.science.posterior.update`.
    """
    if not 0 <= first_votes < min_votes or not 0 < false_alarms < 1:
        raise BadInput(f"cannot compare {first_votes} with {min_votes} votes at {false_alarms} false alarms")
    prior = tempered(tree, concentrations, temper)
    votes = checked_counts(tree, counts, len(prior))
    if (votes % 1).any():
        raise BadVotes("the labels of weighted votes cannot be compared: votes must be whole")
    shape = (len(prior), tree.n_questions)
    found = _Labels(*(np.full(shape, np.nan) for _ in range(3)))
    for rows in row_slices(len(prior), prior.shape[1] * prior.shape[2]):
        for part, whole in zip(
            _compared(tree, prior[rows], votes[rows], first_votes, min_votes, rng), found, strict=True
        ):
            whole[rows] = part
    judged = ~np.isnan(found.differ)
    columns = np.flatnonzero(judged.any(axis=0)).tolist()
    level = math.log((len(columns) + 1) / false_alarms)
    figures = [
        _figure(tree.questions[q].name, _Labels(*(each[judged[:, q], q] for each in found)), level) for q in columns
    ]
    return (*figures, _over_tree(found, level)) if figures else ()


class _Labels(NamedTuple):
    """Whether labels differ, its expectation and its variance: (N, Q) or (N,) each, NaN where there are few votes."""

    differ: FloatArray
    expected: FloatArray
    variance: FloatArray


def _compared(
    tree: Tree, prior: FloatArray, votes: FloatArray, n_first: int, n_least: int, rng: np.random.Generator
) -> _Labels:
    found = _Labels(*(np.full((len(prior), tree.n_questions), np.nan) for _ in range(3)))
    evidence = question_evidence(tree, prior, votes)
    asked = question_totals(tree, votes)
    first = np.zeros_like(votes)
    for question, answers in enumerate(tree.slices):
        for row in np.flatnonzero(asked[:, question] >= n_least):
            first[row, answers] = rng.multivariate_hypergeometric(votes[row, answers].astype(np.int64), n_first)
    # The later votes of a question, given all votes on the others: what is asked of how many is known by then.
    logs = evidence.sum(axis=-1, keepdims=True) - evidence + question_evidence(tree, prior, first)
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    for question, answers in enumerate(tree.slices):
        rows = np.flatnonzero(asked[:, question] >= n_least)
        if len(rows):
            alpha = prior[rows][..., answers] + first[rows][:, None, answers]
            own, known = weights[rows, :, question], first[rows, answers]
            later = asked[rows, question].astype(np.int64) - n_first
            label = (own[..., None] * alpha / alpha.sum(axis=-1, keepdims=True)).sum(axis=1).argmax(axis=1)
            said = _differ(votes[rows, None, answers], label)[:, 0]
            simulated = _differ(known[:, None] + _later_votes(own, alpha, later, rng), label)
            found.differ[rows, question] = said
            found.expected[rows, question] = simulated.mean(axis=1)
            found.variance[rows, question] = simulated.var(axis=1, ddof=1) * (1 + 1 / _SAMPLES)
    return found


def _later_votes(weights: FloatArray, alpha: FloatArray, later: IntArray, rng: np.random.Generator) -> FloatArray:
    """Return draws (R, S, A) of `later` votes (R,) from mixtures of Dirichlets (R, T, A) with weights (R, T)."""
    levels = rng.random((len(weights), _SAMPLES))
    edges = np.cumsum(weights, axis=1)[:, None, :-1]
    component = (levels[..., None] >= edges).sum(axis=-1)
    fractions = dirichlet_draws(np.take_along_axis(alpha, component[..., None], axis=1), rng)
    drawn: FloatArray = rng.multinomial(later[:, None], fractions).astype(np.float64)
    return drawn


def _differ(votes: FloatArray, label: IntArray) -> FloatArray:
    """Return how far the majority of votes (R, S, A) is another than the label (R,): 0 or 1, between for a tie."""
    leading = votes == votes.max(axis=-1, keepdims=True)
    own = np.take_along_axis(leading, label[:, None, None], axis=-1)[..., 0]
    differ: FloatArray = 1 - own / leading.sum(axis=-1)
    return differ


def _figure(name: str, labels: _Labels, level: float) -> Disagreement:
    """Return the figure of galaxies with these labels, (N,) each, at a level of ln of one over the false alarms."""
    n = len(labels.differ)
    bound = level / 3 + math.sqrt(level**2 / 9 + 2 * level * float(labels.variance.sum()))
    return Disagreement(
        question=name,
        galaxies=n,
        observed=float(labels.differ.mean()),
        expected=float(labels.expected.mean()),
        chance=bound / n,
    )


def _over_tree(found: _Labels, level: float) -> Disagreement:
    """Return the figure of each galaxy's mean over its questions, which may vary together as far as they can."""
    rows = ~np.isnan(found.differ).all(axis=1)
    differ, expected = (np.nanmean(each[rows], axis=1) for each in found[:2])
    variance = np.nanmean(np.sqrt(found.variance[rows]), axis=1) ** 2
    return _figure(WHOLE_TREE, _Labels(differ, expected, variance), level)
