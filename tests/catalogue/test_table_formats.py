"""One list of formats for all doors: whatever a table is written in, it is the same table."""

import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy.io import fits
from astropy.table import Table as AstropyTable
from pyarrow import feather

from alservice.catalogue import astronomy
from alservice.catalogue.files import open_catalogue
from alservice.catalogue.image_source import ImageSource
from alservice.catalogue.tables import open_table
from alservice.catalogue.vote_columns import KAGGLE_COLUMNS, cumulative_from_conditional
from alservice.errors import BadInput
from alservice.science.tree import load_tree
from alservice.storage.images import encode_png
from alservice.storage.parquet_pages import Unfolds
from tests.support.formats import WRITERS

RINGS = load_tree("gz-rings")
YES, NO = RINGS.columns
FRAME = pd.DataFrame(
    {"galaxy_id": ["J1", "J2", "J3"], "ra": [1.5, 2.5, 3.5], "dec": [0.0, -1, 2], YES: [3, 0, 9], NO: [7, 5, 1]}
)


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_is_the_same_table(tmp_path: Path, name: str) -> None:
    """Ids, positions and votes, read as every door reads them; and the digest of a file is its own."""
    path = tmp_path / name
    WRITERS[name](FRAME, path)
    file = open_catalogue(path, RINGS, with_images=False)
    rows = list(file.rows())
    seen = [(row.galaxy_id, row.ra_deg, row.dec_deg, row.counts.tolist()) for row in rows]
    assert sorted(seen) == [("J1", 1.5, 0, [3, 7]), ("J2", 2.5, -1, [0, 5]), ("J3", 3.5, 2, [9, 1])]
    assert seen == sorted(seen)
    assert file.n_rows == 3
    assert len(file.table.sha256()) == 64
    assert [row.galaxy_id for row in file.rows(after=2)] == [rows[2].galaxy_id]


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


def fits_file(path: Path, *hdus: fits.hdu.base.ExtensionHDU) -> Path:
    """Write a FITS file."""
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    return path


def cut(path: Path, name: str) -> Path:
    """Write the table, and take half of the file."""
    WRITERS[name](FRAME, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def cut_fits(path: Path) -> Path:
    """Write more rows than a block of FITS holds, and take them away."""
    AstropyTable({"galaxy_id": [f"J{i}" for i in range(2000)]}).write(path)
    path.write_bytes(path.read_bytes()[: 3 * 2880])
    return path


def bomb(path: Path, n_bytes: int = 600 << 20) -> Path:
    """Write a few kilobytes whose dictionary takes 600 MB."""
    cells = pa.DictionaryArray.from_arrays(pa.array([0, 0], pa.int32()), pa.array([bytes(n_bytes)], pa.binary()))
    feather.write_feather(pa.table({"galaxy_id": ["a", "b"], "image": cells}), path, compression="zstd")
    assert path.stat().st_size < n_bytes // 10_000
    return path


def outside(path: Path) -> Path:
    """Write an Arrow file in which a text begins beyond the bytes that there are."""
    table = pa.table({"galaxy_id": ["J1", "J2"], "image_path": ["a", "b"]})
    feather.write_feather(table, path, compression="uncompressed")
    data = path.read_bytes()
    place = data.index(struct.pack("<3i", 0, 2, 4))
    path.write_bytes(data[:place] + struct.pack("<3i", 0, 1 << 30, 1 << 30) + data[place + 12 :])
    return path


def votable(path: Path, inside: str, before: str = "") -> Path:
    """Write a VOTable by hand."""
    path.write_text(
        f'<?xml version="1.0"?>{before}<VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
        f"<RESOURCE>{inside}</RESOURCE></VOTABLE>"
    )
    return path


ID = '<FIELD name="galaxy_id" datatype="char" arraysize="*"/>'


def without_a_pixel(path: Path) -> Path:
    """Write a HATS folder, and take one of its files away."""
    WRITERS["hats"](FRAME, path)
    next(path.rglob("Npix=44.parquet")).unlink()
    return path


def collection(path: Path) -> Path:
    """Make a folder that says to be a collection."""
    (path / "inside").mkdir(parents=True)
    (path / "collection.properties").write_text("obs_collection=g\n")
    return path


def written(path: Path, data: bytes) -> Path:
    """Write bytes."""
    path.write_bytes(data)
    return path


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no.fits": (lambda p: written(p, b"SIMPLE"), "no.fits cannot be read"),
    "image.fits": (
        lambda p: fits_file(p, fits.ImageHDU(np.zeros((4, 4)))),
        "image.fits: a FITS file without a table: it holds headers alone, images",
    ),
    "cut.fits": (cut_fits, r"cut.fits is cut off: 8,640 bytes of 1\d,\d+ or more"),
    "cut.fits.gz": (lambda p: cut(p, "g.fits.gz"), "cut.fits.gz cannot be read"),
    "cut.parquet": (lambda p: cut(p, "g.parquet"), "cut.parquet cannot be read"),
    "cut.feather": (lambda p: cut(p, "g.feather"), "cut.feather cannot be read"),
    "cut.arrow": (lambda p: cut(p, "stream.arrow"), r"cut.arrow (cannot be read|is cut off)"),
    "old.feather": (lambda p: written(p, b"FEA1 and more"), "old.feather: Feather of version 1"),
    "no.feather": (lambda p: written(p, b"ARROW1\0\0 or not"), "no.feather cannot be read"),
    "no.arrow": (lambda p: written(p, b"x" * 100), "no.arrow cannot be read"),
    "bomb.feather": (bomb, r"bomb.feather: a record batch unfolds to 629,1\d\d,\d+ bytes"),
    "outside.arrow": (outside, "outside.arrow cannot be read: .*J?"),
    "other.xml": (
        lambda p: written(p, b"<html><body/></html>"),
        "other.xml: XML of another kind: it begins with <html>",
    ),
    "no.vot": (lambda p: written(p, b"galaxy_id,ra"), "no.vot cannot be read: syntax error"),
    "cut.vot": (lambda p: cut(p, "g.vot"), "cut.vot cannot be read"),
    "empty.vot": (lambda p: votable(p, ""), "empty.vot: a VOTable without a table"),
    "rows.vot": (lambda p: votable(p, f"<TABLE>{ID}</TABLE>"), "rows.vot"),
    "entities.vot": (
        lambda p: votable(p, f"<TABLE>{ID}</TABLE>", before='<!DOCTYPE V [<!ENTITY a "aaaa">]>'),
        "entities.vot: declares the entity 'a'",
    ),
    "away.vot": (
        lambda p: votable(p, f'<TABLE>{ID}<DATA><BINARY><STREAM href="file:///etc/passwd"/></BINARY></DATA></TABLE>'),
        "away.vot: its rows lie elsewhere, at an address that is not followed",
    ),
    "wide.vot": (
        lambda p: votable(p, '<TABLE nrows="3"><FIELD name="a" datatype="char" arraysize="99999999"/></TABLE>'),
        "wide.vot: its rows unfold to more than",
    ),
    "many.vot": (
        lambda p: votable(p, f'<TABLE nrows="9999999999">{ID}<DATA><TABLEDATA/></DATA></TABLE>'),
        "many.vot: its rows unfold to more than",
    ),
    "none.vot": (
        lambda p: votable(p, '<TABLE><FIELD name="a" datatype="char" arraysize="0"/></TABLE>'),
        "none.vot: field 'a' has arrays of size '0'",
    ),
    "hats": (without_a_pixel, "hats: a HATS folder without its files: dataset/Norder=1/Dir=0/Npix=44.parquet"),
    "collection": (collection, r"collection: a collection of HATS catalogues: give the folder of one \(inside\)"),
    "head.ecsv": (
        lambda p: written(p, b"# %ECSV 1.0\n# ---\n# datatype:\ngalaxy_id ra dec\nJ1 1.0\n"),
        "head.ecsv cannot be read: .*Expected 3 columns, got 2",
    ),
    "comments.csv": (lambda p: written(p, b"# only\n# comments\n"), "comments.csv cannot be read|comments.csv: the"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_named_and_what_is_wrong_with_it(tmp_path: Path, name: str) -> None:
    """Truncated, of another kind, or made to take the machine: a typed error, before any row is used."""
    write, said = BAD[name]
    path = write(tmp_path / name)
    with pytest.raises(BadInput, match=said):
        list(open_table(path).batches(["galaxy_id"]))


def test_a_zipped_fits_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is held in memory; and so is a VOTable."""
    monkeypatch.setattr(astronomy, "MAX_UNFOLDED_BYTES", 5_000)
    monkeypatch.setattr(astronomy, "MAX_VOTABLE_BYTES", 100)
    for name, said in (("g.fits.gz", "unfolds to more than 5,000 bytes: unzip it"), ("g.vot", "more than 100 is not")):
        WRITERS[name](FRAME, tmp_path / name)
        with pytest.raises(Unfolds, match=said):
            open_table(tmp_path / name)


def test_fits_cells_are_read_as_fits_means_them(tmp_path: Path) -> None:
    """Nulls, unsigned and scaled integers, logicals, blanks, images of variable length; which of two tables it is."""
    images = np.array([np.frombuffer(b"image one", np.uint8), np.frombuffer(b"two", np.uint8)], dtype=object)
    columns = [
        fits.Column("galaxy_id", "6A", array=["J1 ", ""]),
        fits.Column("image", "PB()", array=images),
        fits.Column("count", "J", array=[7, -9], null=-9),
        fits.Column("big", "K", bzero=2**63, array=np.array([2**63 + 5, 1], np.uint64)),
        fits.Column("flag", "L", array=[True, False]),
        fits.Column("share", "E", array=[0.5, np.nan]),
        fits.Column("vector", "3E", array=np.zeros((2, 3))),
    ]
    other = fits.BinTableHDU.from_columns([fits.Column("x", "J", array=[1])])
    table = open_table(fits_file(tmp_path / "g.fits", fits.BinTableHDU.from_columns(columns, name="CAT"), other))
    assert table.note == "extension 1 (CAT), the first of 2 tables"
    assert str(table.columns["vector"]) == "list<item: double>"
    (batch,) = table.batches([name for name in table.columns if name != "vector"])
    assert batch.to_pydict() | {"share": None} == {
        "galaxy_id": ["J1", None],
        "image": [b"image one", b"two"],
        "count": [7, None],
        "big": [2**63 + 5, 1],
        "flag": [True, False],
        "share": None,
    }


def test_memory_is_flat_in_the_rows_of_a_fits(tmp_path: Path) -> None:
    """Kind: a format that is read whole. 10 MB of rows take one."""
    n = 50_000
    path = tmp_path / "g.fits"
    AstropyTable({"galaxy_id": np.arange(n)} | {f"c{i}": np.zeros(n) for i in range(24)}).write(path)
    table = open_table(path)
    next(table.batches(["c3"]))  # loads what readers import
    tracemalloc.start()
    try:
        assert sum(len(batch) for batch in table.batches(["galaxy_id", "c3"])) == n
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000
