"""The precision temperature: how much sharper or wider than trained the votes of unseen galaxies are."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

from alservice.network.likelihood import mixture_nll
from alservice.science.tree import Tree

_PRIOR_WIDTH: Final = 0.5
"""Standard deviation of ln tau before any galaxy is seen: 68 % within 0.6-1.6, so a few galaxies move it little."""

_REACH: Final = 5.0
"""Largest |ln tau| searched: ten prior widths, out of reach of any number of votes that training left so wrong."""

_GOLDEN: Final = (math.sqrt(5) - 1) / 2
_ITERATIONS: Final = 25
"""Golden-section steps: the bracket shrinks by 0.618 each, to 6e-6 of its width."""


def fit_temperature(concentrations: Tensor, counts: Tensor, tree: Tree, *, weights: Tensor | None = None) -> Tensor:
    """Return the factor tau on each question's precision that makes the votes of held-out galaxies most likely.

    It maximises the posterior of ln tau: the likelihood of all votes on the question under the mean over draws, and a
    normal prior at 0. One number per question leaves the order of galaxies by mean vote fraction as it is.

    Parameters
    ----------
    concentrations
        (B, T, A) draws for the held-out galaxies, without temperature; B may be 0.
    counts
        (B, A) their votes.
    weights
        (B,) how much each galaxy counts; all alike without.

    Returns
    -------
    Tensor
        (Q,) float32, positive; 1 where no galaxy was asked.
    """

    def objective(log_tau: Tensor) -> Tensor:
        scaled = concentrations.double() * torch.exp(log_tau)[question]
        nll = mixture_nll(scaled, counts, tree)
        return (nll if weights is None else nll * weights[:, None]).sum(0) + 0.5 * (log_tau / _PRIOR_WIDTH) ** 2

    question = torch.tensor(tree.question_of_answer, device=counts.device)
    low = torch.full((tree.n_questions,), -_REACH, dtype=torch.float64, device=counts.device)
    high = -low
    for _ in range(_ITERATIONS):
        span = _GOLDEN * (high - low)
        left_is_better = objective(high - span) < objective(low + span)
        low, high = torch.where(left_is_better, low, high - span), torch.where(left_is_better, low + span, high)
    return torch.exp((low + high) / 2).float()
