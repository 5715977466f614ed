"""Where the images of a catalogue's rows are, and how each becomes what volunteers and the network are shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from alservice.constants import MAX_ORIGINAL_BYTES
from alservice.errors import BadImage, BadInput
from alservice.files import open_regular
from alservice.science.stretch import PLAIN, Stretch
from alservice.storage.originals import Shown, shown
from alservice.storage.remote_images import RemoteImages, is_address, shown_address

IMAGE_NAME: Final = "{id}.jpg"

IN_FLIGHT: Final = 8
"""Images that are fetched or opened at a time: an archive bears so many of one reader."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSource:
    """How to find the image of a row; making one with a pattern that cannot be filled in raises `BadInput`.

    Parameters
    ----------
    folder
        What file names are relative to, and may not lead out of: no path, no link and no ``..`` does.
    column
        Column of image bytes, of paths or of addresses; None: files are named by `pattern`.
    pattern
        File name or address with ``{id}`` for the galaxy id; ``{id:.4}`` is its first four characters, so that
        ``{id:.4}/{id}.png`` is how Galaxy Zoo DECaLS lays out its images.
    roots
        Further folders that they may lead into.
    remote
        Reads addresses; None refuses them.
    stretch
        Of fluxes; see `alservice.storage.originals`.
    """

    folder: Path
    column: str | None = None
    pattern: str = IMAGE_NAME
    roots: tuple[Path, ...] = ()
    remote: RemoteImages | None = None
    stretch: Stretch = PLAIN

    def __post_init__(self) -> None:
        try:
            fields = {name for _, name, _, _ in Formatter().parse(self.pattern) if name is not None}
            self.pattern.format(id="")
        except (ValueError, LookupError, AttributeError):
            fields = set()
        if fields != {"id"}:
            raise BadInput(
                f"image name {self.pattern!r} must hold {{id}} and nothing else in braces", name=self.pattern
            )

    @property
    def field(self) -> str:
        """What faults are called after."""
        return self.column or "image"

    def read(self, cell: bytes | str | None, galaxy_id: str) -> Shown:
        """Return what is shown of an image.

        Parameters
        ----------
        cell
            What stands in the column, where there is one.

        Raises
        ------
        BadImage
            It is not there, may not be read, or volunteers could not be shown it.
        ImagesUnavailable
            The server that it is on is down.
        BadConfig, ObjectStoreRefused
            A FITS image without the extra astro, or a bucket without credentials.
        """
        name = self._name(galaxy_id) if self.column is None else cell
        return shown(self._original(name) if isinstance(name, str) else name or b"", self.stretch)

    def _name(self, galaxy_id: str) -> str:
        return self.pattern.format(id=_Encoded(galaxy_id) if is_address(self.pattern) else galaxy_id)

    def _original(self, name: str) -> bytes:
        """Return the bytes at a path or an address, one more than allowed at most."""
        if not is_address(name):
            return self._file(name)
        parts = urlsplit(name)
        if parts.scheme == "file":
            if parts.netloc not in {"", "localhost"}:
                raise BadImage(f"{shown_address(name)}: a file of another machine")
            return self._file(unquote(parts.path))
        if self.remote is None:
            raise BadImage(f"{shown_address(name)}: addresses are not read here")
        return self.remote.get(name)

    def _file(self, name: str) -> bytes:
        """Return the bytes of an image file, one more than allowed at most."""
        try:
            place = (self.folder / name).resolve()
            inside = any(place.is_relative_to(root.resolve()) for root in (self.folder, *self.roots))
        except (OSError, ValueError, RuntimeError) as error:  # too long, with a NUL, or links in a circle
            raise BadImage(f"the file cannot be read: {error}") from error
        if not inside:
            folder = self.folder.name or str(self.folder)
            raise BadImage(f"the file lies outside {folder}: move it, or name its folder in ALSERVICE_IMAGE_ROOTS")
        try:
            with open_regular(place) as file:
                return file.read(MAX_ORIGINAL_BYTES + 1)
        except (BadInput, OSError) as error:
            said = error.message if isinstance(error, BadInput) else error
            raise BadImage(f"the file cannot be read: {said}") from error


class _Encoded(str):
    """An id inside an address: no part of it leads elsewhere."""

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        return quote(format(str(self), spec), safe="")


_COLLAPSED: Final = re.compile(r"(https?|s3):/+", re.IGNORECASE)


def images_at(place: Path | str, name: str = IMAGE_NAME) -> ImageSource:
    """Return the images in a folder or under an address, in files of this name.

    Parameters
    ----------
    place
        ``images``, ``https://host/images``, ``s3://bucket/images``; with ``{id}`` in its last part, ``name`` is not
        used. A path keeps one slash of the two, which is put back.
    """
    address = _COLLAPSED.sub(r"\1://", str(place), count=1)
    if address.startswith("file:/"):
        folder = Path(unquote(urlsplit(address).path))
    elif is_address(address):
        pattern = address if "{" in address else f"{address.rstrip('/')}/{name}"
        return ImageSource(folder=Path(), pattern=pattern)
    else:
        folder = Path(place)
    if "{" in folder.name:
        return ImageSource(folder=folder.parent, pattern=folder.name)
    return ImageSource(folder=folder, pattern=name)
