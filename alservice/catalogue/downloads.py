"""Large files from the web: resumed where they stopped, verified before they get their name."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import requests

from alservice.catalogue.published_data import RemoteFile
from alservice.errors import DigestMismatch, NotFound, Retriable, StorageFull
from alservice.zooniverse.sessions import Session

_CHUNK: Final = 1 << 16
_TIMEOUTS_S: Final = (10.0, 60.0)
_GONE: Final = frozenset({401, 403, 404, 410})


class DownloadInterrupted(Retriable):
    """A server did not send the whole file; what came is kept, and the same command goes on from there."""

    code = "download-interrupted"
    remedy = "Run the same command again; behind a proxy set HTTPS_PROXY."


def download(file: RemoteFile, folder: Path, *, say: Callable[[int, int | None], None]) -> Path:
    """Fetch a file into a folder unless it is there; verify it either way and return its path.

    Parameters
    ----------
    say
        Told bytes here and bytes in all (None where the server does not say) as they come.

    Raises
    ------
    DownloadInterrupted
        The connection broke, or the server failed; a second call continues.
    NotFound
        The server does not have the file, or does not give it to us.
    DigestMismatch
        What came is not the published file and is removed; or what was there is not, and is left for its owner.
    StorageFull
        No space is left.
    """
    path = folder / file.name
    if path.exists():
        _verify(file, path)
        return path
    part = path.with_name(f"{file.name}.part")
    try:
        for have, total in _receive(file, part):
            say(have, total)
    except OSError as error:
        if isinstance(error, requests.RequestException):
            raise DownloadInterrupted(f"{file.url}: {type(error).__name__}", url=file.url) from error
        if error.errno == errno.ENOSPC:
            raise StorageFull(f"{part}: no space is left", path=str(part)) from error
        raise
    try:
        _verify(file, part)
    except DigestMismatch:
        part.unlink()
        raise
    part.replace(path)
    return path


def _receive(file: RemoteFile, part: Path) -> Iterator[tuple[int, int | None]]:
    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    with (
        Session(file.url) as session,
        session.get(file.url, headers=headers, stream=True, timeout=_TIMEOUTS_S) as response,
    ):
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # all of it is here; verification tells
        if response.status_code in _GONE:
            raise NotFound(f"{file.url}: the server answers {response.status_code}", url=file.url)
        if response.status_code >= requests.codes.bad_request:
            raise DownloadInterrupted(f"{file.url}: the server answers {response.status_code}", url=file.url)
        if response.status_code != requests.codes.partial_content:
            have = 0  # it does not resume: from the start
        length = response.headers.get("Content-Length")
        total = None if length is None else have + int(length)
        with part.open("ab" if have else "wb") as out:
            for chunk in response.iter_content(_CHUNK):
                out.write(chunk)
                have += len(chunk)
                yield have, total
    if total is not None and have < total:
        raise DownloadInterrupted(f"{file.url}: {have:,} of {total:,} bytes came", url=file.url, have=have)


def _verify(file: RemoteFile, path: Path) -> None:
    if file.md5 is None:
        return
    with path.open("rb") as data:
        found = hashlib.file_digest(data, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != file.md5:
        whose = path.with_name(file.name)
        raise DigestMismatch(f"{whose}: md5 {found}, published is {file.md5}", file=file.name, found=found)
