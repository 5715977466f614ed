"""Verdicts and tallies: they follow from the set of classifications, not from how it arrived."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alservice.science.tree import load_tree
from alservice.votes.classification import Classification, Verdict, decode, judge, tally
from alservice.zooniverse.records import RawClassification
from alservice.zooniverse.workflow import Workflow, map_answers, tasks_of

TREE = load_tree("gz2")
MAP = map_answers(TREE, Workflow(workflow_id=10, version="1.1", tasks=tasks_of(TREE)))
FIRST = frozenset(range(TREE.n_answers)[TREE.slices[0]])


def raw(classification_id: int, **changes: object) -> RawClassification:
    """Return a good classification: smooth, round, nothing odd."""
    made = RawClassification(
        classification_id=classification_id,
        workflow_id=10,
        workflow_version="1.1",
        zooniverse_subject_id=100,
        user_hash=None,
        session=f"s{classification_id}",
        started_at=f"t{classification_id}",
        finished_at="later",
        seen_before=False,
        live_project=True,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        annotations=({"task": "T0", "value": 0}, {"task": "T6", "value": 0}, {"task": "T5", "value": 1}),
    )
    return made._replace(**changes)


def row(classification_id: int, **changes: object) -> Classification:
    """Return it decoded, on galaxy ``g``."""
    return decode(raw(classification_id, **changes), "g", MAP)


def verdicts(*rows: Classification) -> dict[int, Verdict]:
    """Judge rows as one galaxy's."""
    return judge(rows, workflow_ids=frozenset({10}), first_columns=FIRST)


def test_answers_become_columns_of_the_tree() -> None:
    """Task and index are looked up by name."""
    names = {TREE.columns[column] for column in row(1).answers}
    assert names == {"smooth-or-featured_smooth", "something-odd_no", "how-rounded_round"}


def test_a_null_answer_is_an_abstention_and_no_vote() -> None:
    """What was not answered is not counted as anything."""
    decoded = row(1, annotations=({"task": "T0", "value": 0}, {"task": "T6", "value": None}))
    assert decoded.abstentions == 1
    assert [TREE.columns[c] for c in decoded.answers] == ["smooth-or-featured_smooth"]


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"workflow_id": 11}, Verdict.WRONG_WORKFLOW),
        ({"annotations": ({"task": "T99", "value": 0},)}, Verdict.QUARANTINED),
        ({"annotations": ({"task": "T0", "value": 9},)}, Verdict.QUARANTINED),
        ({"annotations": ({"task": "T0", "value": True},)}, Verdict.QUARANTINED),
        ({"live_project": False}, Verdict.NOT_LIVE),
        ({"finished_at": None}, Verdict.INCOMPLETE),
        ({"annotations": ({"task": "T6", "value": 0},)}, Verdict.INCOMPLETE),
        ({"seen_before": True}, Verdict.SEEN_BEFORE),
    ],
)
def test_each_reason_has_its_name(changes: dict[str, object], verdict: Verdict) -> None:
    """A classification that is not counted says why."""
    assert verdicts(row(1, **changes)) == {1: verdict}


def test_an_unknown_version_is_quarantined_not_dropped() -> None:
    """Without a map for its version the row waits."""
    assert verdicts(decode(raw(1), "g", None)) == {1: Verdict.QUARANTINED}


def test_a_foreign_subject_is_named_so() -> None:
    """A subject that is not ours is not a galaxy."""
    assert verdicts(decode(raw(1), None, MAP)) == {1: Verdict.UNKNOWN_SUBJECT}


def test_the_first_of_a_double_send_counts() -> None:
    """Same session and start: the front end sent it twice."""
    twice = verdicts(row(2, session="s", started_at="t"), row(1, session="s", started_at="t"))
    assert twice == {1: Verdict.COUNTED, 2: Verdict.DUPLICATE_SEND}


def test_the_first_of_a_users_repeats_counts() -> None:
    """The same person in two sessions has one vote."""
    assert verdicts(row(1, user_hash="u"), row(2, user_hash="u")) == {1: Verdict.COUNTED, 2: Verdict.REPEAT}


def test_an_excluded_row_does_not_shadow_a_good_one() -> None:
    """A user's incomplete try leaves the vote to the complete one."""
    assert verdicts(row(1, user_hash="u", finished_at=None), row(2, user_hash="u"))[2] is Verdict.COUNTED


@given(st.permutations(range(1, 9)), st.data())
def test_tallies_do_not_depend_on_arrival(order: list[int], data: st.DataObject) -> None:
    """Any order of the same rows gives the same verdicts and the same tally."""
    users = data.draw(st.lists(st.sampled_from([None, "u", "v"]), min_size=8, max_size=8))
    sessions = data.draw(st.lists(st.sampled_from(["a", "b", "c"]), min_size=8, max_size=8))
    rows = {i: row(i, user_hash=users[i - 1], session=sessions[i - 1], started_at="t") for i in range(1, 9)}
    shuffled = [rows[i] for i in order]
    assert verdicts(*shuffled) == verdicts(*rows.values())
    judged = verdicts(*shuffled)
    counts = tally(shuffled, judged, TREE.n_answers)
    counted = [r for r in rows.values() if judged[r.raw.classification_id] is Verdict.COUNTED]
    brute = np.zeros(TREE.n_answers, dtype=int)
    for r in counted:
        for column in r.answers:
            brute[column] += 1
    np.testing.assert_array_equal(counts, brute)
    assert len({(r.raw.session, r.raw.started_at) for r in counted}) == len(counted)
