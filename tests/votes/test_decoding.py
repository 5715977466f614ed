"""What labels mean: versions are ordered, rules say what drifted, and half a scale is not read."""

import copy

import pytest

from alservice.campaigns.policies import LabelRule, version_key
from alservice.errors import BadConfig
from alservice.science.tree import load_tree
from alservice.votes.classification import read_answers
from alservice.votes.decoding import read_version
from alservice.zooniverse.workflow import IGNORED, Workflow, tasks_of

TREE = load_tree("gz2")


def workflow(version: str = "28.30", **labels: str) -> Workflow:
    """Return the tree's workflow; a first answer may read otherwise."""
    tasks = copy.deepcopy(tasks_of(TREE))
    for task, label in labels.items():
        tasks[task]["answers"][0]["label"] = label
    return Workflow(workflow_id=10, version=version, tasks=tasks)


def test_versions_are_numbered_not_decimal() -> None:
    """28.30 comes after 28.4 and is not 28.3; what is no version has no place."""
    assert version_key("28.30") > version_key("28.4") > version_key("28.3")
    assert [version_key(text) for text in ("28", "", "1e3.2", "28.30.1")] == [None] * 4


@pytest.mark.parametrize(
    ("versions", "covered"),
    [("..", True), ("28.30..28.30", True), ("28.4..", True), ("..28.3", False), ("28.31..", False)],
)
def test_a_range_includes_both_ends(versions: str, covered: bool) -> None:
    """Ends left out are open."""
    assert LabelRule(task="T0", versions=versions, ignored=True).covers("28.30") is covered


@pytest.mark.parametrize("bad", [{"versions": "28"}, {"versions": "a..b"}, {"ignored": False}, {"labels": {"a": "b"}}])
def test_a_rule_that_says_nothing_clear_is_refused(bad: dict[str, object]) -> None:
    """A range needs its dots, and a rule either labels or ignores."""
    with pytest.raises(BadConfig, match="decoding of task T0"):
        LabelRule(**({"task": "T0", "ignored": True} | bad))


def test_a_task_with_one_unknown_answer_waits_as_a_whole() -> None:
    """Nobody's vote on a scale counts while one step of it has no meaning."""
    mapped = read_version(TREE, workflow(T0="Silky"))
    assert "T0" not in mapped.columns
    assert mapped.unread["T0"] == "task T0 of version 28.30 has the answer 'silky', which is not in the tree"
    assert read_answers([{"task": "T0", "value": 1}], mapped).fault == mapped.unread["T0"]


def test_a_rule_gives_a_label_its_meaning_in_its_range_only() -> None:
    """The same label in a later version is not covered."""
    rule = LabelRule(task="T0", versions="..28.30", labels={"SILKY": TREE.columns[0]})
    assert read_version(TREE, workflow(T0="Silky"), [rule]).labels["T0"]["silky"] == 0
    assert "T0" in read_version(TREE, workflow("28.31", T0="Silky"), [rule]).unread


def test_a_task_that_fits_two_questions_is_not_guessed() -> None:
    """Of an old and a new question of one task the labels decide; where they fit both, the row waits."""
    tree = load_tree("gz-decals-dr5-mergers")
    task = {"type": "single", "question": "?", "answers": [{"label": "Merging"}, {"label": "Merger"}]}
    task["answers"].pop()
    read = read_version(tree, Workflow(workflow_id=10, version="1.1", tasks={"T11": task}))
    assert read.unread == {"T11": "task T11 of version 1.1 can be read as several questions of the tree"}
    rule = LabelRule(task="T11", labels={"Merging": "merging-or-debris_merger"})
    read = read_version(tree, Workflow(workflow_id=10, version="1.1", tasks={"T11": task}), [rule])
    assert read.columns == {"T11": (tree.column("merging-or-debris_merger"),)}


def test_ignored_answers_and_tasks_are_no_votes_and_no_faults() -> None:
    """What the campaign ignores by name does not hold up the row."""
    rules = [LabelRule(task="T0", labels={"Silky": "ignored"}), LabelRule(task="T5", ignored=True)]
    mapped = read_version(TREE, workflow(T0="Silky"), rules)
    assert mapped.columns["T0"][0] == IGNORED
    reading = read_answers([{"task": "T0", "value": 0}, {"task": "T5", "value": [3, "x"]}], mapped)
    assert (reading.answers, reading.abstentions, reading.fault) == ((), 0, None)


def test_answers_that_read_the_same_are_not_told_apart() -> None:
    """Two labels that differ in their images only cannot be read from an export."""
    other = tasks_of(TREE)["T0"]["answers"][1]["label"]
    assert "read the same" in read_version(TREE, workflow(T0=f"![i](x.png) {other}")).unread["T0"]


def test_a_task_answered_twice_is_a_fault() -> None:
    """One sitting has one answer to a question."""
    mapped = read_version(TREE, workflow())
    assert read_answers([{"task": "T0", "value": 0}, {"task": "T0", "value": 1}], mapped).fault
