"""Tensors and a JSON document to and from bytes: safetensors with a digest over all of it, never pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from alservice.errors import BadInput, DigestMismatch
from alservice.ids import digest_of_document

_KEY = "alservice"
MAX_HEADER_BYTES = 16 << 20
"""Longest header: a card with its training curve has some kilobytes, and JSON takes twenty times its length."""

_LENGTH_BYTES = 8
"""safetensors: a little-endian length, that many bytes of JSON header, then the tensors."""


def tensors_to_bytes(tensors: Mapping[str, Tensor], document: Mapping[str, Any]) -> bytes:
    """Return tensors and a JSON document as one safetensors file; equal inputs give equal bytes."""
    flat = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    envelope = {"document": document, "digest": _digest(flat, document)}
    # One metadata key: the writer does not keep the order of several.
    return save(flat, {_KEY: json.dumps(envelope, sort_keys=True, separators=(",", ":"), allow_nan=False)})


def tensors_from_bytes(data: bytes, *, what: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the document.

    Raises
    ------
    BadInput
        The bytes are no such file; the message says they are not `what`.
    DigestMismatch
        They are, but not as they were written.
    """
    end_of_header = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")
    if end_of_header > min(len(data), MAX_HEADER_BYTES):
        raise BadInput(f"not {what}: its header ends after it does, or after {MAX_HEADER_BYTES:,} bytes")
    try:
        tensors = load(data)
        envelope = json.loads(json.loads(data[_LENGTH_BYTES:end_of_header])["__metadata__"][_KEY])
        document, digest = envelope["document"], envelope["digest"]
        found = _digest(tensors, document)
    except (SafetensorError, ValueError, LookupError, TypeError, RecursionError, RuntimeError) as error:
        raise BadInput(f"not {what}: {error}") from error
    if not isinstance(document, dict):
        raise BadInput(f"not {what}: its document is no object")
    if digest != found:
        raise DigestMismatch(f"{what} is damaged: its bytes are not those that were written", digest=str(digest)[:64])
    return tensors, document


def _digest(tensors: Mapping[str, Tensor], document: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(digest_of_document(document).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
