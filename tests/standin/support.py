"""What the tests of the stand-in share: a clock, raw calls, a log of the client's calls, and plain bodies."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests

from alservice.standin.config import PUBLIC_CLIENT_ID
from alservice.standin.server import Standin

OWNER, PASSWORD = "Zoo", "sky-survey-1"
OTHER, OTHER_PASSWORD = "Visitor", "elsewhere-2"
CLIENT_ID, CLIENT_SECRET = "pipeline", "not-a-secret"
JPEG = bytes.fromhex("ffd8ffe000104a4649460001") + b"galaxy" + bytes.fromhex("ffd9")
ACCEPT = "application/vnd.api+json; version=1"

Launch = Callable[..., Standin]


class FakeClock:
    """A clock that moves only when told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        """Return the present."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move on."""
        self.now += timedelta(seconds=seconds)


@dataclass(frozen=True, kw_only=True, slots=True)
class Remote:
    """Where a stand-in of another process listens."""

    endpoint: str


class Api:
    """Raw calls to a stand-in with the headers the client sends."""

    def __init__(self, standin: Standin | Remote, token: str | None = None) -> None:
        self.endpoint = standin.endpoint
        self.session = requests.Session()
        self.session.headers.update({"Accept": ACCEPT, "Content-Type": "application/json"})
        if token is not None:
            self.session.headers["Authorization"] = f"Bearer {token}"

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        """Send one call; an underscore in a header name stands for its hyphen."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.session.request(method, f"{self.endpoint}/api{path}", json=body, headers=named)

    def get(self, path: str, **headers: str) -> requests.Response:
        """Send a GET."""
        return self.call("GET", path, **headers)

    def post(self, path: str, body: Any, **headers: str) -> requests.Response:
        """Send a POST."""
        return self.call("POST", path, body, **headers)

    def put(self, path: str, body: Any, etag: str) -> requests.Response:
        """Send a PUT with an ETag to match."""
        return self.call("PUT", path, body, If_Match=etag)

    def etag(self, path: str) -> str:
        """Return the present ETag of what a path shows."""
        return self.get(path).headers["ETag"]

    def only(self, path: str) -> dict[str, Any]:
        """Return the one entry a show call answers with."""
        answer = self.get(path).json()
        (entry,) = next(value for name, value in answer.items() if name not in ("links", "meta"))
        return entry

    def new_subject(self, **metadata: Any) -> str:
        """Create a subject with one image and return its id."""
        body = {"locations": ["image/jpeg"], "metadata": metadata, "links": {"project": "1"}}
        return self.post("/subjects", {"subjects": body}).json()["subjects"][0]["id"]

    def new_set(self, display_name: str = "active") -> str:
        """Create a subject set and return its id."""
        body = {"display_name": display_name, "links": {"project": "1"}}
        return self.post("/subject_sets", {"subject_sets": body}).json()["subject_sets"][0]["id"]

    def link(self, set_id: str, subject_ids: list[str]) -> requests.Response:
        """Link subjects to a set."""
        return self.post(f"/subject_sets/{set_id}/links/subjects", {"subjects": subject_ids})

    def classify(self, subject_id: str, value: Any = 0, **changes: Any) -> requests.Response:
        """Post a complete classification of one subject; changes go into its metadata."""
        return self.post("/classifications", {"classifications": classification(subject_id, value, **changes)})


def classification(subject_id: str, value: Any = 0, **metadata: Any) -> dict[str, Any]:
    """Return what a front end posts for one subject."""
    return {
        "completed": True,
        "metadata": {
            "started_at": "2026-03-01T11:59:00.000Z",
            "finished_at": "2026-03-01T11:59:30.000Z",
            "user_agent": "rehearsal",
            "user_language": "en",
            "workflow_version": "2.2",
            "utc_offset": "0",
            **metadata,
        },
        "annotations": [{"task": "T0", "taskType": "single", "value": value}],
        "links": {"project": "1", "workflow": "10", "subjects": [subject_id]},
    }


def tasks() -> dict[str, Any]:
    """Return the tasks of a workflow with one question of two answers."""
    answers = [{"label": "Smooth"}, {"label": "Features"}]
    return {"T0": {"type": "single", "question": "Is it smooth?", "answers": answers}}


def ask(api: Api, **changes: Any) -> None:
    """Give workflow 10 its question and whatever else is to change."""
    answer = api.put("/workflows/10", {"workflows": {"tasks": tasks(), **changes}}, api.etag("/workflows/10"))
    assert answer.status_code == 200, answer.text


def app_token(standin: Standin | Remote, **form: str) -> str:
    """Return a token of the application, which belongs to the owner."""
    given = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, **form}
    answer = requests.post(f"{standin.endpoint}/oauth/token", data=given)
    return answer.json()["access_token"]


def sign_in(standin: Standin | Remote, login: str, password: str) -> requests.Session:
    """Return a session logged in as the client does it."""
    session = requests.Session()
    page = f"{standin.endpoint}/users/sign_in"
    token = session.get(page).headers["X-CSRF-Token"]
    user = {"login": login, "password": password, "remember_me": True}
    session.post(page, json={"authenticity_token": token, "user": user}).raise_for_status()
    return session


def user_token(standin: Standin | Remote, login: str, password: str) -> str:
    """Return a token by the password flow."""
    form = {"grant_type": "password", "client_id": PUBLIC_CLIENT_ID}
    answer = sign_in(standin, login, password).post(f"{standin.endpoint}/oauth/token", data=form)
    return answer.json()["access_token"]


def as_owner(standin: Standin) -> Api:
    """Return raw calls with the rights of the project's owner."""
    return Api(standin, app_token(standin))


def as_other(standin: Standin) -> Api:
    """Return raw calls of somebody who owns nothing."""
    return Api(standin, user_token(standin, OTHER, OTHER_PASSWORD))


def add_faults(standin: Standin, *rules: dict[str, Any]) -> None:
    """Put fault rules in force."""
    requests.post(f"{standin.endpoint}/standin/faults", json=list(rules)).raise_for_status()


def counts(standin: Standin) -> dict[str, int]:
    """Return the stand-in's counts of its rows."""
    return requests.get(f"{standin.endpoint}/standin/state").json()


_FILE = re.compile(r"[0-9a-f-]{36}\.")
_SECRETS = {"authenticity_token": "<csrf>", "refresh_token": "<refresh token>"}
_SIGNATURE = ("se", "sig")


def trace_entry(request: requests.PreparedRequest, response: requests.Response) -> dict[str, Any]:
    """Return one call in a form that two runs share: no host, no token, no file name, no signature."""
    parts = urlsplit(request.url or "")
    query = [[name, "<signature>" if name in _SIGNATURE else value] for name, value in parse_qsl(parts.query)]
    entry: dict[str, Any] = {
        "method": request.method,
        "path": _FILE.sub("<file>.", parts.path),
        "query": query,
        "status": response.status_code,
        "body": _body(request),
        "bearer": "Authorization" in request.headers,
    }
    if "If-Match" in request.headers:
        entry["if_match"] = True
    return entry


def _body(request: requests.PreparedRequest) -> Any:
    body = request.body
    if body is None:
        return None
    kind = request.headers.get("Content-Type", "")
    if kind == "application/json":
        given = json.loads(body)
        return {name: _SECRETS.get(name, value) for name, value in given.items()}
    if kind == "application/x-www-form-urlencoded":
        form = parse_qsl(body if isinstance(body, str) else body.decode())
        return {name: _SECRETS.get(name, value) for name, value in form}
    return {"type": kind, "blob": request.headers.get("x-ms-blob-type"), "bytes": len(body)}
