"""No vote is counted twice: the pure rules, on any history of people, sendings, corrections and arrivals."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alservice.campaigns.campaign import Campaign, ZooniverseTarget
from alservice.science.tree import load_tree
from alservice.science.votes import tally_set
from alservice.votes.classification import Classification, Verdict
from alservice.votes.counting import GalaxyTally, compare_feeds, judge_of
from alservice.zooniverse.records import RawClassification

TREE = load_tree("gz2")
CAMPAIGN = Campaign(name="survey", tree="gz2", zooniverse=ZooniverseTarget(workflow_id=10))
JUDGE = judge_of(CAMPAIGN, TREE)
FIRST = range(TREE.n_answers)[TREE.slices[0]]


class Sitting(NamedTuple):
    """What one classification says of itself."""

    person: str | None
    session: str | None
    start: str | None
    answer: int
    is_complete: bool
    kept: Verdict | None


SITTINGS = st.builds(
    Sitting,
    person=st.sampled_from([None, "ann", "bob"]),
    session=st.sampled_from([None, "s", "t"]),
    start=st.sampled_from([None, "noon", "one"]),
    answer=st.sampled_from(FIRST),
    is_complete=st.sampled_from([True, True, True, False]),
    kept=st.sampled_from([None, None, None, Verdict.REPEAT]),
)
HISTORIES = st.lists(SITTINGS, min_size=1, max_size=9)


def row(number: int, sitting: Sitting) -> Classification:
    """Return a sitting as the row with this id, decoded."""
    raw = RawClassification(
        classification_id=number,
        workflow_id=10,
        workflow_version="1.1",
        zooniverse_subject_id=100,
        user_hash=sitting.person,
        session=sitting.session,
        started_at=sitting.start,
        finished_at="later" if sitting.is_complete else None,
        seen_before=False,
        live_project=True,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        annotations=(),
    )
    return Classification(
        raw=raw, galaxy_id="g", answers=(sitting.answer,), abstentions=0, fault=None, kept=sitting.kept
    )


def rows_of(history: Sequence[Sitting]) -> list[Classification]:
    """Return a history's rows, ids from 1."""
    return [row(number, sitting) for number, sitting in enumerate(history, start=1)]


def counted(history: Sequence[Sitting]) -> list[Sitting]:
    """Say in a few lines which sittings count: complete, not excluded before, nobody and no sending twice."""
    found: list[Sitting] = []
    for sitting in history:
        people = {s.person for s in found} - {None}
        sendings = {(s.session, s.start) for s in found if s.session is not None and s.start is not None}
        is_new = sitting.person not in people and (sitting.session, sitting.start) not in sendings
        if sitting.is_complete and sitting.kept is None and is_new:
            found.append(sitting)
    return found


def votes(sittings: Sequence[Sitting]) -> list[int]:
    """Return the votes per answer of sittings."""
    return np.bincount([s.answer for s in sittings], minlength=TREE.n_answers).tolist()


def same(a: GalaxyTally, b: GalaxyTally) -> bool:
    """Tell whether two tallies are one: what is remembered of people and sendings is a set."""
    assert a.seen is not None
    assert b.seen is not None
    known = [{t.seen[i : i + 8] for i in range(0, len(t.seen), 8)} for t in (a, b)]
    return (a.votes.tolist(), a.classifications, a.last_id) == (
        b.votes.tolist(),
        b.classifications,
        b.last_id,
    ) and known[0] == known[1]


@given(HISTORIES, st.data())
def test_nobody_and_no_sending_counts_twice_in_any_order_of_arrival(
    history: list[Sitting], data: st.DataObject
) -> None:
    """The tally is that of the sittings which a few lines by hand let count, however the rows are shuffled."""
    rows = data.draw(st.permutations(rows_of(history)))
    verdicts, tally = JUDGE.of_galaxy(rows)
    expected = counted(history)
    assert tally.votes.tolist() == votes(expected)
    assert tally.classifications == len(expected) == list(verdicts.values()).count(Verdict.COUNTED)
    assert set(verdicts) == set(range(1, len(history) + 1)), "every row has a verdict"


@given(HISTORIES, st.integers(0, 9), st.data())
def test_rows_that_come_later_add_what_reading_all_of_them_gives(
    history: list[Sitting], cut: int, data: st.DataObject
) -> None:
    """In one piece or two, shuffled within: the same verdicts and tally, or a request to read the galaxy's rows."""
    rows = rows_of([sitting._replace(kept=None) for sitting in history])
    early, late = rows[:cut], rows[cut:]
    if not late:
        return
    before = JUDGE.of_galaxy(early)[1] if early else None
    added = JUDGE.added(data.draw(st.permutations(late)), before)
    verdicts, whole = JUDGE.of_galaxy(rows)
    if added is not None:
        assert added[0] == {r.raw.classification_id: verdicts[r.raw.classification_id] for r in late}
        assert same(added[1], whole)
    elif before is None:
        assert Verdict.REPEAT in verdicts.values() or Verdict.DUPLICATE_SEND in verdicts.values()


@given(HISTORIES, st.data())
def test_a_row_that_is_sent_again_or_arrives_late_is_never_added(history: list[Sitting], data: st.DataObject) -> None:
    """An overlap that is read again, and an id below the highest, ask for the galaxy's rows instead of counting."""
    rows = rows_of(history)
    before = JUDGE.of_galaxy(rows)[1]
    again = data.draw(st.lists(st.sampled_from(rows), min_size=1, unique_by=lambda r: r.raw.classification_id))
    assert JUDGE.added(again, before) is None


def test_nothing_is_added_to_a_tally_that_does_not_know_who_counted() -> None:
    """Tallies of an earlier version have no memory of people: their rows are read."""
    before = replace(JUDGE.of_galaxy([row(1, Sitting("ann", "s", "noon", 0, True, None))])[1], seen=None)
    assert JUDGE.added([row(2, Sitting("bob", "t", "one", 1, True, None))], before) is None


def test_distinct_rows_are_added_without_the_others() -> None:
    """The shortcut is taken where it may be: strangers with new ids."""
    first, second = Sitting("ann", "s", "noon", 0, True, None), Sitting("bob", "t", "one", 1, True, None)
    added = JUDGE.added([row(2, second)], JUDGE.of_galaxy([row(1, first)])[1])
    assert added is not None
    assert added[1].votes.tolist() == votes([first, second])


@given(st.dictionaries(st.sampled_from("abc"), HISTORIES, min_size=1), st.data())
def test_a_correction_replaces_votes_and_adds_none(galaxies: dict[str, list[Sitting]], data: st.DataObject) -> None:
    """Rows whose answers are read anew give the votes of the new answers alone."""
    galaxy = data.draw(st.sampled_from(sorted(galaxies)))
    corrected = [sitting._replace(answer=data.draw(st.sampled_from(FIRST))) for sitting in galaxies[galaxy]]
    before, after = (JUDGE.of_galaxy(rows_of(history))[1] for history in (galaxies[galaxy], corrected))
    assert after.votes.sum() == before.votes.sum()
    assert after.votes.tolist() == votes(counted(corrected))


@pytest.mark.parametrize("counts_from", ["classifications", "reductions"])
def test_two_feeds_of_the_same_votes_are_compared_and_not_summed(counts_from: str) -> None:
    """Totals stand side by side; a galaxy in one feed alone differs by its votes."""
    one, two = (np.eye(TREE.n_answers, dtype=np.int64)[column] for column in (0, 1))
    ours, theirs = tally_set({"a": one, "b": two}, TREE.n_answers), tally_set({"a": one}, TREE.n_answers)
    assert compare_feeds(TREE, ours, ours, counts_from=counts_from, unread={}).is_equal
    found = compare_feeds(TREE, ours, theirs, counts_from=counts_from, unread={})
    name = TREE.questions[0].name
    assert (found.galaxies, found.totals[name]) == (2, (2, 1))
    assert [(d.galaxy_id, d.question, sum(d.classifications), sum(d.reductions)) for d in found.differences] == [
        ("b", name, 1, 0)
    ]
    assert not found.is_equal
