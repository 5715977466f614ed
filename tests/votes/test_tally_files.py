"""Tallies as tables: the columns that users rely on, the same in both forms, safe in a spreadsheet."""

import csv
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from alservice.catalogue.files import images_in, open_catalogue
from alservice.catalogue.tables import open_table
from alservice.errors import BadInput
from alservice.science.tree import load_tree
from alservice.science.votes import TallySet
from alservice.storage.images import encode_jpeg
from alservice.votes.tables import write_tallies, write_zoobot_tallies

TREE = load_tree("gz2")


JPEG = encode_jpeg(np.zeros((1, 16, 16), dtype=np.uint8))


def tallies() -> TallySet:
    """Return two galaxies, one with a hostile name."""
    counts = np.zeros((2, TREE.n_answers), dtype=np.int64)
    counts[0, :3] = 3, 2, 1
    counts[1, 0] = 7
    return TallySet(galaxy_ids=("=1+2", "J1"), counts=counts)


def test_csv_has_ids_votes_and_totals(tmp_path: Path) -> None:
    """A galaxy without a subject has an empty cell; an id that is a formula is text."""
    write_tallies(tmp_path / "t.csv", TREE, tallies(), {"J1": 55})
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = list(csv.reader(file))
    assert header[:3] == ["galaxy_id", "subject_id", TREE.columns[0]]
    assert header[2 + TREE.n_answers] == f"{TREE.questions[0].name}_total-votes"
    assert [row[:2] for row in rows] == [["'=1+2", ""], ["J1", "55"]]
    assert rows[0][2:5] == ["3", "2", "1"]
    assert [row[2 + TREE.n_answers] for row in rows] == ["6", "7"]
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_parquet_holds_the_same(tmp_path: Path) -> None:
    """Ids stay as they are where nothing runs them."""
    write_tallies(tmp_path / "t.parquet", TREE, tallies(), {"J1": 55})
    table = parquet.read_table(tmp_path / "t.parquet").to_pydict()
    assert table["galaxy_id"] == ["=1+2", "J1"]
    assert table["subject_id"] == [None, 55]
    assert table[TREE.columns[0]] == [3, 7]
    assert table[f"{TREE.questions[0].name}_total-votes"] == [6, 7]


GZ2_COLUMNS_OF_ZOOBOT = {
    "smooth-or-featured-gz2_smooth",
    "smooth-or-featured-gz2_total-votes",
    "smooth-or-featured-gz2_smooth_fraction",
    "how-rounded-gz2_cigar",
    "bulge-shape-gz2_no-bulge",
    "bulge-shape-gz2_total-votes",
    "spiral-arm-count-gz2_more-than-4_fraction",
}
"""As `gz2_ortho_pairs` of galaxy-datasets has them."""


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
@pytest.mark.parametrize("tree", [TREE, load_tree("gz-rings")], ids=lambda tree: tree.name)
def test_tallies_for_zoobot_come_back_as_they_went_out(tmp_path: Path, ending: str, tree) -> None:
    """Counts of all answers are read with the images of a folder; a question that nobody was asked stays so."""
    counts = np.zeros((3, tree.n_answers), dtype=np.int64)
    counts[0, :2], counts[1, 0] = (3, 2), 7
    ids = ("J1", "J2", "J3")
    path, images = tmp_path / f"t{ending}", tmp_path / "images"
    images.mkdir()
    for name in ids:
        (images / f"{name}.jpg").write_bytes(JPEG)
    write_zoobot_tallies(path, tree, TallySet(galaxy_ids=ids, counts=counts), {"J1": 55}, images="images/")
    table = open_table(path)
    if tree is TREE:
        assert set(table.columns) >= GZ2_COLUMNS_OF_ZOOBOT
    for source in (None, images_in(tmp_path, table)):
        rows = list(open_catalogue(table, tree, images=source).rows())
        assert [row.galaxy_id for row in rows] == list(ids)
        assert [None if row.counts is None else row.counts.tolist() for row in rows[:2]] == counts[:2].tolist()
        assert (rows[2].counts, rows[2].fractions) == (None, None)
        assert all(row.image == JPEG for row in rows)


@pytest.mark.parametrize("name", ["t.xlsx", "absent/t.csv", "file/t.csv", "folder.csv", "folder.parquet"])
def test_what_cannot_be_written_is_named(tmp_path: Path, name: str) -> None:
    """Another format, a folder that is not there or is in the way: told, and nothing is left behind."""
    (tmp_path / "file").touch()
    for folder in ("folder.csv", "folder.parquet"):
        (tmp_path / folder).mkdir()
    with pytest.raises(BadInput, match=Path(name).name):
        write_tallies(tmp_path / name, TREE, tallies(), {})
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder.csv", "folder.parquet"}
