"""The live workflow and the tree: mapped by name, compared before anything is sent."""

import copy
import itertools
from dataclasses import replace

import pytest

from alservice.science.tree import Question, Tree, load_tree, tree_names
from alservice.votes.decoding import read_version
from alservice.zooniverse.workflow import Workflow, WorkflowMismatch, map_answers, plain_label, tasks_of


def workflow(tasks: dict[str, object]) -> Workflow:
    """Return version 3.10 with these tasks."""
    return Workflow(workflow_id=10, version="3.10", tasks=tasks)


def asked_today(tree: Tree) -> list[Question]:
    """Return the questions that are not superseded."""
    return [question for question in tree.questions if not question.superseded]


@pytest.mark.parametrize("name", tree_names())
def test_a_trees_own_tasks_map_back_to_its_columns(name: str) -> None:
    """Whatever order Panoptes keeps the answers in, each index finds its column."""
    tree = load_tree(name)
    mapped = map_answers(tree, workflow(tasks_of(tree)))
    for question in asked_today(tree):
        expected = tuple(tree.column(f"{question.name}_{answer}") for answer in question.task_answers)
        assert mapped.columns[question.task] == expected


@pytest.mark.parametrize("name", tree_names())
def test_every_walk_through_next_is_a_walk_of_the_tree(name: str) -> None:
    """Volunteers who follow ``next`` are asked exactly the questions whose parents they chose."""
    tree = load_tree(name)
    tasks = tasks_of(tree)
    chosen_by_task = {q.task: q for q in asked_today(tree)}
    for picks in itertools.islice(itertools.product(range(3), repeat=8), 0, 6561, 37):
        asked, chosen, task = [], set(), tree.questions[0].task
        for pick in itertools.chain(picks, itertools.repeat(0)):
            question = chosen_by_task[task]
            asked.append(question.name)
            choice = pick % len(question.task_answers)
            chosen.add(f"{question.name}_{question.task_answers[choice]}")
            task = tasks[task]["answers"][choice].get("next")
            if task is None:
                break
        assert sorted(asked) == sorted(_open(tree, chosen))


def _open(tree: Tree, chosen: set[str]) -> list[str]:
    return [q.name for q in asked_today(tree) if not q.parents or chosen & set(q.parents)]


def both_mergers(*, task: str = "T11") -> Tree:
    """Return the tree that holds the old merging question beside the new one, maybe under another task key."""
    tree = load_tree("gz-decals-dr5-mergers")
    *others, old = tree.questions
    return replace(tree, questions=(*others, replace(old, task=task)))


def old_task(tree: Tree) -> dict[str, object]:
    """Return the old merging question as a task."""
    old = tree.question("merging-or-debris")
    labels = [old.labels[old.answers.index(answer)] for answer in old.task_answers]
    return {"type": "single", "question": old.text, "answers": [{"label": label} for label in labels]}


def test_a_workflow_need_not_ask_what_was_superseded() -> None:
    """The tree holds both questions of one task; today's is mapped."""
    tree = both_mergers()
    mapped = map_answers(tree, workflow(tasks_of(tree)))
    assert mapped.columns["T11"][0] == tree.column("merging_merger")


def test_a_workflow_may_ask_the_old_and_the_new_question() -> None:
    """Side by side in one version, each under its own task: both are read, in either order of labels."""
    tree = both_mergers(task="T12")
    mapped = map_answers(tree, workflow({**tasks_of(tree), "T12": old_task(tree)}))
    assert [tree.columns[c] for c in mapped.columns["T11"]][:2] == ["merging_merger", "merging_major-disturbance"]
    assert [tree.columns[c] for c in mapped.columns["T12"]] == [
        "merging-or-debris_merger",
        "merging-or-debris_tidal-debris",
        "merging-or-debris_both",
        "merging-or-debris_neither",
    ]
    read = read_version(tree, workflow({**tasks_of(tree), "T12": old_task(tree)}))
    assert (dict(read.columns), read.unread) == (dict(mapped.columns), {})


def test_a_workflow_that_still_asks_the_old_question_only_is_refused() -> None:
    """Today's question must be asked; what the task asks instead is named."""
    tree = both_mergers()
    with pytest.raises(WorkflowMismatch, match=r"T11.*Tidal Debris.*question merging asks"):
        map_answers(tree, workflow({**tasks_of(tree), "T11": old_task(tree)}))


def test_an_old_tasks_key_may_ask_something_else_today() -> None:
    """A superseded question whose task is another one now is not asked, and is no mismatch."""
    tree = both_mergers(task="T12")
    other = {"type": "multiple", "question": "Rare?", "answers": [{"label": "Ring"}]}
    mapped = map_answers(tree, workflow({**tasks_of(tree), "T12": other}))
    assert "T12" not in mapped.columns


def test_labels_are_compared_as_people_read_them() -> None:
    """Markdown, images, case and spaces do not make another answer."""
    assert plain_label("![icon](https://x/y.png) **Features**  or [Disk](https://z)") == "features or disk"


def test_an_answer_in_another_order_is_mapped_by_its_label() -> None:
    """An index means what its label says."""
    tree = load_tree("gz2")
    tasks = copy.deepcopy(tasks_of(tree))
    tasks["T0"]["answers"].reverse()
    mapped = map_answers(tree, workflow(tasks))
    assert mapped.columns["T0"][-1] == tree.column("smooth-or-featured_smooth")


@pytest.mark.parametrize("change", ["drop task", "drop answer", "rename answer"])
def test_another_workflow_is_refused_by_name(change: str) -> None:
    """A task or answer that differs is named before a single subject is sent."""
    tree = load_tree("gz2")
    tasks = copy.deepcopy(tasks_of(tree))
    if change == "drop task":
        del tasks["T2"]
    elif change == "drop answer":
        tasks["T2"]["answers"].pop()
    else:
        tasks["T2"]["answers"][0]["label"] = "Boat"
    with pytest.raises(WorkflowMismatch, match="T2"):
        map_answers(tree, workflow(tasks))
