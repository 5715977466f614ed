"""The map by API and pages: tiles, galaxies at a place and in a lasso, downloads, and what is refused."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest
from PIL import Image

from alservice.app import App
from alservice.explore.columns import MAP_X, MAP_Y
from alservice.explore.index import TABLE
from alservice.explore.latent_map import LatentMap
from alservice.explore.map_service import MapService, OpenedMap
from alservice.explore.table import Table
from alservice.science.plane import MAX_VERTICES
from tests.support.dashboards import EXPLORED, GALAXIES
from tests.support.worlds import TREE
from tests.web.test_explore import API, PAGES, SMOOTH, client, factory

__all__ = ["client", "factory"]

WHOLE = "0,0;1,0;1,1;0,1"


def test_tiles_are_the_same_by_program_and_page_and_kept(client: httpx.Client) -> None:
    """A small picture that is asked for once: by its tag, or for a day where the address names the version."""
    about = client.get(f"{API}/map").json()
    assert (about["index"]["galaxies"], about["cells"]) == (GALAXIES, 256)
    assert {"number", "novelty", SMOOTH} <= set(about["colours"])
    asked = {"colour": SMOOTH, "where": f"{SMOOTH}:0:1"}
    by_program, by_page = (client.get(f"{base}/map/tiles/0/0/0", params=asked) for base in (API, PAGES))
    assert by_program.content == by_page.content
    assert by_program.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(by_page.content)).size == (64, 64)
    assert by_page.headers["cache-control"] == "private, no-cache"
    tag = {"If-None-Match": by_page.headers["etag"]}
    again = client.get(f"{PAGES}/map/tiles/0/0/0", params=asked, headers=tag)
    assert (again.status_code, again.content) == (304, b"")
    for other in ({"colour": "number"}, {"colour": SMOOTH}):
        assert client.get(f"{PAGES}/map/tiles/0/0/0", params=other, headers=tag).status_code == 200
    dated = client.get(f"{PAGES}/map/tiles/0/0/0", params={**asked, "v": about["version"]})
    assert "immutable" in dated.headers["cache-control"]
    assert "no-cache" in client.get(f"{PAGES}/map/tiles/0/0/0?v=older").headers["cache-control"]


def test_galaxies_at_a_place_and_in_a_lasso(client: httpx.Client) -> None:
    """Nearest first; all of them within the whole square; a choice holds fewer."""
    near = client.get(f"{API}/map/near", params={"x": 0.5, "y": 0.5, "n": 1000}).json()
    assert len(near["items"]) == GALAXIES
    far = [item["map_distance"] for item in near["items"]]
    assert far == sorted(far)
    assert client.get(f"{API}/map/within", params={"polygon": WHOLE}).json()["n"] == GALAXIES
    none = client.get(f"{API}/map/within", params={"polygon": WHOLE, "where": f"{SMOOTH}:0:0"}).json()
    assert (none["n"], none["items"]) == (0, [])


@pytest.mark.parametrize(
    ("asked", "n"), [({"x": 0.5, "y": 0.5, "n": 7}, 7), ({"polygon": WHOLE}, GALAXIES)], ids=["nearest", "lasso"]
)
def test_what_is_found_downloads(client: httpx.Client, asked: dict[str, object], n: int) -> None:
    """With all columns, places on the map among them; by program and by browser the same bytes."""
    by_program, by_page = (client.get(f"{base}/map/download", params=asked) for base in (API, PAGES))
    assert by_program.content == by_page.content
    assert by_page.headers["content-disposition"] == f'attachment; filename="{EXPLORED}-map.csv"'
    rows = list(csv.DictReader(io.StringIO(by_page.text)))
    assert len(rows) == n
    assert all(0 <= float(row[axis]) < 1 for row in rows for axis in (MAP_X, MAP_Y))
    table = client.get(f"{API}/map/download", params={**asked, "form": "parquet"})
    assert pq.read_table(io.BytesIO(table.content)).num_rows == n


@pytest.mark.parametrize(
    "path",
    [
        "tiles/0/1/0",
        "tiles/13/0/0",
        "tiles/-1/0/0",
        "tiles/3/0/8",
        "tiles/1/99999999999999999999999/0",
        "tiles/0/0/0?colour=drop%20table",
        "tiles/0/0/0?where=nothing:0:1",
        "tiles/a/0/0",
        "near?x=2&y=0",
        "near?x=nan&y=0",
        "near?x=0.5",
        "near?x=0.5&y=0.5&n=1001",
        "within",
        "within?polygon=",
        "within?polygon=0,0;1,1",
        "within?polygon=" + ";".join(["0.5,0.5"] * 1000),
        "within?polygon=0,0;1,1;2,2",
        "within?polygon=a;b;c",
        "within?polygon=" + "9" * 61_440,
        "download",
        "download?x=0.5",
        "download?x=0.5&y=0.5&polygon=" + WHOLE,
        "download?x=0.5&y=0.5&form=exe",
        "galaxies?polygon=0,0;1,1",
    ],
)
def test_what_is_asked_wrongly_is_told(client: httpx.Client, path: str) -> None:
    """With a code and what is wrong, and never as a fault of the service."""
    if not path.startswith("galaxies"):
        answer = client.get(f"{API}/map/{path}")
        assert (answer.status_code, answer.json()["code"]) == (422, "bad-input"), answer.text
    assert client.get(f"{PAGES}/map/{path}").status_code in {404, 422}


def test_a_lasso_of_many_corners_is_answered(client: httpx.Client) -> None:
    """As many as are allowed, written long."""
    corners = ";".join(f"{(at * 37 % 200) / 200:.17f},{(at * 61 % 200) / 200:.17f}" for at in range(MAX_VERTICES))
    assert client.get(f"{API}/map/within", params={"polygon": corners}).status_code == 200


def test_the_page_holds_colour_choice_and_place(client: httpx.Client) -> None:
    """The whole map is a picture before any script has run; galaxies are listed where the address says so."""
    bare = client.get(f"{PAGES}/map")
    assert bare.status_code == 200
    assert 'id="map-galaxies"></div>' in bare.text
    asked = {"colour": "novelty", "where": f"{SMOOTH}:0:1", "x": 0.4, "y": 0.6, "z": 1.5}
    page = client.get(f"{PAGES}/map", params=asked)
    assert '<option value="novelty" selected>' in page.text
    assert f'<input type="hidden" name="where" value="{SMOOTH}:0:1">' in page.text
    assert 'data-x="0.4" data-y="0.6" data-z="1.5"' in page.text
    assert len(re.findall(r'alt="Galaxy ', page.text)) == 24
    part = client.get(f"{PAGES}/map/galaxies", params={"x": 0.4, "y": 0.6, "where": f"{SMOOTH}:0:1"})
    assert part.text.strip() in page.text
    lasso = client.get(f"{PAGES}/map/galaxies", params={"polygon": WHOLE})
    assert f"{GALAXIES} galaxies in the lasso" in lasso.text
    assert client.get(f"{PAGES}/map", params={"where": "nothing:0:1"}).status_code == 422
    assert client.get(f"{PAGES}/map", params={"x": 3, "y": 0}).status_code == 422


def test_the_page_is_light(client: httpx.Client) -> None:
    """Page, sheets, scripts, the whole map and all pictures of the list are below half a megabyte."""
    page = client.get(f"{PAGES}/map", params={"x": 0.5, "y": 0.5})
    parts = re.findall(r'<(?:img|script)[^>]* src="([^"]+)"|<link[^>]* href="([^"]+)"', page.text)
    answers = [client.get((source or sheet).replace("&amp;", "&")) for source, sheet in parts]
    assert len(answers) == 24 + 1 + 2 + 3
    assert {answer.status_code for answer in answers} == {200}
    assert len(page.content) + sum(len(answer.content) for answer in answers) < 500_000


def test_an_index_without_a_map_is_told(
    factory: App, client: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a typed error by API, as a page that says what to run."""
    opened = factory.explore.opened(EXPLORED)
    pq.write_table(pq.read_table(opened.folder / TABLE).drop_columns([MAP_X, MAP_Y]), tmp_path / TABLE)

    def older(_maps: MapService, _name: str) -> OpenedMap:
        return OpenedMap(opened=opened, map=LatentMap(Table(tmp_path / TABLE, TREE), has_embeddings=True))

    monkeypatch.setattr(MapService, "opened", older)
    for path in ("map", "map/tiles/0/0/0", "map/near?x=0.5&y=0.5", f"map/within?polygon={WHOLE}"):
        answer = client.get(f"{API}/{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "no-map")
    page = client.get(f"{PAGES}/map")
    assert page.status_code == 404
    assert "alservice explore build --campaign" in page.text
    assert client.get("/campaigns/gz-bare/map").status_code == 404
