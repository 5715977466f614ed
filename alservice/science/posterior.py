"""The posterior of a set of galaxies: T draws of answer concentrations, and the fractions they imply."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from alservice.errors import BadInput, BadVotes, NumericalFault
from alservice.ids import seed_of
from alservice.science.pmf import log_rising, mixture_quantiles
from alservice.science.tree import Tree
from alservice.science.votes import check_counts
from alservice.shapes import BoolArray, FloatArray, IntArray

INTERVAL = (0.05, 0.95)
"""Levels of the reported interval: 90 % of the posterior lies inside."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Posterior:
    """T posterior draws per galaxy from one model; making an invalid one raises.

    Each draw is a Dirichlet over the answers of every question: its concentrations. Draw t is the same
    network for every galaxy, so that joint quantities are valid.

    Parameters
    ----------
    galaxy_ids
        N unique ids.
    concentrations
        float32 (N, T, A), finite and positive, answers in tree order.
    embeddings
        float16 (N, E), finite; E may be 0.
    tree_hash
        Version of the label schema that the A columns follow.
    model
        Name or digest of the model.

    Raises
    ------
    BadInput
        If ids repeat, or a shape or dtype is wrong.
    NumericalFault
        If a value is not finite, or a concentration not positive; the galaxy is named.
    """

    galaxy_ids: tuple[str, ...]
    concentrations: FloatArray
    embeddings: FloatArray
    tree_hash: str
    model: str

    def __post_init__(self) -> None:
        """Refuse ids, shapes or values that cannot be a posterior."""
        n_galaxies = len(self.galaxy_ids)
        repeated = [galaxy_id for galaxy_id, count in Counter(self.galaxy_ids).items() if count > 1]
        if repeated:
            raise BadInput(f"galaxy {repeated[0]!r} occurs twice in one posterior", galaxies=repeated[:20])
        shape, dtype = self.concentrations.shape, self.concentrations.dtype
        if len(shape) != 3 or 0 in shape[1:] or shape[0] != n_galaxies or dtype != np.float32:
            raise BadInput(f"concentrations must be float32 ({n_galaxies}, draws, answers), not {dtype} {shape}")
        shape, dtype = self.embeddings.shape, self.embeddings.dtype
        if len(shape) != 2 or shape[0] != n_galaxies or dtype != np.float16:
            raise BadInput(f"embeddings must be float16 ({n_galaxies}, dimensions), not {dtype} {shape}")
        valid = (self.concentrations > 0) & (self.concentrations < np.inf)
        self._refuse(valid, "a concentration that is not finite and positive")
        self._refuse(np.isfinite(self.embeddings), "an embedding that is not finite")

    @property
    def n_draws(self) -> int:
        """T, the number of draws."""
        return int(self.concentrations.shape[1])

    def probabilities(self, tree: Tree) -> FloatArray:
        """Return the probability of each answer among those asked its question: float32 (N, T, A).

        Raises
        ------
        BadInput
            If the posterior follows another tree.
        """
        check_tree(tree, self)
        return answer_probabilities(tree, self.concentrations)

    def _refuse(self, valid: BoolArray, what: str) -> None:
        if not valid.all():
            galaxies = [self.galaxy_ids[row] for row in np.unique(np.nonzero(~valid)[0])[:20]]
            raise NumericalFault(f"galaxy {galaxies[0]!r} has {what}", galaxies=galaxies, model=self.model)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Summaries:
    """Mean and 90 % interval of every answer fraction among those asked: float32 (N, A), in tree order."""

    galaxy_ids: tuple[str, ...]
    mean: FloatArray
    low: FloatArray
    high: FloatArray


def check_tree(tree: Tree, posterior: Posterior) -> None:
    """Raise `BadInput` unless the posterior's columns are this tree's answers."""
    if posterior.tree_hash != tree.hash or posterior.concentrations.shape[2] != tree.n_answers:
        raise BadInput(
            f"the posterior of model {posterior.model!r} does not follow tree {tree.name!r}",
            tree_hash=tree.hash,
            posterior_tree_hash=posterior.tree_hash,
        )


def question_totals(tree: Tree, values: FloatArray | IntArray) -> FloatArray:
    """Return (..., Q) sums over each question's answers of (..., A) values, in their dtype."""
    return np.add.reduceat(values, [answers.start for answers in tree.slices], axis=-1)


def answer_probabilities(tree: Tree, concentrations: FloatArray) -> FloatArray:
    """Return (..., A) mean probability of each answer: its concentration over its question's total."""
    return concentrations / question_totals(tree, concentrations)[..., tree.question_of_answer]


def answer_and_rest(tree: Tree, concentrations: FloatArray, answer: int) -> tuple[FloatArray, FloatArray]:
    """Return the concentrations of one answer, and of all others of its question: float64 (...) each.

    They are the shapes of the Beta that the answer's fraction follows within a draw. The others are
    summed, not subtracted from the question's total, which would cancel for a dominant answer.
    """
    answers = tree.slices[tree.question_of_answer[answer]]
    question = concentrations[..., answers].astype(np.float64)
    own = answer - answers.start
    return question[..., own], np.delete(question, own, axis=-1).sum(axis=-1)


def summaries(tree: Tree, posterior: Posterior) -> Summaries:
    """Return mean and 5 and 95 % quantiles of every answer fraction.

    Within a draw an answer's fraction is Beta(a, s - a), s its question's total; over draws it is their
    equal-weight mixture. Its quantiles hold both the draw's own width and the variance between draws, which
    the median of per-draw quantiles (as in Zoobot) leaves out. They are found by quadrature, see
    `beta_mixture`.

    Parameters
    ----------
    tree
        The tree that the posterior follows.
    posterior
        N galaxies.

    Raises
    ------
    BadInput
        If the posterior follows another tree.
    """
    check_tree(tree, posterior)
    shape = (len(posterior.galaxy_ids), tree.n_answers)
    mean, low, high = (np.empty(shape, dtype=np.float32) for _ in range(3))
    for answer in range(tree.n_answers):
        a, b = answer_and_rest(tree, posterior.concentrations, answer)
        mean[:, answer] = (a / (a + b)).mean(axis=1)
        low[:, answer], high[:, answer] = mixture_quantiles(a, b, INTERVAL).T
    return Summaries(galaxy_ids=posterior.galaxy_ids, mean=mean, low=low, high=high)


def take(posterior: Posterior, rows: IntArray) -> Posterior:
    """Return the posterior of some galaxies, in the order of `rows` (indices, each at most once)."""
    return Posterior(
        galaxy_ids=tuple(posterior.galaxy_ids[row] for row in rows),
        concentrations=posterior.concentrations[rows],
        embeddings=posterior.embeddings[rows],
        tree_hash=posterior.tree_hash,
        model=posterior.model,
    )


def concat(posteriors: Sequence[Posterior]) -> Posterior:
    """Join shards of one model's posterior, in order.

    Raises
    ------
    BadInput
        If there are none, they come from different models, trees or numbers of draws, or a galaxy occurs
        twice.
    """
    kinds = {(p.model, p.tree_hash, p.concentrations.shape[1:], p.embeddings.shape[1:]) for p in posteriors}
    if len(kinds) != 1:
        raise BadInput(
            f"only shards of one model, tree and size can be joined, not {len(kinds)} kinds",
            kinds=sorted(map(str, kinds)),
        )
    return Posterior(
        galaxy_ids=tuple(galaxy_id for p in posteriors for galaxy_id in p.galaxy_ids),
        concentrations=np.concatenate([p.concentrations for p in posteriors]),
        embeddings=np.concatenate([p.embeddings for p in posteriors]),
        tree_hash=posteriors[0].tree_hash,
        model=posteriors[0].model,
    )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PredictionTable:
    """Predictions of N galaxies in numbers that a file keeps.

    Parameters
    ----------
    mean, low, high
        float32 (N, A) mean, 5 % and 95 % quantile of each answer's fraction among those asked.
    precision
        float32 (N, Q) precision of the Dirichlet with that mean and the posterior's total variance.
    draws
        float32 (N, T, A) draws of the fractions, which sum to 1 per question; None where not asked for.
    """

    galaxy_ids: tuple[str, ...]
    mean: FloatArray
    low: FloatArray
    high: FloatArray
    precision: FloatArray
    draws: FloatArray | None = None


def predictions(tree: Tree, posterior: Posterior, *, draws_seed: int | None = None) -> PredictionTable:
    """Return the table of a posterior; with a seed, also as many draws of the fractions as the posterior has.

    Raises
    ------
    BadInput
        If the posterior follows another tree.
    """
    summary = summaries(tree, posterior)
    return PredictionTable(
        galaxy_ids=posterior.galaxy_ids,
        mean=summary.mean,
        low=summary.low,
        high=summary.high,
        precision=_mixture_precision(tree, posterior.concentrations),
        draws=None if draws_seed is None else fraction_draws(tree, posterior, seed=draws_seed),
    )


def fraction_draws(tree: Tree, posterior: Posterior, *, seed: int) -> FloatArray:
    """Return draws of the answer fractions: float32 (N, T, A), from draw t of the network one of its Dirichlet.

    They hold both spreads, between the networks and within each, so votes are binomial given a draw. They are
    stratified: each stick that is broken off for an answer takes the T evenly spaced quantiles of its mixture, in the
    order of a plain sample. Coverage errors of 30 such draws are within 1 % of those of the whole mixture, of 30 plain
    ones 1 to 3 % too high. A galaxy's draws depend on the seed and its id alone, whatever shard it is in.

    Raises
    ------
    BadInput
        If the posterior follows another tree.
    """
    check_tree(tree, posterior)
    alpha = posterior.concentrations.astype(np.float64)
    levels = ((np.arange(posterior.n_draws) + 0.5) / posterior.n_draws).tolist()
    later = [(a, part.stop) for part in tree.slices for a in range(part.start, part.stop - 1)]
    own = np.stack([alpha[..., a] for a, _ in later], axis=-1)
    rest = np.stack([alpha[..., a + 1 : stop].sum(axis=-1) for a, stop in later], axis=-1)
    plain = np.empty_like(own)
    for row, galaxy_id in enumerate(posterior.galaxy_ids):
        plain[row] = np.random.default_rng(seed_of(seed, "fractions", galaxy_id)).beta(own[row], rest[row])
    drawn, left = np.empty_like(alpha), np.ones(alpha.shape[:2])
    for place, (answer, stop) in enumerate(later):
        ranks = plain[..., place].argsort(axis=1).argsort(axis=1)
        stick = np.take_along_axis(mixture_quantiles(own[..., place], rest[..., place], levels), ranks, axis=1)
        drawn[..., answer], left = left * stick, left * (1 - stick)
        if answer + 2 == stop:
            drawn[..., answer + 1], left = left, np.ones_like(left)
    return drawn.astype(np.float32)


def posterior_of(tree: Tree, table: PredictionTable, *, model: str) -> Posterior:
    """Return the posterior that a table states: one Dirichlet per galaxy and question.

    Raises
    ------
    BadInput
        If the shapes are not those of the tree.
    NumericalFault
        If a mean or a precision is not positive and finite; the galaxy is named.
    """
    n_galaxies = len(table.galaxy_ids)
    if table.mean.shape != (n_galaxies, tree.n_answers) or table.precision.shape != (n_galaxies, tree.n_questions):
        raise BadInput(f"means {table.mean.shape}, precisions {table.precision.shape} do not fit tree {tree.name!r}")
    alpha = (table.mean.astype(np.float64) * table.precision[:, tree.question_of_answer]).astype(np.float32)
    return Posterior(
        galaxy_ids=table.galaxy_ids,
        concentrations=alpha[:, None, :],
        embeddings=np.zeros((n_galaxies, 0), dtype=np.float16),
        tree_hash=tree.hash,
        model=model,
    )


def _mixture_precision(tree: Tree, concentrations: FloatArray) -> FloatArray:
    """Return the precision (N, Q) of the Dirichlet with the mean and total variance of T ones, (N, T, A).

    For a Dirichlet, the variances of a question's answers sum to h / (s + 1), h = sum m (1 - m). The mixture's sum is
    V = <h_t / (s_t + 1)> + the variances of m_t; hence s = (h - V) / V, where h - V = <h_t s_t / (s_t + 1)> exactly,
    a sum of positive terms: nothing cancels.
    """
    alpha = concentrations.astype(np.float64)
    totals = question_totals(tree, alpha)
    others = totals[..., tree.question_of_answer] - alpha
    share = alpha / totals[..., tree.question_of_answer]
    h = question_totals(tree, share * np.maximum(others, 0) / totals[..., tree.question_of_answer])
    within = (h / (totals + 1)).mean(axis=1)
    between = question_totals(tree, share.var(axis=1))
    explained = (h * totals / (totals + 1)).mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision: FloatArray = (explained / (within + between)).astype(np.float32)
    if not np.isfinite(precision).all():
        row = int(np.argwhere(~np.isfinite(precision))[0, 0])
        raise NumericalFault(f"the posterior of galaxy in row {row} has no spread: its precision is not finite")
    return precision


class Mixture(NamedTuple):
    """The posterior of N galaxies after votes: T Dirichlets per question, each with a weight.

    Parameters
    ----------
    weights
        float64 (N, T), summing to 1 over a galaxy's draws.
    concentrations
        float64 (N, T, A), finite and positive, in tree order.
    """

    weights: FloatArray
    concentrations: FloatArray


def update(
    tree: Tree, concentrations: FloatArray, counts: IntArray | FloatArray, *, temper: FloatArray | None = None
) -> Mixture:
    """Return the posterior of model and votes: the exact mixture of Dirichlets after votes on every question.

    A draw's weight is the Dirichlet-multinomial likelihood that it gives to all votes of the galaxy; its Dirichlets
    gain the votes. Both follow from Bayes' theorem without approximation, for votes that are independent given a
    galaxy's fractions.

    Parameters
    ----------
    tree
        The tree of the Q questions and A answers.
    concentrations
        (N, T, A) posterior draws of the model.
    counts
        (N, A) votes, not negative; weighted votes need not be whole. A galaxy without any keeps its prior.
    temper
        (Q,) factor on each question's concentrations before the votes, finite and positive: below 1 the model counts
        as so many fewer votes. 1 for every question where None; `fit_temper` finds it.

    Returns
    -------
    Mixture
        Weights (N, T) and concentrations (N, T, A).

    Raises
    ------
    NumericalFault
        If a concentration is not finite and positive (rows are named), before or after tempering.
    BadVotes
        If counts have another shape, or no volunteers' walks can give them; the first row is named.
    BadInput
        If concentrations or factors do not fit the tree, or a factor is not finite and positive.
    """
    prior = tempered(tree, concentrations, temper)
    votes = checked_counts(tree, counts, len(prior))
    log_weights = question_evidence(tree, prior, votes).sum(axis=-1)
    log_weights -= log_weights.max(axis=1, keepdims=True)
    weights = np.exp(log_weights)
    weights /= weights.sum(axis=1, keepdims=True)
    prior += votes[:, None, :]
    return Mixture(weights, prior)


def tempered(tree: Tree, concentrations: FloatArray, temper: FloatArray | None) -> FloatArray:
    """Return a float64 copy of concentrations (N, T, A) times each question's factor (Q,); checks and raises both."""
    concentrations = np.asarray(concentrations)
    check_concentrations(concentrations)
    if concentrations.shape[2] != tree.n_answers:
        raise BadInput(f"tree {tree.name!r} has {tree.n_answers} answers, the concentrations {concentrations.shape[2]}")
    factors = np.ones(tree.n_questions) if temper is None else np.asarray(temper, dtype=np.float64)
    if factors.shape != (tree.n_questions,) or not np.all((factors > 0) & (factors < np.inf)):
        raise BadInput(f"tree {tree.name!r} needs {tree.n_questions} finite positive factors, not {factors}")
    scaled: FloatArray = concentrations * factors[tree.question_of_answer]
    check_concentrations(scaled)
    return scaled


def checked_counts(tree: Tree, counts: IntArray | FloatArray, n_galaxies: int) -> FloatArray:
    """Return (N, A) votes as float64 if volunteers' walks can give them."""
    given = np.asarray(counts)
    if given.shape != (n_galaxies, tree.n_answers) or given.dtype.kind not in "iuf":
        raise BadVotes(f"votes must be numbers ({n_galaxies}, {tree.n_answers}), not {given.dtype} {given.shape}")
    votes: FloatArray = given.astype(np.float64)
    check_counts(tree, votes, range(n_galaxies))
    return votes


def question_evidence(tree: Tree, concentrations: FloatArray, votes: FloatArray) -> FloatArray:
    """Return ln of the probability (N, T, Q) that each draw gives the votes of each question, in some order.

    Parameters
    ----------
    concentrations
        (N, T, A) float64.
    votes
        (N, A) float64; the number of orders, which is the same for every draw, is left out.
    """
    # Votes fall on few of a tree's answers: only those are worth a logarithm.
    given = np.zeros(concentrations.shape)
    rows, answers = np.nonzero(votes)
    given[rows, :, answers] = log_rising(concentrations[rows, :, answers], votes[rows, answers, None])
    evidence = question_totals(tree, given)
    asked, totals = question_totals(tree, votes), question_totals(tree, concentrations)
    rows, questions = np.nonzero(asked)
    evidence[rows, :, questions] -= log_rising(totals[rows, :, questions], asked[rows, questions, None])
    return evidence


ROUNDING_NATS = 1e-8
"""A difference of entropies may fall this far below zero by rounding (1000 votes, concentrations of 1e12).

Such a value is reported as 0, a lower one raises.
"""

MOST_VOTES = 1_000_000
"""The most votes that one galaxy is scored for: their probabilities still fit into memory."""

_ROWS_NAMED = 20


def refuse_rows(bad: BoolArray, what: str, error: type[BadVotes | NumericalFault]) -> None:
    """Raise an error that names up to twenty bad rows, and says how many there are."""
    if bad.any():
        rows = np.flatnonzero(bad)
        named = rows[:_ROWS_NAMED].tolist()
        others = f", and rows {', '.join(map(str, named[1:]))}" if len(named) > 1 else ""
        raise error(f"{what} of row {named[0]} is impossible{others} ({len(rows)} such rows)", rows=named)


def real_numbers(values: object, what: str) -> FloatArray:
    """Return `values` as an array, or refuse what is ragged or no real number."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise BadInput(f"{what} must be an array with rows of one length") from error
    if array.dtype.kind not in "fiub":
        raise BadInput(f"{what} must be real numbers, not {array.dtype}")
    return array


def check_rho(rho: FloatArray) -> None:
    """Refuse draws of an answer probability that are not (N, T) within [0, 1]."""
    if rho.ndim != 2 or rho.shape[1] == 0:
        raise BadInput(f"rho must be (galaxies, draws) with at least one draw, not {rho.shape}")
    # One look at the whole is cheap; NaN fails every comparison.
    if len(rho) and not (rho.min() >= 0 and rho.max() <= 1):
        refuse_rows(~((rho.min(axis=1) >= 0) & (rho.max(axis=1) <= 1)), "rho", NumericalFault)


def check_concentrations(alpha: FloatArray) -> None:
    """Refuse concentrations that are not (N, T, A), finite and positive."""
    if alpha.ndim != 3 or alpha.shape[1] < 1 or alpha.shape[2] < 2:
        raise BadInput(f"concentrations must be (galaxies, draws, two or more answers), not {alpha.shape}")
    if len(alpha) and not (alpha.min() > 0 and alpha.max() < np.inf):
        valid = (alpha.min(axis=(1, 2)) > 0) & (alpha.max(axis=(1, 2)) < np.inf)
        refuse_rows(~valid, "concentrations", NumericalFault)


def check_weights(tree: Tree, weights: FloatArray) -> FloatArray:
    """Return science weights (Q,) as float64 if each question has one, finite and not negative."""
    weights = np.asarray(weights, dtype=np.float64)
    if weights.shape != (tree.n_questions,) or not np.all((weights >= 0) & (weights < np.inf)):
        raise BadInput(f"tree {tree.name!r} needs {tree.n_questions} finite weights, none negative, not {weights}")
    return weights


def votes_per_galaxy(votes: int | IntArray, n_galaxies: int) -> IntArray:
    """Return (N,) votes to be cast from one integer or one per galaxy, none negative or beyond `MOST_VOTES`."""
    try:
        counts = np.asarray(votes)
    except ValueError as error:
        raise BadVotes(f"votes must be one integer or {n_galaxies}, not a ragged list") from error
    is_nothing = counts.shape == (n_galaxies,) == (0,)  # an empty list has no integers to show
    if counts.shape not in {(), (n_galaxies,)} or not (counts.dtype.kind in "iu" or is_nothing):
        raise BadVotes(f"votes must be one integer or {n_galaxies}, not {counts.dtype} {counts.shape}")
    counts = np.broadcast_to(counts, (n_galaxies,))
    refuse_rows((counts < 0) | (counts > MOST_VOTES), "the number of votes", BadVotes)
    return counts


def score_by_votes(counts: IntArray, score: Callable[[IntArray, int], FloatArray], *, tolerance: float) -> FloatArray:
    """Score the galaxies of each vote count together.

    Parameters
    ----------
    counts
        (N,) votes per galaxy; without votes the score is 0.
    score
        Scores rows, all with the same number of votes.
    tolerance
        How far below zero a score may be by the error of its method (nats); it is then reported as 0.

    Raises
    ------
    NumericalFault
        If a score is not finite or further below zero; the row is named.
    """
    scores = np.zeros(len(counts))
    for n in np.unique(counts[counts > 0]):
        rows = np.flatnonzero(counts == n)
        scores[rows] = score(rows, int(n))
    refuse_rows(~((scores >= -tolerance) & (scores < np.inf)), "the score", NumericalFault)
    return np.maximum(scores, 0)
