"""Published data, fetched and put together."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from alservice.catalogue.gz2 import RELEASES, TABLE, Joined, Release, download, unpack_images, write_table
from alservice.errors import NotFound, StorageFull
from alservice.progress import Progress

GIGABYTE = 1 << 30
NEEDED_BYTES = 8 * GIGABYTE
"""Space for the images packed and unpacked."""


def fetch_release(
    name: str, out: Path, progress: Progress, *, mirror: str | None = None, needed_bytes: int = NEEDED_BYTES
) -> tuple[Release, Path, Joined]:
    """Download, verify and join a release; the same call goes on with what an earlier one left.

    Parameters
    ----------
    mirror
        Base URL that has the same files under the same names, in place of their publishers.

    Raises
    ------
    NotFound
        There is no such release, or a server does not have a file.
    DownloadInterrupted, DigestMismatch, StorageFull, BadInput
        As each step does.
    """
    release = RELEASES.get(name)
    if release is None:
        raise NotFound(f"no release is called {name!r}; known: {', '.join(RELEASES)}", name=name)
    if mirror is not None:
        files = tuple(replace(file, url=f"{mirror.rstrip('/')}/{file.name}") for file in release.files)
        release = replace(release, files=files)
    out.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(out).free
    if free < needed_bytes:
        needed, there = needed_bytes / GIGABYTE, free / GIGABYTE
        raise StorageFull(f"{out}: {needed:.0f} GB are needed and {there:.1f} GB are free", path=str(out))
    paths = _download(release, out, progress)
    progress.start("unpack images", None)
    images = unpack_images(paths["images_gz2.zip"], out / "images")
    progress.finish()
    votes, mapping = paths["gz2_hart16.csv.gz"], paths["gz2_filename_mapping.csv"]
    return release, out / TABLE, write_table(out, votes=votes, mapping=mapping, images=images)


def _download(release: Release, out: Path, progress: Progress) -> Mapping[str, Path]:
    paths = {}
    for file in release.files:
        progress.start(f"fetch {file.name}", None)
        seen = 0

        def say(have: int, total: int | None) -> None:
            nonlocal seen
            progress.advance(have - seen)
            progress.note(f"{have:,} bytes" + (f" of {total:,}" if total else ""))
            seen = have

        paths[file.name] = download(file, out, say=say)
        progress.finish()
    return paths
