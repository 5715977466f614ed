"""Exploring by API and pages: choices, likeness, downloads, images that people bring, and what is refused."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator

import httpx
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine

from alservice.access import Scope
from alservice.app import App
from alservice.campaigns.store import CampaignRow
from alservice.explore import Choice
from alservice.storage.postgres import make_engine
from alservice.web.application import create_app
from tests.explore.test_service import png
from tests.support.dashboards import EXPLORED, GALAXIES, HOSTILE, Hands, explored, moving_factory
from tests.support.postgres import scratch_database
from tests.support.web_server import served
from tests.support.worlds import make_campaign
from tests.web.conftest import PATIENCE_S, log_in, secret_of

API = f"/api/v1/campaigns/{EXPLORED}"
PAGES = f"/campaigns/{EXPLORED}"
SMOOTH = "smooth-or-featured_smooth"


@pytest.fixture(scope="module")
def factory(postgres_url: str, postgres_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """A campaign with an index, and one without."""
    for url in scratch_database(postgres_url, postgres_template):
        engine: Engine = make_engine(url)
        made: tuple[App, Hands] = moving_factory(engine, tmp_path_factory.mktemp("web"))
        found: CampaignRow = explored(*made)
        assert found.settings.name == EXPLORED
        made[0].campaigns.save(make_campaign(name="gz-bare"))
        yield made[0]
        engine.dispose()


@pytest.fixture(scope="module")
def client(factory: App) -> Iterator[httpx.Client]:
    """A reader's client, logged in as well."""
    secret = secret_of(factory, Scope.READ, name="anna")
    headers = {"Authorization": f"Bearer {secret}"}
    with (
        served(create_app(factory, figures_life_s=0)) as url,
        httpx.Client(base_url=url, headers=headers, timeout=PATIENCE_S) as client,
    ):
        log_in(client, secret)
        yield client


@pytest.fixture(scope="module")
def operator(factory: App, client: httpx.Client) -> Iterator[httpx.Client]:
    """An operator's client, logged in as well."""
    secret = secret_of(factory, Scope.OPERATE, name="bob")
    headers = {"Authorization": f"Bearer {secret}"}
    with httpx.Client(base_url=client.base_url, headers=headers, timeout=PATIENCE_S) as operator:
        log_in(operator, secret)
        yield operator


def test_a_choice_is_counted_and_walked(factory: App, client: httpx.Client) -> None:
    """By pages, in order; what answers says which index it is."""
    scores = [item["score_nats"] for item in factory.explore.choose(EXPLORED, Choice(), limit=100)[1].items]
    asked = {"where": [f"{SMOOTH}:0:1", "confidence:0:1"], "sort": "score_nats", "limit": 25}
    items, first = [], 0
    while first is not None:
        page = client.get(f"{API}/explore", params={**asked, "first": first}).json()
        assert (page["n"], page["of"], page["index"]["is_current"]) == (GALAXIES, GALAXIES, True)
        items += page["items"]
        first = page["next"]
    assert [item["score_nats"] for item in items] == pytest.approx(scores)
    assert 0 < items[0][f"{SMOOTH}_model_mean"] < 1
    none = client.get(f"{API}/explore", params={"where": f"{SMOOTH}:0:0"}).json()
    assert (none["n"], none["items"], none["next"]) == (0, [], None)


@pytest.mark.parametrize("form", ["csv", "parquet", "fits"])
def test_a_choice_downloads(client: httpx.Client, form: str) -> None:
    """By program and by browser, the same bytes."""
    asked = {"where": f"{SMOOTH}:0:1", "form": form}
    by_program, by_page = (client.get(f"{base}/explore/download", params=asked) for base in (API, PAGES))
    assert by_program.content == by_page.content
    assert by_page.headers["content-disposition"] == f'attachment; filename="{EXPLORED}-choice.{form}"'
    if form == "csv":
        rows = list(csv.reader(io.StringIO(by_page.text)))
        assert len(rows) == GALAXIES + 1
        assert "'=HYPERLINK(1)" in {row[0] for row in rows}, "nothing that a spreadsheet would run"
    elif form == "parquet":
        assert pq.read_table(io.BytesIO(by_page.content)).num_rows == GALAXIES
    else:
        assert by_page.content.startswith(b"SIMPLE")


def test_likeness_by_galaxy_position_and_image(factory: App, client: httpx.Client) -> None:
    """All three of one galaxy name the same neighbours."""
    opened, found = factory.explore.choose(EXPLORED, Choice(), limit=1)
    (galaxy,) = found.items
    by_id = client.get(f"{API}/similar", params={"galaxy": galaxy["galaxy_id"], "n": 5}).json()
    by_place = client.get(
        f"{API}/similar", params={"ra": galaxy["ra_deg"], "dec": galaxy["dec_deg"], "n": 5, "exact": True}
    ).json()
    assert by_id["items"] == by_place["items"]
    assert by_place["examples"][0]["separation_deg"] == pytest.approx(0, abs=1e-6)
    assert len(by_id["items"]) == 5
    data, _ = factory.ops.image_of(opened.index.catalogue_id, galaxy["galaxy_id"])
    by_image = client.post(f"{API}/similar?n=6", content=data, headers={"content-type": "image/png"}).json()
    ids = [item["galaxy_id"] for item in by_image["items"]]
    assert ids == [galaxy["galaxy_id"], *(item["galaxy_id"] for item in by_id["items"])]
    assert by_image["examples"] == []


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/explore?where=nothing:0:1", 422, "bad-input"),
        ("/explore?where=" + SMOOTH, 422, "bad-input"),
        (f"/explore?where={SMOOTH}:1:0", 422, "bad-input"),
        ("/explore?" + "&".join(f"where={SMOOTH}:0:1" for _ in range(1000)), 422, "bad-input"),
        ("/explore?sort=drop%20table", 422, "bad-input"),
        ("/explore?limit=101", 422, "bad-input"),
        ("/explore?first=100001", 422, "bad-input"),
        ("/explore/download?form=exe", 422, "bad-input"),
        ("/similar", 422, "bad-input"),
        ("/similar?galaxy=nobody", 404, "not-found"),
        ("/similar?ra=400&dec=0", 422, "bad-input"),
        ("/similar?ra=nan&dec=0", 422, "bad-input"),
        ("/similar?ra=10", 422, "bad-input"),
        ("/similar?ra=0&dec=89.9", 404, "not-found"),
        ("/similar?galaxy=nobody&n=1001", 422, "bad-input"),
    ],
)
def test_what_is_asked_wrongly_is_told(client: httpx.Client, path: str, status: int, code: str) -> None:
    """With a code and what is wrong, and never as a fault of the service."""
    answer = client.get(API + path)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    page = client.get(PAGES + path)
    assert page.status_code < 500


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"a text is no image", 422, "bad-image"),
        (png(10_000, 10_000), 422, "bad-image"),
        (png(64, 32)[:-20], 422, "bad-image"),
        (b"x" * (1 << 21), 413, "too-large"),
        (b"", 422, "bad-input"),
    ],
)
def test_an_image_that_is_none_is_refused(client: httpx.Client, body: bytes, status: int, code: str) -> None:
    """By its bytes, before it takes memory."""
    answer = client.post(f"{API}/similar", content=body, headers={"content-type": "application/octet-stream"})
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def test_a_campaign_without_index_says_how_to_build_one(client: httpx.Client) -> None:
    """By program and on both pages."""
    for path in ("explore", "similar?galaxy=a"):
        answer = client.get(f"/api/v1/campaigns/gz-bare/{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "no-index")
        assert "explore build" in answer.json()["remedy"]
        page = client.get(f"/campaigns/gz-bare/{path}")
        assert page.status_code == 404
        assert "alservice explore build --campaign gz-bare" in page.text
    assert "no index yet" in client.get("/campaigns/gz-bare/similar").text


def test_nobody_explores_without_a_token(client: httpx.Client) -> None:
    """Programs are refused, people led to the login."""
    with httpx.Client(base_url=client.base_url, timeout=PATIENCE_S) as stranger:
        for path in ("/explore", "/explore/download", "/similar?galaxy=a"):
            assert stranger.get(API + path).status_code == 401
            assert stranger.get(PAGES + path).headers["location"].startswith("/login?next=")
        assert stranger.post(f"{API}/similar", content=b"x").status_code == 401
        assert stranger.get(f"{PAGES}/catalogues/1/thumbnails/a").status_code == 303


def upload(client: httpx.Client, image: bytes, proof: str | None = None) -> httpx.Response:
    """Send the form of the page with an image."""
    if proof is None:
        proof = re.search(r'name="csrf" value="([0-9a-f]+)"', client.get(f"{PAGES}/similar").text)[1]
    return client.post(f"{PAGES}/similar", data={"csrf": proof}, files={"image": ("g.png", image, "image/png")})


def test_a_person_brings_an_image(factory: App, client: httpx.Client) -> None:
    """The form works without scripts, and only with this session's proof."""
    opened, found = factory.explore.choose(EXPLORED, Choice(), limit=1)
    (galaxy,) = found.items
    data, _ = factory.ops.image_of(opened.index.catalogue_id, galaxy["galaxy_id"])
    page = upload(client, data)
    assert page.status_code == 200
    shown = re.findall(r'alt="Galaxy ([^"]+)"', page.text)
    assert (shown[0], len(shown)) == (galaxy["galaxy_id"], 24)
    assert upload(client, data, proof="0" * 64).status_code == 403
    refused = upload(client, b"no image")
    assert refused.status_code == 422
    assert "not an image" in refused.text
    for kind in (
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "multipart/form-data; boundary=x",
        "x\xe9",
    ):
        odd = client.post(
            f"{PAGES}/similar", content=b"--x\r\n\r\ncsrf=1", headers={"content-type": kind.encode("latin-1")}
        )
        assert odd.status_code == 403, kind


def test_the_address_of_a_page_holds_the_choice(client: httpx.Client) -> None:
    """Conditions, order, view and page come back as they were; links go on with them."""
    asked = {"name": [SMOOTH, "", "bar_yes_asked"[:0]], "low": ["0.1", "0", "0"], "high": ["1", "1", "1"]}
    page = client.get(f"{PAGES}/explore", params={**asked, "sort": "novelty", "descending": "false", "view": "table"})
    assert page.status_code == 200
    assert f'<option value="{SMOOTH}" selected>' in page.text
    assert 'value="0.1"' in page.text
    assert '<option value="false" selected>' in page.text
    assert re.search(
        rf'href="\?name={SMOOTH}&amp;low=0\.1&amp;high=1&amp;sort=novelty&amp;descending=false&amp;view=table&amp;first=24"',
        page.text,
    )
    assert HOSTILE not in page.text
    assert (
        "&lt;script&gt;"
        in client.get(f"{PAGES}/explore").text
        + client.get(f"{PAGES}/explore?first=24").text
        + client.get(f"{PAGES}/explore?first=48").text
    )
    assert client.get(f"{PAGES}/explore?name=a&low=0").status_code == 422


def test_a_page_of_pictures_is_light(client: httpx.Client) -> None:
    """Page, sheet, script and all its pictures are below half a megabyte."""
    page = client.get(f"{PAGES}/explore")
    pictures = re.findall(r'<img src="([^"]+)"', page.text)
    assert len(pictures) == 24
    answers = [client.get(path) for path in (*pictures, "/static/style.css", "/static/page.js")]
    assert {answer.status_code for answer in answers} == {200}
    assert len(page.content) + sum(len(answer.content) for answer in answers) < 500_000


def test_a_galaxy_s_page_shows_its_neighbours(factory: App, client: httpx.Client) -> None:
    """In the embedding and on the sky, where there is an index."""
    (galaxy,) = factory.explore.choose(EXPLORED, Choice(), limit=1)[1].items
    around = factory.explore.around(EXPLORED, galaxy["galaxy_id"], n=6)
    page = client.get(f"{PAGES}/galaxies/{galaxy['galaxy_id']}")
    assert page.status_code == 200
    shown = re.findall(r'alt="Galaxy ([^"]+)" width="128"', page.text)
    assert shown[:6] == [item["galaxy_id"].replace("=", "=") for item in around.similar]
    assert "Nearest in the embedding" in page.text


def test_a_galaxy_s_page_tells_its_history(factory: App, operator: httpx.Client) -> None:
    """What people asked for, and what a cycle made of it; the same by program."""
    (galaxy,) = factory.explore.choose(EXPLORED, Choice(), limit=1)[1].items
    path = f"/galaxies/{galaxy['galaxy_id']}"
    assert "No cycle has drawn it" in operator.get(PAGES + path).text
    factory.selections.save(EXPLORED, "one", [galaxy["galaxy_id"]], actor="token:bob", source={"kind": "test"})
    factory.selections.send(EXPLORED, "one", reason=f"odd {HOSTILE}", actor="token:bob", votes=None)
    page = operator.get(PAGES + path).text
    assert "token:bob asked for" in page
    assert HOSTILE not in page
    (line,) = operator.get(API + path).json()["history"]
    assert (line["why"], line["cycle"]) == (f"odd {HOSTILE}", None)
    assert line["what"].endswith("with selection one; waits for the next cycle")
    assert factory.selections.withdraw(EXPLORED, "one", reason="a test", actor="token:bob") == 1


def proof_of(client: httpx.Client, path: str) -> str:
    """Return the proof that a form of this session carries."""
    return re.search(r'name="csrf" value="([0-9a-f]+)"', client.get(path).text)[1]


def test_a_selection_goes_from_find_to_campaign_by_program(factory: App, operator: httpx.Client) -> None:
    """Kept, listed, shown, downloaded, asked for, taken back, forgotten; each act in the audit with who and why."""
    at = f"{API}/selections"
    kept = operator.post(at, json={"name": "all by score", "where": ["n_votes:0:9999"], "sort": "score_nats"}).json()
    assert (kept["n"], kept["actor"], kept["source"]["kind"]) == (GALAXIES, "token:bob", "choice")
    ids = [item["galaxy_id"] for item in factory.explore.choose(EXPLORED, Choice(), limit=100)[1].items]
    page = operator.get(f"{at}/all by score", params={"limit": 50}).json()
    assert (page["galaxies"], page["next"]) == (ids[:50], 50)
    assert operator.get(f"{at}/all by score", params={"first": 50}).json()["galaxies"] == ids[50:]
    few = {"name": "few", "galaxies": ids[:12]}
    assert [operator.post(at, json=few).status_code for _ in range(2)] == [200, 200]
    other = operator.post(at, json={**few, "galaxies": ids[:2]})
    assert (other.status_code, other.json()["code"]) == (409, "conflict")
    assert [each["name"] for each in operator.get(at).json()["items"]][:2] == ["few", "all by score"]
    table = list(csv.DictReader(io.StringIO(operator.get(f"{at}/few/download").text)))
    assert len(table) == 12
    left = operator.get(f"{API}/requests").json()
    sent = operator.post(f"{at}/few/send", json={"reason": "they look odd"}).json()
    assert sent["requested"] == 12 == len(sent["accepted"]) + sum(sent["refused"].values())
    assert sent["refused"]["over the budget"] >= 1
    assert sent["votes"] + sent["left"] == left["left"]
    waits = operator.get(f"{API}/requests").json()
    assert [(w["galaxy_id"], w["reason"], w["actor"]) for w in waits["waiting"]] == [
        (galaxy_id, "they look odd", "token:bob") for galaxy_id in sent["accepted"]
    ]
    assert operator.post(f"{at}/few/send", json={"reason": "again"}).json()["accepted"] == []
    taken = operator.post(f"{at}/few/withdraw", json={"reason": "not odd"}).json()
    assert taken == {"galaxies": len(sent["accepted"])}
    assert operator.delete(f"{at}/few").status_code == 204
    assert operator.get(f"{at}/few").status_code == 404
    told = operator.get(f"{API}/events").json()["items"]
    kinds = [(event["kind"], event["actor"], event["detail"].get("reason")) for event in told]
    assert ("requests.withdrawn", "token:bob", "not odd") in kinds
    assert ("galaxies.requested", "token:bob", "they look odd") in kinds
    assert {"selection.saved", "selection.deleted"} <= {kind for kind, _, _ in kinds}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"name": "x"}, 422, "bad-input"),
        ({"name": "x", "where": [], "galaxies": []}, 422, "bad-input"),
        ({"name": "x/y", "where": []}, 422, "bad-input"),
        ({"name": "x", "where": ["nothing:0:1"]}, 422, "bad-input"),
        ({"name": "x", "where": ["n_votes:0:1"] * 1000}, 422, "bad-input"),
        ({"name": "x", "where": [f"{SMOOTH}:0:0"]}, 422, "bad-input"),
        ({"name": "x", "where": [], "sort": "1; DROP TABLE"}, 422, "bad-input"),
        ({"name": "x", "galaxies": ["nobody"]}, 404, "not-found"),
        ({"name": "x", "galaxies": []}, 422, "bad-input"),
        ({"name": "x", "galaxies": ["a\x00"]}, 422, "bad-input"),
        ({"name": "x", "where": [], "extra": 1}, 422, "bad-input"),
    ],
)
def test_what_is_no_selection_is_refused(
    operator: httpx.Client, body: dict[str, object], status: int, code: str
) -> None:
    """With a code and what is wrong, and nothing is kept."""
    answer = operator.post(f"{API}/selections", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert "x" not in [each["name"] for each in operator.get(f"{API}/selections").json()["items"]]


def test_asking_takes_a_reason_and_votes_that_can_be_asked(operator: httpx.Client) -> None:
    """By what is wrong; a selection or campaign that is not there is named."""
    operator.post(f"{API}/selections", json={"name": "asked", "where": []})
    at = f"{API}/selections/asked/send"
    for body in ({}, {"reason": " "}, {"reason": "x", "votes": 0}, {"reason": "x", "votes": 7}, {"reason": "x\u202e"}):
        assert operator.post(at, json=body).status_code == 422, body
    assert operator.post(f"{API}/selections/none/send", json={"reason": "x"}).status_code == 404
    assert operator.post("/api/v1/campaigns/none/selections", json={"name": "x", "where": []}).status_code == 404
    for act, body in (
        ("send", {"reason": "x", "votes": "many"}),
        ("send", {"reason": ""}),
        ("withdraw", {"reason": ""}),
    ):
        proof = proof_of(operator, f"{PAGES}/selections/asked")
        page = operator.post(f"{PAGES}/selections/asked/{act}", data={"csrf": proof, **body})
        assert page.status_code == 422
        assert 'role="alert"' in page.text


def test_who_only_reads_keeps_and_asks_nothing(client: httpx.Client, operator: httpx.Client) -> None:
    """Pages offer no form, and neither a form nor a request by program is taken."""
    operator.post(f"{API}/selections", json={"name": "theirs", "where": []})
    page = client.get(f"{PAGES}/selections/theirs")
    assert page.status_code == 200
    assert "Ask in the next cycle" not in page.text
    assert "Keep as a selection" not in client.get(f"{PAGES}/explore").text
    assert client.post(f"{API}/selections", json={"name": "x", "where": []}).status_code == 403
    assert client.delete(f"{API}/selections/theirs").status_code == 403
    for act in ("send", "withdraw"):
        assert client.post(f"{API}/selections/theirs/{act}", json={"reason": "x"}).status_code == 403
    proof = proof_of(client, f"{PAGES}/similar")
    for path in ("/selections", "/selections/theirs/send", "/selections/theirs/delete"):
        assert client.post(PAGES + path, data={"csrf": proof, "reason": "x", "name": "y"}).status_code == 403


def test_a_person_keeps_what_a_page_found_and_asks(factory: App, operator: httpx.Client) -> None:
    """By the forms of the pages, and only with this session's proof."""
    found = operator.get(f"{PAGES}/explore", params={"name": "n_votes", "low": "0", "high": "2000"})
    proof = re.search(r'name="csrf" value="([0-9a-f]+)"', found.text)[1]
    assert 'value="n_votes:0:2000"' in found.text
    form = {"csrf": proof, "name": "by form", "where": "n_votes:0:2000", "sort": "novelty", "descending": "true"}
    assert operator.post(f"{PAGES}/selections", data={**form, "csrf": "0" * 64}).status_code == 403
    kept = operator.post(f"{PAGES}/selections", data=form)
    assert (kept.status_code, kept.headers["location"]) == (303, f"{PAGES}/selections/by%20form")
    page = operator.get(kept.headers["location"])
    assert len(re.findall(r'<img src="', page.text)) == 24
    assert "Further" in page.text
    sent = operator.post(f"{PAGES}/selections/by%20form/send", data={"csrf": proof, "reason": "see", "votes": ""})
    assert sent.status_code == 200
    assert re.search(r"\d+ of 60 galaxies wait for the next cycle", sent.text)
    back = operator.post(f"{PAGES}/selections/by%20form/withdraw", data={"csrf": proof, "reason": "enough"})
    assert "requests were taken back" in back.text
    like = operator.get(f"{PAGES}/similar", params={"galaxy": factory.selections.get(EXPLORED, "by form")[1][0]})
    ids = re.search(r'name="galaxies" value="([^"]+)"', like.text)[1]
    assert len(ids.split("\n")) == 24
    again = operator.post(f"{PAGES}/selections", data={"csrf": proof, "name": "by form", "galaxies": "nobody"})
    assert again.status_code == 404
    gone = operator.post(f"{PAGES}/selections/by%20form/delete", data={"csrf": proof})
    assert (gone.status_code, gone.headers["location"]) == (303, f"{PAGES}/selections")
    assert operator.post(f"{PAGES}/selections/by%20form/eat", data={"csrf": proof}).status_code == 422


def test_sliders_go_as_far_as_their_columns(factory: App, client: httpx.Client) -> None:
    """Votes, information, novelty and position beside the fractions; a value that no slider has keeps its digits."""
    asked = {"name": ["n_votes", "dec_deg", "score_nats"], "low": ["0", "-10.05", "0"], "high": ["3", "90", "7"]}
    page = client.get(f"{PAGES}/explore", params=asked).text
    votes = factory.explore.opened(EXPLORED).table.largest["n_votes"]
    assert (
        f'id="high1" name="high" type="range" min="0" max="{max(1, votes):g}" step="1" value="3"' in page or votes < 3
    )
    assert 'id="low2" name="low" type="number" step="any" value="-10.05"' in page
    assert 'id="high2" name="high" type="range" min="-90" max="90" step="0.1" value="90"' in page
    assert re.search(r'<option value="novelty" data-low="0" data-high="[0-9.]+" data-step="[0-9.e-]+">', page)
