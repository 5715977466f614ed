"""The publisher on two grounds: the fake, and the real panoptes-client on the stand-in with the same faults."""

import random

import pytest
import requests

from alservice.errors import AllowanceExhausted, Retriable
from alservice.progress import NoProgress
from alservice.retry import RetryPolicy
from alservice.standin.config import StandinConfig
from alservice.standin.server import Standin
from alservice.storage.images import sniff
from alservice.storage.objects import LocalObjects
from alservice.subjects.publish import PublishPolicy, PublishReport, PublishSubjects
from alservice.subjects.reconcile import ReconcileSubjects
from alservice.zooniverse.client import PanoptesZooniverse
from alservice.zooniverse.http import Credentials, Timeouts
from tests.support.fake_ledger import FakeLedger, a_cycle
from tests.support.fake_zooniverse import Crash, FakeZooniverse, Mishap, Weather
from tests.support.publishing import CAMPAIGN, SET_ID, check_live, drafts_of

CALLS = {
    "create_subject": {"method": "POST", "path": "/api/subjects$"},
    "upload_image": {"method": "PUT", "path": "/uploads/"},
    "fetch_image": {"method": "GET", "path": "/uploads/"},
    "subjects_above": {"method": "GET", "path": "/api/subjects.project_id"},
    "delete_subject": {"method": "DELETE", "path": "/api/subjects/"},
    "link": {"method": "POST", "path": "links/subjects"},
    "linked": {"method": "GET", "path": "/api/subjects.subject_set_id"},
}
"""What each call of the port is on the wire."""


class OnFake:
    """The fake Zooniverse and its forecast."""

    def __init__(self, allowance):
        self.zooniverse = FakeZooniverse(allowance=allowance)

    def befall(self, call, mishap, *, skip=0):
        """Let a mishap befall one call of a name, after some that go well."""
        coming = iter([None] * skip + [mishap])
        name = f"zooniverse.{call}"
        self.zooniverse.weather.restart(lambda _n, called: next(coming, None) if called == name else None)

    def calm(self):
        """End all mishaps."""
        self.zooniverse.weather.restart()

    def close(self):
        """Nothing to close."""


class OnStandin:
    """The stand-in, its fault hooks, and an adapter that retries nothing, so that every fault is felt."""

    def __init__(self, allowance, state):
        config = StandinConfig(state=state, users=(("surveyor", "secret"),), subject_limit=allowance, seed=1)
        self._standin = Standin(config).__enter__()
        self._hooks = f"{self._standin.endpoint}/standin/faults"
        self.zooniverse = PanoptesZooniverse(
            self._standin.endpoint,
            credentials=Credentials(username="surveyor", password="secret"),
            project_id=1,
            workflow_id=10,
            user_hash_key=b"pepper",
            timeouts=Timeouts(connect_s=5.0, read_s=5.0),
            retry=RetryPolicy(attempts=1),
            sleep=lambda _s: None,
            chance=lambda: 0.0,
        )

    def befall(self, call, mishap, *, skip=0):
        """Let a mishap befall one call of a name, after some that go well."""
        when = {Mishap.BEFORE: "before", Mishap.AFTER: "after"}[mishap]
        self.rules({**CALLS[call], "kind": "status", "status": 502, "when": when, "skip": skip, "count": 1})

    def rules(self, *rules):
        """Put fault rules in force."""
        requests.post(self._hooks, json=list(rules), timeout=5).raise_for_status()

    def calm(self):
        """End all mishaps."""
        requests.delete(self._hooks, timeout=5).raise_for_status()

    def close(self):
        """Stop the stand-in."""
        self._standin.__exit__(None, None, None)


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    """One store of images for all tests."""
    return LocalObjects(tmp_path_factory.mktemp("objects"))


@pytest.fixture
def drafts(objects):
    """Five galaxies."""
    return drafts_of(objects, 5)


@pytest.fixture(params=["fake", "standin"])
def start(request, tmp_path):
    """Open a ground with an allowance."""
    opened = []

    def started(*, allowance=10_000):
        fake = request.param == "fake"
        opened.append(OnFake(allowance) if fake else OnStandin(allowance, tmp_path / "standin"))
        return opened[-1]

    yield started
    for ground in opened:
        ground.close()


@pytest.fixture
def ground(start):
    """A ground as it comes."""
    return start()


def publish(objects, ledger, zooniverse, drafts, **policy):
    """Publish, as a process that starts now."""
    publisher = PublishSubjects(
        ledger,
        objects,
        zooniverse,
        policy=PublishPolicy(**{"connections": 4, "settle_s": 0.0, **policy}),
        media_type=sniff,
        sleep=lambda _s: None,
        progress=NoProgress(),
    )
    return publisher.publish(a_cycle(), CAMPAIGN, drafts, 40)


def remote(zooniverse):
    """Return the ids of all subjects there are."""
    return {subject.zooniverse_id for subject in zooniverse.subjects_above(0)}


def test_a_batch_goes_live(ground, objects, drafts):
    """In fair weather everything is sent once, and again means nothing more."""
    ledger = FakeLedger()
    report = publish(objects, ledger, ground.zooniverse, drafts)
    assert report == PublishReport(requested=5, live=5, failed=0, sent=5, adopted=0, surplus_removed=())
    check_live(ledger, ground.zooniverse, 5)
    assert publish(objects, ledger, ground.zooniverse, drafts).sent == 0
    assert remote(ground.zooniverse) == ground.zooniverse.linked(SET_ID)


@pytest.mark.parametrize("skip", [0, 2])
@pytest.mark.parametrize(
    ("call", "mishap", "sent", "adopted"),
    [
        ("create_subject", Mishap.BEFORE, 6, 0),
        ("create_subject", Mishap.AFTER, 6, 1),
        ("upload_image", Mishap.BEFORE, 6, 0),
        ("upload_image", Mishap.AFTER, 5, 0),
    ],
)
def test_one_mishap_is_made_good_in_the_same_run(ground, objects, drafts, call, mishap, skip, sent, adopted):
    """A create in doubt is settled, a lost image replaced, an image that arrived after all believed."""
    ledger = FakeLedger()
    ground.befall(call, mishap, skip=skip)
    report = publish(objects, ledger, ground.zooniverse, drafts)
    assert (report.live, report.sent, report.adopted) == (5, sent, adopted)
    check_live(ledger, ground.zooniverse, 5)
    assert remote(ground.zooniverse) == ground.zooniverse.linked(SET_ID)


@pytest.mark.parametrize("mishap", [Mishap.BEFORE, Mishap.AFTER])
@pytest.mark.parametrize("call", ["subjects_above", "fetch_image", "link", "linked"])
def test_a_run_that_ends_early_is_finished_by_the_next(ground, objects, drafts, call, mishap):
    """A step that fails for good ends the run with a retriable error, and the same call continues."""
    ledger = FakeLedger()
    ground.zooniverse.ensure_subject_set(CAMPAIGN.zooniverse.subject_set)
    ground.befall(call, mishap)
    with pytest.raises(Retriable):
        publish(objects, ledger, ground.zooniverse, drafts)
    ground.calm()
    assert publish(objects, ledger, ground.zooniverse, drafts).sent == 0
    check_live(ledger, ground.zooniverse, 5)
    assert remote(ground.zooniverse) == ground.zooniverse.linked(SET_ID)


def test_an_allowance_that_runs_out_is_reported(start, objects, drafts):
    """The account's limit ends the run, and what was created stays on record."""
    ground = start(allowance=3)
    ledger = FakeLedger()
    with pytest.raises(AllowanceExhausted):
        publish(objects, ledger, ground.zooniverse, drafts)
    known = {row.zooniverse_id for row in ledger.of_campaign(1)} - {None}
    assert known == remote(ground.zooniverse)
    assert len(known) == 3


def storm(seed):
    """Return fault rules that strike every kind of call at random, on both sides of the commit."""
    rules = []
    for n, (name, call) in enumerate(CALLS.items()):
        rate = 0.03 if name in {"subjects_above", "linked"} else 0.1
        for when in ("before", "after"):
            common = {**call, "when": when, "probability": rate, "seed": 1000 * seed + n}
            rules.append({**common, "kind": "status", "status": 504, "body": "html"})
            rules.append({**common, "kind": "reset"})
    return rules


@pytest.mark.parametrize("seed", range(8))
def test_a_storm_of_faults_and_deaths_on_the_stand_in(tmp_path, objects, seed):
    """Faults on the wire and processes dying at the ledger: every galaxy ends live once, orphans are removed."""
    rng = random.Random(seed)
    drafts = drafts_of(objects, 10)
    weather = Weather()
    ledger = FakeLedger(weather)
    ground = OnStandin(10_000, tmp_path / "standin")
    ground.rules(*storm(seed))
    for _ in range(200):
        deadly = rng.random() < 0.5
        weather.restart(lambda _n, _name, p=0.02 * deadly: Mishap.CRASH_AFTER if rng.random() < p else None)
        try:
            if publish(objects, ledger, ground.zooniverse, drafts).live == len(drafts):
                break
        except (Crash, Retriable):
            continue
    ground.calm()
    weather.restart()
    check_live(ledger, ground.zooniverse, len(drafts))
    reconcile = ReconcileSubjects(ledger, ground.zooniverse, connections=4)
    reconcile.repair(reconcile.report(1, SET_ID))
    assert reconcile.report(1, SET_ID).is_clean
    assert remote(ground.zooniverse) == ground.zooniverse.linked(SET_ID)
    ground.close()
