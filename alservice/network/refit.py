"""Votes to heads alone: the trunk stays as it is, so galaxies are embedded once and a training takes seconds.

A trunk that earlier votes or another survey trained sees more than a few hundred labels could teach one. While it is
still, all that labels teach is in the heads, where the uncertainty is (Bickford Smith et al. 2024, arXiv:2404.17249).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from alservice.errors import NumericalFault
from alservice.ids import seed_of
from alservice.network.allotment import head_weights, held_out
from alservice.network.architectures import Network, build_network
from alservice.network.config import FitConfig
from alservice.network.likelihood import dirichlet_multinomial_nll
from alservice.network.temperature import fit_temperature
from alservice.network.trainer import learning_rate
from alservice.science.tree import Tree

_HOLD_OUT_DRAWS = 30
"""Posterior draws that the temperatures are fitted on."""


def on_trunk_of(encoder: Network, tree: Tree, *, seed: int) -> Network:
    """Return a network with an encoder's trunk and fresh heads for the questions of a tree, on the CPU."""
    network = build_network(encoder.config, tree, seed=seed)
    network.trunk.load_state_dict({name: tensor.cpu() for name, tensor in encoder.trunk.state_dict().items()})
    return network.eval()


def refit_heads(
    network: Network, embeddings: Tensor, counts: Tensor, keys: tuple[str, ...], config: FitConfig
) -> tuple[float, float]:
    """Fit a network's heads in place, and its temperatures on the held-out galaxies.

    Parameters
    ----------
    network
        On its device, with fresh heads.
    embeddings, counts
        (N, E) float32 by the network's own trunk, and (N, A) votes, on that device.
    keys
        What the N galaxies are called: who is held out, and which head learns from whom.
    config
        Steps, batch, rate, decay, hold-out and seed; the rest says how trunks are trained.

    Returns
    -------
    tuple of float
        Mean loss of the last tenth of the steps, and that of the held-out galaxies (nats per galaxy).

    Raises
    ------
    NumericalFault
        If the loss or its gradient is not finite.
    """
    device, heads = network.temperature.device, network.heads
    held = torch.from_numpy(held_out(keys, config.hold_out)).to(device)
    learn, votes = embeddings[~held], counts[~held]
    weights = torch.from_numpy(head_weights(keys, heads=heads.members, seed=config.seed)).to(device)[~held]
    matrices, others = [*heads.weights], [*heads.biases]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=config.learning_rate)
    order = _order(len(learn), config).to(device)
    losses = []
    for step, rows in enumerate(order):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(config, step)
        masks = heads.training_masks(len(rows), seed=seed_of(config.seed, "dropout", step))
        losses_KB = network.losses_of_heads(learn[rows], masks, votes[rows], mean_precision=config.mean_precision)
        loss = (losses_KB * weights[rows].T).mean()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        norm = nn.utils.clip_grad_norm_(heads.parameters(), math.inf).item()
        if not math.isfinite(norm):
            raise NumericalFault(f"training: the gradient of step {step} is not finite", step=step)
        optimiser.step()
        losses.append(loss.item())
    with torch.inference_mode():
        masks = heads.posterior_masks(_HOLD_OUT_DRAWS, seed=seed_of(config.seed, "hold-out"))
        draws = network.draw(embeddings[held], masks)
        judged = dirichlet_multinomial_nll(draws.transpose(0, 1), counts[held], network.tree).sum(-1).mean().item()
        network.temperature.copy_(fit_temperature(draws, counts[held], network.tree))
    last = losses[-max(1, len(losses) // 10) :]
    return sum(last) / len(last), judged


def _order(n: int, config: FitConfig) -> Tensor:
    """Return the galaxies of every step, (steps, batch): each comes once before any comes again."""
    wanted = config.steps * config.batch
    generator = torch.Generator().manual_seed(seed_of(config.seed, "order"))
    passes = [torch.randperm(n, generator=generator) for _ in range(math.ceil(wanted / n))]
    return torch.cat(passes)[:wanted].view(config.steps, config.batch)
