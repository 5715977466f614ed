"""What training minimises: the means of vote fractions learn first, and their precision learns around them.

In the gradient of a Dirichlet-multinomial a galaxy weighs on the mean by its own predicted precision. A network that
finds a galaxy hard calls it imprecise, and then no longer has to learn it: the known fault of likelihoods whose spread
is learned together with their mean (Seitzer et al. 2022, arXiv:2203.09168). So the mean is learned at one fixed
precision, and the precision at the mean as it is (Stirn et al. 2023, arXiv:2212.09184, for normal distributions).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from alservice.network.likelihood import concentrations_from, dirichlet_multinomial_nll
from alservice.science.tree import Tree


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
