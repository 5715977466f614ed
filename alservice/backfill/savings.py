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

from alservice.acquisition.votes import CostModel
from alservice.backfill.plan import Round, Target
from alservice.errors import BadInput, BadVotes
from alservice.science.bootstrap import Estimate, percentile_estimate
from alservice.science.pmf import binomial_pmf, entropy
from alservice.science.scorecard import TextTable
from alservice.shapes import FloatArray, IntArray

SURVEYS: Final = ((240_000, "GZ2"), (10_000_000, "DESI"), (1_000_000_000, "Rubin and Euclid"))
"""Galaxies of the surveys whose costs are tabled."""

CLASSIFICATIONS_PER_DAY: Final = 30_000.0
"""Assumed where no ledger has measured it: the order of Galaxy Zoo's quiet weeks."""

Runs = Sequence[Sequence[Round]]
"""The rounds of a policy, seed by seed."""


def savings_table(found: Sequence[Saving]) -> TextTable:
    """Return labels saved at equal error, both ways of counting, with 95 % intervals."""
    metric = found[0].metric if found else "-"
    return TextTable(
        title=f"Labels saved against random at equal {metric}, averaged over the curve; 95 % intervals over seeds and "
        "galaxies",
        head=("policy", "new labels", "with the initial set", "best point", "at the end", "mean gain", "seeds better"),
        rows=tuple(
            (
                s.policy,
                _percent(s.new_labels),
                _percent(s.all_labels),
                f"{100 * s.best:+.0f} %",
                f"{100 * s.at_end:+.0f} %",
                f"{s.gain.value:+.4f} [{s.gain.low:+.4f}, {s.gain.high:+.4f}]",
                f"{s.seeds_better} of {s.seeds}",
            )
            for s in found
        ),
    )


def rounds_table(policies: Sequence[tuple[str, Runs]]) -> TextTable:
    """Return the first and last round of every policy, means over seeds."""
    rows = []
    for policy, runs in policies:
        for place in (0, -1):
            rounds = [run[place] for run in runs]
            rows.append(
                (
                    policy,
                    f"{rounds[0].labels:,}",
                    f"{np.mean([r.votes for r in rounds]):,.0f}",
                    f"{np.mean([r.nll_per_vote for r in rounds]):.4f}",
                    _mean([r.rmse for r in rounds], "{:.4f}"),
                    _mean([r.coverage_error for r in rounds], "{:+.1%}"),
                )
            )
    return TextTable(
        title="First and last round, means over seeds; the votes are those of the labelled galaxies",
        head=("policy", "labels", "votes", "NLL/vote [nats]", "RMSE", "coverage error .10"),
        rows=tuple(rows),
    )


def floor_table(policies: Sequence[tuple[str, Runs]], *, noise: float | None, nll: float) -> TextTable:
    """Return how far first and last rounds are above what a perfect prediction would have, means over seeds.

    Parameters
    ----------
    noise, nll
        RMSE from the noise of the votes (None: not judged), and a lower bound of the NLL per vote (nats). The model's
        part of an RMSE is what is left of its square, as the two errors are independent.
    """
    rows = []
    for policy, runs in policies:
        for place in (0, -1):
            rounds = [run[place] for run in runs]
            found = np.mean([r.nll_per_vote for r in rounds])
            rows.append(
                (policy, f"{rounds[0].labels:,}", f"{found - nll:.4f}", _above([r.rmse for r in rounds], noise))
            )
    error = "" if noise is None else f", and an RMSE of {noise:.4f}"
    return TextTable(
        title=f"A perfect prediction would have an NLL of at least {nll:.4f} nats per vote{error}; what is above it",
        head=("policy", "labels", "NLL/vote above it [nats]", "RMSE without the noise"),
        rows=tuple(rows),
    )


def gate_table(policies: Sequence[tuple[str, Runs]]) -> TextTable:
    """Return how often the gate promoted, held and rejected, after first models."""
    kinds = ("promote", "hold", "reject")
    rows = []
    for policy, runs in policies:
        verdicts = [done.verdict for run in runs for done in run[1:]]
        rows.append((policy, *(str(verdicts.count(kind)) for kind in kinds)))
    return TextTable(
        title="The gate's verdicts on candidates after the first; a candidate that is not promoted does not choose",
        head=("policy", *kinds),
        rows=tuple(rows),
    )


def time_table(policies: Sequence[tuple[str, Runs]]) -> TextTable:
    """Return seconds per round by what they were spent on, means over seeds and rounds."""
    kinds = ("predict", "train", "evaluate")
    rows = []
    for policy, runs in policies:
        rounds = [done for run in runs for done in run[1:]]
        mean = [np.mean([r.seconds.get(kind, 0.0) for r in rounds]) if rounds else 0.0 for kind in kinds]
        whole = np.mean([sum(sum(r.seconds.values()) for r in run) for run in runs])
        rows.append((policy, *(f"{value:.1f}" for value in mean), f"{whole:.0f}"))
    return TextTable(
        title="Wall time in seconds per round, and per run; runs share the machine",
        head=("policy", *kinds, "whole run"),
        rows=tuple(rows),
    )


def cost_table(model: CostModel, saving: Saving, labels: int) -> TextTable:
    """Return what labelling costs, at random and as the policy chooses, for surveys of some sizes.

    Parameters
    ----------
    labels
        New labels that random drawing needs for the error that is compared.
    """
    rows = []
    for survey, name in SURVEYS:
        for kind, share in (("random", 0.0), (saving.policy, saving.new_labels.value)):
            cost = model.cost(labels=labels * (1 - share), survey=survey)
            rows.append(
                (
                    f"{name} ({survey:,})",
                    kind,
                    f"{labels * (1 - share):,.0f}",
                    f"{cost.votes:,.0f}",
                    f"{cost.volunteer_days:,.1f}",
                    f"{cost.machine_hours:,.1f}",
                )
            )
    return TextTable(
        title=f"At {model.votes_per_galaxy:.0f} votes a galaxy, {model.classifications_per_day:,.0f} classifications a "
        f"day (assumed); machine hours of {model.trainings} trainings and predictions of the survey as measured here",
        head=("survey", "choice", "new labels", "votes", "volunteer days", "machine hours"),
        rows=tuple(rows),
    )


def _above(rmse: Sequence[float | None], noise: float | None) -> str:
    """Return what is left of a mean square error without its noise, as a root."""
    squares = [value**2 for value in rmse if value is not None]
    if noise is None or not squares:
        return "-"
    left = np.mean(squares) - noise**2
    return f"{np.sqrt(left):.4f}" if left >= 0 else "none"


def _percent(estimate: Estimate) -> str:
    return f"{100 * estimate.value:+.0f} % [{100 * estimate.low:+.0f}, {100 * estimate.high:+.0f}]"


def _mean(values: Sequence[float | None], form: str) -> str:
    known = [value for value in values if value is not None]
    return form.format(np.mean(known)) if known else "-"


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


def vote_noise(target: Target, counts: IntArray, *, min_votes: int) -> float | None:
    """Return the RMSE that a perfect prediction would have, from the votes' own noise; None on a whole tree.

    The variance of k/N is estimated without bias by (k/N)(1 - k/N)/(N - 1), galaxy by galaxy.

    Raises
    ------
    BadVotes
        No galaxy has enough votes.
    """
    if target.answer is None:
        return None
    asked = counts.sum(axis=1).astype(np.float64)
    judged = asked >= max(min_votes, 2)
    if not judged.any():
        raise BadVotes(f"no galaxy has {min_votes} votes on {target.tree.questions[0].name}")
    share = counts[judged, target.answer] / asked[judged]
    return float(np.sqrt((share * (1 - share) / (asked[judged] - 1)).mean()))


def likelihood_floor(target: Target, counts: IntArray) -> float:
    """Return a lower bound of the NLL per vote (nats) that a perfect prediction is expected to have.

    A prediction that knows the true fractions pays the entropy of the votes. Answer after answer those are binomial,
    of the votes that earlier answers left, and the entropy of a binomial is concave in its probability (Shepp & Olkin
    1981): put in the observed share for the true one, and its mean can only be too small.

    Parameters
    ----------
    counts
        (N, A) votes on the target's answers.

    Raises
    ------
    BadVotes
        There is no vote at all.
    """
    if not counts.any():
        raise BadVotes("the test galaxies have no votes")
    nats = 0.0
    for answers in target.tree.slices:
        votes = counts[:, answers]
        left = votes[:, ::-1].cumsum(axis=1)[:, ::-1]
        nats += _binomial_entropies(votes[:, :-1].ravel(), left[:, :-1].ravel()).sum()
    return float(nats / counts.sum())


def _binomial_entropies(k: IntArray, n: IntArray) -> FloatArray:
    """Return the entropy (nats) of n votes with probability k/n, each; 0 of no votes."""
    pairs, places = np.unique(np.stack([k, n], axis=1), axis=0, return_inverse=True)
    known = np.zeros(len(pairs))
    for votes in np.unique(pairs[:, 1][pairs[:, 1] > 0]).tolist():
        rows = pairs[:, 1] == votes
        known[rows] = entropy(binomial_pmf(pairs[rows, 0] / votes, votes))
    nats: FloatArray = known[places.ravel()]
    return nats
