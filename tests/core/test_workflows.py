"""The live workflow and the tree: mapped by name, compared before anything is sent."""

import copy
import itertools

import pytest

from alservice.core.tree import Tree, load_tree, tree_names
from alservice.core.workflows import Workflow, WorkflowMismatch, map_answers, plain_label, tasks_of


def workflow(tasks: dict[str, object]) -> Workflow:
    """Return version 3.10 with these tasks."""
    return Workflow(workflow_id=10, version="3.10", tasks=tasks)


@pytest.mark.parametrize("name", tree_names())
def test_a_trees_own_tasks_map_back_to_its_columns(name: str) -> None:
    """Whatever order Panoptes keeps the answers in, each index finds its column."""
    tree = load_tree(name)
    mapped = map_answers(tree, workflow(tasks_of(tree)))
    for question in tree.questions:
        expected = tuple(tree.column(f"{question.name}_{answer}") for answer in question.task_answers)
        assert mapped.columns[question.task] == expected


@pytest.mark.parametrize("name", tree_names())
def test_every_walk_through_next_is_a_walk_of_the_tree(name: str) -> None:
    """Volunteers who follow ``next`` are asked exactly the questions whose parents they chose."""
    tree = load_tree(name)
    tasks = tasks_of(tree)
    chosen_by_task = {q.task: q for q in tree.questions}
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
    return [q.name for q in tree.questions if not q.parents or chosen & set(q.parents)]


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
