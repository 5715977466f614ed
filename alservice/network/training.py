"""Votes to weights: one recipe, the same bits for the same data, seed, device and threads.

AdamW with a short warm-up and a cosine to zero, on random views, each head on its own share of the galaxies. What is
kept is a running average of the weights, taken where the hold-out likes it best, with a precision temperature per
question fitted on the same hold-out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch
from torch import Tensor

from alservice.errors import BadVotes, Conflict
from alservice.ids import digest_of_bytes, digest_of_document, seed_of
from alservice.network.allotment import head_weights, held_out, image_keys
from alservice.network.architectures import build_network, check_images
from alservice.network.config import FitConfig, FitResult
from alservice.network.likelihood import mixture_nll
from alservice.network.temperature import fit_temperature
from alservice.network.tensors import tensors_from_bytes, tensors_to_bytes
from alservice.network.trainer import Trainer, load_weights, part_of
from alservice.science.tree import Tree
from alservice.shapes import FloatArray, IntArray, UInt8Array

_HOLD_OUT_DRAWS: Final = 10
"""Posterior draws when the hold-out is asked: enough to rank states, cheap enough to repeat."""

_LEAST_HOLD_OUT: Final = 30
"""Held-out galaxies below which the last weights are kept: so few would choose among states by chance."""

_CHUNK: Final = 128
"""Held-out galaxies on the device at a time."""


def fit(
    images: UInt8Array,
    counts: FloatArray | IntArray,
    tree: Tree,
    config: FitConfig,
    *,
    device: str,
    progress: Callable[[float], None],
    initial: Mapping[str, Tensor] | None = None,
    weights: FloatArray | None = None,
    checkpoint: bytes | None = None,
    on_checkpoint: Callable[[bytes], None] | None = None,
    is_due: Callable[[int], bool] = lambda _step: False,
) -> FitResult:
    """Train a network on galaxies and their votes.

    Parameters
    ----------
    images
        (N, C, H, W) uint8 as `config.network` says.
    counts
        (N, A) votes in tree order, whole or not; a question nobody was asked has zeros and carries no loss.
    progress
        Told the loss (nats per galaxy) after every step.
    initial
        Weights to start from, such as the champion's; fresh ones without.
    weights
        (N,) how much each galaxy counts, such as `survey_weights`; all alike without. Those that train come so often,
        those held out have this weight in what chooses the state and fits the temperatures.
    checkpoint
        What `on_checkpoint` was last given by a run with the same arguments: this run goes on from there.
    on_checkpoint
        Given, at every look at the hold-out and where it is due, all that is needed to go on; the result is the same
        to the bit.
    is_due
        Asked after every step, by its number, whether a checkpoint is due; looks are places to resume from anyway.

    Raises
    ------
    BadVotes
        Images and votes do not go together, a row of votes is none, or there are fewer than two galaxies.
    BadImage
        The images are not what the network is for.
    BadInput
        The initial weights do not fit the network.
    Conflict
        The checkpoint is of a run with other arguments.
    DigestMismatch
        The checkpoint is damaged.
    NumericalFault
        The loss is not finite.
    """
    _check(images, counts, weights, tree, config)
    keys = image_keys(images)
    with _threads(config.threads), torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        network = build_network(config.network, tree, seed=config.seed)
        if initial is not None:
            load_weights(network, initial, what="the initial model")
            network.temperature.fill_(1)
        galaxies = _Galaxies.split(images, counts, weights, keys, config)
        run = _Run(
            trainer=Trainer(network.to(device), config, galaxies.rates),
            galaxies=galaxies,
            digest=_digest(keys, counts, tree, config, initial, weights),
        )
        if checkpoint is not None:
            run.resume(checkpoint)
        run.train(progress, on_checkpoint or _ignore, is_due)
        return run.result()


def origin_of(checkpoint: bytes) -> tuple[int, str]:
    """Return the steps behind a checkpoint and the digest of its run; raises `BadInput` or `DigestMismatch`."""
    _, document = tensors_from_bytes(checkpoint, what="a checkpoint")
    return int(document["step"]), str(document["run"])


def run_digest(
    images: UInt8Array,
    counts: FloatArray | IntArray,
    tree: Tree,
    config: FitConfig,
    initial: Mapping[str, Tensor] | None = None,
) -> str:
    """Return what names a run of galaxies that all count alike: its checkpoint is good for no other."""
    return _digest(image_keys(images), counts, tree, config, initial, None)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Galaxies:
    """Those that train, with their weight in the loss of each head, and those that judge.

    `rates` and `held_weights` are None where all galaxies count alike.
    """

    images: Tensor
    counts: Tensor
    weights: Tensor
    rates: Tensor | None
    held_images: Tensor
    held_counts: Tensor
    held_weights: Tensor | None

    @staticmethod
    def split(
        images: UInt8Array,
        counts: FloatArray | IntArray,
        weights: FloatArray | None,
        keys: tuple[str, ...],
        config: FitConfig,
    ) -> _Galaxies:
        held = held_out(keys, config.hold_out)
        votes = counts.astype(np.float32)
        of_heads = head_weights(keys, heads=config.network.heads, seed=config.seed)
        return _Galaxies(
            images=torch.from_numpy(images[~held]),
            counts=torch.from_numpy(votes[~held]),
            weights=torch.from_numpy(of_heads[~held]),
            rates=None if weights is None else torch.from_numpy(weights[~held]),
            held_images=torch.from_numpy(images[held]),
            held_counts=torch.from_numpy(votes[held]),
            held_weights=None if weights is None else torch.from_numpy(weights[held]),
        )


@dataclass(kw_only=True, slots=True)
class _Run:
    """A trainer, its looks at the hold-out, losses since the last one, and the averaged weights that looked best."""

    trainer: Trainer
    galaxies: _Galaxies
    digest: str
    history: list[dict[str, float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)

    def train(
        self,
        progress: Callable[[float], None],
        on_checkpoint: Callable[[bytes], None],
        is_due: Callable[[int], bool],
    ) -> None:
        trainer, galaxies, config = self.trainer, self.galaxies, self.trainer.config
        stops = sorted({-(-config.steps * look // config.looks) for look in range(1, config.looks + 1)})
        for stop in (stop for stop in stops if stop > trainer.step):
            while trainer.step < stop:
                self.losses.append(trainer.advance(galaxies.images, galaxies.counts, galaxies.weights))
                progress(self.losses[-1])
                if trainer.step < stop and is_due(trainer.step):
                    on_checkpoint(self._checkpoint())
            self._look(sum(self.losses) / len(self.losses))
            self.losses = []
            on_checkpoint(self._checkpoint())

    def resume(self, checkpoint: bytes) -> None:
        state, document = tensors_from_bytes(checkpoint, what="a checkpoint")
        if document.get("run") != self.digest:
            raise Conflict("the checkpoint is of a run on other galaxies, another tree or another configuration")
        self.trainer.restore(state, step=document["step"])
        self.history, self.losses = document["history"], document["losses"]
        self.best = part_of(state, "best")

    def result(self) -> FitResult:
        network = self.trainer.average
        network.load_state_dict(self.best)
        temperature = fit_temperature(
            self._held_draws(views=8), self._held_counts(), network.tree, weights=self._held_weights()
        )
        network.temperature.copy_(temperature)
        state = {name: tensor.cpu().contiguous().clone() for name, tensor in network.state_dict().items()}
        return FitResult(state=state, history=tuple(self.history), best_step=int(self._best()["step"]))

    def _look(self, loss: float) -> None:
        """Ask the hold-out, and keep the averaged weights if they are the best so far."""
        network = self.trainer.average
        nlls, weights = mixture_nll(self._held_draws(views=1), self._held_counts(), network.tree), self._held_weights()
        nll = nlls.sum(-1).mean() if weights is None else (nlls.sum(-1) * weights).sum() / weights.sum()
        self.history.append({"step": float(self.trainer.step), "train": loss, "hold_out": nll.item()})
        if self._best() is self.history[-1]:
            self.best = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    def _best(self) -> Mapping[str, float]:
        if len(self.galaxies.held_images) < _LEAST_HOLD_OUT:
            return self.history[-1]
        return min(self.history, key=lambda look: look["hold_out"])

    def _checkpoint(self) -> bytes:
        state = self.trainer.state() | {f"best/{name}": tensor for name, tensor in self.best.items()}
        step, history, losses = self.trainer.step, self.history, self.losses
        document = {"run": self.digest, "step": step, "history": history, "losses": losses}
        return tensors_to_bytes(state, document)

    def _held_counts(self) -> Tensor:
        return self.galaxies.held_counts.to(self.trainer.average.temperature.device)

    def _held_weights(self) -> Tensor | None:
        weights = self.galaxies.held_weights
        return None if weights is None else weights.to(self.trainer.average.temperature.device)

    @torch.inference_mode()
    def _held_draws(self, *, views: int) -> Tensor:
        """Return posterior draws (B, T, A) of the averaged network for the hold-out."""
        network = self.trainer.average
        masks = network.heads.posterior_masks(_HOLD_OUT_DRAWS, seed=seed_of(self.trainer.config.seed, "hold-out"))
        pixels = (
            network.pixels(chunk.to(network.temperature.device))
            for chunk in torch.split(self.galaxies.held_images, _CHUNK)
        )
        return torch.cat([network.draw(network.embed(chunk, views=views), masks) for chunk in pixels])


def _check(
    images: UInt8Array, counts: FloatArray | IntArray, weights: FloatArray | None, tree: Tree, config: FitConfig
) -> None:
    if len(images) != len(counts) or len(images) < 2:
        raise BadVotes(f"cannot train on {len(images)} images and {len(counts)} rows of votes")
    check_images(images, config.network)
    tree.check_columns(counts)
    bad = np.flatnonzero(~(np.isfinite(counts) & (counts >= 0)).all(axis=1))
    if len(bad):
        raise BadVotes(f"the votes of row {bad[0]} are not finite or are negative", row=int(bad[0]))
    if weights is not None and not (
        weights.shape == counts.shape[:1] and bool((np.isfinite(weights) & (weights > 0)).all())
    ):
        raise BadVotes(f"weights of galaxies must be {len(counts)} positive numbers")


def _digest(
    keys: tuple[str, ...],
    counts: FloatArray | IntArray,
    tree: Tree,
    config: FitConfig,
    initial: Mapping[str, Tensor] | None,
    weights: FloatArray | None,
) -> str:
    """Return what names a run: a checkpoint is good for the run with the same digest only."""
    return digest_of_document(
        {
            "images": keys,
            "counts": digest_of_bytes(counts.astype("<f4").tobytes()),
            "tree": tree.hash,
            "config": config.document(),
            "initial": None if initial is None else digest_of_bytes(tensors_to_bytes(initial, {})),
            "weights": None if weights is None else digest_of_bytes(weights.astype("<f8").tobytes()),
        }
    )


def _ignore(_checkpoint: bytes) -> None:
    """Keep nothing: a run without checkpoints starts anew."""


@contextmanager
def _threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
