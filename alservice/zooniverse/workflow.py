"""The live workflow against the campaign's tree: task keys and answers are mapped by name, never by index."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from alservice.errors import BadInput
from alservice.science.tree import Question, Tree

IGNORED: Final = -1
"""In an `AnswerMap`, instead of a column: the answer is known and is no vote."""

_IMAGE = re.compile(r"!\[[^\]]*\]\([^)]*\)")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_MARKS = re.compile(r"[*_`#]+")


class WorkflowMismatch(BadInput):
    """The live workflow does not ask the campaign's questions."""

    code = "workflow-mismatch"
    remedy = "Run `alservice campaign validate`; correct the workflow or the campaign's tree."


@dataclass(frozen=True, kw_only=True, slots=True)
class Workflow:
    """One version of a workflow as Zooniverse serves it.

    Parameters
    ----------
    version
        Text such as ``28.30``; not a number, since 28.30 is not 28.3.
    tasks
        Task key to task, in Panoptes' form.
    """

    workflow_id: int
    version: str
    tasks: Mapping[str, Any]

    def plain(self) -> Workflow:
        """Return what this version asks, without help texts, order of tasks and other decoration."""
        tasks = {
            key: {
                "type": task.get("type"),
                "question": task.get("question") or task.get("instruction"),
                "answers": [{"label": str(answer.get("label"))} for answer in task.get("answers") or ()],
            }
            for key, task in self.tasks.items()
        }
        return Workflow(workflow_id=self.workflow_id, version=self.version, tasks=tasks)


@dataclass(frozen=True, kw_only=True, slots=True)
class RetirementRule:
    """When a workflow shows a subject to nobody else.

    Parameters
    ----------
    count
        Classifications after which it retires; None where only explicit calls retire.
    """

    count: int | None

    def __str__(self) -> str:
        """Return the rule for people."""
        return "never_retire" if self.count is None else f"classification_count {self.count}"

    def require(self, wanted: RetirementRule, *, workflow_id: int) -> None:
        """Raise `WorkflowMismatch` unless subjects live until they have the votes that are wanted.

        Where our own tallies retire, any rule of the workflow's could only be too early.
        """
        too_early = self.count is not None and (wanted.count is None or self.count < wanted.count)
        if too_early:
            text = f"workflow {workflow_id} retires by {self}, and this campaign needs {wanted}"
            raise WorkflowMismatch(text, workflow=workflow_id, found=str(self), wanted=str(wanted))


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerMap:
    """For one workflow version: what an answer index of a task means in the tree.

    Parameters
    ----------
    columns
        Task key to the tree's answer column per answer index, or `IGNORED`.
    labels
        Task key to the same by plain label, as exports give answers.
    ignored
        Tasks that are no question of the tree, by the campaign's decision.
    unread
        Tasks whose answers nobody has given a meaning, and why.
    """

    version: str
    first_task: str
    columns: Mapping[str, tuple[int, ...]]
    labels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    unread: Mapping[str, str] = field(default_factory=dict)


def without_images(label: str) -> str:
    """Return a label without its images."""
    return " ".join(_IMAGE.sub(" ", label).split())


def plain_label(label: str) -> str:
    """Return a label as a person reads it: markdown, images and case taken away."""
    text = _LINK.sub(r"\1", _IMAGE.sub(" ", label))
    return " ".join(_MARKS.sub(" ", text).split()).casefold()


def tasks_of(tree: Tree) -> dict[str, Any]:
    """Return the tree as Panoptes tasks: single questions, each answer leading to the next task.

    Superseded questions are left out: nobody is asked them any more.

    Raises
    ------
    WorkflowMismatch
        What follows an answer depends on more than that answer: Panoptes has no place for it.
    """
    following = _following(tree)
    return {
        question.task: {
            "type": "single",
            "question": question.text,
            "required": True,
            "help": "",
            "answers": [_answer(question, answer, following) for answer in question.task_answers],
        }
        for question in _current(tree)
    }


def _current(tree: Tree) -> list[Question]:
    return [question for question in tree.questions if not question.superseded]


def _answer(question: Question, answer: str, following: Mapping[str, str | None]) -> dict[str, str]:
    label = question.labels[question.answers.index(answer)]
    task = following[f"{question.name}_{answer}"]
    return {"label": label} if task is None else {"label": label, "next": task}


def _following(tree: Tree) -> dict[str, str | None]:
    """Return the task after each answer column, by walking the tree with a list of questions still to be asked.

    An answer's own children come before what was waiting; among them, those that other answers share come last.
    """
    following: dict[str, str | None] = {}
    asked = _current(tree)
    agendas = [tuple(question for question in asked if not question.parents)]
    while agendas:
        question, *waiting = agendas.pop()
        for column in question.columns:
            children = [q for q in asked if column in q.parents and q not in waiting]
            agenda = (*sorted(children, key=lambda q: len(q.parents) > 1), *waiting)
            task = agenda[0].task if agenda else None
            if following.setdefault(column, task) != task:
                raise WorkflowMismatch(f"tree {tree.name}: what follows {column} depends on earlier answers")
            if agenda:
                agendas.append(agenda)
    return following


def map_answers(tree: Tree, workflow: Workflow) -> AnswerMap:
    """Return what each answer index means, by comparing labels with the tree.

    A superseded question need not be asked; where it is, in a task of its own, it is read as well.

    Raises
    ------
    WorkflowMismatch
        A question has no task, or an answer's label is not in the tree; the message names it.
    """
    columns: dict[str, tuple[int, ...]] = {}
    labels: dict[str, dict[str, int]] = {}
    for question in sorted(tree.questions, key=lambda q: q.superseded):
        task = workflow.tasks.get(question.task)
        found = None if task is None else _columns_of(tree, question, task)
        if found is not None and task is not None and question.task not in columns:
            columns[question.task] = found
            texts = (plain_label(str(answer["label"])) for answer in task["answers"])
            labels[question.task] = dict(zip(texts, found, strict=True))
        elif not question.superseded:
            raise _mismatch(question, task, workflow)
    return AnswerMap(version=workflow.version, first_task=tree.questions[0].task, columns=columns, labels=labels)


def _columns_of(tree: Tree, question: Question, task: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Return the column of each answer of a task, None unless they are the question's own, each once."""
    known = {plain_label(label): answer for answer, label in zip(question.answers, question.labels, strict=True)}
    known |= {answer: answer for answer in question.answers}
    found = [known.get(plain_label(str(answer["label"]))) for answer in task.get("answers") or ()]
    if sorted(a for a in found if a is not None) != sorted(question.answers) or len(found) != len(question.answers):
        return None
    return tuple(tree.column(f"{question.name}_{answer}") for answer in found)


def _mismatch(question: Question, task: Mapping[str, Any] | None, workflow: Workflow) -> WorkflowMismatch:
    where = f"workflow {workflow.workflow_id} version {workflow.version}"
    if task is None:
        message = f"{where} has no task {question.task} for question {question.name}"
    else:
        given = [answer.get("label") for answer in task.get("answers") or ()]
        message = (
            f"task {question.task} of {where} answers {given}; question {question.name} asks {list(question.labels)}"
        )
    return WorkflowMismatch(message, workflow=workflow.workflow_id, question=question.name)
