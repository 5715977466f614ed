"""Writers of a release: Parquet, FITS, CSV and HATS, row group by row group, equal rows to equal bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
from pyarrow import parquet

from alservice.errors import BadConfig, BadInput
from alservice.release.columns import ID, Column
from alservice.release.hats import HatsWriter
from alservice.release.records import Records
from alservice.release.rows import Rows
from alservice.shapes import FloatArray
from alservice.storage.csv import safe_cell
from alservice.storage.run_folder import cannot_write

GROUP_ROWS: Final = 20_000
"""Rows in memory at a time, and in a row group of Parquet: some 40 MB of the Galaxy Zoo 2 tree."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """What a writer knows before the first row.

    Parameters
    ----------
    n_rows
        Rows that will come.
    id_bytes
        Bytes of the longest id (UTF-8).
    provenance
        JSON document that a format keeps with the rows.
    positions
        Returns right ascensions and declinations (deg) of all rows, some at a time; for HATS.
    """

    columns: Sequence[Column]
    n_rows: int
    id_bytes: int
    provenance: Mapping[str, Any]
    positions: Callable[[], Iterator[tuple[FloatArray, FloatArray]]]


class Writer(Protocol):
    """A file or folder of rows that grows."""

    def write(self, rows: Rows) -> None:
        """Add rows."""

    def close(self) -> None:
        """Finish it; without this it is not one."""


def arrow_schema(layout: Layout) -> pa.Schema:
    """Return the schema of a layout: unit and meaning with each field, the provenance with the whole."""
    types = {
        "text": pa.string(),
        "boolean": pa.bool_(),
        "integer": pa.int32(),
        "float": pa.float32(),
        "double": pa.float64(),
    }
    fields = [
        pa.field(
            column.name,
            types[column.kind],
            nullable=column.kind in {"float", "double"},
            metadata={"unit": column.unit, "meaning": column.meaning},
        )
        for column in layout.columns
    ]
    about = json.dumps({"content": "release", **layout.provenance}, sort_keys=True)
    return pa.schema(fields, metadata={"alservice": about})


def arrow_table(schema: pa.Schema, rows: Rows) -> pa.Table:
    """Return rows as a table; what is NaN becomes null, which every reader knows."""
    arrays = [pa.array(rows[field.name], field.type, from_pandas=True) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


class ParquetFile:
    """``catalogue.parquet``, zstd."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        self._schema = arrow_schema(layout)
        self._file = parquet.ParquetWriter(folder / "catalogue.parquet", self._schema, compression="zstd")

    def write(self, rows: Rows) -> None:
        """Add a row group."""
        self._file.write_table(arrow_table(self._schema, rows))

    def close(self) -> None:
        """Write the footer."""
        self._file.close()


class CsvFile:
    """``catalogue.csv``: UTF-8, empty where there is no value, ids that no spreadsheet takes for formulas."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        self._schema = arrow_schema(layout)
        self._file = pc.CSVWriter(folder / "catalogue.csv", self._schema)

    def write(self, rows: Rows) -> None:
        """Add lines."""
        safe = np.array([safe_cell(name) for name in rows[ID]], dtype=object)
        self._file.write_table(arrow_table(self._schema, {**rows, ID: safe}))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


MAX_FITS_COLUMNS: Final = 999
"""What the standard allows."""

_BLOCK: Final = 2880
_FITS: Final = {"boolean": "L", "integer": "J", "float": "E", "double": "D"}


class FitsFile:
    """``catalogue.fits``: a binary table whose header names units (``TUNIT``) and meanings (``TCOMM``)."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        if len(layout.columns) > MAX_FITS_COLUMNS:
            raise BadInput(f"FITS holds {MAX_FITS_COLUMNS} columns, the tree makes {len(layout.columns)}: use parquet")
        header = _fits_header(layout)
        self._records = Records(layout.columns, layout.id_bytes, big_endian=True)
        self._path = folder / "catalogue.fits"
        self._path.write_bytes(header)

    def write(self, rows: Rows) -> None:
        """Add rows; `BadInput` for an id that is not ASCII, which FITS cannot hold."""
        foreign = next((name for name in rows[ID] if not name.isascii()), None)
        if foreign is not None:
            raise BadInput(f"galaxy {foreign!r}: FITS holds ASCII alone; use parquet", galaxy=foreign)
        self._append(self._records.of(rows).tobytes())

    def close(self) -> None:
        """Fill the last block."""
        self._append(b"\0" * (-self._path.stat().st_size % _BLOCK))

    def _append(self, data: bytes) -> None:
        with self._path.open("ab") as file:
            file.write(data)


def _fits_header(layout: Layout) -> bytes:
    """Return the headers of the file: the primary one, which holds nothing, and the table's."""
    from astropy.io import fits

    formats = [_FITS.get(c.kind) or f"{c.width or layout.id_bytes}A" for c in layout.columns]
    columns = [
        fits.Column(name=c.name, format=kind, unit=c.unit or None)
        for c, kind in zip(layout.columns, formats, strict=True)
    ]
    header = fits.BinTableHDU.from_columns(columns, nrows=0, name="CATALOGUE").header
    header["NAXIS2"] = layout.n_rows
    for place, column in enumerate(layout.columns, start=1):
        header[f"TCOMM{place}"] = column.meaning
    header["ALSERV"] = (json.dumps(layout.provenance, sort_keys=True, ensure_ascii=True), "provenance (JSON)")
    text: str = fits.PrimaryHDU().header.tostring() + header.tostring()
    return text.encode("ascii")


class HatsFolder:
    """``catalogue/``: Parquet by HEALPix pixel, which LSDB opens."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        self._writer = HatsWriter(
            folder / "catalogue",
            name=str(layout.provenance["campaign"]["name"]),
            schema=arrow_schema(layout),
            records=Records(layout.columns, layout.id_bytes),
            positions=layout.positions(),
        )

    def write(self, rows: Rows) -> None:
        """Put rows to those of their pixels."""
        self._writer.write(rows)

    def close(self) -> None:
        """Sort each pixel's rows and write them."""
        self._writer.close()


FormatName: TypeAlias = Literal["parquet", "fits", "csv", "hats"]

FORMATS: Final[Mapping[FormatName, Callable[[Path, Layout], Writer]]] = {
    "parquet": ParquetFile,
    "fits": FitsFile,
    "csv": CsvFile,
    "hats": HatsFolder,
}
"""Writers by the name of their format."""

_NEEDED: Final[Mapping[FormatName, str]] = {"fits": "astropy.io.fits", "hats": "hats.catalog"}


def check_format(name: FormatName) -> None:
    """Raise `BadConfig` if a format needs a package that is not installed."""
    try:
        import_module(_NEEDED.get(name, "pyarrow"))
    except ImportError as error:
        raise BadConfig(
            f"format {name} needs {error.name}: pip install 'alservice[astro]'", format=name, package=error.name
        ) from None


def write_rows(name: FormatName, folder: Path, layout: Layout, rows: Iterator[Rows]) -> int:
    """Write all rows in one format; return how many.

    Raises
    ------
    BadInput, StorageFull
        The format cannot hold them, or the folder cannot be written.
    """
    n_rows = 0
    try:
        writer = FORMATS[name](folder, layout)
        for group in grouped(rows, GROUP_ROWS):
            writer.write(group)
            n_rows += len(group[ID])
        writer.close()
    except OSError as error:
        raise cannot_write(folder, error) from error
    return n_rows


def grouped(parts: Iterator[Rows], size: int) -> Iterator[Rows]:
    """Yield the same rows, `size` at a time: files do not show how a catalogue was cut into shards."""
    waiting: list[Rows] = []
    n_waiting = 0
    for part in parts:
        waiting.append(part)
        n_waiting += len(part[ID])
        if n_waiting < size:
            continue
        whole = _joined(waiting)
        for first in range(0, n_waiting - size + 1, size):
            yield {name: values[first : first + size] for name, values in whole.items()}
        n_waiting %= size
        waiting = [{name: values[len(values) - n_waiting :] for name, values in whole.items()}] if n_waiting else []
    if waiting:
        yield _joined(waiting)


def _joined(parts: Sequence[Rows]) -> Rows:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
