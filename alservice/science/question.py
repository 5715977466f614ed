"""One question of a tree: its names, what volunteers read, and how Panoptes numbers its answers.

Names are lower case with hyphens inside; ``_`` appears only between question and answer
(``disk-edge-on_yes``). Panoptes lists the answers in an order of its own, so they are mapped by name and
never by position.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alservice.errors import BadTree

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_TASK = re.compile(r"init|T[0-9]+")
_FIELDS = frozenset({"name", "text", "task", "parents", "answers", "task_answers"})
_ANSWER_FIELDS = frozenset({"name", "label"})


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
    """

    name: str
    text: str
    answers: tuple[str, ...]
    labels: tuple[str, ...]
    parents: tuple[str, ...]
    task: str
    task_answers: tuple[str, ...]
    superseded: bool = False

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
    check_fields({name: value for name, value in item.items() if name != "superseded"}, _FIELDS, where)
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
