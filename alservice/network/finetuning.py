"""Blocks of a trunk, and when and how fast each learns where a trunk was trained before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from torch import Tensor, nn

from alservice.errors import BadConfig
from alservice.network.architectures import Network, TimmTrunk
from alservice.network.config import FitConfig

_SEQUENCES: Final = {"blocks", "convolutions", "layers", "stages"}
"""Children of a trunk whose own children are its blocks."""


def trunk_blocks(network: Network) -> list[list[nn.Parameter]]:
    """Return the weights of each block of a trunk, from the top down to the stem.

    Blocks are stages, residual blocks or layers in the order of the model; a norm alone belongs to the block below it,
    and what the model holds outside of its layers, such as position embeddings, to the stem.
    """
    model = network.trunk.model if isinstance(network.trunk, TimmTrunk) else network.trunk
    blocks: list[list[nn.Parameter]] = []
    for layer in _layers(model):
        weights = list(layer.parameters())
        if blocks and all(weight.ndim == 1 for weight in weights):
            blocks[-1] += weights
        elif weights:
            blocks.append(weights)
    blocks[0] += list(model.parameters(recurse=False))
    return blocks[::-1]


def _layers(model: nn.Module) -> Iterable[nn.Module]:
    for name, child in model.named_children():
        is_sequence = name in _SEQUENCES and isinstance(child, nn.Sequential | nn.ModuleList)
        yield from child.children() if is_sequence else [child]


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Weights that learn alike: from which step, and how fast over the rate of the run.

    Parameters
    ----------
    weights
        None of them belongs to another part.
    first_step
        0 for heads; before it the weights stay as they are.
    rate
        Factor on the learning rate.
    """

    weights: list[nn.Parameter]
    first_step: int
    rate: float


def parts_of(network: Network, config: FitConfig) -> list[Part]:
    """Return the parts of a network that learn, the heads first; weights in no part never change.

    Raises
    ------
    BadConfig
        More blocks are to learn than the trunk has.
    """
    if config.tuning is None:
        return [Part(weights=list(network.parameters()), first_step=0, rate=1.0)]
    tuning, blocks = config.tuning, trunk_blocks(network)
    n = len(blocks) if tuning.blocks is None else tuning.blocks
    if n > len(blocks):
        raise BadConfig(f"{config.network.name} has {len(blocks)} blocks, not {n} to unfreeze", option="unfreeze")
    parts = [Part(weights=list(network.heads.parameters()), first_step=0, rate=1.0)]
    for place, weights in enumerate(blocks[:n]):
        first = round(config.steps * tuning.frozen * (1 + place / n))
        parts.append(Part(weights=weights, first_step=first, rate=tuning.rate * tuning.decay**place))
    return parts


def parameter_groups(parts: Iterable[Part], *, apart: Iterable[Tensor], weight_decay: float) -> list[dict[str, Any]]:
    """Return groups for an optimiser, each with its ``scale`` of the learning rate; gains and biases do not decay.

    Parameters
    ----------
    apart
        Weights that another optimiser moves.
    """
    left_out = {id(weight) for weight in apart}
    groups: list[dict[str, Any]] = []
    for part in parts:
        weights = [weight for weight in part.weights if id(weight) not in left_out]
        matrices, others = [w for w in weights if w.ndim > 1], [w for w in weights if w.ndim <= 1]
        groups.append({"params": matrices, "weight_decay": weight_decay, "scale": part.rate})
        groups.append({"params": others, "weight_decay": 0.0, "scale": part.rate})
    return groups


def unfreeze(network: Network, parts: Iterable[Part], step: int) -> None:
    """Let gradients reach the parts that learn at a step, and no other weight of a network."""
    kept = list(parts)
    learning = {id(w) for w in chain.from_iterable(part.weights for part in kept if part.first_step <= step)}
    for weight in network.parameters():
        weight.requires_grad_(id(weight) in learning)
