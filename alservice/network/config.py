"""What a training run is asked to do, and what it leaves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from alservice.errors import BadConfig
from alservice.network.architectures import NetworkConfig, Optimiser
from alservice.network.augment import Augmentation


def resolve_device(name: str) -> str:
    """Return a torch device that is there; ``auto`` takes a GPU when there is one.

    Raises
    ------
    BadConfig
        The name is no device, or that device is not on this machine.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise BadConfig(f"device: {name!r} cannot be used: {reason}", device=name) from error
    return name


def resolve_devices(names: str) -> tuple[str, ...]:
    """Return the torch devices of a list with commas; ``auto`` takes all GPUs that there are.

    Raises
    ------
    BadConfig
        A name is no device, or that device is not on this machine.
    """
    if names.strip() == "auto" and torch.cuda.device_count() > 1:
        return tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))
    return tuple(resolve_device(name.strip()) for name in names.split(","))


def precision_name(name: str, device: str) -> Precision:
    """Return the name of a precision, to be kept with what is made in it; ``auto`` is the faster one on a device.

    Raises
    ------
    BadConfig
        The name is none of ``auto``, ``float32`` and ``bfloat16``.
    """
    known: Mapping[str, Precision] = {"float32": "float32", "bfloat16": "bfloat16"}
    if name == "auto":
        return "bfloat16" if _is_bfloat16_native(device) else "float32"
    if name not in known:
        raise BadConfig(f"precision: {name!r} is none of auto, {', '.join(known)}", precision=name)
    return known[name]


def resolve_precision(name: str, device: str) -> torch.dtype:
    """Return the dtype that a trunk computes in; raises what `precision_name` raises."""
    return torch.bfloat16 if precision_name(name, device) == "bfloat16" else torch.float32


def _is_bfloat16_native(device: str) -> bool:
    if device.startswith("cuda"):
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # Elsewhere it is emulated, and slower than float32.
    # The oldest releases that are allowed cannot tell; there it is float32.
    capabilities: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return device == "cpu" and bool(capabilities.get("avx512_bf16"))


def use_threads(n: int) -> None:
    """Have this process compute on n CPU threads: side by side, processes with more only wait for each other."""
    torch.set_num_threads(n)


@contextmanager
def on_threads(n: int | None) -> Iterator[None]:
    """Compute on n CPU threads for a while; None for as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(n or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


Precision: TypeAlias = Literal["float32", "bfloat16"]


_DECAY, _DECAY_STEPS = 0.3, 1000
"""Weight decay that suits a thousand steps, as found on some hundred to some thousand galaxies."""


def decay_of(steps: int) -> float:
    """Return the weight decay of a run: in all no more than that of a thousand steps.

    Decay acts at every step. At a constant rate it erodes in 13,000 steps what rare questions have taught: on 21,600
    galaxies of the Kaggle table the RMSE of Bar was 0.25 with 0.3, and 0.19 with 0.02.
    """
    return _DECAY * min(1.0, _DECAY_STEPS / steps)


@dataclass(frozen=True, kw_only=True, slots=True)
class FineTuning:
    """How a trunk that was trained before goes on learning: heads first, then block after block from the top.

    Batch norms of the trunk keep the means and variances they came with; few galaxies would spoil them.

    Parameters
    ----------
    blocks
        Blocks of the trunk that learn, counted from the top (`trunk_blocks`); None for all.
    frozen
        Share of the steps in which heads learn alone. The blocks then join one by one, evenly over as many steps again.
    rate
        Learning rate of the top block over that of the heads.
    decay
        Learning rate of each block over that of the one above.
    """

    blocks: int | None = None
    frozen: float = 0.3
    rate: float = 0.3
    decay: float = 0.75

    def __post_init__(self) -> None:
        """Refuse what is no schedule."""
        if self.blocks is not None and (type(self.blocks) is not int or self.blocks < 0):
            raise BadConfig(f"fine-tuning needs 0 or more blocks: {self}", option="unfreeze")
        if not (0 <= self.frozen <= 0.5 and 0 < self.rate <= 1 and 0 < self.decay <= 1):
            raise BadConfig(f"fine-tuning needs frozen of 0 to 0.5, rate and decay above 0 and at most 1: {self}")


@dataclass(frozen=True, kw_only=True, slots=True)
class FitConfig:
    """How a network is trained.

    Parameters
    ----------
    steps, batch
        Gradient steps, and galaxies in each.
    learning_rate, weight_decay
        Of the optimiser; gains and biases do not decay.
    optimiser
        ``adamw``, or ``muon`` for the convolutions of the trunk and AdamW for the rest: a step takes a tenth longer,
        and long runs on many galaxies learn more from it.
    warm_up
        Share of the steps until the learning rate is reached.
    average
        Decay of the running average of the weights, per step.
    hold_out
        Share of the galaxies that chooses the state and fits the temperatures.
    looks
        How often the hold-out is asked, spread evenly; each look is also a place to resume from.
    threads
        CPU threads: part of the configuration, because sums are split by them.
    mean_precision
        Precision of votes at which their means are learned (`training_nll`): 40, about the votes of a galaxy, for many
        galaxies that stand for the survey; a tenth of it for some hundred of a selection, where means that are too
        sure do most harm.
    precision
        Of the products in the trunk: ``float32``, or ``bfloat16`` (autocast), faster where the device has it natively.
    tuning
        How a trunk that was trained before learns; None where the whole network learns from the first step.
    """

    network: NetworkConfig
    steps: int
    batch: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = _DECAY
    optimiser: Optimiser = "adamw"
    warm_up: float = 0.1
    average: float = 0.99
    hold_out: float = 0.1
    looks: int = 10
    threads: int = 2
    mean_precision: float = 40.0
    precision: Precision = "float32"
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)
    tuning: FineTuning | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot train."""
        if min(self.steps, self.looks, self.threads) < 1 or self.batch < 2:
            raise BadConfig(f"training needs steps, looks and threads >= 1 and batch >= 2: {self}")
        if not (0 < self.hold_out < 1 and 0 <= self.warm_up < 1 and 0 <= self.average < 1):
            raise BadConfig(f"training needs hold_out, warm_up and average as shares below 1: {self}")
        if self.optimiser not in {"adamw", "muon"}:
            raise BadConfig(f"training needs optimiser adamw or muon: {self}")
        if self.tuning is not None and self.optimiser != "adamw":
            raise BadConfig(f"fine-tuning needs optimiser adamw: {self}")
        if self.precision not in {"float32", "bfloat16"}:
            raise BadConfig(f"training needs precision float32 or bfloat16: {self}")
        if not (self.learning_rate > 0 and self.weight_decay >= 0 and 0 < self.mean_precision < math.inf):
            raise BadConfig(f"training needs learning_rate > 0, weight_decay >= 0 and mean_precision > 0: {self}")


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """What training left.

    Parameters
    ----------
    state
        Weights and buffers by name, on the CPU; the temperatures are among them.
    history
        The training curve, a line per look: `step`, and `train` and `hold_out` in nats per galaxy.
    best_step
        Steps after which the weights kept were reached.
    """

    state: Mapping[str, Tensor]
    history: tuple[Mapping[str, float], ...]
    best_step: int
