"""The explorer's table: what a choice holds, in order, within bounds; nothing from outside becomes a query."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from alservice.errors import AnswerTooSlow, BadInput, NotFound
from alservice.explore.choice import MAX_CONDITIONS, Choice, Condition, choice_of
from alservice.explore.columns import CONFIDENCE, NOVELTY, PLACE, SCORE, VOTES, explore_columns, mean_of
from alservice.explore.table import Table
from alservice.release.columns import ID
from tests.explore.worlds import TREE, Made, N, make_index

SMOOTH = "smooth-or-featured_smooth"
BAR = "bar_yes"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """An index of galaxies made up, three shards."""
    return make_index(tmp_path_factory.mktemp("index"))


@pytest.fixture(scope="module")
def table(made: Made) -> Table:
    """Its table."""
    return Table(made.folder / "galaxies.parquet", TREE)


def ids(found: object) -> list[str]:
    """Return the ids of what was found."""
    return [item[ID] for item in found.items]


def test_a_choice_holds_what_a_loop_over_galaxies_would(made: Made, table: Table) -> None:
    """Several ranges at once, counted, sorted by a measure, page after page."""
    smooth, bar = (made.mean[:, TREE.column(name)].astype(np.float32) for name in (SMOOTH, BAR))
    low, high = float(np.quantile(smooth, 0.3)), float(np.quantile(smooth, 0.9))
    choice = choice_of([f"{SMOOTH}:{low!r}:{high!r}", f"{BAR}:0:{float(np.median(bar))!r}"], sort=SCORE)
    wanted = np.flatnonzero((smooth >= low) & (smooth <= high) & (bar <= np.median(bar)))
    wanted = wanted[np.argsort(-made.scores[wanted], kind="stable")]
    assert 5 < len(wanted) < N - 5
    pages = [table.page(choice, first=first, limit=5) for first in range(0, len(wanted), 5)]
    assert {(page.n, page.of) for page in pages} == {(len(wanted), N)}
    assert [name for page in pages for name in ids(page)] == [made.ids[row] for row in wanted]
    item = pages[0].items[0]
    assert item[mean_of(SMOOTH)] == pytest.approx(smooth[wanted[0]])
    assert item[PLACE] == wanted[0]
    assert ids(table.page(Choice(sort=SMOOTH, descending=False), limit=3)) == [
        made.ids[i] for i in smooth.argsort()[:3]
    ]


def test_measures_say_what_they_promise(made: Made, table: Table) -> None:
    """Votes are those of the tallies, a labelled galaxy is no news, and doubt is between none and all."""
    found = {item[ID]: item for item in table.page(Choice(), limit=100).items}
    assert len(found) == N
    assert {name for name, item in found.items() if item[VOTES]} == {made.ids[i] for i in made.voted}
    assert all(0 <= item[CONFIDENCE] <= 1 for item in found.values())
    novelty = np.array([found[name][NOVELTY] for name in made.ids])
    near = np.linalg.norm(made.embeddings[:, None] - made.embeddings[None, list(made.labelled)], axis=2).min(axis=1)
    assert np.allclose(novelty, near, rtol=0.02, atol=0.02)
    assert (novelty[list(made.labelled)] == 0).all()


def test_galaxies_are_found_by_id_place_and_position(made: Made, table: Table) -> None:
    """Also across ra 0; separations are angles on the sphere."""
    assert table.place_of([made.ids[7], made.ids[2]]) == [7, 2]
    assert [item[ID] for item in table.at([9, 1])] == [made.ids[9], made.ids[1]]
    with pytest.raises(NotFound, match="no galaxy 'nobody'"):
        table.place_of([made.ids[0], "nobody"])
    first = made.galaxies[0]
    assert first.ra_deg == 0.0
    near = table.near(359.99, first.dec_deg, radius_deg=0.5, n=3)
    assert near[0][ID] == first.galaxy_id
    assert near[0]["separation_deg"] == pytest.approx(0.01 * np.cos(np.deg2rad(first.dec_deg)), rel=1e-3)
    assert table.near(0.0, 89.0, radius_deg=0.1, n=3) == []
    assert made.galaxies[-1].ra_deg is None, "one without a position is found by no position"


@pytest.mark.parametrize("position", [(361.0, 0.0), (-1.0, 0.0), (0.0, 91.0), (float("nan"), 0.0)])
def test_a_position_off_the_sky_is_refused(table: Table, position: tuple[float, float]) -> None:
    """With the bounds."""
    with pytest.raises(BadInput, match="not on the sky"):
        table.near(*position, radius_deg=0.1, n=1)


@pytest.mark.parametrize(
    ("where", "sort", "says"),
    [
        (["x'; DROP VIEW galaxies; --:0:1"], SCORE, "nothing called"),
        ([f'{SMOOTH}" OR 1=1 --:0:1'], SCORE, "nothing called"),
        ([], "1; SELECT 1", "nothing called"),
        ([f"{SMOOTH}:0.9:0.1"], SCORE, "is empty"),
        ([f"{SMOOTH}:nan:1"], SCORE, "from a number to a number"),
        ([f"{SMOOTH}:0:1; DROP"], SCORE, "no condition"),
        ([SMOOTH], SCORE, "no condition"),
        ([f"{SMOOTH}:0:1"] * (MAX_CONDITIONS + 1), SCORE, "more than 20"),
        (["x"] * 1000, SCORE, "1000 conditions are more than 20"),
    ],
)
def test_what_is_no_choice_is_refused_by_name(table: Table, where: list[str], sort: str, says: str) -> None:
    """Names are looked up, numbers are parameters, and there are at most so many."""
    with pytest.raises(BadInput, match=says):
        table.page(choice_of(where, sort=sort))
    assert table.count(Choice()) == N


def test_a_condition_survives_being_written() -> None:
    """A name with a colon as well."""
    condition = Condition(name="odd: name", low=0.25, high=1.0)
    assert Condition.of(condition.text) == condition


@pytest.mark.parametrize(("first", "limit"), [(-1, 5), (0, 0), (0, 101), (100_001, 5)])
def test_pages_are_bounded(table: Table, first: int, limit: int) -> None:
    """Far and long pages are what downloads are for."""
    with pytest.raises(BadInput, match="a page begins"):
        table.page(Choice(), first=first, limit=limit)


def test_downloads_hold_all_rows_in_order(made: Made, table: Table) -> None:
    """Some at a time, every column of the dictionary."""
    parts = list(table.rows(Choice(sort=NOVELTY, descending=True), group=7))
    assert [len(part[ID]) for part in parts] == [7] * (N // 7) + ([N % 7] if N % 7 else [])
    assert [list(part) for part in parts] == [[c.name for c in explore_columns(TREE)]] * len(parts)
    novelty = np.concatenate([part[NOVELTY] for part in parts])
    assert (np.diff(novelty) <= 0).all()
    assert {name for part in parts for name in part[ID]} == set(made.ids)


def test_a_question_that_takes_too_long_is_given_up(made: Made) -> None:
    """And the table answers the next one."""
    slow = Table(made.folder / "galaxies.parquet", TREE, timeout_s=0.2)
    endless = "SELECT sum(sqrt(a.i * b.i)) FROM range(10000000) a(i), range(10000000) b(i)"
    with pytest.raises(AnswerTooSlow, match=r"within 0\.2 s"):
        slow.ask(endless, {})
    assert slow.count(Choice()) == N


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_parquet('https://example.org/x.parquet')",
        "COPY galaxies TO '/tmp/copied.csv'",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "ATTACH 'other.db'",
    ],
)
def test_the_connection_opens_nothing_else(table: Table, query: str) -> None:
    """Even if a query were another's: no file, no host, no extension, and no way back."""
    import duckdb

    with pytest.raises(duckdb.Error):
        table.ask(query, {})


def test_a_path_with_a_quote_is_a_path(tmp_path: Path, made: Made) -> None:
    """Folders are named by people."""
    odd = tmp_path / "it's"
    odd.mkdir()
    (odd / "galaxies.parquet").write_bytes((made.folder / "galaxies.parquet").read_bytes())
    assert Table(odd / "galaxies.parquet", TREE).n == N
