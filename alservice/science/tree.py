"""Question trees: which question is asked after which answer, as validated data.

A tree is packaged as ``science/trees/<name>.json``, or read from a file of anybody's (`alservice.campaigns.trees`). It
becomes a `Tree` only if parents exist, come before their children and form no cycle, and if the parents of one
question are mutually exclusive or nested: then nobody is asked twice, and P(asked) is a plain sum. Questions with
several parents are common: "anything odd?" follows *smooth* and *featured*, never *artifact*. A task in which
volunteers tick any number of boxes is a question of yes and no for each box.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from graphlib import CycleError, TopologicalSorter
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import numpy as np
import numpy.typing as npt

from alservice.errors import BadTree, BadVotes, NotFound
from alservice.shapes import FloatArray, IntArray

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_TASK = re.compile(r"init|T[0-9]+")
_QUESTION_FIELDS = frozenset({"name", "text", "task", "parents", "answers", "task_answers"})
_ANSWER_FIELDS = frozenset({"name", "label"})
_OPTIONAL_FIELDS = frozenset({"superseded", "choice"})

YES_NO = ("yes", "no")
"""Answers of a question that is one box of a task with several answers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One question of a tree; making an invalid one raises `BadTree`.

    Parameters
    ----------
    name
        Such as ``smooth-or-featured``.
    text
        What volunteers read.
    answers
        Two or more answer names in tree order.
    labels
        What volunteers read, one per answer.
    parents
        Answer columns (``question_answer``) after any of which this is asked; empty: asked of everyone.
    task
        Panoptes task key, such as ``T0``.
    task_answers
        The answers in the order of the Panoptes task, which is how raw classifications number them.
    superseded
        Earlier workflow versions asked this, in the place of another question or beside it: its votes are counted,
        and nobody need be asked any more.
    choice
        Label of a box of a task that takes several answers: whoever ticks it says yes, whoever is asked the task and
        does not says no. None where the task takes one answer.
    """

    name: str
    text: str
    answers: tuple[str, ...]
    labels: tuple[str, ...]
    parents: tuple[str, ...]
    task: str
    task_answers: tuple[str, ...]
    superseded: bool = False
    choice: str | None = None

    def __post_init__(self) -> None:
        """Refuse ill-formed or repeated names and a Panoptes order that is not a permutation."""
        where = f"question {self.name!r}"
        check_name(self.name, "question")
        for answer in self.answers:
            check_name(answer, f"{where}: answer")
        check_unique(self.answers, f"{where}: answer")
        check_unique(self.parents, f"{where}: parent")
        if len(self.answers) < 2:
            raise BadTree(f"{where} needs at least two answers", answers=list(self.answers))
        if len(self.labels) != len(self.answers):
            raise BadTree(f"{where} needs one label per answer", labels=list(self.labels))
        if sorted(self.task_answers) != sorted(self.answers):
            raise BadTree(
                f"{where}: task_answers {list(self.task_answers)} are not a permutation of its answers",
                answers=list(self.answers),
            )
        if not _TASK.fullmatch(self.task):
            raise BadTree(f"{where}: Panoptes task {self.task!r} is not like 'T0'")
        if self.choice is not None and self.answers != YES_NO:
            raise BadTree(f"{where} is a box to tick: its answers are yes and no, not {list(self.answers)}")

    @property
    def columns(self) -> tuple[str, ...]:
        """Answer columns of this question, ``question_answer``."""
        return tuple(f"{self.name}_{answer}" for answer in self.answers)


def check_name(name: str, kind: str) -> None:
    """Refuse a name that is empty, or not lower-case letters and digits with single hyphens inside."""
    if not _NAME.fullmatch(name):
        raise BadTree(f"{kind} name {name!r} is not lower-case letters and digits with single hyphens inside")


def check_unique(values: Sequence[str], kind: str) -> None:
    """Refuse the first value that occurs twice."""
    for value in values:
        if values.count(value) > 1:
            raise BadTree(f"ambiguous: {kind} {value!r} is given twice")


def parse_question(item: Mapping[str, object], *, where: str) -> Question:
    """Turn the JSON object of one question into a valid question; `where` names it in errors."""
    superseded = item.get("superseded", False)
    if not isinstance(superseded, bool):
        raise BadTree(f"{where} superseded must be true or false, not {superseded!r}")
    choice = item.get("choice")
    given = {name: value for name, value in item.items() if name not in _OPTIONAL_FIELDS}
    check_fields(given, _QUESTION_FIELDS, where)
    answers = parse_objects(item["answers"], f"{where} answers")
    for answer in answers:
        check_fields(answer, _ANSWER_FIELDS, f"{where} answer")
    return Question(
        name=parse_string(item["name"], f"{where} name"),
        text=parse_string(item["text"], f"{where} text"),
        answers=tuple(parse_string(answer["name"], f"{where} answer name") for answer in answers),
        labels=tuple(parse_string(answer["label"], f"{where} answer label") for answer in answers),
        parents=parse_strings(item["parents"], f"{where} parents"),
        task=parse_string(item["task"], f"{where} task"),
        task_answers=parse_strings(item["task_answers"], f"{where} task_answers"),
        superseded=superseded,
        choice=None if choice is None else parse_string(choice, f"{where} choice"),
    )


def check_fields(item: Mapping[str, object], fields: frozenset[str], where: str) -> None:
    """Refuse an object whose fields are not exactly `fields`."""
    if set(item) != fields:
        missing, unknown = sorted(fields - set(item)), sorted(set(item) - fields)
        raise BadTree(f"{where}: missing fields {missing}, unknown fields {unknown}")


def parse_string(value: object, where: str) -> str:
    """Return a string with something in it."""
    if not isinstance(value, str) or not value.strip():
        raise BadTree(f"{where} must be a non-empty string, not {value!r}")
    return value


def parse_strings(value: object, where: str) -> tuple[str, ...]:
    """Return a list of strings as a tuple."""
    if not isinstance(value, list | tuple):
        raise BadTree(f"{where} must be a list, not {value!r}")
    return tuple(parse_string(item, where) for item in value)


def parse_objects(value: object, where: str) -> tuple[Mapping[str, object], ...]:
    """Return a list of JSON objects as a tuple."""
    if not isinstance(value, list | tuple) or not all(isinstance(item, Mapping) for item in value):
        raise BadTree(f"{where} must be a list of objects, not {value!r}")
    return tuple(value)


_FIELDS = frozenset({"name", "source", "notes", "questions"})


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A valid question tree; making an invalid one raises `BadTree`.

    Parameters
    ----------
    name
        The name `load_tree` knows it by.
    questions
        Q questions, parents before children.
    source
        Where it comes from, for people; two trees that differ in it alone are equal.
    """

    name: str
    questions: tuple[Question, ...]
    source: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """Refuse a tree that is empty, orphaned, cyclic, out of order or ambiguous."""
        check_name(self.name, "tree")
        if not self.questions:
            raise BadTree(f"tree {self.name!r} is empty: it has no questions")
        check_unique([question.name for question in self.questions], "question")
        self._check_tasks()
        self._check_order()
        self._check_unambiguous()
        self._check_superseded()

    @property
    def n_questions(self) -> int:
        """Q, the number of questions."""
        return len(self.questions)

    @property
    def n_answers(self) -> int:
        """A, the number of answers of all questions."""
        return len(self.columns)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The A answer columns, ``question_answer``, in tree order."""
        return tuple(column for question in self.questions for column in question.columns)

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """Where each question's answers stand among the A columns."""
        ends = itertools.accumulate((len(question.answers) for question in self.questions), initial=0)
        return tuple(itertools.starmap(slice, itertools.pairwise(ends)))

    @cached_property
    def question_of_answer(self) -> IntArray:
        """Question index of each answer column: int64 (A,), read-only."""
        sizes = [len(question.answers) for question in self.questions]
        indices = np.repeat(np.arange(self.n_questions, dtype=np.int64), sizes)
        indices.flags.writeable = False
        return indices

    @cached_property
    def parents_of(self) -> tuple[tuple[int, ...], ...]:
        """Per question, the parent columns whose disjoint events together mean "asked"; () for everyone.

        A parent nested in another parent of the same question adds no walk and is left out, so a sum over
        these columns is exact, for counts as for probabilities.
        """
        return tuple(
            tuple(a for a in parents if not any(a != b and self._implies(a, b) for b in parents))
            for parents in self._written_parents
        )

    @cached_property
    def hash(self) -> str:
        """Version of the label schema: sha256 (hex) of question and answer names, their order, and parents.

        Texts, labels, Panoptes keys and the tree's own name do not count: they change what people read, not
        what a column means. Two surveys that ask the same questions share a hash.
        """
        schema = [[question.name, list(question.answers), sorted(question.parents)] for question in self.questions]
        return hashlib.sha256(json.dumps(schema, separators=(",", ":")).encode()).hexdigest()

    def index(self, question_name: str) -> int:
        """Return the position of a question; `NotFound` names an unknown one."""
        return self._lookup(self._question_indices, question_name, "question")

    def question(self, name: str) -> Question:
        """Return a question by name; `NotFound` names an unknown one."""
        return self.questions[self.index(name)]

    def column(self, name: str) -> int:
        """Return the position of an answer column; `NotFound` names an unknown one."""
        return self._lookup(self._column_indices, name, "answer column")

    def check_columns(self, values: npt.NDArray[Any]) -> None:
        """Raise `BadVotes` unless the last axis of an array is this tree's A answer columns."""
        if values.shape[-1:] != (self.n_answers,):
            raise BadVotes(
                f"tree {self.name!r} has {self.n_answers} answer columns; an array {values.shape} does not",
                tree=self.name,
                shape=list(values.shape),
            )

    def asked_probability(self, probabilities: FloatArray) -> FloatArray:
        """Return the exact probability that each question is asked.

        Parameters
        ----------
        probabilities
            (..., A) probability of each answer among those asked its question.

        Returns
        -------
        FloatArray
            (..., Q) probability of the union of the parent events; 1 for a question asked of everyone. NaN
            where it depends on an answer probability that is NaN (not recorded), which below an answer of
            probability zero it does not.

        Raises
        ------
        BadVotes
            If the last axis is not A.
        """
        probabilities = np.asarray(probabilities)
        self.check_columns(probabilities)
        dtype = np.result_type(probabilities, np.float32)
        asked = np.ones((*probabilities.shape[:-1], self.n_questions), dtype=dtype)
        for index, parents in enumerate(self.parents_of):
            if parents:
                parent_asked = asked[..., self.question_of_answer[list(parents)]]
                chosen = np.where(parent_asked == 0, 0, parent_asked * probabilities[..., parents])
                asked[..., index] = chosen.sum(axis=-1)
        return asked

    @cached_property
    def _question_indices(self) -> dict[str, int]:
        return {question.name: index for index, question in enumerate(self.questions)}

    @cached_property
    def _column_indices(self) -> dict[str, int]:
        return {column: index for index, column in enumerate(self.columns)}

    @cached_property
    def _written_parents(self) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(map(self.column, question.parents)) for question in self.questions)

    def _lookup(self, indices: Mapping[str, int], name: str, kind: str) -> int:
        if name not in indices:
            raise NotFound(f"tree {self.name!r} has no {kind} {name!r}", tree=self.name, name=name)
        return indices[name]

    def _check_tasks(self) -> None:
        """Refuse a task that asks two things, and boxes of one task that are not asked together."""
        asked = [question for question in self.questions if not question.superseded]
        boxes: dict[str, Question] = {}
        for question in asked:
            first = boxes.setdefault(question.task, question)
            if question.choice is not None and set(question.parents) != set(first.parents):
                raise BadTree(
                    f"questions {first.name!r} and {question.name!r} are boxes of one task, {question.task}: they need "
                    "the same parents"
                )
        ticked = [(question.task, (question.choice or "").casefold()) for question in asked if question.choice]
        check_unique([f"{choice} of task {task}" for task, choice in ticked], "choice")
        alone = [question.task for question in asked if question.choice is None]
        check_unique([*alone, *{task for task, _ in ticked}], "Panoptes task")

    def _check_order(self) -> None:
        owner = {column: question.name for question in self.questions for column in question.columns}
        for question in self.questions:
            for parent in question.parents:
                if parent not in owner:
                    raise BadTree(f"question {question.name!r} is orphaned: there is no answer {parent!r}")
                if self.question(owner[parent]).choice is not None:
                    raise BadTree(
                        f"question {question.name!r} is asked after {parent!r}, a box of a task that takes several "
                        "answers: what follows such a task follows for everyone"
                    )
        graph = {question.name: [owner[parent] for parent in question.parents] for question in self.questions}
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            raise BadTree(f"the tree is cyclic: {' -> '.join(error.args[1])}") from error
        order = list(graph)
        for child, parents in graph.items():
            for parent in parents:
                if order.index(parent) > order.index(child):
                    raise BadTree(f"question {child!r} stands before its parent {parent!r}")

    def _check_unambiguous(self) -> None:
        for question, parents in zip(self.questions, self._written_parents, strict=True):
            for a, b in itertools.combinations(parents, 2):
                if not (self._excludes(a, b) or self._implies(a, b) or self._implies(b, a)):
                    raise BadTree(
                        f"question {question.name!r} is ambiguous: a volunteer can choose both, or only one, "
                        f"of its parents {self.columns[a]!r} and {self.columns[b]!r}"
                    )

    def _check_superseded(self) -> None:
        """Refuse questions of one task that read alike, and a question that only superseded ones lead to."""
        superseded = {column for question in self.questions if question.superseded for column in question.columns}
        for question in self.questions:
            if question.parents and superseded.issuperset(question.parents) and not question.superseded:
                raise BadTree(f"question {question.name!r} is asked after superseded questions only")
        for a, b in itertools.combinations(self.questions, 2):
            words = frozenset(map(str.casefold, a.labels)), frozenset(map(str.casefold, b.labels))
            if a.task == b.task and None in {a.choice, b.choice} and (words[0] <= words[1] or words[1] <= words[0]):
                raise BadTree(f"ambiguous: questions {a.name!r} and {b.name!r} of task {a.task} have the same labels")

    @cached_property
    def _excluding(self) -> dict[tuple[int, int], bool]:
        return {}

    @cached_property
    def _implying(self) -> dict[tuple[int, int], bool]:
        return {}

    # Both are remembered: questions that each have two parents are reached in twice as many ways one after the other.

    def _excludes(self, a: int, b: int) -> bool:
        """Tell whether no walk chooses both columns; only the later one's ancestors can decide it."""
        if self.question_of_answer[a] == self.question_of_answer[b]:
            return a != b
        earlier, later = pair = min(a, b), max(a, b)
        if pair not in self._excluding:
            parents = self._written_parents[self.question_of_answer[later]]
            self._excluding[pair] = bool(parents) and all(self._excludes(parent, earlier) for parent in parents)
        return self._excluding[pair]

    def _implies(self, a: int, b: int) -> bool:
        """Tell whether every walk that chooses column `a` also chooses `b`."""
        if a <= b:
            return a == b
        if (a, b) not in self._implying:
            parents = self._written_parents[self.question_of_answer[a]]
            self._implying[a, b] = bool(parents) and all(self._implies(parent, b) for parent in parents)
        return self._implying[a, b]


def tree_names() -> tuple[str, ...]:
    """Return the names of the packaged trees, sorted."""
    names = (file.name for file in _folder().iterdir())
    return tuple(sorted(name.removesuffix(".json") for name in names if name.endswith(".json")))


def load_tree(tree: str | Tree) -> Tree:
    """Return a packaged tree by its name; a tree is returned as it is.

    Raises
    ------
    BadTree
        If no tree has this name (the message lists those that do), or its file is invalid.
    """
    return tree if isinstance(tree, Tree) else _packaged(tree)


def is_packaged(tree: Tree) -> bool:
    """Tell whether a tree is the packaged one of its name, to the last label."""
    return tree.name in tree_names() and tree == load_tree(tree.name)


@cache
def _packaged(name: str) -> Tree:
    if name not in tree_names():
        raise BadTree(f"unknown tree {name!r}; known trees: {', '.join(tree_names())}", tree=name)
    text = _folder().joinpath(f"{name}.json").read_text(encoding="utf-8")
    return parse_tree(json.loads(text), source=f"{name}.json")


def _folder() -> Traversable:
    return resources.files("alservice.science").joinpath("trees")


def parse_tree(document: Mapping[str, object], *, source: str) -> Tree:
    """Turn a tree document into a valid tree.

    Parameters
    ----------
    document
        The JSON object of a tree file: ``name``, ``source`` and ``notes`` (for people), and ``questions``,
        each with ``name``, ``text``, ``task``, ``parents``, ``answers`` (objects with ``name`` and ``label``)
        and ``task_answers``; also ``superseded`` and ``choice`` where they are meant.
    source
        What to call the document in errors, such as its file name.

    Raises
    ------
    BadTree
        Naming the source and the question: a missing, unknown or mistyped field, or a broken rule.
    """
    try:
        check_fields(document, _FIELDS, "tree")
        origin = parse_string(document["source"], "source")
        parse_strings(document["notes"], "notes")
        questions = parse_objects(document["questions"], "questions")
        return Tree(
            name=parse_string(document["name"], "name"),
            questions=tuple(
                parse_question(item, where=f"question {position}") for position, item in enumerate(questions)
            ),
            source=origin,
        )
    except BadTree as error:
        raise BadTree(f"{source}: {error.message}", source=source, **error.evidence) from error


def tree_document(tree: Tree) -> dict[str, object]:
    """Return the document that `parse_tree` makes the tree of; its notes are nobody's any more."""
    return {
        "name": tree.name,
        "source": tree.source or "not said",
        "notes": [],
        "questions": [_question_document(question) for question in tree.questions],
    }


def _question_document(question: Question) -> dict[str, object]:
    document: dict[str, object] = {
        "name": question.name,
        "text": question.text,
        "task": question.task,
        "parents": list(question.parents),
        "answers": [{"name": n, "label": label} for n, label in zip(question.answers, question.labels, strict=True)],
        "task_answers": list(question.task_answers),
    }
    if question.choice is not None:
        document["choice"] = question.choice
    if question.superseded:
        document["superseded"] = True
    return document
