"""Votes to weights: one recipe, the same bits for the same data, seed, device and threads.

AdamW with a short warm-up and a cosine to zero, on random views, each head on its own share of the galaxies. What is
kept is a running average of the weights, taken where the hold-out likes it best, with a precision temperature per
question fitted on the same hold-out.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from alservice.documents import document_of
from alservice.errors import BadConfig, BadInput, BadVotes, Conflict, NumericalFault
from alservice.ids import digest_of_bytes, digest_of_document, seed_of, stable_fraction
from alservice.network.architectures import Masks, Network, build_network, check_images
from alservice.network.augment import augment
from alservice.network.config import FitConfig, FitResult, on_threads, resolve_precision
from alservice.network.files import tensors_from_bytes, tensors_to_bytes
from alservice.network.finetuning import parameter_groups, parts_of, unfreeze
from alservice.network.likelihood import dirichlet_multinomial_nll, mixture_nll
from alservice.network.memory import on_device
from alservice.network.ranks import ALONE, Ranks, replicated
from alservice.science.tree import Tree
from alservice.shapes import BoolArray, FloatArray, IntArray, UInt8Array


def image_keys(images: UInt8Array) -> tuple[str, ...]:
    """Return the sha256 of each image (N, C, H, W): what a galaxy is called in training."""
    return tuple(digest_of_bytes(image.tobytes()) for image in images)


def held_out(keys: tuple[str, ...], fraction: float) -> BoolArray:
    """Return (N,) which galaxies are held out: the fraction with the smallest hashes, and at least one."""
    order = np.argsort([stable_fraction("hold-out", key) for key in keys], kind="stable")
    held = np.zeros(len(keys), dtype=bool)
    held[order[: max(1, round(fraction * len(keys)))]] = True
    return held


def head_weights(keys: tuple[str, ...], *, heads: int, seed: int) -> FloatArray:
    """Return the weight of each galaxy in the loss of each head: float32 (N, K), the mean of each row 1.

    A balanced bootstrap: every galaxy is left out of two heads in five, so that heads differ as bootstrap replicates
    do (a Poisson bootstrap leaves out 37 %), while all galaxies weigh the same on the shared trunk. With Poisson
    weights the trunk learned from noisier gradients and made unseen votes less likely.
    """
    left_out = 2 * heads // 5
    weights = np.full((len(keys), heads), heads / (heads - left_out), dtype=np.float32)
    for row, key in zip(weights, keys, strict=True):
        draws = np.frombuffer(hashlib.shake_128(f"{seed}:{key}".encode()).digest(8 * heads), dtype="<u8")
        row[np.argsort(draws, kind="stable")[:left_out]] = 0
    return weights


_HOLD_OUT_DRAWS: Final = 10
"""Posterior draws when the hold-out is asked: enough to rank states, cheap enough to repeat."""

_LEAST_HOLD_OUT: Final = 30
"""Held-out galaxies below which the last weights are kept: so few would choose among states by chance."""

_CHUNK: Final = 128
"""Held-out galaxies on the device at a time."""


@on_device()
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
    ranks: Ranks = ALONE,
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
    ranks
        Processes that train together, each with all galaxies: the first one's checkpoint is gone on from, and it alone
        is asked for checkpoints and gives them. Steps, batches, views and masks are those of one process, and weights
        agree with its own within rounding; so a run goes on with more ranks or fewer.

    Raises
    ------
    BadVotes
        Images and votes do not go together, a row of votes is none, or there are fewer than two galaxies.
    BadImage
        The images are not what the network is for.
    BadInput
        The initial weights do not fit the network.
    BadConfig
        There are more ranks than galaxies in a batch, or the network's layers cannot be shared by ranks.
    Conflict
        The checkpoint is of a run with other arguments, or another rank's arguments are not these.
    RankLost
        Another rank is gone.
    DigestMismatch
        The checkpoint is damaged.
    NumericalFault
        The loss is not finite.
    """
    _check(images, counts, weights, tree, config)
    keys = image_keys(images)
    if config.batch < ranks.size:
        raise BadConfig(f"a batch of {config.batch} has no galaxy for some of {ranks.size} ranks", batch=config.batch)
    if config.tuning is not None and ranks.size > 1:
        raise BadConfig("a trunk that was trained before is tuned by one process: start it without torchrun")
    with (
        on_threads(max(1, config.threads // ranks.local_size)),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
    ):
        network = build_network(config.network, tree, seed=config.seed)
        if initial is not None:
            load_weights(network, initial, what="the initial model")
            network.temperature.fill_(1)
        galaxies = _Galaxies.split(images, counts, weights, keys, config)
        run = _Run(
            trainer=Trainer(network.to(device), config, galaxies.rates, ranks),
            galaxies=galaxies,
            digest=_digest(keys, counts, tree, config, initial, weights),
            ranks=ranks,
        )
        ranks.check_same(run.digest, what="run")
        checkpoint = ranks.share(checkpoint)
        if checkpoint is not None:
            run.resume(checkpoint)
        keeps = ranks.is_first and on_checkpoint is not None
        run.train(progress, on_checkpoint if keeps else None, is_due)
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
    ranks: Ranks
    history: list[dict[str, float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)

    def train(
        self,
        progress: Callable[[float], None],
        on_checkpoint: Callable[[bytes], None] | None,
        is_due: Callable[[int], bool],
    ) -> None:
        trainer, galaxies, config = self.trainer, self.galaxies, self.trainer.config
        stops = sorted({-(-config.steps * look // config.looks) for look in range(1, config.looks + 1)})
        for stop in (stop for stop in stops if stop > trainer.step):
            while trainer.step < stop:
                self.losses.append(trainer.advance(galaxies.images, galaxies.counts, galaxies.weights))
                progress(self.losses[-1])
                if on_checkpoint is not None and trainer.step < stop and is_due(trainer.step):
                    on_checkpoint(self._checkpoint())
            self._look(sum(self.losses) / len(self.losses))
            self.losses = []
            if on_checkpoint is not None:
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
        """Return posterior draws (B, T, A) of the averaged network for the hold-out; each rank makes its part."""
        network, held = self.trainer.average, self.galaxies.held_images
        device, part = network.temperature.device, self.ranks.part(len(held))
        masks = network.heads.posterior_masks(_HOLD_OUT_DRAWS, seed=seed_of(self.trainer.config.seed, "hold-out"))
        drawn = torch.zeros(len(held), _HOLD_OUT_DRAWS, network.tree.n_answers, device=device)
        for first in range(part.start, part.stop, _CHUNK):
            rows = slice(first, min(first + _CHUNK, part.stop))
            pixels = network.pixels(held[rows].to(device))
            drawn[rows] = network.draw(network.embed(pixels, views=views), masks)
        return self.ranks.total(drawn)  # of a galaxy all but one rank say 0


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
            "config": document_of(config),
            "initial": None if initial is None else digest_of_bytes(tensors_to_bytes(initial, {})),
            "weights": None if weights is None else digest_of_bytes(weights.astype("<f8").tobytes()),
        }
    )


_MOMENTUM: Final = 0.95
_SIZE: Final = 0.6
"""Root mean square of a step at a learning rate of 1: three times Liu's, as found best with a cosine from 3e-3."""

_NEWTON_SCHULZ_STEPS: Final = 5
_QUINTIC: Final = (3.4445, -4.7750, 2.0315)
"""Coefficients that bring singular values of 0.001 to 1 into 0.7 to 1.2 in five iterations (Jordan)."""


class Muon:
    """Momenta of some weights, and the steps that follow from them.

    Parameters
    ----------
    weights
        Convolutions (O, I, H, W), taken as matrices (O, I H W).
    weight_decay
        Per step, times the learning rate.
    dtype
        Of the products that make a step orthogonal: its direction matters, not its last digits.
    """

    def __init__(self, weights: Sequence[Tensor], *, weight_decay: float, dtype: torch.dtype) -> None:
        self._weights = tuple(weights)
        self._weight_decay = weight_decay
        self._dtype = dtype
        self.momenta = tuple(torch.zeros_like(weight) for weight in weights)

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Move every weight by its gradient, looking ahead as Nesterov does."""
        for weight, momentum in zip(self._weights, self.momenta, strict=True):
            if weight.grad is None:
                continue
            momentum.lerp_(weight.grad, 1 - _MOMENTUM)
            ahead = torch.lerp(weight.grad, momentum, _MOMENTUM)
            size = _SIZE * max(len(weight), weight[0].numel()) ** 0.5
            weight.mul_(1 - learning_rate * self._weight_decay)
            weight.add_(orthogonal(ahead, dtype=self._dtype), alpha=-learning_rate * size)


def orthogonal(weights: Tensor, *, dtype: torch.dtype) -> Tensor:
    """Return a matrix (O, ...) with all its singular values set to about 1, in its shape and dtype."""
    a, b, c = _QUINTIC
    flat = weights.flatten(1).to(dtype)
    x: Tensor = flat.T if len(flat) > flat.shape[1] else flat
    x = x / (x.norm() + 1e-7)
    for _ in range(_NEWTON_SCHULZ_STEPS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    even = x.T if len(flat) > flat.shape[1] else x
    return even.reshape(weights.shape).to(weights.dtype)


_REFIT_DRAWS = 30
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
        masks = heads.posterior_masks(_REFIT_DRAWS, seed=seed_of(config.seed, "hold-out"))
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


_PRIOR_WIDTH: Final = 0.5
"""Standard deviation of ln tau before any galaxy is seen: 68 % within 0.6-1.6, so a few galaxies move it little."""

_REACH: Final = 5.0
"""Largest |ln tau| searched: ten prior widths, out of reach of any number of votes that training left so wrong."""

_GOLDEN: Final = (math.sqrt(5) - 1) / 2
_NEWTON_STEPS: Final = 25
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
    for _ in range(_NEWTON_STEPS):
        span = _GOLDEN * (high - low)
        left_is_better = objective(high - span) < objective(low + span)
        low, high = torch.where(left_is_better, low, high - span), torch.where(left_is_better, low + span, high)
    return torch.exp((low + high) / 2).float()


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
    ranks
        Processes that take each step together.
    """

    def __init__(self, network: Network, config: FitConfig, rates: Tensor | None = None, ranks: Ranks = ALONE) -> None:
        self.config = config
        self.network = network.train()
        self.average = copy.deepcopy(network).eval().requires_grad_(False)
        self._ranks = ranks
        self._losses = replicated(_Losses(network), ranks)
        self.step = 0
        convolutions = _hidden_convolutions(network) if config.optimiser == "muon" else []
        precision = resolve_precision(config.precision, network.temperature.device.type)
        self._muon = Muon(convolutions, weight_decay=config.weight_decay, dtype=precision)
        self._parts = parts_of(network, config)
        groups = parameter_groups(self._parts, apart=convolutions, weight_decay=config.weight_decay)
        self._optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, betas=_BETAS)
        if config.tuning is not None:
            network.trunk.eval()  # batch norms keep their means and variances
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
        config = self.config
        if config.tuning is not None:
            unfreeze(self.network, self._parts, self.step)
        with self._ranks.guarded():
            loss = self._loss(images, counts, weights)
            self.network.zero_grad()
            torch.autograd.backward(loss)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), _MAX_GRADIENT)
        if not math.isfinite(norm.item()):
            raise NumericalFault(f"training: the gradient of step {self.step} is not finite", step=self.step)
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate(config, self.step) * group["scale"]
        self._optimiser.step()
        self._muon.step(learning_rate(config, self.step))
        self.step += 1
        self._track()
        return self._ranks.total(loss.detach()).item() / self._ranks.size

    def _loss(self, images: Tensor, counts: Tensor, weights: Tensor) -> Tensor:
        """Return the mean loss of this rank's part of the batch; the mean over ranks is that of the batch."""
        batch, config = self._rows(len(images)), self.config
        device = self.network.temperature.device
        part = self._ranks.part(len(batch))
        rows = batch[part]
        views = augment(
            images[rows].to(device),
            config.augmentation,
            output_px=config.network.input_px,
            generator=torch.Generator().manual_seed(seed_of(config.seed, "views", self.step)),
            batch=len(batch),
            first=part.start,
        )
        masks = self.network.heads.training_masks(len(batch), seed=seed_of(config.seed, "dropout", self.step))
        losses_KB: Tensor = self._losses(
            views,
            masks.of_rows(part),
            counts[rows].to(device),
            precision=resolve_precision(config.precision, device.type),
            mean_precision=config.mean_precision,
        )
        mean: Tensor = (losses_KB * weights[rows].T.to(device)).mean()
        return mean * (len(rows) * self._ranks.size / len(batch))

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


class _Losses(nn.Module):
    """A network called for its losses: what takes steps on several ranks wraps a module's `forward`."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, views: Tensor, masks: Masks, counts: Tensor, *, precision: torch.dtype, mean_precision: float
    ) -> Tensor:
        """Return the losses (G, B) of the network."""
        return self.network.losses(views, masks, counts, precision=precision, mean_precision=mean_precision)


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
