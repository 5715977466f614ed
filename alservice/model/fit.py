"""Votes to weights: one recipe, the same bits for the same data, seed, device and threads.

AdamW with a short warm-up and a cosine to zero, on random views, each bootstrap head with its own weights of the
galaxies (Poisson bootstrap). What is kept is a running average of the weights, taken where the hold-out likes it
best, with a precision temperature per question fitted on the same hold-out.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from alservice.core.ids import seed_of
from alservice.core.tree import Tree
from alservice.errors import BadConfig, BadVotes, NumericalFault
from alservice.model.augment import Augmentation, augment
from alservice.model.likelihood import dirichlet_multinomial_nll, mixture_nll
from alservice.model.networks import Network, NetworkConfig, build_network
from alservice.shapes import IntArray, UInt8Array

HOLD_OUT_DRAWS = 10
"""Posterior draws when the hold-out is asked during training: enough to rank states, cheap enough to repeat."""

TEMPERATURES = tuple(math.exp(0.1 * i) for i in range(-20, 21))
"""Precision factors that are tried per question: e^-2 to e^2 in steps of a tenth."""

TEMPERATURE_SPREAD = 0.5
"""Standard deviation of ln(temperature) a priori: few hold-out votes leave it near 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FitConfig:
    """How a network is trained.

    Parameters
    ----------
    steps, batch
        Gradient steps, and galaxies in each.
    learning_rate, weight_decay
        Of AdamW; norms and biases do not decay.
    warm_up
        Share of the steps until the learning rate is reached.
    average
        Decay of the running average of the weights, per step.
    hold_out
        Share of the galaxies that chooses the state and fits the temperatures.
    looks
        How often the hold-out is asked.
    threads
        CPU threads: part of the configuration, because sums are split by them.
    """

    network: NetworkConfig
    steps: int
    batch: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    warm_up: float = 0.1
    average: float = 0.99
    hold_out: float = 0.1
    looks: int = 10
    threads: int = 2
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        """Refuse what cannot train."""
        if min(self.steps, self.batch, self.looks, self.threads) < 1 or not 0 < self.hold_out < 1:
            raise BadConfig(f"not a training configuration: {self}")

    def document(self) -> dict[str, Any]:
        """Return the configuration as a JSON document."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """What training left: weights, temperatures among them, and the training curve."""

    state: Mapping[str, Tensor]
    history: tuple[Mapping[str, float], ...]


def fit(
    images: UInt8Array,
    counts: IntArray,
    tree: Tree,
    config: FitConfig,
    *,
    device: str,
    progress: Callable[[float], None],
    initial: Mapping[str, Tensor] | None = None,
) -> FitResult:
    """Train a network on galaxies and their votes.

    Parameters
    ----------
    images
        (N, C, H, W) uint8.
    counts
        (N, A) votes in tree order; a galaxy with few votes simply says less.
    progress
        Told the loss (nats per galaxy) after every step.
    initial
        Weights to start from, such as the champion's; fresh ones without.

    Raises
    ------
    BadVotes
        Images and votes do not go together, or there are fewer than two galaxies.
    NumericalFault
        The loss is not finite.
    """
    if len(images) != len(counts) or len(images) < 2:
        raise BadVotes(f"cannot train on {len(images)} images and {len(counts)} rows of votes")
    with _threads(config.threads):
        return _Training(images, counts, tree, config, device, initial).run(progress)


def training_step(
    network: Network, optimiser: torch.optim.Optimizer, views: Tensor, counts: Tensor, weights: Tensor, *, seed: int
) -> float:
    """Take one gradient step; return the loss (nats per galaxy).

    Parameters
    ----------
    views
        (B, C, h, w) float32.
    counts
        (B, A) votes.
    weights
        (K, B) bootstrap weight of each galaxy in each head.
    seed
        Of the dropout masks.
    """
    masks = network.heads.training_masks(len(views), seed=seed)
    nll = dirichlet_multinomial_nll(network(views, masks), counts, network.tree).sum(-1)
    loss = (nll * weights).mean()
    if not bool(torch.isfinite(loss)):
        raise NumericalFault(f"the training loss is {float(loss)}")
    optimiser.zero_grad()
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimiser.step()
    return float(nll.detach().mean())


class _Training:
    """One run: data on the device, network, optimiser and the running average."""

    def __init__(
        self,
        images: UInt8Array,
        counts: IntArray,
        tree: Tree,
        config: FitConfig,
        device: str,
        initial: Mapping[str, Tensor] | None,
    ) -> None:
        self.config = config
        self.generator = torch.Generator().manual_seed(seed_of(config.seed, "fit"))
        order = torch.randperm(len(images), generator=self.generator)
        n_held = max(1, round(config.hold_out * len(images)))
        self.held, self.rows = order[:n_held], order[n_held:]
        self.images = torch.from_numpy(images)
        self.counts = torch.from_numpy(counts).to(device)
        self.device = device
        self.network = build_network(config.network, tree, seed=config.seed)
        if initial is not None:
            self.network.load_state_dict(initial)
            self.network.temperature.fill_(1)
        cast("Any", self.network).to(device, memory_format=torch.channels_last)
        self.bootstrap = torch.poisson(torch.ones(config.network.heads, len(images)), generator=self.generator)
        self.average = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}

    def run(self, progress: Callable[[float], None]) -> FitResult:
        """Train, keep the best average, fit the temperatures."""
        config = self.config
        optimiser = _optimiser(self.network, config)
        batches = self._batches()
        history: list[dict[str, float]] = []
        best, best_nll, losses = self.average, math.inf, []
        for step in range(config.steps):
            for group in optimiser.param_groups:
                group["lr"] = config.learning_rate * _schedule(step / config.steps, config.warm_up)
            loss = self._step(optimiser, next(batches), step)
            losses.append(loss)
            self._track(step)
            progress(loss)
            if (step + 1) * config.looks // config.steps > step * config.looks // config.steps:
                nll = float(self._held_nll().sum(-1).mean())
                history.append({"step": step + 1.0, "train": sum(losses) / len(losses), "hold_out": nll})
                losses = []
                if nll < best_nll:
                    best_nll, best = nll, {name: tensor.clone() for name, tensor in self.average.items()}
        self.network.load_state_dict(best)
        self._fit_temperature()
        state = {name: tensor.cpu().clone() for name, tensor in self.network.state_dict().items()}
        return FitResult(state=state, history=tuple(history))

    def _step(self, optimiser: torch.optim.Optimizer, rows: Tensor, step: int) -> float:
        self.network.train()
        views = augment(
            self.images[rows].to(self.device),
            self.config.augmentation,
            output_px=self.config.network.input_px,
            generator=self.generator,
        )
        return training_step(
            self.network,
            optimiser,
            views.contiguous(memory_format=torch.channels_last),
            self.counts[rows.to(self.device)],
            self.bootstrap[:, rows].to(self.device),
            seed=seed_of(self.config.seed, "dropout", step),
        )

    def _batches(self) -> Iterator[Tensor]:
        """Yield rows for ever, every galaxy once before any comes again."""
        queue = torch.empty(0, dtype=torch.int64)
        while True:
            while len(queue) < self.config.batch:
                queue = torch.cat([queue, self.rows[torch.randperm(len(self.rows), generator=self.generator)]])
            yield queue[: self.config.batch]
            queue = queue[self.config.batch :]

    def _track(self, step: int) -> None:
        """Move the running average towards the weights; it forgets the first steps faster."""
        share = 1 - min(self.config.average, (step + 1) / (step + 10))
        for name, tensor in self.network.state_dict().items():
            if tensor.is_floating_point():
                self.average[name].lerp_(tensor, share)
            else:
                self.average[name].copy_(tensor)

    def _held_nll(self) -> Tensor:
        """Return the averaged network's NLL (B, Q) of the hold-out's votes."""
        current = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        self.network.load_state_dict(self.average)
        nll = mixture_nll(self._held_draws(views=1), self.counts[self.held.to(self.device)], self.network.tree)
        self.network.load_state_dict(current)
        return nll

    def _held_draws(self, *, views: int) -> Tensor:
        """Return posterior draws (B, T, A) for the hold-out."""
        self.network.eval()
        masks = self.network.heads.posterior_masks(HOLD_OUT_DRAWS, seed=seed_of(self.config.seed, "hold-out"))
        with torch.inference_mode():
            drawn = [
                self.network.draw(self.network.embed(self._pixels(rows), views=views), masks)
                for rows in torch.split(self.held, 128)
            ]
        return torch.cat(drawn)

    def _pixels(self, rows: Tensor) -> Tensor:
        pixels = self.network.pixels(self.images[rows].to(self.device))
        return pixels.contiguous(memory_format=torch.channels_last)

    def _fit_temperature(self) -> None:
        """Set each question's precision factor to the one that the hold-out's votes like best, near 1 a priori."""
        draws = self._held_draws(views=8)
        counts = self.counts[self.held.to(self.device)]
        grid = torch.tensor(TEMPERATURES, dtype=draws.dtype, device=draws.device)
        nll = torch.stack([mixture_nll(draws * factor, counts, self.network.tree).sum(0) for factor in grid])
        prior = (torch.log(grid) / TEMPERATURE_SPREAD).square() / 2
        self.network.temperature.copy_(grid[(nll + prior[:, None]).argmin(dim=0)])


def _optimiser(network: Network, config: FitConfig) -> torch.optim.AdamW:
    matrices = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.99))


def _schedule(done: float, warm_up: float) -> float:
    """Return the share of the learning rate after a share of the steps: up in a line, down in a cosine."""
    if done < warm_up:
        return (done + 1e-3) / (warm_up + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (done - warm_up) / (1 - warm_up)))


@contextmanager
def _threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
