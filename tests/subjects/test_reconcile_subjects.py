"""Reconciling: every difference is named, repaired where a machine may, and a publisher at work is left alone."""

import pytest

from alservice.states import SubjectState
from alservice.storage.objects import LocalObjects
from alservice.subjects.reconcile import ReconcileSubjects, Repairs
from alservice.zooniverse.records import KEY_FIELD
from tests.support.fake_ledger import a_cycle
from tests.support.fake_zooniverse import Crash, Mishap
from tests.support.publishing import SET_ID, World, drafts_of

NOTHING = Repairs(removed=(), linked=0, moved={})


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    """One store of images for all tests."""
    return LocalObjects(tmp_path_factory.mktemp("objects"))


@pytest.fixture
def world(objects):
    """Four galaxies, published."""
    world = World(objects, drafts_of(objects, 4))
    world.publish()
    return world


def row_of(world, n=0):
    """Return the n-th row of the campaign."""
    return list(world.ledger.of_campaign(1))[n]


def test_a_published_batch_is_clean(world):
    """Nothing differs, and repairing does nothing."""
    report = world.difference()
    assert report.is_clean
    assert (report.rows, report.set_id) == (4, SET_ID)
    assert world.reconcile.repair(report) == NOTHING


def test_a_live_subject_that_is_gone_is_withdrawn(world):
    """Volunteers had seen it, so it is not created again."""
    row = row_of(world)
    world.zooniverse.delete_subject(row.zooniverse_id)
    report = world.difference()
    assert report.missing == (row,)
    assert report.unlinked == ()
    assert world.reconcile.repair(report).moved == {SubjectState.WITHDRAWN: 1}
    assert "gone" in row_of(world).error
    assert world.difference().is_clean


def test_a_subject_the_listing_misses_is_asked_for_before_it_is_missed(world, monkeypatch):
    """A listing may lag behind; only an answer about the subject itself counts."""
    monkeypatch.setattr(world.zooniverse, "subjects_above", lambda _above: iter(()))
    assert world.difference().is_clean


def test_duplicates_are_removed_linked_or_not(world):
    """Whatever else carries the key of a row goes, and the row's own subject stays."""
    row = row_of(world)
    loose, linked = (world.zooniverse.add({KEY_FIELD: row.key}) for _ in range(2))
    world.zooniverse.link(SET_ID, [linked])
    report = world.difference()
    assert report.surplus == (loose, linked)
    assert report.wrong_set == ()
    assert world.reconcile.repair(report).removed == (loose, linked)
    world.check_only_live()


def test_subjects_of_others_are_left_alone(world):
    """Subjects without a key, or with the key of another campaign, are none of our business."""
    strangers = {world.zooniverse.add({}), world.zooniverse.add({KEY_FIELD: "of another campaign"})}
    report = world.difference()
    assert report.is_clean
    world.reconcile.repair(report)
    assert strangers <= world.zooniverse.subjects.keys()


def test_an_unlinked_subject_is_linked_again(world):
    """The ledger says live, so the set must hold it."""
    row = row_of(world)
    world.zooniverse.members[SET_ID].discard(row.zooniverse_id)
    report = world.difference()
    assert report.unlinked == (row,)
    assert world.reconcile.repair(report) == Repairs(removed=(), linked=1, moved={})
    world.check_only_live()


@pytest.mark.parametrize("image", [None, b"another"])
def test_a_live_subject_without_its_image_is_taken_away(world, image):
    """Volunteers must not be asked about nothing; the row is withdrawn."""
    row = row_of(world)
    world.zooniverse.subjects[row.zooniverse_id].image = image
    report = world.difference()
    assert report.imageless == (row,)
    repairs = world.reconcile.repair(report)
    assert repairs == Repairs(removed=(row.zooniverse_id,), linked=0, moved={SubjectState.WITHDRAWN: 1})
    assert row.zooniverse_id not in world.zooniverse.members[SET_ID]
    assert world.difference().is_clean


def test_a_stranger_in_the_set_is_reported_and_left_to_a_person(world):
    """It may have votes; nobody but a person may decide."""
    stranger = world.zooniverse.add({})
    world.zooniverse.link(SET_ID, [stranger])
    report = world.difference()
    assert report.wrong_set == (stranger,)
    assert not report.is_clean
    assert world.reconcile.repair(report) == NOTHING
    assert stranger in world.zooniverse.members[SET_ID]


def test_a_verified_subject_is_linked_and_goes_live(objects):
    """A publisher that died between the last image and the link is finished."""
    world = World(objects, drafts_of(objects, 3))
    world.weather.forecast = lambda _n, name: Mishap.CRASH_BEFORE if name == "zooniverse.link" else None
    with pytest.raises(Crash):
        world.publish()
    world.weather.restart()
    repairs = world.reconcile.repair(world.difference())
    assert repairs == Repairs(removed=(), linked=3, moved={SubjectState.LIVE: 3})
    world.check_only_live()


def test_a_verified_subject_that_is_gone_is_published_again(objects):
    """Nobody has seen it: the row fails with a reason, and the next publish creates it."""
    world = World(objects, drafts_of(objects, 3))
    world.weather.forecast = lambda _n, name: Mishap.CRASH_BEFORE if name == "zooniverse.link" else None
    with pytest.raises(Crash):
        world.publish()
    world.weather.restart()
    world.zooniverse.delete_subject(row_of(world).zooniverse_id)
    report = world.difference()
    assert report.missing == (row_of(world),)
    assert world.reconcile.repair(report).moved == {SubjectState.FAILED: 1, SubjectState.LIVE: 2}
    assert world.publish().live == 3
    world.check_only_live()


@pytest.mark.parametrize("dies_at", range(3, 18))
def test_rows_a_publisher_is_at_work_on_are_left_to_it(objects, dies_at):
    """A repair in the middle of a publish removes nothing, and the publish ends as it would have."""
    world = World(objects, drafts_of(objects, 3))
    world.weather.forecast = lambda n, _name: Mishap.CRASH_AFTER if n == dies_at else None
    with pytest.raises(Crash):
        world.publish()
    world.weather.restart()
    report = world.difference()
    assert (report.missing, report.surplus, report.imageless, report.wrong_set) == ((), (), (), ())
    assert world.reconcile.repair(report).removed == ()
    world.publish()
    world.check_only_live()


def test_a_subject_adopted_since_the_report_is_kept(objects):
    """It was surplus to a planned row; now it is the row's own."""
    world = World(objects, drafts_of(objects, 1))
    world.ledger.plan(a_cycle(), world.drafts, n_votes=40)
    world.zooniverse.ensure_subject_set("alservice active")
    orphan = world.zooniverse.add(world.drafts[0].metadata)
    report = world.difference()
    assert report.surplus == (orphan,)
    world.ledger.mark([row_of(world)], SubjectState.CREATING)
    world.ledger.mark([row_of(world)], SubjectState.CREATED, zooniverse_ids={row_of(world).id: orphan})
    assert world.reconcile.repair(report) == NOTHING
    assert orphan in world.zooniverse.subjects


def test_a_report_that_is_out_of_date_does_no_harm(world):
    """What changed since the report is not repaired by it."""
    row = row_of(world)
    world.zooniverse.members[SET_ID].discard(row.zooniverse_id)
    report = world.difference()
    world.ledger.mark([row], SubjectState.WITHDRAWN)
    assert world.reconcile.repair(report) == NOTHING
    assert row.zooniverse_id not in world.zooniverse.members[SET_ID]


def test_a_tier_is_compared_with_its_own_set_alone(world):
    """A subject of one tier in the set of another is unlinked in its own and out of place in the other."""
    many = world.zooniverse.ensure_subject_set("many")
    world.ledger.ask([row_of(world)], cycle_id=1, n_votes=80)
    few = ReconcileSubjects(world.ledger, world.zooniverse, connections=2, votes=40).report(1, SET_ID)
    assert (few.rows, few.wrong_set, few.unlinked) == (3, (row_of(world).zooniverse_id,), ())
    of_many = ReconcileSubjects(world.ledger, world.zooniverse, connections=2, votes=80).report(1, many)
    assert (of_many.rows, of_many.wrong_set, of_many.unlinked) == (1, (), (row_of(world),))
