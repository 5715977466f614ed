"""Subjects and their files."""

import hashlib
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests

from alservice.standin.server import Standin
from tests.standin.support import JPEG, Api, FakeClock, Launch, app_token, as_owner, counts

BLOB = {"x-ms-blob-type": "BlockBlob", "Content-Type": "image/jpeg"}


def post(api: Api, **changes: object) -> requests.Response:
    """Post a subject with one image."""
    body = {"locations": ["image/jpeg"], "metadata": {}, "links": {"project": "1"}, **changes}
    return api.post("/subjects", {"subjects": body})


def upload_url(answer: requests.Response, index: int = 0) -> str:
    """Return the signed URL of one location."""
    (url,) = answer.json()["subjects"][0]["locations"][index].values()
    return url


def test_the_same_body_twice_is_two_subjects(standin: Standin) -> None:
    """There is no idempotency and no deduplication; ids have nine digits."""
    owner = as_owner(standin)
    first, second = (post(owner, metadata={"#key": "same"}).json()["subjects"][0] for _ in range(2))
    assert (first["id"], second["id"]) == ("100000001", "100000002")
    assert first["metadata"] == second["metadata"]
    assert counts(standin)["orphans"] == 2


def test_an_image_is_put_once_and_read_by_everybody(standin: Standin) -> None:
    """The signed URL takes the bytes, the public URL gives them back, and the subject shows the public one."""
    owner = as_owner(standin)
    url = upload_url(post(owner))
    public = owner.only("/subjects/100000001")["locations"][0]["image/jpeg"]
    assert public == url.split("?")[0]
    assert requests.get(public).status_code == 404
    assert requests.put(url, data=JPEG, headers=BLOB).status_code == 201
    image = requests.get(public)
    assert (image.content, image.headers["Content-Type"]) == (JPEG, "image/jpeg")
    assert counts(standin)["images"] == 1


def test_a_second_put_replaces_the_image(standin: Standin) -> None:
    """A retried upload leaves one file: the last one."""
    url = upload_url(post(as_owner(standin)))
    requests.put(url, data=JPEG + b"torn", headers=BLOB)
    requests.put(url, data=JPEG, headers=BLOB)
    assert hashlib.md5(requests.get(url.split("?")[0]).content).digest() == hashlib.md5(JPEG).digest()
    assert counts(standin)["images"] == 1


def test_a_signed_url_expires_after_five_minutes(standin: Standin, clock: FakeClock) -> None:
    """A PUT is taken until the very last moment and refused from then on."""
    owner = as_owner(standin)
    early, late = upload_url(post(owner)), upload_url(post(owner))
    clock.advance(299)
    assert requests.put(early, data=JPEG, headers=BLOB).status_code == 201
    clock.advance(1)
    refused = requests.put(late, data=JPEG, headers=BLOB)
    assert refused.status_code == 403
    assert b"AuthenticationFailed" in refused.content


def test_a_signed_url_takes_nothing_but_its_own_signed_put(standin: Standin) -> None:
    """A tampered expiry, another file's signature, an API token or a missing blob type are refused."""
    owner = as_owner(standin)
    url, other = upload_url(post(owner)), upload_url(post(owner))
    path, query = url.split("?")
    later = {**dict(parse_qsl(query)), "se": "2030-01-01T00:00:00.000Z"}
    assert requests.put(path, params=later, data=JPEG, headers=BLOB).status_code == 403
    assert requests.put(f"{path}?{urlsplit(other).query}", data=JPEG, headers=BLOB).status_code == 403
    assert requests.put(path, data=JPEG, headers=BLOB).status_code == 403
    bearer = {**BLOB, "Authorization": f"Bearer {app_token(standin)}"}
    assert requests.put(url, data=JPEG, headers=bearer).status_code == 403
    assert requests.put(url, data=JPEG, headers={"Content-Type": "image/jpeg"}).status_code == 400
    assert counts(standin)["images"] == 0


def test_locations_keep_their_order_and_external_ones_their_url(standin: Standin) -> None:
    """Files are answered in the order submitted; a MIME type with a URL is stored as it is."""
    external = {"image/png": "https://example.org/galaxy.png"}
    answer = post(as_owner(standin), locations=["image/png", external, "audio/mp3"]).json()
    first, second, third = answer["subjects"][0]["locations"]
    assert urlsplit(first["image/png"]).path.endswith(".png")
    assert second == external
    assert list(third) == ["audio/mpeg"]


def test_a_type_off_the_list_is_a_400(standin: Standin) -> None:
    """FITS is not served by Zooniverse."""
    answer = post(as_owner(standin), locations=["image/fits"])
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["message"].startswith("Validation failed: ")
    assert counts(standin)["subjects"] == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"locations": "image/jpeg"},
        {"locations": [3]},
        {"locations": [{"image/jpeg": "u", "image/png": "v"}]},
        {"metadata": []},
        {"links": {"project": "1", "workflow": "10"}},
        {"links": {}},
        {"links": {"project": "2"}},
        {"links": {"project": "one"}},
        {"links": {"project": "1", "subject_sets": ["9"]}},
        {"priority": 3},
    ],
)
def test_the_schema_of_a_subject_is_closed(standin: Standin, changes: dict[str, object]) -> None:
    """What the schema does not know, and links to what is not there, are a 422 and leave nothing."""
    assert post(as_owner(standin), **changes).status_code == 422
    assert counts(standin)["subjects"] == 0


def test_an_array_of_subjects_breaks_the_server(standin: Standin) -> None:
    """Panoptes has no bulk create: the array form is its 500."""
    assert as_owner(standin).post("/subjects", {"subjects": [{}]}).status_code == 500


def test_the_allowance_counts_deleted_subjects_too(launch: Launch) -> None:
    """At the limit every upload is a 403 that says so, whatever became of the earlier ones."""
    owner = as_owner(launch(subject_limit=2))
    path = f"/subjects/{owner.new_subject()}"
    owner.new_subject()
    assert owner.call("DELETE", path, If_Match=owner.etag(path)).status_code == 204
    refused = post(owner)
    assert refused.status_code == 403
    assert refused.json()["errors"][0]["message"] == "User has uploaded 2 subjects of 2 maximum"


def test_uploading_can_be_switched_off(launch: Launch) -> None:
    """With the feature flag off a create is a 503."""
    refused = post(as_owner(launch(subject_uploading=False)))
    assert refused.status_code == 503
    assert refused.json()["errors"][0]["message"] == "Feature has been temporarily disabled"


def test_a_put_replaces_metadata_as_a_whole(standin: Standin) -> None:
    """Keys that are not sent again are gone; a link to the project is a 422."""
    owner = as_owner(standin)
    path = f"/subjects/{owner.new_subject(a=1, b=2)}"
    owner.put(path, {"subjects": {"metadata": {"b": 3}}}, owner.etag(path))
    assert owner.only(path)["metadata"] == {"b": 3}
    move = {"subjects": {"links": {"project": "1"}}}
    assert owner.put(path, move, owner.etag(path)).status_code == 422


def test_a_put_of_sets_leaves_the_subject_in_these_alone(standin: Standin) -> None:
    """Links to sets are replaced as a whole; a set that is not there is a 422 and moves nothing."""
    owner = as_owner(standin)
    path = f"/subjects/{owner.new_subject()}"
    pool, active = owner.new_set("pool"), owner.new_set("active")
    owner.link(pool, [path.split("/")[2]])

    def move(*set_ids: str) -> int:
        return owner.put(path, {"subjects": {"links": {"subject_sets": set_ids}}}, owner.etag(path)).status_code

    assert move("77") == 422
    assert owner.only(path)["links"]["subject_sets"] == [pool]
    assert move(active) == 200
    assert owner.only(path)["links"]["subject_sets"] == [active]
    assert move(pool, active) == 200
    assert sorted(owner.only(path)["links"]["subject_sets"]) == sorted([pool, active])
    listing = owner.get(f"/subjects?subject_set_id={pool}").json()
    assert listing["meta"]["subjects"]["count"] == 1


def test_a_put_of_locations_asks_for_new_uploads(standin: Standin) -> None:
    """New locations get new URLs, so the old file is no longer the subject's."""
    owner = as_owner(standin)
    first = upload_url(post(owner))
    path = "/subjects/100000001"
    second = upload_url(owner.put(path, {"subjects": {"locations": ["image/jpeg"]}}, owner.etag(path)))
    assert urlsplit(first).path != urlsplit(second).path
    assert requests.put(second, data=JPEG, headers=BLOB).status_code == 201
    assert owner.only(path)["locations"] == [{"image/jpeg": second.split("?")[0]}]


def test_a_deleted_subject_is_hidden_everywhere(standin: Standin) -> None:
    """It is no longer shown, listed by project or by set, linked, or classified."""
    owner = as_owner(standin)
    set_id, kept, gone = owner.new_set(), owner.new_subject(), owner.new_subject()
    owner.link(set_id, [kept, gone])
    path = f"/subjects/{gone}"
    owner.call("DELETE", path, If_Match=owner.etag(path))
    assert owner.get(path).status_code == 404
    for scope in ("project_id=1", f"subject_set_id={set_id}"):
        answer = owner.get(f"/subjects?{scope}").json()
        assert [entry["id"] for entry in answer["subjects"]] == [kept]
        assert answer["meta"]["subjects"]["count"] == 1
    assert owner.link(owner.new_set("other"), [gone]).status_code == 422
    assert owner.classify(gone).status_code == 422


def test_subjects_are_listed_by_project_set_and_id(standin: Standin) -> None:
    """Orphans are found by project only; a list of ids narrows any listing; metadata never does."""
    owner = as_owner(standin)
    set_id = owner.new_set()
    linked, orphan = owner.new_subject(key="a"), owner.new_subject(key="b")
    owner.link(set_id, [linked])

    def ids(query: str) -> list[str]:
        return [entry["id"] for entry in owner.get(f"/subjects?{query}").json()["subjects"]]

    assert ids("project_id=1") == [linked, orphan]
    assert ids(f"subject_set_id={set_id}") == [linked]
    assert ids(f"id={orphan}") == [orphan]
    assert ids(f"ids={linked},{orphan},7") == [linked, orphan]
    assert ids(f"subject_set_id={set_id}&project_id=1&id={orphan}") == []
    assert ids("project_id=1&metadata.key=a") == [linked, orphan]
    assert owner.only(f"/subjects/{linked}")["links"]["subject_sets"] == [set_id]


def test_sets_can_be_joined_at_creation_without_what_follows_a_link(standin: Standin) -> None:
    """Membership and subject are one transaction, but the counter of the set is not told."""
    owner = as_owner(standin)
    set_id = owner.new_set()
    created = post(owner, links={"project": "1", "subject_sets": [set_id]}).json()["subjects"][0]
    assert created["links"]["subject_sets"] == [set_id]
    assert owner.only(f"/subject_sets/{set_id}")["set_member_subjects_count"] == 0


def test_priority_is_read_in_any_spelling_and_copied_later(standin: Standin) -> None:
    """#Priority becomes #priority, and the membership takes its number over after the link."""
    owner = as_owner(standin)
    set_id = owner.new_set()
    subject = owner.new_subject(**{"#Priority": "2.5"})
    assert owner.only(f"/subjects/{subject}")["metadata"] == {"#priority": "2.5"}
    owner.link(set_id, [subject, owner.new_subject()])
    members = owner.get(f"/set_member_subjects?subject_set_id={set_id}").json()["set_member_subjects"]
    assert [member["priority"] for member in members] == ["2.5", None]
