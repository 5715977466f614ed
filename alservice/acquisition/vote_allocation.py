"""Votes per galaxy: a cycle's budget spent where one more vote is expected to teach most.

Information grows with votes by less and less, so the budget goes step by step to the galaxy with the most
information per vote. For concave curves and equal steps that is the optimum (Fox 1966, Management Science 13, 210);
otherwise it falls short of it by less than one step, the last one that did not fit. Where a curve is not concave (two
precisions of equal mean are told apart by two votes, not by one), its concave hull is climbed: steps that only pay
together are taken together.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from alservice.errors import BadInput, NumericalFault
from alservice.shapes import FloatArray, IntArray


def allocate_votes(information_nats: FloatArray, tiers: Sequence[int], budget: int) -> IntArray:
    """Return the votes to ask of each galaxy: one of the tiers.

    Parameters
    ----------
    information_nats
        (N, K) what each number of votes would teach about each galaxy.
    tiers
        K numbers of votes to choose from, growing; the first is asked of every galaxy, whatever the budget.
    budget
        Votes to spend on all galaxies together. What teaches nothing is not bought, so votes may be left over.

    Returns
    -------
    IntArray
        (N,) votes; ties go to the galaxy that comes first.

    Raises
    ------
    BadInput
        If tiers are not growing integers from 0 up, or shapes do not fit.
    NumericalFault
        If a galaxy's information is not finite; rows are named.
    """
    information, steps = np.asarray(information_nats, dtype=np.float64), np.asarray(tiers)
    if steps.ndim != 1 or not len(steps) or steps.dtype.kind not in "iu" or steps[0] < 0 or (np.diff(steps) <= 0).any():
        raise BadInput(f"tiers must be growing numbers of votes, not {list(tiers)}")
    if information.ndim != 2 or information.shape[1] != len(steps):
        raise BadInput(f"{len(steps)} tiers need information of (galaxies, {len(steps)}), not {information.shape}")
    bad = np.flatnonzero(~np.isfinite(information).all(axis=1))
    if len(bad):
        raise NumericalFault(f"information of row {bad[0]} is not finite", rows=bad[:20].tolist())
    votes = np.full(len(information), steps[0], dtype=np.int64)
    left = budget - int(votes.sum())
    climbs = [(-rate, row, tier) for row, curve in enumerate(information) for rate, tier in _hull(curve, steps)]
    for _, row, tier in sorted(climbs):
        # What did not fit leaves its galaxy where it stood: a higher climb from there costs more and fits no better.
        cost = int(steps[tier] - votes[row])
        if cost <= left:
            votes[row] = steps[tier]
            left -= cost
    return votes


def _hull(curve: FloatArray, steps: IntArray) -> list[tuple[float, int]]:
    """Return the climbs of a curve's concave hull that teach something: nats per vote, falling, and tier reached."""
    corners = [0]
    for tier in range(1, len(steps)):
        # A corner below the line from the one before it to the new one is no corner of the hull.
        while len(corners) > 1 and _rate(curve, steps, corners[-2], corners[-1]) <= _rate(
            curve, steps, corners[-1], tier
        ):
            corners.pop()
        corners.append(tier)
    climbs = [(_rate(curve, steps, a, b), b) for a, b in pairwise(corners)]
    return [(rate, tier) for rate, tier in climbs if rate > 0]


def _rate(curve: FloatArray, steps: IntArray, a: int, b: int) -> float:
    return float((curve[b] - curve[a]) / (steps[b] - steps[a]))
