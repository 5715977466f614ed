"""A device whose memory is full is an error with a code, wherever it is computed on."""

import pytest
import torch

from alservice.errors import DeviceMemoryFull, Retriable
from alservice.network.draws import HeadSampler
from alservice.network.memory import on_device
from alservice.network.sampling import Embedder
from alservice.network.training import fit

SAID = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:126] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"),
    RuntimeError("CUDA error: out of memory"),
)


@pytest.mark.parametrize("error", SAID)
def test_full_memory_may_pass(error: RuntimeError) -> None:
    """Whatever allocator says it: another program has its share, and gives it back."""
    with pytest.raises(DeviceMemoryFull, match="too little memory") as told, on_device():
        raise error
    assert isinstance(told.value, Retriable)
    assert told.value.__cause__ is error


def test_other_errors_stay_what_they_are() -> None:
    """Kind: every RuntimeError taken for want of memory, and tried again for ever."""
    with pytest.raises(RuntimeError, match="shapes") as told, on_device():
        raise RuntimeError("shapes do not fit")
    assert not isinstance(told.value, DeviceMemoryFull)


@pytest.mark.parametrize("door", [fit, Embedder.embed, HeadSampler.draws, HeadSampler.moments, HeadSampler.both])
def test_every_door_to_the_device_tells(door: object) -> None:
    """Training, embedding, and draws."""
    assert hasattr(door, "__wrapped__")
