"""Processes that train one network together: what each has of a batch, and how they agree.

`torchrun` starts them and says by the environment which one this is; torch's distributed package joins them. Every
rank has the same network and the same galaxies, takes its part of each batch, and moves its weights by the gradient of
the whole. The first one writes and talks.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType
from typing import Any, Final, TypeVar, cast

import torch
from torch import Tensor, distributed, nn

from alservice.errors import BadConfig, Conflict, RankLost

T = TypeVar("T")

SILENCE: Final = timedelta(minutes=10)
"""How long a rank waits for the others: reading a catalogue and looking at a hold-out take less."""

_BETWEEN_RANKS: Final = re.compile(
    r"gloo|nccl|c10d|ProcessGroup|TCPStore|connection (closed|reset|refused)", re.IGNORECASE
)
"""What an error says that is not of this rank's own work."""


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """The processes that train together, as one of them sees them; a run without `torchrun` is one alone.

    Parameters
    ----------
    rank, size
        Which one this is, and how many there are.
    local_rank, local_size
        The same among those of this machine.
    device
        Where this one computes; of several GPUs each rank of a machine has its own.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    device: str = "cpu"

    @property
    def is_first(self) -> bool:
        """Whether this one writes files and shows progress."""
        return self.rank == 0

    def part(self, n: int) -> slice:
        """Return which of n rows are this rank's: parts are in the order of ranks and differ by a row at most."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def share(self, value: T) -> T:
        """Return what the first rank gives; what the others give is not looked at. All wait for it.

        Raises
        ------
        RankLost
            Another rank is gone, or did not come.
        """
        if self.size == 1:
            return value
        values = [value if self.is_first else None]
        with self.guarded():
            distributed.broadcast_object_list(values, src=0, device=torch.device(self.device))
        return cast("T", values[0])

    def total(self, tensor: Tensor) -> Tensor:
        """Return the sum over all ranks; without gradient. Raises what `share` raises."""
        if self.size == 1:
            return tensor
        summed = tensor.detach().clone()
        with self.guarded():
            distributed.all_reduce(summed)
        return summed

    def check_same(self, text: str, *, what: str) -> None:
        """Raise `Conflict` on every rank unless all ranks give the same text; also what `share` raises."""
        if self.size == 1:
            return
        texts: list[str | None] = [None] * self.size
        with self.guarded():
            distributed.all_gather_object(texts, text)
        differing = [rank for rank, other in enumerate(texts) if other != texts[0]]
        if differing:
            raise Conflict(
                f"rank {differing[0]} has another {what} than rank 0: all need the same files and options",
                ranks=differing,
            )

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Raise `RankLost` in place of what torch raises where another rank is gone; errors of our own work pass."""
        try:
            yield
        except RuntimeError as error:
            is_ours = not isinstance(error, distributed.DistError) and _BETWEEN_RANKS.search(str(error)) is None
            if self.size == 1 or is_ours:
                raise
            reason = str(error).strip().partition("\n")[0][:300]
            raise RankLost(f"rank {self.rank} of {self.size} lost another: {reason}", rank=self.rank) from error


ALONE: Final = Ranks()
"""One process."""


@contextmanager
def joined_ranks(device: str, *, silence: timedelta = SILENCE) -> Iterator[Ranks]:
    """Join the ranks that `torchrun` started, for as long as a block runs; may be nested, and is one alone without.

    Parameters
    ----------
    device
        A device that is there: ``cpu`` (ranks talk by gloo) or ``cuda`` (by NCCL).
    silence
        How long a rank waits for the others.

    Raises
    ------
    BadConfig
        A machine has more ranks than GPUs, all ranks are to share one, or the environment is no work of `torchrun`.
    RankLost
        Another rank is gone or did not come; or this one was told to end, as `torchrun` does when another is gone.
    """
    size = _number("WORLD_SIZE", 1)
    if size == 1:
        yield Ranks(device=device)
        return
    rank, local_rank, local_size = _number("RANK", 0), _number("LOCAL_RANK", 0), _number("LOCAL_WORLD_SIZE", 1)
    ranks = Ranks(
        rank=rank,
        size=size,
        local_rank=local_rank,
        local_size=local_size,
        device=_device_of(device, local_rank, local_size),
    )
    if distributed.is_initialized():
        yield ranks
        return
    before = signal.signal(signal.SIGTERM, _told_to_end)
    try:
        with ranks.guarded():
            backend = "nccl" if ranks.device.startswith("cuda") else "gloo"
            distributed.init_process_group(backend, timeout=silence)
        yield ranks
    finally:
        signal.signal(signal.SIGTERM, before)
    # In order only: after an error the others may be gone, and the process that ends is told to them by its closing.
    distributed.destroy_process_group()


def _number(name: str, default: int) -> int:
    given = os.environ.get(name, str(default))
    if not given.isdecimal():
        raise BadConfig(f"{name} is {given!r}: start ranks by torchrun, which sets it")
    return int(given)


def _device_of(device: str, local_rank: int, local_size: int) -> str:
    if not device.startswith("cuda"):
        return device
    if device != "cuda":
        raise BadConfig(f"device {device!r} cannot be that of {local_size} ranks: give cuda, and each has its own")
    n_gpus = torch.cuda.device_count()
    if local_size > n_gpus:
        raise BadConfig(f"{local_size} ranks need a GPU each, and this machine has {n_gpus}: lower --nproc-per-node")
    torch.cuda.set_device(local_rank)
    return f"cuda:{local_rank}"


def _told_to_end(_signal: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise RankLost("told to end: another rank is gone, or torchrun was stopped")


def replicated(module: nn.Module, ranks: Ranks) -> nn.Module:
    """Return a module whose gradients are means over all ranks, and whose batch norms see whole batches.

    Parameters
    ----------
    module
        On this rank's device, the same on every rank; its batch norms are replaced in place. One alone is left as it
        is.

    Raises
    ------
    BadConfig
        It has batch norms of a kind that cannot be replaced.
    """
    if ranks.size == 1:
        return module
    _check_norms(module)
    on_gpu = ranks.device.startswith("cuda")
    convert: Callable[[nn.Module], nn.Module] = nn.SyncBatchNorm.convert_sync_batchnorm
    whole = convert(module) if on_gpu else _with_rank_norms(module)
    with ranks.guarded():
        # Statistics of batch norms are the same everywhere already.
        return nn.parallel.DistributedDataParallel(whole, broadcast_buffers=False)


def _check_norms(module: nn.Module) -> None:
    for name, layer in module.named_modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and type(layer) is not nn.BatchNorm2d:  # noqa: SLF001
            raise BadConfig(f"{name} is a {type(layer).__name__}, which cannot see the whole batch of several ranks")


def _with_rank_norms(module: nn.Module) -> nn.Module:
    for name, layer in module.named_children():
        if isinstance(layer, nn.BatchNorm2d):
            setattr(module, name, _RankBatchNorm(layer))
        else:
            _with_rank_norms(layer)
    return module


class _RankBatchNorm(nn.BatchNorm2d):
    """Batch norm by the statistics of all ranks' images, where torch's own (`nn.SyncBatchNorm`) wants a GPU.

    Parameters
    ----------
    plain
        What it takes the place of; weights and buffers are shared.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, plain: nn.BatchNorm2d) -> None:
        super().__init__(plain.num_features, eps=plain.eps, momentum=plain.momentum)
        self.weight, self.bias = plain.weight, plain.bias
        for name, buffer in plain.named_buffers():
            self.register_buffer(name, buffer)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return images (B, C, H, W) of this rank, normed by all ranks' mean and variance per channel."""
        if not self.training:
            return super().forward(pixels)
        x = pixels.float()
        count = _sum(torch.full((), float(x.numel() // x.shape[1])))
        mean = _sum(x.sum((0, 2, 3))) / count
        centred = x - mean[:, None, None]
        variance = _sum(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            momentum = cast("float", self.momentum)
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * count / (count - 1), momentum)
            self.num_batches_tracked += 1
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(pixels.dtype)


class _Sum(torch.autograd.Function):
    """A sum over ranks; every rank's loss depends on it, so its gradient is the sum of theirs."""

    @staticmethod
    def forward(_context: Any, tensor: Tensor) -> Tensor:
        """Return the sum."""
        summed = tensor.clone()
        distributed.all_reduce(summed)
        return summed

    @staticmethod
    def backward(_context: Any, *gradients: Any) -> Tensor:
        """Return the gradient."""
        summed: Tensor = gradients[0].clone()
        distributed.all_reduce(summed)
        return summed


def _sum(tensor: Tensor) -> Tensor:
    summed: Tensor = _Sum.apply(tensor)  # type: ignore[no-untyped-call]
    return summed
