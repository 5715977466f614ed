"""Two models' choices from one pool: how much of what one would ask about the other would too."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alservice.errors import BadInput, NumericalFault
from alservice.shapes import FloatArray


@dataclass(frozen=True, kw_only=True, slots=True)
class SelectionOverlap:
    """The agreement of two rankings of the same galaxies.

    Parameters
    ----------
    n_galaxies
        Galaxies that both scored.
    top
        Size of the two selections, the best by score of each.
    common
        Share of one selection that is in the other; `chance` of it is expected of unrelated rankings.
    rank_correlation
        Spearman's, ties sharing their mean rank; None where one of the two scores all galaxies the same.
    """

    n_galaxies: int
    top: int
    common: float
    chance: float
    rank_correlation: float | None

    def text(self) -> str:
        """Return one sentence."""
        ranks = "undefined" if self.rank_correlation is None else f"{self.rank_correlation:+.3f}"
        return (
            f"{self.common:.1%} of the best {self.top} of {self.n_galaxies:,} galaxies in common "
            f"({self.chance:.1%} by chance), rank correlation {ranks}"
        )


def compare_selections(first: FloatArray, second: FloatArray, top: int) -> SelectionOverlap:
    """Compare the scores (nats) that two models give the same galaxies.

    Parameters
    ----------
    first, second
        (N,) scores in the same order.
    top
        Galaxies that a cycle asks about; more than there are means all.

    Raises
    ------
    BadInput
        Shapes do not fit, there is no galaxy, or `top` is not positive.
    NumericalFault
        A score is not finite.
    """
    if first.ndim != 1 or first.shape != second.shape or len(first) == 0 or top < 1:
        raise BadInput(f"{first.shape} and {second.shape} scores, best {top}: no two rankings of the same galaxies")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise NumericalFault("a score of a selection is not finite")
    top = min(top, len(first))
    best = [set(np.argsort(-scores, kind="stable")[:top].tolist()) for scores in (first, second)]
    return SelectionOverlap(
        n_galaxies=len(first),
        top=top,
        common=len(best[0] & best[1]) / top,
        chance=top / len(first),
        rank_correlation=_spearman(first, second),
    )


def _spearman(first: FloatArray, second: FloatArray) -> float | None:
    ranks = [_ranks(scores) - (len(scores) - 1) / 2 for scores in (first, second)]
    norms = [float(np.sqrt((r**2).sum())) for r in ranks]
    return float((ranks[0] @ ranks[1]) / (norms[0] * norms[1])) if all(norms) else None


def _ranks(values: FloatArray) -> FloatArray:
    """Return ranks from 0, equal values sharing the mean of theirs."""
    _, index, times = np.unique(values, return_inverse=True, return_counts=True)
    middle: FloatArray = (np.cumsum(times) - times + (times - 1) / 2)[index]
    return middle
