"""Objects as files of a local directory."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import BinaryIO, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit
from uuid import uuid4

from alservice.errors import (
    BadConfig,
    DigestMismatch,
    NotFound,
    ObjectStoreRefused,
    ObjectStoreUnavailable,
    StorageFull,
)
from alservice.ids import StoredObject, digest_of_bytes, digest_of_key, is_object_key, object_key
from alservice.meters import measured
from alservice.storage import ObjectGroup, ObjectStore


class MeasuredObjects:
    """An object store whose reads and writes are counted."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def put(self, data: bytes, *, kind: str, suffix: str) -> StoredObject:
        """Store bytes."""
        with measured("objects", "put"):
            return self._objects.put(data, kind=kind, suffix=suffix)

    def put_file(self, path: Path, *, kind: str, suffix: str) -> StoredObject:
        """Store a file."""
        with measured("objects", "put"):
            return self._objects.put_file(path, kind=kind, suffix=suffix)

    @contextmanager
    def group(self) -> Iterator[ObjectGroup]:
        """Open a group; a write of it is counted, and its sync as one."""
        with self._objects.group() as group:
            yield MeasuredGroup(group)

    def get(self, key: str) -> bytes:
        """Return the bytes."""
        with measured("objects", "get"):
            return self._objects.get(key)

    def exists(self, key: str) -> bool:
        """Return whether the key is published."""
        with measured("objects", "exists"):
            return self._objects.exists(key)

    def delete(self, key: str) -> None:
        """Remove the key."""
        with measured("objects", "delete"):
            self._objects.delete(key)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield published keys; a listing takes as long as its reader, so it is not counted."""
        return self._objects.keys(prefix)

    def check(self) -> None:
        """Write, read back and delete a probe."""
        with measured("objects", "check"):
            self._objects.check()


class MeasuredGroup:
    """A group of objects whose writes are counted."""

    def __init__(self, group: ObjectGroup) -> None:
        self._group = group

    def put(self, data: bytes, *, kind: str, suffix: str) -> StoredObject:
        """Store bytes."""
        with measured("objects", "put"):
            return self._group.put(data, kind=kind, suffix=suffix)

    def sync(self) -> None:
        """Publish all."""
        with measured("objects", "sync"):
            self._group.sync()


class SingleObjects:
    """A group of a store in which every object is durable once it is put."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def put(self, data: bytes, *, kind: str, suffix: str) -> StoredObject:
        """Store bytes."""
        return self._objects.put(data, kind=kind, suffix=suffix)

    def sync(self) -> None:
        """Do nothing: nothing is on its way."""


_S3_OPTIONS: Final = frozenset({"endpoint_url", "region"})


def open_objects(url: str) -> ObjectStore:
    """Return the object store at an address; nothing is read or written yet.

    Parameters
    ----------
    url
        A directory (``/srv/objects`` or ``file:///srv/objects``) or a bucket
        (``s3://bucket/prefix?endpoint_url=http://127.0.0.1:9000&region=us-east-1``, both options optional).
        Credentials come from the AWS environment, never from the address.

    Raises
    ------
    BadConfig
        Naming what is wrong, never quoting the address, which may hold a secret.
    """
    if "://" not in url:
        if not url.strip():
            raise BadConfig("the object store's address is empty")
        return LocalObjects(Path(url).absolute())
    parts = _split(url)
    if parts.scheme == "file":
        return _open_file(parts)
    if parts.scheme == "s3":
        return _open_s3(parts)
    raise BadConfig(f"object store: unknown scheme {parts.scheme!r}; use a path, file:// or s3://")


def _open_file(parts: SplitResult) -> ObjectStore:
    if parts.netloc not in {"", "localhost"} or parts.path in {"", "/"} or parts.query or parts.fragment:
        raise BadConfig("object store: file:// takes one absolute path, as in file:///srv/objects")
    return LocalObjects(Path(unquote(parts.path)))


def _open_s3(parts: SplitResult) -> ObjectStore:
    _refuse_credentials(parts)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    options = dict(pairs)
    if unknown := sorted(set(options) - _S3_OPTIONS):
        raise BadConfig(f"object store: s3:// knows {sorted(_S3_OPTIONS)}, not {unknown}")
    if len(options) < len(pairs) or "" in options.values() or parts.fragment:
        raise BadConfig("object store: each option of s3:// is given once and with a value")
    if "endpoint_url" in options:
        endpoint = _split(options["endpoint_url"])
        _refuse_credentials(endpoint)
        if endpoint.scheme not in {"http", "https"} or not endpoint.hostname:
            raise BadConfig("object store: endpoint_url must be http:// or https:// and a host")
    if not parts.netloc:
        raise BadConfig("object store: s3:// needs a bucket, as in s3://bucket/prefix")
    from alservice.storage.s3 import S3Objects  # boto3 takes long to import and few commands need it

    return S3Objects(
        parts.netloc,
        unquote(parts.path),
        endpoint_url=options.get("endpoint_url"),
        region=options.get("region"),
    )


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        raise BadConfig("object store: an address is malformed") from None  # the cause quotes it


def _refuse_credentials(parts: SplitResult) -> None:
    if "@" in parts.netloc:
        raise BadConfig("object store: credentials belong in the AWS environment, not in the address")


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


_SYNCING: Final = 16
"""Threads that wait for the disk while a group is synced."""

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

    @contextmanager
    def group(self) -> Iterator[ObjectGroup]:
        """Open a group whose objects are synced together: a third of the waits for the disk, or fewer."""
        group = LocalGroup(self)
        try:
            yield group
        finally:
            group.discard()

    def get(self, key: str) -> bytes:
        """Return checked bytes; see `ObjectStore.get`."""
        path = self.path(key)
        with self.faults(key):
            try:
                data = path.read_bytes()
            except FileNotFoundError as error:
                raise NotFound(f"no object {key} in {self._root}", key=key) from error
        return checked(key, data)

    def exists(self, key: str) -> bool:
        """Return whether a key is published."""
        path = self.path(key)
        with self.faults(key):
            return path.is_file()

    def delete(self, key: str) -> None:
        """Remove a key; an absent one is fine."""
        path = self.path(key)
        with self.faults(key):
            path.unlink(missing_ok=True)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield the published keys that start with a prefix, sorted."""
        with self.faults(f"{prefix}*"):
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
        with self.faults(stored.key):
            if not self.is_whole(stored):
                source.seek(0)
                self._publish(source, self.path(stored.key))
        return stored

    def is_whole(self, stored: StoredObject) -> bool:
        """Return whether an object is published in its length."""
        target = self.path(stored.key)
        return target.is_file() and target.stat().st_size == stored.size_bytes

    def _publish(self, source: BinaryIO, target: Path) -> None:
        temporary = self.temporary()
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as sink:
                shutil.copyfileobj(source, sink, CHUNK_BYTES)
                sink.flush()
                os.fsync(sink.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_path(target.parent)

    def temporary(self) -> Path:
        """Return a name for an object that is not published yet."""
        temporary = self._root / TEMPORARY / uuid4().hex
        temporary.parent.mkdir(parents=True, exist_ok=True)
        return temporary

    def path(self, key: str) -> Path:
        """Return where a key's file is; refuses whatever is not a key."""
        digest_of_key(key)  # refuses whatever is not a key, so no name can leave the root
        return self._root / key

    @contextmanager
    def faults(self, key: str) -> Iterator[None]:
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


class LocalGroup:
    """Objects under temporary names, which get their own all at once: synced before, as those put alone are.

    Parameters
    ----------
    objects
        The store that they are of.
    """

    def __init__(self, objects: LocalObjects) -> None:
        self._objects = objects
        self._written: dict[str, Path] = {}
        self._lock = Lock()

    def put(self, data: bytes, *, kind: str, suffix: str) -> StoredObject:
        """Write bytes under a temporary name, unless they are there or on their way."""
        stored = describe(io.BytesIO(data), kind=kind, suffix=suffix)
        with self._objects.faults(stored.key):
            with self._lock:
                known = stored.key in self._written
            if not known and not self._objects.is_whole(stored):
                temporary = self._objects.temporary()
                try:
                    temporary.write_bytes(data)
                except OSError:
                    temporary.unlink(missing_ok=True)
                    raise
                with self._lock:
                    self._written.setdefault(stored.key, temporary)
                    spare = self._written[stored.key] is not temporary
                if spare:
                    temporary.unlink()
        return stored

    def sync(self) -> None:
        """Make what was written durable, then its names."""
        with self._lock:
            written = dict(self._written)
        if not written:
            return
        with self._objects.faults(next(iter(written))):
            _sync(written.values())
            folders = set()
            for key, temporary in written.items():
                target = self._objects.path(key)
                target.parent.mkdir(parents=True, exist_ok=True)
                temporary.replace(target)
                folders.add(target.parent)
            _sync(folders)
        with self._lock:
            for key in written:
                del self._written[key]

    def discard(self) -> None:
        """Remove what was written and not synced."""
        with self._lock:
            for temporary in self._written.values():
                temporary.unlink(missing_ok=True)
            self._written.clear()


def _sync(paths: Collection[Path]) -> None:
    """Make files, or the names in folders, survive a power cut.

    Many at once share the waits for the disk; syncing the whole machine would wait for what others write as well.
    """
    with ThreadPoolExecutor(_SYNCING, "sync") as pool:
        for _ in pool.map(_sync_path, paths):
            pass


def _folders(path: Path) -> list[Path]:
    return [entry for entry in path.iterdir() if entry.is_dir()] if path.is_dir() else []


def _sync_path(path: Path) -> None:
    """Make a file, or the names in a folder, survive a power cut."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
