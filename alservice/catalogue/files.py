"""A catalogue file row by row: each is a galaxy or a fault."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from alservice.catalogue.galaxies import CatalogueFault, CatalogueRow
from alservice.catalogue.image_source import IMAGE_NAME, IN_FLIGHT, ImageSource, images_at
from alservice.catalogue.labels import label_votes
from alservice.catalogue.tables import (
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
    VotesAre,
    add_faults,
    column_votes,
    conditional_from_cumulative,
    vote_columns,
)
from alservice.constants import MAX_ORIGINAL_BYTES
from alservice.errors import BadImage, BadInput
from alservice.ids import check_galaxy_id, stable_fraction
from alservice.retry import Workers
from alservice.science.stretch import PLAIN, Stretch
from alservice.science.tree import Tree
from alservice.shapes import FloatArray
from alservice.storage.originals import Shown
from alservice.storage.remote_images import RemoteImages

_IDS: Final = ("galaxy_id", "id_str")
_SURVEY_IDS: Final = ("dr7objid", "objid", "iauname", "dr8_id", "subject_id")
"""Ids of published tables (GZ2, its Stripe 82 part, DECaLS, DESI, Zooniverse), where there is none of ours."""
_KAGGLE_ID: Final = "GalaxyID"
"""In the challenge's own ``training_solutions_rev1.csv``, beside its folder ``images_training_rev1``."""
_PATHS: Final = ("image_path", "file_loc")
_IMAGE: Final = "image"

ROLES: Final = ("id", "image", "ra", "dec")
"""What a column may be named for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadAs:
    """What a person says of a table where its columns do not say it.

    Parameters
    ----------
    columns
        Role (of `ROLES`) to the column that has it, whatever it is called.
    votes
        Whether votes are counts or fractions; None to tell by the numbers.

    Raises
    ------
    BadInput
        A role is none.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    votes: VotesAre | None = None

    def __post_init__(self) -> None:
        wrong = next((role for role in self.columns if role not in ROLES), None)
        if wrong is not None:
            raise BadInput(f"a column is {', '.join(ROLES)}, not {wrong!r}", role=wrong)
        if self.votes not in {None, "counts", "fractions"}:
            raise BadInput(f"votes are counts or fractions, not {self.votes!r}", votes=self.votes)

    @classmethod
    def of(cls, columns: Sequence[str], votes: VotesAre | None = None) -> ReadAs:
        """Return what was typed, each column as ``role=name``; raises `BadInput`."""
        pairs = [each.partition("=") for each in columns]
        wrong = next((role for role, _, name in pairs if not name), None)
        if wrong is not None:
            raise BadInput(f"a column is given as role=name, such as image=png_loc, not {wrong!r}", column=wrong)
        return cls(columns={role: name for role, _, name in pairs}, votes=votes)

    def document(self) -> dict[str, object]:
        """Return what was said, which decides what is read; empty where nothing was."""
        said = {"columns": dict(sorted(self.columns.items())), "votes": self.votes}
        return {key: value for key, value in said.items() if value}

    def check(self, table: Table) -> None:
        """Refuse a column that the table does not have."""
        wrong = next((name for name in self.columns.values() if name not in table.columns), None)
        if wrong is not None:
            text = f"{table.path.name}: no column {wrong!r}; it has {_some(list(table.columns))}"
            raise BadInput(text, file=str(table.path), column=wrong)


AS_TOLD: Final = ReadAs()
"""By the table's own columns."""


def said_of(folder: Path | None, read_as: ReadAs) -> dict[str, object]:
    """Return what a person said of a table, its folder of images as well: it decides what is read."""
    said = read_as.document()
    return ({} if folder is None else {"images": str(folder.absolute())}) | ({"read_as": said} if said else {})


def _some(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def open_catalogue(
    source: Path | Table,
    tree: Tree,
    *,
    layout: Layout | None = None,
    read_as: ReadAs = AS_TOLD,
    images: ImageSource | None = None,
    roots: tuple[Path, ...] = (),
    remote: RemoteImages | None = None,
    stretch: Stretch = PLAIN,
    with_images: bool = True,
    with_votes: bool = True,
    label: str | None = None,
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
    read_as
        What its columns do not say.
    images
        Where the images are, if not in a column.
    roots
        Folders that image paths may lead into, besides the one that `source` or `images` is in.
    remote
        Reads images at addresses; None refuses them.
    stretch
        How the fluxes of FITS images become grey levels.
    with_images, with_votes
        Whether to read them: what is not read need not be there, or be right.
    label
        Column that names an answer per galaxy, in place of columns of votes; see `label_votes`.

    Raises
    ------
    BadInput
        Naming the file, and the column where one is missing, given twice, unknown or of the wrong type: an
        unreadable or empty file, an unknown ending or layout, or fractions that nobody voted for.
    BadTree
        If the layout is that of another tree.
    """
    table = source if isinstance(source, Table) else open_table(source)
    read_as.check(table)
    if with_images and (images is None or "image" in read_as.columns):
        images = _named_images(table, read_as, images)
    where = _where_votes_are(table, tree, layout) if with_votes and label is None else None
    if where is not None and where.layout == "kaggle":
        catalogue = _open_kaggle(table, tree, read_as, images, with_images=with_images)
    else:
        catalogue = _open_columns(table, tree, where, read_as, images, with_images=with_images)
    if with_votes and label is not None:
        catalogue = replace(catalogue, votes=label_votes(table, tree, label))
    if catalogue.images is not None:
        found = replace(catalogue.images, roots=roots, remote=remote, stretch=stretch)
        catalogue = replace(catalogue, images=found)
    require_ids(table, catalogue.id_column)
    if not {catalogue.ra_column, catalogue.dec_column}.isdisjoint(table.columns):
        require(table, [catalogue.ra_column, catalogue.dec_column], is_number, "degrees")
    if UNBIASED in table.columns:
        require(table, [UNBIASED], is_flag, "true or false")
    return catalogue


def images_in(place: Path | str, table: Table) -> ImageSource:
    """Return the images of a folder: at the paths that a table names, else in files named ``ID.jpg``.

    A last part of the folder with ``{id}`` is the pattern of the file names, such as ``images/{id}.png``; for what may
    stand in the folder's place see `images_at`.
    """
    images = images_at(place)
    column = next((column for column in _PATHS if column in table.columns), None)
    is_folder = images.pattern == IMAGE_NAME
    return replace(images, column=column) if is_folder else images


def _where_votes_are(table: Table, tree: Tree, layout: Layout | None) -> VoteColumns:
    try:
        return vote_columns(table.columns, tree, layout)
    except (UnknownLayout, NotVotes) as error:
        name = table.path.name
        raise type(error)(f"{name}: {error.message}", file=str(table.path), **error.evidence) from error


def _named_images(table: Table, read_as: ReadAs, images: ImageSource | None) -> ImageSource | None:
    """Return the images in the column that a person named: bytes, or paths in the folder of images or of the table."""
    column = read_as.columns.get("image")
    if column is None:
        return images
    require(table, [column], _is_image, _WHAT)
    folder = table.path.parent if images is None else images.folder
    return ImageSource(folder=folder, column=column)


def _open_kaggle(
    table: Table, tree: Tree, read_as: ReadAs, images: ImageSource | None, *, with_images: bool
) -> CatalogueFile:
    conditional_from_cumulative(tree, np.empty((0, tree.n_answers)), ())  # refuses another tree before any row
    require(table, KAGGLE_COLUMNS, is_number, "fractions")
    ids = (column for column in (*_IDS, _KAGGLE_ID) if column in table.columns)
    id_column = read_as.columns.get("id") or next(ids, _IDS[0])
    if with_images and images is None:
        require(table, [_IMAGE], _is_image, _WHAT)
        images = ImageSource(folder=table.path.parent, column=_IMAGE)
    return CatalogueFile(
        layout="kaggle",
        tree=tree,
        table=table,
        id_column=id_column,
        images=images if with_images else None,
        votes=KaggleVotes(tree=tree, id_column=id_column),
        ra_column=read_as.columns.get("ra", "ra"),
        dec_column=read_as.columns.get("dec", "dec"),
    )


def _open_columns(
    table: Table,
    tree: Tree,
    where: VoteColumns | None,
    read_as: ReadAs,
    images: ImageSource | None,
    *,
    with_images: bool,
) -> CatalogueFile:
    own_id = read_as.columns.get("id") or next((column for column in _IDS if column in table.columns), None)
    id_column = own_id or _other_id(table, read_as)
    if with_images and images is None:
        images = _images_in(table, named=own_id is not None)
    return CatalogueFile(
        layout="paths" if where is None else where.layout,
        tree=tree,
        table=table,
        id_column=id_column,
        images=images if with_images else None,
        votes=None if where is None else column_votes(table, tree, where, read_as.votes),
        ra_column=read_as.columns.get("ra", "ra"),
        dec_column=read_as.columns.get("dec", "dec"),
        votes_asked=where is not None,
    )


def _other_id(table: Table, read_as: ReadAs) -> str:
    """Return the column of a survey's ids, else of image paths, which name galaxies as well."""
    image = read_as.columns.get("image", "")
    paths = (*_PATHS, *([image] if image and is_text(table.columns[image]) else ()))
    found = next((column for column in (*_SURVEY_IDS, *paths) if column in table.columns), None)
    if found is None:
        text = (
            f"{table.path.name}: no column of ids: {', '.join((*_IDS, *_SURVEY_IDS))}, nor one named (--column id=NAME)"
        )
        raise BadInput(text, file=str(table.path))
    return str(found)


_MAYBE_IMAGES: Final = ("png", "jpg", "jpeg", "image", "cutout", "filename", "file", "loc", "path", "url")


def _images_in(table: Table, *, named: bool) -> ImageSource:
    """Return where a table keeps its images: paths, or bytes beside an id."""
    for column in _PATHS:
        if column in table.columns:
            require(table, [column], is_text, "image paths")
            return ImageSource(folder=table.path.parent, column=column)
    if named and _IMAGE in table.columns:
        require(table, [_IMAGE], _is_image, _WHAT)
        return ImageSource(folder=table.path.parent, column=_IMAGE)
    likely = next(
        (
            name
            for name, kind in table.columns.items()
            if _is_image(kind) and any(part in name.lower() for part in _MAYBE_IMAGES)
        ),
        None,
    )
    raise BadInput(
        f"{table.path.name}: no column of images: neither image bytes in {_IMAGE!r} beside an id, nor image paths in "
        f"{' or '.join(map(repr, _PATHS))}, nor one named (--column image={likely or 'NAME'}), nor a folder of images "
        "(--images)",
        file=str(table.path),
    )


_WHAT: Final = "image bytes, paths or addresses"


def _is_image(kind: pa.DataType) -> bool:
    """Return whether a type holds images: bytes, what names them, or both side by side as Hugging Face writes them."""
    return is_text(kind) or _is_bytes(kind)


def _is_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        place = kind.get_field_index(_BYTES)
        return place >= 0 and _is_bytes(kind.field(place).type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


_BYTES: Final = "bytes"


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
    ra_column, dec_column
        Of positions (deg); the table need not have them.
    votes_asked
        Whether votes were looked for.
    """

    layout: Layout
    tree: Tree
    table: Table
    id_column: str
    images: ImageSource | None
    votes: RecordedVotes | None
    ra_column: str = "ra"
    dec_column: str = "dec"
    votes_asked: bool = True

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
        with Workers(IN_FLIGHT) as pool:
            yield from self._rows(wanted, _Seen(self._repeated()), after, pool)

    def _rows(
        self, wanted: Collection[int] | None, seen: _Seen, after: int, pool: Workers
    ) -> Iterator[CatalogueRow | CatalogueFault]:
        end = failed = 0
        for batch in self.table.batches(self.columns):
            start, end = end, end + len(batch)
            places = [i for i in range(len(batch)) if wanted is None or start + i in wanted]
            if after > start:
                early = [i for i in places if start + i < after]
                for galaxy_id in texts(batch[self.id_column].take(pa.array(early, pa.int64()))):
                    seen.add(galaxy_id or "")
                places = places[len(early) :]
            if places:
                asked = batch if len(places) == len(batch) else batch.take(pa.array(places))
                for row in self._read(asked, [start + i + 1 for i in places], seen, pool):
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
    def columns(self) -> list[str]:
        """The columns that `rows` reads."""
        optional = [name for name in (self.ra_column, self.dec_column, UNBIASED) if name in self.table.columns]
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

    def _read(
        self, batch: pa.RecordBatch, rows: Sequence[int], seen: _Seen, pool: Workers
    ) -> Iterator[CatalogueRow | CatalogueFault]:
        faults: Faults = {}
        galaxy_ids = self._galaxy_ids(batch, seen, faults)
        votes = self._votes(batch, faults)
        fractions, asked = votes.fractions, votes.asked
        ra, dec = self._position(batch, faults)
        unbiased = self._unbiased(batch, faults)
        images = self._images(batch, galaxy_ids, [i for i in range(len(batch)) if i not in faults], pool)
        for i, (row, galaxy_id) in enumerate(zip(rows, galaxy_ids, strict=True)):
            image = faults[i] if i in faults else next(images)
            if isinstance(image, tuple) and not isinstance(image, Shown):
                field, reason = image
                yield CatalogueFault(row=row, galaxy_id=galaxy_id, field=field, reason=reason)
                continue
            yield CatalogueRow(
                row=row,
                galaxy_id=galaxy_id or "",
                ra_deg=_known(ra[i]),
                dec_deg=_known(dec[i]),
                image=image.data,
                made_from=image.made_from,
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
        names = self.ra_column, self.dec_column
        if names[0] not in self.table.columns:
            return np.full(len(batch), np.nan), np.full(len(batch), np.nan)
        (ra, bad_ra), (dec, bad_dec) = (numbers(batch[name]) for name in names)
        add_faults(faults, bad_ra | (ra < 0) | (ra >= 360), names[0], "not within [0, 360) degrees")
        add_faults(faults, bad_dec | (np.abs(dec) > 90), names[1], "not within [-90, 90] degrees")
        add_faults(faults, np.isnan(ra) != np.isnan(dec), names[0], "only one of ra and dec is given")
        return ra, dec

    def _unbiased(self, batch: pa.RecordBatch, faults: Faults) -> list[bool]:
        if UNBIASED not in self.table.columns:
            return [True] * len(batch)
        flags = [_FLAGS.get((text or "").strip().lower()) for text in texts(batch[UNBIASED])]
        add_faults(faults, np.array([flag is None for flag in flags]), UNBIASED, "neither true nor false")
        return [flag is True for flag in flags]

    def _images(
        self, batch: pa.RecordBatch, galaxy_ids: Sequence[str | None], places: Sequence[int], pool: Workers
    ) -> Iterator[Shown | tuple[str, str]]:
        """Yield what is shown of the images of some rows in their order, or why nothing is."""
        if self.images is None:
            return repeat(Shown(b"", None))
        column, read = self.images.column, partial(_image, self.images)
        cells = ((None if column is None else batch[column][i], galaxy_ids[i] or "") for i in places)
        # Bytes are there already; files and addresses are waited for, several at a time.
        is_here = column is not None and not is_text(self.table.columns[column])
        return map(read, cells) if is_here else pool.in_order(read, cells)


def _image(source: ImageSource, asked: tuple[pa.Scalar | None, str]) -> Shown | tuple[str, str]:
    """Return what is shown of the image of a cell and an id, or the field and the reason of its fault."""
    cell, galaxy_id = asked
    try:
        return source.read(None if cell is None else _cell(cell), galaxy_id)
    except BadImage as error:
        return source.field, error.message
    except UnicodeDecodeError as error:
        return source.field, f"byte {error.start} is not UTF-8"


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
    """Return what a cell holds: of bytes no more than one beyond the largest image, a path where there are none."""
    if isinstance(scalar, pa.StructScalar):
        if not scalar.is_valid:
            return None
        inside = _cell(scalar[_BYTES])
        return inside if inside is not None or "path" not in scalar else _cell(scalar["path"])
    held = scalar.as_buffer() if isinstance(scalar, pa.BinaryScalar | pa.LargeBinaryScalar) else None
    if held is not None and held.size > MAX_ORIGINAL_BYTES:
        beginning: bytes = held[: MAX_ORIGINAL_BYTES + 1].to_pybytes()
        return beginning
    value: bytes | str | None = scalar.as_py()
    return value


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
