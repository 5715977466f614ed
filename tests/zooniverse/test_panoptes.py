"""The real panoptes-client through our adapter, against the stand-in and its faults."""

import json
import logging
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
import requests
from requests.adapters import HTTPAdapter

from alservice.errors import (
    AllowanceExhausted,
    BadConfig,
    NotFound,
    OutcomeUnknown,
    ZooniverseRefused,
    ZooniverseUnavailable,
)
from alservice.retry import RetryPolicy
from alservice.standin.config import StandinConfig
from alservice.standin.server import Standin
from alservice.zooniverse.client import PanoptesZooniverse, account_of, classification_of, project_of, roles_of
from alservice.zooniverse.http import Credentials, NoAnswer, Timeouts, Unreadable, document, judge_login
from alservice.zooniverse.records import KEY_FIELD, SubjectDraft, SubjectStatus
from alservice.zooniverse.workflow import RetirementRule
from tests.support.shared import ROOT

PNG = "image/png"
NEVER = RetirementRule(count=None)
TASKS = {
    "T0": {
        "type": "single",
        "question": "Smooth?",
        "required": True,
        "help": "",
        "answers": [{"label": "Yes", "next": "T1"}, {"label": "No"}],
    },
    "T1": {
        "type": "single",
        "question": "Round?",
        "required": True,
        "help": "",
        "answers": [{"label": "Yes"}, {"label": "No"}],
    },
}


class Site:
    """A stand-in, its fault hooks, and an adapter on it that never really sleeps."""

    def __init__(self, standin):
        self.endpoint = standin.endpoint
        self.slept = []
        self.zooniverse = self.adapter()

    def adapter(self, **changes):
        """Return another adapter on the same stand-in."""
        settings = {
            "credentials": Credentials(username="surveyor", password="secret"),
            "project_id": 1,
            "workflow_id": 10,
            "user_hash_key": b"pepper",
            "timeouts": Timeouts(connect_s=5.0, read_s=5.0),
            "retry": RetryPolicy(attempts=4),
            "sleep": self.slept.append,
            "chance": lambda: 1.0,
        }
        return PanoptesZooniverse(self.endpoint, **{**settings, **changes})

    def faults(self, *rules):
        """Put fault rules in force in place of others."""
        requests.delete(f"{self.endpoint}/standin/faults", timeout=5).raise_for_status()
        requests.post(f"{self.endpoint}/standin/faults", json=list(rules), timeout=5).raise_for_status()

    def met(self):
        """Return how many calls the first fault rule has met."""
        listing = requests.get(f"{self.endpoint}/standin/faults", timeout=5).json()
        return (listing["faults"] if isinstance(listing, dict) else listing)[0]["met"]

    def count(self, what):
        """Return how many rows of a kind the stand-in holds."""
        return requests.get(f"{self.endpoint}/standin/state", timeout=5).json()[what]

    def advance(self, seconds):
        """Move the stand-in's clock on."""
        requests.post(f"{self.endpoint}/standin/clock", json={"advance_s": seconds}, timeout=5).raise_for_status()

    def create(self, n=0):
        """Create the n-th subject."""
        return self.zooniverse.create_subject(draft(n), PNG)


def draft(n=0):
    """Return a draft without an object behind it."""
    metadata = {KEY_FIELD: f"key{n}", "#survey_id": f"J{n}"}
    return SubjectDraft(galaxy_id=f"J{n}", key=f"key{n}", metadata=metadata, image_key="unused")


def fault(path, kind="status", **fields):
    """Return a fault rule; the path is a pattern on the request target."""
    return {"path": path, "kind": kind, **fields}


@pytest.fixture
def start(tmp_path):
    """Start a stand-in with some settings and return its site."""
    running = []

    def started(**settings):
        config = StandinConfig(
            state=tmp_path / f"state{len(running)}",
            users=(("surveyor", "secret"), ("other", "secret2")),
            seed=1,
            **{"live_project": False, **settings},
        )
        standin = Standin(config)
        running.append(standin)
        return Site(standin.__enter__())

    yield started
    for standin in running:
        standin.__exit__(None, None, None)


@pytest.fixture
def site(start):
    """A stand-in as it comes."""
    return start()


@pytest.fixture
def sent(monkeypatch):
    """Record every request that leaves this process, with its time-out."""
    log = []
    send = HTTPAdapter.send

    def recording(self, request, stream=False, timeout=None, **kwargs):
        log.append((request, timeout))
        return send(self, request, stream=stream, timeout=timeout, **kwargs)

    monkeypatch.setattr(HTTPAdapter, "send", recording)
    return log


def calls(sent):
    """Return method and path of what was recorded."""
    return [f"{request.method} {urlsplit(request.url).path}" for request, _ in sent]


# --- connecting ---------------------------------------------------------------------------------------------


def test_check_logs_in_and_tells_who(site):
    """A password login works and names its user."""
    assert site.zooniverse.account().login == "surveyor"


def test_an_application_logs_in_without_a_user(start):
    """The client-credentials grant works and names the application."""
    site = start(client_id="survey-app", client_secret="shh")
    application = Credentials(client_id="survey-app", client_secret="shh")
    assert site.adapter(credentials=application).account().login == "surveyor"


@pytest.mark.parametrize(
    "credentials",
    [
        Credentials(username="surveyor", password="wrong"),
        Credentials(client_id="nobody", client_secret="wrong"),
        Credentials(client_id="survey-app", client_secret="wrong"),
    ],
)
def test_wrong_credentials_are_refused_at_once(start, credentials):
    """No retry and no KeyError: a person must act."""
    site = start(client_id="survey-app", client_secret="shh")
    with pytest.raises(ZooniverseRefused):
        site.adapter(credentials=credentials).account()
    assert site.slept == []


def test_credentials_are_one_pair_and_stay_secret():
    """Half a pair, both or none are refused; secrets are not in the text of the record."""
    for parts in ({}, {"username": "a"}, {"username": "a", "password": "b", "client_id": "c", "client_secret": "d"}):
        with pytest.raises(BadConfig):
            Credentials(**parts)
    assert "hush" not in repr(Credentials(username="a", password="hush"))
    assert "hush" not in repr(Credentials(client_id="a", client_secret="hush"))


@pytest.mark.parametrize("endpoint", ["", "http://localhost:1/", "localhost", "http://me:mine@localhost:1"])
def test_an_unusable_endpoint_is_refused(site, endpoint):
    """An empty one would mean the public site; a login in it would be stored and shown."""
    site.endpoint = endpoint
    with pytest.raises(BadConfig) as refusal:
        site.adapter()
    assert "mine" not in str(refusal.value)


@pytest.mark.parametrize("key", [b"", b"x" * 65])
def test_the_user_hash_key_must_be_usable(site, key):
    """An empty key would make pseudonyms that anyone can undo."""
    with pytest.raises(BadConfig):
        site.adapter(user_hash_key=key)


class Watched(dict):
    """An environment that remembers what of the client library's it was asked for."""

    def __init__(self, values):
        super().__init__(values)
        self.asked = set()

    def get(self, key, default=None):
        """Return a value."""
        self._remember(key)
        return super().get(key, default)

    def __getitem__(self, key):
        """Return a value."""
        self._remember(key)
        return super().__getitem__(key)

    def __contains__(self, key):
        """Return whether there is a value."""
        self._remember(key)
        return super().__contains__(key)

    def _remember(self, key):
        if str(key).startswith("PANOPTES_"):
            self.asked.add(key)


LIBRARY = ("ENDPOINT", "USERNAME", "PASSWORD", "CLIENT_ID", "CLIENT_SECRET", "REDIRECT_URL", "DEBUG")


@pytest.mark.parametrize("secret", [None, "shh"])
def test_no_variable_of_the_library_is_read(start, monkeypatch, secret):
    """Each would win over what a campaign says: another server, another application, another way to log in."""
    application = {"client_id": "survey-app", "client_secret": "shh"}
    site = start(**application)
    site.zooniverse.account()  # the library is imported by now; what that reads is the next test's
    values = {f"PANOPTES_{name}": "http://127.0.0.1:9" for name in LIBRARY}
    watched = Watched({**os.environ, **values})
    monkeypatch.setattr(os, "environ", watched)
    changes = {} if secret is None else {"credentials": Credentials(**application)}
    assert site.adapter(**changes).account()
    assert watched.asked == set()


def test_importing_the_library_leaves_the_logs_alone():
    """It sets up the root logger at import, and by ``PANOPTES_DEBUG`` for everything that anybody says."""
    program = (
        "import logging\n"
        "from alservice.zooniverse.http import ClientConnection, Credentials\n"
        "from alservice.zooniverse.http import Timeouts\n"
        "ClientConnection('http://127.0.0.1:9', Credentials(username='me', password='mine'), Timeouts())\n"
        "print(logging.getLogger().level, logging.getLogger().handlers)\n"
    )
    for debug in ("", "1"):
        environment = {**os.environ, "PANOPTES_DEBUG": debug}
        said = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, cwd=ROOT
        )
        assert said.stdout == f"{logging.WARNING} []\n"


class Sender(BaseHTTPRequestHandler):
    """Gives anybody a token, and sends every other request on to another server; remembers all of them."""

    def do_GET(self):
        """Answer."""
        self.server.seen.append(self.path)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        token = json.dumps({"access_token": "t", "expires_in": 7200}).encode() if self.path == "/oauth/token" else b""
        self.send_response(200 if token else 307)
        self.send_header("Location", f"{self.server.to}{self.path}")
        self.send_header("Content-Length", str(len(token)))
        self.end_headers()
        self.wfile.write(token)

    def do_POST(self):
        """Answer."""
        self.do_GET()

    def log_message(self, *_):
        """Keep the test's output clean."""


@pytest.fixture
def elsewhere():
    """A server that sends requests on, and the one that it sends them to."""
    with ExitStack() as stack:
        servers = [stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Sender)) for _ in range(2)]
        for server in servers:
            server.seen, server.to = [], f"http://127.0.0.1:{servers[1].server_port}"
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
        yield servers


def test_a_redirect_to_another_server_is_not_followed(site, elsewhere):
    """A 307 repeats the request: what we send would go to whatever it names."""
    first, second = elsewhere
    site.endpoint = f"http://127.0.0.1:{first.server_port}"
    application = Credentials(client_id="survey-app", client_secret="shh")
    with pytest.raises(ZooniverseRefused, match="sends it on to another server"):
        site.adapter(credentials=application).create_subject(draft(), PNG)
    with pytest.raises(ZooniverseUnavailable, match="307 without a token"):
        site.adapter().account()
    assert first.seen[:2] == ["/oauth/token", "/api/subjects"]
    assert second.seen == []


def test_no_proxy_is_between_us_and_a_stand_in(site, elsewhere, monkeypatch):
    """A proxy of the environment is for the real site; it cannot reach this machine's loopback, and sees no login."""
    proxy, _ = elsewhere
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.server_port}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    created = site.create()
    site.zooniverse.upload_image(created.upload_url, b"data", PNG)
    assert proxy.seen == []


def test_every_request_has_a_time_out_and_stays_at_the_endpoint(site, sent):
    """No call can hang for ever, and none leaves for another host."""
    created = site.create()
    site.zooniverse.upload_image(created.upload_url, b"data", PNG)
    site.zooniverse.fetch_image(site.zooniverse.image_url(created.zooniverse_id))
    assert {timeout for _, timeout in sent} == {(5.0, 5.0)}
    assert all(request.url.startswith(site.endpoint) for request, _ in sent)
    assert calls(sent)[:4] == ["GET /users/sign_in", "POST /users/sign_in", "POST /oauth/token", "POST /api/subjects"]


@pytest.mark.parametrize("body", ["json", "html", "empty"])
@pytest.mark.parametrize("path", ["/users/sign_in", "/oauth/token"])
@pytest.mark.parametrize("status", [503, 429])
def test_a_login_that_is_down_is_waited_for(site, path, status, body):
    """Whatever the outage looks like, two of them are survived, and an endless one is retriable."""
    site.faults(fault(path, status=status, body=body, count=2))
    assert site.zooniverse.account().login == "surveyor"
    assert site.slept == [1.0, 2.0]
    site.faults(fault(path, status=status, body=body))
    with pytest.raises(ZooniverseUnavailable):
        site.adapter().account()


def test_a_create_is_not_in_doubt_when_the_login_failed(site):
    """Nothing was sent, so nothing needs to be reconciled."""
    for rule in (fault("/oauth/token", status=502), fault("/oauth/token", "reset"), fault("/users/sign_in", "close")):
        site.faults(rule)
        with pytest.raises(ZooniverseUnavailable):
            site.adapter().create_subject(draft(), PNG)
    assert site.count("subjects") == 0


def response(status, body=b"", *, method="GET", path="/users/sign_in", headers=None):
    """Return a response as requests would."""
    made = requests.Response()
    made.status_code, made._content, made.headers = status, body, requests.structures.CaseInsensitiveDict(headers or {})
    made.request = requests.Request(method, f"http://localhost{path}").prepare()
    return made


@pytest.mark.parametrize(
    "reply",
    [
        response(200, b"<html>maintenance</html>"),
        response(200, b"<html>maintenance</html>", method="POST"),
        response(200, b"", method="POST", path="/oauth/token"),
    ],
)
def test_a_login_page_without_tokens_is_an_outage(reply):
    """The client would fail with KeyError('x-csrf-token') or a JSON error."""
    with pytest.raises(ZooniverseUnavailable):
        judge_login(reply)


def test_credentials_in_netrc_are_ignored(site, sent, monkeypatch, tmp_path):
    """The library would put them over the bearer token, and on uploads that must carry none."""
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {urlsplit(site.endpoint).hostname} login me password mine\n")
    monkeypatch.setenv("NETRC", str(netrc))
    site.zooniverse.upload_image(site.create().upload_url, b"pixels", PNG)
    assert not any(request.headers.get("Authorization", "").startswith("Basic") for request, _ in sent)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (response(200), Unreadable),
        (response(200, b'{"errors": [{"message": "no"}]}'), Unreadable),
        (response(200, b"<html>maintenance</html>"), NoAnswer),
        (response(200, b"[]"), NoAnswer),
    ],
)
def test_a_success_without_content_is_none(reply, error):
    """An empty answer is a refusal; one that Panoptes never wrote may pass."""
    with pytest.raises(error):
        document(reply, "GET /subjects")


def test_each_thread_logs_in_for_itself(site, sent):
    """No two threads share a client, so none can break the token of another."""
    for _ in range(3):
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(site.zooniverse.account).result().login == "surveyor"
    assert calls(sent).count("POST /users/sign_in") == 3


def test_an_expired_token_is_renewed_once_and_the_call_sent_again(site):
    """The client trusts its own clock; the server's empty 401 is what tells."""
    site.create(0)
    site.advance(8000)
    assert site.create(1).zooniverse_id
    assert site.count("subjects") == 2


@pytest.mark.parametrize("status", [401, 403])
def test_an_empty_refusal_is_never_success(site, status):
    """Doorkeeper's empty 401 and 403 look like an empty success to the client."""
    set_id = site.zooniverse.ensure_subject_set("active")
    created = site.create()
    site.faults(fault("/api/", status=status, body="empty"))
    refused = [
        site.zooniverse.account,
        site.zooniverse.workflow,
        lambda: site.zooniverse.define_workflow(TASKS, "T0", NEVER),
        lambda: site.zooniverse.ensure_subject_set("other"),
        lambda: site.create(1),
        lambda: site.zooniverse.image_url(created.zooniverse_id),
        lambda: list(site.zooniverse.subjects_above(0)),
        lambda: site.zooniverse.delete_subject(created.zooniverse_id),
        lambda: site.zooniverse.link(set_id, [created.zooniverse_id]),
        lambda: site.zooniverse.linked(set_id),
        lambda: list(site.zooniverse.classifications(0)),
    ]
    for call in refused:
        with pytest.raises(ZooniverseRefused, match=str(status)):
            call()
    assert site.slept == []
    assert (site.count("subjects"), site.count("set_member_subjects")) == (1, 0)


def test_threads_refresh_their_tokens_without_a_race(start):
    """With tokens that are always about to expire, many threads work at once."""
    site = start(token_lifetime_s=60)
    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(site.create, range(40)))
    assert len({subject.zooniverse_id for subject in created}) == site.count("subjects") == 40


# --- creating -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "fields",
    [
        *({"status": status, "body": body} for status in (500, 502, 504, 429) for body in ("json", "html", "empty")),
        {"kind": "reset"},
        {"kind": "close"},
        {"kind": "hang", "seconds": 1.0},
    ],
)
def test_a_create_without_a_trustworthy_answer_is_in_doubt(site, fields, when):
    """It is sent exactly once, and the caller is told that it may have happened."""
    zooniverse = site.adapter(timeouts=Timeouts(connect_s=5.0, read_s=0.3))
    zooniverse.account()
    site.faults(fault("/api/subjects", **{"method": "POST", "when": when, **fields}))
    with pytest.raises(OutcomeUnknown, match="J0"):
        zooniverse.create_subject(draft(), PNG)
    assert site.met() == 1
    assert site.slept == []
    assert site.count("subjects") == (when == "after")


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_create_that_is_refused_is_refused(site, status):
    """A client error says that nothing was done; it is raised at once with the server's words."""
    site.faults(fault("/api/subjects", status=status))
    with pytest.raises(ZooniverseRefused, match=str(status)):
        site.create()
    assert site.met() == 1
    assert site.count("subjects") == 0


def test_the_servers_words_reach_the_error(site):
    """A media type Zooniverse does not take is explained."""
    with pytest.raises(ZooniverseRefused, match="image/fits"):
        site.zooniverse.create_subject(draft(), "image/fits")


def test_the_account_says_what_is_left_and_what_it_is_to_the_project(start):
    """Uploads are counted, the bound is the account's; a stranger is nobody, though the workflow is the project's."""
    site = start(subject_limit=3)
    site.create()
    account = site.zooniverse.account()
    assert (account.login, account.uploaded, account.allowance, account.left) == ("surveyor", 1, 3, 2)
    rights = site.zooniverse.rights(account.user_id)
    assert (rights.roles, rights.project_id, rights.workflow_project_id) == ({"owner"}, 1, 1)
    stranger = site.adapter(credentials=Credentials(username="other", password="secret2"))
    assert stranger.rights(stranger.account().user_id).roles == frozenset()


@pytest.mark.parametrize(
    ("told", "allowance"),
    [({}, 50), ({"max_subjects": None}, 10_000), ({"upload_whitelist": True}, None), ({"admin": True}, None)],
)
def test_an_account_may_be_without_a_bound(told, allowance):
    """Who is on the upload list, or administers, is never refused; who has no bound of their own has everybody's."""
    entry = {"id": "7", "login": "ann", "uploaded_subjects_count": 5, "max_subjects": 50, **told}
    assert account_of(entry).allowance == allowance


def test_roles_of_others_are_not_ours_and_a_groups_may_be():
    """Nobody is told who is in a group: a group with rights is no reason to refuse a run."""

    def entry(kind, identity):
        return {"id": "1", "roles": ["collaborator"], "links": {"owner": {"type": kind, "id": identity}}}

    assert roles_of(entry("users", "7"), 7) == roles_of(entry("user_groups", "3"), 7) == {"collaborator"}
    assert roles_of(entry("users", "8"), 7) == frozenset()


@pytest.mark.parametrize("read", [account_of, lambda entry: roles_of(entry, 7), project_of])
def test_an_answer_without_what_it_owes_is_no_answer(read):
    """Kind: a missing field that reads as a right, or as none."""
    with pytest.raises(Unreadable):
        read({"id": "7"})


def test_an_exhausted_allowance_has_its_own_error(start):
    """No retry can help, and no duplicate may be sent to find out."""
    site = start(subject_limit=1)
    site.create(0)
    with pytest.raises(AllowanceExhausted, match="1 subjects of 1 maximum"):
        site.create(1)


def test_a_server_that_does_not_listen_leaves_no_doubt(site):
    """A connection that was never made has created nothing, and the message says where it was to go."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        site.endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ZooniverseUnavailable, match=site.endpoint):
        site.adapter().create_subject(draft(), PNG)


def test_a_server_that_went_away_leaves_no_doubt(tmp_path):
    """The same with a login from before, when the create itself finds nobody."""
    with Standin(StandinConfig(state=tmp_path, users=(("surveyor", "secret"),))) as standin:
        site = Site(standin)
        site.zooniverse.account()
    with pytest.raises(ZooniverseUnavailable):
        site.create()


def test_a_subject_is_created_as_the_contract_says(site, sent):
    """One media type, hidden metadata and the project; the answer names where to PUT."""
    created = site.create(7)
    body = json.loads(next(r.body for r, _ in sent if urlsplit(r.url).path == "/api/subjects"))
    assert body == {
        "subjects": {
            "locations": [PNG],
            "metadata": {KEY_FIELD: "key7", "#survey_id": "J7"},
            "links": {"project": 1},
        }
    }
    assert created.upload_url.startswith(site.endpoint)


# --- images -------------------------------------------------------------------------------------------------


def test_an_image_comes_back_as_it_was_sent(site, sent):
    """The signed URL is the only credential: no token goes with the bytes."""
    created = site.create()
    url = site.zooniverse.image_url(created.zooniverse_id)
    assert site.zooniverse.fetch_image(url) is None
    site.zooniverse.upload_image(created.upload_url, b"pixels", PNG)
    assert site.zooniverse.fetch_image(url) == b"pixels"
    put = next(request for request, _ in sent if request.method == "PUT")
    assert put.headers["x-ms-blob-type"] == "BlockBlob"
    assert put.headers["Content-Type"] == PNG
    media = [r for r, _ in sent if not urlsplit(r.url).path.startswith(("/api/", "/users/", "/oauth/"))]
    assert len(media) == 3
    assert not any("Authorization" in request.headers or "Cookie" in request.headers for request in media)


@pytest.mark.parametrize(
    "rule",
    [
        fault("/uploads/", method="PUT", status=503, count=2),
        fault("/uploads/", method="PUT", kind="reset", count=1),
        fault("/uploads/", method="PUT", kind="reset", when="after", count=1),
        fault("/uploads/", method="PUT", status=429, body="html", count=3),
    ],
)
def test_an_upload_is_repeated_until_it_arrives(site, rule):
    """Putting the same bytes twice is harmless."""
    created = site.create()
    site.faults(rule)
    site.zooniverse.upload_image(created.upload_url, b"pixels", PNG)
    assert site.zooniverse.fetch_image(site.zooniverse.image_url(created.zooniverse_id)) == b"pixels"
    assert len(site.slept) == rule["count"]


def test_an_upload_that_keeps_failing_is_not_taken_for_done(site):
    """The client's own save() would return as if all were well."""
    created = site.create()
    site.faults(fault("/uploads/", kind="reset"))
    with pytest.raises(ZooniverseUnavailable):
        site.zooniverse.upload_image(created.upload_url, b"pixels", PNG)
    site.faults()
    assert site.zooniverse.fetch_image(site.zooniverse.image_url(created.zooniverse_id)) is None


def test_an_expired_upload_url_is_refused_without_its_signature_in_the_message(site):
    """Waiting does not help, and the message may be logged."""
    created = site.create()
    site.advance(301)
    with pytest.raises(ZooniverseRefused) as caught:
        site.zooniverse.upload_image(created.upload_url, b"pixels", PNG)
    assert "sig=" not in str(caught.value)
    assert site.slept == []


def test_an_image_beyond_every_bound_is_not_read(site, monkeypatch):
    """What is larger than anything we send is refused, not held in memory."""
    created = site.create()
    monkeypatch.setattr("alservice.zooniverse.http.MAX_IMAGE_BYTES", 5)
    site.zooniverse.upload_image(created.upload_url, b"123456", PNG)
    with pytest.raises(ZooniverseRefused, match="more than 5 bytes"):
        site.zooniverse.fetch_image(site.zooniverse.image_url(created.zooniverse_id))


def test_the_image_of_no_subject_is_not_found(site):
    """The publisher tells a subject that is gone from one without an image."""
    with pytest.raises(NotFound):
        site.zooniverse.image_url(999)


# --- listing, linking, deleting -----------------------------------------------------------------------------


def test_subjects_are_listed_from_the_last_page_back_and_no_further(start, sent):
    """Only pages that can hold higher ids are read, linked or not."""
    site = start(page_size_limit=2)
    ids = [site.create(n).zooniverse_id for n in range(7)]
    sent.clear()
    found = list(site.zooniverse.subjects_above(ids[3]))
    assert [subject.zooniverse_id for subject in found] == ids[:3:-1]
    assert [subject.key for subject in found] == ["key6", "key5", "key4"]
    pages = [request.url.rpartition("page=")[2] for request, _ in sent[1:]]
    assert pages == ["4", "3", "2"]
    assert [subject.zooniverse_id for subject in site.zooniverse.subjects_above(0)] == ids[::-1]


def test_an_empty_project_lists_nothing(site):
    """No subject is not an error."""
    assert list(site.zooniverse.subjects_above(0)) == []


def test_a_page_that_fails_is_read_again(start):
    """The client would lose its iterator; here a listing of many pages survives."""
    site = start(page_size_limit=2)
    for n in range(5):
        site.create(n)
    site.faults(
        fault("page=2", status=502, count=2),
        fault("page=1", kind="reset", count=1),
        fault("page=3", status=429, body="html", count=1),
    )
    assert len(list(site.zooniverse.subjects_above(0))) == 5


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "fields",
    [
        {"status": 502, "count": 2},
        {"status": 409, "count": 1},
        {"status": 429, "body": "html", "count": 1},
        {"status": 429, "body": "empty", "count": 1},
        {"kind": "reset", "count": 2},
        {"kind": "close", "count": 1},
    ],
)
def test_a_link_is_repeated_until_it_holds(site, fields, when):
    """The links route ignores what it has, so repeating is safe on both sides of the commit."""
    set_id = site.zooniverse.ensure_subject_set("active")
    ids = [site.create(n).zooniverse_id for n in range(3)]
    site.faults(fault("links/subjects", **{"when": when, **fields}))
    site.zooniverse.link(set_id, ids)
    assert site.zooniverse.linked(set_id) == set(ids)
    assert site.count("set_member_subjects") == 3
    assert len(site.slept) == fields["count"]


def test_a_link_that_cannot_be_made_links_nothing(site):
    """One id that does not exist refuses them all."""
    set_id = site.zooniverse.ensure_subject_set("active")
    created = site.create()
    with pytest.raises(ZooniverseRefused, match="422"):
        site.zooniverse.link(set_id, [created.zooniverse_id, 999])
    assert site.zooniverse.linked(set_id) == frozenset()


def test_members_are_read_over_all_pages(start):
    """A set larger than a page is read to its end."""
    site = start(page_size_limit=2)
    set_id = site.zooniverse.ensure_subject_set("active")
    ids = [site.create(n).zooniverse_id for n in range(5)]
    site.zooniverse.link(set_id, ids)
    assert site.zooniverse.linked(set_id) == set(ids)


def test_members_above_an_id_cost_only_their_pages(start, sent):
    """A batch looks for its own members; the thousands that were linked before it are not read again."""
    site = start(page_size_limit=2)
    set_id = site.zooniverse.ensure_subject_set("active")
    ids = [site.create(n).zooniverse_id for n in range(9)]
    site.zooniverse.link(set_id, ids)
    sent.clear()
    assert site.zooniverse.linked(set_id, above=ids[6]) == set(ids[7:])
    assert len(calls(sent)) == 3, "the count of pages, and the last two"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "fields", [{"status": 409, "count": 1}, {"status": 504, "count": 2}, {"kind": "reset", "count": 1}]
)
def test_an_unlink_is_repeated_until_it_holds(site, sent, fields, when):
    """Absent ids are ignored, so repeating is safe; the subjects themselves stay."""
    set_id = site.zooniverse.ensure_subject_set("active")
    ids = [site.create(n).zooniverse_id for n in range(3)]
    site.zooniverse.link(set_id, ids)
    site.faults(fault("links/subjects", method="DELETE", **{"when": when, **fields}))
    sent.clear()
    site.zooniverse.unlink(set_id, ids[:2])
    assert site.zooniverse.linked(set_id) == {ids[2]}
    assert calls(sent)[0] == f"DELETE /api/subject_sets/{set_id}/links/subjects/{ids[0]},{ids[1]}"
    assert site.count("subjects") == 3


def test_an_empty_refusal_unlinks_nothing_and_says_so(site):
    """A status without content is success for this call, but only its own status."""
    set_id = site.zooniverse.ensure_subject_set("active")
    site.faults(fault("links/subjects", status=403, body="empty"))
    with pytest.raises(ZooniverseRefused, match="403"):
        site.zooniverse.unlink(set_id, [1])


def test_subjects_of_a_pool_are_found_by_their_survey_id(start):
    """Any metadata field may hold it, over all pages; the pool is not linked to the workflow."""
    site = start(page_size_limit=2)
    with pytest.raises(NotFound, match="pool"):
        site.zooniverse.find_subject_set("pool")
    pool = site.zooniverse.ensure_subject_set("pool")
    assert site.zooniverse.find_subject_set("pool") == pool
    ids = [site.create(n).zooniverse_id for n in range(3)]
    site.zooniverse.link(pool, ids)
    assert dict(site.zooniverse.survey_ids(pool, "#survey_id")) == {i: f"J{n}" for n, i in enumerate(ids)}
    assert list(site.zooniverse.survey_ids(pool, "name")) == []


def test_statuses_are_read_in_hundreds(site, sent):
    """Subjects without a row are left out; one call asks for a hundred."""
    set_id = site.zooniverse.ensure_subject_set("active")
    ids = [site.create(n).zooniverse_id for n in range(2)]
    site.zooniverse.link(set_id, ids)
    sent.clear()
    found = site.zooniverse.statuses([*ids, *range(1, 150)])
    assert found == {i: SubjectStatus(classifications=0, is_retired=False, reason=None) for i in ids}
    assert len(sent) == 2
    assert site.zooniverse.statuses([]) == {}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("fields", [{"status": 500, "count": 2}, {"status": 429, "body": "html", "count": 1}])
def test_subjects_are_retired_and_brought_back(site, sent, fields, when):
    """The workflow is told by the contract's calls, over failures; its counters show it afterwards."""
    ids = [site.create(n).zooniverse_id for n in range(2)]
    site.faults(fault("retired_subjects", **{"when": when, **fields}), fault("unretire", **{"when": when, **fields}))
    sent.clear()
    site.zooniverse.retire(ids, "other")
    assert calls(sent)[0] == "POST /api/workflows/10/retired_subjects"
    assert json.loads(sent[0][0].body) == {"subject_ids": [str(i) for i in ids], "retirement_reason": "other"}
    retired = SubjectStatus(classifications=0, is_retired=True, reason="other")
    assert site.zooniverse.statuses(ids) == dict.fromkeys(ids, retired)
    site.zooniverse.unretire(ids[:1])
    assert not site.zooniverse.statuses(ids)[ids[0]].is_retired
    assert site.zooniverse.statuses(ids)[ids[1]] == retired


@pytest.mark.parametrize("status", [401, 403])
def test_an_empty_refusal_retires_nothing_and_says_so(site, status):
    """The client takes it for success; so many subjects would be shown for ever."""
    site.faults(fault("retired_subjects", status=status, body="empty"))
    with pytest.raises(ZooniverseRefused, match=str(status)):
        site.zooniverse.retire([1], "other")


@pytest.mark.parametrize(
    "rule",
    [
        fault("/api/subjects/", method="DELETE", status=504, when="after", count=1),
        fault("/api/subjects/", method="DELETE", status=412, count=1),
        fault("/api/subjects/", method="DELETE", kind="reset", count=2),
    ],
)
def test_a_delete_is_repeated_until_the_subject_is_gone(site, rule):
    """A delete that was done is a subject that is absent, which is fine."""
    created = site.create()
    site.faults(rule)
    site.zooniverse.delete_subject(created.zooniverse_id)
    site.zooniverse.delete_subject(created.zooniverse_id)
    assert list(site.zooniverse.subjects_above(0)) == []


# --- setting up ---------------------------------------------------------------------------------------------


def test_a_set_is_created_once_and_linked_to_the_workflow(site, sent):
    """Its name is its key: asking again creates and links nothing."""
    set_id = site.zooniverse.ensure_subject_set("active")
    sent.clear()
    assert site.zooniverse.ensure_subject_set("active") == set_id
    assert all(call.startswith("GET") for call in calls(sent))
    assert site.count("subject_sets") == 1


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("path", ["/api/subject_sets", "links/subject_sets"])
def test_a_set_survives_lost_answers(site, path, when):
    """A create whose answer was lost is found by its name."""
    site.faults(fault(path, method="POST", status=502, when=when, count=2))
    set_id = site.zooniverse.ensure_subject_set("active")
    assert site.zooniverse.ensure_subject_set("active") == set_id
    assert site.count("subject_sets") == 1


def test_an_empty_workflow_is_given_its_tasks_once(site, sent):
    """Asking for the same tasks again changes nothing; asking for others is refused."""
    assert site.zooniverse.workflow().tasks == {}
    defined = site.zooniverse.define_workflow(TASKS, "T0", NEVER)
    assert defined.workflow_id == 10
    assert defined.tasks.keys() == TASKS.keys()
    sent.clear()
    assert site.zooniverse.define_workflow(TASKS, "T0", NEVER) == defined
    assert all(call.startswith("GET") for call in calls(sent))
    others = {"T0": {**TASKS["T0"], "question": "Spiral?"}}
    with pytest.raises(ZooniverseRefused, match="other tasks"):
        site.zooniverse.define_workflow(others, "T0", NEVER)
    assert site.zooniverse.workflow() == defined
    assert site.zooniverse.retirement() == NEVER


def test_the_rule_of_a_workflow_is_read_and_set(site):
    """A workflow without a rule retires after Panoptes' 15 classifications; an empty one is given ours."""
    assert site.zooniverse.retirement() == RetirementRule(count=15)
    site.zooniverse.define_workflow(TASKS, "T0", RetirementRule(count=40))
    assert site.zooniverse.retirement() == RetirementRule(count=40)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("status", [504, 412])
def test_tasks_are_sent_again_only_to_a_workflow_still_empty(site, when, status):
    """A PUT whose answer was lost is looked up before it is repeated."""
    site.faults(fault("/api/workflows/10", method="PUT", status=status, when=when, count=1))
    defined = site.zooniverse.define_workflow(TASKS, "T0", NEVER)
    assert defined == site.zooniverse.workflow()
    assert site.met() == (1 if when == "after" else 2)


# --- classifications ----------------------------------------------------------------------------------------


def classify(site, subject_id, *, as_user=None, gold=None, **metadata):
    """Post a classification as a front end does."""
    headers = {"Accept": "application/vnd.api+json; version=1", "Content-Type": "application/json"}
    if as_user is not None:
        headers["Authorization"] = f"Bearer {as_user}"
    given = {
        "annotations": [{"task": "T0", "taskType": "single", "value": 0}],
        "completed": True,
        "metadata": {
            "started_at": "2024-05-01T10:00:00.000Z",
            "finished_at": "2024-05-01T10:00:05.000Z",
            "user_agent": "test",
            "user_language": "en",
            "workflow_version": "2.2",
            "session": "tab1",
            **metadata,
        },
        "links": {"project": "1", "workflow": "10", "subjects": [str(subject_id)]},
    }
    if gold is not None:
        given["gold_standard"] = gold
    posted = requests.post(
        f"{site.endpoint}/api/classifications", json={"classifications": given}, headers=headers, timeout=5
    )
    assert posted.status_code == 201, posted.text
    return int(posted.json()["classifications"][0]["id"])


def test_classifications_are_read_in_order_past_the_digit_boundary(start):
    """The server's own next page would repeat rows where ids gain a digit."""
    site = start(first_classification_id=97, page_size_limit=2)
    site.zooniverse.define_workflow(TASKS, "T0", NEVER)
    subject = site.create().zooniverse_id
    ids = [classify(site, subject) for _ in range(7)]
    pages = list(site.zooniverse.classifications(0))
    assert [row.classification_id for page in pages for row in page] == ids == list(range(97, 104))
    assert max(map(len, pages)) == 2
    assert [row.classification_id for page in site.zooniverse.classifications(101) for row in page] == [102, 103]


def test_gold_standard_is_told_by_its_own_listing(start):
    """Page by page to the empty one; the listing of all classifications does not tell them apart."""
    site = start(page_size_limit=2)
    site.zooniverse.define_workflow(TASKS, "T0", NEVER)
    subject = site.create().zooniverse_id
    assert list(site.zooniverse.gold_standard()) == []
    ids = [classify(site, subject, gold=number % 2 == 0) for number in range(6)]
    pages = list(site.zooniverse.gold_standard())
    assert sorted(number for page in pages for number in page) == ids[::2]
    assert max(map(len, pages)) == 2
    assert not any(row.gold_standard for page in site.zooniverse.classifications(0) for row in page)


def test_a_classification_keeps_no_one_by_name(site):
    """What comes through is the record; the volunteer is a keyed hash that depends on the key."""
    site.zooniverse.define_workflow(TASKS, "T0", NEVER)
    subject = site.create().zooniverse_id
    (page,) = _after_one_classification(site, subject)
    (row,) = page
    assert row.user_hash is None
    assert (row.workflow_id, row.workflow_version, row.zooniverse_subject_id) == (10, "2.2", subject)
    assert (row.session, row.started_at) == ("tab1", "2024-05-01T10:00:00.000Z")
    assert row.finished_at == "2024-05-01T10:00:05.000Z"
    assert row.annotations == ({"task": "T0", "taskType": "single", "value": 0},)
    assert row.created_at.tzinfo is UTC
    assert not row.seen_before


def _after_one_classification(site, subject):
    classify(site, subject)
    return list(site.zooniverse.classifications(0))


@pytest.mark.parametrize("body", ["html", "json"])
def test_a_page_of_classifications_that_fails_is_read_again(site, body):
    """An outage in the middle of reading is waited out."""
    site.zooniverse.define_workflow(TASKS, "T0", NEVER)
    classify(site, site.create().zooniverse_id)
    site.faults(fault("classifications/project", status=502, body=body, count=2))
    assert len(list(site.zooniverse.classifications(0))) == 1


ENTRY = {
    "id": "500000001",
    "created_at": "2024-05-01T12:00:06.123+02:00",
    "annotations": [{"task": "T0", "value": None}],
    "metadata": {"workflow_version": "2.2", "finished_at": "x", "seen_before": True, "live_project": False},
    "links": {"user": "77", "workflow": "10", "subjects": ["5"]},
}


def test_an_entry_becomes_a_record():
    """Times become UTC, ids numbers, and flags what Panoptes says."""
    row = classification_of(ENTRY, b"pepper")
    assert row.created_at == datetime(2024, 5, 1, 10, 0, 6, 123000, tzinfo=UTC)
    assert (row.seen_before, row.live_project) == (True, False)
    assert row.user_hash == classification_of(ENTRY | {"id": "2"}, b"pepper").user_hash
    assert row.user_hash != classification_of(ENTRY, b"salt").user_hash
    assert "77" not in json.dumps({**row._asdict(), "created_at": "", "user_hash": ""})


@pytest.mark.parametrize("metadata", [{}, None, {"finished_at": 5, "session": ["x"], "workflow_version": None}])
def test_what_a_front_end_left_out_is_not_made_up(metadata):
    """Absent texts stay absent; a row that was not yet marked as live or not counts as live."""
    row = classification_of(ENTRY | {"metadata": metadata}, b"pepper")
    assert (row.session, row.started_at, row.finished_at, row.workflow_version) == (None, None, None, "")
    assert (row.seen_before, row.live_project) == (False, True)


@pytest.mark.parametrize("subjects", [[], ["5", "6"], None])
def test_only_a_single_subject_is_a_subject(subjects):
    """No subject, or several at once, is none that a vote could count for."""
    entry = ENTRY | {"links": ENTRY["links"] | {"subjects": subjects}}
    assert classification_of(entry, b"pepper").zooniverse_subject_id is None


@pytest.mark.parametrize(
    "broken",
    [
        {"id": None},
        {"created_at": "yesterday"},
        {"annotations": "none"},
        {"links": {}},
        {"links": {"workflow": "10", "subjects": ["x"]}},
    ],
)
def test_an_entry_without_what_panoptes_writes_is_named(broken):
    """A row that cannot be a classification is refused by name, never skipped."""
    with pytest.raises(Unreadable, match=r"classification ('500000001'|None)"):
        classification_of(ENTRY | broken, b"pepper")


def test_a_lost_answer_is_told_apart_from_nothing_sent():
    """Both are retriable; only the first puts a create in doubt."""
    assert issubclass(NoAnswer, ZooniverseUnavailable)
