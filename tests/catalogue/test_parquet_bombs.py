"""Parquet files of a few kilobytes that become gigabytes: told by their pages, and read in memory that is bounded."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alservice.catalogue.files import open_catalogue
from alservice.catalogue.tables import BATCH_ROWS
from alservice.errors import BadInput
from alservice.offline.prediction import read_predictions
from alservice.science.tree import load_tree
from alservice.storage.parquet_pages import MAX_BATCH_BYTES, Unfolds, batch_rows
from tests.support.shared import ROOT, shared_data

RINGS = load_tree("gz-rings")

READ = """
import json, sys
from pathlib import Path
import pyarrow as pa
from alservice.catalogue.files import open_catalogue
from alservice.science.tree import load_tree
def most():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:"))
before, told = most(), []
for row in open_catalogue(Path(sys.argv[1]), load_tree("gz-rings")).rows():
    told.append(row.reason)
peak = most() - before
print(json.dumps({"kb": peak, "rows": len(told), "reasons": sorted(set(told))}))
"""


def repeated(path: Path, n_rows: int, cell: bytes, **options) -> Path:
    """Write a catalogue in which one image stands in every row."""
    images = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n_rows, np.int32)), pa.array([cell], pa.binary()))
    table = pa.table({"galaxy_id": [f"g{i}" for i in range(n_rows)], "image": images})
    options = {"compression": "zstd", "store_schema": False, "dictionary_pagesize_limit": 1 << 30} | options
    pq.write_table(table, path, **options)
    return path


def test_a_cell_that_repeats_is_not_held_in_every_row(tmp_path: Path):
    """Kind: what unfolds. Two kilobytes, of which 128 rows of a batch would become 4 GB."""
    path = repeated(tmp_path / "bomb.parquet", 140, bytes(33 << 20))
    assert path.stat().st_size < 5_000
    command = [sys.executable, "-c", READ, str(path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250, check=True)
    seen = json.loads(ran.stdout)
    assert seen["rows"] == 140
    assert seen["reasons"] == ["too many bytes: 33554433 is over the limit of 33554432"]
    assert seen["kb"] < 700 * 1024


def test_a_cell_or_page_beyond_all_bounds_names_file_and_column(tmp_path: Path):
    """Before a byte of it is read."""
    path = repeated(tmp_path / "bomb.parquet", 2, bytes(MAX_BATCH_BYTES + 1))
    with pytest.raises(Unfolds, match=r"bomb\.parquet: cells of column 'image' unfold to 134,21") as caught:
        list(open_catalogue(path, RINGS).rows())
    assert caught.value.evidence["column"] == "image"
    page = tmp_path / "page.parquet"
    cells = pa.array([bytes(300 << 20), bytes(300 << 20)], pa.binary())
    table = pa.table({"galaxy_id": ["a", "b"], "image": cells})
    pq.write_table(table, page, compression="zstd", use_dictionary=False)
    with pytest.raises(Unfolds, match=r"page\.parquet: pages of column 'image'"):
        list(open_catalogue(page, RINGS).rows())


def test_texts_that_grow_by_what_differs_are_counted_as_long_as_they_may_be(tmp_path: Path):
    """Kind: another encoding that repeats. A prefix of the cell before takes no bytes at all."""
    path = tmp_path / "delta.parquet"
    table = pa.table({"galaxy_id": [f"g{i}" for i in range(200)], "image": pa.array([bytes(1 << 22)] * 200)})
    pq.write_table(table, path, compression="zstd", use_dictionary=False, column_encoding={"image": "DELTA_BYTE_ARRAY"})
    assert path.stat().st_size < 100_000
    metadata = pq.ParquetFile(path).metadata
    assert batch_rows(path, metadata, ["galaxy_id", "image"], most=BATCH_ROWS) < 32
    command = [sys.executable, "-c", READ, str(path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250, check=True)
    assert json.loads(ran.stdout)["kb"] < 700 * 1024


def test_rows_that_take_no_bytes_are_refused(tmp_path: Path):
    """Kind: numbers that repeat. A million rows of one id in a few hundred bytes, each of which would be a fault."""
    path = tmp_path / "rows.parquet"
    table = pa.table(
        {"galaxy_id": pa.array(np.zeros(1_000_000, np.int64)), "image_path": pa.nulls(1_000_000, pa.string())}
    )
    pq.write_table(table, path, compression="zstd")
    with pytest.raises(Unfolds, match=r"says to hold 1,000,000 rows in .* bytes"):
        open_catalogue(path, RINGS)


def test_predictions_that_repeat_are_told_at_the_second_row(tmp_path: Path):
    """Kind: another door for tables. All rows are kept there, so that a repeated one must not wait for the end."""
    columns = [f"{c}_{what}" for c in RINGS.columns for what in ("mean", "p05", "p95")]
    columns += [f"{question.name}_precision" for question in RINGS.questions]
    n = 5_000
    table = pa.table({"galaxy_id": ["a"] * n} | {column: np.full(n, 0.5) for column in columns})
    pq.write_table(table, tmp_path / "p.parquet", use_dictionary=False, compression="none")
    with pytest.raises(BadInput, match="galaxy 'a' occurs twice"):
        read_predictions(tmp_path / "p.parquet", RINGS)
    pq.write_table(table, tmp_path / "q.parquet", compression="zstd")
    with pytest.raises(BadInput, match=r"says to hold|occurs twice"):
        read_predictions(tmp_path / "q.parquet", RINGS)


def test_real_files_are_read_as_before(tmp_path: Path):
    """Whole batches where nothing long may repeat; a dictionary page of 8 MiB of images still leaves 16 rows each."""
    for name in ("gz2_kaggle.parquet", "gz2_hart16_600_424.parquet", "gz2_stripe82_coadd_votes.parquet"):
        path = shared_data() / name
        file = pq.ParquetFile(path)
        assert batch_rows(path, file.metadata, file.schema.names, most=BATCH_ROWS) >= 16


@pytest.mark.parametrize("damage", range(30))
def test_a_damaged_page_is_a_typed_error(tmp_path: Path, damage: int):
    """Whatever a header says: lengths without end, backwards, or of other fields."""
    path = repeated(tmp_path / "small.parquet", 40, b"\x89PNG\r\n\x1a\n" + bytes(100))
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(damage)
    (footer,) = struct.unpack("<I", data[-8:-4])
    for place in rng.integers(4, len(data) - footer - 8, 6):
        data[place] = rng.integers(256)
    path.write_bytes(data)
    try:
        rows = list(open_catalogue(path, RINGS).rows())
    except BadInput:
        return
    assert len(rows) == 40
