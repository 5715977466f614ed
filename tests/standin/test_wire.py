"""Manners of the API: headers, envelopes, ETags, pages, and calls nobody modelled."""

import logging

import pytest
import requests

from alservice.standin.server import Standin
from tests.standin.support import Api, FakeClock, Launch, as_owner


@pytest.mark.parametrize("accept", ["application/json", "application/vnd.api+json", "*/*"])
def test_an_api_route_exists_for_one_accept_value_only(standin: Standin, accept: str) -> None:
    """Any other Accept header is a 404, as the route's constraint makes it."""
    answer = Api(standin).get("/projects/1", Accept=accept)
    assert answer.status_code == 404
    assert answer.json() == {"errors": [{"message": "Not Found"}]}


def test_a_write_needs_a_json_content_type(standin: Standin) -> None:
    """A form posted to the API is a 415."""
    answer = as_owner(standin).post("/subjects", {}, Content_Type="application/x-www-form-urlencoded")
    assert answer.status_code == 415


def test_a_body_that_is_not_json_is_a_400(standin: Standin) -> None:
    """Malformed JSON is told from a missing attribute, which is a 422."""
    owner = as_owner(standin)
    broken = owner.session.post(f"{owner.endpoint}/api/subject_sets", data=b"{")
    assert broken.status_code == 400
    assert owner.post("/subject_sets", {"subjects": {"a": 1}}).status_code == 422


def test_the_envelope_has_text_ids_links_meta_and_href(standin: Standin) -> None:
    """A show call answers with an array of one, link templates, a count, and an href without /api."""
    owner = as_owner(standin)
    set_id = owner.new_set("pool")
    answer = owner.get(f"/subject_sets/{set_id}")
    assert answer.headers["Content-Type"].split(";")[0] == "application/vnd.api+json"
    body = answer.json()
    (entry,) = body["subject_sets"]
    assert entry["id"] == "1001"
    assert entry["href"] == "/subject_sets/1001"
    assert entry["links"] == {"project": "1", "workflows": []}
    assert body["links"]["subject_sets.project"] == {
        "href": "/projects/{subject_sets.project}",
        "type": "projects",
    }
    assert body["meta"]["subject_sets"]["count"] == 1


def test_a_path_with_a_word_for_an_id_is_a_404(standin: Standin) -> None:
    """Panoptes' routes take numbers only, so a word never reaches a controller."""
    assert Api(standin).get("/subjects/latest").status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/collections"),
        ("PATCH", "/api/subjects/1"),
        ("POST", "/api/projects/1/links/subject_sets"),
        ("GET", "/"),
        ("DELETE", "/users/sign_in"),
    ],
)
def test_an_unknown_call_is_loud(standin: Standin, caplog: pytest.LogCaptureFixture, method: str, path: str) -> None:
    """A call that is not modelled is a 501 that names it, and an error in the log."""
    with caplog.at_level(logging.ERROR):
        answer = requests.request(method, standin.endpoint + path)
    assert answer.status_code == 501
    assert f"{method} {path}" in answer.json()["errors"][0]["message"]
    assert f"{method} {path}" in caplog.text


def test_an_unknown_relation_is_a_404_and_a_real_one_we_lack_is_loud(standin: Standin) -> None:
    """A relation Panoptes does not have is told from one that this stand-in does not model."""
    owner = as_owner(standin)
    set_id = owner.new_set()
    assert owner.post(f"/subject_sets/{set_id}/links/galaxies", {"galaxies": ["1"]}).status_code == 404
    assert owner.post(f"/subject_sets/{set_id}/links/workflows", {"workflows": ["10"]}).status_code == 501


def test_a_write_needs_the_etag_of_the_present_row(standin: Standin) -> None:
    """Without If-Match 428, with an old one 412, with the present one in weak form 200."""
    owner = as_owner(standin)
    path = f"/subject_sets/{owner.new_set()}"
    first = owner.etag(path)
    body = {"subject_sets": {"display_name": "renamed"}}
    assert owner.call("PUT", path, body).status_code == 428
    assert owner.call("DELETE", path).status_code == 428
    assert owner.put(path, body, f"W/{first}").status_code == 200
    stale = owner.put(path, body, first)
    assert stale.status_code == 412
    assert stale.json() == {"errors": [{"message": "JsonApiController::PreconditionFailed"}]}


def test_a_create_carries_a_usable_etag_and_a_put_carries_none(standin: Standin) -> None:
    """The 201 has ETag, Location and Last-Modified; the 200 of a PUT only Last-Modified."""
    owner = as_owner(standin)
    body = {"display_name": "a", "links": {"project": "1"}}
    created = owner.post("/subject_sets", {"subject_sets": body})
    assert created.headers["Location"] == f"{standin.endpoint}/api/subject_sets/1001"
    assert created.headers["Last-Modified"] == "Sun, 01 Mar 2026 12:00:00 GMT"
    path = "/subject_sets/1001"
    changed = owner.put(path, {"subject_sets": {"metadata": {"a": 1}}}, created.headers["ETag"])
    assert changed.status_code == 200
    assert "Last-Modified" in changed.headers
    assert "ETag" not in changed.headers


def test_the_etag_of_a_listing_never_opens_a_row(standin: Standin) -> None:
    """A listing of one row has another ETag than the row, and a PUT with it is refused."""
    owner = as_owner(standin)
    path = f"/subjects/{owner.new_subject()}"
    listing = owner.etag("/subjects?project_id=1")
    assert listing != owner.etag(path)
    assert owner.put(path, {"subjects": {"metadata": {}}}, listing).status_code == 412


def test_a_reader_with_the_present_etag_gets_a_304(standin: Standin) -> None:
    """If-None-Match with the present ETag is answered without a body."""
    owner = as_owner(standin)
    path = f"/subjects/{owner.new_subject()}"
    etag = owner.etag(path)
    unchanged = owner.get(path, If_None_Match=etag)
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    owner.put(path, {"subjects": {"metadata": {"ra": 1}}}, etag)
    assert owner.get(path, If_None_Match=etag).status_code == 200


def test_a_page_over_the_cap_is_clipped_and_the_href_repeats_the_wish(launch: Launch) -> None:
    """page_size is cut to the cap while next_href asks for the size that was asked for."""
    owner = as_owner(launch(page_size_limit=3))
    for _ in range(5):
        owner.new_subject()
    answer = owner.get("/subjects?page_size=500&project_id=1").json()
    meta = answer["meta"]["subjects"]
    assert len(answer["subjects"]) == meta["page_size"] == 3
    assert (meta["count"], meta["page_count"], meta["next_page"]) == (5, 2, 2)
    assert meta["next_href"] == "/subjects?page=2&page_size=500&project_id=1"
    assert meta["first_href"] == "/subjects?page_size=500&project_id=1"
    last = owner.get(meta["next_href"]).json()
    assert len(last["subjects"]) == 2
    assert last["meta"]["subjects"]["next_href"] is None
    assert last["meta"]["subjects"]["previous_page"] == 1


def test_pages_of_any_size_add_up_to_the_listing(standin: Standin) -> None:
    """Walking from either end, every subject is on exactly one page, in order of id."""
    owner = as_owner(standin)
    made = [owner.new_subject() for _ in range(11)]
    for size in (1, 2, 3, 5, 11, 20):
        seen = []
        for page in range(1, -(-11 // size) + 2):
            listed = owner.get(f"/subjects?project_id=1&page_size={size}&page={page}").json()["subjects"]
            seen += [entry["id"] for entry in listed]
        assert seen == made


def test_a_workflow_page_holds_25_at_most(standin: Standin) -> None:
    """Workflows have a cap of their own."""
    meta = Api(standin).get("/workflows?project_id=1&page_size=100").json()["meta"]["workflows"]
    assert meta["page_size"] == 25


@pytest.mark.parametrize("query", ["page_size=0", "page_size=-1", "page=0", "page=x", "page_size=%C2%B2"])
def test_a_page_that_cannot_be_is_a_422(standin: Standin, query: str) -> None:
    """Sizes and numbers of pages are positive integers."""
    assert Api(standin).get(f"/subjects?{query}").status_code == 422


def test_unknown_parameters_are_ignored_and_only_filters_are_repeated(standin: Standin) -> None:
    """A parameter that is no filter neither narrows a listing nor appears in its hrefs."""
    owner = as_owner(standin)
    for _ in range(2):
        owner.new_subject()
    meta = owner.get("/subjects?project_id=1&colour=red&page_size=1").json()["meta"]["subjects"]
    assert meta["count"] == 2
    assert meta["next_href"] == "/subjects?page=2&page_size=1&project_id=1"


def test_time_on_the_wire_has_milliseconds_and_a_z(standin: Standin, clock: FakeClock) -> None:
    """Rows carry the stand-in's clock as ISO 8601 in UTC."""
    clock.advance(0.9187)
    owner = as_owner(standin)
    assert owner.only(f"/subjects/{owner.new_subject()}")["created_at"] == "2026-03-01T12:00:00.918Z"
