"""Retiring by our own tallies: each subject at its own number of votes, seen before believed, and undone when due."""

from dataclasses import replace

import pytest

from alservice.errors import Retriable
from alservice.states import SubjectState
from alservice.storage.objects import LocalObjects
from alservice.subjects.reconcile import ReconcileSubjects
from alservice.subjects.retire import REASON, RetireReport, RetireSubjects
from alservice.zooniverse.records import SubjectStatus
from tests.support.fake_zooniverse import Mishap
from tests.support.publishing import SET_ID, drafts_of
from tests.support.publishing import World as Published
from tests.support.worlds import NOON

S = SubjectState


class World:
    """Three live subjects that are to have 40 votes each, and the service."""

    def __init__(self, objects):
        self.published = Published(objects, drafts_of(objects, 3))
        self.published.publish()
        self.ledger, self.zooniverse = self.published.ledger, self.published.zooniverse
        self.counted = {}
        self.events = []
        self.slept = []

    def counted_of_galaxies(self, _campaign_id):
        """Return counted classifications by galaxy."""
        return self.counted

    def record(self, event):
        """Keep an event."""
        self.events.append(event)

    def run(self):
        """Retire what has its votes."""
        service = RetireSubjects(
            self.ledger, self.zooniverse, self, self, lambda: NOON, settle_s=3.0, sleep=self.slept.append, actor="test"
        )
        return service.run(1)

    def row(self, n):
        """Return the n-th row."""
        return list(self.ledger.of_campaign(1))[n]

    def panoptes(self, n, *, count=0, reason=None):
        """Set what Panoptes' counters say of the n-th subject."""
        status = SubjectStatus(classifications=count, is_retired=reason is not None, reason=reason)
        self.zooniverse.status[self.row(n).zooniverse_id] = status

    def states(self):
        """Return the states of all rows."""
        return [row.state for row in self.ledger.of_campaign(1)]


@pytest.fixture
def world(tmp_path):
    """Three live subjects."""
    return World(LocalObjects(tmp_path))


def test_nothing_retires_without_its_votes(world):
    """One vote short is short; nothing is sent and nothing waited for."""
    world.counted = {"J0000": 39}
    assert world.run() == RetireReport(retired=0, unretired=0, waiting=0, miscounted=1)
    assert not world.slept
    assert world.states() == [S.LIVE] * 3


def test_each_subject_retires_at_its_own_votes(world):
    """The ledger says how many; the audit says when and on what evidence."""
    world.ledger.ask([world.row(1)], cycle_id=1, n_votes=10)
    world.counted = {"J0000": 39, "J0001": 10, "J0002": 41}
    world.panoptes(1, count=12)
    report = world.run()
    assert (report.retired, report.waiting) == (2, 0)
    assert world.states() == [S.LIVE, S.RETIRED, S.RETIRED]
    (event,) = world.events
    assert (event.kind, event.at) == ("subjects.retired", NOON)
    assert event.detail["subjects"][0] == {
        "galaxy": "J0001",
        "subject": world.row(1).zooniverse_id,
        "counted": 10,
        "asked": 10,
        "panoptes": 12,
        "reason": REASON,
    }
    assert world.run().retired == 0
    assert len(world.events) == 1


def test_a_retirement_is_believed_when_it_is_seen(world):
    """Panoptes acts later: until its counters say so the row is live, and the next run looks again."""
    world.zooniverse.lags = True
    world.counted = {"J0000": 40}
    assert (world.run().waiting, world.states()[0]) == (1, S.LIVE)
    assert world.slept == [3.0]
    assert not world.events
    world.zooniverse.work_off()
    assert (world.run().retired, world.states()[0]) == (1, S.RETIRED)


def test_more_votes_asked_for_bring_a_subject_back(world):
    """Raising the votes un-retires, which Panoptes never does by itself."""
    world.counted = {"J0000": 40}
    world.run()
    world.ledger.ask([world.row(0)], cycle_id=1, n_votes=60)
    world.zooniverse.lags = True
    assert (world.run().waiting, world.states()[0]) == (1, S.RETIRED)
    world.zooniverse.work_off()
    world.run()
    assert world.states()[0] is S.LIVE
    assert not world.zooniverse.status[world.row(0).zooniverse_id].is_retired
    assert world.events[-1].kind == "subjects.unretired"
    assert world.events[-1].detail["subjects"][0]["asked"] == 60


def test_a_rule_of_the_workflow_that_was_faster_is_undone(world):
    """Panoptes counts rows that do not count for us."""
    world.counted = {"J0000": 30}
    world.panoptes(0, count=40, reason="classification_count")
    report = world.run()
    assert (report.unretired, report.miscounted) == (1, 1)
    assert world.states() == [S.LIVE] * 3
    (event,) = world.events
    assert event.detail["subjects"][0]["reason"] == "classification_count"


@pytest.mark.parametrize("reason", ["flagged", "nothing_here", "human", "consensus"])
def test_what_a_person_retired_stays_retired(world, reason):
    """The ledger follows, and the reason is on record."""
    world.panoptes(0, count=3, reason=reason)
    assert world.run().retired == 1
    assert world.states()[0] is S.RETIRED
    assert world.events[-1].detail["subjects"][0]["reason"] == reason
    assert world.run() == RetireReport(retired=0, unretired=0, waiting=0, miscounted=1)


@pytest.mark.parametrize("mishap", [Mishap.BEFORE, Mishap.AFTER])
@pytest.mark.parametrize("call", ["retire", "unretire", "statuses"])
def test_a_failed_call_is_made_good_by_the_next_run(world, call, mishap):
    """Nothing is marked that was not seen."""
    world.counted = {"J0000": 40}
    world.panoptes(1, reason="classification_count")
    world.zooniverse.weather.restart(lambda _n, name: mishap if name == f"zooniverse.{call}" else None)
    with pytest.raises(Retriable):
        world.run()
    assert world.states() == [S.LIVE] * 3
    world.zooniverse.weather.restart()
    world.run()
    assert world.states() == [S.RETIRED, S.LIVE, S.LIVE]
    assert not world.zooniverse.status[world.row(1).zooniverse_id].is_retired


def test_reconciling_names_what_retired_too_early_or_late(world):
    """Only where our tallies decide; the next run of this service settles both."""
    world.counted = {"J0000": 40}
    world.run()
    world.panoptes(0, count=40)
    world.panoptes(1, count=15, reason="classification_count")
    reconcile = ReconcileSubjects(world.ledger, world.zooniverse, connections=2, retires=True)
    report = reconcile.report(1, SET_ID)
    assert (report.retired_late, report.retired_early) == ((world.row(0),), (world.row(1),))
    assert not report.is_clean
    assert replace(report, retired_late=(), retired_early=()).is_clean
    assert reconcile.repair(report).moved == {S.LIVE: 1}
    assert world.run() == RetireReport(retired=1, unretired=1, waiting=0, miscounted=1)
    assert reconcile.report(1, SET_ID).is_clean
    assert world.states() == [S.RETIRED, S.LIVE, S.LIVE]
    world.panoptes(1, count=15, reason="classification_count")
    assert ReconcileSubjects(world.ledger, world.zooniverse, connections=2).report(1, SET_ID).is_clean
