"""The map: laid out once, placed on, kept between builds; tiles, lassos and places of it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from alservice.errors import BadInput, NoMap
from alservice.explore import landmarks
from alservice.explore.choice import Choice, choice_of
from alservice.explore.columns import MAP_X, MAP_Y, PLACE
from alservice.explore.index import TABLE
from alservice.explore.landmarks import Landmarks, lay_out, place
from alservice.explore.latent_map import CELLS, MAX_NEAREST, NUMBER, LatentMap, hues, paint
from alservice.explore.table import Table
from alservice.progress import NoProgress
from alservice.release.columns import ID
from alservice.science.plane import Tile
from tests.explore.worlds import TREE, Made, N, build, make_index, parts

SMOOTH = "smooth-or-featured_smooth"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """An index of galaxies made up."""
    return make_index(tmp_path_factory.mktemp("index"))


@pytest.fixture(scope="module")
def found(made: Made) -> LatentMap:
    """Its map."""
    return LatentMap(Table(made.folder / TABLE, TREE), has_embeddings=True)


def places(folder: Path) -> np.ndarray:
    """Return where an index has its galaxies."""
    table = pq.read_table(folder / TABLE, columns=[MAP_X, MAP_Y])
    return np.stack([table[name].to_numpy() for name in (MAP_X, MAP_Y)], axis=1)


def groups(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors of three groups, and the group of each."""
    rng = np.random.default_rng(seed)
    group = np.arange(n) % 3
    return (np.eye(3, 6)[group] * 20 + rng.normal(size=(n, 6))).astype(np.float32), group


def nearest(at: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the nearest of others to each point."""
    return np.linalg.norm(at[:, None] - others[None], axis=2).argmin(axis=1)


def test_groups_stay_together_and_what_is_new_joins_its_own() -> None:
    """Laid out by t-SNE from a seed; a galaxy is placed the same whatever is placed beside it."""
    vectors, group = groups(150)
    told = Told()
    laid = lay_out(vectors, None, seed=1, threads=1, progress=told)
    assert told.done == landmarks._ROUNDS
    again = lay_out(vectors, None, seed=1, threads=1, progress=NoProgress())
    assert np.allclose(laid.laid, again.laid)
    unit = laid.frame.unit(laid.laid)
    assert ((unit >= 0) & (unit < 1)).all()
    new, own = groups(30, seed=9)
    at = place(laid, new, seed=1, threads=1, progress=NoProgress())
    assert (group[nearest(at, unit)] == own).all()
    alone = place(laid, new[:5], seed=1, threads=1, progress=NoProgress())
    assert np.abs(alone - at[:5]).max() < 0.05


class Told(NoProgress):
    """Counts steps."""

    done = 0

    def advance(self, n: int = 1) -> None:
        """Count them."""
        self.done += n


def test_a_new_layout_begins_with_the_one_before() -> None:
    """Turned by half, another model's vectors are laid out where their galaxies were."""
    vectors, group = groups(150)
    before = lay_out(vectors, None, seed=1, threads=1, progress=NoProgress())
    begin = before.frame.unit(before.laid)
    begin[::10] = np.nan  # galaxies that are new
    after = lay_out(-vectors, begin, seed=2, threads=1, progress=NoProgress())
    middles = [
        np.array([each.frame.unit(each.laid)[group == name].mean(axis=0) for name in range(3)])
        for each in (before, after)
    ]
    assert (nearest(middles[0], middles[1]) == np.arange(3)).all()


def test_the_map_of_a_model_stays_and_grows(made: Made, tmp_path: Path) -> None:
    """Galaxies of before keep their places to the bit; another model's map is laid out anew, by galaxy."""
    assert len(Landmarks.load(made.folder).vectors) == N
    grown = tmp_path / "grown"
    grown.mkdir()
    before = made.folder, made.index
    build(grown, parts(N + 15, voted=made.voted), labelled=made.labelled, before=before)
    assert np.array_equal(places(grown)[:50], places(made.folder)[:50]), "the last piece changed"
    assert np.allclose(places(grown)[50:60], places(made.folder)[50:60], atol=1e-3)
    assert ((places(grown) >= 0) & (places(grown) < 1)).all()
    other = tmp_path / "other"
    other.mkdir()
    build(other, parts(voted=made.voted), before=before, model="other")
    ids = pq.read_table(other / TABLE, columns=[ID])[ID].to_pylist()
    assert np.array_equal(landmarks.earlier(made.folder, [*ids[::-1], "new"])[:-1], places(made.folder)[::-1])
    assert np.isnan(landmarks.earlier(made.folder, ["new"])).all()


def test_tiles_hold_every_galaxy_once(made: Made, found: LatentMap) -> None:
    """At each level, counts and means are those of a loop; a choice holds some."""
    at, smooth = places(made.folder), made.mean[:, TREE.column(SMOOTH)].astype(np.float32)
    for z in (0, 2):
        cells = [
            (Tile(z=z, x=x, y=y), *found.cells(Tile(z=z, x=x, y=y), SMOOTH, Choice()))
            for x in range(1 << z)
            for y in range(1 << z)
        ]
        assert sum(int(counts.sum()) for _, counts, _, _ in cells) == N
        for tile, counts, sums, valued in cells:
            left, right, top, bottom = tile.box
            held = (at[:, 0] >= left) & (at[:, 0] < right) & (at[:, 1] >= top) & (at[:, 1] < bottom)
            assert counts.sum() == held.sum()
            assert np.array_equal(counts, valued)
            assert sums.sum() == pytest.approx(smooth[held].sum(), rel=1e-5)
    row, column = (int(at[7, axis] * CELLS) for axis in (1, 0))
    assert found.cells(Tile(z=0, x=0, y=0), NUMBER, Choice())[0][row, column] >= 1
    some = choice_of([f"{SMOOTH}:0:{float(np.median(smooth))!r}"])
    assert found.cells(Tile(z=0, x=0, y=0), "novelty", some)[0].sum() == (smooth <= np.median(smooth)).sum()


def test_a_tile_is_a_small_picture(found: LatentMap) -> None:
    """Transparent where no galaxy is; the same bytes again without asking."""
    tile = Tile(z=0, x=0, y=0)
    data = found.tile(tile, SMOOTH, Choice())
    picture = Image.open(io.BytesIO(data)).convert("RGBA")
    assert picture.size == (64, 64)
    assert 0 < (np.asarray(picture)[..., 3] > 0).sum() <= N
    assert found.tile(tile, SMOOTH, Choice()) is data
    assert found.span(SMOOTH) == (0, 1)
    low, high = found.span("score_nats")
    assert low < high
    with pytest.raises(BadInput, match="nothing called"):
        found.tile(tile, "nothing", Choice())


def test_colours_rise_with_the_mean_and_opacity_with_the_number() -> None:
    """Evenly in brightness; cells without a value have the middle."""
    counts = np.zeros((128, 128), dtype=np.int64)
    counts[0, :4] = 30_000, 30_000, 1, 30_000
    means = np.array([0.0, 1.0, 1.0, 0.0])
    valued = counts * (np.arange(128) != 3)
    sums = np.zeros((128, 128))
    sums[0, :4] = means * counts[0, :4]
    pixels = np.asarray(Image.open(io.BytesIO(paint(counts, sums, valued, span=(0, 1), usual=100))).convert("RGBA"))
    wanted = hues(48)
    assert pixels[0, :4, :3].tolist() == [wanted[at].tolist() for at in (0, 47, 47, 24)]
    assert pixels[0, :5, 3].tolist() == [255, 255, 128, 255, 0]
    bright = wanted.astype(float) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(bright) > 0).all()


def test_galaxies_are_found_around_a_place_and_in_a_lasso(made: Made, found: LatentMap) -> None:
    """Nearest first; those of a choice alone; rows of what a lasso holds."""
    at = places(made.folder)
    far = np.linalg.norm(at - (0.4, 0.6), axis=1)
    near = found.near(0.4, 0.6, Choice(), n=7)
    assert [item[PLACE] for item in near] == far.argsort(kind="stable")[:7].tolist()
    assert near[0]["map_distance"] == pytest.approx(far.min(), abs=1e-6)
    corners = np.array([[0.0, 0.0], [0.6, 0.0], [0.6, 1.0], [0.0, 1.0]])
    inside = found.inside(corners, Choice())
    assert inside.tolist() == np.flatnonzero(at[:, 0] < 0.6).tolist()
    rows = list(found.rows(inside, group=1000))
    assert [name for group in rows for name in group[ID]] == [made.ids[at] for at in inside]
    assert len(found.inside(np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]), Choice())) == 0
    for x, y, n in ((2.0, 0.5, 1), (float("nan"), 0.5, 1), (0.5, 0.5, 0), (0.5, 0.5, MAX_NEAREST + 1)):
        with pytest.raises(BadInput):
            found.near(x, y, Choice(), n=n)


def test_an_index_without_a_map_says_so(made: Made, tmp_path: Path) -> None:
    """Of an earlier release, whose table still answers, or of a model without embeddings."""
    path = tmp_path / TABLE
    pq.write_table(pq.read_table(made.folder / TABLE).drop_columns([MAP_X, MAP_Y]), path)
    table = Table(path, TREE)
    assert table.page(Choice(), limit=3).n == N
    assert not {MAP_X, MAP_Y} & {column.name for column in table.columns}
    with pytest.raises(NoMap, match="earlier release"):
        LatentMap(table, has_embeddings=True)
    with pytest.raises(NoMap, match="without embeddings"):
        LatentMap(table, has_embeddings=False)
    assert landmarks.earlier(tmp_path) is None
    assert Landmarks.load(tmp_path) is None


def test_a_model_without_embeddings_has_no_map(tmp_path: Path) -> None:
    """And builds all the same."""
    build(tmp_path, parts(width=0))
    assert np.isnan(places(tmp_path)).all()
