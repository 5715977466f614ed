"""A folder that one long command fills: what was asked first, files whole or not at all, one process at a time."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from alservice.errors import BadInput, Conflict, StorageFull

_ASKED: Final = "run.json"
_LOCK: Final = "lock"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFolder:
    """A claimed folder; `claim_folder` makes one."""

    path: Path

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes, None if it is not there."""
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Write a file so that whatever dies, its name holds either the old bytes or the new ones.

        Raises
        ------
        StorageFull
            No space is left; the old file is as it was.
        BadInput
            The file cannot be written for another reason.
        """
        write_whole(self.path / name, data)

    def remove(self, name: str) -> None:
        """Remove a file; absent is fine."""
        (self.path / name).unlink(missing_ok=True)


@contextmanager
def claim_folder(path: Path, asked: Mapping[str, Any]) -> Iterator[RunFolder]:
    """Hold a folder for a run; the same run may come back to it.

    Parameters
    ----------
    asked
        JSON document of what decides the result.

    Raises
    ------
    Conflict
        The folder belongs to another run (what differs is named) or holds other files, or another process is in it.
    BadInput
        It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        _refuse_another(path, asked)  # before a stranger's folder gets as much as a lock
        lock = (path / _LOCK).open("a")
    except OSError as error:
        raise cannot_write(path, error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"{path}: another process is at work in this folder", path=str(path)) from None
        _refuse_another(path, asked)
        write_whole(path / _ASKED, json.dumps(asked, indent=1, sort_keys=True, allow_nan=False).encode())
        yield RunFolder(path=path)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under a temporary name, then give it its own; see `RunFolder.write` for errors."""
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> StorageFull | BadInput:
    """Return the typed error of a path that could not be written."""
    kind = StorageFull if error.errno == errno.ENOSPC else BadInput
    return kind(f"{path}: cannot be written: {error.strerror}", path=str(path))


def _refuse_another(path: Path, asked: Mapping[str, Any]) -> None:
    strangers = sorted(p.name for p in path.iterdir() if p.name not in {_LOCK, _ASKED, f"{_ASKED}.part"})
    if not strangers:
        return  # what was asked before, if anything, has done nothing yet: a corrected command may come
    try:
        before = json.loads((path / _ASKED).read_bytes())
    except FileNotFoundError:
        if strangers:
            raise Conflict(f"{path} holds other files, such as {strangers[0]}: choose an empty folder") from None
        return
    except ValueError:
        raise Conflict(f"{path}: its {_ASKED} cannot be read: choose an empty folder") from None
    now = json.loads(json.dumps(asked))
    differing = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    if differing:
        name = differing[0]
        raise Conflict(
            f"{path} holds another run: {name} was {before.get(name)!r}, now it is {now.get(name)!r}; "
            "choose another folder, or repeat the first command",
            differing=differing,
        )
