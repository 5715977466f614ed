"""Tables as astronomers keep them: FITS, VOTable, and folders of HATS. The extra ``astro`` reads them.

FITS is mapped and read some rows at a time. A VOTable is XML that is read whole, and so is bounded before.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Final, NamedTuple
from xml.parsers import expat

import numpy as np
import pyarrow as pa

from alservice.constants import MAX_IMAGE_BYTES
from alservice.errors import BadConfig, BadInput
from alservice.files import open_regular
from alservice.storage.csv import UNREADABLE, open_bytes
from alservice.storage.parquet_pages import MAX_ROWS_PER_BYTE, MAX_UNFOLDED_BYTES, Unfolds

FITS_ENDINGS: Final = (".fits", ".fit", ".fits.gz")
VOTABLE_ENDINGS: Final = (".vot", ".votable", ".xml")

MAX_VOTABLE_BYTES: Final = 128 * 1024 * 1024
"""Longest VOTable: it takes several times as much memory, and a second for each megabyte or two."""

_SIMPLE: Final = b"SIMPLE"
"""What every FITS file begins with."""

_MAX_FIELDS: Final = 10_000
_FITS_ROWS: Final = 4_096
"""Rows of FITS at a time, of which each takes some kilobytes."""

_IMAGE_ROWS: Final = 128
"""Rows at a time where cells are as long as images may be."""


class Opened(NamedTuple):
    """Columns, rows and content of a file, as `Table` has them; `note` says which of several tables it is."""

    columns: Sequence[tuple[str, pa.DataType]]
    n_rows: int
    stream: Callable[[Sequence[str]], Iterator[pa.RecordBatch]]
    note: str = ""


def _package(name: str, path: Path) -> Any:
    """Return a package of the extra ``astro``."""
    try:
        return import_module(name)
    except ImportError as error:
        raise BadConfig(
            f"{path.name}: needs the package {error.name}: pip install 'alservice[astro]'",
            file=str(path),
            package=error.name,
        ) from None


# FITS


def open_fits(path: Path) -> Opened:
    """Open the first table of a FITS file.

    Columns of variable-length bytes are images; other arrays are no cells that this package knows.

    Raises
    ------
    BadConfig
        astropy is not installed.
    BadInput
        It is no FITS, is cut off, or holds no table.
    Unfolds
        It is zipped, and unfolds to more than memory should hold.
    """
    with _first_table(path) as (hdu, _, note):
        columns = [(column.name, _fits_type(column, hdu.columns.dtype[column.name])) for column in hdu.columns]
        n_rows = int(hdu.header["NAXIS2"])

    def stream(asked: Sequence[str]) -> Iterator[pa.RecordBatch]:
        kinds = dict(columns)
        step = _IMAGE_ROWS if any(pa.types.is_binary(kinds[name]) for name in asked) else _FITS_ROWS
        with _first_table(path) as (hdu, source, _):
            rows, heap = _raw_rows(path, source, hdu), _Heap.of(path, source, hdu)
            for start in range(0, n_rows, step):
                part = rows[start : start + step]
                arrays = [_fits_cells(part[name], hdu.columns[name], heap, start) for name in asked]
                yield pa.record_batch(arrays, names=list(asked))

    return Opened(columns, n_rows, stream, note)


@contextmanager
def _first_table(path: Path) -> Iterator[tuple[Any, IO[bytes], str]]:
    """Open the first table of a file, whose data are all there, and the file at any place of it."""
    fits = _package("astropy.io.fits", path)
    known = OSError, ValueError, TypeError, LookupError, OverflowError, AttributeError, fits.VerifyError
    zipped = path.name.lower().endswith(".gz")
    source: IO[bytes] = io.BytesIO(_unzipped(path)) if zipped else open_regular(path)
    with source, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what matters of what it warns of is checked here
        try:
            length = source.seek(0, io.SEEK_END)
            source.seek(0)
            if source.read(len(_SIMPLE)) != _SIMPLE:  # astropy would unpack what it finds, to any length
                raise BadInput(f"{path.name} cannot be read: it is no FITS file", file=str(path))
            source.seek(0)
            options = {"memmap": not zipped, "character_as_bytes": True, "uint": True, "lazy_load_hdus": True}
            with fits.open(source if zipped else path, **options) as hdus:
                tables = [place for place, hdu in enumerate(hdus) if type(hdu) in {fits.BinTableHDU, fits.TableHDU}]
                if not tables:
                    held = ", ".join(dict.fromkeys(_kind_of(hdu) for hdu in hdus)) or "nothing"
                    raise BadInput(f"{path.name}: a FITS file without a table: it holds {held}", file=str(path))
                hdu = hdus[tables[0]]
                _refuse_cut(path, hdu, length)
                which = f"extension {tables[0]} ({hdu.name})" if hdu.name else f"extension {tables[0]}"
                yield hdu, source, f"{which}, the first of {len(tables)} tables" if tables[1:] else ""
        except known as error:
            if isinstance(error, BadInput):
                raise
            raise BadInput(f"{path.name} cannot be read: {error}", file=str(path)) from error


def _unzipped(path: Path) -> bytes:
    try:
        with open_bytes(path) as file:
            data: bytes = file.read(MAX_UNFOLDED_BYTES + 1)
    except UNREADABLE as error:
        raise BadInput(f"{path.name} cannot be read: {error}", file=str(path)) from error
    if len(data) > MAX_UNFOLDED_BYTES:
        text = f"{path.name}: unfolds to more than {MAX_UNFOLDED_BYTES:,} bytes: unzip it, and memory is flat"
        raise Unfolds(text, file=str(path))
    return data


def _kind_of(hdu: Any) -> str:
    return "images" if hdu.header.get("NAXIS", 0) else "headers alone"


def _refuse_cut(path: Path, hdu: Any, length: int) -> None:
    width, n_rows, heap = (int(hdu.header[key]) for key in ("NAXIS1", "NAXIS2", "PCOUNT"))
    end = hdu.fileinfo()["datLoc"] + width * n_rows + heap
    if min(width, n_rows, heap) < 0 or end > length:
        raise BadInput(f"{path.name} is cut off: {length:,} bytes of {end:,} or more", file=str(path))
    if n_rows > MAX_ROWS_PER_BYTE * length:
        raise Unfolds(f"{path.name}: says to hold {n_rows:,} rows in {length:,} bytes", file=str(path))


def _raw_rows(path: Path, source: IO[bytes], hdu: Any) -> Any:
    """Return the rows as they are written, mapped: astropy's own copies all columns when it is done."""
    start, n_rows, dtype = hdu.fileinfo()["datLoc"], int(hdu.header["NAXIS2"]), hdu.columns.dtype.newbyteorder(">")
    if isinstance(source, io.BytesIO):
        return np.frombuffer(source.getvalue(), dtype, count=n_rows, offset=start)
    return np.memmap(path, dtype, mode="r", offset=start, shape=(n_rows,))


_BYTES_APART: Final = re.compile(r"\d*[PQ]B")
_APART: Final = re.compile(r"\d*[PQ]")
_LIST: Final = pa.list_(pa.float64())
"""The type of cells that this package does not know: no vote, no id and no image is one."""


def _fits_type(column: Any, raw: Any) -> pa.DataType:
    form = str(column.format)
    if _BYTES_APART.match(form):
        return pa.binary()
    if raw.shape or _APART.match(form) or raw.kind not in "Siuf":
        return _LIST
    if raw.kind == "S":
        return pa.string()
    return _numbers(np.zeros(0, raw), column).type


@dataclass(frozen=True, slots=True)
class _Heap:
    """Where the cells of variable length lie in a file that may be read at any place."""

    path: Path
    file: IO[bytes]
    start: int
    length: int

    @classmethod
    def of(cls, path: Path, file: IO[bytes], hdu: Any) -> _Heap:
        header = hdu.header
        table = int(header["NAXIS1"]) * int(header["NAXIS2"])
        gap = int(header.get("THEAP", table))
        return cls(path, file, hdu.fileinfo()["datLoc"] + gap, table + int(header["PCOUNT"]) - gap)

    def cell(self, row: int, column: str, length: int, offset: int) -> bytes | None:
        """Return a cell, of one longer than an image only its beginning; None for an empty one."""
        if length < 0 or offset < 0 or offset + length > self.length:
            text = f"{self.path.name}: row {row}: column {column!r} lies outside the file"
            raise BadInput(text, file=str(self.path), column=column)
        self.file.seek(self.start + offset)
        data: bytes = self.file.read(min(length, MAX_IMAGE_BYTES + 1))
        return data or None


def _fits_cells(raw: Any, column: Any, heap: _Heap, start: int) -> pa.Array:
    """Return some rows of a column; null where FITS has its null, no logical value, or an empty text."""
    if _BYTES_APART.match(str(column.format)):
        places = raw.astype(np.int64).reshape(len(raw), 2).tolist()
        cells = [heap.cell(start + i + 1, column.name, *place) for i, place in enumerate(places)]
        return pa.array(cells, pa.binary())
    return _texts(raw) if raw.dtype.kind == "S" else _numbers(raw, column)


_SIGN: Final = {16: 1 << 15, 32: 1 << 31, 64: 1 << 63}


def _numbers(raw: Any, column: Any) -> pa.Array:
    """Return numbers and logicals as FITS means them: scaled, unsigned, or null."""
    plain = raw.astype(raw.dtype.newbyteorder("="))
    if str(column.format).endswith("L"):
        return pa.array(plain == ord("T"), mask=plain == 0)
    missing = plain == int(column.null) if column.null not in {None, ""} and plain.dtype.kind in "iu" else None
    scale, zero = (
        default if given in {None, ""} else given for given, default in ((column.bscale, 1), (column.bzero, 0))
    )
    bits = plain.dtype.itemsize * 8
    if plain.dtype.kind == "i" and scale == 1 and zero == _SIGN.get(bits):
        plain = plain.view(f"u{bits // 8}") ^ np.array(_SIGN[bits], f"u{bits // 8}")
    elif (scale, zero) != (1, 0):
        plain = plain * float(scale) + float(zero)
    return pa.array(plain, mask=missing)


def _texts(raw: Any) -> pa.Array:
    """Return texts without the blanks that fill them; bytes that are no UTF-8 stay, and are told cell by cell."""
    stripped = np.strings.rstrip(np.asarray(raw), b" \0")
    cells = pa.array([bytes(cell) or None for cell in stripped.tolist()], pa.binary())
    return pa.StringArray.from_buffers(len(cells), *_moved(cells))


def _moved(cells: pa.Array) -> tuple[Any, Any, Any]:
    valid, offsets, data = cells.buffers()
    return offsets, data if data is not None else pa.py_buffer(b""), valid


# VOTable

_SIZES: Final = {
    "boolean": 1,
    "bit": 1,
    "unsignedByte": 1,
    "char": 4,
    "unicodeChar": 4,
    "short": 2,
    "int": 4,
    "float": 4,
}
_LONG: Final = 16


@dataclass(slots=True)
class _Outline:
    """What the elements of a VOTable say, told before anything is made of them."""

    path: Path
    depth: int = 0
    fields: int = 0
    row_bytes: int = 0
    rows: int = 0
    most: int = 0
    tables: int = 0
    seen: set[str] = field(default_factory=set)

    def begin(self, tag: str, attributes: dict[str, str]) -> None:
        """Take an element's beginning."""
        name = tag.rpartition(":")[2]
        if self.depth == 0 and name.upper() != "VOTABLE":
            raise BadInput(f"{self.path.name}: XML of another kind: it begins with <{name}>, no VOTABLE")
        self.depth += 1
        if name == "STREAM" and "href" in attributes:
            raise BadInput(f"{self.path.name}: its rows lie elsewhere, at an address that is not followed")
        if name in {"FITS", "PARQUET"}:
            raise BadInput(f"{self.path.name}: its rows are {name} inside XML; give that file itself")
        if name == "TABLE":
            self.tables += 1
            self.row_bytes, self.rows = 0, _number(attributes.get("nrows", "0"))
        elif name == "FIELD":
            self.fields += 1
            self.row_bytes += self._bytes_of(attributes)
        elif name == "TR":
            self.seen.add("TR")
            self.rows += 1
        self._refuse()

    def end(self, _tag: str) -> None:
        """Take an element's end."""
        self.depth -= 1

    def refuse_entity(self, name: str, *_: object) -> None:
        """Refuse names that stand for texts: a table needs none, and they can stand for gigabytes."""
        raise BadInput(f"{self.path.name}: declares the entity {name!r}, which no VOTable needs", file=str(self.path))

    def _bytes_of(self, attributes: dict[str, str]) -> int:
        size, n = _SIZES.get(attributes.get("datatype", ""), _LONG), 1
        shape = attributes.get("arraysize", "1")
        for part in shape.split("x"):
            length = part.rstrip("s")
            if length.endswith("*"):
                return _LONG
            n *= _number(length)
        if n == 0:
            raise BadInput(f"{self.path.name}: field {attributes.get('name')!r} has arrays of size {shape!r}")
        return size * n

    def _refuse(self) -> None:
        self.most = max(self.most, self.row_bytes * self.rows)
        if self.most > MAX_UNFOLDED_BYTES:
            raise Unfolds(
                f"{self.path.name}: its rows unfold to more than {MAX_UNFOLDED_BYTES:,} bytes: write it as FITS or "
                "Parquet",
                file=str(self.path),
            )
        if self.fields > _MAX_FIELDS:
            raise BadInput(f"{self.path.name}: has more than {_MAX_FIELDS:,} columns", file=str(self.path))


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 16 else 0


def _outline(path: Path) -> _Outline:
    """Walk through the elements in flat memory."""
    size = path.stat().st_size
    if size > MAX_VOTABLE_BYTES:
        raise Unfolds(
            f"{path.name}: is {size:,} bytes long, and a VOTable of more than {MAX_VOTABLE_BYTES:,} is not read: write "
            "it as FITS or Parquet",
            file=str(path),
        )
    outline = _Outline(path)
    parser = expat.ParserCreate()
    parser.StartElementHandler = outline.begin
    parser.EndElementHandler = outline.end
    parser.EntityDeclHandler = outline.refuse_entity
    with open_regular(path) as file:
        try:
            parser.ParseFile(file)
        except expat.ExpatError as error:
            raise BadInput(f"{path.name} cannot be read: {error}", file=str(path)) from error
    return outline


def open_votable(path: Path) -> Opened:
    """Open the first table of a VOTable, which is read whole.

    Raises
    ------
    BadConfig
        astropy is not installed.
    BadInput
        It is no XML or XML of another kind, is cut off, holds no table or declares entities, or its rows are elsewhere.
    Unfolds
        It is, or becomes, more than memory should hold.
    """
    outline = _outline(path)
    if not outline.tables:
        raise BadInput(f"{path.name}: a VOTable without a table", file=str(path))
    votable = _package("astropy.io.votable", path)
    known = OSError, ValueError, TypeError, LookupError, OverflowError, EOFError, NotImplementedError, MemoryError
    with warnings.catch_warnings(), open_regular(path) as file:
        warnings.simplefilter("ignore")  # of units and old versions, which nothing here depends on
        try:
            first = votable.parse(file, verify="ignore").get_first_table()
            table = first.to_table(use_names_over_ids=True)
        except known as error:
            raise BadInput(f"{path.name} cannot be read: {error}", file=str(path)) from error
    arrays = {name: _votable_cells(table[name]) for name in table.colnames}
    rows = pa.table(arrays)

    def stream(asked: Sequence[str]) -> Iterator[pa.RecordBatch]:
        yield from rows.select(list(asked)).to_batches(max_chunksize=_FITS_ROWS)

    note = f"the first of {outline.tables} tables" if outline.tables > 1 else ""
    columns = list(zip(rows.schema.names, rows.schema.types, strict=True))
    return Opened(columns, rows.num_rows, stream, note)


def _votable_cells(column: Any) -> pa.Array:
    """Return a column; texts are stripped and null where they are empty, arrays null for they are no cells."""
    values = np.ma.getdata(column)
    missing = np.ma.getmaskarray(column) if np.ma.isMaskedArray(column) else np.zeros(values.shape, dtype=np.bool_)
    if values.ndim > 1 or (values.dtype.kind == "O" and not _all_texts(values)):
        return pa.nulls(len(values), _LIST)
    if values.dtype.kind in "OUS":
        cells = [cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell) for cell in values.tolist()]
        shown = zip(cells, missing.tolist(), strict=True)
        return pa.array([None if hidden else cell.strip() or None for cell, hidden in shown], pa.string())
    return pa.array(values.astype(values.dtype.newbyteorder("=")), mask=missing)


def _all_texts(values: Any) -> bool:
    return all(isinstance(cell, str | bytes) for cell in values.tolist())


# HATS

_PROPERTIES: Final = ("hats.properties", "properties")
_COLLECTION: Final = "collection.properties"


def is_hats(folder: Path) -> bool:
    """Tell whether a folder is a HATS catalogue, or a collection of them, by its properties."""
    return any((folder / name).is_file() for name in (*_PROPERTIES, _COLLECTION))


def hats_files(folder: Path) -> tuple[Path, ...]:
    """Return the Parquet files of a HATS catalogue, pixel by pixel: what else lies there holds rows again.

    Raises
    ------
    BadConfig
        The package hats is not installed.
    BadInput
        It is a collection, its metadata cannot be read, it lists no pixel, or the file of a pixel is not there.
    """
    if not any((folder / name).is_file() for name in _PROPERTIES):
        inside = ", ".join(sorted(each.name for each in folder.iterdir() if each.is_dir())) or "none"
        text = f"{folder.name}: a collection of HATS catalogues: give the folder of one ({inside})"
        raise BadInput(text, file=str(folder))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = OSError, ValueError, TypeError, LookupError, AttributeError, NotImplementedError, pa.ArrowException
        hats, paths = _package("hats", folder), _package("hats.io.paths", folder)
        try:
            catalogue = hats.read_hats(folder, single_catalog=True, read_moc=False)
            suffix = catalogue.catalog_info.npix_suffix
            pixels = catalogue.get_healpix_pixels()
            places = [Path(str(paths.pixel_catalog_file(folder, pixel, npix_suffix=suffix))) for pixel in pixels]
        except known as error:
            raise BadInput(f"{folder.name}: a HATS folder that cannot be read: {error}", file=str(folder)) from error
    files = [file for place in places for file in (sorted(place.glob("*.parquet")) if place.is_dir() else [place])]
    gone = next((place for place in [*places, *files] if not place.exists()), None)
    if gone is not None or not files:
        what = f"{gone.relative_to(folder)} is not there" if gone is not None else "it lists no file"
        raise BadInput(f"{folder.name}: a HATS folder without its files: {what}", file=str(folder))
    return tuple(files)
