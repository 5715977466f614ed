"""Volunteers at the stand-in: right votes over HTTP, resumable at any point, and never at a real site."""

import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import numpy as np
import pytest

from alservice.errors import BadInput, BadVotes, Terminal, ZooniverseRefused, ZooniverseUnavailable
from alservice.rehearsal.sittings import Manners
from alservice.rehearsal.volunteers import API_TYPE, Assignment, VolunteerClient, VolunteerReport, Volunteers
from alservice.science.tree import load_tree
from alservice.science.votes import count_walks
from alservice.standin.config import StandinConfig
from alservice.standin.server import Standin
from alservice.zooniverse.endpoint import RealSiteRefused
from alservice.zooniverse.workflow import Workflow, WorkflowMismatch, map_answers, tasks_of

TREE = load_tree("gz2")
N_GALAXIES = 6
OWNER = ("owner", "owner's password")
PEOPLE = tuple((f"person{i}", f"password {i}") for i in range(3))
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
POLITE = Manners(duplicate_share=0.0)
AT_ONCE = (0.0, 0.0)


class Bars:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.total: int | None = None
        self.done = 0
        self.finished = False
        self._lock = threading.Lock()

    def start(self, what: str, total: int | None) -> None:
        """Keep the total."""
        self.total = total

    def advance(self, n: int = 1) -> None:
        """Add up, from any thread."""
        with self._lock:
            self.done += n

    def note(self, text: str) -> None:
        """Say nothing."""

    def finish(self) -> None:
        """Remember the end."""
        self.finished = True


class Site:
    """The owner's view of a running stand-in."""

    def __init__(self, standin: Standin) -> None:
        self.endpoint = standin.endpoint
        with VolunteerClient(self.endpoint, timeout_s=10, resend_waits_s=()) as client:
            self._token = client.log_in(*OWNER)

    def call(self, method: str, path: str, document: object = None, **headers: str) -> tuple[Any, Mapping[str, str]]:
        """Return the JSON document and headers of a call as the owner."""
        connection = HTTPConnection(urlsplit(self.endpoint).netloc, timeout=10)
        sent = {
            "Accept": API_TYPE,
            "Content-Type": "application/json",
            "Authorization": f"Bearer {self._token}",
        }
        connection.request(method, path, None if document is None else json.dumps(document), sent | headers)
        response = connection.getresponse()
        data = response.read()
        connection.close()
        assert response.status < 300, (method, path, response.status, data)
        return json.loads(data) if data else None, response.headers

    def set_tasks(self, tasks: Mapping[str, Any]) -> None:
        """Give the workflow these tasks."""
        _, headers = self.call("GET", "/api/workflows/10")
        self.call("PUT", "/api/workflows/10", {"workflows": {"tasks": tasks}}, **{"If-Match": headers["ETag"]})

    def add_subject(self, name: str) -> int:
        """Create a subject with an image elsewhere and return its id."""
        attributes = {
            "metadata": {"#id": name},
            "locations": [{"image/jpeg": "http://127.0.0.1/none.jpeg"}],
            "links": {"project": "1"},
        }
        document, _ = self.call("POST", "/api/subjects", {"subjects": attributes})
        return int(document["subjects"][0]["id"])

    def classifications(self) -> list[dict[str, Any]]:
        """Return every classification of the project in order of id."""
        rows: list[dict[str, Any]] = []
        while True:
            last = rows[-1]["id"] if rows else 0
            path = f"/api/classifications/project?project_id=1&last_id={last}&page_size=200"
            page = self.call("GET", path)[0]["classifications"]
            if not page:
                return rows
            rows += page

    def sessions(self) -> list[str]:
        """Return the session of every classification."""
        return [row["metadata"]["session"] for row in self.classifications()]

    def counts(self, assignments: Sequence[Assignment]) -> np.ndarray:
        """Return the votes (N, A) of distinct sessions, read through the live workflow."""
        workflow = self.call("GET", "/api/workflows/10")[0]["workflows"][0]
        columns = map_answers(
            TREE, Workflow(workflow_id=10, version=workflow["version"], tasks=workflow["tasks"])
        ).columns
        places = {str(assignment.subject_id): place for place, assignment in enumerate(assignments)}
        counts = np.zeros((len(assignments), TREE.n_answers), dtype=np.int64)
        for row in {row["metadata"]["session"]: row for row in self.classifications()}.values():
            for annotation in row["annotations"]:
                column = columns[annotation["task"]][annotation["value"]]
                counts[places[row["links"]["subjects"][0]], column] += 1
        return counts

    def strike(self, **rule: object) -> None:
        """Put one fault rule in force, on classifications being sent."""
        self.call("POST", "/standin/faults", [{"path": "/api/classifications$", "method": "POST", **rule}])

    def heal(self) -> None:
        """Drop all fault rules."""
        self.call("DELETE", "/standin/faults")


@pytest.fixture
def open_site(tmp_path: Path) -> Iterator[Callable[[str], Site]]:
    """Return a function that opens a named stand-in whose workflow asks the tree; all of them close afterwards."""
    running: list[Standin] = []

    def start(name: str) -> Site:
        users = (OWNER, *PEOPLE)
        state = tmp_path / name
        with Standin(StandinConfig(state=state, users=users, live_project=False, seed=1)) as standin:
            Site(standin).set_tasks(tasks_of(TREE))
        running.append(Standin(StandinConfig(state=state, users=users, seed=1)).start())
        return Site(running[-1])

    yield start
    for standin in running:
        standin.stop()


@pytest.fixture
def site(open_site: Callable[[str], Site]) -> Site:
    """Return a running stand-in."""
    return open_site("state")


def assignments(site: Site, n_votes: int = 8) -> list[Assignment]:
    """Create a few subjects and assign them to volunteers."""
    rng = np.random.default_rng(8)
    shares = [
        np.concatenate([rng.dirichlet(np.ones(len(q.answers))) for q in TREE.questions]) for _ in range(N_GALAXIES)
    ]
    return [
        Assignment(subject_id=site.add_subject(f"g{i}"), galaxy_id=f"g{i}", n_votes=n_votes + i, probabilities=share)
        for i, share in enumerate(shares)
    ]


def volunteers(site: Site, **habits: Any) -> Volunteers:
    """Return polite volunteers who do not wait before they send again."""
    habits = {"seed": 5, "clock": lambda: NOW, "manners": POLITE, "resend_waits_s": AT_ONCE} | habits
    return Volunteers(site.endpoint, 1, 10, TREE, **habits)


def expected_counts(of: Volunteers, shown: Sequence[Assignment], cycle: int) -> np.ndarray:
    """Return the votes (N, A) that the volunteers mean to give."""
    return np.array([count_walks(TREE, of.answers(a.galaxy_id, a.probabilities, a.n_votes, cycle)) for a in shown])


def classify(of: Volunteers, shown: Sequence[Assignment], posted: Sequence[str] = ()) -> VolunteerReport:
    """Let volunteers classify in cycle 1."""
    return of.classify(shown, 1, progress=Bars(), posted=set(posted))


def test_the_votes_that_arrive_are_the_votes_that_were_meant(site):
    """Every sitting becomes one classification with its answers, counted with progress to the end."""
    shown, bars = assignments(site), Bars()
    of = volunteers(site)
    report = of.classify(shown, 1, progress=bars, posted=set())
    total = sum(assignment.n_votes for assignment in shown)
    assert report == VolunteerReport(posted=total, skipped=0, extra=0)
    assert (bars.total, bars.done, bars.finished) == (total, total, True)
    assert len(site.classifications()) == total
    np.testing.assert_array_equal(site.counts(shown), expected_counts(of, shown, 1))


def test_answers_follow_the_live_workflow_when_it_numbers_them_its_own_way(open_site, tmp_path):
    """Task keys and indexes come from the site, so a reordered task changes indexes and no votes."""
    with Standin(StandinConfig(state=tmp_path / "own", users=(OWNER,), live_project=False)) as standin:
        site = Site(standin)
        tasks = tasks_of(TREE)
        for task in tasks.values():
            task["answers"].reverse()
        site.set_tasks(tasks)
        shown, of = assignments(site), volunteers(site)
        classify(of, shown)
        np.testing.assert_array_equal(site.counts(shown), expected_counts(of, shown, 1))
        first = Counter(row["annotations"][0]["value"] for row in site.classifications())
        assert first[2] == expected_counts(of, shown, 1)[:, 0].sum()


def test_the_order_of_galaxies_and_the_number_of_connections_change_no_vote(open_site):
    """What arrives is the same set of classifications, whoever sends it and when."""
    arrived = []
    for name, connections, step in (("a", 1, 1), ("b", 5, -1)):
        site = open_site(name)
        shown = assignments(site)
        classify(volunteers(site, connections=connections), shown[::step])
        arrived.append(sorted((r["metadata"]["session"], json.dumps(r["annotations"])) for r in site.classifications()))
    assert arrived[0] == arrived[1]


@pytest.mark.parametrize("dies_after", [0, 1, 17, 60])
def test_a_run_that_dies_anywhere_is_finished_by_the_next_one(site, dies_after):
    """Sittings that arrived are skipped, the others are sent, and the votes are those of an undisturbed run."""
    shown, of = assignments(site), volunteers(site)
    site.strike(kind="status", status=422, skip=dies_after)
    with pytest.raises(ZooniverseRefused) as died:
        classify(of, shown)
    site.heal()
    arrived = site.sessions()
    assert died.value.evidence.get("posted", 0) == len(arrived) == dies_after
    report = classify(of, shown, arrived)
    assert report.skipped == dies_after
    assert report.posted + report.skipped == sum(assignment.n_votes for assignment in shown)
    assert len(set(site.sessions())) == len(site.sessions())
    np.testing.assert_array_equal(site.counts(shown), expected_counts(of, shown, 1))


def test_a_finished_run_sends_nothing_when_it_is_repeated(site):
    """With all sessions known, another run only counts them, duplicates included."""
    shown, of = assignments(site), volunteers(site, manners=Manners(duplicate_share=0.5))
    first = classify(of, shown)
    assert first.extra > 0
    before = site.sessions()
    assert len(before) == first.posted + first.extra
    assert classify(of, shown, before) == VolunteerReport(posted=0, skipped=first.posted, extra=0)
    assert site.sessions() == before


def test_another_cycle_brings_other_volunteers(site):
    """The same galaxies in a later cycle get new sittings, none of them taken for an old one."""
    shown, of = assignments(site), volunteers(site)
    classify(of, shown)
    report = of.classify(shown, 2, progress=Bars(), posted=set(site.sessions()))
    assert report.skipped == 0
    assert len(set(site.sessions())) == 2 * report.posted


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "reset", "when": "after"},
        {"kind": "status", "status": 504, "when": "after", "body": "html"},
        {"kind": "status", "status": 429, "when": "before", "body": "empty"},
        {"kind": "close", "when": "before"},
    ],
    ids=lambda fault: f"{fault['kind']}-{fault['when']}",
)
def test_a_lost_answer_is_sent_again_and_no_vote_is_lost(site, fault):
    """What arrives twice has the same session, start and subject, so that it can be counted once."""
    shown, of = assignments(site), volunteers(site)
    site.strike(count=3, skip=10, **fault)
    report = classify(of, shown)
    rows = site.classifications()
    assert report.posted == sum(assignment.n_votes for assignment in shown)
    assert len(rows) == report.posted + (3 if fault["when"] == "after" else 0)
    sends = {(r["metadata"]["session"], r["metadata"]["started_at"], r["links"]["subjects"][0]) for r in rows}
    assert len(sends) == report.posted
    np.testing.assert_array_equal(site.counts(shown), expected_counts(of, shown, 1))


def test_an_answer_that_does_not_come_in_time_is_asked_for_again(site):
    """After a timeout the volunteer sends on a fresh connection, and no vote is lost."""
    shown, of = assignments(site), volunteers(site, timeout_s=0.5)
    site.strike(kind="hang", count=1, skip=10)
    report = classify(of, shown)
    assert report.posted == len(set(site.sessions())) == sum(assignment.n_votes for assignment in shown)
    np.testing.assert_array_equal(site.counts(shown), expected_counts(of, shown, 1))


def test_a_site_that_stays_down_is_reported_with_what_was_done(site):
    """After the last repeat the failure is raised, typed and with counts."""
    shown, bars = assignments(site), Bars()
    site.strike(kind="status", status=503, skip=20)
    with pytest.raises(ZooniverseUnavailable, match=r"POST /api/classifications: status 503") as failure:
        volunteers(site).classify(shown, 1, progress=bars, posted=set())
    assert failure.value.evidence["posted"] == len(site.classifications()) == 20
    assert bars.finished


def test_a_site_that_is_not_there_is_unavailable():
    """A refused connection is a typed error that names the call."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        nobody = Volunteers(endpoint, 1, 10, TREE, seed=1, clock=lambda: NOW, resend_waits_s=AT_ONCE)
        with pytest.raises(ZooniverseUnavailable, match="GET /api/workflows/10"):
            classify(nobody, [])


def test_a_site_that_never_answers_is_given_up_on(site):
    """Every call has a deadline."""
    shown = assignments(site)
    site.strike(kind="hang")
    impatient = volunteers(site, timeout_s=0.05, resend_waits_s=())
    with pytest.raises(ZooniverseUnavailable, match="timed out"):
        classify(impatient, shown)
    site.heal()


def test_logged_in_volunteers_classify_under_their_names_and_others_anonymously(site):
    """A person has a galaxy once; everybody else is anonymous."""
    shown = assignments(site)
    classify(volunteers(site, users=PEOPLE, manners=Manners(duplicate_share=0, logged_in_share=1.0)), shown)
    seen = Counter((row["links"]["subjects"][0], row["links"]["user"]) for row in site.classifications())
    known = {pair: times for pair, times in seen.items() if pair[1] is not None}
    assert len(known) == N_GALAXIES * len(PEOPLE)
    assert set(known.values()) == {1}
    assert sum(seen.values()) - len(known) == sum(a.n_votes - len(PEOPLE) for a in shown)


def test_zooniverse_marks_a_repeat_by_the_same_person(site):
    """A repeat arrives after the sitting it repeats and is marked as seen before."""
    shown = assignments(site)
    manners = Manners(duplicate_share=0, logged_in_share=1.0, repeat_share=1.0)
    report = classify(volunteers(site, users=PEOPLE, manners=manners), shown)
    assert report.extra == N_GALAXIES * len(PEOPLE)
    marked = [row for row in site.classifications() if row["metadata"].get("seen_before")]
    assert len(marked) == report.extra


def test_a_workflow_that_asks_something_else_gets_no_vote(site):
    """The live tasks are compared with the tree before anybody classifies."""
    shown = assignments(site)
    other = Volunteers(site.endpoint, 1, 10, load_tree("gz-decals-dr5"), seed=1, clock=lambda: NOW)
    with pytest.raises(WorkflowMismatch):
        classify(other, shown)
    assert site.classifications() == []


def test_bad_probabilities_stop_the_run_and_name_the_galaxy(site):
    """A galaxy whose truth is no distribution is never answered for."""
    shown = assignments(site)
    shown[3].probabilities[0] = 2.0
    with pytest.raises(BadVotes, match="galaxy g3"):
        classify(volunteers(site), shown)


def test_a_galaxy_assigned_twice_is_refused(site):
    """Two assignments of one galaxy would share their sessions."""
    shown = assignments(site)
    with pytest.raises(BadInput, match="galaxy g2"):
        classify(volunteers(site), [*shown, shown[2]])


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://www.zooniverse.org",
        "http://www.zooniverse.org",
        "https://panoptes-staging.zooniverse.org",
        "http://127.0.0.1@www.zooniverse.org",
        "http://127.0.0.1.zooniverse.org",
        "http://localhost.zooniverse.org",
        "http://10.0.0.7:8000",
        "http://0.0.0.0:8000",
        "http://[2001:db8::1]:8000",
        "//127.0.0.1",
        "127.0.0.1:8000",
        "",
    ],
)
def test_anything_but_this_machine_is_refused_before_a_connection_is_made(endpoint, monkeypatch):
    """Simulated votes can never reach a real survey."""
    tried: list[object] = []
    monkeypatch.setattr(socket, "create_connection", lambda *arguments, **_: tried.append(arguments))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **_: tried.append(arguments))
    with pytest.raises(RealSiteRefused) as refusal:
        Volunteers(endpoint, 1, 10, TREE, seed=1, clock=lambda: NOW)
    with pytest.raises(RealSiteRefused):
        VolunteerClient(endpoint, timeout_s=1, resend_waits_s=())
    assert isinstance(refusal.value, Terminal)
    assert tried == []


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:80", "http://localhost:8000", "http://[::1]:8000", "http://127.1.2.3"]
)
def test_this_machine_by_any_of_its_names_is_taken(endpoint):
    """Loopback addresses of both families and localhost are fine, and nothing is sent yet."""
    assert isinstance(Volunteers(endpoint, 1, 10, TREE, seed=1, clock=lambda: NOW), Volunteers)


class Answers(BaseHTTPRequestHandler):
    """Answers everything with a redirect to a path of its own, and keeps what it was asked."""

    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        """Redirect."""
        self.asked.append(self.path)
        self.send_response(307)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        """Say something that is not JSON."""
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"hi")

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def stranger() -> Iterator[str]:
    """Return the endpoint of a server on this machine that is no stand-in."""
    Answers.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_redirect_is_not_followed(stranger):
    """A 3xx is a refusal, not a way out of this machine."""
    with (
        VolunteerClient(stranger, timeout_s=5, resend_waits_s=()) as client,
        pytest.raises(ZooniverseRefused),
    ):
        client.classify({}, None)
    assert Answers.asked == ["/api/classifications"]


def test_a_server_that_is_no_zooniverse_is_refused(stranger):
    """An answer that cannot be read is a typed error that shows it."""
    with (
        VolunteerClient(stranger, timeout_s=5, resend_waits_s=()) as client,
        pytest.raises(ZooniverseRefused, match="hi"),
    ):
        client.workflow(10)
