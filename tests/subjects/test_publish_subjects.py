"""Publishing: exactly once, whatever fails and whenever the process dies."""

from itertools import count

import pytest

from alservice.constants import LINK_BATCH, MAX_IMAGE_BYTES
from alservice.errors import AllowanceExhausted, BadConfig, OutcomeUnknown, ZooniverseRefused, ZooniverseUnavailable
from alservice.ids import object_key
from alservice.states import SubjectState
from alservice.storage.objects import LocalObjects
from alservice.subjects.publish import PublishPolicy, PublishReport
from alservice.zooniverse.records import SubjectDraft
from tests.support.fake_zooniverse import Crash, Mishap
from tests.support.publishing import SET_ID, World, drafts_of, storm_on_fakes


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    """One store of images for all tests: nothing changes it."""
    return LocalObjects(tmp_path_factory.mktemp("objects"))


@pytest.fixture(scope="module")
def drafts(objects):
    """Five galaxies."""
    return drafts_of(objects, 5)


def befalls(name, *mishaps, skip=0):
    """Return a forecast: these mishaps befall the calls of one name in order, after some that go well."""
    coming = iter([None] * skip + list(mishaps))
    return lambda _n, called: next(coming, None) if called == name else None


def states(world):
    """Return the state of every row by galaxy id."""
    return [row.state for row in world.ledger.of_campaign(1)]


def test_a_batch_goes_live_in_one_pass(objects, drafts):
    """Without mishaps each galaxy is created, uploaded, verified and linked once, without waiting."""
    world = World(objects, drafts, connections=24)
    report = world.publish()
    assert report == PublishReport(requested=5, live=5, failed=0, sent=5, adopted=0, surplus_removed=())
    world.check_only_live()
    assert world.slept == []
    assert world.weather.calls.count("zooniverse.image_url") == 0


def test_rows_are_planned_before_anything_is_sent(objects, drafts):
    """The intent of the whole batch is on record first, and each row is creating before its create."""
    world = World(objects, drafts)
    world.publish()
    calls = world.weather.calls
    assert calls[0] == "ledger.plan"
    first = calls.index("zooniverse.create_subject")
    assert calls[first - 1] == "ledger.mark creating"
    assert calls[first + 1] == "ledger.mark created"


def test_linking_happens_in_hundreds(objects):
    """A large batch is linked in few calls, and no image is left in the dark."""
    world = World(objects, drafts_of(objects, 2 * LINK_BATCH + 5), connections=24)
    world.publish()
    assert sorted(world.zooniverse.link_sizes) == [5, LINK_BATCH, LINK_BATCH]
    world.check_only_live()


def test_publishing_again_sends_nothing(objects, drafts):
    """A batch that is live stays as it is."""
    world = World(objects, drafts)
    world.publish()
    before = dict(world.zooniverse.subjects)
    assert world.publish().sent == 0
    assert world.zooniverse.subjects == before
    world.check_only_live()


@pytest.mark.parametrize("mishap", [Mishap.BEFORE, Mishap.AFTER, Mishap.LATE])
@pytest.mark.parametrize("skip", [0, 2])
def test_a_create_without_an_answer_is_settled_before_it_is_repeated(objects, drafts, mishap, skip):
    """After the settling delay the row is adopted by its key, or created again; never two live subjects."""
    world = World(objects, drafts, befalls("zooniverse.create_subject", mishap, skip=skip))
    report = world.publish()
    assert world.slept == [7.0]
    assert (report.requested, report.live, report.sent) == (5, 5, 6)
    assert report.adopted == (mishap is Mishap.AFTER)
    world.check_live()
    world.zooniverse.carry_out_late()
    world.reconcile.repair(world.difference())
    world.check_only_live()


def test_nothing_is_created_while_the_first_create_is_in_doubt(objects, drafts):
    """Ids drawn later would hide what the first create left behind."""
    world = World(objects, drafts, befalls("zooniverse.create_subject", Mishap.AFTER), connections=24)
    world.publish()
    creates = [
        name for name in world.weather.calls if name in {"zooniverse.create_subject", "zooniverse.subjects_above"}
    ]
    assert creates[:2] == ["zooniverse.create_subject", "zooniverse.subjects_above"]


def test_a_create_that_commits_while_its_row_is_settled_leaves_no_duplicate(objects, drafts):
    """The late subject shows up in the listing of the next round and is removed there."""
    late = befalls("zooniverse.create_subject", Mishap.LATE, skip=1)
    world = World(objects, drafts)

    def commits_at_the_next_create(n, name):
        if name == "zooniverse.create_subject" and world.slept:
            world.zooniverse.carry_out_late()
        return late(n, name)

    world.weather.forecast = commits_at_the_next_create
    report = world.publish()
    assert len(report.surplus_removed) == 1
    world.check_only_live()


def test_of_two_subjects_with_one_key_the_lowest_is_kept(objects, drafts):
    """Two creates in doubt both committed: one is adopted, the other removed and recorded."""
    world = World(objects, drafts, befalls("zooniverse.create_subject", Mishap.AFTER, skip=1))
    added = []

    def commit_twin() -> None:
        row = next(row for row in world.ledger.of_campaign(1) if row.state is SubjectState.CREATING)
        added.append(world.zooniverse.add({"#alservice_key": row.key}))

    world.on_sleep = commit_twin
    report = world.publish()
    assert report.adopted == 1
    assert report.surplus_removed == tuple(added)
    world.check_only_live()


@pytest.mark.parametrize("mishap", [Mishap.BEFORE, Mishap.LOST])
def test_a_subject_without_its_image_is_replaced(objects, drafts, mishap):
    """An upload that failed, or was accepted and lost, ends with another subject that has its image."""
    world = World(objects, drafts, befalls("zooniverse.upload_image", mishap))
    report = world.publish()
    assert (report.live, report.sent) == (5, 6)
    world.check_only_live()


def test_an_upload_whose_answer_was_lost_is_believed_when_fetched_back(objects, drafts):
    """The image is there, so nothing is replaced."""
    world = World(objects, drafts, befalls("zooniverse.upload_image", Mishap.AFTER))
    assert world.publish().sent == 5
    world.check_only_live()


def test_another_image_behind_the_subject_is_not_believed(objects, drafts):
    """A subject that shows other bytes than were sent is never linked."""
    world = World(objects, drafts)
    forecast = befalls("zooniverse.upload_image", Mishap.LOST)

    def swapped(n, name):
        if name == "zooniverse.subjects_above":
            blank = next((s for s in world.zooniverse.subjects.values() if s.image is None), None)
            if blank is not None:
                blank.image = b"another"
        return forecast(n, name)

    world.weather.forecast = swapped
    assert world.publish().sent == 6
    world.check_only_live()


def test_an_image_that_never_arrives_fails_its_row_alone(objects, drafts):
    """After the last create allowed the row is failed with a reason, and its subjects are deleted."""
    world = World(objects, drafts, policy={"creates": 2})
    victim = drafts[3].key

    def lost(_n, name):
        subjects = world.zooniverse.subjects.values()
        newest = next(reversed(list(subjects)), None)
        hit = name == "zooniverse.upload_image" and newest is not None and newest.metadata["#alservice_key"] == victim
        return Mishap.LOST if hit else None

    world.weather.forecast = lost
    report = world.publish()
    assert (report.requested, report.live, report.failed, report.sent) == (5, 4, 1, 6)
    failed = world.ledger.of_cycle(1, [SubjectState.FAILED])
    assert [row.galaxy_id for row in failed] == ["J0003"]
    assert "no image" in failed[0].error
    world.weather.restart()
    assert world.publish().failed == 0
    world.check_only_live()


def test_an_image_that_cannot_be_sent_fails_its_row_and_no_other(objects, drafts):
    """Absent, foreign and oversized images are recorded by galaxy; nothing is created for them."""
    text = objects.put(b"not an image", kind="images", suffix=".txt")
    large = objects.put(b"\x89PNG\r\n\x1a\n" + bytes(MAX_IMAGE_BYTES), kind="images", suffix=".png")
    keys = [object_key("images", "0" * 64, ".png"), text.key, large.key]
    bad = [SubjectDraft(galaxy_id=f"B{i}", key=f"bad{i}", metadata={}, image_key=k) for i, k in enumerate(keys)]
    world = World(objects, [*bad, *drafts])
    report = world.publish()
    assert (report.requested, report.live, report.failed, report.sent) == (8, 5, 3, 5)
    errors = [row.error for row in world.ledger.of_cycle(1, [SubjectState.FAILED])]
    assert all(f"B{i}" in error for i, error in enumerate(errors))
    assert len(world.zooniverse.subjects) == 5


def test_the_circuit_opens_and_the_next_run_continues(objects):
    """When everything fails the publisher stops sending, says so retriably, and loses nothing."""
    drafts = drafts_of(objects, 12)
    down_after_four = befalls("zooniverse.create_subject", *[Mishap.BEFORE] * 12, skip=4)
    world = World(objects, drafts, down_after_four, policy={"failures": 3})
    with pytest.raises(ZooniverseUnavailable, match="3 failures in a row"):
        world.publish()
    assert world.weather.calls.count("zooniverse.create_subject") == 4 + 3
    world.weather.restart()
    assert world.publish().live == 12
    world.check_only_live()


def test_images_lost_one_after_the_other_open_the_circuit(objects):
    """A storage that accepts and drops everything must not eat the allowance."""

    def always(_n, name):
        return Mishap.LOST if name == "zooniverse.upload_image" else None

    world = World(objects, drafts_of(objects, 12), always, policy={"failures": 5})
    with pytest.raises(ZooniverseUnavailable, match="5 failures in a row"):
        world.publish()
    assert world.zooniverse.uploaded == 12


@pytest.mark.parametrize("error", [OutcomeUnknown, ZooniverseUnavailable])
def test_when_no_galaxy_comes_through_none_is_to_blame(objects, drafts, monkeypatch, error):
    """A batch too small to open the circuit waits between its creates, stays planned, and may be tried again."""
    world = World(objects, drafts)

    def down(*_):
        raise error("POST /subjects: 503")

    with monkeypatch.context() as patch:
        patch.setattr(world.zooniverse, "create_subject", down)
        with pytest.raises(ZooniverseUnavailable, match="none of 5 galaxies"):
            world.publish()
    assert states(world) == [SubjectState.PLANNED] * 5
    assert len(world.slept) >= 3
    assert world.publish().live == 5
    world.check_only_live()


def test_an_allowance_too_small_stops_the_batch_before_it_starts(objects, drafts):
    """Nothing is sent when the account cannot take the whole batch."""
    world = World(objects, drafts, policy={"allowance": 4})
    with pytest.raises(AllowanceExhausted, match="5 uploads are due, and 0 of 4 are used"):
        world.publish()
    assert world.zooniverse.uploaded == 0
    assert states(world) == [SubjectState.PLANNED] * 5


def test_an_allowance_that_runs_out_leaves_rows_planned(objects, drafts):
    """What Zooniverse refused is planned as before; with more allowance the same call completes."""
    world = World(objects, drafts, allowance=3, policy={"allowance": None})
    with pytest.raises(AllowanceExhausted):
        world.publish()
    assert SubjectState.CREATING not in states(world)
    world.zooniverse.allowance = 100
    report = world.publish()
    assert (report.live, report.sent) == (5, 2)
    world.check_only_live()


def test_a_refusal_stops_the_batch_and_keeps_its_place(objects, drafts, monkeypatch):
    """Credentials and schemas are for a person: the error is raised as it is."""
    world = World(objects, drafts)

    def refuse(*_):
        raise ZooniverseRefused("POST /subjects: 422 no")

    with monkeypatch.context() as patch:
        patch.setattr(world.zooniverse, "create_subject", refuse)
        with pytest.raises(ZooniverseRefused):
            world.publish()
    assert states(world) == [SubjectState.PLANNED] * 5
    world.publish()
    world.check_only_live()


def test_images_that_cannot_be_fetched_leave_their_rows_for_another_run(objects, drafts):
    """The others go live; the run ends with a retriable error and the next one finishes."""
    world = World(objects, drafts, befalls("zooniverse.fetch_image", Mishap.BEFORE, skip=2))
    with pytest.raises(ZooniverseUnavailable, match="1 images could not be fetched back"):
        world.publish()
    assert sorted(states(world)) == [SubjectState.CREATED] + [SubjectState.LIVE] * 4
    assert world.publish().sent == 0
    world.check_only_live()


def test_a_link_that_is_not_seen_is_made_again(objects, drafts, monkeypatch):
    """A membership that is absent after a successful link call is never marked live unseen."""
    world = World(objects, drafts)
    link = world.zooniverse.link
    forgotten = []

    def forgetful(set_id, ids):
        if forgotten:
            link(set_id, ids)
        forgotten.append(ids)

    monkeypatch.setattr(world.zooniverse, "link", forgetful)
    world.publish()
    world.check_only_live()
    assert world.zooniverse.link_sizes == [5]


def crash_at(n, mishap, otherwise):
    """Return a forecast of one crash at the n-th call of the world, and other weather before."""
    return lambda called, name: mishap if called == n else otherwise(called, name)


@pytest.mark.parametrize("wave", [2, 1000])
@pytest.mark.parametrize("trouble", [None, Mishap.AFTER, Mishap.LATE])
@pytest.mark.parametrize("mishap", [Mishap.CRASH_BEFORE, Mishap.CRASH_AFTER])
def test_a_crash_at_any_call_loses_and_doubles_nothing(objects, mishap, trouble, wave):
    """The process dies at each call in turn, before or after it took effect, and the next run completes."""
    drafts = drafts_of(objects, 3)
    for n in count():
        second = befalls("zooniverse.create_subject", trouble, skip=1)
        world = World(objects, drafts, crash_at(n, mishap, second), policy={"wave": wave})
        world.zooniverse.late_calls = 9
        try:
            world.publish()
        except Crash:
            world.weather.restart()
            world.publish()
        else:
            break
        world.check_live()
        world.zooniverse.carry_out_late()
        world.reconcile.repair(world.difference())
        world.check_only_live()
        assert world.difference().is_clean
    assert n == len(world.weather.calls)  # every call of a whole run has had its crash


@pytest.mark.parametrize("seed", range(150))
def test_a_storm_ends_with_every_galaxy_live_once(objects, seed):
    """Random faults and crashes over many runs, threads at work: the same end as in fair weather."""
    storm_on_fakes(objects, seed)


def test_a_wave_is_live_before_the_next_is_sent(objects):
    """What is in memory is a wave, and all of the batch is intended and reported."""
    world = World(objects, drafts_of(objects, 7), policy={"wave": 3})
    report = world.publish()
    calls = [name for name in world.weather.calls if name in ("zooniverse.create_subject", "zooniverse.link")]
    create, link = "zooniverse.create_subject", "zooniverse.link"
    assert calls == [*[create] * 3, link, *[create] * 3, link, create, link]
    assert (report.requested, report.live, report.sent, report.failed) == (7, 7, 7, 0)
    world.check_only_live()


def test_publishing_needs_two_connections_and_no_more_than_twenty_four():
    """One links while the others create; Zooniverse is spared more than 24."""
    for wrong in ({"connections": 1}, {"connections": 25}, {"wave": 0}, {"creates": 0}, {"settle_s": -1.0}):
        with pytest.raises(BadConfig):
            PublishPolicy(**wrong)


def test_the_set_is_the_campaigns(objects, drafts):
    """Subjects are linked to the set the campaign names."""
    world = World(objects, drafts)
    world.publish()
    assert world.zooniverse.sets == {"alservice active": SET_ID}
