"""How likely the votes are: Dirichlet-multinomial per question, and binomial on one answer.

All questions of the tree are scored in one pass. Sums over the answers of a question are products with the 0/1
membership matrix (A, Q): one kernel for any tree, with the same order of additions on every device, which scatter
operations on a GPU do not promise. The arithmetic is float64, because log-gamma differences of a few nats between
values of thousands are lost in float32.

Sources: Walmsley 2020 (MNRAS 491, 1554) eq. 1-6 for the binomial; Walmsley 2022 (MNRAS 509, 3966) for a
Dirichlet-multinomial per question. There concentrations are capped at 1..101; here they are a mean and a precision
without a cap, so that a unanimous vote and a split that is wider than uniform can both be expressed.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from alservice.core.tree import Tree
from alservice.errors import BadVotes, NumericalFault

__all__ = [
    "binomial_nll",
    "concentrations_from",
    "dirichlet_multinomial_nll",
    "mixture_nll",
]


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
    alpha, k = concentrations.double(), counts.double()
    member = _membership(tree, alpha)
    alpha_sum, n = alpha @ member, k @ member
    coefficient = torch.lgamma(n + 1) - torch.lgamma(k + 1) @ member
    of_answers = (torch.lgamma(k + alpha) - torch.lgamma(alpha)) @ member
    of_total = torch.lgamma(n + alpha_sum) - torch.lgamma(alpha_sum)
    return (of_total - of_answers - coefficient).to(concentrations.dtype)


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
    if not bool((torch.isfinite(concentrations) & (concentrations > 0)).all()):
        raise NumericalFault("Dirichlet-multinomial likelihood: concentrations must be finite and positive")
    if not bool((torch.isfinite(counts) & (counts >= 0)).all()):
        raise NumericalFault("Dirichlet-multinomial likelihood: counts must be finite and not negative")
