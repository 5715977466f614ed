"""The evaluation, galaxy properties in quarters: where a model is good and where it is not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from alservice.errors import BadInput
from alservice.science.bootstrap import Estimate, bootstrap_sums, percentile_estimate
from alservice.science.evaluation import Assessment
from alservice.shapes import BoolArray, FloatArray

QUARTERS = 4
"""Slices per property."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """A model on the galaxies whose property lies within limits.

    Parameters
    ----------
    name
        The property; its unit is in the name.
    low, high
        Limits, the upper one included; the first slice includes its lower one too.
    n_galaxies, n_votes
        Evaluation galaxies with votes, and their votes.
    nll_per_vote
        Summed NLL over summed votes (nats), with its bootstrap interval.
    rmse
        Of the vote fractions of one answer; None where no galaxy has enough votes.
    """

    name: str
    low: float
    high: float
    n_galaxies: int
    n_votes: int
    nll_per_vote: Estimate
    rmse: float | None


def slice_metrics(
    assessment: Assessment,
    properties: Mapping[str, FloatArray],
    *,
    column: str,
    rng: np.random.Generator,
    repeats: int = 500,
    confidence: float = 0.95,
) -> tuple[Slice, ...]:
    """Cut the galaxies with votes at the quartiles of every property, and summarise each part.

    Equal quartiles, as of a property that most galaxies share, make fewer slices.

    Parameters
    ----------
    properties
        (N,) values of the assessed galaxies by name; a galaxy with NaN is in no slice of that property.
    column
        Answer column of the RMSE.

    Raises
    ------
    BadInput
        A property has not one value per galaxy.
    """
    voted: BoolArray = assessment.votes.sum(axis=1) > 0
    found: list[Slice] = []
    for name, values in properties.items():
        if values.shape != voted.shape:
            raise BadInput(f"property {name!r} has {values.shape} values for {len(voted)} galaxies")
        known = voted & np.isfinite(values)
        if not known.any():
            continue
        edges = np.unique(np.quantile(values[known], np.linspace(0, 1, QUARTERS + 1)))
        for i, (low, high) in enumerate(pairwise(edges)):
            inside = known & (values <= high) & ((values >= low) if i == 0 else (values > low))
            if inside.any():
                nll = _nll(assessment, inside, rng, repeats, confidence)
                found.append(_slice(assessment, inside, name, (float(low), float(high)), nll, column))
    return tuple(found)


def _nll(
    assessment: Assessment, inside: BoolArray, rng: np.random.Generator, repeats: int, confidence: float
) -> Estimate:
    nll, votes = assessment.nll[inside].sum(axis=1), assessment.votes[inside].sum(axis=1)
    sums = bootstrap_sums(np.stack([nll, votes], axis=1), repeats=repeats, rng=rng)
    return percentile_estimate(nll.sum() / votes.sum(), sums[:, 0] / sums[:, 1], confidence)


def _slice(
    assessment: Assessment, inside: BoolArray, name: str, limits: tuple[float, float], nll: Estimate, column: str
) -> Slice:
    answer = assessment.tree.columns.index(column)
    judged = int(assessment.judged[inside, assessment.tree.question_of_answer[answer]].sum())
    return Slice(
        name=name,
        low=limits[0],
        high=limits[1],
        n_galaxies=int(inside.sum()),
        n_votes=int(assessment.votes[inside].sum()),
        nll_per_vote=nll,
        rmse=math.sqrt(assessment.squared_error[inside, answer].sum() / judged) if judged else None,
    )
