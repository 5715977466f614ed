"""The upload ledger: one row per galaxy, moved along its table only."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import Engine, text

from alservice.campaigns.cycle import CycleState
from alservice.errors import Conflict, IllegalTransition
from alservice.states import SUBJECTS, SubjectState
from alservice.storage.postgres import transaction
from tests.support.stores import make_drafts

S = SubjectState


def live(stores, cycle, n: int):
    """Bring subjects in front of volunteers, ledger id 1 as Zooniverse id 101 and so on."""
    rows = stores.subjects.plan(cycle, make_drafts(cycle, n), n_votes=40)
    rows = stores.subjects.mark(rows, S.CREATING)
    rows = stores.subjects.mark(rows, S.CREATED, zooniverse_ids={row.id: 100 + row.id for row in rows})
    return stores.subjects.mark(stores.subjects.mark(rows, S.VERIFIED), S.LIVE)


def test_votes_may_differ_between_galaxies(stores, cycle) -> None:
    """A row asks for its own number, when it is planned and when it is asked again."""
    rows = stores.subjects.plan(cycle, make_drafts(cycle, 3), n_votes={"g0": 5, "g1": 10, "g2": 40})
    assert [row.n_votes for row in rows] == [5, 10, 40]
    asked = stores.subjects.ask(rows, cycle_id=cycle.id, n_votes={"g0": 7, "g1": 7, "g2": 50})
    assert [row.n_votes for row in asked] == [7, 7, 50]


def test_drafts_become_intents(stores, cycle) -> None:
    """A planned row has everything a create needs, and no Zooniverse id."""
    draft = make_drafts(cycle, 3)[1]
    row = stores.subjects.plan(cycle, make_drafts(cycle, 3), n_votes=40)[1]
    assert (row.galaxy_id, row.key, row.image_key) == (draft.galaxy_id, draft.key, draft.image_key)
    assert (row.state, row.zooniverse_id, row.attempts, row.error) == (S.PLANNED, None, 0, None)
    assert (row.cycle_id, row.n_votes) == (cycle.id, 40)


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


def test_planning_nothing_is_nothing(stores, cycle) -> None:
    """An empty batch has no rows."""
    assert stores.subjects.plan(cycle, [], n_votes=40) == []
    assert stores.subjects.mark([], S.CREATING) == []


def test_walk_to_live(stores, campaign, cycle) -> None:
    """Each create is counted; ids are kept; the ledger knows its galaxies by Zooniverse id."""
    rows = live(stores, cycle, 3)
    assert [(r.state, r.zooniverse_id, r.attempts) for r in rows] == [(S.LIVE, 100 + r.id, 1) for r in rows]
    assert stores.subjects.of_cycle(cycle.id, (S.LIVE,)) == rows
    assert stores.subjects.of_cycle(cycle.id, (S.PLANNED, S.CREATED)) == []
    assert stores.subjects.watermark(campaign.id) == 100 + max(r.id for r in rows)
    ours = {r.zooniverse_id: r.galaxy_id for r in rows}
    assert stores.subjects.galaxies_of(campaign.id, [*ours, 999]) == ours


def test_a_subject_of_a_pool_is_verified_at_once(stores, cycle) -> None:
    """Found, not created: it has an id and no attempt."""
    rows = stores.subjects.plan(cycle, make_drafts(cycle, 1), n_votes=40)
    (row,) = stores.subjects.mark(rows, S.VERIFIED, zooniverse_ids={rows[0].id: 7})
    assert (row.state, row.zooniverse_id, row.attempts) == (S.VERIFIED, 7, 0)


def test_rows_are_given_to_a_later_cycle(stores, campaign, catalogue, cycle) -> None:
    """A cycle that chooses a galaxy again asks for its own votes; other rows stay."""
    rows = live(stores, cycle, 3)
    stores.move(
        cycle, CycleState.ACQUIRING, CycleState.PUBLISHING, CycleState.COLLECTING, CycleState.KEPT, CycleState.DONE
    )
    later = stores.start(campaign, catalogue)
    asked = stores.subjects.ask(rows[:2], cycle_id=later.id, n_votes=60)
    assert asked == [replace(row, cycle_id=later.id, n_votes=60) for row in rows[:2]]
    assert stores.subjects.of_cycle(later.id) == asked
    assert stores.subjects.of_cycle(cycle.id) == rows[2:]


def test_rows_come_back_in_the_order_given(stores, cycle) -> None:
    """Who marks rows can pair them with what was sent."""
    rows = stores.subjects.plan(cycle, make_drafts(cycle, 4), n_votes=40)[::-1]
    assert [r.id for r in stores.subjects.mark(rows, S.CREATING)] == [r.id for r in rows]


def test_attempts_count_creates(stores, cycle) -> None:
    """Going back to planned keeps the count and the reason; the next create clears the reason and adds one."""
    rows = stores.subjects.mark(stores.subjects.plan(cycle, make_drafts(cycle, 1), n_votes=40), S.CREATING)
    (row,) = stores.subjects.mark(rows, S.PLANNED, error="no answer")
    assert (row.attempts, row.error) == (1, "no answer")
    (row,) = stores.subjects.mark([row], S.CREATING)
    assert (row.attempts, row.error) == (2, None)


def test_a_row_already_there_stays(stores, cycle) -> None:
    """Marking again adds no attempt and changes nothing, even beside rows that do move."""
    rows = stores.subjects.plan(cycle, make_drafts(cycle, 2), n_votes=40)
    (first,) = stores.subjects.mark(rows[:1], S.CREATING)
    again = stores.subjects.mark(rows, S.CREATING, error="other")
    assert again[0] == first
    assert (again[1].attempts, again[1].error) == (1, "other")


def test_another_id_for_the_same_subject_is_a_conflict(stores, cycle) -> None:
    """A recorded subject is never silently exchanged for a second one."""
    rows = live(stores, cycle, 1)
    assert stores.subjects.mark(rows, S.LIVE, zooniverse_ids={rows[0].id: rows[0].zooniverse_id}) == rows
    with pytest.raises(Conflict, match="g0 is live as subject"):
        stores.subjects.mark(rows, S.LIVE, zooniverse_ids={rows[0].id: 999})


def test_one_subject_is_one_galaxy(stores, cycle) -> None:
    """A Zooniverse id cannot belong to two rows."""
    rows = stores.subjects.mark(stores.subjects.plan(cycle, make_drafts(cycle, 2), n_votes=40), S.CREATING)
    with pytest.raises(Conflict, match="uq_subjects_campaign_id_zooniverse_id"):
        stores.subjects.mark(rows, S.CREATED, zooniverse_ids=dict.fromkeys((r.id for r in rows), 7))
    assert stores.subjects.of_cycle(cycle.id) == rows


def test_created_needs_an_id(stores, cycle) -> None:
    """A subject that exists there has an id here."""
    rows = stores.subjects.mark(stores.subjects.plan(cycle, make_drafts(cycle, 1), n_votes=40), S.CREATING)
    with pytest.raises(Conflict, match="ck_subjects_zooniverse_id"):
        stores.subjects.mark(rows, S.CREATED)


def test_illegal_step_moves_no_row(stores, cycle) -> None:
    """One row that may not move stops all, and is named."""
    rows = stores.subjects.plan(cycle, make_drafts(cycle, 3), n_votes=40)
    stores.subjects.mark(rows[2:], S.FAILED, error="bad image")
    with pytest.raises(IllegalTransition, match="g2 cannot go from failed to creating"):
        stores.subjects.mark(rows, S.CREATING)
    assert [r.state for r in stores.subjects.of_cycle(cycle.id)] == [S.PLANNED, S.PLANNED, S.FAILED]


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


def test_the_row_counts_not_the_reading(stores, cycle) -> None:
    """A stale reading is judged by where the row is now."""
    rows = stores.subjects.plan(cycle, make_drafts(cycle, 1), n_votes=40)
    live(stores, cycle, 1)
    with pytest.raises(IllegalTransition, match="from live"):
        stores.subjects.mark(rows, S.CREATING)


def test_marks_from_many_threads_are_counted_once(stores, cycle) -> None:
    """Threads that mark the same rows in any order neither deadlock nor add attempts twice."""
    rows = stores.subjects.plan(cycle, make_drafts(cycle, 20), n_votes=40)
    orders = [rows, rows[::-1]] * 6
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda order: stores.subjects.mark(order, S.CREATING), orders))
    assert [r.attempts for r in stores.subjects.of_cycle(cycle.id)] == [1] * 20


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
