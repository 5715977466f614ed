"""The upload ledger, in Postgres and in memory: one row per galaxy, moved along its table only."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import Engine, text

from alservice.campaigns.cycle import CycleState
from alservice.errors import Conflict, IllegalTransition
from alservice.states import SUBJECTS, SubjectState
from alservice.storage.postgres import transaction
from alservice.subjects.subject import SubjectLedger
from alservice.testing import MemoryLedger
from tests.support.fake_ledger import a_cycle
from tests.support.stores import make_drafts

S = SubjectState


@pytest.fixture(params=["postgres", "memory"])
def ledger(request: pytest.FixtureRequest) -> SubjectLedger:
    """An empty ledger of each kind."""
    return MemoryLedger() if request.param == "memory" else request.getfixturevalue("stores").subjects


@pytest.fixture
def opened(request: pytest.FixtureRequest, ledger: SubjectLedger):
    """A cycle that the ledger may have rows of."""
    return a_cycle() if isinstance(ledger, MemoryLedger) else request.getfixturevalue("cycle")


def live(ledger, opened, n: int):
    """Bring subjects in front of volunteers, ledger id 1 as Zooniverse id 101 and so on."""
    rows = ledger.plan(opened, make_drafts(opened, n), n_votes=40)
    rows = ledger.mark(rows, S.CREATING)
    rows = ledger.mark(rows, S.CREATED, zooniverse_ids={row.id: 100 + row.id for row in rows})
    return ledger.mark(ledger.mark(rows, S.VERIFIED), S.LIVE)


def test_votes_may_differ_between_galaxies(ledger, opened) -> None:
    """A row asks for its own number, when it is planned and when it is asked again."""
    rows = ledger.plan(opened, make_drafts(opened, 3), n_votes={"g0": 5, "g1": 10, "g2": 40})
    assert [row.n_votes for row in rows] == [5, 10, 40]
    asked = ledger.ask(rows, cycle_id=opened.id, n_votes={"g0": 7, "g1": 7, "g2": 50})
    assert [row.n_votes for row in asked] == [7, 7, 50]


def test_drafts_become_intents(ledger, opened) -> None:
    """A planned row has everything a create needs, and no Zooniverse id."""
    draft = make_drafts(opened, 3)[1]
    row = ledger.plan(opened, make_drafts(opened, 3), n_votes=40)[1]
    assert (row.galaxy_id, row.key, row.image_key) == (draft.galaxy_id, draft.key, draft.image_key)
    assert (row.state, row.zooniverse_id, row.attempts, row.error) == (S.PLANNED, None, 0, None)
    assert (row.cycle_id, row.n_votes) == (opened.id, 40)


def test_planning_twice_plans_once(stores, campaign, catalogue, cycle) -> None:
    """A galaxy keeps its row, also when a later cycle asks for it with other votes."""
    first = stores.subjects.plan(cycle, make_drafts(cycle, 3), n_votes=40)
    assert stores.subjects.plan(cycle, make_drafts(cycle, 3), n_votes=40) == first
    stores.move(
        cycle, CycleState.ACQUIRING, CycleState.PUBLISHING, CycleState.COLLECTING, CycleState.KEPT, CycleState.DONE
    )
    later = stores.start(campaign, catalogue)
    again = stores.subjects.plan(later, make_drafts(later, 4), n_votes=10)
    assert again[:3] == first
    assert (again[3].cycle_id, again[3].n_votes) == (later.id, 10)
    assert stores.subjects.of_cycle(later.id) == again[3:]
    assert list(stores.subjects.of_campaign(campaign.id)) == again


def test_planning_nothing_is_nothing(ledger, opened) -> None:
    """An empty batch has no rows."""
    assert ledger.plan(opened, [], n_votes=40) == []
    assert ledger.mark([], S.CREATING) == []


def test_walk_to_live(ledger, opened) -> None:
    """Each create is counted; ids are kept; the ledger knows its galaxies by Zooniverse id."""
    rows = live(ledger, opened, 3)
    assert [(r.state, r.zooniverse_id, r.attempts) for r in rows] == [(S.LIVE, 100 + r.id, 1) for r in rows]
    assert ledger.of_cycle(opened.id, (S.LIVE,)) == rows
    assert ledger.of_cycle(opened.id, (S.PLANNED, S.CREATED)) == []
    assert ledger.watermark(opened.campaign_id) == 100 + max(r.id for r in rows)
    ours = {r.zooniverse_id: r.galaxy_id for r in rows}
    assert ledger.galaxies_of(opened.campaign_id, [*ours, 999]) == ours


def test_a_subject_of_a_pool_is_verified_at_once(ledger, opened) -> None:
    """Found, not created: it has an id and no attempt."""
    rows = ledger.plan(opened, make_drafts(opened, 1), n_votes=40)
    (row,) = ledger.mark(rows, S.VERIFIED, zooniverse_ids={rows[0].id: 7})
    assert (row.state, row.zooniverse_id, row.attempts) == (S.VERIFIED, 7, 0)


def test_rows_are_given_to_a_later_cycle(stores, campaign, catalogue, cycle) -> None:
    """A cycle that chooses a galaxy again asks for its own votes; other rows stay."""
    rows = live(stores.subjects, cycle, 3)
    stores.move(
        cycle, CycleState.ACQUIRING, CycleState.PUBLISHING, CycleState.COLLECTING, CycleState.KEPT, CycleState.DONE
    )
    later = stores.start(campaign, catalogue)
    asked = stores.subjects.ask(rows[:2], cycle_id=later.id, n_votes=60)
    assert asked == [replace(row, cycle_id=later.id, n_votes=60) for row in rows[:2]]
    assert stores.subjects.of_cycle(later.id) == asked
    assert stores.subjects.of_cycle(cycle.id) == rows[2:]


def test_rows_come_back_in_the_order_given(ledger, opened) -> None:
    """Who marks rows can pair them with what was sent."""
    rows = ledger.plan(opened, make_drafts(opened, 4), n_votes=40)[::-1]
    assert [r.id for r in ledger.mark(rows, S.CREATING)] == [r.id for r in rows]


def test_attempts_count_creates(ledger, opened) -> None:
    """Going back to planned keeps the count and the reason; the next create clears the reason and adds one."""
    rows = ledger.mark(ledger.plan(opened, make_drafts(opened, 1), n_votes=40), S.CREATING)
    (row,) = ledger.mark(rows, S.PLANNED, error="no answer")
    assert (row.attempts, row.error) == (1, "no answer")
    (row,) = ledger.mark([row], S.CREATING)
    assert (row.attempts, row.error) == (2, None)


def test_a_row_already_there_stays(ledger, opened) -> None:
    """Marking again adds no attempt and changes nothing, even beside rows that do move."""
    rows = ledger.plan(opened, make_drafts(opened, 2), n_votes=40)
    (first,) = ledger.mark(rows[:1], S.CREATING)
    again = ledger.mark(rows, S.CREATING, error="other")
    assert again[0] == first
    assert (again[1].attempts, again[1].error) == (1, "other")


def test_another_id_for_the_same_subject_is_a_conflict(ledger, opened) -> None:
    """A recorded subject is never silently exchanged for a second one."""
    rows = live(ledger, opened, 1)
    assert ledger.mark(rows, S.LIVE, zooniverse_ids={rows[0].id: rows[0].zooniverse_id}) == rows
    with pytest.raises(Conflict, match="g0 is live as subject"):
        ledger.mark(rows, S.LIVE, zooniverse_ids={rows[0].id: 999})


def test_one_subject_is_one_galaxy(ledger, opened) -> None:
    """A Zooniverse id cannot belong to two rows."""
    rows = ledger.mark(ledger.plan(opened, make_drafts(opened, 2), n_votes=40), S.CREATING)
    with pytest.raises(Conflict, match="uq_subjects_campaign_id_zooniverse_id"):
        ledger.mark(rows, S.CREATED, zooniverse_ids=dict.fromkeys((r.id for r in rows), 7))
    assert ledger.of_cycle(opened.id) == rows


def test_created_needs_an_id(ledger, opened) -> None:
    """A subject that exists there has an id here."""
    rows = ledger.mark(ledger.plan(opened, make_drafts(opened, 1), n_votes=40), S.CREATING)
    with pytest.raises(Conflict, match="ck_subjects_zooniverse_id"):
        ledger.mark(rows, S.CREATED)


def test_illegal_step_moves_no_row(ledger, opened) -> None:
    """One row that may not move stops all, and is named."""
    rows = ledger.plan(opened, make_drafts(opened, 3), n_votes=40)
    ledger.mark(rows[2:], S.FAILED, error="bad image")
    with pytest.raises(IllegalTransition, match="g2 cannot go from failed to creating"):
        ledger.mark(rows, S.CREATING)
    assert [r.state for r in ledger.of_cycle(opened.id)] == [S.PLANNED, S.PLANNED, S.FAILED]


@pytest.mark.parametrize("before", S)
def test_the_table_is_the_guard(engine: Engine, stores, cycle, before: S) -> None:
    """From every state exactly the steps of the table are taken."""
    (row,) = stores.subjects.plan(cycle, make_drafts(cycle, 1), n_votes=40)
    for to in set(S) - {before}:
        with transaction(engine) as connection:
            connection.execute(text("UPDATE subjects SET state = :s, zooniverse_id = 5"), {"s": str(before)})
        if SUBJECTS.can(before, to):
            assert stores.subjects.mark([row], to)[0].state is to
        else:
            with pytest.raises(IllegalTransition):
                stores.subjects.mark([row], to)


def test_the_row_counts_not_the_reading(ledger, opened) -> None:
    """A stale reading is judged by where the row is now."""
    rows = ledger.plan(opened, make_drafts(opened, 1), n_votes=40)
    live(ledger, opened, 1)
    with pytest.raises(IllegalTransition, match="from live"):
        ledger.mark(rows, S.CREATING)


def test_marks_from_many_threads_are_counted_once(ledger, opened) -> None:
    """Threads that mark the same rows in any order neither deadlock nor add attempts twice."""
    rows = ledger.plan(opened, make_drafts(opened, 20), n_votes=40)
    orders = [rows, rows[::-1]] * 6
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda order: ledger.mark(order, S.CREATING), orders))
    assert [r.attempts for r in ledger.of_cycle(opened.id)] == [1] * 20


def test_ten_thousand_rows_stream(stores, campaign, cycle) -> None:
    """A large ledger is planned in one transaction and read in pieces, in order of galaxy id."""
    drafts = [replace(d, galaxy_id=f"{i:05d}", key=f"k{i}") for i, d in enumerate(make_drafts(cycle, 1) * 10_000)]
    assert len(stores.subjects.plan(cycle, drafts, n_votes=40)) == 10_000
    stream = stores.subjects.of_campaign(campaign.id)
    assert next(stream).galaxy_id == "00000"
    assert [row.galaxy_id for row in stream] == [f"{i:05d}" for i in range(1, 10_000)]


def test_an_unread_stream_gives_its_connection_back(engine: Engine, stores, campaign, cycle) -> None:
    """Leaving a stream in the middle ends its transaction."""
    stores.subjects.plan(cycle, make_drafts(cycle, 3), n_votes=40)
    stream = stores.subjects.of_campaign(campaign.id)
    next(stream)
    assert engine.pool.checkedout() == 1
    stream.close()
    assert engine.pool.checkedout() == 0
