"""Published data that a backfill can be run on: where it is, what it should be, how its tables go together."""

from __future__ import annotations

import csv
import errno
import gzip
import hashlib
import io
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Final

import requests

from alservice.constants import MAX_IMAGE_BYTES
from alservice.errors import BadInput, DigestMismatch, NotFound, Retriable, StorageFull
from alservice.ids import check_galaxy_id
from alservice.progress import Progress
from alservice.storage.run_folder import write_whole
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


TABLE: Final = "galaxies.csv.gz"
_OBJECT, _SAMPLE = "dr7objid", "sample"


def unpack_images(archive: Path, folder: Path) -> frozenset[str]:
    """Unpack the images that are not there yet as the archive has them; return their names without suffix.

    Raises
    ------
    BadInput
        The archive is none, or holds what is no image of the release.
    """
    folder.mkdir(exist_ok=True)
    names: set[str] = set()
    try:
        with zipfile.ZipFile(archive) as packed:
            for member in packed.infolist():
                name = Path(member.filename)
                if name.suffix != ".jpg" or name.name.startswith("._") or name.stem in names:
                    continue
                if member.file_size > MAX_IMAGE_BYTES:
                    raise BadInput(f"{archive}: {member.filename} unfolds to {member.file_size:,} bytes, no image does")
                if not _is_there(folder / name.name, member):
                    write_whole(folder / name.name, packed.read(member))
                names.add(name.stem)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise BadInput(f"{archive}: {error}", path=str(archive)) from error
    return frozenset(names)


def _is_there(path: Path, member: zipfile.ZipInfo) -> bool:
    """Return whether a file is the member, by length and by the archive's own checksum."""
    try:
        is_long = path.stat().st_size == member.file_size
        return is_long and zlib.crc32(path.read_bytes()) == member.CRC
    except FileNotFoundError:
        return False


def write_table(folder: Path, *, votes: Path, mapping: Path, images: frozenset[str]) -> Joined:
    """Write ``galaxies.csv.gz``: the rows of the table of votes that have an image, with `image_path` added.

    Raises
    ------
    BadInput
        A table lacks a column, cannot be read, or holds what is no galaxy's id.
    """
    with _rows(mapping, ("objid", "asset_id")) as (_, rows):
        assets = dict(first_of_each((_id(row, "objid", mapping), row["asset_id"]) for row in rows))
    join = GalaxyJoin(assets, images)
    buffer = io.BytesIO()
    with (
        _rows(votes, (_OBJECT, _SAMPLE)) as (names, rows),
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8", newline="") as text,
    ):
        writer = csv.DictWriter(text, [*names, "image_path"], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            image = join.image_of(_id(row, _OBJECT, votes), row[_SAMPLE])
            if image is not None:
                writer.writerow({**row, "image_path": f"images/{image}.jpg"})
    write_whole(folder / TABLE, buffer.getvalue())
    return join.joined()


def _id(row: Mapping[str, str], column: str, path: Path) -> str:
    return check_galaxy_id(row[column] or "", where=f"{path.name}: {column}")


@contextmanager
def _rows(path: Path, needed: tuple[str, ...]) -> Iterator[tuple[list[str], Iterator[dict[str, str]]]]:
    def opened() -> IO[str]:
        if path.suffix == ".gz":
            return gzip.open(path, "rt", encoding="utf-8", newline="")
        return path.open(encoding="utf-8", newline="")

    try:
        with opened() as file:
            reader = csv.DictReader(file)
            names = list(reader.fieldnames or ())
            missing = [name for name in needed if name not in names]
            if missing:
                raise BadInput(f"{path.name}: no column {missing[0]!r}", path=str(path))
            yield names, iter(reader)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path.name}: cannot be read: {error}", path=str(path)) from error


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteFile:
    """One file of a data release.

    Parameters
    ----------
    name
        What it is called here.
    url
        Where it is.
    md5
        As the publisher gives it; None where there is none, and then only length and readability are checked.
    """

    name: str
    url: str
    md5: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """A data release, and what to cite for it."""

    name: str
    files: tuple[RemoteFile, ...]
    cite: str

    def file(self, name: str) -> RemoteFile:
        """Return a file by name; `NotFound` without one."""
        for each in self.files:
            if each.name == name:
                return each
        raise NotFound(f"release {self.name} has no file {name}")


_ZENODO: Final = "https://zenodo.org/records/3565489/files"

GZ2: Final = Release(
    name="gz2",
    files=(
        RemoteFile(name="gz2_hart16.csv.gz", url="https://gz2hart.s3.amazonaws.com/gz2_hart16.csv.gz"),
        RemoteFile(
            name="gz2_filename_mapping.csv",
            url=f"{_ZENODO}/gz2_filename_mapping.csv?download=1",
            md5="7e28465e6dfbf96c0d828c595a5bbd80",
        ),
        RemoteFile(
            name="images_gz2.zip",
            url=f"{_ZENODO}/images_gz2.zip?download=1",
            md5="bc647032d31e50c798770cf4430525c7",
        ),
    ),
    cite="Willett et al. 2013 (MNRAS 435, 2835) and Hart et al. 2016 (MNRAS 461, 3663); images from SDSS DR7",
)
"""Votes of Hart et al. on all GZ2 galaxies, their images (3.4 GB), and which image is whose."""

RELEASES: Final[Mapping[str, Release]] = {GZ2.name: GZ2}


@dataclass(frozen=True, kw_only=True, slots=True)
class Joined:
    """How many rows of the table of votes became galaxies, and what became of the others."""

    galaxies: int
    stripe82: int
    repeated: int
    imageless: int

    @property
    def rows(self) -> int:
        """Rows of the table: all are accounted for."""
        return self.galaxies + self.stripe82 + self.repeated + self.imageless


class GalaxyJoin:
    """Decides row by row which of GZ2's votes have a galaxy of their own and an image.

    Stripe 82 is left out, as its galaxies were shown twice and at other depths (Walmsley et al. 2020, section 2.4); of
    several rows of one galaxy the first is kept.

    Parameters
    ----------
    assets
        Object id to the name of its image, without a suffix.
    images
        Names of the images that are there.
    """

    def __init__(self, assets: Mapping[str, str], images: frozenset[str]) -> None:
        self._assets, self._images = assets, images
        self._seen: set[str] = set()
        self._left = {"stripe82": 0, "repeated": 0, "imageless": 0}

    def image_of(self, object_id: str, sample: str) -> str | None:
        """Return the name of a row's image, None for a row that is left out."""
        if "stripe82" in sample:
            self._left["stripe82"] += 1
            return None
        if object_id in self._seen:
            self._left["repeated"] += 1
            return None
        self._seen.add(object_id)
        image = self._assets.get(object_id)
        if image is None or image not in self._images:
            self._left["imageless"] += 1
            return None
        return image

    def joined(self) -> Joined:
        """Count what has been decided so far."""
        galaxies = len(self._seen) - self._left["imageless"]
        return Joined(galaxies=galaxies, **self._left)


def first_of_each(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield the first pair of every key: the mapping names some objects twice, once per depth."""
    seen: set[str] = set()
    for key, value in pairs:
        if key not in seen:
            seen.add(key)
            yield key, value


GIGABYTE: Final = 1 << 30
NEEDED_BYTES: Final = 8 * GIGABYTE
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
