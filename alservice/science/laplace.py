"""A Bayesian linear head in closed form: Laplace's approximation of softmax regressions on votes, one per question.

Of each question, logits are linear in a galaxy's features, weights have a normal prior, and votes are Dirichlet-
multinomial about the softmax with one precision s. The fit takes votes as multinomial, each galaxy's n votes worth
(1 + s) / (n + s) of as many independent ones: what over-dispersion leaves of their information. That keeps the
posterior log-concave, so that Newton's method finds the one mode. The inverse Hessian there is the covariance (MacKay
1992; Daxberger et al. 2021, arXiv:2106.14806). Prior precision, temper and s are chosen on a validation part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from alservice.errors import BadInput, BadVotes, NumericalFault
from alservice.science.pmf import log_rising
from alservice.science.tree import Tree
from alservice.shapes import BoolArray, FloatArray, IntArray

PRIOR_PRECISIONS: Final = tuple(10.0 ** (power / 2) for power in range(-6, 3))
"""Tried on the validation part, from 0.001 to 10, for features of mean square length 1."""

TEMPERS: Final = (0.25, 0.5, 1.0, 2.0)
PRECISIONS: Final = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
"""Tried on the validation part: worth of the likelihood, and Dirichlet precision s of the votes about the softmax."""

_BIAS_PRECISION: Final = 0.1
"""Prior precision of the constant term: of logits that no feature explains."""

_FIRST_TEMPER, _FIRST_PRECISION = 1.0, 16.0
_STEPS: Final = 60
_CONVERGED_NATS: Final = 1e-8
_VALIDATION_DRAWS: Final = 20


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Features:
    """A linear map of embeddings to features: principal components whose mean square length is 1, and a constant.

    Parameters
    ----------
    centre
        (E,) mean of the embeddings it was made of.
    directions
        (E, F - 1) components, scaled.
    """

    centre: FloatArray
    directions: FloatArray

    @classmethod
    def of(cls, embeddings: FloatArray, *, most: int) -> Features:
        """Return the map of a sample of embeddings (M, E) to at most `most` components.

        Raises
        ------
        BadInput
            Fewer than two embeddings, or all the same.
        NumericalFault
            One is not finite.
        """
        embeddings = np.asarray(embeddings, dtype=np.float64)
        if embeddings.ndim != 2 or len(embeddings) < 2:
            raise BadInput(f"features need the embeddings of at least two galaxies, not {embeddings.shape}")
        if not np.isfinite(embeddings).all():
            raise NumericalFault("an embedding is not finite")
        centre = embeddings.mean(axis=0)
        centred = embeddings - centre
        variances, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
        kept = np.argsort(-variances)[: min(most, len(embeddings) - 1)]
        kept = kept[variances[kept] > 1e-9 * variances.max()]
        if len(kept) == 0:
            raise BadInput("all embeddings are the same: there is nothing to tell galaxies apart by")
        return cls(centre=centre, directions=vectors[:, kept] / math.sqrt(variances[kept].sum()))

    def __call__(self, embeddings: FloatArray) -> FloatArray:
        """Return features (N, F) of embeddings (N, E), the constant 1 last."""
        found = (np.asarray(embeddings, dtype=np.float64) - self.centre) @ self.directions
        return np.concatenate([found, np.ones((len(found), 1))], axis=1)

    def on_embeddings(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return weights (T, E, A) and constants (T, A) for embeddings that say what weights (T, F, A) say."""
        matrices: FloatArray = self.directions @ weights[:, :-1]
        return matrices, weights[:, -1] - self.centre @ matrices


@dataclass(frozen=True, kw_only=True, slots=True)
class Prior:
    """What a question's fit takes as given.

    Parameters
    ----------
    prior_precision
        Of the weights, beside a likelihood of temper 1; the mode depends on it, and not on the temper.
    temper
        Factor on prior and likelihood together: below 1 the posterior is wider than the votes say.
    precision
        s, the Dirichlet precision of votes about the softmax.
    """

    prior_precision: float
    temper: float = _FIRST_TEMPER
    precision: float = _FIRST_PRECISION

    def __post_init__(self) -> None:
        """Refuse what is not finite and positive."""
        if not all(0 < number < math.inf for number in (self.prior_precision, self.temper, self.precision)):
            raise BadInput(f"prior precision, temper and precision must be finite and positive, not {self}")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LaplaceQuestion:
    """The normal posterior of one question's weights.

    Parameters
    ----------
    mode
        (F, A - 1) coordinates on `contrasts(A)`.
    root
        (D, D) lower Cholesky factor of the Hessian at the mode with temper 1, D = F (A - 1), contrasts slowest.
    """

    mode: FloatArray
    root: FloatArray
    prior: Prior

    @property
    def n_answers(self) -> int:
        """Answers of the question."""
        return int(self.mode.shape[1]) + 1

    def weights(self, noise: FloatArray) -> FloatArray:
        """Return draws (T, F, A) of the weights from standard normal noise (T, D); their sum over answers is 0."""
        shifts = np.linalg.solve(self.root.T, noise.T).T / math.sqrt(self.prior.temper)
        coordinates = self.mode + shifts.reshape(len(noise), self.mode.shape[1], -1).swapaxes(1, 2)
        drawn: FloatArray = coordinates @ contrasts(self.n_answers).T
        return drawn

    def concentrations(self, features: FloatArray, noise: FloatArray) -> FloatArray:
        """Return draws (N, T, A) of the concentrations of galaxies with features (N, F)."""
        shares: FloatArray = _softmax(np.tensordot(features, self.weights(noise), axes=(1, 1)))
        drawn: FloatArray = np.maximum(self.prior.precision * shares, np.finfo(np.float32).tiny)
        return drawn


def contrasts(n_answers: int) -> FloatArray:
    """Return an orthonormal basis (A, A - 1) of logits that sum to 0 (Helmert's): a prior on it favours no answer."""
    basis = np.zeros((n_answers, n_answers - 1))
    for column in range(n_answers - 1):
        basis[: column + 1, column] = 1
        basis[column + 1, column] = -(column + 1)
    scaled: FloatArray = basis / np.linalg.norm(basis, axis=0)
    return scaled


def fit_question(
    features: FloatArray, counts: FloatArray | IntArray, prior: Prior, *, start: FloatArray | None = None
) -> LaplaceQuestion:
    """Return the posterior of one question's weights.

    Parameters
    ----------
    features
        (N, F), the constant last.
    counts
        (N, A) votes, not negative; galaxies that nobody was asked about teach nothing.
    start
        (F, A - 1) mode to start Newton's method from; zeros where None. The result does not depend on it.

    Raises
    ------
    BadInput
        Shapes do not fit.
    BadVotes
        A count is negative or not finite.
    NumericalFault
        A feature is not finite, or Newton's method does not converge.
    """
    x, k = np.asarray(features, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    if x.ndim != 2 or k.ndim != 2 or len(x) != len(k) or k.shape[1] < 2 or x.shape[1] < 1:
        raise BadInput(f"features {x.shape} and votes {k.shape}: no question of at least two answers")
    if not (np.isfinite(k).all() and (k >= 0).all()):
        raise BadVotes("votes must be finite and not negative")
    if not np.isfinite(x).all():
        raise NumericalFault("a feature is not finite")
    asked = k.sum(axis=1)
    x, k, n = x[asked > 0], k[asked > 0], asked[asked > 0]
    worth = (1 + prior.precision) / (n + prior.precision)
    objective = _Objective(x, k * worth[:, None], n * worth, prior.prior_precision)
    mode = np.zeros((x.shape[1], k.shape[1] - 1)) if start is None else start
    mode = objective.minimise(mode)
    return LaplaceQuestion(mode=mode, root=np.linalg.cholesky(objective.hessian(mode)), prior=prior)


@dataclass(frozen=True, slots=True, eq=False)
class _Objective:
    """The negative log posterior (nats) of weights, its gradient and its Hessian."""

    x: FloatArray
    votes: FloatArray
    total: FloatArray
    prior_precision: float

    def minimise(self, mode: FloatArray) -> FloatArray:
        value = self.value(mode)
        for _ in range(_STEPS):
            gradient = self.gradient(mode)
            step = np.linalg.solve(self.hessian(mode), gradient.T.ravel())
            gain = float(gradient.T.ravel() @ step)
            direction, length = step.reshape(mode.shape[::-1]).T, 1.0
            if gain < _CONVERGED_NATS:
                return mode - direction  # so near, a whole step doubles the digits
            while (new := self.value(mode - length * direction)) > value - 0.25 * length * gain and length > 1e-8:
                length /= 2
            mode, value = mode - length * direction, new
        raise NumericalFault(f"a linear head did not converge in {_STEPS} steps of Newton's method")

    def value(self, mode: FloatArray) -> float:
        logits = self._logits(mode)
        peak = logits.max(axis=1)
        log_sums = peak + np.log(np.exp(logits - peak[:, None]).sum(axis=1))
        return float(self.total @ log_sums - (self.votes * logits).sum() + 0.5 * float((self._prior @ mode**2).sum()))

    def gradient(self, mode: FloatArray) -> FloatArray:
        surprise = self.total[:, None] * _softmax(self._logits(mode)) - self.votes
        gradient: FloatArray = self.x.T @ surprise @ contrasts(mode.shape[1] + 1) + self._prior[:, None] * mode
        return gradient

    def hessian(self, mode: FloatArray) -> FloatArray:
        """Return the Hessian (D, D), contrasts slowest."""
        n_features, n_contrasts = mode.shape
        basis = contrasts(n_contrasts + 1)
        shares = _softmax(self._logits(mode))
        along = shares @ basis
        hessian = np.empty((n_contrasts, n_features, n_contrasts, n_features))
        for c in range(n_contrasts):
            for d in range(c + 1):
                curvature = self.total * (shares @ (basis[:, c] * basis[:, d]) - along[:, c] * along[:, d])
                block = (self.x * curvature[:, None]).T @ self.x
                if c == d:
                    block.flat[:: n_features + 1] += self._prior
                hessian[c, :, d] = block
                hessian[d, :, c] = block
        return hessian.reshape(mode.size, mode.size)

    @property
    def _prior(self) -> FloatArray:
        precision = np.full(self.x.shape[1], self.prior_precision)
        precision[-1] = _BIAS_PRECISION
        return precision

    def _logits(self, mode: FloatArray) -> FloatArray:
        logits: FloatArray = self.x @ mode @ contrasts(mode.shape[1] + 1).T
        return logits


def choose_prior(
    features: FloatArray,
    counts: FloatArray | IntArray,
    held_out: BoolArray,
    *,
    seed: int,
    prior_precisions: Sequence[float] = PRIOR_PRECISIONS,
    first: Prior | None = None,
) -> Prior:
    """Return the prior under which galaxies that are held out (N,) have the likeliest votes.

    One after the other, each by the mixture over draws: the prior precision, then the temper, then s.

    Parameters
    ----------
    features, counts
        As `fit_question`.
    seed
        Of the draws that the choice is made with.
    first
        Temper and s that the prior precision is chosen under, and what is returned where nobody held out, or nobody
        else, was asked.
    """
    found = Prior(prior_precision=0.1) if first is None else first
    counts = np.asarray(counts, dtype=np.float64)
    asked = counts.sum(axis=1) > 0
    learn, judge = asked & ~held_out, asked & held_out
    if not learn.any() or not judge.any():
        return found
    votes, of_judged = counts[judge], features[judge]
    noise = np.random.default_rng(seed).standard_normal((_VALIDATION_DRAWS, features.shape[1] * (counts.shape[1] - 1)))

    def nll(question: LaplaceQuestion) -> float:
        return mixture_nll(question.concentrations(of_judged, noise), votes)

    fitted: list[LaplaceQuestion] = []
    for precision in sorted(prior_precisions, reverse=True):
        start = fitted[-1].mode if fitted else None
        prior = replace(found, prior_precision=precision)
        fitted.append(fit_question(features[learn], counts[learn], prior, start=start))
    best = min(fitted, key=nll)
    best = min((replace(best, prior=replace(best.prior, temper=temper)) for temper in TEMPERS), key=nll)
    best = min((replace(best, prior=replace(best.prior, precision=s)) for s in PRECISIONS), key=nll)
    return best.prior


def mixture_nll(concentrations: FloatArray, counts: FloatArray) -> float:
    """Return the negative log likelihood (nats, summed) of votes (N, A) under mixtures of draws (N, T, A).

    As votes in the order they came: without the multinomial coefficient, which no draw changes.
    """
    rising = log_rising(concentrations, counts[:, None]).sum(axis=-1)
    log_p = rising - log_rising(concentrations.sum(axis=-1), counts.sum(axis=-1)[:, None])
    peak = log_p.max(axis=1)
    return float(-(peak + np.log(np.exp(log_p - peak[:, None]).mean(axis=1))).sum())


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LaplaceHead:
    """The posteriors of all questions of a tree, independent of each other."""

    tree: Tree
    questions: tuple[LaplaceQuestion, ...]

    def noise(self, draws: int, *, seed: int) -> tuple[FloatArray, ...]:
        """Return standard normal noise (T, D) for each question; more draws begin with the fewer."""
        return tuple(
            np.random.default_rng([seed, place]).standard_normal((draws, question.mode.size))
            for place, question in enumerate(self.questions)
        )

    def concentrations(self, features: FloatArray, *, draws: int, seed: int) -> FloatArray:
        """Return posterior draws (N, T, A); draw t has the same weights for every galaxy."""
        noises = self.noise(draws, seed=seed)
        parts = [q.concentrations(features, noise) for q, noise in zip(self.questions, noises, strict=True)]
        return np.concatenate(parts, axis=-1)

    def weights(self, *, draws: int, seed: int) -> FloatArray:
        """Return draws (T, F, A) of the weights of all answers."""
        noises = self.noise(draws, seed=seed)
        return np.concatenate([q.weights(noise) for q, noise in zip(self.questions, noises, strict=True)], axis=-1)


def fit_head(
    tree: Tree,
    features: FloatArray,
    counts: FloatArray | IntArray,
    priors: Sequence[Prior],
    *,
    before: LaplaceHead | None = None,
) -> LaplaceHead:
    """Return the posterior of a head on features (N, F) and votes (N, A), one prior per question.

    Raises
    ------
    BadInput, BadVotes, NumericalFault
        As `fit_question`.
    """
    starts = [None] * tree.n_questions if before is None else [question.mode for question in before.questions]
    fitted = [
        fit_question(features, counts[:, answers], prior, start=start)
        for answers, prior, start in zip(tree.slices, priors, starts, strict=True)
    ]
    return LaplaceHead(tree=tree, questions=tuple(fitted))


def _softmax(logits: FloatArray) -> FloatArray:
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: FloatArray = raised / raised.sum(axis=-1, keepdims=True)
    return shares
