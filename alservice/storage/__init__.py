"""Big immutable bytes, and how arrays and images become them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, Protocol

from alservice.ids import StoredObject
from alservice.science.evaluation import Assessment
from alservice.science.posterior import Posterior
from alservice.science.prediction import Prediction
from alservice.science.tree import Tree
from alservice.shapes import FloatArray, IntArray, UInt8Array

__all__ = [
    "ArrayCodec",
    "ImageCodec",
    "ObjectGroup",
    "ObjectStore",
]


class ObjectGroup(Protocol):
    """Objects that need not survive a power cut one by one: all do once they are synced.

    Safe to share between threads. What is put after `sync` began may still be on its way when it returns.
    """

    def put(self, data: bytes, *, kind: str, suffix: str) -> StoredObject:
        """Store bytes as `ObjectStore.put` does; they may be published by the next `sync` only."""

    def sync(self) -> None:
        """Return once all that was put before is published and durable; raises as `ObjectStore.put`."""


class ObjectStore(Protocol):
    """Big immutable bytes, named by their digest.

    Keys are ``{kind}/{first two hex}/{sha256}{suffix}``. A write goes to a temporary name first, so that a published
    key is always complete. Putting the same bytes twice gives the same key and writes once.
    """

    def put(self, data: bytes, *, kind: str, suffix: str) -> StoredObject:
        """Store bytes; raises `StorageFull` or `ObjectStoreUnavailable`."""

    def put_file(self, path: Path, *, kind: str, suffix: str) -> StoredObject:
        """Store a file in flat memory."""

    def group(self) -> AbstractContextManager[ObjectGroup]:
        """Open a group to put many small objects into; what is not synced when it closes may be lost."""

    def get(self, key: str) -> bytes:
        """Return the bytes; raises `NotFound`, or `DigestMismatch` when they are not what the key says."""

    def exists(self, key: str) -> bool:
        """Return whether the key is published."""

    def delete(self, key: str) -> None:
        """Remove the key; absent is fine."""

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield published keys in order."""

    def check(self) -> None:
        """Write, read back and delete a probe; raises what is wrong."""


class ImageCodec(Protocol):
    """Image bytes to arrays, bounded before anything is decoded."""

    def decode(self, data: bytes, *, size_px: int, channels: Literal[1, 3]) -> UInt8Array:
        """Return (C, H, W) uint8; raises `BadImage`."""

    def for_volunteers(self, data: bytes) -> bytes:
        """Return an image file with its pixels alone, if Zooniverse would take and show it; raises `BadImage`."""

    def sniff(self, data: bytes) -> str:
        """Return the MIME type that the first bytes declare; raises `BadImage`."""


class ArrayCodec(Protocol):
    """Arrays to bytes and back; equal arrays give equal bytes."""

    def pack_images(self, galaxy_ids: Sequence[str], images: UInt8Array) -> bytes:
        """Encode (N, C, H, W) uint8 with its ids."""

    def unpack_images(self, data: bytes) -> tuple[tuple[str, ...], UInt8Array]:
        """Decode what `pack_images` wrote."""

    def encode_posterior(self, posterior: Posterior) -> bytes:
        """Encode a posterior shard as Parquet."""

    def decode_posterior(self, data: bytes) -> Posterior:
        """Decode what `encode_posterior` wrote."""

    def encode_prediction(self, prediction: Prediction) -> bytes:
        """Encode a prediction shard as Parquet."""

    def decode_prediction(self, data: bytes) -> Prediction | Posterior:
        """Decode what `encode_prediction` or, in releases before it, `encode_posterior` wrote."""

    def encode_assessment(self, assessment: Assessment) -> bytes:
        """Encode figures per galaxy as safetensors."""

    def decode_assessment(self, data: bytes, tree: Tree) -> Assessment:
        """Decode what `encode_assessment` wrote of a posterior on the same tree."""

    def encode_counts(self, galaxy_ids: Sequence[str], counts: IntArray, columns: Sequence[str]) -> bytes:
        """Encode votes (N, A) with the names of their answer columns."""

    def decode_counts(self, data: bytes) -> tuple[tuple[str, ...], IntArray | FloatArray, tuple[str, ...]]:
        """Decode what `encode_counts` wrote."""

    def encode_fractions(self, galaxy_ids: Sequence[str], fractions: FloatArray, columns: Sequence[str]) -> bytes:
        """Encode recorded answer probabilities (N, A), NaN where not recorded."""

    def decode_fractions(self, data: bytes) -> tuple[tuple[str, ...], FloatArray, tuple[str, ...]]:
        """Decode what `encode_fractions` wrote."""
