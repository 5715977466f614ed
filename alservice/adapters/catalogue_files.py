"""Catalogue files: streaming readers of what ``--data FILE`` may be.

``kaggle``
    Parquet with ``galaxy_id``, image bytes in ``image``, and the 37 cumulative fractions ``Class1.1`` to
    ``Class11.6``.
``paths``
    Parquet or CSV with ``image_path`` or ``file_loc`` (relative to the file's folder unless absolute),
    optionally ``galaxy_id`` or ``id_str`` (else the path as written names the galaxy), and optionally votes:
    a column ``question_answer`` per answer, empty where a question was not asked; see `column_votes`.
``images``
    As ``paths``, but Parquet with image bytes in ``image``, and an id.
``votes``
    Parquet or CSV with an id and votes, asked for without images.

All may have ``ra`` and ``dec`` (deg, ICRS) and ``random_block`` (the unbiased part; without it every galaxy
is in it).
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pyarrow as pa

from alservice.adapters.catalogue_tables import (
    Table,
    is_flag,
    is_name,
    is_number,
    is_text,
    numbers,
    open_table,
    require,
    texts,
)
from alservice.adapters.catalogue_votes import (
    Faults,
    KaggleVotes,
    RecordedVotes,
    VoteBlock,
    add_faults,
    column_votes,
)
from alservice.adapters.images import for_volunteers
from alservice.constants import MAX_IMAGE_BYTES
from alservice.core.catalogues import CatalogueFault, CatalogueRow
from alservice.core.ids import check_galaxy_id, stable_fraction
from alservice.core.kaggle import KAGGLE_COLUMNS, conditional_from_cumulative
from alservice.core.tree import Tree
from alservice.errors import BadImage, BadInput
from alservice.shapes import FloatArray

_IDS: Final = ("galaxy_id", "id_str")
_PATHS: Final = ("image_path", "file_loc")
_IMAGE: Final = "image"
_UNBIASED: Final = "random_block"
_FLAGS: Final[Mapping[str | None, bool]] = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, kw_only=True, slots=True)
class CatalogueFile:
    """A catalogue file whose columns are known to fit; `rows` reads it.

    Parameters
    ----------
    layout
        Which of the layouts of this module.
    image_column
        Image bytes or paths; None where no images are asked for.
    votes
        How it records votes, None where it records none or none are asked for.
    """

    layout: Literal["kaggle", "paths", "images", "votes"]
    table: Table
    id_column: str
    image_column: str | None
    votes: RecordedVotes | None

    @property
    def n_rows(self) -> int:
        """Rows of the file."""
        return self.table.n_rows

    def rows(self, galaxies: int | None = None, seed: int = 0) -> Iterator[CatalogueRow | CatalogueFault]:
        """Yield every requested row, in order of the file, as a galaxy or as a fault.

        Memory is flat but for the ids, which are kept to find duplicates; the first row of an id counts.

        Parameters
        ----------
        galaxies
            Read only so many: those whose ids hash smallest, so that every part of the catalogue keeps its
            share and a larger number adds to a smaller one. No image of another row is read from its file.
        seed
            Which subset.

        Raises
        ------
        BadInput
            If fewer rows have an id than were asked for, or the file can no longer be read.
        """
        wanted = None if galaxies is None else self._subset(galaxies, seed)
        seen: set[str] = set()
        end = 0
        for batch in self.table.batches(self._columns):
            start, end = end, end + len(batch)
            places = [i for i in range(len(batch)) if wanted is None or start + i in wanted]
            if places:
                yield from self._read(batch.take(pa.array(places)), [start + i + 1 for i in places], seen)

    def unbiased_ids(self) -> list[str]:
        """Return the ids of the unbiased part; none where the file does not mark one."""
        if _UNBIASED not in self.table.columns:
            return []
        return [
            galaxy_id
            for batch in self.table.batches([self.id_column, _UNBIASED])
            for galaxy_id, unbiased in zip(texts(batch[self.id_column]), self._unbiased(batch, {}), strict=True)
            if unbiased and galaxy_id is not None
        ]

    @property
    def _columns(self) -> list[str]:
        optional = [name for name in ("ra", "dec", _UNBIASED) if name in self.table.columns]
        votes = () if self.votes is None else self.votes.columns
        images = () if self.image_column is None else (self.image_column,)
        return list(dict.fromkeys([self.id_column, *images, *votes, *optional]))

    def _subset(self, galaxies: int, seed: int) -> Collection[int]:
        """Return the places (0-based) of the rows whose ids hash smallest."""
        ids = (galaxy_id for batch in self.table.batches([self.id_column]) for galaxy_id in texts(batch[0]))
        ranks = (
            (stable_fraction(f"subset:{seed}", galaxy_id), place)
            for place, galaxy_id in enumerate(ids)
            if galaxy_id is not None
        )
        smallest = heapq.nsmallest(galaxies, ranks)
        if galaxies < 1 or len(smallest) < galaxies:
            raise BadInput(
                f"{self.table.path.name}: cannot take {galaxies} galaxies of {self.n_rows} rows",
                file=str(self.table.path),
            )
        return frozenset(place for _, place in smallest)

    def _read(
        self, batch: pa.RecordBatch, rows: Sequence[int], seen: set[str]
    ) -> Iterator[CatalogueRow | CatalogueFault]:
        faults: Faults = {}
        galaxy_ids = self._galaxy_ids(batch, seen, faults)
        votes = self._votes(batch, faults)
        fractions, asked, counts, cumulative = votes.fractions, votes.asked, votes.counts, votes.cumulative
        ra, dec = self._position(batch, faults)
        unbiased = self._unbiased(batch, faults)
        for i, (row, galaxy_id) in enumerate(zip(rows, galaxy_ids, strict=True)):
            image = b"" if i in faults else self._image(batch, i, faults)
            if i in faults or galaxy_id is None:
                field, reason = faults[i]
                yield CatalogueFault(row=row, galaxy_id=galaxy_id, field=field, reason=reason)
                continue
            yield CatalogueRow(
                row=row,
                galaxy_id=galaxy_id,
                ra_deg=_known(ra[i]),
                dec_deg=_known(dec[i]),
                image=image,
                unbiased=unbiased[i],
                fractions=None if np.isnan(fractions[i]).all() else fractions[i],
                n_votes=None if np.isnan(asked[i]) else int(asked[i]),
                counts=None if counts is None or not counts[i].any() else counts[i],
                cumulative=None if cumulative is None else cumulative[i],
            )

    def _galaxy_ids(self, batch: pa.RecordBatch, seen: set[str], faults: Faults) -> list[str | None]:
        galaxy_ids = texts(batch[self.id_column])
        for i, galaxy_id in enumerate(galaxy_ids):
            try:
                name = check_galaxy_id(galaxy_id or "", where=self.id_column)
            except BadInput as error:
                faults[i] = (self.id_column, error.message)
                continue
            if name in seen:
                faults[i] = (self.id_column, f"galaxy {name!r} was given by an earlier row")
            seen.add(name)
        return galaxy_ids

    def _votes(self, batch: pa.RecordBatch, faults: Faults) -> VoteBlock:
        if self.votes is None:
            return VoteBlock(fractions=np.full((len(batch), 1), np.nan), asked=np.full(len(batch), np.nan))
        return self.votes.read(batch, faults)

    def _position(self, batch: pa.RecordBatch, faults: Faults) -> tuple[FloatArray, FloatArray]:
        if "ra" not in self.table.columns:
            return np.full(len(batch), np.nan), np.full(len(batch), np.nan)
        (ra, bad_ra), (dec, bad_dec) = numbers(batch["ra"]), numbers(batch["dec"])
        add_faults(faults, bad_ra | (ra < 0) | (ra >= 360), "ra", "not within [0, 360) degrees")
        add_faults(faults, bad_dec | (np.abs(dec) > 90), "dec", "not within [-90, 90] degrees")
        add_faults(faults, np.isnan(ra) != np.isnan(dec), "ra", "only one of ra and dec is given")
        return ra, dec

    def _unbiased(self, batch: pa.RecordBatch, faults: Faults) -> list[bool]:
        if _UNBIASED not in self.table.columns:
            return [True] * len(batch)
        flags = [_FLAGS.get((text or "").strip().lower()) for text in texts(batch[_UNBIASED])]
        add_faults(faults, np.array([flag is None for flag in flags]), _UNBIASED, "neither true nor false")
        return [flag is True for flag in flags]

    def _image(self, batch: pa.RecordBatch, place: int, faults: Faults) -> bytes:
        """Return the original bytes, if asked for; what volunteers could not be shown is added to the faults."""
        if self.image_column is None:
            return b""
        cell: bytes | str | None = batch[self.image_column][place].as_py()
        try:
            return for_volunteers(self._file(cell) if isinstance(cell, str) else cell or b"")
        except BadImage as error:
            faults[place] = (self.image_column, error.message)
            return b""

    def _file(self, name: str) -> bytes:
        """Return the bytes of an image file, one more than allowed at most."""
        try:
            with (self.table.path.parent / name).open("rb") as file:
                return file.read(MAX_IMAGE_BYTES + 1)
        except (OSError, ValueError) as error:
            raise BadImage(f"the file cannot be read: {error}") from error


def open_catalogue(path: Path, tree: Tree, *, images: bool = True, votes: bool = True) -> CatalogueFile:
    """Return a catalogue file after checking its columns.

    Parameters
    ----------
    path
        A file in one of the layouts of this module.
    tree
        The tree whose answers its vote columns name.
    images, votes
        Whether to read them: what is not read need not be there, or be right.

    Raises
    ------
    BadInput
        Naming the file, and the column where one is missing, given twice, unknown or of the wrong type: an
        unreadable or empty file, an unknown ending or layout.
    BadTree
        If the layout is the Kaggle one and the tree is not.
    """
    table = open_table(path)
    if votes and any(column in table.columns for column in KAGGLE_COLUMNS):
        catalogue = _open_kaggle(table, tree, images=images)
    elif images:
        catalogue = _open_images(table, None if not votes else column_votes(table, tree))
    else:
        catalogue = _open_votes(table, tree)
    if not images:
        catalogue = replace(catalogue, image_column=None)
    require(table, [catalogue.id_column], is_name, "text or integers")
    if "ra" in table.columns or "dec" in table.columns:
        require(table, ["ra", "dec"], is_number, "degrees")
    if _UNBIASED in table.columns:
        require(table, [_UNBIASED], is_flag, "true or false")
    return catalogue


def _open_kaggle(table: Table, tree: Tree, *, images: bool) -> CatalogueFile:
    conditional_from_cumulative(tree, np.empty((0, tree.n_answers)), ())  # refuses another tree before any row
    require(table, KAGGLE_COLUMNS, pa.types.is_floating, "fractions")
    if images:
        require(table, [_IMAGE], _is_bytes, "image bytes")
    votes = KaggleVotes(tree=tree, id_column="galaxy_id")
    return CatalogueFile(layout="kaggle", table=table, id_column="galaxy_id", image_column=_IMAGE, votes=votes)


def _open_images(table: Table, votes: RecordedVotes | None) -> CatalogueFile:
    path_column = next((column for column in _PATHS if column in table.columns), None)
    id_column = next((column for column in _IDS if column in table.columns), path_column)
    if path_column is None and _IMAGE in table.columns and id_column is not None:
        require(table, [_IMAGE], _is_bytes, "image bytes")
        return CatalogueFile(layout="images", table=table, id_column=id_column, image_column=_IMAGE, votes=votes)
    if path_column is None or id_column is None:
        raise BadInput(
            f"{table.path.name}: no column of images: neither image bytes in {_IMAGE!r} beside "
            f"{' or '.join(map(repr, _IDS))}, nor image paths in {' or '.join(map(repr, _PATHS))}",
            file=str(table.path),
        )
    require(table, [path_column], is_text, "image paths")
    return CatalogueFile(layout="paths", table=table, id_column=id_column, image_column=path_column, votes=votes)


def _open_votes(table: Table, tree: Tree) -> CatalogueFile:
    id_column = next((column for column in (*_IDS, *_PATHS) if column in table.columns), None)
    if id_column is None:
        raise BadInput(
            f"{table.path.name}: no column names the galaxies: neither {' nor '.join(map(repr, _IDS))}",
            file=str(table.path),
        )
    votes = column_votes(table, tree)
    return CatalogueFile(layout="votes", table=table, id_column=id_column, image_column=None, votes=votes)


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
