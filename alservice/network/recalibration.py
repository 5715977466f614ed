"""Precision temperatures for the galaxies that a model will meet, not for those that it learned from.

Training sets are often a selection: clear cases, or what active learning chose. Temperatures fitted on a hold-out of
such a set say how the model errs on such galaxies. Where a part of the set is known to be a fair sample of the survey,
the held-out galaxies of that part say how it errs on the survey.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from torch import Tensor

from alservice.network.architectures import build_network
from alservice.network.config import FitConfig
from alservice.network.sampling import sample_posterior
from alservice.network.training import fit_temperature, held_out, image_keys
from alservice.science.tree import Tree
from alservice.shapes import BoolArray, FloatArray, IntArray, UInt8Array

_DRAWS: Final = 30
_LEAST: Final = 30
"""Held-out galaxies of the fair sample below which the temperatures of the whole hold-out are kept."""


def recalibrated(
    state: Mapping[str, Tensor],
    images: UInt8Array,
    counts: FloatArray | IntArray,
    tree: Tree,
    config: FitConfig,
    *,
    fair: BoolArray,
    device: str,
) -> dict[str, Tensor]:
    """Return a fitted state with the temperatures that suit a fair sample.

    Parameters
    ----------
    state
        What `fit` left of these galaxies and this configuration.
    images, counts
        (N, C, H, W) and (N, A), all that `fit` was given: who was held out follows from them.
    fair
        (N,) galaxies that sample the survey without selection.

    Returns
    -------
    dict of Tensor
        The state as it was where the fair sample is everything, or holds too few held-out galaxies.
    """
    judges = held_out(image_keys(images), config.hold_out) & fair
    if fair.all() or judges.sum() < _LEAST:
        return dict(state)
    network = build_network(config.network, tree, seed=config.seed)
    network.load_state_dict(dict(state))
    network.temperature.fill_(1)
    concentrations, _ = sample_posterior(
        network.to(device), images[judges], draws=_DRAWS, seed=config.seed, device=device
    )
    votes = torch.from_numpy(counts[judges].astype(np.float32))
    return {**state, "temperature": fit_temperature(torch.from_numpy(concentrations), votes, tree)}
