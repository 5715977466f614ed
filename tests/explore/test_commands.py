"""The commands of the page on exploring, as printed there."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import alservice
from alservice.app import App
from alservice.campaigns.store import CampaignRow
from alservice.cli import app as command_line
from alservice.cli import explore as commands
from alservice.cli import selections as keeping
from alservice.errors import BadInput
from alservice.explore import Choice
from alservice.explore.ratings import read_ratings
from alservice.release.columns import ID
from tests.explore.test_service import world
from tests.support.dashboards import EXPLORED, GALAXIES, Hands, promote
from tests.support.printed import block_commands
from tests.support.shared import ROOT

__all__ = ["world"]

PRINTED = (
    "alservice explore build --campaign gz2",
    "alservice explore similar --campaign gz2 --galaxy 587722981736120347",
    "alservice explore similar --campaign gz2 --position 185.73 15.82 --n 50 --json",
    "alservice explore similar --campaign gz2 --image galaxy.jpg",
)
SELECTIONS = (
    "alservice selection save barred --campaign gz2 --where bar_yes:0.6:1 --where disk-edge-on_no:0.5:1 --sort novelty",
    "alservice selection save by-hand --campaign gz2 --galaxies ids.txt",
    "alservice selection list --campaign gz2",
    "alservice selection show barred --campaign gz2",
    "alservice selection send barred --campaign gz2 --reason 'bars that no model has seen'",
    "alservice selection withdraw barred --campaign gz2 --reason 'artefacts after all'",
    "alservice selection delete barred --campaign gz2",
)


@pytest.fixture
def run(world: tuple[App, Hands, CampaignRow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """A printed command on the campaign that is there, with a galaxy, a position and an image of it."""
    factory = world[0]
    (galaxy,) = factory.explore.choose(EXPLORED, Choice(), limit=1)[1].items
    data, _ = factory.ops.image_of(factory.explore.opened(EXPLORED).index.catalogue_id, galaxy[ID])
    (tmp_path / "galaxy.jpg").write_bytes(data)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ids.txt").write_text(f"{galaxy[ID]}\n\n", encoding="utf-8")
    place = {
        "bar_yes:0.6:1": "bar_yes:0:1",
        "disk-edge-on_no:0.5:1": "disk-edge-on_no:0:1",
        "185.73": str(galaxy["ra_deg"]),
        "15.82": str(galaxy["dec_deg"]),
    }
    values = {"gz2": EXPLORED, "587722981736120347": galaxy[ID], **place}

    @contextmanager
    def opened() -> Iterator[App]:
        yield factory

    monkeypatch.setattr(commands, "opened", opened)
    monkeypatch.setattr(keeping, "opened", opened)

    def command(printed: str) -> Result:
        return CliRunner().invoke(command_line, [values.get(word, word) for word in shlex.split(printed)[1:]])

    return command


def test_the_page_s_commands_do_what_it_says(run) -> None:
    """In order; the three ways to ask for one galaxy find the same ones."""
    page = (ROOT / "deploy" / "docs" / "explore.md").read_text(encoding="utf-8")
    assert tuple(block_commands(page)) == PRINTED + SELECTIONS
    built, by_id, by_position, by_image = (run(printed) for printed in PRINTED)
    for done in (built, by_id, by_position, by_image):
        assert done.exit_code == 0, done.output
    assert "60 galaxies as model" in built.output
    items = [json.loads(line) for line in by_position.output.splitlines()]
    assert len(items) == 50
    table = [first_cell(line) for line in by_id.output.splitlines()]
    assert table[2:] == [item[ID] for item in items[:20]]
    assert [first_cell(line) for line in by_image.output.splitlines()][3:] == table[2:-1]


def test_a_find_goes_to_volunteers_as_the_page_says(run, world: tuple[App, Hands, CampaignRow]) -> None:
    """Kept, shown, asked for within the budget, taken back and forgotten: by the page's commands, in order."""
    saved, by_hand, listed, shown, sent, withdrawn, deleted = (run(printed) for printed in SELECTIONS)
    for done in (saved, by_hand, listed, shown, sent, withdrawn, deleted):
        assert done.exit_code == 0, done.output
    assert saved.output == "selection 'barred' has 60 galaxies\n"
    assert by_hand.output == "selection 'by-hand' has 1 galaxies\n"
    assert re.search(r"^barred +60 +choice +alservice selection", listed.output, re.MULTILINE)
    assert len(shown.output.splitlines()) == 60
    (n, of, votes) = map(int, re.search(r"(\d+) of (\d+) galaxies wait .* they take (\d+) votes", sent.output).groups())
    assert (n, of, votes) == (4, 60, 12)
    assert withdrawn.output == f"{n} requests were taken back\n"
    assert [each.name for each in world[0].selections.list(EXPLORED)] == ["by-hand"]
    assert "give either --where or --galaxies" in run("alservice selection save x --campaign gz2").output


def first_cell(line: str) -> str:
    """Return the first cell of a line of a table."""
    return line.partition("  ")[0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--galaxy nobody", "[not-found] the index has no galaxy 'nobody'"),
        ("--position 400 0", "not on the sky"),
        ("--position 0 89.9", "no galaxy of the index lies within"),
        ("", "by one of them"),
        ("--galaxy a --image galaxy.jpg", "by one of them"),
        ("--image none.jpg", "No such file"),
    ],
)
def test_bad_questions_are_one_line(run, arguments: str, says: str) -> None:
    """With what is wrong, and no stack trace."""
    done = run(f"alservice explore similar --campaign gz2 {arguments}")
    assert done.exit_code == 1
    assert says in done.output
    assert "Traceback" not in done.output


def test_an_old_index_is_said(run, world: tuple[App, Hands, CampaignRow]) -> None:
    """On standard error, beside the answer."""
    factory, hands, campaign = world
    catalogue = factory.catalogues.newest(campaign.id)
    ids = [galaxy.galaxy_id for galaxy in factory.catalogues.galaxies(catalogue.id)]
    promote(factory, hands, campaign, ids[20:40], number=7)
    done = run(PRINTED[1])
    assert done.exit_code == 0
    assert "older than champion or catalogue" in done.stderr
    assert "older" not in done.stdout


def test_the_page_s_example_runs(
    world: tuple[App, Hands, CampaignRow], monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """As it stands, on the campaign that is there; enough galaxies are barred to a model that learned nothing."""
    page = (ROOT / "deploy" / "docs" / "explore.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)

    @contextmanager
    def opened() -> Iterator[App]:
        yield world[0]

    monkeypatch.setattr(alservice, "open_app", opened, raising=False)
    names: dict[str, object] = {}
    exec(example.replace('"gz2"', repr(EXPLORED)).replace("low=0.6", "low=0.0"), names)
    assert capsys.readouterr().out == "60 of 60\n"
    assert len(names["like"].items) == 50


SEARCHES = (
    "alservice explore anomalies --campaign gz2 --search odd",
    "alservice explore anomalies --campaign gz2 --search odd --rate ratings.csv",
    "alservice explore anomalies --campaign gz2 --search odd --top 200 --json",
    "alservice explore anomalies --campaign gz2 --search replay --simulate truth.csv --until 200",
)


@pytest.fixture
def rated(world: tuple[App, Hands, CampaignRow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """A printed command on the campaign that is there, beside files of ratings."""
    factory = world[0]
    ids = [item["galaxy_id"] for item in factory.explore.choose(EXPLORED, Choice(), limit=100)[1].items]
    rows = [f'"{galaxy_id}",{place % 6}\n' for place, galaxy_id in enumerate(ids)]
    (tmp_path / "truth.csv").write_text("galaxy_id,rating\n" + "".join(rows), encoding="utf-8")
    (tmp_path / "ratings.csv").write_text("rating,galaxy_id\n4.5," + rows[7].rpartition(",")[0], encoding="utf-8-sig")
    monkeypatch.chdir(tmp_path)

    @contextmanager
    def opened() -> Iterator[App]:
        yield factory

    monkeypatch.setattr(commands, "opened", opened)

    def command(printed: str) -> Result:
        words = [EXPLORED if word == "gz2" else word for word in shlex.split(printed)[1:]]
        return CliRunner().invoke(command_line, words)

    return command


def test_searches_do_what_their_page_says(rated) -> None:
    """Ten to rate, one rated, the best of all, and a search by what is known."""
    page = (ROOT / "deploy" / "docs" / "anomalies.md").read_text(encoding="utf-8")
    assert tuple(block_commands(page)) == SEARCHES
    proposed, given, top, replayed = (rated(printed) for printed in SEARCHES)
    for done in (proposed, given, top, replayed):
        assert done.exit_code == 0, done.output
    assert len(proposed.stdout.splitlines()) == 12
    assert "1 galaxies are rated, 1 of them by command line" in given.stderr
    items = [json.loads(line) for line in top.stdout.splitlines()]
    assert len(items) == GALAXIES
    assert [item["rating"] for item in items if item["rating"] is not None] == [4.5]
    assert f"{GALAXIES} galaxies are rated" in replayed.stderr


def test_bad_files_are_one_line(rated, tmp_path: Path) -> None:
    """With the row or the galaxy, and no stack trace; another person's search is not rated in."""
    (tmp_path / "bad.csv").write_text("galaxy_id,rating\ng1,=1+1\n", encoding="utf-8")
    done = rated("alservice explore anomalies --campaign gz2 --search odd --rate bad.csv")
    assert (done.exit_code, "galaxy g1: a rating is a number" in done.output) == (1, True)
    assert "Traceback" not in done.output
    done = rated("alservice explore anomalies --campaign gz2 --search odd --rater eva")
    assert (done.exit_code, "command line's own" in done.output) == (1, True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("id,rating\na,1\n", "needs the columns"),
        ("galaxy_id,rating\n", "has no ratings"),
        ("", "has no ratings"),
        ("galaxy_id,rating\na\n", "galaxy a: a rating"),
        ('galaxy_id,rating\n"a,1\n', "row 2: is cut off"),
        ("galaxy_id,rating\n ,1\n", "row 2"),
    ],
)
def test_files_of_ratings_name_the_row(tmp_path: Path, text: str, says: str) -> None:
    """What is no table of ratings."""
    (tmp_path / "r.csv").write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=says):
        read_ratings(tmp_path / "r.csv")
