"""Ingest: no vote is lost, none is counted twice, and all of a landing becomes visible at once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from alservice.campaigns.policies import CountingPolicy
from alservice.errors import BadInput, BadVotes, Conflict
from alservice.science.tree import Question, Tree
from alservice.science.votes import TallySet
from alservice.states import SubjectState
from alservice.storage.postgres import transaction
from alservice.votes.classification import Classification, Verdict
from alservice.votes.counting import GalaxyTally, Judge
from alservice.votes.ingest import land as land_rows
from alservice.zooniverse.records import RawClassification
from tests.support.stores import make_drafts

N_ANSWERS = 6
TREE = Tree(
    name="two",
    questions=tuple(
        Question(
            name=name,
            text=name,
            answers=answers,
            labels=answers,
            parents=(),
            task=f"T{place}",
            task_answers=answers,
        )
        for place, (name, answers) in enumerate([("shape", ("a", "b")), ("arms", ("c", "d", "e", "f"))])
    ),
)
JUDGE = Judge(workflow_ids=frozenset({10}), first_columns=frozenset({0, 1}), tree=TREE, policy=CountingPolicy())
NOW = datetime(2026, 3, 2, tzinfo=UTC)


def sitting(number: int, galaxy_id: str | None = "g0", answers: tuple[int, ...] = (0, 3), **raw) -> Classification:
    """Return one decoded classification."""
    fields = {
        "classification_id": number,
        "workflow_id": 10,
        "workflow_version": "28.30",
        "zooniverse_subject_id": 100,
        "user_hash": f"user{number}",
        "session": f"session{number}",
        "started_at": "2026-03-01T10:00:00.000Z",
        "finished_at": "2026-03-01T10:01:00.000Z",
        "seen_before": False,
        "live_project": True,
        "created_at": datetime(2026, 3, 1, 10, 1, 0, 123_456, tzinfo=UTC),
        "annotations": [{"task": "T00", "value": 0}, {"task": "T01", "value": None}],
    }
    return Classification(
        raw=RawClassification(**(fields | raw)), galaxy_id=galaxy_id, answers=answers, abstentions=1, fault=None
    )


def land(stores, campaign, rows, *, source: str = "api") -> int:
    """Land rows as the service does, and move the cursor."""
    with stores.classifications.landing(campaign.id) as landing:
        new, _ = land_rows(landing, JUDGE, rows, source=source, received_at=NOW)
        landing.move_cursor(source, max(r.raw.classification_id for r in rows))
    return new


def same(a: TallySet, b: TallySet) -> bool:
    """Return whether two tally sets agree."""
    return a.galaxy_ids == b.galaxy_ids and np.array_equal(a.counts, b.counts)


def test_what_copy_refuses_is_an_error_of_ours(stores, campaign):
    """Postgres' text has no NUL: the landing ends as for any other value that does not fit, and nothing stays."""
    with pytest.raises(BadInput, match="cannot store a value"):
        land(stores, campaign, [sitting(1)], source="a\0b")
    assert land(stores, campaign, [sitting(1)]) == 1


@pytest.mark.parametrize("ids", [[5, 6], [3, 4], [4, 5], [1, 9]])
def test_rows_land_the_same_above_below_and_among_known_ones(stores, campaign, ids):
    """Rows that are copied straight in and rows that are merged end alike, and known ones are not new."""
    known = [sitting(n) for n in (4, 7)]
    land(stores, campaign, known)
    assert land(stores, campaign, [sitting(n, "g1") for n in ids if n not in (4, 7)]) == len(set(ids) - {4, 7})
    rows = [sitting(n) for n in ids if n in (4, 7)]
    assert not rows or land(stores, campaign, rows) == 0
    tallies = stores.classifications.tallies(campaign.id, N_ANSWERS)
    assert tallies.n_votes == 2 * len({4, 7, *ids})


def test_rows_come_back_as_they_were(stores, campaign) -> None:
    """Every field survives: client clocks as text, microseconds, nulls, nested annotations."""
    odd = sitting(
        5,
        user_hash=None,
        session=None,
        started_at=None,
        finished_at=None,
        zooniverse_subject_id=None,
        annotations=[{"task": "T00", "value": [{"x": 0.1 + 0.2}, "\u2028 \\ ' \" é \ud800 \0"]}],
    )
    odd = odd._replace(answers=(), abstentions=0, fault="task 'T99' is not in the workflow")
    with stores.classifications.landing(campaign.id) as landing:
        inserted = landing.insert([odd, sitting(4)], source="api", received_at=NOW, verdicts={})
        assert inserted.new == {4, 5}
        assert landing.rows_of(["g0", "none"]) == {"g0": [sitting(4), odd]}
        landing.save_verdicts({4: Verdict.COUNTED, 5: Verdict.QUARANTINED})


@pytest.mark.parametrize("field", ["session", "finished_at", "user_hash", "workflow_version"])
def test_text_that_cannot_be_stored_is_named(stores, campaign, field: str) -> None:
    """A client's broken text is told by classification and field."""
    with (
        pytest.raises(BadInput, match=f"classification 7: {field}"),
        stores.classifications.landing(campaign.id) as landing,
    ):
        landing.insert([sitting(7, **{field: "a\0b"})], source="api", received_at=NOW, verdicts={})


def test_a_landing_makes_everything_visible(stores, campaign) -> None:
    """Rows, verdicts, tallies and cursor are there after it."""
    assert stores.classifications.cursor(campaign.id, "api") == 0
    assert land(stores, campaign, [sitting(1), sitting(2, answers=(1, 5)), sitting(3, "g1"), sitting(4, None)]) == 4
    assert stores.classifications.cursor(campaign.id, "api") == 4
    assert stores.classifications.by_verdict(campaign.id) == {"counted": 3, "unknown-subject": 1}
    assert stores.classifications.counted(campaign.id) == 3
    tallies = stores.classifications.tallies(campaign.id, N_ANSWERS)
    assert tallies.galaxy_ids == ("g0", "g1")
    assert tallies.counts.tolist() == [[1, 1, 0, 1, 0, 1], [1, 0, 0, 1, 0, 0]]


def test_landing_again_changes_nothing(stores, campaign) -> None:
    """An overlap that is read again adds no row and no vote, in whatever company."""
    rows = [sitting(i, f"g{i % 3}") for i in range(1, 10)]
    land(stores, campaign, rows)
    tallies = stores.classifications.tallies(campaign.id, N_ANSWERS)
    assert land(stores, campaign, rows) == 0
    assert land(stores, campaign, [*rows[5:], *rows[5:], sitting(10, "g7")]) == 1
    assert same(tallies, stores.classifications.tallies(campaign.id, N_ANSWERS).only([True, True, True, False]))


def test_an_error_inside_a_landing_leaves_nothing(stores, campaign) -> None:
    """A crash after rows and tallies were written takes all of them back."""

    def crash() -> None:
        with stores.classifications.landing(campaign.id) as landing:
            landing.insert([sitting(2)], source="api", received_at=NOW, verdicts={})
            landing.save_verdicts({2: Verdict.COUNTED})
            votes = np.array([9] * N_ANSWERS)
            landing.save_tallies({"g0": GalaxyTally(votes=votes, classifications=9, last_id=2, seen=None)})
            landing.move_cursor("api", 2)
            raise RuntimeError

    land(stores, campaign, [sitting(1)])
    with pytest.raises(RuntimeError):
        crash()
    assert stores.classifications.cursor(campaign.id, "api") == 1
    assert stores.classifications.by_verdict(campaign.id) == {"counted": 1}
    assert stores.classifications.counted(campaign.id) == 1
    assert stores.classifications.tallies(campaign.id, N_ANSWERS).counts.tolist() == [[1, 0, 0, 1, 0, 0]]


def test_a_row_without_verdict_does_not_land(stores, campaign) -> None:
    """Every classification is counted or excluded for a named reason, or the landing fails."""

    def forget() -> None:
        with stores.classifications.landing(campaign.id) as landing:
            landing.insert([sitting(1), sitting(2)], source="api", received_at=NOW, verdicts={})
            landing.save_verdicts({1: Verdict.COUNTED})

    with pytest.raises(Conflict, match="1 classifications have no verdict, the first is 2"):
        forget()
    assert stores.classifications.by_verdict(campaign.id) == {}


def test_a_source_may_correct_a_row(stores, campaign) -> None:
    """A sitting finished later counts from then on; what the source first said of it and when stays."""
    land(stores, campaign, [sitting(1, finished_at=None)])
    assert stores.classifications.by_verdict(campaign.id) == {"incomplete": 1}
    assert stores.classifications.counted(campaign.id) == 0
    assert land(stores, campaign, [sitting(1, workflow_version="99.1")], source="caesar") == 0
    assert stores.classifications.by_verdict(campaign.id) == {"counted": 1}
    assert stores.classifications.tallies(campaign.id, N_ANSWERS).n_votes == 2
    with stores.classifications.landing(campaign.id) as landing:
        assert landing.rows_of(["g0"]) == {"g0": [sitting(1)]}


def unread(row: Classification) -> Classification:
    """Return the row as it is decoded when its workflow version is not known."""
    return row._replace(answers=(), abstentions=0, fault="workflow version 28.30 is not known")


def test_what_was_read_stays_read(stores, campaign) -> None:
    """A workflow that changes under volunteers takes no vote back when the overlap is read again."""
    land(stores, campaign, [sitting(1), unread(sitting(2))])
    assert stores.classifications.by_verdict(campaign.id) == {"counted": 1, "quarantined": 1}
    land(stores, campaign, [unread(sitting(1)), sitting(2)])
    assert stores.classifications.by_verdict(campaign.id) == {"counted": 2}
    with stores.classifications.landing(campaign.id) as landing:
        assert landing.rows_of(["g0"]) == {"g0": [sitting(1), sitting(2)]}


def test_answers_that_changed_are_read_anew(stores, campaign) -> None:
    """Other answers that cannot be read are quarantined: the old reading is not theirs."""
    land(stores, campaign, [sitting(1)])
    land(stores, campaign, [unread(sitting(1, annotations=[{"task": "T99", "value": 0}]))])
    assert stores.classifications.by_verdict(campaign.id) == {"quarantined": 1}
    assert stores.classifications.tallies(campaign.id, N_ANSWERS).n_votes == 0


def test_a_subject_that_becomes_ours_brings_its_votes(stores, campaign) -> None:
    """A row that came before the ledger knew its subject counts once it is known."""
    land(stores, campaign, [sitting(1, None)])
    land(stores, campaign, [sitting(1)])
    assert stores.classifications.by_verdict(campaign.id) == {"counted": 1}


def test_votes_taken_back_leave_the_tally(stores, campaign) -> None:
    """Tallies are replaced, not added to: an earlier row that now counts pushes a later repeat out."""
    land(stores, campaign, [sitting(2, answers=(1, 5), user_hash="ann")])
    land(stores, campaign, [sitting(1, answers=(0, 3), user_hash="ann")])
    assert stores.classifications.by_verdict(campaign.id) == {"counted": 1, "repeat": 1}
    assert stores.classifications.tallies(campaign.id, N_ANSWERS).counts.tolist() == [[1, 0, 0, 1, 0, 0]]


def test_a_galaxy_without_votes_has_no_tally(stores, campaign) -> None:
    """Not asked is absent, never a row of zeros."""
    land(stores, campaign, [sitting(1, live_project=False)])
    tallies = stores.classifications.tallies(campaign.id, N_ANSWERS)
    assert tallies.galaxy_ids == ()
    assert tallies.counts.shape == (0, N_ANSWERS)


def test_the_cursor_never_goes_back(stores, campaign) -> None:
    """A late page of low ids leaves it, and sources do not share one."""
    land(stores, campaign, [sitting(50)])
    land(stores, campaign, [sitting(20)])
    land(stores, campaign, [sitting(30)], source="caesar")
    assert stores.classifications.cursor(campaign.id, "api") == 50
    assert stores.classifications.cursor(campaign.id, "caesar") == 30


def test_counted_by_cycle(stores, campaign, cycle) -> None:
    """A cycle's count is that of its own subjects."""
    rows = stores.subjects.plan(cycle, make_drafts(cycle, 2), n_votes=40)
    rows = stores.subjects.mark(rows, SubjectState.CREATING)
    stores.subjects.mark(rows, SubjectState.CREATED, zooniverse_ids={row.id: 100 + row.id for row in rows})
    land(stores, campaign, [sitting(1, "g0"), sitting(2, "g1"), sitting(3, "g5")])
    assert stores.classifications.counted(campaign.id, cycle.id) == 2
    assert stores.classifications.counted(campaign.id) == 3


def test_counted_by_galaxy(stores, campaign) -> None:
    """Each galaxy has its own count; rows that do not count do not."""
    land(
        stores,
        campaign,
        [sitting(1), sitting(2), sitting(3, "g1"), sitting(4, "g1", user_hash="u"), sitting(5, "g1", user_hash="u")],
    )
    assert stores.classifications.counted_of_galaxies(campaign.id) == {"g0": 2, "g1": 2}


def test_counted_per_day(stores, campaign) -> None:
    """By the day (UTC) they were made, from one moment up to another; rows that do not count do not."""
    times = ["2026-03-01T00:00", "2026-03-01T23:59", "2026-03-03T00:00", "2026-03-04T00:00", "2026-02-28T23:59"]
    made = [datetime.fromisoformat(f"{time}+00:00") for time in times]
    rows = [sitting(1 + i, created_at=at) for i, at in enumerate(made)]
    land(stores, campaign, [*rows, sitting(9, created_at=made[0], live_project=False)])
    counted = stores.classifications.counted_per_day(campaign.id, since=made[0], until=made[3])
    assert counted == {date(2026, 3, 1): 2, date(2026, 3, 3): 1}


def test_votes_of_another_tree_are_refused(stores, campaign) -> None:
    """A column beyond the tree is named, not cut off."""
    land(stores, campaign, [sitting(1, answers=(0, 5))])
    with pytest.raises(BadVotes, match="'g0' has votes in column 5 of a tree with 5 answers"):
        stores.classifications.tallies(campaign.id, 5)


def test_simultaneous_landings_lose_no_vote(stores, campaign) -> None:
    """Readers that land votes of the same galaxy at once end with the tally of all of them."""
    pages = [[sitting(10 * page + i) for i in range(5)] for page in range(12)]
    with ThreadPoolExecutor(6) as pool:
        new = list(pool.map(lambda page: land(stores, campaign, page), [*pages, *pages]))
    assert sum(new) == 60
    assert stores.classifications.counted(campaign.id) == 60
    assert stores.classifications.tallies(campaign.id, N_ANSWERS).counts.tolist() == [[60, 0, 0, 60, 0, 0]]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(0, 11), min_size=1, max_size=8), min_size=1, max_size=5))
def test_any_paging_gives_the_same_tallies(engine: Engine, stores, campaign, pages) -> None:
    """Whatever pages rows arrive in, with repeats and out of order, the result is that of one reading."""
    rows = [sitting(i + 1, f"g{i % 3}", ((i % 2), 2 + i % 4), user_hash=f"user{i % 5}") for i in range(12)]

    def results():
        c = stores.classifications
        return c.tallies(campaign.id, N_ANSWERS), c.by_verdict(campaign.id), c.counted(campaign.id)

    def forget() -> None:
        with transaction(engine) as connection:
            connection.execute(text("TRUNCATE classifications, tallies, ingest_cursors"))

    forget()
    land(stores, campaign, [rows[i] for i in sorted({i for page in pages for i in page})])
    whole = results()
    forget()
    for page in pages:
        land(stores, campaign, [rows[i] for i in page])
    paged = results()
    assert same(whole[0], paged[0])
    assert whole[1:] == paged[1:]


def test_ten_thousand_classifications_land(stores, campaign) -> None:
    """One landing takes ten thousand rows of 250 galaxies."""
    rows = [sitting(i, f"g{i % 250}") for i in range(1, 10_001)]
    assert land(stores, campaign, rows) == 10_000
    assert stores.classifications.counted(campaign.id) == 10_000
    assert stores.classifications.tallies(campaign.id, N_ANSWERS).n_votes == 20_000
