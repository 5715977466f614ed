"""Figures of a candidate against the champion, paired by galaxy: what the gate bootstraps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from alservice.science.bootstrap import Estimate, bootstrap_sums, percentile_estimate
from alservice.science.evaluation import Assessment
from alservice.shapes import FloatArray


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Comparison:
    """One figure, candidate minus champion; positive is worse.

    Parameters
    ----------
    name
        Such as ``nll-per-vote`` or ``rmse bar``.
    margin
        Largest acceptable value.
    n_galaxies
        Galaxies that count.
    terms
        (N, M) terms of every galaxy, 0 for a galaxy that does not count.
    difference
        The figure from (..., M) sums of the terms over galaxies.
    """

    name: str
    margin: float
    n_galaxies: int
    terms: FloatArray
    difference: Callable[[FloatArray], FloatArray]


def compare_nll(champion: Assessment, candidate: Assessment, margin: float) -> Comparison:
    """Compare the summed NLL over the summed votes (nats per vote)."""
    votes = candidate.votes.sum(axis=1)
    return Comparison(
        name="nll-per-vote",
        margin=margin,
        n_galaxies=candidate.n_galaxies,
        terms=np.stack([champion.nll.sum(axis=1), candidate.nll.sum(axis=1), votes], axis=1),
        difference=lambda sums: (sums[..., 1] - sums[..., 0]) / sums[..., 2],
    )


def compare_rmse(champion: Assessment, candidate: Assessment, question: int, margin: float) -> Comparison:
    """Compare the RMSE of one question's vote fractions, its answers pooled."""
    answers = candidate.tree.slices[question]
    judged = candidate.judged[:, question]
    squared_errors = [model.squared_error[:, answers].mean(axis=1) for model in (champion, candidate)]
    return Comparison(
        name=f"rmse {candidate.tree.questions[question].name}",
        margin=margin,
        n_galaxies=int(judged.sum()),
        terms=np.stack([*squared_errors, judged], axis=1),
        difference=lambda sums: np.sqrt(sums[..., 1] / sums[..., 2]) - np.sqrt(sums[..., 0] / sums[..., 2]),
    )


def compare_coverage(
    champion: Assessment, candidate: Assessment, question: int, tolerance: float, margin: float
) -> Comparison:
    """Compare the absolute coverage error of one question at one tolerance, its answers pooled."""
    answers = candidate.tree.slices[question]
    column = candidate.tolerances.index(tolerance)
    counts = [
        terms[:, answers, column].sum(axis=1)
        for model in (champion, candidate)
        for terms in (model.expected, model.actual)
    ]
    return Comparison(
        name=f"coverage {candidate.tree.questions[question].name}",
        margin=margin,
        n_galaxies=int(candidate.judged[:, question].sum()),
        terms=np.stack(counts, axis=1),
        difference=lambda sums: np.abs(sums[..., 2] / sums[..., 3] - 1) - np.abs(sums[..., 0] / sums[..., 1] - 1),
    )


def estimate_all(
    comparisons: Sequence[Comparison], *, repeats: int, confidence: float, rng: np.random.Generator
) -> list[Estimate]:
    """Return each figure with its paired bootstrap interval; all figures see the same resampled galaxies."""
    samples = bootstrap_sums(np.concatenate([c.terms for c in comparisons], axis=1), repeats=repeats, rng=rng)
    ends = np.cumsum([c.terms.shape[1] for c in comparisons])[:-1]
    return [
        percentile_estimate(float(c.difference(c.terms.sum(axis=0))), c.difference(sums), confidence)
        for c, sums in zip(comparisons, np.split(samples, ends, axis=1), strict=True)
    ]
