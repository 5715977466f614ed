"""What every object store does alike: name content, check it on read, prove itself."""

from __future__ import annotations

import hashlib
from typing import BinaryIO, Final
from uuid import uuid4

from alservice.errors import DigestMismatch
from alservice.ids import digest_of_bytes
from alservice.objects import StoredObject, digest_of_key, object_key
from alservice.storage import ObjectStore

TEMPORARY: Final = ".tmp"
"""Folder of unpublished objects: no kind can start with a dot, so no key ever lies here."""

CHUNK_BYTES: Final = 1024 * 1024
"""Bytes held while a file is hashed or copied."""


def describe(source: BinaryIO, *, kind: str, suffix: str) -> StoredObject:
    """Return the name of a stream's content, reading it once to its end in flat memory."""
    sha256 = hashlib.sha256()
    size_bytes = 0
    while chunk := source.read(CHUNK_BYTES):
        sha256.update(chunk)
        size_bytes += len(chunk)
    digest = sha256.hexdigest()
    return StoredObject(key=object_key(kind, digest, suffix), digest=digest, size_bytes=size_bytes)


def checked(key: str, data: bytes) -> bytes:
    """Return the bytes read for a key, or raise `DigestMismatch` that names it."""
    found = digest_of_bytes(data)
    if found != digest_of_key(key):
        raise DigestMismatch(f"object {key} does not hold what its name promises", key=key, found=found)
    return data


def check_store(store: ObjectStore) -> None:
    """Write a probe, read it back and delete it; raises whatever is wrong.

    The content is new every time, so that two checks at once do not delete each other's probe.
    """
    probe = store.put(f"alservice probe {uuid4()}".encode(), kind="probes", suffix=".txt")
    store.get(probe.key)
    store.delete(probe.key)
