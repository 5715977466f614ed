"""How many labels a policy saves at equal error: learning curves compared level by level, with bootstrap intervals.

At each level of the error that either curve reaches, the labels each needs are read off curves made monotone. A curve
that does not reach it needs more than it was given, and is counted with all of them: a policy that begins well and then
learns nothing must not be judged by its beginning. The saving is ``1 - sum L_policy / sum L_random`` over evenly spaced
levels: an average over the whole curve, weighted by the labels at stake, and not its best point. Labels are counted
both ways: new ones only, as in Walmsley et al. (2020), and with the initial set. Seeds and test galaxies are resampled
together, the same ones for both curves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from alservice.backfill.plan import Round
from alservice.errors import BadInput
from alservice.science.bootstrap import Estimate, percentile_estimate
from alservice.shapes import FloatArray, IntArray

LEVELS: Final = 40
"""Levels of the error that curves are compared at."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Curves:
    """Learning curves of one policy over S seeds, R rounds and N test galaxies.

    Parameters
    ----------
    labels
        (R,) galaxies labelled.
    numerator, denominator
        (S, R, N) and (S, R, N) terms whose sums over galaxies make the figure: their ratio, or its root.
    is_root
        Whether the figure is the root of the ratio (RMSE) or the ratio (NLL per vote).
    """

    policy: str
    labels: IntArray
    numerator: FloatArray
    denominator: FloatArray
    is_root: bool

    def by_seed(self) -> FloatArray:
        """Return the figure of each seed and round, (S, R)."""
        return self._figure(self.numerator.sum(axis=-1), self.denominator.sum(axis=-1))

    def resampled(self, seeds: IntArray, times: FloatArray) -> FloatArray:
        """Return (B, R) figures, means over resampled seeds (B, S), galaxies counted (B, N) times."""
        numerator = np.einsum("srn,bn->bsr", self.numerator, times, optimize=True)
        denominator = np.einsum("srn,bn->bsr", self.denominator, times, optimize=True)
        figures = self._figure(numerator, denominator)
        means: FloatArray = np.take_along_axis(figures, seeds[:, :, None], axis=1).mean(axis=1)
        return means

    def _figure(self, numerator: FloatArray, denominator: FloatArray) -> FloatArray:
        ratio: FloatArray = numerator / denominator
        return np.sqrt(ratio) if self.is_root else ratio


def curves_of(policy: str, runs: Sequence[Sequence[Round]], *, is_root: bool) -> Curves:
    """Return the curves of a policy's runs, a run per seed: RMSE of the judged answer, or NLL per vote.

    Raises
    ------
    BadInput
        The runs have not the same rounds.
    """
    labels = np.array([[done.labels for done in run] for run in runs])
    if not (labels == labels[0]).all():
        raise BadInput(f"the runs of {policy} have not the same labels in their rounds")
    terms = np.array([[done.terms for done in run] for run in runs], dtype=np.float64)
    numerator, denominator = (2, 3) if is_root else (0, 1)
    return Curves(
        policy=policy,
        labels=labels[0],
        numerator=terms[..., numerator] * (terms[..., 3] if is_root else 1),
        denominator=terms[..., denominator],
        is_root=is_root,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Saving:
    """What one policy saves against random, as shares of random's labels; negative: it costs more.

    Parameters
    ----------
    new_labels, all_labels
        Averaged over the curve: new labels only, and with the initial set.
    best, at_end
        New labels only, at the best level and at the lowest level that either reaches; what papers tend to quote.
    gain
        Mean over rounds of random's figure minus the policy's (nats per vote, or vote fraction).
    seeds_better
        Seeds of `seeds` in which that gain is positive.
    """

    policy: str
    metric: str
    new_labels: Estimate
    all_labels: Estimate
    best: float
    at_end: float
    gain: Estimate
    seeds_better: int
    seeds: int


def savings(
    random: Curves,
    policy: Curves,
    *,
    metric: str,
    rng: np.random.Generator,
    repeats: int = 1000,
    confidence: float = 0.95,
) -> Saving:
    """Compare a policy with random drawing.

    Raises
    ------
    BadInput
        If the curves are not of the same seeds, rounds and galaxies, or have fewer than two rounds.
    """
    if random.numerator.shape != policy.numerator.shape or not np.array_equal(random.labels, policy.labels):
        raise BadInput(f"curves of {random.policy} and {policy.policy}: not the same seeds, rounds and galaxies")
    n_seeds, n_rounds, n_galaxies = random.numerator.shape
    if n_rounds < 2:
        raise BadInput("a saving needs curves of at least two rounds")
    seeds = rng.integers(n_seeds, size=(repeats, n_seeds))
    drawn = rng.integers(n_galaxies, size=(repeats, n_galaxies)) + np.arange(repeats)[:, None] * n_galaxies
    times = np.bincount(drawn.ravel(), minlength=repeats * n_galaxies).reshape(repeats, n_galaxies).astype(np.float64)
    theirs, ours = random.resampled(seeds, times), policy.resampled(seeds, times)
    samples = np.array([_shares(random.labels, a, b) for a, b in zip(theirs, ours, strict=True)])
    by_seed = random.by_seed() - policy.by_seed()
    new, everything, best, at_end = _shares(random.labels, random.by_seed().mean(axis=0), policy.by_seed().mean(axis=0))
    gains = by_seed[:, 1:].mean(axis=1)
    return Saving(
        policy=policy.policy,
        metric=metric,
        new_labels=percentile_estimate(new, samples[:, 0], confidence),
        all_labels=percentile_estimate(everything, samples[:, 1], confidence),
        best=best,
        at_end=at_end,
        gain=percentile_estimate(float(gains.mean()), (theirs - ours)[:, 1:].mean(axis=1), confidence),
        seeds_better=int((gains > 0).sum()),
        seeds=n_seeds,
    )


def falling(values: FloatArray) -> FloatArray:
    """Return the closest curve that never rises (isotonic regression, pool adjacent violators)."""
    means: list[float] = []
    sizes: list[int] = []
    for value in values.tolist():
        means.append(value)
        sizes.append(1)
        while len(means) > 1 and means[-2] < means[-1]:
            size = sizes[-2] + sizes[-1]
            means[-2:] = [(means[-2] * sizes[-2] + means[-1] * sizes[-1]) / size]
            sizes[-2:] = [size]
    return np.repeat(means, sizes)


def labels_needed(labels: IntArray, figures: FloatArray, levels: FloatArray) -> FloatArray:
    """Return the labels at which a falling curve first reaches each level, interpolated; all where it never does.

    Parameters
    ----------
    labels, figures
        (R,) ascending, and never rising.
    levels
        (L,) not above the first figure.
    """
    # The first of equal figures is where the level is reached.
    first = np.concatenate([[True], np.diff(figures) < 0])
    needed: FloatArray = np.interp(-levels, -figures[first], labels[first].astype(np.float64), right=float(labels[-1]))
    return needed


def _shares(labels: IntArray, random: FloatArray, policy: FloatArray) -> tuple[float, float, float, float]:
    """Return the saving of new labels, of all labels, at the best level, and at the lowest level."""
    theirs, ours = falling(random), falling(policy)
    top, bottom = min(theirs[0], ours[0]), min(theirs[-1], ours[-1])
    if not bottom < top:  # neither has learned anything: nothing can be compared
        return 0.0, 0.0, 0.0, 0.0
    levels = np.linspace(top, bottom, LEVELS + 1)[1:]
    needed_theirs, needed_ours = labels_needed(labels, theirs, levels), labels_needed(labels, ours, levels)
    new_theirs, new_ours = needed_theirs - labels[0], needed_ours - labels[0]
    shares = 1 - new_ours / new_theirs  # below the first figure, so never without a new label
    return (
        float(1 - new_ours.sum() / new_theirs.sum()),
        float(1 - needed_ours.sum() / needed_theirs.sum()),
        float(shares.max()),
        float(shares[-1]),
    )
