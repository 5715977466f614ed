"""Which device computes."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from alservice.errors import BadConfig
from alservice.network.config import Precision


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
