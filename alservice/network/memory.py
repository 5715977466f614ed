"""Memory of the device that runs out, as an error with a code: another program's share of a GPU comes and goes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

from alservice.errors import DeviceMemoryFull

_SAYINGS: Final = ("out of memory", "can't allocate memory", "not enough memory")
"""How torch's allocators say it where the error has no type of its own."""


@contextmanager
def on_device() -> Iterator[None]:
    """Compute on a device; a block, or as decorator a function.

    Raises
    ------
    DeviceMemoryFull
        Its memory did not suffice; what torch had kept for later is given back.
    """
    try:
        yield
    except RuntimeError as error:
        told = str(error)
        if not isinstance(error, torch.OutOfMemoryError) and not any(text in told for text in _SAYINGS):
            raise
        if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.empty_cache()
        raise DeviceMemoryFull(f"the device has too little memory: {told.partition(chr(10))[0]}") from error
