"""How likely the votes are: Dirichlet-multinomial per question, and binomial on one answer.

All questions of the tree are scored in one pass, value and slope together. What cancels between answers and total is
float64, because differences of a few nats between values of thousands are lost in float32. Sums over the answers of a
question have one order of additions: on a GPU they are products with the 0/1 membership matrix (A, Q), since scatter
operations do not promise it there.

Sources: Walmsley 2020 (MNRAS 491, 1554) eq. 1-6 for the binomial; Walmsley 2022 (MNRAS 509, 3966) for a
Dirichlet-multinomial per question. There concentrations are capped at 1..101; here they are a mean and a precision
without a cap, so that a unanimous vote and a split that is wider than uniform can both be expressed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, cast

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from alservice.errors import BadVotes, NumericalFault
from alservice.science.tree import Tree


def concentrations_from(
    logits: Tensor, log_precision: Tensor, tree: Tree, *, temperature: Tensor | None = None
) -> Tensor:
    """Return Dirichlet concentrations: per question, precision times softmax of the logits.

    Parameters
    ----------
    logits
        (..., A) in tree order; only differences within a question matter.
    log_precision
        (..., Q) natural logarithm of the precision, the sum of a question's concentrations.
    temperature
        (Q,) factor tau on the precision of each question; it leaves the means alone.

    Returns
    -------
    Tensor
        (..., A), strictly positive. There is no cap: what float32 cannot hold raises in the likelihood.
    """
    member = _membership(tree, logits)
    question = torch.tensor(tree.question_of_answer, device=logits.device)
    peak = torch.full_like(log_precision, -math.inf)
    # The shift only keeps exp() in range: the result does not depend on it, so it carries no gradient.
    peak = peak.scatter_reduce(-1, question.expand(logits.shape), logits.detach(), "amax")
    shifted = logits - peak @ member.T
    scale = log_precision - torch.log(torch.exp(shifted) @ member)
    if temperature is not None:
        scale = scale + torch.log(temperature)
    # The smallest normal float32 keeps lgamma finite where softmax underflows; it moves nothing above 1e-31.
    return torch.exp(shifted + scale @ member.T) + torch.finfo(torch.float32).tiny


def dirichlet_multinomial_nll(concentrations: Tensor, counts: Tensor, tree: Tree) -> Tensor:
    """Return the negative log-likelihood of every question's votes.

    Parameters
    ----------
    concentrations
        (..., A) positive, in tree order; float32 or float64.
    counts
        (..., A) votes, not negative, whole or not; broadcast against the concentrations.

    Returns
    -------
    Tensor
        (..., Q) nats, multinomial coefficient included, exactly 0 where nothing was asked; the dtype of the
        concentrations.

    Raises
    ------
    NumericalFault
        If a value is not finite, a concentration not positive, or a count negative.
    BadVotes
        If the last axis is not the tree's A answers.
    """
    _check(concentrations, counts, tree)
    return cast("Tensor", _apply(concentrations, counts, tree))


def mixture_nll(concentrations: Tensor, counts: Tensor, tree: Tree) -> Tensor:
    """Return the negative log-likelihood of votes under the mean over posterior draws.

    Parameters
    ----------
    concentrations
        (B, T, A) draws.
    counts
        (B, A) votes.

    Returns
    -------
    Tensor
        (B, Q) nats: -ln (1/T) sum_t p_t(votes of the question). Walmsley 2020 eq. 10.
    """
    nll = dirichlet_multinomial_nll(concentrations, counts.unsqueeze(1), tree)
    return math.log(concentrations.shape[1]) - torch.logsumexp(-nll, dim=1)


def binomial_nll(logits: Tensor, k: Tensor, n: Tensor) -> Tensor:
    """Return the negative log-likelihood of k votes for one answer out of n, Walmsley 2020 eq. 1-6.

    Parameters
    ----------
    logits
        (B,) log-odds of the answer: ln rho / (1 - rho). For a softmax over the answer and the rest this is the
        difference of its two inputs, and it keeps rho = 0 and rho = 1 within reach.
    k, n
        (B,) votes for the answer, and all votes on its question; whole or not, 0 <= k <= n.

    Returns
    -------
    Tensor
        (B,) nats. The binomial coefficient is included (the paper drops it: it does not depend on rho).

    Raises
    ------
    NumericalFault
        If a value is not finite or k is outside 0..n.
    """
    z, k64, n64 = logits.double(), k.double(), n.double()
    if not bool(torch.isfinite(z).all() & torch.isfinite(n64).all() & ((k64 >= 0) & (k64 <= n64)).all()):
        raise NumericalFault("binomial likelihood: log-odds must be finite and 0 <= k <= n")
    softplus = torch.nn.functional.softplus
    coefficient = torch.lgamma(n64 + 1) - torch.lgamma(k64 + 1) - torch.lgamma(n64 - k64 + 1)
    return (k64 * softplus(-z) + (n64 - k64) * softplus(z) - coefficient).to(logits.dtype)


class _DirichletMultinomial(torch.autograd.Function):
    """Value and slope in one go: left to autograd, every log-gamma would cost a digamma and a graph of its own.

    Inside, arrays stand on end, (A, R) for the R rows of a batch, so that what happens to an answer or to a question
    happens to a stretch of memory; answers and, below them, the totals of questions are one array (A + Q, R).
    """

    @staticmethod
    def forward(ctx: Any, concentrations: Tensor, counts: Tensor, tree: Tree) -> Tensor:
        """Return (..., Q) nats, and keep the derivative by the concentrations."""
        shape = np.broadcast_shapes(concentrations.shape, counts.shape)
        alpha, k = concentrations.expand(shape), counts.expand(shape)
        question = torch.tensor(tree.question_of_answer, device=alpha.device)
        a, n = (_with_totals(x.reshape(-1, tree.n_answers).T, question, tree.n_questions) for x in (alpha, k))
        dtype = torch.float64 if alpha.dtype == torch.float64 else torch.float32
        value, slope = log_rising(a, n, dtype=dtype, slope=ctx.needs_input_grad[0])
        value.sub_(LogFactorials(counts).of(n))
        nll = _add_answers(value[tree.n_answers :], question, value[: tree.n_answers].neg_())
        if ctx.needs_input_grad[0]:
            ctx.question, ctx.shape = question, concentrations.shape
            of_totals = slope[tree.n_answers :].index_select(0, question)
            ctx.save_for_backward(of_totals.sub_(slope[: tree.n_answers]))
        return nll.to(concentrations.dtype).T.reshape(*alpha.shape[:-1], tree.n_questions)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient by the concentrations; counts are data and have none."""
        (slope,) = ctx.saved_tensors
        of_questions = gradient.reshape(-1, gradient.shape[-1]).T
        of_answers = of_questions.index_select(0, ctx.question).mul_(slope).T
        return of_answers.reshape(*gradient.shape[:-1], -1).sum_to_size(ctx.shape), None, None


_apply: Callable[..., Any] = _DirichletMultinomial.apply


def _with_totals(values: Tensor, question: Tensor, n_questions: int) -> Tensor:
    """Return values (A, R) and below them their sums over the answers of each question: float64 (A + Q, R)."""
    n_answers, rows = values.shape
    both = torch.zeros(n_answers + n_questions, rows, dtype=torch.float64, device=values.device)
    both[:n_answers] = values
    both[n_answers:] = _add_answers(both[n_answers:], question, both[:n_answers])
    return both


def _add_answers(totals: Tensor, question: Tensor, values: Tensor) -> Tensor:
    """Return totals (Q, R) plus the sums of values (A, R) over the answers of each question."""
    if not values.is_cuda:
        return totals.index_add_(0, question, values)
    member = torch.nn.functional.one_hot(question, len(totals)).to(values.dtype)
    return totals + member.T @ values


def _membership(tree: Tree, like: Tensor) -> Tensor:
    """Return the matrix (A, Q) that is 1 where an answer belongs to a question, on the device and dtype of another."""
    matrix = np.eye(tree.n_questions)[tree.question_of_answer]
    return torch.as_tensor(matrix, dtype=like.dtype, device=like.device)


def _check(concentrations: Tensor, counts: Tensor, tree: Tree) -> None:
    for name, values in (("concentrations", concentrations), ("counts", counts)):
        if values.shape[-1:] != (tree.n_answers,):
            raise BadVotes(
                f"{name} {tuple(values.shape)} do not end in the {tree.n_answers} answers of tree {tree.name!r}",
                tree=tree.name,
            )
    low, high = _range(concentrations)
    if not (low > 0 and high < math.inf):
        raise NumericalFault("Dirichlet-multinomial likelihood: concentrations must be finite and positive")
    low, high = _range(counts)
    if not (low >= 0 and high < math.inf):
        raise NumericalFault("Dirichlet-multinomial likelihood: counts must be finite and not negative")


def _range(values: Tensor) -> tuple[float, float]:
    """Return the smallest and largest value, NaN if any is; of none, a number that is fine."""
    if not values.numel():
        return 1.0, 1.0
    low, high = torch.aminmax(values.detach())
    return low.item(), high.item()


_LEADING: Final = 1 / 24
_VALUE: Final = (
    (0.058333333333333333, 0.015049603174603175),
    (0.81196989672599429, 0.55968826340862079),
    (2.5617727218235684, 3.5102500763066472),
    (5.3118054064452589, 0.0),
)
_SLOPE: Final = (
    (0.175, 0.061636904761904762),
    (1.1727788507967166, 0.98945411340456352),
    (3.1721367677864004, 5.0351536514405860),
    (6.1718006617202977, 0.0),
)
"""s(m) = -m / 24 / (q + b0 - a0 / (q + b1 - a1 / ...)) and its like for digamma: pairs (b, a)."""

_LEVELS: Final = {torch.float32: 2, torch.float64: 4}
"""What is left out of the value from m = 3.5 on: 3e-9 and 2e-12; of the slope twice that."""

_FAR: Final = 1e18
"""From here on the parts of order one do not change over k; products of two stay finite in float32."""

_CHUNK: Final = 20_000
"""Values worked on at a time by each thread of a CPU: intermediate results stay in its cache."""

_DENSE: Final = 0.4
"""Share of counts above zero from which picking them out costs more than it saves."""

_LARGEST_TABLE: Final = 100_000
"""Counts up to which factorials are looked up."""


def log_rising(a: Tensor, k: Tensor, *, dtype: torch.dtype, slope: bool) -> tuple[Tensor, Tensor]:
    """Return ln G(a + k) - ln G(a), and its derivative by a.

    Parameters
    ----------
    a, k
        Of one shape, contiguous, float64: a positive, k not negative, whole or not.
    dtype
        float32 for an absolute error of about 1e-6 in the value beside a relative one of 1e-15, float64 for 1e-11.
    slope
        Whether the derivative is wanted; without it an empty tensor is in its place.

    Returns
    -------
    tuple
        float64 value, and derivative of the dtype asked for, both of the shape of a.
    """
    value = torch.zeros_like(a)
    slopes = torch.zeros_like(a, dtype=dtype) if slope else value.new_empty(0, dtype=dtype)
    flat = [x.view(-1) for x in (a, k, value, slopes)]
    if a.device.type != "cpu":
        _rise(*flat)
        return value, slopes
    # In a tree of several campaigns a galaxy has votes of one. (A GPU would have to wait for the number.)
    if int(torch.count_nonzero(k)) > _DENSE * k.numel():
        _rise_in_chunks(flat)
        return value, slopes
    counted = (flat[1] > 0).nonzero().squeeze(1)
    few = [x.index_select(0, counted) if len(x) else x for x in flat]
    _rise_in_chunks(few)
    for all_of_them, some in zip(flat[2:], few[2:], strict=True):
        if len(some):
            all_of_them.index_copy_(0, counted, some)
    return value, slopes


def _rise_in_chunks(flat: list[Tensor]) -> None:
    size = _CHUNK * torch.get_num_threads()
    for start in range(0, len(flat[0]), size):
        _rise(*(x[start : start + size] for x in flat))


def _rise(a: Tensor, k: Tensor, value: Tensor, slope: Tensor) -> None:
    """Write the value of a chunk and, where there is room, its slope."""
    m = a + 3.5
    log_ratio = (k / m).log1p_()
    torch.mul(m, log_ratio, out=value).sub_(k).addcmul_(k, m.add_(k).log_())
    # Both ends as one tensor (2, n), a and a + k: half as many calls.
    x = torch.empty(2, len(a), dtype=slope.dtype, device=a.device)
    torch.add(a, k, out=x[1])
    x[0].copy_(a)
    m = x.clamp_(max=_FAR) + 3.5
    q = m * m
    series = _fraction(_VALUE, q).mul_(m)
    u = (x + 3).mul_(x)
    v = u + 2
    # By square roots: the ratio itself, from the smallest a to the largest k, does not fit float32.
    root = torch.sqrt(u).mul_(torch.sqrt(v))
    value.add_(series[0].sub_(series[1]), alpha=_LEADING).sub_((root[1] / root[0]).log_(), alpha=2)
    if len(slope):
        inverse = u.reciprocal_().add_(v.reciprocal_())
        tail = _fraction(_SLOPE, q).mul_(_LEADING).addcmul_(inverse, m.sub_(2), value=-2)
        slope.copy_(log_ratio).add_(tail[1]).sub_(tail[0])


def _fraction(levels: tuple[tuple[float, float], ...], q: Tensor) -> Tensor:
    """Return 1 / (q + b0 - a0 / (q + b1 - ...)), to as many levels as its dtype can tell."""
    *outer, (b, _) = levels[: _LEVELS[q.dtype]]
    total = (q + b).reciprocal_()
    for b, a in reversed(outer):
        torch.add(q, total, alpha=-a, out=total).add_(b).reciprocal_()
    return total


class LogFactorials:
    """ln k! of counts: looked up where all are whole, else log-gamma of k + 1.

    Parameters
    ----------
    counts
        (..., A) not negative; sums over the last axis are looked up too.
    """

    def __init__(self, counts: Tensor) -> None:
        largest = counts.sum(-1).max().item() if counts.numel() else 0
        is_table = largest <= _LARGEST_TABLE and torch.equal(counts, counts.floor())
        ends = torch.arange(int(largest) + 1 if is_table else 0, dtype=torch.float64, device=counts.device)
        self._table = torch.lgamma(ends + 1)

    def of(self, k: Tensor) -> Tensor:
        """Return ln k! of float64 counts, of their shape."""
        if not len(self._table):
            return torch.lgamma(k + 1)
        return self._table.index_select(0, k.long().view(-1)).view(k.shape)


def training_nll(logits: Tensor, log_precision: Tensor, counts: Tensor, tree: Tree, *, mean_precision: float) -> Tensor:
    """Return the likelihood of the votes, with a gradient that does not let hard galaxies off.

    Parameters
    ----------
    logits, log_precision
        (..., A) and (..., Q), as `concentrations_from` takes them.
    counts
        (..., A) votes; broadcast against the logits.
    mean_precision
        Precision at which the means are learned. High, and a vote counts as one drawn by the fraction alone; low, and a
        fraction far from the votes costs little, which keeps means moderate.

    Returns
    -------
    Tensor
        (..., Q) nats. The value is `dirichlet_multinomial_nll`; its slope by the logits is that at a precision of
        `mean_precision`, its slope by the precision is its own.

    Raises
    ------
    NumericalFault, BadVotes
        As `dirichlet_multinomial_nll` does.
    """
    fixed = torch.full_like(log_precision, math.log(mean_precision))
    of_means = dirichlet_multinomial_nll(concentrations_from(logits, fixed, tree), counts, tree)
    of_precision = dirichlet_multinomial_nll(concentrations_from(logits.detach(), log_precision, tree), counts, tree)
    return of_precision + (of_means - of_means.detach())
