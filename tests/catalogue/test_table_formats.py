"""One list of formats for all doors: whatever a table is written in, it is the same table."""

import gzip
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table as AstropyTable

from alservice.catalogue.files import open_catalogue
from alservice.catalogue.tables import ImageSource, open_table
from alservice.catalogue.vote_columns import KAGGLE_COLUMNS, cumulative_from_conditional
from alservice.errors import BadInput
from alservice.science.tree import load_tree
from alservice.storage.images import encode_png

RINGS = load_tree("gz-rings")
YES, NO = RINGS.columns
FRAME = pd.DataFrame(
    {"galaxy_id": ["J1", "J2", "J3"], "ra": [1.5, 2.5, 3.5], "dec": [0.0, -1, 2], YES: [3, 0, 9], NO: [7, 5, 1]}
)


def text(separator: str = ",", *, before: str = "", encoding: str = "utf-8", end: str = "\n") -> bytes:
    """Return the table as text."""
    return (before + FRAME.to_csv(sep=separator, index=False, lineterminator=end)).encode(encoding)


def as_ecsv(path: Path, **options: str) -> None:
    """Write the table as astropy does."""
    AstropyTable.from_pandas(FRAME).write(path, format="ascii.ecsv", **options)


def as_decimals(path: Path) -> None:
    """Write the table with votes and positions as decimals, as databases export them."""
    columns = {name: pa.array(FRAME[name]) for name in FRAME}
    for name in ("ra", "dec", YES, NO):
        columns[name] = pa.array([Decimal(str(value)) for value in FRAME[name]], pa.decimal128(12, 4))
    pq.write_table(pa.table(columns), path)


def as_folder(path: Path) -> None:
    """Write the table in two parts, one of them in a folder of the folder."""
    (path / "more").mkdir(parents=True)
    FRAME[:1].to_parquet(path / "a.parquet")
    FRAME[1:].to_parquet(path / "more" / "b.pq")
    (path / "_SUCCESS").touch()


WRITERS: dict[str, Callable[[Path], object]] = {
    "g.csv": lambda path: path.write_bytes(text()),
    "g.CSV": lambda path: path.write_bytes(text(end="\r\n")),
    "marked.csv": lambda path: path.write_bytes(text(encoding="utf-8-sig")),
    "wide.csv": lambda path: path.write_bytes(text(encoding="utf-16")),
    "g.csv.gz": lambda path: path.write_bytes(gzip.compress(text())),
    "G.CSV.GZ": lambda path: path.write_bytes(gzip.compress(text(";"))),
    "semicolons.csv": lambda path: path.write_bytes(text(";")),
    "tabs.csv": lambda path: path.write_bytes(text("\t")),
    "g.tsv": lambda path: path.write_bytes(text("\t")),
    "g.tsv.gz": lambda path: path.write_bytes(gzip.compress(text("\t", encoding="utf-16"))),
    "comments.csv": lambda path: path.write_bytes(text(before="# made by hand, see; there\n#\n")),
    "g.ecsv": as_ecsv,
    "commas.ecsv": lambda path: as_ecsv(path, delimiter=","),
    "g.parquet": FRAME.to_parquet,
    "g.pq": FRAME.to_parquet,
    "decimals.parquet": as_decimals,
    "folder": as_folder,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_is_the_same_table(tmp_path: Path, name: str) -> None:
    """Ids, positions and votes, read as every door reads them; and the digest of a file is its own."""
    path = tmp_path / name
    WRITERS[name](path)
    file = open_catalogue(path, RINGS, with_images=False)
    rows = list(file.rows())
    assert [(row.galaxy_id, row.ra_deg, row.dec_deg) for row in rows] == [
        ("J1", 1.5, 0),
        ("J2", 2.5, -1),
        ("J3", 3.5, 2),
    ]
    assert [row.counts.tolist() for row in rows] == [[3, 7], [0, 5], [9, 1]]
    assert file.n_rows == 3
    assert len(file.table.sha256()) == 64
    assert [row.galaxy_id for row in file.rows(after=2)] == ["J3"]


def test_the_challenge_as_published_is_read(tmp_path: Path) -> None:
    """``training_solutions_rev1.csv`` with its own names, beside its folder of images."""
    tree = load_tree("gz2")
    rng = np.random.default_rng(0)
    shares = np.concatenate([rng.dirichlet(np.ones(len(q.answers)), 2) for q in tree.questions], axis=1)
    cumulative = np.round(cumulative_from_conditional(tree, shares), 6)
    columns = {"GalaxyID": [100008, 100023]} | {name: cumulative[:, i] for i, name in enumerate(KAGGLE_COLUMNS)}
    path = tmp_path / "training_solutions_rev1.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    folder = tmp_path / "images_training_rev1"
    folder.mkdir()
    for galaxy_id in columns["GalaxyID"]:
        (folder / f"{galaxy_id}.jpg").write_bytes(encode_png(np.zeros((1, 8, 8), dtype=np.uint8)))
    file = open_catalogue(path, tree, images=ImageSource(folder=folder))
    rows = list(file.rows())
    assert file.layout == "kaggle"
    assert [row.galaxy_id for row in rows] == ["100008", "100023"]
    np.testing.assert_allclose(rows[0].cumulative, cumulative[0])
    assert rows[0].image


@pytest.mark.parametrize("scale", [100, 99.7])
def test_percentages_are_not_a_hundred_votes(tmp_path: Path, scale: float) -> None:
    """Two readings are possible, so neither is taken; a column of totals says that they are counts."""
    yes = np.arange(10, 70, 10)
    frame = pd.DataFrame({"galaxy_id": [f"J{i}" for i in range(6)], YES: yes, NO: scale - yes})
    path = tmp_path / "g.csv"
    frame.to_csv(path, index=False)
    with pytest.raises(BadInput, match="percentages, or 100 votes each"):
        open_catalogue(path, RINGS, with_images=False)
    if scale == 100:
        frame[f"{RINGS.questions[0].name}_total-votes"] = 100
        frame.to_csv(path, index=False)
        rows = list(open_catalogue(path, RINGS, with_images=False).rows())
        assert {row.n_votes for row in rows} == {100}


def test_addresses_are_no_paths(tmp_path: Path) -> None:
    """They are named as what they are."""
    for address in ("https://zenodo.org/records/1/files/g.parquet", "s3://bucket/g.csv"):
        with pytest.raises(BadInput, match="is an address and no path"):
            open_table(Path(address))


def test_parts_of_a_folder_must_have_the_same_columns(tmp_path: Path) -> None:
    """The part and the column are named; a folder without any part is no table."""
    with pytest.raises(BadInput, match="no Parquet file in this folder"):
        open_table(tmp_path)
    FRAME.to_parquet(tmp_path / "a.parquet")
    FRAME.drop(columns="ra").to_parquet(tmp_path / "b.parquet")
    with pytest.raises(BadInput, match=r"b.parquet has other columns than a.parquet: column 'ra'"):
        open_table(tmp_path)
