"""Exploring a campaign: built from its champion's predictions, by choice, by likeness, and said when it is old."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from alservice.app import App
from alservice.campaigns.store import CampaignRow
from alservice.errors import BadConfig, BadImage, BadInput, NoIndex, NotFound
from alservice.explore import Choice, Condition, Likeness, service
from alservice.explore.columns import NOVELTY, VOTES, explore_columns
from alservice.release.columns import ID
from alservice.storage.images import decode, encode_png
from alservice.storage.postgres import make_engine
from flows import unattended
from tests.support.dashboards import EXPLORED, GALAXIES, Hands, explored, moving_factory, promote
from tests.support.postgres import scratch_database
from tests.support.worlds import TREE, make_campaign


@pytest.fixture(scope="module")
def world(
    postgres_url: str, postgres_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[App, Hands, CampaignRow]]:
    """A campaign of sixty galaxies, its champion's predictions, and their index."""
    for url in scratch_database(postgres_url, postgres_template):
        engine = make_engine(url)
        app, hands = moving_factory(engine, tmp_path_factory.mktemp("explore"))
        yield app, hands, explored(app, hands)
        engine.dispose()


@pytest.fixture(scope="module")
def app(world: tuple[App, Hands, CampaignRow]) -> App:
    """Its application."""
    return world[0]


def test_the_index_is_what_the_champion_predicted(app: App, world: tuple[App, Hands, CampaignRow]) -> None:
    """Every galaxy once, with what is stored of it."""
    opened, found = app.explore.choose(EXPLORED, Choice(), limit=100)
    champion = app.models.champion(world[2].id)
    assert champion is not None
    assert (opened.index.model_id, opened.is_current) == (champion.id, True)
    assert (found.n, found.of, len(found.items)) == (GALAXIES, GALAXIES, GALAXIES)
    shards = app.models.posterior_shards(champion.id, opened.index.catalogue_id, "catalogue")
    stored = list(app.prediction.predictions(world[2].settings, shards))
    scores = {name: score for each in stored for name, score in zip(each.galaxy_ids, each.scores, strict=True)}
    assert {item[ID]: item["score_nats"] for item in found.items} == pytest.approx(scores)
    assert [item["score_nats"] for item in found.items] == sorted(scores.values(), reverse=True)
    assert sum(item[NOVELTY] == 0 for item in found.items) > 3, "those that were labelled"


def test_likeness_by_galaxy_examples_position_and_image_agree(app: App) -> None:
    """Of one galaxy, all three ways lead to the same neighbours; exact search is the reference."""
    galaxy = app.explore.choose(EXPLORED, Choice(), limit=1)[1].items[0]
    by_id = app.explore.similar(EXPLORED, Likeness(galaxy_ids=(galaxy[ID],)), n=8)
    assert by_id.is_current
    assert [item[ID] for item in by_id.examples] == [galaxy[ID]]
    assert galaxy[ID] not in {item[ID] for item in by_id.items}
    distances = [item["distance"] for item in by_id.items]
    assert distances == sorted(distances)
    exact = app.explore.similar(EXPLORED, Likeness(galaxy_ids=(galaxy[ID],)), n=8, exact=True)
    assert exact.items == by_id.items
    position = (galaxy["ra_deg"], galaxy["dec_deg"])
    at = app.explore.similar(EXPLORED, Likeness(position=position), n=8)
    assert at.items == by_id.items
    data, _ = app.ops.image_of(by_id.index.catalogue_id, galaxy[ID])
    seen = app.explore.similar(EXPLORED, Likeness(image=data), n=9)
    assert seen.items[0][ID] == galaxy[ID]
    assert seen.items[0]["distance"] < 0.05 * distances[-1]
    assert [item[ID] for item in seen.items[1:]] == [item[ID] for item in by_id.items]
    others = tuple(item[ID] for item in by_id.items[:3])
    several = app.explore.similar(EXPLORED, Likeness(galaxy_ids=others), n=5)
    assert not {item[ID] for item in several.items} & set(others)


def test_an_image_of_another_size_is_seen_as_the_catalogue_s_are(app: App) -> None:
    """Twice as large, its neighbours are nearly those that it had."""
    galaxy = app.explore.choose(EXPLORED, Choice(), limit=1)[1].items[0]
    index = app.explore.opened(EXPLORED).index
    data, _ = app.ops.image_of(index.catalogue_id, galaxy[ID])
    larger = encode_png(decode(data, size_px=320, channels=3))
    assert app.explore.similar(EXPLORED, Likeness(image=larger), n=3).items[0][ID] == galaxy[ID]


def test_an_index_is_due_where_there_is_none_where_others_are_newer_and_after_a_week(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which the deployment asks each morning: it builds then, says why, and leaves an index that is as it should be."""
    explore = app.explore
    built = explore.opened(EXPLORED).index
    at = built.built_at
    assert replace(explore, clock=lambda: at + timedelta(days=6)).due(EXPLORED) is None
    assert replace(explore, clock=lambda: at + timedelta(days=7)).due(EXPLORED) == "its votes were a week old"
    assert replace(explore, folder=tmp_path).due(EXPLORED) == "there was none"
    newer = SimpleNamespace(champion=lambda _: SimpleNamespace(id=built.model_id + 1))
    assert replace(explore, models=cast("Any", newer)).due(EXPLORED) == "champion or catalogue are newer"
    untrained = SimpleNamespace(champion=lambda _: None)
    assert replace(explore, models=cast("Any", untrained)).due(EXPLORED) is None
    with pytest.raises(NotFound):
        explore.due("nobody")
    made: list[str] = []
    opened = SimpleNamespace(explore=SimpleNamespace(due=lambda _: None, build=made.append))
    monkeypatch.setattr(unattended, "open_app", lambda: nullcontext(opened))
    assert "as it should be" in unattended.build_where_due.fn(EXPLORED)
    opened.explore = SimpleNamespace(due=lambda _: "there was none", build=lambda name: made.append(name) or built)
    assert unattended.build_where_due.fn(EXPLORED).endswith("there was none")
    assert made == [EXPLORED]


def png(width: int, height: int) -> bytes:
    """Return a PNG of one colour, of one bit a pixel: it is made while tests are collected."""
    buffer = io.BytesIO()
    Image.new("1", (width, height)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"a text is no image", "not an image"),
        (png(10_000, 10_000), "too many pixels"),
        (png(40, 40)[:-30], "broken"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 2_000_000, "too many bytes"),
        (b"", "not an image"),
    ],
)
def test_an_image_that_is_none_is_refused_before_it_is_decoded(app: App, data: bytes, says: str) -> None:
    """Text, a hundred megapixels, a part of one, too many bytes, and nothing."""
    with pytest.raises(BadImage, match=says):
        app.explore.similar(EXPLORED, Likeness(image=data))


def test_questions_that_are_none_are_refused(app: App) -> None:
    """By what is wrong."""
    explore = app.explore
    with pytest.raises(NotFound, match="no galaxy 'nobody'"):
        explore.similar(EXPLORED, Likeness(galaxy_ids=("nobody",)))
    with pytest.raises(NotFound, match="no galaxy of the index lies within 1 arcsec"):
        explore.similar(EXPLORED, Likeness(position=(0.0, 89.9), radius_arcsec=1.0))
    with pytest.raises(BadInput, match="not on the sky"):
        Likeness(position=(10.0, 90.5))
    with pytest.raises(BadInput, match="by one of them"):
        Likeness()
    with pytest.raises(BadInput, match="by one of them"):
        Likeness(galaxy_ids=("a",), image=b"x")
    with pytest.raises(BadInput, match="51 examples"):
        Likeness(galaxy_ids=("a",) * 51)
    some = explore.choose(EXPLORED, Choice(), limit=1)[1].items[0][ID]
    for n in (0, -3, 1001):
        with pytest.raises(BadInput, match="1 to 1000 neighbours"):
            explore.similar(EXPLORED, Likeness(galaxy_ids=(some,)), n=n)
    with pytest.raises(NotFound, match="none"):
        explore.opened("none")


def test_neighbours_on_the_sky_and_in_the_embedding(app: App) -> None:
    """Of one galaxy, itself left out of both."""
    galaxy = app.explore.choose(EXPLORED, Choice(), limit=1)[1].items[0][ID]
    around = app.explore.around(EXPLORED, galaxy, n=4)
    assert len(around.similar) == 4
    assert galaxy not in {item[ID] for item in (*around.sky, *around.similar)}
    separations = [item["separation_deg"] for item in around.sky]
    assert separations == sorted(separations)


@pytest.mark.parametrize("file_format", ["csv", "parquet", "fits"])
def test_downloads_hold_the_choice_and_where_it_comes_from(app: App, tmp_path: Path, file_format: str) -> None:
    """All columns, in order, in every format."""
    choice = Choice(conditions=(Condition(name=VOTES, low=0, high=0),), sort=NOVELTY)
    wanted = app.explore.choose(EXPLORED, choice, limit=100)[1]
    path = app.explore.download(EXPLORED, choice, file_format, tmp_path)
    names = [column.name for column in explore_columns(TREE)]
    if file_format == "parquet":
        table = pq.read_table(path)
        assert table.column_names == names
        assert table[ID].to_pylist() == [item[ID] for item in wanted.items]
        assert b'"n_votes:0:0"' in table.schema.metadata[b"alservice"]
    elif file_format == "csv":
        lines = path.read_text().splitlines()
        assert len(lines) == wanted.n + 1
        assert lines[0].replace('"', "").split(",") == names
    else:
        from astropy.table import Table as FitsTable

        table = FitsTable.read(path)
        assert table.colnames == names
        assert list(table[ID]) == [item[ID] for item in wanted.items]
        assert table["ra_deg"].unit == "deg"


def test_what_is_too_long_for_a_download_is_said(app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do."""
    monkeypatch.setattr(service, "MAX_DOWNLOAD", 10)
    with pytest.raises(BadInput, match=r"60 galaxies are more than a download's 10.*release"):
        app.explore.download(EXPLORED, Choice(), "csv", tmp_path)


def test_thumbnails_are_small(app: App) -> None:
    """A page of them is far below half a megabyte."""
    index = app.explore.opened(EXPLORED).index
    (galaxy,) = app.explore.choose(EXPLORED, Choice(), limit=1)[1].items
    data = app.explore.thumbnail(index.catalogue_id, galaxy[ID])
    assert decode(data, size_px=128, channels=3).shape == (3, 128, 128)
    assert len(data) < 8_000


def test_an_installation_without_the_extra_says_what_to_install(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kind: a stack trace of imports."""
    import sys

    monkeypatch.setitem(sys.modules, "duckdb", None)
    app.explore._open.clear()
    with pytest.raises(BadConfig, match=r"pip install 'alservice\[explore\]'"):
        app.explore.opened(EXPLORED)


def test_an_index_of_another_question_tree_is_none(app: App) -> None:
    """Its columns are other answers."""
    opened = app.explore.opened(EXPLORED)
    path = opened.folder / "about.json"
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole.replace(opened.index.tree, "0" * 64), encoding="utf-8")
    with pytest.raises(NoIndex, match="another question tree"):
        app.explore.opened(EXPLORED)
    path.write_text(whole, encoding="utf-8")


def test_an_index_older_than_the_model_answers_and_says_so(world: tuple[App, Hands, CampaignRow]) -> None:
    """Until it is built again; images are seen by the index's own model all the while."""
    app, hands, campaign = world
    before = app.explore.opened(EXPLORED)
    galaxy = app.explore.choose(EXPLORED, Choice(), limit=1)[1].items[0]
    data, _ = app.ops.image_of(before.index.catalogue_id, galaxy[ID])
    ids = [g.galaxy_id for g in app.catalogues.galaxies(before.index.catalogue_id)]
    model = promote(app, hands, campaign, ids[12:30], number=1)
    assert model.id != before.index.model_id
    assert not app.explore.opened(EXPLORED).is_current
    seen = app.explore.similar(EXPLORED, Likeness(image=data), n=2)
    assert (seen.is_current, seen.items[0][ID]) == (False, galaxy[ID])
    built = app.explore.build(EXPLORED)
    assert built.model_id == model.id
    after = app.explore.opened(EXPLORED)
    assert (after.index, after.is_current) == (built, True)
    assert not np.array_equal(after.neighbours.vectors, before.neighbours.vectors)
    assert app.explore.similar(EXPLORED, Likeness(image=data), n=2).items[0][ID] == galaxy[ID]


def test_a_campaign_without_index_or_model_says_what_is_missing(app: App) -> None:
    """No build yet, and nothing to build from."""
    app.campaigns.save(make_campaign(name="gz-empty"))
    with pytest.raises(NoIndex, match="no index yet"):
        app.explore.opened("gz-empty")
    with pytest.raises(NotFound, match="no catalogue yet"):
        app.explore.build("gz-empty")
