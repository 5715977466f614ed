"""Published data that a backfill can be run on: where it is, what it should be, how its tables go together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from alservice.errors import NotFound


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
