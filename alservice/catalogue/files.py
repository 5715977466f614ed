"""A catalogue file row by row: each is a galaxy or a fault."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from alservice.catalogue.galaxies import CatalogueFault, CatalogueRow
from alservice.catalogue.tables import (
    ImageSource,
    Table,
    is_flag,
    is_number,
    is_text,
    numbers,
    open_table,
    require,
    require_ids,
    texts,
)
from alservice.catalogue.vote_columns import (
    KAGGLE_COLUMNS,
    Faults,
    KaggleVotes,
    Layout,
    NotVotes,
    RecordedVotes,
    UnknownLayout,
    VoteBlock,
    VoteColumns,
    add_faults,
    column_votes,
    conditional_from_cumulative,
    vote_columns,
)
from alservice.constants import MAX_IMAGE_BYTES
from alservice.errors import BadImage, BadInput
from alservice.ids import check_galaxy_id, stable_fraction
from alservice.science.tree import Tree
from alservice.shapes import FloatArray

_IDS: Final = ("galaxy_id", "id_str")
_SURVEY_IDS: Final = ("dr7objid", "objid", "iauname", "dr8_id", "subject_id")
"""Ids of published tables (GZ2, its Stripe 82 part, DECaLS, DESI, Zooniverse), where there is none of ours."""
_KAGGLE_ID: Final = "GalaxyID"
"""In the challenge's own ``training_solutions_rev1.csv``, beside its folder ``images_training_rev1``."""
_PATHS: Final = ("image_path", "file_loc")
_IMAGE: Final = "image"


def open_catalogue(
    source: Path | Table,
    tree: Tree,
    *,
    layout: Layout | None = None,
    images: ImageSource | None = None,
    roots: tuple[Path, ...] = (),
    with_images: bool = True,
    with_votes: bool = True,
) -> CatalogueFile:
    """Return a catalogue file after checking its columns.

    Parameters
    ----------
    source
        A file or a table in one of the layouts of this module.
    tree
        The tree whose answers its vote columns name.
    layout
        Take the file for this one; None to tell by its columns.
    images
        Where the images are, if not in a column.
    roots
        Folders that image paths may lead into, besides the one that `source` or `images` is in.
    with_images, with_votes
        Whether to read them: what is not read need not be there, or be right.

    Raises
    ------
    BadInput
        Naming the file, and the column where one is missing, given twice, unknown or of the wrong type: an
        unreadable or empty file, an unknown ending or layout, or fractions that nobody voted for.
    BadTree
        If the layout is that of another tree.
    """
    table = source if isinstance(source, Table) else open_table(source)
    images = None if images is None else replace(images, roots=roots)
    where = _where_votes_are(table, tree, layout) if with_votes else None
    if where is not None and where.layout == "kaggle":
        catalogue = _open_kaggle(table, tree, images, with_images=with_images)
    else:
        catalogue = _open_columns(table, tree, where, images, roots, with_images=with_images)
    require_ids(table, catalogue.id_column)
    if "ra" in table.columns or "dec" in table.columns:
        require(table, ["ra", "dec"], is_number, "degrees")
    if UNBIASED in table.columns:
        require(table, [UNBIASED], is_flag, "true or false")
    return catalogue


def images_in(folder: Path, table: Table) -> ImageSource:
    """Return the images of a folder: at the paths that a table names, else in files named ``ID.jpg``.

    A last part of the folder with ``{id}`` is the pattern of the file names, such as ``images/{id}.png``.
    """
    if "{" in folder.name:
        return ImageSource(folder=folder.parent, pattern=folder.name)
    return ImageSource(folder=folder, column=next((column for column in _PATHS if column in table.columns), None))


def _where_votes_are(table: Table, tree: Tree, layout: Layout | None) -> VoteColumns:
    try:
        return vote_columns(table.columns, tree, layout)
    except (UnknownLayout, NotVotes) as error:
        name = table.path.name
        raise type(error)(f"{name}: {error.message}", file=str(table.path), **error.evidence) from error


def _open_kaggle(table: Table, tree: Tree, images: ImageSource | None, *, with_images: bool) -> CatalogueFile:
    conditional_from_cumulative(tree, np.empty((0, tree.n_answers)), ())  # refuses another tree before any row
    require(table, KAGGLE_COLUMNS, is_number, "fractions")
    id_column = next((column for column in (*_IDS, _KAGGLE_ID) if column in table.columns), _IDS[0])
    if with_images and images is None:
        require(table, [_IMAGE], _is_bytes, "image bytes")
        images = ImageSource(folder=table.path.parent, column=_IMAGE)
    votes = KaggleVotes(tree=tree, id_column=id_column)
    return CatalogueFile(
        layout="kaggle", table=table, id_column=id_column, images=images if with_images else None, votes=votes
    )


def _open_columns(
    table: Table,
    tree: Tree,
    where: VoteColumns | None,
    images: ImageSource | None,
    roots: tuple[Path, ...],
    *,
    with_images: bool,
) -> CatalogueFile:
    own_id = next((column for column in _IDS if column in table.columns), None)
    path_column = next((column for column in _PATHS if column in table.columns), None)
    ids = (column for column in _SURVEY_IDS if column in table.columns)
    id_column = own_id or next(ids, path_column)
    if id_column is None:
        text = f"{table.path.name}: no column of ids: {', '.join((*_IDS, *_SURVEY_IDS))}"
        raise BadInput(text, file=str(table.path))
    if with_images and images is None:
        images = _images_in(table, roots, named=own_id is not None)
    return CatalogueFile(
        layout="paths" if where is None else where.layout,
        table=table,
        id_column=id_column,
        images=images if with_images else None,
        votes=None if where is None else column_votes(table, tree, where),
    )


def _images_in(table: Table, roots: tuple[Path, ...], *, named: bool) -> ImageSource:
    """Return where a table keeps its images: paths, or bytes beside an id."""
    for column in _PATHS:
        if column in table.columns:
            require(table, [column], is_text, "image paths")
            return ImageSource(folder=table.path.parent, column=column, roots=roots)
    if named and _IMAGE in table.columns:
        require(table, [_IMAGE], _is_bytes, "image bytes")
        return ImageSource(folder=table.path.parent, column=_IMAGE)
    raise BadInput(
        f"{table.path.name}: no column of images: neither image bytes in {_IMAGE!r} beside an id, nor image paths in "
        f"{' or '.join(map(repr, _PATHS))}, nor a folder of images (--images)",
        file=str(table.path),
    )


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


UNBIASED: Final = "random_block"
"""Column that marks the unbiased part."""

MAX_FAULTS: Final = 1_000_000
"""Faults that are kept, some hundred bytes each; a file with more is not the one that was meant."""

_FLAGS: Final[Mapping[str | None, bool]] = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, kw_only=True, slots=True)
class CatalogueFile:
    """A catalogue file whose columns are known to fit; `rows` reads it.

    Parameters
    ----------
    layout
        Which of the layouts of `alservice.catalogue.files`.
    images
        Where its images are; None where none are asked for.
    votes
        How it records votes, None where it records none or none are asked for.
    """

    layout: Layout
    table: Table
    id_column: str
    images: ImageSource | None
    votes: RecordedVotes | None

    @property
    def n_rows(self) -> int:
        """Rows of the file."""
        return self.table.n_rows

    def rows(
        self, galaxies: int | None = None, seed: int = 0, *, after: int = 0
    ) -> Iterator[CatalogueRow | CatalogueFault]:
        """Yield every requested row, in order of the file, as a galaxy or as a fault.

        Memory is flat but for eight bytes a row, by which duplicates are found; the first row of an id counts.

        Parameters
        ----------
        galaxies
            Read only so many: those whose ids hash smallest, so that every part of the catalogue keeps its
            share and a larger number adds to a smaller one. No image of another row is read from its file.
        seed
            Which subset.
        after
            Begin after this row, the first being 1; no image before it is read.

        Raises
        ------
        BadInput
            If fewer rows have an id than were asked for, the file can no longer be read, or more rows than
            `MAX_FAULTS` have failed.
        """
        wanted = None if galaxies is None else self._subset(galaxies, seed)
        seen = _Seen(self._repeated())
        end = failed = 0
        for batch in self.table.batches(self._columns):
            start, end = end, end + len(batch)
            places = [i for i in range(len(batch)) if wanted is None or start + i in wanted]
            if after > start:
                early = [i for i in places if start + i < after]
                for galaxy_id in texts(batch[self.id_column].take(pa.array(early, pa.int64()))):
                    seen.add(galaxy_id or "")
                places = places[len(early) :]
            if places:
                asked = batch if len(places) == len(batch) else batch.take(pa.array(places))
                for row in self._read(asked, [start + i + 1 for i in places], seen):
                    failed += isinstance(row, CatalogueFault)
                    if failed > MAX_FAULTS:
                        raise self._refused(row)
                    yield row

    def unbiased_ids(self) -> list[str]:
        """Return the ids of the unbiased part; none where the file does not mark one."""
        if UNBIASED not in self.table.columns:
            return []
        return [
            galaxy_id
            for batch in self.table.batches([self.id_column, UNBIASED])
            for galaxy_id, unbiased in zip(texts(batch[self.id_column]), self._unbiased(batch, {}), strict=True)
            if unbiased and galaxy_id is not None
        ]

    def _refused(self, row: CatalogueRow | CatalogueFault) -> BadInput:
        reason = row.reason if isinstance(row, CatalogueFault) else ""
        return BadInput(
            f"{self.table.path.name}: more than {MAX_FAULTS:,} rows failed, the last is row {row.row}: {reason}",
            file=str(self.table.path),
        )

    @property
    def _columns(self) -> list[str]:
        optional = [name for name in ("ra", "dec", UNBIASED) if name in self.table.columns]
        votes = () if self.votes is None else self.votes.columns
        images = () if self.images is None or self.images.column is None else (self.images.column,)
        return list(dict.fromkeys([self.id_column, *images, *votes, *optional]))

    def _repeated(self) -> frozenset[int]:
        """Return the hashes of ids that two rows may have."""
        hashes = array("q")
        for batch in self.table.batches([self.id_column]):
            hashes.extend(map(hash, texts(batch[0])))
        ordered = np.sort(np.frombuffer(hashes, dtype=np.int64))
        return frozenset(ordered[1:][ordered[1:] == ordered[:-1]].tolist())

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

    def _read(self, batch: pa.RecordBatch, rows: Sequence[int], seen: _Seen) -> Iterator[CatalogueRow | CatalogueFault]:
        faults: Faults = {}
        galaxy_ids = self._galaxy_ids(batch, seen, faults)
        votes = self._votes(batch, faults)
        fractions, asked = votes.fractions, votes.asked
        ra, dec = self._position(batch, faults)
        unbiased = self._unbiased(batch, faults)
        for i, (row, galaxy_id) in enumerate(zip(rows, galaxy_ids, strict=True)):
            image = b"" if i in faults else self._image(batch, i, galaxy_id or "", faults)
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
                consistent=not votes.inconsistent[i],
                counts=None if votes.counts is None or not votes.counts[i].any() else votes.counts[i],
                cumulative=None if votes.cumulative is None else votes.cumulative[i],
            )

    def _galaxy_ids(self, batch: pa.RecordBatch, seen: _Seen, faults: Faults) -> list[str | None]:
        galaxy_ids = texts(batch[self.id_column])
        for i, galaxy_id in enumerate(galaxy_ids):
            try:
                name = check_galaxy_id(galaxy_id or "", where=self.id_column)
            except BadInput as error:
                faults[i] = (self.id_column, error.message)
                continue
            if not seen.add(name):
                faults[i] = (self.id_column, f"galaxy {name!r} was given by an earlier row")
        return galaxy_ids

    def _votes(self, batch: pa.RecordBatch, faults: Faults) -> VoteBlock:
        if self.votes is None:
            n = len(batch)
            nothing = np.zeros(n, dtype=np.bool_)
            return VoteBlock(fractions=np.full((n, 1), np.nan), asked=np.full(n, np.nan), inconsistent=nothing)
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
        if UNBIASED not in self.table.columns:
            return [True] * len(batch)
        flags = [_FLAGS.get((text or "").strip().lower()) for text in texts(batch[UNBIASED])]
        add_faults(faults, np.array([flag is None for flag in flags]), UNBIASED, "neither true nor false")
        return [flag is True for flag in flags]

    def _image(self, batch: pa.RecordBatch, place: int, galaxy_id: str, faults: Faults) -> bytes:
        """Return the original bytes, if asked for; what volunteers could not be shown is added to the faults."""
        if self.images is None:
            return b""
        column = self.images.column
        try:
            return self.images.read(None if column is None else _cell(batch[column][place]), galaxy_id)
        except BadImage as error:
            faults[place] = (self.images.field, error.message)
        except UnicodeDecodeError as error:
            faults[place] = (self.images.field, f"byte {error.start} is not UTF-8")
        return b""


class _Seen:
    """Ids that were seen, of those that may come again.

    Parameters
    ----------
    repeated
        Hashes of these.
    """

    def __init__(self, repeated: frozenset[int]) -> None:
        self._repeated = repeated
        self._seen: set[str] = set()

    def add(self, galaxy_id: str) -> bool:
        """Tell whether an id is new, and remember it."""
        if hash(galaxy_id) not in self._repeated:
            return True
        is_new = galaxy_id not in self._seen
        self._seen.add(galaxy_id)
        return is_new


def _cell(scalar: pa.Scalar) -> bytes | str | None:
    """Return what a cell holds: of bytes no more than one beyond the largest image."""
    held = scalar.as_buffer() if isinstance(scalar, pa.BinaryScalar | pa.LargeBinaryScalar) else None
    if held is not None and held.size > MAX_IMAGE_BYTES:
        beginning: bytes = held[: MAX_IMAGE_BYTES + 1].to_pybytes()
        return beginning
    value: bytes | str | None = scalar.as_py()
    return value


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
