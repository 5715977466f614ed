"""Searches for interesting galaxies by API and pages: begun, rated, shared, undone, downloaded, and what is refused."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from alservice.access import Scope
from alservice.app import App
from alservice.web.application import create_app
from tests.support.dashboards import EXPLORED, GALAXIES
from tests.support.web_server import served
from tests.web.conftest import PATIENCE_S, log_in, secret_of
from tests.web.test_explore import factory

__all__ = ["factory"]

API = f"/api/v1/campaigns/{EXPLORED}/anomalies"
PAGES = f"/campaigns/{EXPLORED}/anomalies"


@pytest.fixture(scope="module")
def people(factory: App) -> Iterator[dict[str, httpx.Client]]:
    """Ada and Eva, who rate, and Rex, who may only look; all logged in."""
    with ExitStack() as stack:
        url = stack.enter_context(served(create_app(factory, figures_life_s=0)))
        found = {}
        for name, scope in (("ada", Scope.OPERATE), ("eva", Scope.OPERATE), ("rex", Scope.READ)):
            secret = secret_of(factory, scope, name=name)
            headers = {"Authorization": f"Bearer {secret}"}
            found[name] = stack.enter_context(httpx.Client(base_url=url, headers=headers, timeout=PATIENCE_S))
            log_in(found[name], secret)
        yield found


def begin(client: httpx.Client, name: str, *, shared: bool = False) -> str:
    """Begin a search; return its address."""
    answer = client.post(API, json={"name": name, "is_shared": shared})
    assert answer.status_code == 200, answer.text
    return f"{API}/{name}"


def rate(client: httpx.Client, search: str, rating: float = 1.0) -> list[str]:
    """Rate a batch; return its galaxies."""
    ids = [item["galaxy_id"] for item in client.post(f"{search}/batch").json()["items"]]
    answer = client.post(f"{search}/ratings", json={"ratings": dict.fromkeys(ids, rating)})
    assert answer.status_code == 200, answer.text
    return ids


def test_two_people_rate_in_one_search(people: dict[str, httpx.Client]) -> None:
    """Different galaxies each, one list; who may only look sees it."""
    ada, eva, rex = people.values()
    search = begin(ada, "shared", shared=True)
    hers = [item["galaxy_id"] for item in ada.post(f"{search}/batch").json()["items"]]
    others = rate(eva, search, 4.0)
    assert len(hers) == len(others) == 10
    assert not set(hers) & set(others)
    assert rate(ada, search, 0.0) == hers
    third = ada.post(f"{search}/batch").json()
    assert not {item["galaxy_id"] for item in third["items"]} & {*hers, *others}
    assert (third["n_rated"], third["n_mine"], third["index"]["is_current"]) == (20, 10, True)
    top = rex.get(f"{search}/top", params={"n": 30}).json()
    rated = {item["galaxy_id"]: item["rating"] for item in top["items"] if item["rating"] is not None}
    assert set(rated.values()) <= {0.0, 4.0}
    left = rex.get(f"{search}/top", params={"n": 100, "rated": False}).json()["items"]
    assert len(left) == GALAXIES - 20
    assert [search["name"] for search in rex.get(API).json()["items"]][-1] == "shared"
    assert rex.get(search).json()["owner"] == "token:ada"


def test_undo_and_the_table(people: dict[str, httpx.Client]) -> None:
    """The last galaxy comes back; the table has every galaxy, and nothing that a spreadsheet would run."""
    ada = people["ada"]
    search = begin(ada, "undone")
    assert ada.post(f"{search}/undo").json() == {"galaxy_id": None}
    ids = rate(ada, search)
    assert ada.post(f"{search}/undo").json() == {"galaxy_id": ids[-1]}
    assert [item["galaxy_id"] for item in ada.post(f"{search}/batch").json()["items"]] == [ids[-1]]
    by_program, by_page = (ada.get(f"{base}/undone/download") for base in (API, PAGES))
    assert by_program.text == by_page.text
    rows = list(csv.reader(io.StringIO(by_page.text)))
    assert len(rows) == GALAXIES + 1
    assert "'=HYPERLINK(1)" in {row[0] for row in rows}
    assert sum(row[4] == "1.0" for row in rows) == 9


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/bad/ratings", {"ratings": {"GALAXY": "=1+1"}}, 422, "rating"),
        ("/bad/ratings", {"ratings": {"GALAXY": 5.5}}, 422, "from 0 to 5"),
        ("/bad/ratings", {"ratings": {"GALAXY": -1}}, 422, "from 0 to 5"),
        ("/bad/ratings", {"ratings": {"nobody": 1}}, 404, "no galaxy 'nobody'"),
        ("/bad/ratings", {"ratings": {f"g{i}": 1 for i in range(1000)}}, 422, "1 to 100 ratings"),
        ("/bad/ratings", {"ratings": {}}, 422, "ratings"),
        ("/bad/ratings", {"ratings": {"GALAXY": 1}, "extra": 1}, 422, "extra"),
        ("/none/ratings", {"ratings": {"GALAXY": 1}}, 404, "no search 'none'"),
        ("/none/batch", None, 404, "no search"),
        ("", {"name": "=1+1"}, 422, "name"),
        ("", {"name": "bad", "is_shared": True}, 409, "choose another name"),
        ("", {"name": "x", "method": "oracle"}, 422, "method"),
    ],
)
def test_bad_input_is_answered_by_its_code(
    people: dict[str, httpx.Client], path: str, body: object, status: int, says: str
) -> None:
    """Typed, with the field or the galaxy; nothing of it is kept."""
    ada = people["ada"]
    search = begin(ada, "bad")
    galaxy = ada.post(f"{search}/batch").json()["items"][0]["galaxy_id"]
    if isinstance(body, dict) and "GALAXY" in body.get("ratings", {}):
        body = {**body, "ratings": {galaxy: body["ratings"]["GALAXY"]}}
    answer = ada.post(f"{API}{path}", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    assert says in answer.text
    assert ada.get(f"{search}/top").json()["n_rated"] == 0


def test_who_may_not_rate_is_told(people: dict[str, httpx.Client]) -> None:
    """Without a token, with one that looks, and in somebody else's own search."""
    search = begin(people["ada"], "own")
    assert httpx.post(f"{people['ada'].base_url}{search}/batch").status_code == 401
    for name, says in (("rex", "has scope read"), ("eva", "ada's own")):
        answer = people[name].post(f"{search}/batch")
        assert answer.status_code == 403
        assert says in answer.text
    for name in ("rex", "eva"):
        page = people[name].get(f"{PAGES}/own")
        assert page.status_code == 200
        assert "How interesting" not in page.text
    assert "Begin a search" not in people["rex"].get(PAGES).text
    for bad in ("/top?n=1001", "/top?n=0", "/top?rated=maybe"):
        assert people["rex"].get(f"{search}{bad}").status_code == 422


def test_a_campaign_without_an_index_says_what_to_run(people: dict[str, httpx.Client]) -> None:
    """The search may be begun; there is nothing to show."""
    ada = people["ada"]
    bare = "/api/v1/campaigns/gz-bare/anomalies"
    assert ada.post(bare, json={"name": "early"}).status_code == 200
    answer = ada.post(f"{bare}/early/batch")
    assert (answer.status_code, answer.json()["code"]) == (404, "no-index")
    page = ada.get("/campaigns/gz-bare/anomalies/early")
    assert page.status_code == 404
    assert "alservice explore build --campaign gz-bare" in page.text


def test_a_person_rates_on_the_page(people: dict[str, httpx.Client]) -> None:
    """By a form for each galaxy, also without scripts; a form that was made elsewhere, or says no rating, is refused."""
    ada = people["ada"]
    page = ada.get(PAGES)
    csrf = re.findall(r'name="csrf" value="([0-9a-f]+)"', page.text)[-1]
    made = ada.post(PAGES, data={"csrf": csrf, "name": "by-hand", "whose": "own", "method": "gaussian-process"})
    assert (made.status_code, made.headers["location"]) == (303, f"{PAGES}/by-hand")
    for bad in ({"name": "a b"}, {"name": "x", "method": "oracle"}, {"name": ""}):
        answer = ada.post(PAGES, data={"csrf": csrf, "method": "forests", **bad})
        assert answer.status_code == 422
        assert 'role="alert"' in answer.text
    address = f"{PAGES}/by-hand"
    shown = ada.get(address).text
    (galaxy,) = re.findall(r'name="galaxy" value="([^"]+)"', shown)
    assert "10 left of this batch" in shown
    assert ada.get(address, params={"at": 10**9}).status_code == 200
    assert re.findall(r'name="galaxy" value="([^"]+)"', ada.get(address, params={"at": 3}).text) != [galaxy]
    assert ada.post(address, data={"csrf": csrf, "galaxy": galaxy, "rating": "4"}).status_code == 303
    after = ada.get(address).text
    assert "9 left of this batch; 1 rated by you" in after
    for bad in ({"rating": "=1+1"}, {"rating": "6"}, {}, {"rating": "1", "galaxy": ""}):
        answer = ada.post(address, data={"csrf": csrf, "galaxy": galaxy, **bad})
        assert answer.status_code == 422
        assert 'role="alert"' in answer.text
    assert ada.post(address, data={"csrf": "0" * 64, "galaxy": galaxy, "rating": "4"}).status_code == 403
    assert ada.post(address, data={"csrf": csrf, "undo": "1"}).status_code == 303
    assert "10 left of this batch; 0 rated by you" in ada.get(address).text
    assert people["rex"].post(address, data={"csrf": csrf, "undo": "1"}).status_code == 403
