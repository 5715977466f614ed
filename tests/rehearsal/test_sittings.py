"""Sittings: what the front end would send, in the live workflow's own numbering, with seeded bad manners."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from alservice.errors import BadInput
from alservice.rehearsal.sittings import IDLE_S, SITTING_S, Manners, Sending, Sittings
from alservice.science.tree import load_tree
from alservice.zooniverse.workflow import Workflow, WorkflowMismatch, map_answers, tasks_of

TREE = load_tree("gz2")
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
FEATURED_BARRED = [1, 1, 0, 1, 2, 1, -1, -1, -1, -1, -1]
SMOOTH_ROUND = [0, -1, -1, -1, -1, 1, 0, -1, -1, -1, -1]
POLITE = Manners(duplicate_share=0.0)


def workflow(*, reverse: str = "") -> Workflow:
    """Return the tree as a live workflow; one task may list its answers the other way round."""
    tasks = tasks_of(TREE)
    if reverse:
        tasks[reverse]["answers"].reverse()
    return Workflow(workflow_id=10, version="3.7", tasks=tasks)


def sittings(manners: Manners = POLITE, *, n_users: int = 0, seed: int = 4, live: Workflow | None = None) -> Sittings:
    """Return what turns answers into classifications."""
    return Sittings(TREE, live or workflow(), project_id=1, seed=seed, manners=manners, n_users=n_users)


def sent(of: Sittings, n: int = 200, *, galaxy_id: str = "g1", cycle: int = 2) -> list[Sending]:
    """Return what `n` volunteers send about one galaxy."""
    answers = np.array([FEATURED_BARRED, SMOOTH_ROUND] * n, dtype=np.int8)[:n]
    return list(of.of_galaxy(galaxy_id, 77, answers, cycle=cycle, now=NOW))


def test_a_classification_has_the_closed_form_that_panoptes_takes():
    """Links are strings of digits, annotations follow the walk, and metadata is the front end's."""
    first, second = (sending.classification for sending in sent(sittings(), 2))
    assert set(first) == {"annotations", "completed", "links", "metadata"}
    assert first["links"] == {"project": "1", "workflow": "10", "subjects": ["77"]}
    assert [(a["task"], a["value"]) for a in first["annotations"]] == [
        ("T0", 1), ("T1", 1), ("T2", 0), ("T3", 1), ("T4", 2), ("T5", 1),
    ]  # fmt: skip
    assert [(a["task"], a["value"]) for a in second["annotations"]] == [("T0", 0), ("T5", 1), ("T6", 0)]
    assert {a["taskType"] for a in first["annotations"]} == {"single"}
    assert set(first["metadata"]) == {
        "classifier_version", "feedback", "finished_at", "session", "source", "started_at", "subject_dimensions",
        "subject_flagged", "subject_selection_state", "user_agent", "user_language", "utc_offset", "viewport",
        "workflow_version",
    }  # fmt: skip
    assert first["metadata"]["workflow_version"] == "3.7"


def test_answers_are_numbered_as_the_live_workflow_numbers_them():
    """A task that lists its answers in another order gets other indexes for the same answers."""
    live = workflow(reverse="T0")
    columns = map_answers(TREE, live).columns["T0"]
    for sending, row in zip(sent(sittings(live=live), 2), (FEATURED_BARRED, SMOOTH_ROUND), strict=True):
        value = sending.classification["annotations"][0]["value"]
        assert columns[value] == TREE.slices[0].start + row[0]
        assert value == 2 - row[0]


def test_a_workflow_that_asks_something_else_is_refused():
    """Votes are never sent to tasks that do not mean the tree's questions."""
    tasks = tasks_of(TREE)
    tasks["T2"]["answers"][0]["label"] = "Bridge"
    with pytest.raises(WorkflowMismatch, match="T2"):
        sittings(live=Workflow(workflow_id=10, version="1.1", tasks=tasks))


def test_every_sitting_has_a_session_of_its_own_that_names_it_for_ever():
    """Sessions are 64 hex digits, unique, and the same whenever seed, cycle, galaxy and place are."""
    of = sittings()
    sessions = [sending.session for sending in sent(of)]
    assert all(len(session) == 64 and int(session, 16) for session in sessions)
    assert [s.classification["metadata"]["session"] for s in sent(of)] == sessions
    others = sent(of, galaxy_id="g2") + sent(of, cycle=3) + sent(sittings(seed=5))
    assert len({*sessions, *(sending.session for sending in others)}) == 800
    assert [sending.session for sending in sent(sittings(), 10)] == sessions[:10]


def test_sittings_take_plausible_times_and_are_over_when_they_are_sent():
    """Start, end and now are in order; times of one volunteer do not depend on the others."""
    sendings = sent(sittings())
    for sending in sendings:
        metadata = sending.classification["metadata"]
        started, finished = (datetime.fromisoformat(metadata[name]) for name in ("started_at", "finished_at"))
        assert timedelta(seconds=SITTING_S[0] - 0.001) <= finished - started <= timedelta(seconds=SITTING_S[1] + 0.001)
        assert timedelta(0) <= NOW - finished <= timedelta(seconds=IDLE_S)
    assert sent(sittings(), 20) == sendings[:20]


def test_manners_are_polite_unless_told_otherwise():
    """By default there are a few harmless duplicates and nothing else odd."""
    sendings = sent(sittings(Manners()), 2000)
    extras = [sending for sending in sendings if sending.extra]
    assert 0 < len(extras) < 30
    assert len({sending.session for sending in sendings}) == 2000
    assert all(sending.user is None for sending in sendings)
    assert all(a["value"] is not None for sending in sendings for a in sending.classification["annotations"])


def test_a_duplicate_is_the_same_classification_right_after_itself():
    """Session, start and subject are equal, by which a duplicate is known."""
    sendings = sent(sittings(Manners(duplicate_share=1.0)), 30)
    for original, duplicate in zip(sendings[::2], sendings[1::2], strict=True):
        assert (original.extra, duplicate.extra) == (False, True)
        assert (original.session, original.classification) == (duplicate.session, duplicate.classification)


def test_a_repeat_is_the_same_person_at_the_same_galaxy_in_another_session():
    """Repeats come after the first sitting, from somebody logged in."""
    manners = Manners(duplicate_share=0.0, logged_in_share=1.0, repeat_share=1.0)
    sendings = sent(sittings(manners, n_users=30), 30)
    for original, repeat in zip(sendings[::2], sendings[1::2], strict=True):
        assert (original.extra, repeat.extra) == (False, True)
        assert original.user == repeat.user is not None
        assert original.session != repeat.session


def test_nobody_is_given_the_same_galaxy_twice():
    """Once everybody who can log in has had the galaxy, the rest are anonymous."""
    users = Counter(sending.user for sending in sent(sittings(Manners(duplicate_share=0), n_users=8), 100))
    assert users == {None: 92, **dict.fromkeys(range(8), 1)}


def test_a_null_answer_ends_the_walk():
    """The skipped question is sent with value null, and no task comes after it."""
    lengths = set()
    for sending, row in zip(
        sent(sittings(Manners(duplicate_share=0, null_share=1.0))),
        [FEATURED_BARRED, SMOOTH_ROUND] * 100,
        strict=True,
    ):
        values = [a["value"] for a in sending.classification["annotations"]]
        assert values[-1] is None
        assert None not in values[:-1]
        assert len(values) <= sum(answer >= 0 for answer in row)
        lengths.add(len(values))
    assert lengths == set(range(1, 7))


def test_a_phone_sends_what_panoptes_requires_and_the_session():
    """Mobile rows lack what only a browser knows."""
    for sending in sent(sittings(Manners(duplicate_share=0, mobile_share=1.0)), 5):
        assert set(sending.classification["metadata"]) == {
            "finished_at", "session", "started_at", "user_agent", "user_language", "utc_offset", "workflow_version",
        }  # fmt: skip


@pytest.mark.parametrize("share", ["duplicate_share", "repeat_share", "null_share", "mobile_share", "logged_in_share"])
def test_a_share_outside_zero_to_one_is_refused_by_name(share):
    """A share is a probability."""
    with pytest.raises(BadInput, match=share):
        Manners(**{share: 1.5})


def test_repeats_need_somebody_who_can_be_known():
    """An anonymous volunteer cannot be seen to repeat."""
    with pytest.raises(BadInput, match="repeat_share"):
        sittings(Manners(repeat_share=0.1))
