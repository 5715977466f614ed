"""Published vote tables as catalogues: hand-made ones of each layout, and the real ones at hand."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alservice.catalogue.files import ReadAs, open_catalogue
from alservice.catalogue.galaxies import CatalogueFault, CatalogueRow
from alservice.catalogue.image_source import ImageSource
from alservice.catalogue.understood import understand
from alservice.catalogue.vote_columns import GZ2_COLUMNS, NotVotes, trees_of
from alservice.errors import BadInput
from alservice.science.tree import Tree, load_tree
from alservice.science.votes import conditional_fractions, inconsistent
from alservice.storage.images import encode_png
from tests.support.shared import shared_data

GZ2 = load_tree("gz2")
DR5 = load_tree("gz-decals-dr5")
DR12 = load_tree("gz-decals-dr12")


def counted(tree: Tree, votes: dict[str, int]) -> np.ndarray:
    """Return counts (A,) with these answers and no others."""
    counts = np.zeros(tree.n_answers, dtype=np.int64)
    for column, n in votes.items():
        counts[tree.column(column)] = n
    return counts


SMOOTH, ROUND = "smooth-or-featured_smooth", "how-rounded_round"
GALAXIES = {
    GZ2: [
        counted(GZ2, {SMOOTH: 30, "smooth-or-featured_artifact": 4, ROUND: 29, "something-odd_no": 30}),
        counted(GZ2, {SMOOTH: 2, "something-odd_no": 5}),
    ],
    DR5: [counted(DR5, {SMOOTH: 3, ROUND: 3, "merging_none": 3}), counted(DR5, {SMOOTH: 1, ROUND: 2})],
}


def table(folder: Path, columns: dict[str, object], ids: dict[str, object], *, image_column: str | None = None) -> Path:
    """Write two galaxies with images ``ID.png``, named in a column or not."""
    names = [f"{galaxy_id}.png" for galaxy_id in next(iter(ids.values()))]
    for name in names:
        (folder / name).write_bytes(encode_png(np.zeros((1, 4, 4), dtype=np.uint8)))
    extra = {} if image_column is None else {image_column: names}
    path = folder / "table.csv"
    pd.DataFrame(ids | {"ra": [1.5, 2.5], "dec": [0.0, 1.0]} | extra | columns).to_csv(path, index=False)
    return path


def read(path: Path, tree: Tree, **options) -> tuple[list[CatalogueRow], list[CatalogueFault]]:
    """Return galaxies and faults."""
    rows = list(open_catalogue(path, tree, **options).rows())
    return [r for r in rows if isinstance(r, CatalogueRow)], [r for r in rows if isinstance(r, CatalogueFault)]


def check(rows: list[CatalogueRow], tree: Tree) -> None:
    """The votes are those of `GALAXIES`, and the second galaxy's are flagged."""
    counts = np.array(GALAXIES[tree])
    np.testing.assert_array_equal([row.fractions for row in rows], conditional_fractions(tree, counts))
    assert [row.n_votes for row in rows] == counts[:, tree.slices[0]].sum(axis=1).tolist()
    assert [row.consistent for row in rows] == [True, False]


@pytest.mark.parametrize("id_column", ["dr7objid", "objid"])
def test_gz2_counts_are_read_and_what_was_made_of_them_is_not(tmp_path: Path, id_column: str):
    """Hart's and Willett's tables: counts; weights, fractions and debiased fractions beside them do not matter."""
    columns: dict[str, object] = {}
    for place, stem in enumerate(GZ2_COLUMNS.values()):
        columns[f"{stem}_count"] = [galaxy[place] for galaxy in GALAXIES[GZ2]]
        columns |= {
            f"{stem}_{what}": [0.123, 9.9] for what in ("weight", "fraction", "weighted_fraction", "debiased", "flag")
        }
    ids = {id_column: [587722981736579107, 587722981741363294], "total_classifications": [34, 2]}
    path = table(tmp_path, columns, ids)
    rows, faults = read(path, GZ2, images=ImageSource(folder=tmp_path, pattern="{id}.png"))
    assert faults == []
    assert [row.galaxy_id for row in rows] == ["587722981736579107", "587722981741363294"]
    assert [(row.ra_deg, row.dec_deg) for row in rows] == [(1.5, 0.0), (2.5, 1.0)]
    check(rows, GZ2)


def test_decals_counts_totals_and_image_names(tmp_path: Path):
    """Walmsley's columns with totals; images lie in folders named by the first four characters."""
    names = {column: [galaxy[i] for galaxy in GALAXIES[DR5]] for i, column in enumerate(DR5.columns)}
    totals = {
        f"{question.name}_total-votes": [int(galaxy[DR5.slices[i]].sum()) for galaxy in GALAXIES[DR5]]
        for i, question in enumerate(DR5.questions)
    }
    fractions = {f"{column}_fraction": [0.5, 0.5] for column in DR5.columns}
    path = table(tmp_path, names | totals | fractions, {"iauname": ["J000001.1-000000.2", "J100001.1-000000.2"]})
    (tmp_path / "J000").mkdir()
    (tmp_path / "J000001.1-000000.2.png").rename(tmp_path / "J000" / "J000001.1-000000.2.png")
    rows, faults = read(path, DR5, images=ImageSource(folder=tmp_path, pattern="{id:.4}/{id}.png"))
    assert [row.galaxy_id for row in rows] == ["J000001.1-000000.2"]
    assert [(fault.row, fault.galaxy_id, fault.field) for fault in faults] == [(2, "J100001.1-000000.2", "image")]
    assert "No such file" in faults[0].reason
    np.testing.assert_array_equal(rows[0].fractions, conditional_fractions(DR5, GALAXIES[DR5][0][np.newaxis])[0])
    path.write_text(path.read_text().replace(",3,", ",4,", 1))
    assert "answers sum to" in read(path, DR5, images=ImageSource(folder=tmp_path, pattern="{id}.png"))[1][0].reason


def test_zoobot_columns_of_two_campaigns(tmp_path: Path):
    """Only the campaign of the tree is read; what is no answer of any tree is left aside, another tree's refused."""
    ours = {
        column.replace("_", "-dr5_"): [galaxy[i] for galaxy in GALAXIES[DR5]] for i, column in enumerate(DR5.columns)
    }
    others = {column.replace("_", "-dr12_"): [7, 7] for column in DR12.columns}
    path = table(tmp_path, others | ours, {"id_str": ["a", "b"]}, image_column="file_loc")
    rows, faults = read(path, DR5)
    assert (faults, [row.galaxy_id for row in rows]) == ([], ["a", "b"])
    check(rows, DR5)
    beside = {"bar-dr5_maybe": [1, 1], "bar_length": [2.5, 0.1], "smooth-or-featured-dr5_prob": [0.1, 0.2]}
    check(read(table(tmp_path, ours | beside, {"id_str": ["a", "b"]}, image_column="file_loc"), DR5)[0], DR5)
    strange = table(tmp_path, ours | {"bar-dr5_yes": [1, 1]}, {"id_str": ["a", "b"]}, image_column="file_loc")
    with pytest.raises(BadInput, match="'bar-dr5_yes' is no answer of 'bar' in tree 'gz-decals-dr5'"):
        read(strange, DR5)


def test_a_table_of_another_tree_says_which(tmp_path: Path):
    """Answers that only another packaged tree has are refused, and that tree is named."""
    columns = {name: [1, 1] for name in DR12.columns}
    with pytest.raises(BadInput, match=r"'bar_yes' is no answer .*; its columns are those of --tree gz-decals-dr12"):
        read(table(tmp_path, columns, {"id_str": ["a", "b"]}, image_column="file_loc"), load_tree("gz-desi"))
    assert trees_of(columns) == ("gz-decals-dr12",)
    assert trees_of(["bar_length", "ra"]) == ()


def test_predictions_name_their_file(tmp_path: Path):
    """A table like that of Galaxy Zoo DESI is refused before any row is read."""
    path = table(tmp_path, {"smooth-or-featured_smooth_fraction": [0.1, 0.9]}, {"dr8_id": ["1_2", "1_3"]})
    with pytest.raises(NotVotes, match=r"table\.csv: column 'smooth-or-featured_smooth_fraction'"):
        read(path, load_tree("gz-desi"), images=ImageSource(folder=tmp_path))


def test_half_a_question_is_refused(tmp_path: Path):
    """A table that lost one answer of a question would bias its shares."""
    columns = {f"{GZ2_COLUMNS[name]}_count": [1, 1] for name in GZ2.columns if name != "bar_no"}
    with pytest.raises(BadInput, match="'t03_bar_a07_no_bar_count' is missing"):
        read(table(tmp_path, columns, {"dr7objid": [1, 2]}), GZ2, images=ImageSource(folder=tmp_path))


def test_a_table_without_images_or_ids_says_so(tmp_path: Path):
    """Votes alone make no catalogue; images named after galaxies need names."""
    columns = {f"{stem}_count": [1, 1] for stem in GZ2_COLUMNS.values()}
    with pytest.raises(BadInput, match="--images"):
        read(table(tmp_path, columns, {"dr7objid": [1, 2]}), GZ2)
    with pytest.raises(BadInput, match="no column of ids"):
        read(table(tmp_path, columns, {"name": ["a", "b"]}), GZ2, images=ImageSource(folder=tmp_path))


@pytest.mark.parametrize("pattern", ["image.jpg", "{}.jpg", "{name}.jpg", "{id.real}.jpg", "{id", "{id}{0}"])
def test_image_names_must_name_the_galaxy(tmp_path: Path, pattern: str):
    """A pattern without the id would show every galaxy the same image."""
    with pytest.raises(BadInput, match="image name"):
        ImageSource(folder=tmp_path, pattern=pattern)


def test_the_real_stripe_82_table(tmp_path: Path):
    """19,761 galaxies by Willett et al.: the counts as published, and 4 in 100 that no walks can give."""
    path = shared_data() / "gz2_stripe82_coadd_votes.parquet"
    source = open_catalogue(path, GZ2, images=ImageSource(folder=tmp_path))
    assert (source.layout, source.n_rows, source.id_column) == ("gz2", 19_761, "objid")
    published = pq.read_table(path, columns=[f"{stem}_count" for stem in GZ2_COLUMNS.values()]).to_pandas().to_numpy()
    flagged = 0
    for batch, counts in zip(
        source.table.batches(source.votes.columns), np.split(published, range(128, 19_761, 128)), strict=True
    ):
        faults: dict = {}
        block = source.votes.read(batch, faults)
        shares, asked, flags = block.fractions, block.asked, block.inconsistent
        assert faults == {}
        np.testing.assert_array_equal(shares, conditional_fractions(GZ2, counts))
        np.testing.assert_array_equal(np.nan_to_num(asked), counts[:, :3].sum(axis=1))
        np.testing.assert_array_equal(flags, inconsistent(GZ2, counts).any(axis=1))
        flagged += int(flags.sum())
    assert flagged == 828


def test_the_real_decals_tables(tmp_path: Path):
    """DR1/DR2 counts are read; the mixed DR5 table is refused for answers that are not the tree's."""
    path = shared_data() / "gz_decals_dr12_64.csv"
    source = open_catalogue(path, DR12, images=ImageSource(folder=tmp_path))
    assert (source.layout, source.n_rows, source.id_column, source.votes.counts) == ("paths", 64, "iauname", True)
    faults = [row for row in source.rows() if isinstance(row, CatalogueFault)]
    assert len(faults) == 64
    assert {fault.field for fault in faults} == {"image"}
    with pytest.raises(BadInput, match="tidal-debris-v1"):
        open_catalogue(shared_data() / "gz_decals_dr5_tree_counts.parquet", DR5, images=ImageSource(folder=tmp_path))


def test_the_real_hart_subset_records_fractions():
    """It kept weighted fractions and how many classified: recorded fractions, NaN where nobody was asked."""
    path = shared_data() / "gz2_hart16_600_424.parquet"
    file = open_catalogue(path, GZ2, read_as=ReadAs.of(["image=jpeg"]))
    rows = list(file.rows(galaxies=40))
    published = pq.read_table(path).to_pandas().set_index("dr7objid")
    assert {type(row) for row in rows} == {CatalogueRow}
    for row in rows:
        of_file = published.loc[int(row.galaxy_id)]
        shares = of_file[[f"{stem}_weighted_fraction" for stem in GZ2_COLUMNS.values()]].to_numpy(float)
        np.testing.assert_allclose(np.nan_to_num(row.fractions), shares, atol=0.01)
        assert (row.n_votes, row.counts) == (of_file["total_classifications"], None)
        assert row.image == of_file["jpeg"]
    told = understand(file)
    assert (told.votes, told.n_questions, told.most_votes, told.id_column) == ("fractions", 11, 73, "dr7objid")


def test_weights_without_a_total_are_no_votes(tmp_path: Path):
    """Fractions that say not of how many are refused as before; so are debiased ones beside a total."""
    for ending, more in (("weighted_fraction", {}), ("debiased", {"total_classifications": [40, 40]})):
        columns = {f"{stem}_{ending}": [0.5, 0.5] for stem in GZ2_COLUMNS.values()} | more
        with pytest.raises(NotVotes, match=ending):
            read(table(tmp_path, columns, {"dr7objid": [1, 2]}), GZ2, images=ImageSource(folder=tmp_path))


def test_columns_are_what_a_person_says_they_are(tmp_path: Path):
    """Ids, images and positions of any name; a fault names the column as the table has it."""
    votes = {column: [3, 4] for column in ("ring_yes", "ring_no")}
    ids = {"name": ["a", "b"], "RAJ2000": [1.5, 400], "DEJ2000": [0, 1]}
    path = table(tmp_path, votes, ids, image_column="png_loc")
    rings = load_tree("gz-rings")
    with pytest.raises(BadInput, match=r"no column of ids.*--column id=NAME"):
        read(path, rings)
    said = ["id=name", "ra=RAJ2000", "dec=DEJ2000"]
    with pytest.raises(BadInput, match="--column image=png_loc"):
        read(path, rings, read_as=ReadAs.of(said))
    rows, faults = read(path, rings, read_as=ReadAs.of([*said, "image=png_loc"]))
    assert [(row.galaxy_id, row.ra_deg, len(row.image) > 0) for row in rows] == [("a", 1.5, True)]
    assert [(fault.row, fault.field) for fault in faults] == [(2, "RAJ2000")]
    rows, _ = read(path, rings, read_as=ReadAs.of(["image=png_loc"]))
    assert [row.galaxy_id for row in rows] == ["a.png", "b.png"]  # paths name galaxies where nothing else does
    with pytest.raises(BadInput, match="no column 'nothing'; it has name, "):
        read(path, rings, read_as=ReadAs.of(["image=nothing"]))
    for wrong, text in (("png_loc", "role=name"), ("picture=a", "id, image, ra, dec, not 'picture'")):
        with pytest.raises(BadInput, match=text):
            ReadAs.of([wrong])


@pytest.mark.parametrize("inside", [True, False])
def test_images_beside_their_path_are_read(tmp_path: Path, inside: bool):
    """The export of Hugging Face's `datasets`: a struct of bytes and path, of which the bytes may be null."""
    image = encode_png(np.zeros((1, 4, 4), dtype=np.uint8))
    (tmp_path / "a.png").write_bytes(image)
    cells = [{"bytes": image if inside else None, "path": "a.png"}, None]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {"id_str": ["a", "b"], "image": pa.array(cells, kind), "ring_yes": [3, 1], "ring_no": [1, 1]}
    pq.write_table(pa.table(columns), tmp_path / "g.parquet")
    rows, faults = read(tmp_path / "g.parquet", load_tree("gz-rings"))
    assert [row.image for row in rows] == [image]
    assert [(fault.galaxy_id, fault.field) for fault in faults] == [("b", "image")]


def test_what_was_understood_is_told(tmp_path: Path):
    """Rows, ids, votes and their kind, images, what is left aside, and where another reading is possible."""
    columns = {"ring_yes": [1, 0], "ring_no": [0, 1], "bar_length": [2.5, 1]}
    path = table(tmp_path, columns, {"galaxy_id": ["a", "b"]}, image_column="image_path")
    rings = load_tree("gz-rings")
    told = understand(open_catalogue(path, rings))
    assert told.lines() == [
        "table.csv: 2 rows, layout paths, ids in 'galaxy_id' such as 'a'",
        "  votes: counts on 1 questions of tree gz-rings; 1 votes a galaxy (median), 1 at most",
        "  images: column 'image_path' (string)",
        "  left aside: 1 columns: bar_length",
        "  note: every galaxy has one vote: if these are shares of many, say --votes-are fractions",
    ]
    assert json.loads(json.dumps(told.document()))["left_aside"] == ["bar_length"]
    shares = open_catalogue(path, rings, read_as=ReadAs(votes="fractions"))
    assert "votes per galaxy not given: 44 volunteers" in understand(shares).lines()[1]
    assert [row.counts for row in shares.rows()] == [None, None]
    other = understand(open_catalogue(path, DR5))
    assert other.notes == ("no votes of tree 'gz-decals-dr5'; the columns are those of --tree gz-rings",)
