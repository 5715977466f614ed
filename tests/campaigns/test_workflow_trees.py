"""A workflow as a tree: the questions and their parents come back, votes are read, and what cannot be is named."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from alservice.campaigns.campaign import parse_campaign
from alservice.campaigns.policies import LabelRule
from alservice.campaigns.trees import load_tree, read_tree, save_tree
from alservice.campaigns.workflow_trees import tree_of_workflow
from alservice.errors import BadInput, BadTree, Conflict
from alservice.rehearsal.sittings import Manners, Sittings
from alservice.science.tree import Tree, tree_names
from alservice.votes.classification import Reading, read_answers
from alservice.votes.decoding import choose_workflow, read_definitions, read_version
from alservice.zooniverse.workflow import Workflow, WorkflowMismatch, map_answers, tasks_of
from tests.support.shared import shared_data


def workflow(tasks: Mapping[str, Any], first: str | None = "T0") -> Workflow:
    """Return version 3.10 with these tasks."""
    return Workflow(workflow_id=10, version="3.10", tasks=tasks, first_task=first)


def single(question: str, **following: str | None) -> dict[str, Any]:
    """Return a task with these answers, and the task after each."""
    answers = [{"label": label} if key is None else {"label": label, "next": key} for label, key in following.items()]
    return {"type": "single", "question": question, "answers": answers}


def boxes(question: str, *labels: str, following: str | None = None) -> dict[str, Any]:
    """Return a task of boxes."""
    return {"type": "multiple", "question": question, "answers": [{"label": la} for la in labels], "next": following}


def by_task(tree: Tree) -> dict[str, tuple[list[str], set[tuple[str, str]]]]:
    """Return each task's labels, and the task and label of each answer after which it is asked."""
    owner = {
        column: (question.task, label)
        for question in tree.questions
        for column, label in zip(question.columns, question.labels, strict=True)
    }
    return {
        question.task: (sorted(question.labels), {owner[tree.columns[p]] for p in parents})
        for question, parents in zip(tree.questions, tree.parents_of, strict=True)
        if not question.superseded
    }


@pytest.mark.parametrize("name", tree_names())
def test_every_packaged_tree_comes_back_from_its_workflow(name: str) -> None:
    """Tasks that `next` leads through give the questions, answers and parents that they were made of."""
    tree = load_tree(name)
    made = tree_of_workflow(workflow(tasks_of(tree), tree.questions[0].task), name="again")
    assert by_task(made.tree) == by_task(tree)
    assert (made.left_out, made.notes) == ((), ())
    assert tasks_of(made.tree).keys() == tasks_of(tree).keys()


ODD = {
    "T0": single("Smooth?", Yes="T3", No="T1"),
    "T1": boxes("What is there?", "**Ring**", "Star", following="T2"),
    "T2": single("Sure?", Yes="T3", No="T3"),
    "T3": single("Merging?", Yes=None, No=None),
}


def test_boxes_are_questions_of_yes_and_no() -> None:
    """What follows a task of boxes is asked of whoever was asked it; names are made of question and box."""
    tree = tree_of_workflow(workflow(ODD), name="odd").tree
    assert [(q.name, q.parents) for q in tree.questions] == [
        ("smooth", ()),
        ("what-is-there-ring", ("smooth_no",)),
        ("what-is-there-star", ("smooth_no",)),
        ("sure", ("smooth_no",)),
        ("merging", ()),
    ]
    assert tasks_of(tree)["T1"] | {"next": "T2"} == tasks_of(tree)["T1"]
    assert [a["label"] for a in tasks_of(tree)["T1"]["answers"]] == ["**Ring**", "Star"]


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ([0], ["ring_yes", "star_no"]),
        ([1, 0, 0], ["ring_yes", "star_yes"]),
        ([], ["ring_no", "star_no"]),
        (["star"], ["ring_no", "star_yes"]),
        (["**Ring**"], ["ring_yes", "star_no"]),
        (None, 1),
        ([2], "answer '2' is not one of 2"),
        (["Comet"], "answer 'comet' is not one of its own"),
        ([True], "answer 'True' is not one of 2"),
        (0, "answer '0' is no list of boxes"),
        ("Star", "answer 'Star' is no list of boxes"),
    ],
)
def test_votes_on_boxes_are_read(value: object, read: object) -> None:
    """By index and by label; nothing ticked is no to each, null an abstention, another box a fault."""
    tree = tree_of_workflow(workflow(ODD), name="odd").tree
    mapped = map_answers(tree, workflow(ODD))
    assert read_version(tree, workflow(ODD).plain()) == mapped
    assert mapped.n_questions == 5
    found = read_answers([{"task": "T1", "value": value}], mapped)
    if isinstance(read, str):
        assert found == Reading(fault=f"task T1: {read}")
    elif isinstance(read, int):
        assert found == Reading(abstentions=read)
    else:
        assert [tree.columns[c].removeprefix("what-is-there-") for c in found.answers] == read


def test_volunteers_tick_boxes() -> None:
    """What a simulated volunteer sends is read back as what it answered."""
    tree = tree_of_workflow(workflow(ODD), name="odd").tree
    sittings = Sittings(tree, workflow(ODD), project_id=1, seed=1, manners=Manners(), n_users=0)
    row = np.array([[1, 0, 1, 0, 1], [1, 1, 1, 0, 1], [0, -1, -1, -1, 1]], dtype=np.int8)
    from datetime import UTC, datetime

    sent = [s for s in sittings.of_galaxy("g", 1, row, cycle=0, now=datetime(2026, 1, 1, tzinfo=UTC)) if not s.extra]
    mapped = map_answers(tree, workflow(ODD))
    for answers, sending in zip(row, sent, strict=True):
        wanted = [part.start + a for part, a in zip(tree.slices, answers.tolist(), strict=True) if a >= 0]
        assert list(read_answers(sending.classification["annotations"], mapped).answers) == wanted


def test_other_boxes_are_a_mismatch_and_rules_give_them_a_meaning() -> None:
    """A live workflow must have the tree's boxes; an older version is read by the campaign's rules, or says why not."""
    tree = tree_of_workflow(workflow(ODD), name="odd").tree
    other = workflow({**ODD, "T1": boxes("What?", "Ring", "Sun", following="T2")})
    with pytest.raises(WorkflowMismatch, match=r"T1 .*'Sun'.* is one of the boxes .*'Star'"):
        map_answers(tree, other)
    assert "has the box 'sun'" in read_version(tree, other.plain()).unread["T1"]
    rule = LabelRule(task="T1", labels={"Sun": "what-is-there-star_yes"})
    assert read_version(tree, other.plain(), [rule]).boxes["T1"].yes == map_answers(tree, workflow(ODD)).boxes["T1"].yes
    wrong = LabelRule(task="T1", labels={"Sun": "what-is-there-star_no"})
    assert "is no yes" in read_version(tree, other.plain(), [wrong]).unread["T1"]
    alone = workflow({**ODD, "T1": single("What?", Ring="T2", Star="T2")})
    with pytest.raises(WorkflowMismatch, match="of type 'single'"):
        map_answers(tree, alone)


DRAWN = {"type": "drawing", "instruction": "Mark it", "tools": [], "next": "T2"}


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ({**ODD, "T1": DRAWN, "T3": {"type": "text", "instruction": "Say"}}, r"T1 \(drawing\), T3 \(text\).*--leave-out T1"),
        ({**ODD, "T1": {"type": "survey"}}, r"T1 \(survey\)"),
        ({**ODD, "T1": {"type": "slider", "next": "T3"}}, r"T1 \(slider\)"),
        ({**ODD, "T3": single("Merging?", Yes="T0", No=None)}, "is cyclic: T0 -> T1 -> T2 -> T3 -> T0"),
        ({**ODD, "T2": single("Sure?", Yes="T1", No=None)}, "is cyclic: T1 -> T2 -> T1"),
        ({**ODD, "T2": single("Sure?", Yes="T9", No=None)}, "leads to a task 'T9', which is not there"),
        ({**ODD, "T2": single("Sure?", Yes="T3")}, "task T2 has 1 answers"),
        ({**ODD, "T1": boxes("What?", following="T2")}, "task T1 has no answers"),
        ({**ODD, "T2": single("Sure?", **{"Yes": None, "*yes*": None})}, "T2 has two answers that read the same: 'yes'"),
        ({}, "asks nothing"),
    ],
)  # fmt: skip
def test_what_a_tree_cannot_hold_is_named(tasks: Mapping[str, Any], said: str) -> None:
    """Tasks that are no questions, edges to nowhere, circles: each with its key."""
    with pytest.raises(BadTree, match=said):
        tree_of_workflow(workflow(tasks), name="odd")


def test_tasks_are_left_out_and_what_follows_them_stays() -> None:
    """A drawing in the middle is passed over; a question whose answers part ways cannot be."""
    tasks = {**ODD, "T1": DRAWN, "T8": single("Lost?", Yes=None, No=None), "T9": {"type": "shortcut", "answers": []}}
    tasks["T0"] |= {"unlinkedTask": "T9"}
    made = tree_of_workflow(workflow(tasks), name="odd", leave_out=["T1"])
    assert made.tree.question("sure").parents == ("smooth_no",)
    assert made.left_out == ("T1", "T8", "T9")
    assert [note[:40] for note in made.notes] == [
        "task T0 has the shortcut T9: who takes i",
        "task T1 (drawing) is left out, as asked ",
        "task T8 (single) is reached by no answer",
        "task T9 is a shortcut, no question: ",
    ]
    with pytest.raises(BadTree, match="T0 cannot be left out: its answers lead to different tasks"):
        tree_of_workflow(workflow(ODD), name="odd", leave_out=["T0"])
    with pytest.raises(BadTree, match="has no task T7 to leave out"):
        tree_of_workflow(workflow(ODD), name="odd", leave_out=["T7"])


def test_one_question_alone_and_no_first_task() -> None:
    """The workflow need not say where it begins if only one task can be it; the words are in letters of no name."""
    tree = tree_of_workflow(workflow({"T7": single("輪?", 有=None, 無=None)}, None), name="ring").tree
    assert tree.columns == ("t7_answer-1", "t7_answer-2")
    with pytest.raises(BadTree, match="does not say which task is the first"):
        tree_of_workflow(
            workflow({"T0": single("A?", a=None, b=None), "T1": single("B?", a=None, b=None)}, None), name="x"
        )


def test_the_real_workflow_becomes_a_tree(tmp_path) -> None:
    """Galaxy Zoo DECaLS: the parents of the packaged tree, its rare features as boxes; it is saved once and read back."""
    found = read_definitions(shared_data() / "exports" / "gz_decals_workflow_version_66.425.json")
    (version,) = choose_workflow(found, None, None, where="x")
    made = tree_of_workflow(version, name="decals")
    asked, packaged = by_task(made.tree), by_task(load_tree("gz-decals-dr5"))
    plain = {task: {place for place, _ in parents} for task, (_, parents) in packaged.items()}
    assert {task: {place for place, _ in parents} for task, (_, parents) in asked.items() if task != "T10"} == plain
    assert sum(question.task == "T10" for question in made.tree.questions) == 7
    save_tree(made.tree, tmp_path / "t.yaml", notes=made.notes)
    assert read_tree(tmp_path / "t.yaml") == made.tree
    with pytest.raises(Conflict, match="is there already"):
        save_tree(made.tree, tmp_path / "t.yaml")
    with pytest.raises(BadInput, match="has no workflow 5; it has 6122"):
        choose_workflow(found, 5, None, where="x")
    with pytest.raises(BadInput, match=r"has no version 1\.1; it has 66\.425"):
        choose_workflow(found, None, "1.1", where="x")


def test_a_campaign_reads_boxes_of_its_own_tree() -> None:
    """Rules of a campaign may name its boxes."""
    tree = tree_of_workflow(workflow(ODD), name="odd").tree
    document = {"name": "odd", "tree": tree, "evaluation": {"answer": "smooth_yes"}}
    rules = [{"task": "T1", "labels": {"Sun": "what-is-there-star_yes"}}]
    assert parse_campaign({**document, "decoding": rules}, source="x").decoding[0].labels
