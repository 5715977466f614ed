"""Moving: chosen galaxies come out of the pool by links alone, stale ones leave, retired and labelled ones stay out."""

from dataclasses import replace
from itertools import count

import pytest

from alservice.campaigns.campaign import ZooniverseTarget
from alservice.errors import BadConfig, NotFound, Retriable
from alservice.states import SubjectState
from alservice.storage.objects import LocalObjects
from alservice.subjects.move import MoveReport, MoveSubjects
from alservice.subjects.reconcile import ReconcileSubjects
from alservice.subjects.subject import STALE
from alservice.zooniverse.records import SubjectStatus
from tests.support.fake_ledger import FakeLedger, a_cycle
from tests.support.fake_zooniverse import Crash, FakeZooniverse, Mishap, Weather
from tests.support.publishing import CAMPAIGN, drafts_of
from tests.support.worlds import NOON

TARGET = ZooniverseTarget(mode="move", pool_subject_set="pool", subject_set="active", pool_id_field="id")
MOVING = replace(CAMPAIGN, zooniverse=TARGET)
S = SubjectState


class Counts:
    """The part of the classification store that moving reads."""

    def __init__(self):
        self.of = {}

    def counted_of_galaxies(self, _campaign_id):
        """Return counted classifications by galaxy."""
        return self.of


class Events(list):
    """The audit."""

    record = list.append


class World:
    """A pool of subjects, nothing of them ours, and the service on it."""

    def __init__(self, objects, n):
        self.weather = Weather()
        self.ledger = FakeLedger(self.weather)
        self.zooniverse = FakeZooniverse(self.weather)
        self.classifications, self.events = Counts(), Events()
        self.drafts = drafts_of(objects, n)
        pool = self.zooniverse.ensure_subject_set("pool")
        self.ids = {draft.galaxy_id: self.zooniverse.add({"id": draft.galaxy_id}) for draft in self.drafts}
        self.zooniverse.link(pool, list(self.ids.values()))
        self.zooniverse.link_sizes.clear()
        self.active = self.zooniverse.ensure_subject_set("active")

    def move(self, *chosen, cycle=0, n_votes=40):
        """Publish some of the drafts in a cycle."""
        service = MoveSubjects(
            self.ledger, self.zooniverse, self.classifications, self.events, lambda: NOON, actor="test"
        )
        return service.publish(a_cycle(number=cycle), MOVING, [self.drafts[n] for n in chosen], n_votes)

    def states(self):
        """Return the state of every row by galaxy."""
        return [row.state for row in self.ledger.of_campaign(1)]

    def row(self, n):
        """Return the row of the n-th galaxy."""
        return next(row for row in self.ledger.of_campaign(1) if row.galaxy_id == self.drafts[n].galaxy_id)

    def check_shown(self, *chosen):
        """Require that these galaxies are in the active set, the pool is whole and nothing was made or removed."""
        ids = list(self.ids.values())
        assert self.zooniverse.members[self.active] == {ids[n] for n in chosen}
        assert self.zooniverse.members[self.zooniverse.sets["pool"]] == set(ids)
        assert set(self.zooniverse.subjects) == set(ids)


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    """One store of images for all tests."""
    return LocalObjects(tmp_path_factory.mktemp("objects"))


@pytest.fixture
def world(objects):
    """Five galaxies in the pool."""
    return World(objects, 5)


def test_chosen_galaxies_are_linked_and_go_live(world):
    """Links alone: nothing is created, and the same call again changes nothing."""
    report = world.move(0, 2)
    assert report == MoveReport(requested=2, live=2, spared=0, failed=0, withdrawn=0)
    assert world.states() == [S.LIVE, S.LIVE]
    assert world.move(0, 2) == report
    assert world.zooniverse.link_sizes == [2]
    world.check_shown(0, 2)
    (event,) = world.events
    assert (event.kind, event.detail) == (
        "subjects.live",
        {"reason": "chosen in cycle 0", "galaxies": ["J0000", "J0002"]},
    )


def test_links_and_unlinks_go_in_hundreds(objects):
    """A call for each hundred, both ways."""
    world = World(objects, 260)
    world.move(*range(250))
    world.move(255, cycle=1)
    assert world.zooniverse.link_sizes == [100, 100, 50, 1]
    assert world.zooniverse.unlink_sizes == [100, 100, 50]
    world.check_shown(255)


def test_what_a_later_cycle_does_not_choose_is_withdrawn_and_may_return(world):
    """Stale subjects leave with a reason; chosen again they are the later cycle's, with its votes."""
    world.move(0, 1)
    assert world.move(2, cycle=1).withdrawn == 2
    world.check_shown(2)
    row = world.row(0)
    assert (row.state, row.may_return) == (S.WITHDRAWN, True)
    assert row.error == f"{STALE}: not chosen in cycle 1"
    assert world.move(0, cycle=2, n_votes=60).live == 1
    row = world.row(0)
    assert (row.state, row.cycle_id, row.n_votes, row.error) == (S.LIVE, a_cycle(number=2).id, 60, None)
    world.check_shown(0)


def test_labelled_subjects_leave_for_good(world):
    """A subject with its votes is withdrawn as labelled, not as stale."""
    world.move(0)
    world.classifications.of = {"J0000": 40}
    world.move(1, cycle=1)
    assert (world.row(0).error, world.row(0).may_return) == ("labelled", False)
    assert world.move(0, cycle=2) == MoveReport(requested=1, live=0, spared=1, failed=0, withdrawn=1)
    world.check_shown()


@pytest.mark.parametrize(
    ("status", "counted", "why"),
    [
        (SubjectStatus(classifications=15, is_retired=True, reason="consensus"), 0, "retired: consensus"),
        (SubjectStatus(classifications=40, is_retired=False, reason=None), 0, "labelled"),
        (None, 40, "labelled"),
    ],
)
def test_retired_and_labelled_ones_are_not_added(world, status, counted, why):
    """By Zooniverse's word or by our own tallies; the reason is on record, in ledger and audit."""
    if status is not None:
        world.zooniverse.status[world.ids["J0001"]] = status
    world.classifications.of = {"J0001": counted}
    report = world.move(0, 1)
    assert (report.live, report.spared) == (1, 1)
    assert (world.row(1).state, world.row(1).error) == (S.WITHDRAWN, why)
    assert {event.detail["reason"] for event in world.events} == {why, "chosen in cycle 0"}
    world.check_shown(0)


def test_a_subject_with_votes_missing_is_added(world):
    """Some votes are not enough votes."""
    world.zooniverse.status[world.ids["J0000"]] = SubjectStatus(classifications=39, is_retired=False, reason=None)
    world.classifications.of = {"J0000": 39}
    assert world.move(0).live == 1


def test_our_retired_rows_stay_as_they_are(world):
    """What this service retired is spared whatever Zooniverse says."""
    world.move(0)
    world.ledger.mark([world.row(0)], S.RETIRED)
    assert world.move(0, cycle=1) == MoveReport(requested=1, live=0, spared=1, failed=0, withdrawn=0)
    assert world.row(0).state is S.RETIRED


def test_a_galaxy_that_is_not_in_the_pool_fails_alone(world):
    """Its row says why, and it is found once it is there."""
    identity = world.ids.pop("J0001")
    pool = world.zooniverse.sets["pool"]
    world.zooniverse.members[pool].discard(identity)
    assert world.move(0, 1) == MoveReport(requested=2, live=1, spared=0, failed=1, withdrawn=0)
    assert "survey id" in world.row(1).error
    world.zooniverse.members[pool].add(identity)
    assert world.move(0, 1).live == 2


def test_of_a_galaxys_several_subjects_the_oldest_is_shown(world):
    """Pools hold duplicates; volunteers see one."""
    twin = world.zooniverse.add({"id": "J0000"})
    world.zooniverse.link(world.zooniverse.sets["pool"], [twin])
    world.move(0)
    assert world.zooniverse.members[world.active] == {world.ids["J0000"]}


def test_a_pool_must_be_there(world):
    """A campaign without a pool, or with one of another name, moves nothing."""
    world.zooniverse.sets.pop("pool")
    with pytest.raises(NotFound, match="pool"):
        world.move(0)
    with pytest.raises(BadConfig):
        ZooniverseTarget(mode="move")
    with pytest.raises(BadConfig):
        ZooniverseTarget(pool_subject_set="pool")
    with pytest.raises(BadConfig):
        ZooniverseTarget(mode="move", pool_subject_set="alservice active")


def test_an_unlink_that_did_not_hold_is_noticed(world, monkeypatch):
    """A withdrawn row is one that the set was seen not to hold."""
    world.move(0)
    monkeypatch.setattr(world.zooniverse, "unlink", lambda _set, _ids: None)
    with pytest.raises(Retriable, match="still holds"):
        world.move(1, cycle=1)
    assert world.row(0).state is S.LIVE


@pytest.mark.parametrize("mishap", [Mishap.BEFORE, Mishap.AFTER, Mishap.CRASH_BEFORE, Mishap.CRASH_AFTER])
def test_a_mishap_at_any_call_is_finished_by_the_next_run(objects, mishap):
    """Withdrawals and links end as in fair weather, wherever the first run stopped."""
    for n in count():
        world = World(objects, 4)
        world.move(0, 1)
        world.move(2, cycle=1)
        first = len(world.weather.calls)
        world.weather.restart(lambda called, _name, n=n, first=first: mishap if called == first + n else None)
        try:
            world.move(1, 3, cycle=2)
        except (Crash, Retriable):
            world.weather.restart()
            world.move(1, 3, cycle=2)
        else:
            break
        assert world.states() == [S.WITHDRAWN, S.LIVE, S.WITHDRAWN, S.LIVE]
        world.check_shown(1, 3)
    assert n > 5


def test_reconciling_never_deletes_what_is_the_surveys(world):
    """Images and keys of a pool are not ours to judge; only links and absences are reported."""
    world.move(0, 1)
    reconcile = ReconcileSubjects(world.ledger, world.zooniverse, connections=2, uploads=False)
    assert reconcile.report(1, world.active).is_clean
    world.zooniverse.members[world.active].discard(world.ids["J0000"])
    assert reconcile.repair(reconcile.report(1, world.active)).linked == 1
    world.check_shown(0, 1)
