"""Where a catalogue's images are: bytes or paths in a column, or files named after the galaxies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Final

from alservice.adapters.images import for_volunteers
from alservice.constants import MAX_IMAGE_BYTES
from alservice.errors import BadImage, BadInput

IMAGE_NAME: Final = "{id}.jpg"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSource:
    """How to find the image of a row; making one with a pattern that cannot be filled in raises `BadInput`.

    Parameters
    ----------
    folder
        What file names are relative to.
    column
        Column of image bytes or of paths; None: files are named by `pattern`.
    pattern
        File name with ``{id}`` for the galaxy id; ``{id:.4}`` is its first four characters, so that
        ``{id:.4}/{id}.png`` is how Galaxy Zoo DECaLS lays out its images.
    """

    folder: Path
    column: str | None = None
    pattern: str = IMAGE_NAME

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
        return for_volunteers(self._file(name) if isinstance(name, str) else name or b"")

    def _file(self, name: str) -> bytes:
        """Return the bytes of an image file, one more than allowed at most."""
        try:
            with (self.folder / name).open("rb") as file:
                return file.read(MAX_IMAGE_BYTES + 1)
        except (OSError, ValueError) as error:
            raise BadImage(f"the file cannot be read: {error}") from error
