"""What an answer meant to the volunteer who gave it: each workflow version read with the campaign's rules.

Wording drifts between versions of one workflow, and a task key can come to ask something else. So a version is
read by its labels; where a label is not the tree's, a rule of the campaign says what it means, or that it is
ignored. A task with one answer of unknown meaning is not read at all: half a scale would bias its tally.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from alservice.errors import BadConfig
from alservice.science.question import Question
from alservice.science.tree import Tree
from alservice.zooniverse.workflow import IGNORED, AnswerMap, Workflow, plain_label

IGNORE: Final = "ignored"
"""In a rule, instead of an answer column: the answer is known and is no vote."""

_VERSION = re.compile(r"([0-9]{1,9})\.([0-9]{1,9})")
_RANGE = re.compile(r"(?P<first>[0-9.]*)\.\.(?P<last>[0-9.]*)")


def version_key(version: str) -> tuple[int, int] | None:
    """Return major and minor number of a version, by which versions are ordered; None for what is no version.

    28.30 is the thirtieth minor version of 28, and not 28.3.
    """
    found = _VERSION.fullmatch(version)
    return None if found is None else (int(found[1]), int(found[2]))


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelRule:
    """What labels of one task mean in a range of workflow versions.

    Parameters
    ----------
    task
        Panoptes task key, such as ``T8``.
    versions
        ``28.30..46.77``, both included; an end left out is open.
    labels
        What volunteers read to the answer column (``question_answer``) it stands for, or to ``ignored``.
    ignored
        The whole task is no question of the tree.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    task: str
    versions: str = ".."
    labels: Mapping[str, str] = field(default_factory=dict)
    ignored: bool = False

    def __post_init__(self) -> None:
        if self.ignored == bool(self.labels):
            raise BadConfig(f"decoding of task {self.task}: give either labels or `ignored: true`")
        ends = _RANGE.fullmatch(self.versions)
        if ends is None or any(end and version_key(end) is None for end in ends.groups()):
            raise BadConfig(f"decoding of task {self.task}: versions {self.versions!r} is not like '28.30..46.77'")

    def covers(self, version: str) -> bool:
        """Tell whether the rule is about a version."""
        key = version_key(version)
        first, _, last = self.versions.partition("..")
        after = not first or (key is not None and key >= _known(first))
        before = not last or (key is not None and key <= _known(last))
        return after and before


def _known(version: str) -> tuple[int, int]:
    key = version_key(version)
    if key is None:
        raise BadConfig(f"{version!r} is not a workflow version")
    return key


def read_version(tree: Tree, workflow: Workflow, rules: Sequence[LabelRule] = ()) -> AnswerMap:
    """Return what each answer of one workflow version means in the tree.

    A task that cannot be read is left out, with its reason in ``unread``: classifications that hold it wait.
    """
    questions: defaultdict[str, list[Question]] = defaultdict(list)
    for question in sorted(tree.questions, key=lambda q: q.superseded):
        questions[question.task].append(question)
    columns: dict[str, tuple[int, ...]] = {}
    labels: dict[str, dict[str, int]] = {}
    ignored: set[str] = set()
    unread: dict[str, str] = {}
    for key, task in workflow.tasks.items():
        applying = [rule for rule in rules if rule.task == key and rule.covers(workflow.version)]
        if any(rule.ignored for rule in applying):
            ignored.add(key)
            continue
        texts = [plain_label(str(answer.get("label"))) for answer in task.get("answers") or ()]
        meanings, problem = _understood(tree, questions.get(key, []), applying, task, texts)
        if problem is not None:
            unread[key] = f"task {key} of version {workflow.version} {problem}"
            continue
        columns[key] = tuple(meanings[text] for text in texts)
        labels[key] = {text: meanings[text] for text in texts}
    first = tree.questions[0].task
    return AnswerMap(
        version=workflow.version,
        first_task=first,
        columns=columns,
        labels=labels,
        ignored=frozenset(ignored),
        unread=unread,
    )


def _understood(
    tree: Tree,
    candidates: Sequence[Question],
    rules: Sequence[LabelRule],
    task: Mapping[str, Any],
    texts: Sequence[str],
) -> tuple[Mapping[str, int], str | None]:
    """Return what labels mean as one of a task's questions, and what is wrong if they are those of none or several.

    Where none fits, the fault is told against the first, which is the question that is asked today.
    """
    asked: Sequence[Question | None] = candidates or (None,)
    readings = [_meanings(tree, question, rules) for question in asked]
    faults = [_problem(task, texts, meanings) for meanings in readings]
    fitting = [meanings for meanings, fault in zip(readings, faults, strict=True) if fault is None]
    if not fitting:
        return readings[0], faults[0]
    if any([meanings[text] for text in texts] != [fitting[0][text] for text in texts] for meanings in fitting):
        return fitting[0], "can be read as several questions of the tree"
    return fitting[0], None


def _meanings(tree: Tree, question: Question | None, rules: Sequence[LabelRule]) -> dict[str, int]:
    meanings: dict[str, int] = {}
    if question is not None:
        by_name = dict(zip(question.answers, question.columns, strict=True))
        by_label = {plain_label(label): by_name[name] for name, label in zip(by_name, question.labels, strict=True)}
        meanings = {text: tree.column(column) for text, column in (by_name | by_label).items()}
    for rule in rules:
        for label, column in rule.labels.items():
            meanings[plain_label(label)] = IGNORED if column == IGNORE else tree.column(column)
    return meanings


def _problem(task: Mapping[str, Any], texts: Sequence[str], meanings: Mapping[str, int]) -> str | None:
    if task.get("type") != "single":
        return f"is of type {task.get('type')!r}, which is no question of a tree"
    if not meanings:
        return "is not in the tree"
    if len(set(texts)) != len(texts):
        return "has two answers that read the same"
    unknown = [text for text in texts if text not in meanings]
    return f"has the answer {unknown[0]!r}, which is not in the tree" if unknown else None
