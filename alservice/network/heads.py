"""The Bayesian part of a network: a few small bootstrap heads with explicit dropout masks on one trunk.

Uncertainty lives after the trunk only, so the trunk runs once per image and view, and T posterior draws cost T small
matrix products. A draw is one head with one set of masks, the same for every galaxy ("consistent" masks, Kirsch 2019):
draws are then functions, and joint quantities over galaxies are meaningful.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from alservice.errors import BadConfig
from alservice.ids import seed_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Masks:
    """Which head, and which units of it, each of G passes over a batch goes through.

    Parameters
    ----------
    head
        (G,) int64 index of a head.
    keep
        Per layer (G, R, inputs): 0 for a dropped input, else 1 / (1 - p). R is 1 where all galaxies share the masks
        of a pass, or B where each has its own.
    """

    head: Tensor
    keep: tuple[Tensor, ...]


class Heads(nn.Module):
    """K independent heads from an embedding to outputs: linear layers, a rectifier between, and dropout before each.

    Parameters
    ----------
    widths
        Width of the embedding, of hidden layers if any, and of the outputs.
    members
        K, the number of heads.
    dropout
        Probability that an input of a layer is dropped, 0 <= p < 1.
    pieces
        Linear pieces of a hidden unit: 1 is ReLU, more is maxout, the largest of so many linear maps.
    """

    def __init__(self, *, widths: tuple[int, ...], members: int, dropout: float, pieces: int = 1) -> None:
        super().__init__()
        if members < 1 or not 0 <= dropout < 1:
            raise BadConfig(f"heads need members >= 1 and 0 <= dropout < 1, not {members} and {dropout}")
        self.members = members
        self.dropout = dropout
        self.pieces = pieces
        layers = [(i, o * pieces) for i, o in pairwise(widths[:-1])] + [(widths[-2], widths[-1])]
        self.weights = nn.ParameterList(nn.Parameter(torch.empty(members, i, o)) for i, o in layers)
        self.biases = nn.ParameterList(nn.Parameter(torch.empty(members, 1, o)) for _, o in layers)

    def reset(self, generator: torch.Generator) -> None:
        """Draw the weights anew, each head its own; small last layers make the first predictions near even."""
        for weight, bias in zip(self.weights, self.biases, strict=True):
            is_last = weight is self.weights[-1]
            std = (0.01 if is_last else 2.0) ** 0.5 * weight.shape[1] ** -0.5
            nn.init.normal_(weight, std=std, generator=generator)
            nn.init.zeros_(bias)

    def forward(self, embeddings: Tensor, masks: Masks) -> Tensor:
        """Return the outputs (G, B, O) of G masked passes over embeddings (B, E)."""
        x = embeddings
        for layer, (weight, bias, keep) in enumerate(zip(self.weights, self.biases, masks.keep, strict=True)):
            inputs = self._hidden(x) if layer else x
            x = torch.baddbmm(bias[masks.head], inputs * keep, weight[masks.head])
        return x

    def _hidden(self, x: Tensor) -> Tensor:
        return torch.relu(x) if self.pieces == 1 else x.view(*x.shape[:-1], -1, self.pieces).amax(-1)

    def training_masks(self, batch: int, *, seed: int) -> Masks:
        """Return one pass per head, with independent masks for every galaxy of a batch."""
        return self._masks(torch.arange(self.members), batch, seed)

    def posterior_masks(self, draws: int, *, seed: int) -> Masks:
        """Return the consistent masks of T draws, spread evenly over the heads; the seed alone decides them."""
        return self._masks(torch.arange(draws) % self.members, 1, seed)

    def _masks(self, head: Tensor, rows: int, seed: int) -> Masks:
        device = self.weights[0].device
        keep = []
        for layer, weight in enumerate(self.weights):
            # Drawn on the CPU, so that every device sees the same draws.
            generator = torch.Generator().manual_seed(seed_of(seed, "mask", layer))
            kept = torch.rand(len(head), rows, weight.shape[1], generator=generator) >= self.dropout
            keep.append((kept / (1 - self.dropout)).to(device))
        return Masks(head=head.to(device), keep=tuple(keep))
