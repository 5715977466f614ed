"""Tensors with a document as bytes: deterministic, complete, and checked."""

import pytest
import torch

from alservice.errors import BadInput, DigestMismatch
from alservice.network.files import tensors_from_bytes, tensors_to_bytes

TENSORS = {
    "weight": torch.arange(24.0).view(1, 2, 3, 4).contiguous(memory_format=torch.channels_last),
    "steps": torch.tensor(7),
    "half": torch.ones(3, dtype=torch.float16),
}
DOCUMENT = {"name": "µ", "curve": [0.1, 1e-30], "none": None}


def test_what_was_written_is_read():
    """Tensors keep names, types, shapes and values; the document keeps its numbers exactly."""
    tensors, document = tensors_from_bytes(tensors_to_bytes(TENSORS, DOCUMENT), what="x")
    assert document == DOCUMENT
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in TENSORS.items())
    assert all(tensors[name].dtype == tensor.dtype for name, tensor in TENSORS.items())


def test_equal_inputs_give_equal_bytes():
    """Neither the order of names nor the memory layout shows."""
    shuffled = {name: TENSORS[name].contiguous() for name in reversed(TENSORS)}
    again = tensors_to_bytes(shuffled, dict(reversed(DOCUMENT.items())))
    assert again == tensors_to_bytes(TENSORS, DOCUMENT)


def test_any_flipped_bit_is_noticed():
    """Wherever one bit changes, in the header, the document or a tensor, reading raises a named error."""
    data = tensors_to_bytes(TENSORS, DOCUMENT)
    for position in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[position] ^= 1
        with pytest.raises((BadInput, DigestMismatch)):
            tensors_from_bytes(bytes(damaged), what="x")


def test_changed_weights_are_called_damaged():
    """A change in the last byte, which safetensors itself accepts, is a mismatch of digests."""
    data = tensors_to_bytes(TENSORS, DOCUMENT)
    with pytest.raises(DigestMismatch, match="a model"):
        tensors_from_bytes(data[:-1] + bytes([data[-1] ^ 1]), what="a model")
