"""The live workflow against the campaign's tree: task keys and answers are mapped by name, never by index."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from alservice.errors import BadInput
from alservice.science.tree import YES_NO, Question, Tree

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
    first_task
        Key of the task that volunteers meet first; None where it is not said.
    """

    workflow_id: int
    version: str
    tasks: Mapping[str, Any]
    first_task: str | None = None

    def plain(self) -> Workflow:
        """Return what this version asks, without help texts, order of tasks, the first of them and other decoration."""
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
class Boxes:
    """What the boxes of a task with several answers mean in the tree, in the order of the task.

    Parameters
    ----------
    yes, no
        Column per box of those who tick it, and of those who are asked and do not; `IGNORED` for a box that is no
        question of the tree.
    labels
        Place of each box by its plain label.
    """

    yes: tuple[int, ...]
    no: tuple[int, ...]
    labels: Mapping[str, int]


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
    boxes
        Task key to the boxes of a task that takes several answers.
    """

    version: str
    first_task: str
    columns: Mapping[str, tuple[int, ...]]
    labels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    unread: Mapping[str, str] = field(default_factory=dict)
    boxes: Mapping[str, Boxes] = field(default_factory=dict)

    @property
    def n_questions(self) -> int:
        """Questions of the tree that the version asks."""
        boxes = [column for task in self.boxes.values() for column in task.yes if column != IGNORED]
        return len(self.columns) + len(boxes)


def without_images(label: str) -> str:
    """Return a label without its images."""
    return " ".join(_IMAGE.sub(" ", label).split())


def plain_label(label: str) -> str:
    """Return a label as a person reads it: markdown, images and case taken away."""
    text = _LINK.sub(r"\1", _IMAGE.sub(" ", label))
    return " ".join(_MARKS.sub(" ", text).split()).casefold()


def tasks_of(tree: Tree) -> dict[str, Any]:
    """Return the tree as Panoptes tasks: questions of one answer, and tasks of boxes, each leading to the next task.

    Superseded questions are left out: nobody is asked them any more.

    Raises
    ------
    WorkflowMismatch
        What follows an answer depends on more than that answer: Panoptes has no place for it.
    """
    asked = _asked(tree)
    following = _following(tree, asked)
    return {
        task: _single(questions[0], following) if questions[0].choice is None else _multiple(questions, following[task])
        for task, questions in asked.items()
    }


def _single(question: Question, following: Mapping[str, str | None]) -> dict[str, Any]:
    answers = [_answer(question, answer, following) for answer in question.task_answers]
    return {"type": "single", "question": question.text, "required": True, "help": "", "answers": answers}


def _multiple(questions: Sequence[Question], following: str | None) -> dict[str, Any]:
    answers = [{"label": question.choice} for question in questions]
    task = {"type": "multiple", "question": questions[0].text, "required": False, "help": "", "answers": answers}
    return task if following is None else {**task, "next": following}


def _asked(tree: Tree) -> dict[str, list[Question]]:
    """Return the questions that are asked today by task: one, or the boxes of it."""
    asked: dict[str, list[Question]] = {}
    for question in tree.questions:
        if not question.superseded:
            asked.setdefault(question.task, []).append(question)
    return asked


def _answer(question: Question, answer: str, following: Mapping[str, str | None]) -> dict[str, str]:
    label = question.labels[question.answers.index(answer)]
    task = following[f"{question.name}_{answer}"]
    return {"label": label} if task is None else {"label": label, "next": task}


def _following(tree: Tree, asked: Mapping[str, Sequence[Question]]) -> dict[str, str | None]:
    """Return the task after each answer column and each task of boxes, by walking with a list of tasks still to come.

    An answer's own children come before what was waiting; among them, those that other answers share come last.
    """
    following: dict[str, str | None] = {}
    parents = {task: questions[0].parents for task, questions in asked.items()}
    agendas = [tuple(task for task in asked if not parents[task])]
    seen = set(agendas)
    while agendas:
        task, *waiting = agendas.pop()
        for column in asked[task][0].columns if asked[task][0].choice is None else (task,):
            children = [each for each in asked if column in parents[each] and each not in waiting]
            agenda = (*sorted(children, key=lambda each: len(parents[each]) > 1), *waiting)
            first = agenda[0] if agenda else None
            if following.setdefault(column, first) != first:
                raise WorkflowMismatch(f"tree {tree.name}: what follows {column} depends on earlier answers")
            if agenda and agenda not in seen:  # a list is walked once, in however many ways it is reached
                agendas.append(agenda)
                seen.add(agenda)
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
        if question.choice is not None:
            continue
        task = workflow.tasks.get(question.task)
        found = None if task is None else _columns_of(tree, question, task)
        if found is not None and task is not None and question.task not in columns:
            columns[question.task] = found
            texts = (plain_label(str(answer["label"])) for answer in task["answers"])
            labels[question.task] = dict(zip(texts, found, strict=True))
        elif not question.superseded:
            raise _mismatch(question, task, workflow)
    return AnswerMap(
        version=workflow.version,
        first_task=tree.questions[0].task,
        columns=columns,
        labels=labels,
        boxes=_boxes_of(tree, workflow),
    )


def _boxes_of(tree: Tree, workflow: Workflow) -> dict[str, Boxes]:
    """Return the tasks of boxes; `WorkflowMismatch` unless each has the tree's boxes, each once."""
    boxes = {}
    for key, questions in _asked(tree).items():
        if questions[0].choice is None:
            continue
        task = workflow.tasks.get(key) or {}
        wanted = {plain_label(question.choice or ""): question for question in questions}
        found = [plain_label(str(answer.get("label"))) for answer in task.get("answers") or ()]
        if task.get("type") != "multiple" or sorted(found) != sorted(wanted):
            raise _mismatch(questions[0], task or None, workflow, boxes=[str(q.choice) for q in questions])
        boxes[key] = boxes_of(tree, [wanted[label] for label in found], found)
    return boxes


def boxes_of(tree: Tree, questions: Sequence[Question | None], labels: Sequence[str]) -> Boxes:
    """Return what boxes mean that are these questions, in the order of the task; None is a box that is ignored."""
    yes, no = (
        tuple(IGNORED if q is None else tree.column(f"{q.name}_{answer}") for q in questions) for answer in YES_NO
    )
    return Boxes(yes=yes, no=no, labels={label: place for place, label in enumerate(labels)})


def _columns_of(tree: Tree, question: Question, task: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Return the column of each answer of a task, None unless they are the question's own, each once."""
    known = {plain_label(label): answer for answer, label in zip(question.answers, question.labels, strict=True)}
    known |= {answer: answer for answer in question.answers}
    found = [known.get(plain_label(str(answer["label"]))) for answer in task.get("answers") or ()]
    if sorted(a for a in found if a is not None) != sorted(question.answers) or len(found) != len(question.answers):
        return None
    return tuple(tree.column(f"{question.name}_{answer}") for answer in found)


def _mismatch(
    question: Question, task: Mapping[str, Any] | None, workflow: Workflow, boxes: Sequence[str] = ()
) -> WorkflowMismatch:
    where = f"workflow {workflow.workflow_id} version {workflow.version}"
    if task is None:
        message = f"{where} has no task {question.task} for question {question.name}"
    else:
        given = [answer.get("label") for answer in task.get("answers") or ()]
        asks = f"asks {list(question.labels)}" if not boxes else f"is one of the boxes {list(boxes)}, several at a time"
        kind = "" if not boxes else f" is of type {task.get('type')!r} and"
        message = f"task {question.task} of {where}{kind} answers {given}; question {question.name} {asks}"
    return WorkflowMismatch(message, workflow=workflow.workflow_id, question=question.name)
