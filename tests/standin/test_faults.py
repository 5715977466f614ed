"""Fault hooks: every kind, on both sides of the commit, as often as asked, and what the real client makes of it."""

import socket
import threading
from dataclasses import fields, replace
from email.message import Message
from http.client import HTTPConnection
from typing import Any, get_args

import pytest
import requests
from panoptes_client import Panoptes, Subject, SubjectSet
from panoptes_client.panoptes import PanoptesAPIException

from alservice.errors import BadInput
from alservice.standin import hooks
from alservice.standin.faults import FaultRule, Faults, Kind
from alservice.standin.server import Standin
from alservice.standin.wire import Request
from tests.standin.support import (
    OWNER,
    PASSWORD,
    Api,
    add_faults,
    as_owner,
    counts,
)
from tests.support.shared import ROOT

CREATE = {"subjects": {"locations": [], "links": {"project": "1"}}}


def create(api: Api) -> requests.Response:
    """Create one subject."""
    return api.post("/subjects", CREATE)


@pytest.mark.parametrize(("when", "made"), [("before", 0), ("after", 1)])
@pytest.mark.parametrize(("body", "kind"), [("json", "application/json"), ("html", "text/html"), ("empty", None)])
def test_a_status_replaces_the_answer(standin: Standin, when: str, made: int, body: str, kind: Any) -> None:
    """The status has the body asked for, and the subject exists exactly if the commit came first."""
    owner = as_owner(standin)
    rule = {"method": "POST", "path": "^/api/subjects$", "kind": "status", "status": 504}
    add_faults(standin, {**rule, "when": when, "body": body})
    answer = create(owner)
    assert answer.status_code == 504
    assert answer.headers.get("Content-Type", "").split(";")[0] == (kind or "")
    assert (answer.content == b"") == (body == "empty")
    assert counts(standin)["subjects"] == made
    if body == "json":
        assert answer.json()["errors"][0]["message"] == "injected fault: status 504"


@pytest.mark.parametrize(("when", "made"), [("before", 0), ("after", 1)])
@pytest.mark.parametrize("kind", ["reset", "close", "hang"])
def test_a_connection_breaks_without_an_answer(standin: Standin, kind: str, when: str, made: int) -> None:
    """The client gets a connection error, and the subject exists exactly if the commit came first."""
    owner = as_owner(standin)
    seconds = {"seconds": 0.01} if kind == "hang" else {}
    add_faults(standin, {"path": "/subjects", "kind": kind, "when": when, **seconds})
    with pytest.raises(requests.ConnectionError):
        create(owner)
    assert counts(standin)["subjects"] == made


def test_a_reset_is_told_from_a_close(standin: Standin) -> None:
    """A reset raises in the socket, a close ends the stream."""
    outcomes = {}
    for kind in ("reset", "close"):
        add_faults(standin, {"path": f"/{kind}", "kind": kind})
        host, port = standin.endpoint.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(f"GET /{kind} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            try:
                outcomes[kind] = connection.recv(100)
            except ConnectionResetError as error:
                outcomes[kind] = type(error)
    assert outcomes == {"reset": ConnectionResetError, "close": b""}


def test_a_hanging_call_is_let_go_when_the_rules_are_dropped(standin: Standin) -> None:
    """Without seconds a call hangs until the rules go; other calls are answered meanwhile."""
    add_faults(standin, {"path": "/api/projects", "kind": "hang"})
    outcome: list[Exception] = []

    def hang() -> None:
        try:
            Api(standin).get("/projects/1")
        except requests.ConnectionError as error:
            outcome.append(error)

    thread = threading.Thread(target=hang)
    thread.start()
    while requests.get(f"{standin.endpoint}/standin/faults").json()[0]["hits"] == 0:
        assert thread.is_alive()
    assert Api(standin).get("/workflows/10").status_code == 200
    requests.delete(f"{standin.endpoint}/standin/faults")
    thread.join(5)
    assert len(outcome) == 1
    assert Api(standin).get("/projects/1").status_code == 200


def test_stopping_does_not_wait_for_a_hanging_call(standin: Standin) -> None:
    """A stop lets go of held calls and ends idle connections, and no thread of theirs stays behind."""
    before = set(threading.enumerate())
    add_faults(standin, {"path": "/api/projects", "kind": "hang"})
    idle = requests.Session()
    idle.get(f"{standin.endpoint}/standin/state")
    held = HTTPConnection(standin.endpoint.removeprefix("http://"))
    held.request("GET", "/api/projects/1")
    while idle.get(f"{standin.endpoint}/standin/faults").json()[0]["hits"] == 0:
        pass
    serving = set(threading.enumerate()) - before
    standin.stop()
    with pytest.raises(ConnectionError):
        held.getresponse()
    held.close()
    assert len(serving) == 2
    for thread in serving:
        thread.join(5)
        assert not thread.is_alive()


def test_a_latency_delays_and_lets_the_call_go_on(standin: Standin) -> None:
    """The answer is the real one, later; latencies add up and leave the outcome to the next rule."""
    owner = as_owner(standin)
    slow = {"path": "/subjects", "kind": "latency", "seconds": 0.02}
    add_faults(standin, slow, slow, {"path": "/subjects", "kind": "status", "status": 502, "skip": 1})
    first, second = create(owner), create(owner)
    assert (first.status_code, second.status_code) == (201, 502)
    assert first.elapsed.total_seconds() >= 0.04
    hits = [rule["hits"] for rule in requests.get(f"{standin.endpoint}/standin/faults").json()]
    assert hits == [2, 2, 1]


def test_skip_and_count_bound_a_rule(standin: Standin) -> None:
    """The first calls pass, then so many fail, then the rule is spent and the next one gets its turn."""
    owner = as_owner(standin)
    rule = {"path": "/subjects", "method": "POST", "kind": "status"}
    add_faults(standin, {**rule, "status": 503, "skip": 1, "count": 2}, {**rule, "status": 429, "skip": 1})
    assert [create(owner).status_code for _ in range(5)] == [201, 503, 503, 429, 429]
    first, second = requests.get(f"{standin.endpoint}/standin/faults").json()
    assert (first["met"], first["hits"]) == (5, 2)
    assert (second["met"], second["hits"]) == (3, 2)


def test_a_rule_matches_method_and_target(standin: Standin) -> None:
    """The pattern sees the query, and another method is left alone."""
    add_faults(standin, {"path": "page_size=7", "method": "GET", "kind": "status", "status": 500})
    assert Api(standin).get("/subjects?page_size=7").status_code == 500
    assert Api(standin).get("/subjects?page_size=8").status_code == 200
    assert Api(standin).post("/subjects?page_size=7", {}).status_code == 401


def test_a_probability_is_drawn_from_its_own_seed() -> None:
    """The same seed strikes the same calls, at about the rate asked for."""
    rule = FaultRule(path="/", kind="reset", probability=0.3, seed=5)
    runs = []
    for _ in range(2):
        faults = Faults()
        faults.add([rule])
        runs.append([bool(faults.striking("GET", "/")) for _ in range(400)])
    assert runs[0] == runs[1]
    assert 80 < sum(runs[0]) < 160


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({"path": "/", "kind": "explode"}, "kind"),
        ({"path": "/"}, "kind"),
        ({"kind": "reset"}, "path"),
        ({"path": "(", "kind": "reset"}, "path"),
        ({"path": "/", "kind": "status"}, "status"),
        ({"path": "/", "kind": "status", "status": 200}, "status"),
        ({"path": "/", "kind": "reset", "status": 500}, "status"),
        ({"path": "/", "kind": "latency"}, "seconds"),
        ({"path": "/", "kind": "latency", "seconds": -1}, "seconds"),
        ({"path": "/", "kind": "reset", "seconds": 1}, "seconds"),
        ({"path": "/", "kind": "reset", "when": "during"}, "when"),
        ({"path": "/", "kind": "reset", "body": "xml"}, "body"),
        ({"path": "/", "kind": "reset", "count": 0}, "count"),
        ({"path": "/", "kind": "reset", "skip": -1}, "skip"),
        ({"path": "/", "kind": "reset", "probability": 0.5}, "seed"),
        ({"path": "/", "kind": "reset", "probability": 1.5, "seed": 1}, "probability"),
        ({"path": "/", "kind": "reset", "method": 3}, "method"),
        ({"path": "/", "kind": "reset", "colour": "red"}, "colour"),
        ("reset", "rule 4"),
    ],
)
def test_a_rule_that_cannot_be_names_its_field(rule: Any, field: str) -> None:
    """Bad rules are refused by entry and field, before any is in force."""
    with pytest.raises(BadInput, match=field):
        FaultRule.parse(rule, 4)


def test_the_hooks_refuse_what_they_do_not_know(standin: Standin) -> None:
    """Bad bodies are a 400, other paths a 404, and a bad list puts no rule in force."""
    hooks = f"{standin.endpoint}/standin"
    good = {"path": "/", "kind": "reset"}
    assert requests.post(f"{hooks}/faults", json=good).status_code == 400
    assert requests.post(f"{hooks}/faults", data=b"{").status_code == 400
    assert requests.post(f"{hooks}/faults", json=[good, {"kind": "reset"}]).status_code == 400
    assert requests.get(f"{hooks}/faults").json() == []
    assert requests.get(f"{hooks}/secrets").status_code == 404
    assert requests.post(f"{hooks}/clock", json={"advance_s": -1}).status_code == 400
    assert requests.post(f"{hooks}/clock", json=[]).status_code == 400


def test_the_hooks_are_for_this_machine_only(standin: Standin) -> None:
    """A caller from elsewhere is refused, whatever it asks."""
    request = Request(
        method="GET",
        path="/standin/state",
        query={},
        headers=Message(),
        body=b"",
        base_url=standin.endpoint,
        client_ip="10.1.2.3",
    )
    assert hooks.answer(request, standin.state, Faults()).status == 403
    assert hooks.answer(replace(request, client_ip="127.0.0.1"), standin.state, Faults()).status == 200


def test_the_clock_hook_moves_time_for_good(standin: Standin) -> None:
    """A token and a signed URL age by the seconds posted."""
    owner = as_owner(standin)
    clock = f"{standin.endpoint}/standin/clock"
    assert requests.get(clock).json() == {"now": "2026-03-01T12:00:00.000Z"}
    moved = requests.post(clock, json={"advance_s": 7200})
    assert moved.json() == {"now": "2026-03-01T14:00:00.000Z"}
    assert create(owner).status_code == 401


def test_the_client_duplicates_a_subject_whose_answer_was_lost(standin: Standin) -> None:
    """Two 504s after commit: save() reports the third subject, and two orphans remain."""
    with Panoptes(endpoint=standin.endpoint, username=OWNER, password=PASSWORD):
        subject = Subject()
        subject.links.project = 1
        rule = {"path": "^/api/subjects$", "kind": "status", "status": 504, "when": "after", "count": 2}
        add_faults(standin, rule)
        subject.save()
    assert subject.id == "100000003"
    assert counts(standin)["subjects"] == 3


def test_the_client_takes_an_empty_refusal_of_a_link_for_success(standin: Standin) -> None:
    """An empty 401 on the links route looks like success, and nothing is linked."""
    subject = as_owner(standin).new_subject()
    with Panoptes(endpoint=standin.endpoint, username=OWNER, password=PASSWORD):
        subject_set = SubjectSet()
        subject_set.display_name = "active"
        subject_set.links.project = 1
        subject_set.save()
        add_faults(standin, {"path": "/links/", "kind": "status", "status": 401, "body": "empty"})
        subject_set.add([subject])
    assert counts(standin)["set_member_subjects"] == 0


def test_the_client_loses_a_set_whose_answer_was_lost(standin: Standin) -> None:
    """A 502 after commit, then a second try: the name is taken, and one set exists."""
    with Panoptes(endpoint=standin.endpoint, username=OWNER, password=PASSWORD):
        subject_set = SubjectSet()
        subject_set.display_name = "active"
        subject_set.links.project = 1
        rule = {"path": "/subject_sets", "kind": "status", "status": 502, "when": "after", "count": 1}
        add_faults(standin, rule)
        with pytest.raises(PanoptesAPIException, match="502"):
            subject_set.save()
        with pytest.raises(PanoptesAPIException, match="already been taken"):
            subject_set.save()
    assert counts(standin)["subject_sets"] == 1


def test_every_field_of_a_rule_is_documented() -> None:
    """Who writes checks from outside finds each field, kind and hook on the page that the README names."""
    page = (ROOT / "deploy" / "docs" / "standin.md").read_text(encoding="utf-8")
    named = [field.name for field in fields(FaultRule)]
    assert not [word for word in (*named, *get_args(Kind)) if f"`{word}`" not in page]
    assert not [hook for hook in ("faults", "state", "clock") if f"/standin/{hook}`" not in page]


@pytest.mark.parametrize("seconds", [1e9, float("inf"), float("nan")])
def test_a_wait_beyond_a_day_is_refused(seconds: float) -> None:
    """A thread that is asked to wait for ever would fail in the middle of a call."""
    with pytest.raises(BadInput, match="seconds"):
        FaultRule.parse({"path": "x", "kind": "latency", "seconds": seconds}, 0)


def test_a_method_may_be_written_small(standin: Standin) -> None:
    """A rule that can never strike would pass for a fault that was survived."""
    add_faults(standin, {"path": "/api/projects", "method": "get", "kind": "status", "status": 503})
    assert Api(standin).get("/projects/1").status_code == 503


@pytest.mark.parametrize("body", ['{"advance_s": 1e30}', '{"advance_s": NaN}', '{"advance_s": Infinity}'])
def test_a_clock_that_cannot_be_is_refused(standin: Standin, body: str) -> None:
    """Ten years at most, so that no token or URL is dated past what a calendar holds."""
    answer = requests.post(f"{standin.endpoint}/standin/clock", data=body)
    assert (answer.status_code, "advance_s" in answer.json()["error"]) == (400, True)


@pytest.mark.parametrize("hook", ["faults", "clock", "state"])
def test_a_hook_has_its_own_methods_only(standin: Standin, hook: str) -> None:
    """A PUT is no GET: it is told that there is no such hook."""
    assert requests.put(f"{standin.endpoint}/standin/{hook}", json=[]).status_code == 404
