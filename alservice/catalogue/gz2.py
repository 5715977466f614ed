"""The files of GZ2's release -> one folder of images and one table of votes that name them."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from alservice.catalogue.published_data import GalaxyJoin, Joined, first_of_each
from alservice.constants import MAX_IMAGE_BYTES
from alservice.errors import BadInput
from alservice.ids import check_galaxy_id
from alservice.storage.run_folder import write_whole

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
