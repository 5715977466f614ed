"""Interest of one person in galaxies: a Gaussian process on embeddings, and which galaxies to show next.

Ratings are a smooth function of the embedding with a rational quadratic kernel, beside white noise (Walmsley et al.
2022, MNRAS 513, 1581, section 3). Length, shape and noise maximise the marginal likelihood; the variance has its
maximum in closed form (Rasmussen and Williams 2006, sections 2.2, 4.2, 5.4). Galaxies to rate maximise the expected
improvement on the highest rating (Jones et al. 1998) by more than a trade-off, one after the other, each time as if
those before had been rated as expected (a kriging believer, Ginsbourger et al. 2010): so that a batch is diverse.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from alservice.errors import BadInput, NumericalFault
from alservice.shapes import BoolArray, FloatArray, IntArray

MAX_RATING: Final = 5.0
"""Ratings are 0 (dull) to 5 (what I look for)."""

TRADE_OFF: Final = 0.5
"""Gain in rating below which an improvement counts for nothing: without it, searches stay at the first find."""

LENGTHS: Final = tuple(2.0 ** (power / 2) for power in range(-5, 5))
"""Length scales that are tried, over the median distance of rated galaxies."""

SHAPES: Final = (0.5, 2.0, 8.0)
"""alpha of the rational quadratic kernel that are tried: a mixture of lengths, ever narrower."""

NOISES: Final = tuple(10.0 ** (power / 4) for power in range(-8, 3))
"""Variances of the noise that are tried, over that of the interest."""

FIT_MOST: Final = 400
"""Ratings that the kernel's numbers are chosen by, spread over all; all ratings count in what is predicted."""

CANDIDATES: Final = 2000
"""Galaxies of most expected improvement among which a batch is drawn."""

_PRIOR_RATINGS: Final = 2.0
"""How many ratings a variance of 1 is worth before any: where all ratings are alike, something remains to learn."""

_BLOCK: Final = 8192
_WORK: Final = 5e10
"""Multiplications that deviations may take: all of 10^6 galaxies beside 150 ratings, some seconds on a core."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kernel:
    """Covariance of interest: ``variance (1 + d^2 / (2 shape length^2))^-shape``, and noise beside it.

    Parameters
    ----------
    length
        In units of the vectors.
    noise
        Variance of the noise over `variance`.
    """

    variance: float
    length: float
    shape: float
    noise: float

    def correlations(self, squares: FloatArray) -> FloatArray:
        """Return correlations of interest at squared distances, in their shape and dtype."""
        factor = np.array(1 / (2 * self.shape * self.length**2), dtype=squares.dtype)
        found: FloatArray = np.exp(np.log(1 + squares * factor) * np.array(-self.shape, dtype=squares.dtype))
        return found


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Interest:
    """A Gaussian process given ratings.

    Parameters
    ----------
    vectors
        float32 (M, K) of the rated galaxies, scaled.
    scale
        float32 (K,) by which components of vectors are multiplied.
    level
        Expected rating far from all of them.
    weights
        float32 (M,): the mean is `level` and their sum over correlations.
    root
        float32 (M, M): inverse of the Cholesky factor of correlations with noise.
    best
        Highest rating.
    """

    kernel: Kernel
    vectors: FloatArray
    scale: FloatArray
    level: float
    weights: FloatArray
    root: FloatArray
    best: float

    @classmethod
    def of(
        cls, vectors: FloatArray, ratings: FloatArray, *, scale: FloatArray | None = None, level: float | None = None
    ) -> Interest:
        """Return the process given ratings (M,) of galaxies at vectors (M, K).

        Parameters
        ----------
        scale
            (K,) as `scale_of` gives it; 1 where None.
        level
            Expected rating of a galaxy unlike any rated; the mean of the ratings where None.

        Raises
        ------
        BadInput
            There is no rating, or one is not 0 to `MAX_RATING`; its place is named.
        NumericalFault
            A vector is not finite.
        """
        points, values = np.asarray(vectors, dtype=np.float64), np.asarray(ratings, dtype=np.float64)
        if points.ndim != 2 or not len(points) or values.shape != (len(points),):
            raise BadInput(
                f"interest is learned from ratings (M,) of vectors (M, K), not {values.shape}, {points.shape}"
            )
        wrong = ~((values >= 0) & (values <= MAX_RATING))
        if wrong.any():
            raise BadInput(f"rating {int(wrong.argmax())} is {values[wrong][0]:g}, not 0 to {MAX_RATING:g}")
        if not np.isfinite(points).all():
            raise NumericalFault("a vector of a rated galaxy is not finite")
        scale = np.ones(points.shape[1]) if scale is None else np.asarray(scale, dtype=np.float64)
        points = points * scale
        level = float(values.mean()) if level is None else level
        kernel = choose_kernel(points, values - level)
        together = kernel.correlations(squared_distances(points, points))
        together[np.diag_indices(len(points))] = 1 + kernel.noise
        root = np.linalg.inv(np.linalg.cholesky(together))
        return cls(
            kernel=kernel,
            vectors=points.astype(np.float32),
            scale=scale.astype(np.float32),
            level=level,
            weights=(root.T @ (root @ (values - level))).astype(np.float32),
            root=root.astype(np.float32),
            best=float(values.max()),
        )

    def correlations(self, vectors: FloatArray) -> FloatArray:
        """Return correlations float32 (N, M) of galaxies (N, K) with the rated ones."""
        points = np.asarray(vectors, dtype=np.float32) * self.scale
        return self.kernel.correlations(squared_distances(points, self.vectors))

    def mean(self, vectors: FloatArray) -> FloatArray:
        """Return the expected rating float32 (N,) of galaxies at vectors (N, K), block by block."""
        found = np.empty(len(vectors), dtype=np.float32)
        for block in _blocks(len(vectors)):
            found[block] = self.level + self.correlations(vectors[block]) @ self.weights
        return found

    def deviation(self, vectors: FloatArray) -> FloatArray:
        """Return the standard deviation float32 (N,) of interest, without noise, at vectors (N, K)."""
        found = np.empty(len(vectors), dtype=np.float32)
        for block in _blocks(len(vectors)):
            found[block] = _left(self.correlations(vectors[block]) @ self.root.T)
        found *= math.sqrt(self.kernel.variance)
        return found


def _left(whitened: FloatArray) -> FloatArray:
    """Return the share of the standard deviation (N,) that correlations (N, M), whitened, leave."""
    left: FloatArray = np.sqrt(np.maximum(1 - np.einsum("nm,nm->n", whitened, whitened), 1e-12))
    return left


def scale_of(sample: FloatArray) -> FloatArray:
    """Return the scale (K,) that gives each component of vectors the variance 1 over a sample (M, K); 0 for none."""
    spread = np.asarray(sample, dtype=np.float64).std(axis=0)
    found: FloatArray = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 1e-9).astype(np.float32)
    return found


def squared_distances(left: FloatArray, right: FloatArray) -> FloatArray:
    """Return squared distances (N, M) of vectors (N, K) and (M, K), at least 0."""
    found: FloatArray = left @ right.T
    found *= -2
    found += (left**2).sum(axis=1)[:, None]
    found += (right**2).sum(axis=1)
    np.maximum(found, 0, out=found)
    return found


def choose_kernel(vectors: FloatArray, values: FloatArray) -> Kernel:
    """Return the kernel of the largest marginal likelihood of values (M,), mean 0, at vectors (M, K).

    Lengths, shapes and noises are tried on a grid: the likelihood has several maxima, which climbing finds one of. Of
    each correlation matrix the eigenvalues are taken once, and every noise follows from them.
    """
    if len(values) > FIT_MOST:
        kept = np.linspace(0, len(values) - 1, FIT_MOST).round().astype(int)
        vectors, values = vectors[kept], values[kept]
    n, noises = len(values), np.array(NOISES)
    squares = squared_distances(vectors, vectors)
    apart = squares[np.triu_indices(n, 1)]
    typical = math.sqrt(float(np.median(apart))) if len(apart) and np.median(apart) > 0 else 1.0
    best, found = -math.inf, Kernel(variance=1.0, length=typical, shape=SHAPES[0], noise=NOISES[0])
    for length in LENGTHS:
        for shape in SHAPES:
            tried = Kernel(variance=1.0, length=length * typical, shape=shape, noise=0.0)
            spectrum, axes = np.linalg.eigh(tried.correlations(squares))
            noisy = np.maximum(spectrum, 0)[:, None] + noises
            variances = (((axes.T @ values) ** 2) @ (1 / noisy) + _PRIOR_RATINGS) / (n + _PRIOR_RATINGS)
            evidence = -0.5 * ((n + _PRIOR_RATINGS) * np.log(variances) + np.log(noisy).sum(axis=0))
            place = int(evidence.argmax())
            if evidence[place] > best:
                best = float(evidence[place])
                found = Kernel(
                    variance=float(variances[place]), length=tried.length, shape=shape, noise=float(noises[place])
                )
    return found


def expected_improvement(
    mean: FloatArray, deviation: FloatArray, best: float, *, trade_off: float = TRADE_OFF
) -> FloatArray:
    """Return by how much (N,) a rating is expected to exceed `best + trade_off`, where it does.

    Parameters
    ----------
    mean, deviation
        (N,) of the rating that is expected.
    """
    gain = np.asarray(mean, dtype=np.float64) - best - trade_off
    spread = np.maximum(np.asarray(deviation, dtype=np.float64), 1e-9)
    z = gain / spread
    found: FloatArray = gain * _normal_cdf(z) + spread * np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    return np.maximum(found, 0.0)


def _normal_cdf(z: FloatArray) -> FloatArray:
    """Return the standard normal distribution function, to 1e-7 of its value in the lower tail (Numerical Recipes)."""
    x = np.abs(z) / math.sqrt(2)
    t = 1 / (1 + 0.5 * x)
    terms = (
        0.17087277,
        -0.82215223,
        1.48851587,
        -1.13520398,
        0.27886807,
        -0.18628806,
        0.09678418,
        0.37409196,
        1.00002368,
    )
    series = np.zeros_like(t)
    for term in terms:
        series = t * (term + series)
    tail = 0.5 * t * np.exp(-(x**2) - 1.26551223 + series)
    found: FloatArray = np.where(z < 0, tail, 1 - tail)
    return found


def propose(
    interest: Interest,
    vectors: FloatArray,
    mean: FloatArray,
    n: int,
    *,
    open_to: BoolArray,
    pending: IntArray,
    rng: np.random.Generator,
    trade_off: float = TRADE_OFF,
) -> IntArray:
    """Return the places of the next galaxies to rate, at most n, the one to gain most from first.

    Parameters
    ----------
    vectors
        (N, K) of all galaxies, such as a mapped array: read block by block.
    mean
        (N,) as `Interest.mean` gives it.
    open_to
        (N,) which galaxies may be proposed.
    pending
        Places of galaxies that are being rated: as if each had the rating that is expected.
    rng
        Draws the galaxies looked at beside the most promising ones, where there are too many for all.
    """
    places = _looked_at(interest, mean, open_to, rng)
    if not len(places):
        return places
    seen = np.asarray(vectors[places], dtype=np.float32)
    gains = expected_improvement(mean[places], interest.deviation(seen), interest.best, trade_off=trade_off)
    kept = np.lexsort((places, -gains))[: max(CANDIDATES, n)]
    near, expected = seen[kept], mean[places[kept]]
    waiting = np.asarray(vectors[pending], dtype=np.float32).reshape(-1, near.shape[1])
    batch = _Batch(interest, np.concatenate([near, waiting]))
    for place in range(len(near), len(near) + len(waiting)):
        batch.believe(place)
    chosen: list[int] = []
    for _ in range(min(n, len(kept))):
        gains = expected_improvement(expected, batch.deviation[: len(near)], interest.best, trade_off=trade_off)
        gains[chosen] = -1.0
        chosen.append(int(gains.argmax()))
        batch.believe(chosen[-1])
    found: IntArray = places[kept[chosen]]
    return found


def _looked_at(interest: Interest, mean: FloatArray, open_to: BoolArray, rng: np.random.Generator) -> IntArray:
    """Return places whose deviations are worked out: all, or the highest means and as many at random."""
    places: IntArray = np.flatnonzero(open_to)
    most = max(2 * CANDIDATES, int(_WORK / (2 * len(interest.vectors) ** 2)))
    if len(places) <= most:
        return places
    order = np.argpartition(-mean[places], most // 2)
    others = rng.choice(order[most // 2 :], size=most - most // 2, replace=False)
    return np.sort(places[np.concatenate([order[: most // 2], others])])


class _Batch:
    """Galaxies (C, K) whose deviations shrink as one after the other is believed to be rated as expected."""

    def __init__(self, interest: Interest, vectors: FloatArray) -> None:
        self._interest, self._vectors = interest, vectors * interest.scale
        self._whitened = interest.correlations(vectors) @ interest.root.T
        self._left = 1 - np.einsum("nm,nm->n", self._whitened, self._whitened)

    @property
    def deviation(self) -> FloatArray:
        """(C,) of interest, given ratings and beliefs."""
        found: FloatArray = np.sqrt(np.maximum(self._left, 1e-12) * self._interest.kernel.variance)
        return found

    def believe(self, place: int) -> None:
        """Take one of them as rated: a column more of correlations, whitened, as a row more of the Cholesky factor."""
        own, kernel = self._whitened[place], self._interest.kernel
        squares = squared_distances(self._vectors, self._vectors[place : place + 1])
        pivot = math.sqrt(max(1 + kernel.noise - float(own @ own), 1e-6))
        column = (kernel.correlations(squares)[:, 0] - self._whitened @ own) / pivot
        self._whitened = np.column_stack([self._whitened, column])
        self._left = self._left - column**2


def _blocks(n: int) -> Iterator[slice]:
    for first in range(0, n, _BLOCK):
        yield slice(first, first + _BLOCK)
