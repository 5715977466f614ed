"""Login, tokens, scopes and rights."""

import pytest
import requests

from alservice.errors import BadConfig
from alservice.standin.auth import hash_password, password_matches
from alservice.standin.config import PUBLIC_CLIENT_ID, StandinConfig, generate_credentials
from alservice.standin.server import Standin
from tests.standin.support import (
    CLIENT_ID,
    CLIENT_SECRET,
    OWNER,
    PASSWORD,
    Api,
    FakeClock,
    Launch,
    app_token,
    as_other,
    as_owner,
    sign_in,
    user_token,
)


def grant(standin: Standin, session: requests.Session | None = None, **form: str) -> requests.Response:
    """Ask for a token."""
    return (session or requests.Session()).post(f"{standin.endpoint}/oauth/token", data=form)


def password_grant(standin: Standin, **form: str) -> dict[str, str]:
    """Return the answer to the password flow."""
    session = sign_in(standin, OWNER, PASSWORD)
    return grant(standin, session, grant_type="password", client_id=PUBLIC_CLIENT_ID, **form).json()


def refresh(standin: Standin, refresh_token: str) -> requests.Response:
    """Ask for a new token in exchange for a refresh token."""
    form = {"grant_type": "refresh_token", "client_id": PUBLIC_CLIENT_ID, "refresh_token": refresh_token}
    return grant(standin, **form)


def test_a_wrong_password_is_a_401_with_its_own_json(standin: Standin) -> None:
    """The login page names its error in ``error``, not in ``errors``."""
    user = {"login": OWNER, "password": "guess", "remember_me": True}
    answer = requests.post(f"{standin.endpoint}/users/sign_in", json={"user": user})
    assert answer.status_code == 401
    assert answer.json() == {"error": "Invalid email or password."}


def test_the_password_grant_needs_a_session(standin: Standin) -> None:
    """Without the cookie of a login the token call is a 401."""
    answer = grant(standin, grant_type="password", client_id=PUBLIC_CLIENT_ID)
    assert answer.status_code == 401
    assert answer.json()["error"] == "invalid_grant"


def test_a_token_lives_as_long_as_it_says(standin: Standin, clock: FakeClock) -> None:
    """The answer has the fields of Doorkeeper, and the token dies at its time and not before."""
    answer = password_grant(standin)
    assert answer["token_type"] == "Bearer"
    assert answer["expires_in"] == 7200
    api = Api(standin, answer["access_token"])
    clock.advance(7199)
    assert api.get("/classifications/project").status_code == 200
    clock.advance(1)
    assert api.get("/classifications/project").status_code == 401


def test_client_credentials_speak_for_the_owner_and_cannot_be_refreshed(standin: Standin) -> None:
    """The application's token has the owner's rights and comes without a refresh token."""
    form = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    answer = grant(standin, **form).json()
    assert "refresh_token" not in answer
    assert Api(standin, answer["access_token"]).only("/me")["login"] == OWNER


@pytest.mark.parametrize(
    "form",
    [
        {"grant_type": "client_credentials", "client_id": "nobody", "client_secret": "x"},
        {"grant_type": "password", "client_id": CLIENT_ID},
        {"grant_type": "client_credentials", "client_id": PUBLIC_CLIENT_ID},
        {
            "grant_type": "client_credentials",
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "scope": "public admin",
        },
        {},
    ],
)
def test_a_grant_that_is_not_the_applications_is_an_empty_422(standin: Standin, form: dict[str, str]) -> None:
    """Unknown applications, foreign grants and excessive scopes get no word of explanation."""
    answer = grant(standin, **form)
    assert (answer.status_code, answer.content) == (422, b"")


def test_a_wrong_client_secret_is_a_401(standin: Standin) -> None:
    """A known application with the wrong secret is told so in JSON."""
    answer = grant(standin, grant_type="client_credentials", client_id=CLIENT_ID, client_secret="guess")
    assert answer.status_code == 401
    assert answer.json()["error"] == "invalid_client"


def test_a_refresh_token_dies_when_its_successor_is_used(standin: Standin) -> None:
    """Concurrent refreshes succeed until one of the new tokens makes a call; then the old pair is dead."""
    first = password_grant(standin)
    second = refresh(standin, first["refresh_token"]).json()
    assert refresh(standin, first["refresh_token"]).status_code == 200
    assert Api(standin, first["access_token"]).get("/classifications").status_code == 200
    assert Api(standin, second["access_token"]).get("/classifications").status_code == 200
    assert Api(standin, first["access_token"]).get("/classifications").status_code == 401
    spent = refresh(standin, first["refresh_token"])
    assert spent.status_code == 401
    assert spent.json()["error"] == "invalid_grant"


def test_an_expired_token_can_still_be_refreshed(standin: Standin, clock: FakeClock) -> None:
    """The refresh token outlives the access token."""
    first = password_grant(standin)
    clock.advance(100_000)
    second = refresh(standin, first["refresh_token"]).json()
    assert Api(standin, second["access_token"]).get("/classifications").status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/classifications"),
        ("GET", "/classifications/project"),
        ("GET", "/classifications/incomplete"),
        ("POST", "/subjects"),
        ("POST", "/subject_sets"),
        ("PUT", "/workflows/10"),
        ("POST", "/workflows/10/retired_subjects"),
        ("POST", "/workflows/10/unretire_subjects"),
        ("POST", "/projects/1/classifications_export"),
    ],
)
def test_a_refused_token_gets_an_empty_body(standin: Standin, method: str, path: str) -> None:
    """Where a scope is checked, a bad token is an empty 401 and a narrow one an empty 403."""
    bad = Api(standin, "no-such-token").call(method, path, {})
    narrow = Api(standin, app_token(standin, scope="public")).call(method, path, {})
    for answer, status in ((bad, 401), (narrow, 403)):
        assert (answer.status_code, answer.content) == (status, b"")
        assert "WWW-Authenticate" in answer.headers


@pytest.mark.parametrize("path", ["/subjects", "/subject_sets", "/workflows", "/projects/1/subjects_export"])
def test_writing_without_any_token_is_a_401_in_json(standin: Standin, path: str) -> None:
    """A stranger's create is refused in words, before any scope is looked at."""
    answer = Api(standin).post(path, {})
    assert answer.status_code == 401
    assert answer.json()["errors"][0]["message"] == "You must be logged in to access this resource."


def test_reading_classifications_without_a_token_is_an_empty_401(standin: Standin) -> None:
    """A read that checks a scope is refused by Doorkeeper, which says nothing."""
    answer = Api(standin).get("/classifications/project?project_id=1")
    assert (answer.status_code, answer.content) == (401, b"")


def test_the_public_reads_without_a_token(standin: Standin) -> None:
    """Projects, workflows, sets, subjects, memberships and statuses are open to all."""
    for kind in ("projects", "workflows", "subject_sets", "subjects", "set_member_subjects"):
        assert Api(standin).get(f"/{kind}").status_code == 200
    assert Api(standin).get("/subject_workflow_statuses").status_code == 200


def test_a_stranger_does_not_find_what_he_may_not_write(standin: Standin) -> None:
    """Writes to another's rows are 404, links to another's project 422, exports 404."""
    owner, other = as_owner(standin), as_other(standin)
    set_id, subject_id = owner.new_set(), owner.new_subject()
    path = f"/subject_sets/{set_id}"
    rename = {"subject_sets": {"display_name": "mine"}}
    assert other.put(path, rename, owner.etag(path)).status_code == 404
    assert other.link(set_id, [subject_id]).status_code == 404
    assert other.call("DELETE", f"{path}/links/subjects/{subject_id}").status_code == 404
    assert other.post("/workflows/10/retired_subjects", {"subject_ids": []}).status_code == 404
    assert other.get("/projects/1/classifications_export").status_code == 404
    body = {"locations": [], "links": {"project": "1"}}
    assert other.post("/subjects", {"subjects": body}).status_code == 422


def test_link_calls_check_no_scope(standin: Standin) -> None:
    """A token too narrow to create a set may link its owner's subjects."""
    owner = as_owner(standin)
    set_id, subject_id = owner.new_set(), owner.new_subject()
    assert Api(standin, app_token(standin, scope="public")).link(set_id, [subject_id]).status_code == 200


def test_only_the_user_sees_the_uploads(standin: Standin) -> None:
    """The number of uploaded subjects and the allowance are in one's own entry only."""
    owner = as_owner(standin)
    owner.new_subject()
    me = owner.only("/me")
    assert (me["uploaded_subjects_count"], me["max_subjects"]) == (1, 10_000)
    assert "uploaded_subjects_count" not in as_other(standin).only(f"/users/{me['id']}")
    assert Api(standin).get("/me").status_code == 401


def test_everybody_sees_who_owns_a_project(standin: Standin) -> None:
    """The listing of roles is public, as the project is; another project has none here."""
    api = Api(standin)
    (role,) = api.get("/project_roles?project_id=1").json()["project_roles"]
    owner = as_owner(standin).only("/me")
    assert (role["roles"], role["links"]["project"]) == (["owner"], "1")
    assert role["links"]["owner"] == {"id": owner["id"], "type": "users", "href": f"/users/{owner['id']}"}
    assert (owner["upload_whitelist"], owner["admin"]) == (False, False)
    assert api.get("/project_roles?project_id=2").json()["project_roles"] == []


def test_a_state_without_users_needs_one(launch: Launch) -> None:
    """There is no default password: an empty state refuses to start without credentials."""
    with pytest.raises(BadConfig, match="knows no user"):
        launch(users=())


def test_users_are_remembered_and_passwords_can_be_replaced(launch: Launch) -> None:
    """A restart needs no credentials; a pair given again replaces the password."""
    launch().stop()
    again = launch(users=())
    assert user_token(again, OWNER, PASSWORD)
    again.stop()
    changed = launch(users=((OWNER, "new-password"),))
    assert user_token(changed, OWNER, "new-password")
    with pytest.raises(requests.HTTPError):
        sign_in(changed, OWNER, PASSWORD)


def test_credentials_are_random_and_kept_as_digests(standin: Standin) -> None:
    """Generated passwords differ, and neither passwords nor tokens are on disk."""
    assert generate_credentials() != generate_credentials()
    assert password_matches("a", hash_password("a"))
    assert not password_matches("b", hash_password("a"))
    token = app_token(standin)
    with standin.state.transaction() as tx:
        kept = [tuple(row) for table in ("users", "access_tokens", "applications") for row in _rows(tx, table)]
    assert kept
    assert not any(secret in map(str, row) for row in kept for secret in (PASSWORD, token, CLIENT_SECRET))


def _rows(tx, table):
    return tx.all(f"SELECT * FROM {table}")


@pytest.mark.parametrize(
    "settings", [{"client_id": "a"}, {"settle_s": -1.0}, {"users": (("zoo", ""),)}, {"client_secret": "b"}]
)
def test_settings_that_cannot_be_are_refused(tmp_path, settings) -> None:
    """Half an application, a negative delay and an empty password are told at once."""
    with pytest.raises(BadConfig):
        StandinConfig(state=tmp_path, **settings)
