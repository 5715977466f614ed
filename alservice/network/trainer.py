"""One training run as state that a gradient step moves: weights, their running average, the optimiser.

Nothing else has memory. What is random in a step follows from the seed and the number of the step, so a run that goes
on from saved state is the run that was never interrupted, to the bit.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from alservice.errors import BadInput, NumericalFault
from alservice.ids import seed_of
from alservice.network.architectures import Network
from alservice.network.augment import augment
from alservice.network.config import FitConfig
from alservice.network.device import resolve_precision
from alservice.network.muon import Muon

_MAX_GRADIENT = 5.0
"""Norm to which gradients are shortened: above the usual 1-3, it only tames the first steps of unlucky seeds."""

_BETAS = (0.9, 0.99)
"""Adam's memory, about 100 steps of runs of about 1000; the usual 0.999 would remember all of them."""


class Trainer:
    """A network in training.

    Parameters
    ----------
    network
        Where to start: fresh weights or those of an earlier model, on the device that trains.
    rates
        (N,) float64 how often each galaxy comes in a pass, on average; each once without.
    """

    def __init__(self, network: Network, config: FitConfig, rates: Tensor | None = None) -> None:
        self.config = config
        self.network = network.train()
        self.average = copy.deepcopy(network).eval().requires_grad_(False)
        self.step = 0
        convolutions = _hidden_convolutions(network) if config.optimiser == "muon" else []
        apart = {id(weight) for weight in convolutions}
        matrices = [p for p in network.parameters() if p.ndim > 1 and id(p) not in apart]
        others = [p for p in network.parameters() if p.ndim <= 1]
        precision = resolve_precision(config.precision, network.temperature.device.type)
        self._muon = Muon(convolutions, weight_decay=config.weight_decay, dtype=precision)
        groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self._optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, betas=_BETAS)
        self._rates = rates
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)

    def advance(self, images: Tensor, counts: Tensor, weights: Tensor) -> float:
        """Take one gradient step and return its loss.

        Parameters
        ----------
        images, counts, weights
            (N, C, H, W) uint8, (N, A) votes and (N, K) weights in the loss of each head, of all galaxies that train.

        Returns
        -------
        float
            As `Network.losses` per galaxy: questions are summed, so a galaxy with few votes simply says less.

        Raises
        ------
        NumericalFault
            If the loss or its gradient is not finite.
        """
        rows, config = self._rows(len(images)), self.config
        device = self.network.temperature.device
        views = augment(
            images[rows].to(device),
            config.augmentation,
            output_px=config.network.input_px,
            generator=torch.Generator().manual_seed(seed_of(config.seed, "views", self.step)),
        )
        masks = self.network.heads.training_masks(len(rows), seed=seed_of(config.seed, "dropout", self.step))
        precision = resolve_precision(config.precision, device.type)
        losses_KB = self.network.losses(
            views, masks, counts[rows].to(device), precision=precision, mean_precision=config.mean_precision
        )
        loss = (losses_KB * weights[rows].T.to(device)).mean()
        self.network.zero_grad()
        torch.autograd.backward(loss)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), _MAX_GRADIENT)
        if not math.isfinite(norm.item()):
            raise NumericalFault(f"training: the gradient of step {self.step} is not finite", step=self.step)
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate(config, self.step)
        self._optimiser.step()
        self._muon.step(learning_rate(config, self.step))
        self.step += 1
        self._track()
        return loss.item()

    def state(self) -> dict[str, Tensor]:
        """Return all that the next steps depend on, except how many there were."""
        parts: dict[str, Mapping[str, Tensor]] = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "momenta": {str(i): momentum for i, momentum in enumerate(self._muon.momenta)},
        }
        parts |= {f"moments {i}": moments for i, moments in self._optimiser.state_dict()["state"].items()}
        return {f"{part}/{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor], *, step: int) -> None:
        """Go on from what `state` returned after a number of steps."""
        load_weights(self.network, part_of(state, "network"), what="the checkpoint")
        load_weights(self.average, part_of(state, "average"), what="the checkpoint")
        parameters = [p for group in self._optimiser.param_groups for p in group["params"]]
        moments: dict[int, Any] = {
            # In the memory layout of the parameter, as the optimiser made them: another changes the last bit.
            i: {
                name: torch.empty_like(parameter if tensor.ndim else tensor).copy_(tensor)
                for name, tensor in part_of(state, f"moments {i}").items()
            }
            for i, parameter in enumerate(parameters)
        }
        self._optimiser.load_state_dict({**self._optimiser.state_dict(), "state": moments})
        for name, momentum in part_of(state, "momenta").items():
            self._muon.momenta[int(name)].copy_(momentum)
        self.step = step

    def _rows(self, n: int) -> Tensor:
        """Return the galaxies of this step: passes of N galaxies, one after the other."""
        first = self.step * self.config.batch
        rows = []
        for position in range(first, first + self.config.batch):
            epoch, index = divmod(position, n)
            if epoch != self._epoch:
                self._epoch, self._order = epoch, self._pass(epoch, n)
            rows.append(self._order[index])
        return torch.stack(rows)

    def _pass(self, epoch: int, n: int) -> Tensor:
        """Return N galaxies in random order: every one once, or as often as its rate says.

        By systematic sampling: one of rate 2.3 comes twice or three times, never more, never less.
        """
        generator = torch.Generator().manual_seed(seed_of(self.config.seed, "order", epoch))
        order = torch.randperm(n, generator=generator)
        if self._rates is None:
            return order
        edges = torch.cumsum(self._rates[order], 0)
        marks = (torch.arange(n) + torch.rand(1, generator=generator)) * (edges[-1] / n)
        drawn = order[torch.searchsorted(edges, marks).clamp_(max=n - 1)]
        return drawn[torch.randperm(n, generator=generator)]

    def _track(self) -> None:
        """Move the running average towards the weights; it forgets the first steps faster."""
        share = 1 - min(self.config.average, self.step / (self.step + 9))
        weights = self.network.state_dict()
        for name, average in self.average.state_dict().items():
            if average.is_floating_point():
                average.lerp_(weights[name], share)
            else:
                average.copy_(weights[name])


def _hidden_convolutions(network: Network) -> list[Tensor]:
    """Return the weights of a trunk that map maps to maps; those that see the image are not matrices of features."""
    weights = [module.weight for module in network.trunk.modules() if isinstance(module, nn.Conv2d)]
    return [weight for weight in weights if weight.shape[1] > network.config.channels]


def learning_rate(config: FitConfig, step: int) -> float:
    """Return the rate of a step: up in a line, down in a cosine to zero."""
    warm_up = round(config.warm_up * config.steps)
    if step < warm_up:
        return config.learning_rate * (step + 1) / warm_up
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / (config.steps - warm_up)))


def load_weights(network: Network, state: Mapping[str, Tensor], *, what: str) -> None:
    """Load weights that fit a network exactly; `BadInput` says what they came from if they do not."""
    try:
        network.load_state_dict(dict(state))
    except RuntimeError as error:
        raise BadInput(f"the weights of {what} do not fit network {network.config.name!r}: {error}") from error


def part_of(state: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """Return the tensors under ``part/`` by the rest of their names."""
    prefix = f"{part}/"
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
