"""Where a catalogue's images are: bytes or paths in a column, or files named after the galaxies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Final

from alservice.constants import MAX_IMAGE_BYTES
from alservice.errors import BadImage, BadInput
from alservice.files import open_regular
from alservice.storage.images import acceptable

IMAGE_NAME: Final = "{id}.jpg"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSource:
    """How to find the image of a row; making one with a pattern that cannot be filled in raises `BadInput`.

    Parameters
    ----------
    folder
        What file names are relative to, and may not lead out of: no path, no link and no ``..`` does.
    column
        Column of image bytes or of paths; None: files are named by `pattern`.
    pattern
        File name with ``{id}`` for the galaxy id; ``{id:.4}`` is its first four characters, so that
        ``{id:.4}/{id}.png`` is how Galaxy Zoo DECaLS lays out its images.
    roots
        Further folders that they may lead into.
    """

    folder: Path
    column: str | None = None
    pattern: str = IMAGE_NAME
    roots: tuple[Path, ...] = ()

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

    def read(self, cell: bytes | str | None, galaxy_id: str) -> bytes:
        """Return the original bytes of an image; raises `BadImage` for what volunteers could not be shown.

        Parameters
        ----------
        cell
            What stands in the column, where there is one.
        """
        name = self.pattern.format(id=galaxy_id) if self.column is None else cell
        return acceptable(self._file(name) if isinstance(name, str) else name or b"")

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
                return file.read(MAX_IMAGE_BYTES + 1)
        except (BadInput, OSError) as error:
            said = error.message if isinstance(error, BadInput) else error
            raise BadImage(f"the file cannot be read: {said}") from error
