"""Tables of files, folders and DataFrames as streams of record batches: one list of formats for every door.

Files are read in flat memory, whatever the number of rows, or refused. Text is UTF-8, or UTF-16 with its mark, with
commas, semicolons or tabs between cells, after any number of lines that begin with ``#``; an ECSV file is one of these.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from alservice.catalogue.astronomy import (
    FITS_ENDINGS,
    VOTABLE_ENDINGS,
    Opened,
    hats_files,
    is_hats,
    open_fits,
    open_votable,
)
from alservice.errors import BadInput
from alservice.files import open_regular, sha256_of_file
from alservice.ids import ROUNDED_REMEDY, RoundedId, digest_of_lines
from alservice.shapes import BoolArray, FloatArray
from alservice.storage.arrow_messages import FEATHER_1, MAGIC, count_rows
from alservice.storage.csv import open_bytes
from alservice.storage.parquet_pages import batch_rows, refuse_many_rows

if TYPE_CHECKING:
    from pandas import DataFrame

BATCH_ROWS: Final = 128
"""Rows of Parquet in memory at once, or fewer where cells may be long: with images of at most 1000 KiB, 128 MB."""

MAX_COLUMNS: Final = 10_000
"""Ten times those of the widest published table."""

_BUFFER_BYTES: Final = 1024 * 1024
"""Bytes read ahead of one column; without it pyarrow holds a whole row group and not only its pages."""


_FREE_BYTES: Final = 64 * 1024 * 1024
_MOST_TIMES: Final = 200
"""A zipped table may be so many times as long as its file, and `_FREE_BYTES` in any case: tables of votes are 3 to 30
times as long, while a file made to fill a disk or a night is up to 1000 times."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows with named columns, of a file or of a DataFrame.

    Parameters
    ----------
    path
        Where it is; of a DataFrame what messages call it.
    columns
        Type of each column by name, in the order of the file.
    n_rows
        Rows, at least one.
    stream
        Yields the rows in order with some of the columns.
    sha256
        Returns the digest of the whole content.
    note
        Which of several tables of a file it is; empty where there is but one.
    """

    path: Path
    columns: Mapping[str, pa.DataType]
    n_rows: int
    stream: Callable[[Sequence[str]], Iterator[pa.RecordBatch]]
    sha256: Callable[[], str]
    note: str = ""

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield the rows in order, in batches of any size, with these columns."""
        with _read_errors(self.path):
            yield from self.stream(columns)


_PARQUET: Final = (".parquet", ".pq")
_ARROW: Final = (".feather", ".arrow", ".ipc")
_TEXT: Final = (".csv", ".tsv", ".ecsv", ".csv.gz", ".tsv.gz", ".ecsv.gz")
ENDINGS: Final = (*_PARQUET, *_TEXT, *_ARROW, *FITS_ENDINGS, *VOTABLE_ENDINGS)
"""Of files that are read, in any case of letters."""


def open_table(path: Path) -> Table:
    """Return the table in a file, in a HATS folder, or in all Parquet files of a folder, in order of their names.

    Raises
    ------
    BadInput
        Naming the file, if it does not exist, has an unknown ending, cannot be read, repeats a column, is empty,
        or becomes far more than memory should hold.
    BadConfig
        The format needs a package that is not installed.
    """
    if re.match(r"[a-z0-9]{2,}:/", str(path), re.IGNORECASE):
        text = f"{path} is an address and no path: fetch it first, and give the file's name"
        raise BadInput(text, file=str(path))
    if path.is_dir():
        with _read_errors(path):
            return _open_folder(path)
    ending = next((ending for ending in ENDINGS if path.name.lower().endswith(ending)), None)
    if ending is None:
        raise BadInput(f"{path.name}: a catalogue ends in {' or '.join(ENDINGS)}", file=str(path))
    if not path.exists():
        raise BadInput(f"{path}: no such file", file=str(path))
    open_regular(path).close()
    with _read_errors(path):
        table = _OPENERS[ending](path)
    if table.n_rows == 0:
        raise BadInput(f"{path.name}: the catalogue is empty", file=str(path))
    return table


def digest_of_table(path: Path) -> str:
    """Return the digest of a file, or of a folder's table."""
    return open_table(path).sha256() if path.is_dir() else sha256_of_file(path)


FRAME: Final = "DataFrame"
"""What messages call a table that is no file."""


def frame_table(frame: DataFrame) -> Table:
    """Return the table of a DataFrame; an index that has a name is a column as well.

    Raises
    ------
    BadInput
        Naming the column that is given twice or whose cells are of several kinds; or the frame has no rows.
    """
    if frame.index.name is not None and frame.index.name not in frame.columns:
        frame = frame.reset_index()
    names = [str(name) for name in frame.columns]
    _unique(Path(FRAME), names, [pa.null()] * len(names))
    columns = {}
    for place, name in enumerate(names):
        try:
            columns[name] = pa.array(frame.iloc[:, place], from_pandas=True)
        except pa.ArrowException as error:
            raise BadInput(f"{FRAME}: column {name!r} cannot be read: {error}", column=name) from error
    if not len(frame):
        raise BadInput(f"{FRAME}: the catalogue is empty")
    rows = pa.table(columns)

    def stream(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        yield from rows.select(list(columns)).to_batches(max_chunksize=BATCH_ROWS)

    def digest() -> str:
        hashed = hashlib.sha256(rows.schema.serialize())
        for batch in rows.to_batches():
            hashed.update(batch.serialize())
        return hashed.hexdigest()

    types = dict(zip(names, rows.schema.types, strict=True))
    return Table(path=Path(FRAME), columns=types, n_rows=rows.num_rows, stream=stream, sha256=digest)


def require(table: Table, columns: Collection[str], holds: Callable[[pa.DataType], bool], what: str) -> None:
    """Refuse a table that lacks one of some columns, or whose column does not hold `what`."""
    for column in columns:
        if column not in table.columns:
            raise BadInput(f"{table.path.name}: column {column!r} is missing", file=str(table.path), column=column)
    for column in columns:
        if not holds(table.columns[column]):
            raise BadInput(
                f"{table.path.name}: column {column!r} must hold {what}, not {table.columns[column]}",
                file=str(table.path),
                column=column,
            )


def require_ids(table: Table, column: str) -> None:
    """Refuse a table whose column of ids is missing, or holds neither text nor integers.

    Raises
    ------
    RoundedId
        The ids are floats.
    """
    if column in table.columns and pa.types.is_floating(table.columns[column]):
        name = table.path.name
        text = f"{name}: column {column!r} of ids holds floats ({table.columns[column]}), some digits may be lost"
        raise RoundedId(f"{text}: {ROUNDED_REMEDY}", file=str(table.path), column=column)
    require(table, [column], is_name, "text or integers")


def is_text(kind: pa.DataType) -> bool:
    """Return whether a type is text, in any of its encodings."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_name(kind: pa.DataType) -> bool:
    """Return whether a type can name something: text or integers; floats would change how ids are written."""
    return is_text(kind) or bool(pa.types.is_integer(kind))


def is_number(kind: pa.DataType) -> bool:
    """Return whether a type is a number, or text that may hold one."""
    return is_name(kind) or bool(pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def is_flag(kind: pa.DataType) -> bool:
    """Return whether a type is a boolean, or text or an integer that may stand for one."""
    return is_name(kind) or bool(pa.types.is_boolean(kind))


def texts(column: pa.Array) -> list[str | None]:
    """Return a column of text, integers or booleans as text, None where it is null.

    Bytes that are not UTF-8 become U+FFFD, so that the cell is the fault and not the file.
    """
    if pa.types.is_dictionary(column.type):
        used = column.indices.unique().drop_null()
        words = dict(zip(used.to_pylist(), texts(column.dictionary.take(used)), strict=True))
        return [None if place is None else words[place] for place in column.indices.to_pylist()]
    values = column.cast(pa.string())
    try:
        decoded: list[str | None] = values.to_pylist()
    except UnicodeDecodeError:
        cells = values.cast(pa.binary()).to_pylist()
        decoded = [None if cell is None else cell.decode("utf-8", "replace") for cell in cells]
    return decoded


def numbers(column: pa.Array) -> tuple[FloatArray, BoolArray]:
    """Return a column (N,) as float64 with NaN where null, and where its text was not a number."""
    if not is_text(column.type):
        values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return values, np.zeros(len(values), dtype=np.bool_)
    parsed = [_number(text) for text in texts(column)]
    bad = np.array([value is None for value in parsed], dtype=np.bool_)
    return np.array([np.nan if value is None else value for value in parsed], dtype=np.float64), bad


def _number(text: str | None) -> float | None:
    if text is None:
        return float("nan")
    try:
        return float(text)
    except ValueError:
        return None


def _open_parquet(path: Path) -> Table:
    def stream(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        with opened() as file:
            rows = batch_rows(path, file.metadata, columns, most=BATCH_ROWS)
            yield from file.iter_batches(rows, columns=list(columns))

    def opened() -> pq.ParquetFile:
        return pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER_BYTES)

    with opened() as file:
        columns = _unique(path, file.schema_arrow.names, file.schema_arrow.types)
        refuse_many_rows(path, file.metadata)
        return Table(
            path=path,
            columns=columns,
            n_rows=file.metadata.num_rows,
            stream=stream,
            sha256=partial(sha256_of_file, path),
        )


def _open_folder(path: Path) -> Table:
    """Open a table whose rows lie in several Parquet files, all with the same columns; other files are passed over."""
    if is_hats(path):
        files = list(hats_files(path))
    else:
        files = sorted(each for each in path.rglob("*") if each.suffix.lower() in _PARQUET and each.is_file())
    if not files:
        raise BadInput(f"{path}: no Parquet file in this folder", file=str(path))
    tables = [_open_parquet(file) for file in files]
    for file, table in zip(files, tables, strict=True):
        if table.columns != tables[0].columns:
            names = sorted(set(table.columns) ^ set(tables[0].columns))
            what = f"column {names[0]!r} is in one alone" if names else "a column is of another type, or place"
            text = f"{path.name}: {file.name} has other columns than {files[0].name}: {what}"
            raise BadInput(text, file=str(file))

    def stream(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        for table in tables:
            yield from table.stream(columns)

    n_rows = sum(table.n_rows for table in tables)
    if n_rows == 0:
        raise BadInput(f"{path.name}: the catalogue is empty", file=str(path))
    return Table(
        path=path,
        columns=tables[0].columns,
        n_rows=n_rows,
        stream=stream,
        sha256=lambda: digest_of_lines(f"{table.path.name}\t{table.sha256()}" for table in tables),
    )


def _refuse_long(path: Path) -> None:
    """Refuse a zipped table that is far longer than any, before it is read."""
    most = max(_FREE_BYTES, _MOST_TIMES * path.stat().st_size)
    length = 0
    with pa.input_stream(path, compression="gzip") as unzipped:
        while chunk := unzipped.read(_BUFFER_BYTES):
            length += len(chunk)
            if length > most:
                text = f"{path.name}: more than {_MOST_TIMES} times as long as its file when unzipped; no table is"
                raise BadInput(text, file=str(path))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Writing:
    """How a text file writes its table.

    Parameters
    ----------
    comments
        Lines before the one that names the columns.
    """

    encoding: str
    comments: int
    delimiter: str
    header: str


_MARKS: Final = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_DELIMITERS: Final = (",", ";", "\t")
_ECSV: Final = "# %ECSV"


def _writing_of(path: Path) -> _Writing:
    """Tell how a text file is written by its beginning; where nothing divides the names, they are one column."""
    with open_bytes(path) as file:
        start = file.read(_BUFFER_BYTES)
    encoding = _MARKS.get(start[:2], "utf-8")
    lines = start.decode(encoding, "replace").removeprefix("\ufeff").splitlines()
    comments = next((place for place, line in enumerate(lines) if not line.startswith("#")), len(lines))
    header = lines[comments] if comments < len(lines) else ""
    if not header.strip() and len(start) == _BUFFER_BYTES:
        raise BadInput(f"{path.name}: more than {_BUFFER_BYTES} bytes of comments", file=str(path))
    delimiter = max(_DELIMITERS, key=header.count)
    if header.count(delimiter) == 0 and lines and lines[0].startswith(_ECSV) and comments:
        delimiter = " "  # https://github.com/astropy/astropy-APEs/blob/main/APE6.rst: what ECSV writes unless told
    return _Writing(encoding=encoding, comments=comments, delimiter=delimiter, header=header)


def _open_text(path: Path) -> Table:
    """Open a table whose columns are all text; an empty cell is null."""
    zipped = path.name.lower().endswith(".gz")
    if zipped:
        _refuse_long(path)
    writing = _writing_of(path)
    n_columns = writing.header.count(writing.delimiter) + 1  # before pyarrow, which takes 9 kB for each column
    if n_columns > MAX_COLUMNS:
        raise BadInput(f"{path.name}: has {n_columns:,} columns, more than {MAX_COLUMNS:,}", file=str(path))
    read = pc.ReadOptions(skip_rows=writing.comments, encoding=writing.encoding)
    parse = pc.ParseOptions(newlines_in_values=True, delimiter=writing.delimiter)

    @contextmanager
    def opened(convert: pc.ConvertOptions | None = None) -> Iterator[pc.CSVStreamingReader]:
        with (
            pa.input_stream(path, compression="gzip" if zipped else None) as source,
            pc.open_csv(source, read_options=read, parse_options=parse, convert_options=convert) as reader,
        ):
            yield reader

    with opened() as reader:
        written = reader.schema.names
    names = [name.removeprefix("\ufeff") for name in written]
    types = _unique(path, names, [pa.string()] * len(names))
    as_written = dict(zip(names, written, strict=True))

    def stream(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        convert = pc.ConvertOptions(
            column_types=dict.fromkeys(written, pa.string()),
            include_columns=[as_written[column] for column in columns],
            strings_can_be_null=True,
            null_values=[""],
            check_utf8=False,  # `texts` does, cell by cell
        )
        with opened(convert) as reader:
            for batch in reader:
                yield batch.rename_columns(list(columns))

    # Read to the end: a malformed line is found before any row is used.
    return Table(
        path=path,
        columns=types,
        n_rows=sum(map(len, stream(names))),
        stream=stream,
        sha256=partial(sha256_of_file, path),
    )


def _open_arrow(path: Path) -> Table:
    """Open an Arrow IPC file or stream, mapped; what its batches claim is checked, as pyarrow would not."""
    with open_regular(path) as file:
        start = file.read(_BUFFER_BYTES)
    if start.startswith(FEATHER_1):
        text = f"{path.name}: Feather of version 1, which is no Arrow: write it anew with a pyarrow of today"
        raise BadInput(text, file=str(path))
    is_file = start.startswith(MAGIC)

    @contextmanager
    def opened() -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
        with pa.memory_map(str(path)) as source:
            reader = pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)
            places = range(reader.num_record_batches) if is_file else ()
            yield reader.schema, (reader.get_batch(place) for place in places) if is_file else iter(reader)

    with opened() as (schema, _):
        types = _unique(path, schema.names, schema.types)
    n_rows = count_rows(path)

    def stream(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        with opened() as (_, batches):
            for batch in batches:
                asked = batch.select(list(columns))
                asked.validate(full=True)
                yield from (asked.slice(start, BATCH_ROWS) for start in range(0, len(asked), BATCH_ROWS))

    return Table(path=path, columns=types, n_rows=n_rows, stream=stream, sha256=partial(sha256_of_file, path))


def _table_of(path: Path, opened: Opened) -> Table:
    return Table(
        path=path,
        columns=_unique(path, [name for name, _ in opened.columns], [kind for _, kind in opened.columns]),
        n_rows=opened.n_rows,
        stream=opened.stream,
        sha256=partial(sha256_of_file, path),
        note=opened.note,
    )


_OPENERS: Final[Mapping[str, Callable[[Path], Table]]] = {
    **dict.fromkeys(_PARQUET, _open_parquet),
    **dict.fromkeys(_TEXT, _open_text),
    **dict.fromkeys(_ARROW, _open_arrow),
    **dict.fromkeys(FITS_ENDINGS, lambda path: _table_of(path, open_fits(path))),
    **dict.fromkeys(VOTABLE_ENDINGS, lambda path: _table_of(path, open_votable(path))),
}


def _unique(path: Path, names: Sequence[str], types: Sequence[pa.DataType]) -> Mapping[str, pa.DataType]:
    if len(names) > MAX_COLUMNS:
        raise BadInput(f"{path.name}: has {len(names):,} columns, more than {MAX_COLUMNS:,}", file=str(path))
    twice = next((name for name, n in Counter(names).items() if n > 1), None)
    if twice is not None:
        raise BadInput(f"{path.name}: column {twice!r} is given twice", file=str(path), column=twice)
    return dict(zip(names, types, strict=True))


@contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise BadInput(f"{path.name} cannot be read: {error}", file=str(path)) from error
