"""Objects as files of a local directory."""

from __future__ import annotations

import errno
import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final
from uuid import uuid4

from alservice.errors import NotFound, ObjectStoreRefused, ObjectStoreUnavailable, StorageFull
from alservice.objects import StoredObject, digest_of_key, is_object_key
from alservice.storage.content import CHUNK_BYTES, TEMPORARY, check_store, checked, describe

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_REFUSED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR})


class LocalObjects:
    """An `ObjectStore` in a directory, which the first write creates.

    An object is written under ``.tmp``, synced, and renamed: whoever dies when, a key either holds everything
    or does not exist. What a killed writer leaves under ``.tmp`` may be deleted while nobody writes.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, data: bytes, *, kind: str, suffix: str) -> StoredObject:
        """Store bytes; see `ObjectStore.put`."""
        return self._store(io.BytesIO(data), kind=kind, suffix=suffix)

    def put_file(self, path: Path, *, kind: str, suffix: str) -> StoredObject:
        """Store a file's content in flat memory; see `ObjectStore.put_file`."""
        with path.open("rb") as source:
            return self._store(source, kind=kind, suffix=suffix)

    def get(self, key: str) -> bytes:
        """Return checked bytes; see `ObjectStore.get`."""
        path = self._path(key)
        with self._faults(key):
            try:
                data = path.read_bytes()
            except FileNotFoundError as error:
                raise NotFound(f"no object {key} in {self._root}", key=key) from error
        return checked(key, data)

    def exists(self, key: str) -> bool:
        """Return whether a key is published."""
        path = self._path(key)
        with self._faults(key):
            return path.is_file()

    def delete(self, key: str) -> None:
        """Remove a key; an absent one is fine."""
        path = self._path(key)
        with self._faults(key):
            path.unlink(missing_ok=True)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield the published keys that start with a prefix, sorted."""
        with self._faults(f"{prefix}*"):
            # Sorting "kind/" rather than "kind" puts a-b/ before a/, as keys do.
            for kind in sorted(f"{folder.name}/" for folder in _folders(self._root)):
                if kind.startswith(prefix) or prefix.startswith(kind):
                    for shard in sorted(_folders(self._root / kind)):
                        keys = sorted(f"{kind}{shard.name}/{entry.name}" for entry in shard.iterdir())
                        yield from (key for key in keys if key.startswith(prefix) and is_object_key(key))

    def check(self) -> None:
        """Write, read back and delete a probe; raises what is wrong."""
        check_store(self)

    def _store(self, source: BinaryIO, *, kind: str, suffix: str) -> StoredObject:
        stored = describe(source, kind=kind, suffix=suffix)
        target = self._path(stored.key)
        with self._faults(stored.key):
            if not target.is_file() or target.stat().st_size != stored.size_bytes:
                source.seek(0)
                self._publish(source, target)
        return stored

    def _publish(self, source: BinaryIO, target: Path) -> None:
        temporary = self._root / TEMPORARY / uuid4().hex
        temporary.parent.mkdir(parents=True, exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as sink:
                shutil.copyfileobj(source, sink, CHUNK_BYTES)
                sink.flush()
                os.fsync(sink.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(target.parent)

    def _path(self, key: str) -> Path:
        digest_of_key(key)  # refuses whatever is not a key, so no name can leave the root
        return self._root / key

    @contextmanager
    def _faults(self, key: str) -> Iterator[None]:
        """Turn what the file system says into typed errors that name the key."""
        try:
            yield
        except OSError as error:
            where = f"object {key} in {self._root}: {error.strerror}"
            if error.errno in _FULL:
                raise StorageFull(where, key=key) from error
            if error.errno in _REFUSED:
                raise ObjectStoreRefused(where, key=key) from error
            raise ObjectStoreUnavailable(where, key=key) from error


def _folders(path: Path) -> list[Path]:
    return [entry for entry in path.iterdir() if entry.is_dir()] if path.is_dir() else []


def _sync_folder(path: Path) -> None:
    """Make the new name itself survive a power cut."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
