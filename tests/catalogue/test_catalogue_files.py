"""Catalogue files: layouts, subsets, and every way in which a row or a file can be wrong."""

import gzip
import tracemalloc
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alservice.catalogue.files import open_catalogue
from alservice.catalogue.galaxies import CatalogueFault, CatalogueRow
from alservice.catalogue.vote_columns import KAGGLE_COLUMNS, conditional_from_cumulative, cumulative_from_conditional
from alservice.constants import MAX_ORIGINAL_BYTES
from alservice.errors import BadInput, BadTree
from alservice.ids import RoundedId, stable_fraction
from alservice.science.tree import Tree, load_tree
from alservice.storage.images import decode, encode_jpeg, encode_png
from tests.support.shared import shared_data

GZ2 = load_tree("gz2")
RINGS = load_tree("gz-rings")
YES, NO = RINGS.columns
TOTAL = f"{RINGS.questions[0].name}_total-votes"
ZIPPED = gzip.compress(b"galaxy_id,image_path\n" + b"".join(b"%d,%d.png\n" % (i, i * i) for i in range(999)), mtime=0)
IMAGE = encode_png(np.zeros((1, 4, 4), dtype=np.uint8))


def kaggle(n: int, **changes: Sequence[object]) -> dict[str, Sequence[object]]:
    """Return the columns of a Kaggle catalogue of n galaxies, some of them replaced."""
    rng = np.random.default_rng(0)
    conditional = np.concatenate(
        [rng.dirichlet(np.ones(len(question.answers)), n) for question in GZ2.questions], axis=1
    )
    cumulative = cumulative_from_conditional(GZ2, conditional).astype(np.float32)
    return {
        "galaxy_id": list(range(100, 100 + n)),
        **{column: cumulative[:, i] for i, column in enumerate(KAGGLE_COLUMNS)},
        "random_block": [i % 2 == 0 for i in range(n)],
        "image": [encode_jpeg(np.full((3, 8, 8), i % 256, dtype=np.uint8)) for i in range(n)],
    } | changes


def paths(folder: Path, n: int, **changes: Sequence[object]) -> dict[str, Sequence[object]]:
    """Return the columns of a catalogue of n image paths, and make the images."""
    (folder / "images").mkdir(exist_ok=True)
    names = [f"images/{i}.png" for i in range(n)]
    for name in names:
        (folder / name).write_bytes(IMAGE)
    return {"galaxy_id": [f"J{i}" for i in range(n)], "image_path": names} | changes


def parquet(folder: Path, columns: Mapping[str, Sequence[object]]) -> Path:
    """Write columns to a Parquet file."""
    path = folder / "galaxies.parquet"
    pq.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), path)
    return path


def csv(folder: Path, columns: Mapping[str, Sequence[object]]) -> Path:
    """Write columns to a CSV file."""
    path = folder / "galaxies.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def zipped(folder: Path, columns: Mapping[str, Sequence[object]]) -> Path:
    """Write columns to a CSV file in gzip."""
    path = folder / "galaxies.csv.gz"
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def read(path: Path, tree: Tree = RINGS, **options) -> tuple[list[CatalogueRow], list[CatalogueFault]]:
    """Read a file; give galaxies and faults."""
    rows = list(open_catalogue(path, tree).rows(**options))
    return (
        [row for row in rows if isinstance(row, CatalogueRow)],
        [row for row in rows if isinstance(row, CatalogueFault)],
    )


# The real Kaggle file


def test_the_real_file_is_read_whole():
    """All 23,098 rows become galaxies with 11 questions, 4,000 of them in the unbiased part."""
    catalogue = open_catalogue(shared_data() / "gz2_kaggle_grey112.parquet", GZ2)
    assert (catalogue.layout, catalogue.n_rows) == ("kaggle", 23_098)
    rows, unbiased, recorded = 0, 0, 0
    for row in catalogue.rows():
        assert isinstance(row, CatalogueRow), row
        rows += 1
        unbiased += row.unbiased
        recorded += not np.isnan(row.fractions[:3]).any()
        assert (row.row, row.n_votes, row.ra_deg, row.dec_deg) == (rows, None, None, None)
    assert (rows, unbiased, recorded) == (23_098, 4_000, 23_098)


def test_a_subset_of_the_real_file_is_representative_and_seeded():
    """A subset holds the ids that hash smallest, in file order, with its share of the unbiased part."""
    path = shared_data() / "gz2_kaggle.parquet"
    table = pq.read_table(path, columns=["galaxy_id", "random_block", *KAGGLE_COLUMNS]).to_pandas()
    ids = table["galaxy_id"].astype(str)
    rank = ids.map(lambda galaxy_id: stable_fraction("subset:7", galaxy_id))
    expected = table[rank <= np.sort(rank)[999]]

    subset = list(open_catalogue(path, GZ2).rows(1000, seed=7))
    assert [row.galaxy_id for row in subset] == list(expected["galaxy_id"].astype(str))
    assert [row.row for row in subset] == list(expected.index + 1)
    assert [row.unbiased for row in subset] == list(expected["random_block"])
    assert abs(sum(row.unbiased for row in subset) - 1000 * 4000 / 23_098) < 45  # four standard deviations
    shares = conditional_from_cumulative(GZ2, expected[list(KAGGLE_COLUMNS)].to_numpy(), list(expected.index))
    np.testing.assert_array_equal(np.stack([row.fractions for row in subset]), shares)
    assert decode(subset[0].image, size_px=160, channels=3).std() > 1


def test_a_larger_subset_contains_a_smaller_one():
    """Asking for more galaxies adds some; another seed gives others."""
    catalogue = open_catalogue(shared_data() / "gz2_kaggle_grey112.parquet", GZ2)
    small, large, other = (
        {row.galaxy_id for row in catalogue.rows(n, seed)} for n, seed in ((50, 1), (90, 1), (50, 2))
    )
    assert small < large
    assert len(small & other) < 5


# Kaggle layout: rows


def test_a_sound_kaggle_file_has_no_faults(tmp_path: Path):
    """Every row becomes a galaxy that keeps its image bytes."""
    columns = kaggle(5)
    rows, faults = read(parquet(tmp_path, columns), GZ2)
    assert faults == []
    assert [row.galaxy_id for row in rows] == ["100", "101", "102", "103", "104"]
    assert [row.image for row in rows] == columns["image"]
    assert [row.unbiased for row in rows] == [True, False, True, False, True]
    assert all(np.nansum(row.fractions) == pytest.approx(11) for row in rows)


def changed(column: str, row: int, value: object) -> dict[str, Sequence[object]]:
    """Return a Kaggle catalogue of 4 galaxies with one cell changed."""
    columns = kaggle(4)
    values = list(columns[column])
    values[row] = value
    return columns | {column: values}


@pytest.mark.parametrize(
    ("column", "value", "field", "reason"),
    [
        ("galaxy_id", None, "galaxy_id", "cannot be a galaxy id"),
        ("galaxy_id", 100, "galaxy_id", "'100' was given by an earlier row"),
        ("Class1.1", np.nan, "smooth-or-featured", "NaN"),
        ("Class3.1", np.nan, "bar", "NaN"),
        ("Class1.1", 1.5, "smooth-or-featured", "outside"),
        ("Class7.1", 0.99, "how-rounded", "do not sum"),
        ("Class6.1", np.inf, "something-odd", "outside"),
        ("image", None, "image", "not an image"),
        ("image", b"<svg/>", "image", "not an image"),
        ("image", IMAGE.ljust(1_024_001), "image", "too many bytes"),
        ("random_block", None, "random_block", "neither true nor false"),
    ],
)
def test_a_broken_kaggle_row_is_a_fault(tmp_path: Path, column: str, value: object, field: str, reason: str):
    """One wrong cell gives one fault that names row, galaxy and field; the other rows are unharmed."""
    rows, faults = read(parquet(tmp_path, changed(column, 2, value)), GZ2)
    (fault,) = faults
    assert (fault.row, fault.field) == (3, field)
    assert reason in fault.reason
    own_id = None if value is None else str(value)
    assert fault.galaxy_id == (own_id if column == "galaxy_id" else "102")
    assert [row.row for row in rows] == [1, 2, 4]
    assert all(np.isfinite(row.fractions[:3]).all() for row in rows)


# Kaggle layout: files


@pytest.mark.parametrize("column", ["galaxy_id", "image", "Class11.6"])
def test_a_missing_kaggle_column_is_named(tmp_path: Path, column: str):
    """A file without one of the columns is refused as a whole."""
    columns = kaggle(2)
    del columns[column]
    with pytest.raises(BadInput, match=f"galaxies.parquet: column '{column}' is missing"):
        open_catalogue(parquet(tmp_path, columns), GZ2)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("galaxy_id", [b"1", b"2"]),
        ("image", [1.5, 2.5]),
        ("random_block", [0.1, 0.2]),
    ],
)
def test_a_kaggle_column_of_the_wrong_type_is_named(tmp_path: Path, column: str, values: list[object]):
    """A column that cannot hold what it should is refused before any row is read."""
    with pytest.raises(BadInput, match=f"column '{column}' must hold"):
        open_catalogue(parquet(tmp_path, kaggle(2) | {column: values}), GZ2)


def test_ids_that_became_floats_are_faults_and_none_is_kept(tmp_path: Path):
    """Kind: ids rounded before they reach us. Two rows that share a rounded id are not duplicates: neither is a galaxy."""
    objids = [587722981742346362, 587722981742346370, 588017702391578632]
    columns = paths(tmp_path, 4, galaxy_id=[f"{objid:.4g}" for objid in objids] + ["587722981742346363"])
    rows, faults = read(csv(tmp_path, columns | {"galaxy_id": pd.Series(columns["galaxy_id"], dtype=object)}))
    assert [row.galaxy_id for row in rows] == ["587722981742346363"]
    assert [(fault.row, fault.field, fault.galaxy_id) for fault in faults] == [
        (1, "galaxy_id", "5.877e+17"),
        (2, "galaxy_id", "5.877e+17"),
        (3, "galaxy_id", "5.88e+17"),
    ]
    assert all("is a float and no id" in fault.reason and "dtype={'ID': str}" in fault.reason for fault in faults)


def test_ids_beside_an_empty_cell_are_told_as_floats(tmp_path: Path):
    """Kind: ids rounded before they reach us. pandas makes floats of a column of integers with one missing."""
    path = csv(tmp_path, paths(tmp_path, 3, galaxy_id=[587722981742346362, None, 12]))
    rows, faults = read(path)
    assert rows == []
    assert ["is a float and no id" in fault.reason for fault in faults] == [True, False, True]


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.float16()])
@pytest.mark.parametrize("column", ["galaxy_id", "dr7objid"])
def test_a_column_of_float_ids_is_refused_by_what_happened(tmp_path: Path, kind: pa.DataType, column: str):
    """Kind: ids rounded before they reach us. Whole numbers as floats are refused too: nobody can say which are exact."""
    columns = paths(tmp_path, 2)
    del columns["galaxy_id"]
    path = parquet(tmp_path, columns | {column: pa.array(np.array([1, 2], kind.to_pandas_dtype()))})
    with pytest.raises(
        RoundedId, match=f"galaxies.parquet: column '{column}' of ids holds floats .*export ids as text"
    ):
        open_catalogue(path, RINGS, with_votes=False)


def test_the_kaggle_layout_wants_its_own_tree(tmp_path: Path):
    """Another tree would give the fractions another meaning."""
    with pytest.raises(BadTree, match="gz-rings"):
        open_catalogue(parquet(tmp_path, kaggle(2)), RINGS)


# Image paths and vote columns


@pytest.mark.parametrize("write", [csv, parquet, zipped])
def test_counts_become_shares(tmp_path: Path, write):
    """Whole votes give shares and the number of volunteers; a question nobody answered is not recorded."""
    path = write(tmp_path, paths(tmp_path, 3, **{YES: [30, 0, 1], NO: [10, 0, 0]}))
    catalogue = open_catalogue(path, RINGS)
    assert (catalogue.layout, catalogue.n_rows) == ("paths", 3)
    first, none, single = catalogue.rows()
    assert (first.galaxy_id, first.fractions.tolist(), first.n_votes) == ("J0", [0.75, 0.25], 40)
    assert (none.fractions, none.n_votes) == (None, 0)
    assert (single.fractions.tolist(), single.n_votes) == ([1, 0], 1)
    assert (first.image, first.unbiased) == (IMAGE, True)


@pytest.mark.parametrize("write", [csv, parquet, zipped])
def test_fractions_are_kept(tmp_path: Path, write):
    """Fractions are shares, freed of rounding; the number of volunteers comes from a total, if there is one."""
    columns = paths(tmp_path, 3, **{YES: [0.333, 1.0, None], NO: [0.666, 0.0, None]})
    rows, faults = read(write(tmp_path, columns))
    assert faults == []
    assert rows[0].fractions.tolist() == pytest.approx([1 / 3, 2 / 3], abs=1e-12)
    assert rows[2].fractions is None
    assert [row.n_votes for row in rows] == [None, None, None]
    rows, faults = read(write(tmp_path, columns | {TOTAL: [40, 1, None]}))
    assert faults == []
    assert [row.n_votes for row in rows] == [40, 1, None]


def test_one_bad_cell_does_not_decide_between_counts_and_fractions(tmp_path: Path):
    """In a file of counts a fraction is a fault of its row alone, and so is a count in a file of fractions."""
    counts = {YES: [30, 3.5, 20, 0], NO: [10, 4, 0, 1]}
    rows, (fault,) = read(csv(tmp_path, paths(tmp_path, 4, **counts)))
    assert (fault.row, fault.reason) == (2, "a count is not a whole number")
    assert [row.n_votes for row in rows] == [40, 20, 1]
    fractions = {YES: [0.3, 3, 1, 0.5], NO: [0.7, 4, 0, 0.5]}
    rows, (fault,) = read(csv(tmp_path, paths(tmp_path, 4, **fractions)))
    assert (fault.row, fault.reason) == (2, "its fractions sum to 7, not to 1")


@pytest.mark.parametrize(
    ("column", "value", "field", "reason"),
    [
        ("galaxy_id", "J0", "galaxy_id", "'J0' was given by an earlier row"),
        ("galaxy_id", "", "galaxy_id", "cannot be a galaxy id"),
        ("galaxy_id", "a\tb", "galaxy_id", "cannot be a galaxy id"),
        ("image_path", "images/none.png", "image_path", "No such file"),
        ("image_path", "images", "image_path", "Is a directory"),
        ("image_path", "", "image_path", "not an image"),
        (YES, "many", RINGS.questions[0].name, "not a number"),
        (YES, "", RINGS.questions[0].name, "NaN"),
        (YES, "nan", RINGS.questions[0].name, "NaN"),
        (YES, "-1", RINGS.questions[0].name, "negative"),
        (YES, "inf", RINGS.questions[0].name, "infinite"),
        (YES, "5.5", RINGS.questions[0].name, "whole"),
        (YES, "6", TOTAL, "the answers sum to 15, the total is 14"),
        (TOTAL, "", TOTAL, "the answers sum to 14, the total is nan"),
        (TOTAL, "x", TOTAL, "no number of votes"),
        (TOTAL, "-14", TOTAL, "no number of votes"),
        (TOTAL, "inf", TOTAL, "no number of votes"),
        ("ra", "360", "ra", "not within"),
        ("ra", "-0.1", "ra", "not within"),
        ("ra", "12h", "ra", "not within"),
        ("ra", "", "ra", "only one"),
        ("dec", "-90.5", "dec", "not within"),
        ("dec", "", "ra", "only one"),
        ("random_block", "perhaps", "random_block", "neither true nor false"),
    ],
)
def test_a_broken_row_is_a_fault(tmp_path: Path, column: str, value: str, field: str, reason: str):
    """One wrong cell of a CSV gives one fault that names row and field; the other rows are unharmed."""
    columns = paths(tmp_path, 4) | {
        YES: ["5"] * 4,
        NO: ["9"] * 4,
        TOTAL: ["14"] * 4,
        "ra": ["0", "12.5", "359.9", "1"],
        "dec": ["-90", "0", "90", "1"],
        "random_block": ["True", "false", "1", "0"],
    }
    values = list(columns[column])
    values[1] = value
    rows, (fault,) = read(csv(tmp_path, columns | {column: values}))
    assert (fault.row, fault.field) == (2, field)
    assert reason in fault.reason
    assert [(row.ra_deg, row.dec_deg, row.unbiased, row.n_votes) for row in rows] == [
        (0, -90, True, 14),
        (359.9, 90, True, 14),
        (1, 1, False, 14),
    ]


def test_a_broken_image_file_is_a_fault(tmp_path: Path):
    """Files that volunteers could not be shown are faults; a file over the limit is not read to its end."""
    columns = paths(tmp_path, 4)
    (tmp_path / "images/1.png").write_text("<html>gone</html>")
    with (tmp_path / "images/2.png").open("wb") as file:
        file.write(IMAGE)
        file.truncate(1 << 30)
    rows, faults = read(csv(tmp_path, columns))
    assert [row.row for row in rows] == [1, 4]
    assert [(fault.row, fault.galaxy_id, fault.field) for fault in faults] == [
        (2, "J1", "image_path"),
        (3, "J2", "image_path"),
    ]
    assert "not an image" in faults[0].reason
    assert f"{MAX_ORIGINAL_BYTES + 1} is over the limit" in faults[1].reason


def test_absolute_paths_and_missing_ids_are_fine(tmp_path: Path):
    """Without an id column the path as written names the galaxy; an absolute path is taken as it is."""
    (tmp_path / "elsewhere").mkdir()
    names = paths(tmp_path / "elsewhere", 2)["image_path"]
    columns = {"file_loc": [str(tmp_path / "elsewhere" / name) for name in names]}
    rows, faults = read(csv(tmp_path, columns))
    assert faults == []
    assert [row.galaxy_id for row in rows] == columns["file_loc"]
    assert [(row.fractions, row.n_votes, row.unbiased) for row in rows] == [(None, None, True)] * 2


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_every_encoding_of_text_is_read(tmp_path: Path, kind: pa.DataType):
    """Text columns work however pandas or polars stored them."""
    columns = paths(tmp_path, 3)
    table = pa.table({name: pa.array(values).cast(kind) for name, values in columns.items()})
    pq.write_table(table, tmp_path / "galaxies.parquet")
    rows, faults = read(tmp_path / "galaxies.parquet")
    assert ([row.galaxy_id for row in rows], faults) == (["J0", "J1", "J2"], [])


def test_only_images_of_the_subset_are_read(tmp_path: Path):
    """Galaxies outside the subset do not need an image, so none of theirs was opened."""
    columns = paths(tmp_path, 40)
    ranked = sorted(range(40), key=lambda i: stable_fraction("subset:3", f"J{i}"))
    for i in ranked[10:]:
        (tmp_path / f"images/{i}.png").unlink()
    rows, faults = read(csv(tmp_path, columns), galaxies=10, seed=3)
    assert faults == []
    assert [row.galaxy_id for row in rows] == [f"J{i}" for i in sorted(ranked[:10])]


def test_faults_count_as_requested(tmp_path: Path):
    """A subset of ten with a fault among them gives ten outcomes, never a replacement."""
    columns = paths(tmp_path, 40)
    worst = min(range(40), key=lambda i: stable_fraction("subset:0", f"J{i}"))
    (tmp_path / f"images/{worst}.png").unlink()
    rows, (fault,) = read(csv(tmp_path, columns), galaxies=10)
    assert (len(rows), fault.galaxy_id) == (9, f"J{worst}")


@pytest.mark.parametrize("galaxies", [0, -1, 4])
def test_an_impossible_subset_is_refused(tmp_path: Path, galaxies: int):
    """Asking for more galaxies than there are, or for none, is an error and not an empty run."""
    path = csv(tmp_path, paths(tmp_path, 3))
    with pytest.raises(BadInput, match=f"cannot take {galaxies} galaxies of 3 rows"):
        read(path, galaxies=galaxies)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c", "d", "", " e"]),
            st.sampled_from(["images/0.png", "images/9.png", ""]),
            st.sampled_from(["3", "0", "", "x", "0.5", "-1"]),
            st.sampled_from(["3", "0.5", ""]),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_requested_is_done_plus_failed(tmp_path: Path, cells: list[tuple[str, ...]]):
    """Whatever the cells hold, each row gives exactly one outcome, in order, and no id occurs twice."""
    paths(tmp_path, 1)
    columns = dict(zip(["galaxy_id", "image_path", YES, NO], zip(*cells, strict=True), strict=True))
    rows, faults = read(csv(tmp_path, columns))
    assert sorted(row.row for row in [*rows, *faults]) == list(range(1, len(cells) + 1))
    assert len({row.galaxy_id for row in rows}) == len(rows)
    for row in rows:
        assert row.fractions is None or row.fractions.sum() == pytest.approx(1)


# The real GZ DECaLS counts


def test_real_counts_give_the_published_fractions(tmp_path: Path):
    """Shares from the counts of GZ DECaLS equal the fractions in the same file, question by question."""
    tree = load_tree("gz-decals-dr12")
    real = pd.read_csv(shared_data() / "gz_decals_dr12_64.csv").rename(columns={"iauname": "id_str"})
    images = pd.DataFrame({"image_path": paths(tmp_path, len(real))["image_path"]})
    real = pd.concat([real, images], axis=1)
    rows, faults = read(csv(tmp_path, real), tree)
    assert faults == []
    assert [row.galaxy_id for row in rows] == list(real["id_str"])
    assert [row.ra_deg for row in rows] == list(real["ra"])
    assert [row.n_votes for row in rows] == list(real["smooth-or-featured_total-votes"])
    published = real[[f"{column}_fraction" for column in tree.columns]].to_numpy()
    shares = np.stack([row.fractions for row in rows])
    asked = ~np.isnan(shares)
    assert asked.mean() > 0.7
    np.testing.assert_allclose(shares[asked], published[asked], atol=1e-6)


def test_answers_of_an_older_tree_are_refused(tmp_path: Path):
    """Counts that mix two versions of a question name the column that this tree does not know."""
    real = pd.read_parquet(shared_data() / "gz_decals_dr5_tree_counts.parquet").head(3)
    columns = dict(real) | {"image_path": paths(tmp_path, 3)["image_path"]}
    with pytest.raises(BadInput, match="'merging_tidal-debris-v1' is no answer of 'merging'"):
        open_catalogue(parquet(tmp_path, columns), load_tree("gz-decals-dr5"))


# Files that are wrong as a whole


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("g", b"", "ends in .parquet or .pq or .csv or"),
        ("g.gz", gzip.compress(b"galaxy_id,image_path\na,b\n", mtime=0), "ends in .parquet or .pq or .csv or"),
        ("g.parquet", b"PAR1 but not really PAR1", "g.parquet cannot be read"),
        ("g.parquet", b"", "g.parquet cannot be read"),
        ("g.csv", b"", "g.csv cannot be read"),
        ("g.csv", b"galaxy_id,image_path\n", "g.csv: the catalogue is empty"),
        ("g.csv", b"galaxy_id,image_path\na\n", "g.csv cannot be read: .*Expected 2 columns, got 1"),
        ("g.csv", b"image_path,image_path\na,b\n", "column 'image_path' is given twice"),
        ("g.csv", b"image_path,\xff\na,b\n", "g.csv cannot be read"),
        ("g.csv", b"galaxy_id,ra\na,1\n", "no column of images"),
        ("g.csv", b"image_path,ra\na,1\n", "column 'dec' is missing"),
        ("g.csv", b"Class1.1,galaxy_id\n1,1\n", "column 'Class1.2' is missing"),
        ("g.csv", f"image_path,{YES}\na,1\n".encode(), f"column '{NO}' is missing"),
        ("g.csv.gz", b"", "g.csv.gz cannot be read"),
        ("g.csv.gz", b"galaxy_id,image_path\na,b\n", "g.csv.gz cannot be read: .*incorrect header"),
        ("g.csv.gz", ZIPPED[:-1], "g.csv.gz cannot be read: Truncated"),
        ("g.csv.gz", ZIPPED[: len(ZIPPED) // 2], "g.csv.gz cannot be read: Truncated"),
        ("g.csv.gz", ZIPPED[:-8] + bytes(4) + ZIPPED[-4:], "g.csv.gz cannot be read: .*incorrect data check"),
        ("g.csv.gz", gzip.compress(b"galaxy_id,image_path\na\n", mtime=0), "Expected 2 columns, got 1"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, content: bytes, named: str):
    """What no row could mend is an error of the file, raised before any row is read."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BadInput, match=named):
        open_catalogue(path, GZ2 if b"Class" in content else RINGS)


def test_a_zipped_file_of_thousand_times_its_length_is_refused(tmp_path: Path):
    """Kind: a small file that would fill memory or a night. It is unzipped piece by piece and given up early."""
    path = tmp_path / "g.csv.gz"
    row = b"1" * 500 + b"," + b"1" * 500 + b"\n"
    with gzip.open(path, "wb") as file:
        file.write(b"galaxy_id,image_path\n")
        for _ in range(80):
            file.write(row * 1000)
    tracemalloc.start()
    with pytest.raises(BadInput, match=r"g\.csv\.gz: more than 200 times as long as its file"):
        open_catalogue(path, RINGS)
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


def test_an_absent_file_is_named(tmp_path: Path):
    """A path that leads nowhere is an error that repeats it."""
    with pytest.raises(BadInput, match=str(tmp_path / "none.csv")):
        open_catalogue(tmp_path / "none.csv", RINGS)


@pytest.mark.parametrize("columns", [kaggle(0), {"image_path": pa.array([], pa.string())}])
def test_an_empty_parquet_catalogue_is_named(tmp_path: Path, columns: Mapping[str, Sequence[object]]):
    """No rows is an error, not a run over nothing."""
    with pytest.raises(BadInput, match="the catalogue is empty"):
        open_catalogue(parquet(tmp_path, columns), GZ2)


def test_memory_is_flat(tmp_path: Path):
    """A catalogue of three times the images, in one row group as well, needs no more memory to read."""

    def held(n: int) -> int:
        """Return the most bytes that Arrow held while n images of 10 kB streamed by."""
        rng = np.random.default_rng(0)
        columns = {"galaxy_id": range(n), "image": [IMAGE + rng.bytes(10_000) for _ in range(n)]}
        path = parquet(tmp_path, kaggle(n) | columns)
        assert pq.ParquetFile(path).num_row_groups == 1
        catalogue = open_catalogue(path, GZ2)
        before = pa.total_allocated_bytes()
        return max(pa.total_allocated_bytes() - before for _ in catalogue.rows())

    assert held(4_500) < 1.6 * held(1_500)


# What is read is what is asked for


def test_votes_alone_need_no_images(tmp_path: Path):
    """A table of ids and votes is enough; without any id it is refused by name."""
    columns = {"id_str": ["a", "b"], "ring_yes": ["3", ""], "ring_no": ["1", ""]}
    catalogue = open_catalogue(csv(tmp_path, columns), RINGS, with_images=False)
    first, second = catalogue.rows()
    assert catalogue.images is None
    assert (first.image, first.counts.tolist(), second.counts, second.fractions) == (b"", [3, 1], None, None)
    with pytest.raises(BadInput, match="no column of ids"):
        open_catalogue(csv(tmp_path, {"ring_yes": ["3"], "ring_no": ["1"]}), RINGS, with_images=False)


def test_images_alone_need_no_votes(tmp_path: Path):
    """Fractions that do not add up do not stop a prediction, nor does another tree."""
    columns = kaggle(2)
    columns["Class1.1"] = [0.9, 0.9]
    bad, good = (
        list(open_catalogue(parquet(tmp_path, columns), GZ2, with_votes=votes).rows()) for votes in (True, False)
    )
    assert all(isinstance(row, CatalogueFault) for row in bad)
    assert [(row.fractions, row.counts) for row in good] == [(None, None)] * 2
    assert open_catalogue(parquet(tmp_path, columns), RINGS, with_votes=False).layout == "paths"


def test_image_bytes_may_stand_beside_counted_votes(tmp_path: Path):
    """Bytes in `image` and a column per answer: counts come as they are; numbers are no images."""
    columns = {"galaxy_id": ["a", "b"], "image": [IMAGE, IMAGE], "ring_yes": [3, 0], "ring_no": [1, 0]}
    catalogue = open_catalogue(parquet(tmp_path, columns), RINGS)
    first, second = catalogue.rows()
    assert catalogue.images.column == "image"
    assert (first.image, first.counts.tolist(), first.n_votes) == (IMAGE, [3, 1], 4)
    assert (second.counts, second.n_votes) == (None, 0)
    with pytest.raises(BadInput, match="must hold image bytes"):
        open_catalogue(parquet(tmp_path, columns | {"image": [1.5, 2.5]}), RINGS)


def test_cumulative_fractions_come_as_recorded(tmp_path: Path):
    """The Kaggle layout keeps the file's own numbers beside the shares."""
    columns = kaggle(1)
    (row,) = open_catalogue(parquet(tmp_path, columns), GZ2).rows()
    assert row.cumulative.tolist() == pytest.approx([columns[name][0] for name in KAGGLE_COLUMNS])
    assert row.counts is None
