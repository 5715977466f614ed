"""Intervals by resampling galaxies, the unit that is drawn independently; votes within a galaxy are not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alservice.science.pmf import row_slices
from alservice.shapes import FloatArray


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A number with the interval that sampling galaxies leaves it in."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A number, with the interval that sampling galaxies leaves it in where one was made."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends of the interval; the number itself where none was made."""
        return (self.value if self.low is None else self.low), (self.value if self.high is None else self.high)


def bootstrap_sums(values: FloatArray, *, repeats: int, rng: np.random.Generator) -> FloatArray:
    """Return column sums over resampled galaxies.

    All columns see the same galaxies in one repeat, so ratios and differences of columns are paired.

    Parameters
    ----------
    values
        (N, M), one row per galaxy.
    repeats
        Number of samples of N galaxies with replacement.
    rng
        Source of the samples.

    Returns
    -------
    FloatArray
        (repeats, M) float64.
    """
    n_galaxies = len(values)
    sums = np.empty((repeats, values.shape[1]))
    for rows in row_slices(repeats, n_galaxies):
        n_samples = rows.stop - rows.start
        drawn = rng.integers(n_galaxies, size=(n_samples, n_galaxies))
        drawn += np.arange(n_samples)[:, None] * n_galaxies
        times = np.bincount(drawn.ravel(), minlength=n_samples * n_galaxies).reshape(n_samples, n_galaxies)
        sums[rows] = times @ values.astype(np.float64)
    return sums


def percentile_estimate(value: float, samples: FloatArray, confidence: float) -> Estimate:
    """Return the value with the central percentile interval of its bootstrap samples."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(samples, [tail, 1 - tail])
    return Estimate(value=float(value), low=float(low), high=float(high))
