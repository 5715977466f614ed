"""How much each galaxy of a selection has to count for the selection to look like the survey.

Selections go by votes: "clean" samples take galaxies whose votes agree, and a network that learns from them learns
that votes agree. Where a part of the training set samples the survey without selection, the two can be compared:
galaxies with votes that the selection prefers count less, those that it avoids more (post-stratification). Within a
stratum the selection is taken to be by chance.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from alservice.errors import BadVotes
from alservice.science.tree import Tree
from alservice.shapes import BoolArray, FloatArray, IntArray

_BINS: Final = 10
"""Strata of the share of the first answer; one more has the galaxies whose first question nobody answered."""

_PRIOR: Final = 50.0
"""Galaxies that the fair part is taken to have seen before, as the whole is composed: few fair galaxies say little."""


def survey_weights(tree: Tree, counts: IntArray | FloatArray, fair: BoolArray) -> FloatArray:
    """Return weights that give a training set the composition of its fair part.

    A stratum is a tenth of the share that the first answer of the first question (Smooth, in most trees of Galaxy Zoo)
    got of its votes: everybody is asked it, and selections go by it.

    Parameters
    ----------
    counts
        (N, A) votes in tree order.
    fair
        (N,) galaxies that sample the survey without selection.

    Returns
    -------
    FloatArray
        (N,) float64 with mean 1, positive; all 1 where all galaxies are fair, or none is.

    Raises
    ------
    BadVotes
        The marks are not one per row of votes, or the columns are not the tree's.
    """
    tree.check_columns(counts)
    if fair.shape != (len(counts),):
        raise BadVotes(f"{len(counts)} rows of votes, but marks of shape {fair.shape} for the fair ones")
    first = counts[:, tree.slices[0]]
    asked = first.sum(axis=1)
    shares = np.divide(first[:, 0], asked, out=np.ones(len(first)), where=asked > 0)
    strata = np.where(asked > 0, np.minimum((_BINS * shares).astype(np.int64), _BINS - 1), _BINS)
    whole = np.bincount(strata, minlength=_BINS + 1) / len(strata)
    seen = np.bincount(strata[fair], minlength=_BINS + 1)
    fair_shares = (seen + _PRIOR * whole) / (fair.sum() + _PRIOR)
    weights: FloatArray = np.divide(fair_shares, whole, out=np.ones(_BINS + 1), where=whole > 0)[strata]
    return weights
