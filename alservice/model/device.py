"""Which device computes."""

from __future__ import annotations

import torch

from alservice.errors import BadConfig


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


def use_threads(n: int) -> None:
    """Have this process compute on n CPU threads: side by side, processes with more only wait for each other."""
    torch.set_num_threads(n)
