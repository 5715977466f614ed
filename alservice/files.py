"""Files that others name or make: regular ones only, never waited for, read up to a bound; and the work folder."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import Final

from alservice.errors import BadConfig, BadInput, StorageFull

_OTHERS: Final[tuple[tuple[Callable[[int], bool], str], ...]] = (
    (stat.S_ISFIFO, "is a pipe; save what comes through it to a file first"),
    (stat.S_ISSOCK, "is a socket, and no file"),
    (stat.S_ISCHR, "is a device, and no file"),
    (stat.S_ISBLK, "is a device, and no file"),
    (stat.S_ISDIR, "Is a directory"),
)


def open_regular(path: Path) -> BufferedReader:
    """Open a file for reading.

    Raises
    ------
    BadInput
        There is none, it cannot be opened, or it is a pipe, socket, device or folder: those are not even opened, since
        a pipe would keep us waiting, and some devices act when they are.
    """
    try:
        _refuse_others(path, path.stat().st_mode)
        # What was looked at may have been replaced since: without waiting, and looked at again.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: {_said(error)}", path=str(path)) from error
    file = os.fdopen(descriptor, "rb")
    try:
        _refuse_others(path, os.fstat(descriptor).st_mode)
    except BadInput:
        file.close()
        raise
    return file


def read_regular(path: Path, *, max_bytes: int) -> bytes:
    """Return what a file holds; raises `BadInput` as `open_regular`, and if it is longer than so many bytes."""
    with open_regular(path) as file:
        try:
            is_long = os.fstat(file.fileno()).st_size > max_bytes
            data = b"" if is_long else file.read(max_bytes + 1)
        except OSError as error:
            raise BadInput(f"{path}: {_said(error)}", path=str(path)) from error
    if is_long or len(data) > max_bytes:
        raise BadInput(f"{path}: is longer than {max_bytes:,} bytes", path=str(path), max_bytes=max_bytes)
    return data


def sha256_of_file(path: Path) -> str:
    """Return the sha256 of a file in flat memory; raises `BadInput` as `open_regular`."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_folder(folder: Path) -> Path:
    """Return the folder, made if need be; raises `StorageFull` or `BadConfig`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        kind = StorageFull if error.errno == errno.ENOSPC else BadConfig
        raise kind(f"the work folder {folder} cannot be made: {error.strerror}") from error
    return folder


def folder_secret(folder: Path, name: str) -> str:
    """Return a secret of this work folder, made at first use and readable by its owner only."""
    path = folder / "secrets" / name
    try:
        return path.read_text(encoding="ascii")
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        part.touch(mode=0o600)
        part.write_text(secrets.token_urlsafe(24), encoding="ascii")
        with suppress(FileExistsError):  # another process was first: its secret is the one
            path.hardlink_to(part)
        part.unlink()
        return path.read_text(encoding="ascii")


def _refuse_others(path: Path, mode: int) -> None:
    what = next((what for is_one, what in _OTHERS if is_one(mode)), None)
    if what is not None:
        raise BadInput(f"{path}: {what}", path=str(path))


def _said(error: OSError | ValueError) -> str:
    """Return what is wrong without the path, which the message names already; a path with a NUL has no error number."""
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
