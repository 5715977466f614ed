"""Indices on disk: whole versions in a folder of their campaign, one of them current, replaced by a rename."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from alservice.documents import document_of, record_of
from alservice.errors import NoIndex
from alservice.ids import digest_of_document
from alservice.storage.run_folder import claim_folder, write_whole

ABOUT: Final = "about.json"
TABLE: Final = "galaxies.parquet"
COMPONENTS: Final = "components.npz"

_CURRENT: Final = "current"
_BUILDING: Final = "building"
_VERSION: Final = "v-"


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """One stored prediction shard that an index holds.

    Parameters
    ----------
    key
        Its object.
    n
        Its galaxies.
    """

    key: str
    n: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Index:
    """What an index was made of.

    Parameters
    ----------
    model_id, model_digest
        Whose predictions and embeddings it holds.
    tree
        Hash of the question tree.
    pieces
        Prediction shards in order of the catalogue.
    labelled
        Digest of the votes that the model was trained on, which novelty is measured from; None without any.
    dimensions
        K components of the embeddings; 0 where the model has none, and so no neighbours.
    explained
        Share of their variance in these.
    fitted
        Galaxies that there were when the components were found.
    built_at
        UTC.
    """

    campaign: str
    catalogue_id: int
    model_id: int
    model_digest: str
    tree: str
    pieces: tuple[Piece, ...]
    labelled: str | None
    dimensions: int
    explained: float
    fitted: int
    built_at: datetime

    @property
    def n(self) -> int:
        """Galaxies."""
        return sum(piece.n for piece in self.pieces)

    @property
    def version(self) -> str:
        """Name of its folder."""
        return _VERSION + digest_of_document(document_of(self))[:16]


class IndexFolder:
    """The indices of one campaign.

    Parameters
    ----------
    path
        Their folder; made by the first build.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def current(self) -> tuple[Path, Index] | None:
        """Return the folder of the current index and what it was made of; None before the first.

        Raises
        ------
        NoIndex
            It was made by another release, or is damaged: it is to be built again.
        """
        try:
            version = (self._path / _CURRENT).read_text(encoding="ascii").strip()
            document = json.loads((self._path / version / ABOUT).read_bytes())
            return self._path / version, record_of(Index, document)
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise NoIndex(f"the index in {self._path.name} cannot be read: it is to be built again") from error

    def usable(self) -> tuple[Path, Index] | None:
        """Return what `current` does; None as well where that cannot be read."""
        with suppress(NoIndex):
            return self.current()
        return None

    @contextmanager
    def building(self) -> Iterator[Path]:
        """Yield an empty folder for a new index, held against other builds.

        Raises
        ------
        Conflict
            Another process builds this campaign's.
        StorageFull, BadInput
            The folder cannot be made.
        """
        with claim_folder(self._path / _BUILDING, {}) as claimed:
            work = claimed.path / "new"
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            yield work
            shutil.rmtree(work, ignore_errors=True)

    def publish(self, work: Path, index: Index) -> Path:
        """Make what was built the current index; the one before stays for who is reading it, older ones go."""
        write_whole(work / ABOUT, json.dumps(document_of(index), indent=1).encode())
        found = self.current_version()
        target = self._path / index.version
        if target.exists():
            shutil.rmtree(target)
        work.rename(target)
        write_whole(self._path / _CURRENT, index.version.encode())
        for old in self._path.glob(f"{_VERSION}*"):
            if old.name not in {index.version, found}:
                shutil.rmtree(old, ignore_errors=True)
        return target

    def current_version(self) -> str | None:
        """Return the name of the current version; None before the first."""
        try:
            return (self._path / _CURRENT).read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None
