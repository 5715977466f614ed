"""One table written in every format that a door reads."""

import gzip
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.table import Table as AstropyTable


def as_text(
    frame: pd.DataFrame,
    path: Path,
    separator: str = ",",
    *,
    before: str = "",
    encoding: str = "utf-8",
    end: str = "\n",
    zipped: bool = False,
) -> None:
    """Write a table as text."""
    data = (before + frame.to_csv(sep=separator, index=False, lineterminator=end)).encode(encoding)
    path.write_bytes(gzip.compress(data) if zipped else data)


def as_ecsv(frame: pd.DataFrame, path: Path, **options: str) -> None:
    """Write a table as astropy does, with blanks between cells unless told."""
    AstropyTable.from_pandas(frame).write(path, format="ascii.ecsv", **options)


def as_astropy(frame: pd.DataFrame, path: Path, kind: str, **options: str) -> None:
    """Write a table as astropy does."""
    AstropyTable.from_pandas(frame).write(path, format=kind, **options)


def as_parquet(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as pandas does."""
    frame.to_parquet(path, index=False)


def as_decimals(frame: pd.DataFrame, path: Path) -> None:
    """Write a table with its numbers as decimals, as databases export them."""
    columns = {name: pa.array(frame[name]) for name in frame}
    for name in frame.select_dtypes("number"):
        columns[name] = pa.array([Decimal(str(value)) for value in frame[name]], pa.decimal128(12, 4))
    pq.write_table(pa.table(columns), path)


def as_folder(frame: pd.DataFrame, path: Path) -> None:
    """Write a table in two parts, one of them in a folder of the folder."""
    (path / "more").mkdir(parents=True)
    as_parquet(frame[:1], path / "a.parquet")
    as_parquet(frame[1:], path / "more" / "b.pq")
    (path / "_SUCCESS").touch()


def as_hats(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as HATS, in two pixels, with a thumbnail that holds rows again."""
    from hats.catalog.dataset.table_properties import TableProperties
    from hats.catalog.partition_info import PartitionInfo
    from hats.io import paths
    from hats.io.parquet_metadata import write_parquet_metadata
    from hats.pixel_math.healpix_pixel import HealpixPixel

    pixels = [HealpixPixel(0, 4), HealpixPixel(1, 44)]
    for pixel, part in zip(pixels, (frame[:1], frame[1:]), strict=True):
        place = Path(str(paths.pixel_catalog_file(path, pixel)))
        place.parent.mkdir(parents=True)
        as_parquet(part, place)
    write_parquet_metadata(path)
    as_parquet(frame, path / "dataset" / "data_thumbnail.parquet")
    PartitionInfo.from_healpix(pixels).write_to_file(catalog_path=path)
    about = {"catalog_name": "g", "catalog_type": "object", "ra_column": "ra", "dec_column": "dec"}
    TableProperties(**about, total_rows=len(frame), hats_version="v1.0").to_properties_file(path)


def as_feather(frame: pd.DataFrame, path: Path, **options: str) -> None:
    """Write a table as pandas does."""
    frame.to_feather(path, **options)


def as_stream(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as Hugging Face's `datasets` keeps it: an Arrow stream, in several batches."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


WRITERS: dict[str, Callable[[pd.DataFrame, Path], object]] = {
    "g.csv": as_text,
    "g.CSV": partial(as_text, end="\r\n"),
    "marked.csv": partial(as_text, encoding="utf-8-sig"),
    "wide.csv": partial(as_text, encoding="utf-16"),
    "g.csv.gz": partial(as_text, zipped=True),
    "G.CSV.GZ": partial(as_text, separator=";", zipped=True),
    "semicolons.csv": partial(as_text, separator=";"),
    "tabs.csv": partial(as_text, separator="\t"),
    "g.tsv": partial(as_text, separator="\t"),
    "g.tsv.gz": partial(as_text, separator="\t", encoding="utf-16", zipped=True),
    "comments.csv": partial(as_text, before="# made by hand, see; there\n#\n"),
    "g.ecsv": as_ecsv,
    "commas.ecsv": partial(as_ecsv, delimiter=","),
    "g.parquet": as_parquet,
    "g.pq": as_parquet,
    "decimals.parquet": as_decimals,
    "folder": as_folder,
    "hats": as_hats,
    "g.feather": as_feather,
    "plain.ipc": partial(as_feather, compression="uncompressed"),
    "stream.arrow": as_stream,
    "g.fits": partial(as_astropy, kind="fits"),
    "g.FIT": partial(as_astropy, kind="fits"),
    "g.fits.gz": partial(as_astropy, kind="fits"),
    "g.vot": partial(as_astropy, kind="votable"),
    "binary.xml": partial(as_astropy, kind="votable", tabledata_format="binary2"),
}
"""What writes a table to a path of this name."""
