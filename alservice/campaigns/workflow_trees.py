"""A workflow's questions as a tree: tasks, answers and the edges from an answer to the next task.

A tree says after which answers a question is asked, a workflow which task follows an answer. Where every answer of a
task leads to the same later one, that one is asked of whoever was asked the task, whatever was said; else it is asked
after the answers that lead to it. What a tree cannot hold is refused by name, or left out where the caller says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from alservice.campaigns.trees import MAX_QUESTIONS, slug
from alservice.errors import BadTree
from alservice.science.tree import YES_NO, Question, Tree
from alservice.zooniverse.workflow import Workflow, map_answers, plain_label, without_images

ASKED: Final = frozenset({"single", "multiple"})
"""Types of tasks that are questions of a tree; a shortcut is none, and does no harm."""

SHORTCUT: Final = "shortcut"


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkflowTree:
    """A tree made from a workflow, and what it does not say.

    Parameters
    ----------
    left_out
        Tasks that are no question of the tree; a campaign's ``decoding`` must ignore each.
    notes
        What of the workflow the tree does not express, a sentence each.
    """

    tree: Tree
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


def tree_of_workflow(workflow: Workflow, *, name: str, leave_out: Iterable[str] = ()) -> WorkflowTree:
    """Return the tree that a workflow asks; question and answer names are made of what volunteers read.

    Parameters
    ----------
    workflow
        One version, tasks as served.
    leave_out
        Tasks to pass over, such as one in which people draw.

    Raises
    ------
    BadTree
        Naming the tasks that are no questions, an edge to nowhere, the path of a cycle, or answers that read the same.
    """
    where = f"workflow {workflow.workflow_id} version {workflow.version}"
    graph = _Graph(where, workflow.tasks, frozenset(leave_out))
    first = graph.first(workflow.first_task)
    order = graph.order(first)
    graph.refuse_others(order)
    parents = _parents(graph, order)
    questions = tuple(_questions(graph, order, parents))
    tree = Tree(name=name, questions=questions, source=f"Zooniverse {where}")
    map_answers(tree, workflow)  # what is written is what reads its votes
    left_out, notes = graph.remarks(order)
    return WorkflowTree(tree=tree, left_out=left_out, notes=notes)


class _Graph:
    """Tasks of a workflow and what follows each of their answers, tasks that are left out passed over."""

    def __init__(self, where: str, tasks: Mapping[str, Any], leave_out: frozenset[str]) -> None:
        self._where = where
        self.tasks = tasks
        self._leave_out = leave_out
        unknown = sorted(leave_out - set(tasks))
        if unknown:
            raise BadTree(f"{where} has no task {unknown[0]} to leave out", task=unknown[0])
        if not tasks:
            raise BadTree(f"{where} asks nothing: it has no tasks")

    def kind(self, key: str) -> str:
        return str(self.tasks[key].get("type"))

    def answers(self, key: str) -> Sequence[Mapping[str, Any]]:
        return self.tasks[key].get("answers") or ()

    def first(self, said: str | None) -> str:
        """Return the task that volunteers meet first, past those that are left out."""
        if not said:
            led_to = {edge for key in self.tasks for edge in self._edges(key)}
            starts = [key for key in self.tasks if key not in led_to and self.kind(key) != SHORTCUT]
            if len(starts) != 1:
                raise BadTree(f"{self._where} does not say which task is the first", tasks=starts)
            said = starts[0]
        found = self._past(said, f"the first task of {self._where}")
        if found is None:
            raise BadTree(f"{self._where} asks nothing once {', '.join(sorted(self._leave_out))} is left out")
        return found

    def following(self, key: str) -> Sequence[str | None]:
        """Return the task after each answer of a single question, or the one after any other task; None ends."""
        return [None if edge is None else self._past(edge, f"task {key} of {self._where}") for edge in self._edges(key)]

    def order(self, first: str) -> Sequence[str]:
        """Return the tasks that can be reached, parents before children; `BadTree` names the path of a cycle."""
        done: list[str] = []
        path: list[tuple[str, Iterator[str | None]]] = [(first, iter(reversed(self.following(first))))]
        while path:
            key, edges = path[-1]
            edge = next(edges, key)
            if edge == key:
                done.append(key)
                path.pop()
            elif edge in (open_ := [each for each, _ in path]):
                raise self._cycle([*open_[open_.index(edge) :], edge])
            elif edge is not None and edge not in done:
                path.append((edge, iter(reversed(self.following(edge)))))
        return done[::-1]

    def refuse_others(self, order: Sequence[str]) -> None:
        """Raise `BadTree` for tasks that volunteers meet and a tree cannot hold, all of them by name."""
        others = [key for key in order if self.kind(key) not in ASKED]
        if others:
            named = ", ".join(f"{key} ({self.kind(key)})" for key in others)
            raise BadTree(
                f"{self._where}: no question of a tree: {named}; leave out what nobody is to learn with "
                + " ".join(f"--leave-out {key}" for key in others),
                tasks=others,
            )
        if len(order) > MAX_QUESTIONS:
            raise BadTree(f"{self._where} has {len(order)} tasks; a tree has at most {MAX_QUESTIONS} questions")

    def remarks(self, order: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the tasks that are no question of the tree, and a sentence on each thing that it does not say."""
        left_out, notes = [], []
        for key in self.tasks:
            if key in order:
                shortcut = self.tasks[key].get("unlinkedTask")
                if shortcut:
                    notes.append(
                        f"task {key} has the shortcut {shortcut}: who takes it ends there, and votes on nothing more"
                    )
                continue
            left_out.append(key)
            labels = ", ".join(repr(plain_label(str(answer.get("label")))) for answer in self.answers(key)[:5])
            if self.kind(key) == SHORTCUT:
                notes.append(f"task {key} is a shortcut, no question: {labels}")
            elif key in self._leave_out:
                notes.append(f"task {key} ({self.kind(key)}) is left out, as asked for")
            else:
                notes.append(f"task {key} ({self.kind(key)}) is reached by no answer, and is left out")
        return tuple(left_out), tuple(notes)

    def _edges(self, key: str) -> Sequence[str | None]:
        task = self.tasks[key]
        after = task.get("next") or None
        if self.kind(key) != "single":
            return [after]
        return [answer.get("next") or after for answer in self.answers(key)]

    def _past(self, key: str, where: str) -> str | None:
        """Return a task, or the next one after it that is not left out."""
        passed: list[str] = []
        found: str | None = str(key)
        while found is not None:
            if found not in self.tasks:
                raise BadTree(f"{where} leads to a task {found[:40]!r}, which is not there", task=found[:40])
            if found not in self._leave_out:
                break
            if found in passed:
                raise self._cycle([*passed[passed.index(found) :], found])
            passed.append(found)
            edges = set(self._edges(found))
            if len(edges) > 1:
                raise BadTree(f"{self._where}: task {found} cannot be left out: its answers lead to different tasks")
            found = edges.pop() if edges else None
        return found

    def _cycle(self, path: Sequence[str]) -> BadTree:
        return BadTree(f"{self._where} is cyclic: {' -> '.join(path)}", path=list(path))


def _parents(graph: _Graph, order: Sequence[str]) -> dict[str, frozenset[tuple[str, int]]]:
    """Return the answers, task and place each, after which each task is asked; none for everyone.

    All answers of a task together stand for whatever led to that task.
    """
    leading: dict[str, set[tuple[str, int]]] = {key: set() for key in order}
    parents: dict[str, frozenset[tuple[str, int]]] = {}
    for key in order:
        found = leading[key]
        everyone = key == order[0]
        for asked in reversed(order[: order.index(key)]):
            whole = {(asked, place) for place in range(len(graph.following(asked)))}
            if whole <= found:
                found = (found - whole) | parents[asked]
                everyone = everyone or not parents[asked]
        parents[key] = frozenset() if everyone else frozenset(found)
        for place, edge in enumerate(graph.following(key)):
            if edge is not None:
                leading[edge].add((key, place))
    return parents


def _questions(
    graph: _Graph, order: Sequence[str], parents: Mapping[str, frozenset[tuple[str, int]]]
) -> Iterator[Question]:
    taken: set[str] = set()
    columns: dict[tuple[str, int], str] = {}
    for key in order:
        task = graph.tasks[key]
        text = str(task.get("question") or task.get("instruction") or "").strip() or f"Task {key}"
        labels = [_words(str(answer.get("label"))) for answer in graph.answers(key)]
        plain = [plain_label(label) for label in labels]
        if len(set(plain)) < len(plain):
            twice = next(label for label in plain if plain.count(label) > 1)
            raise BadTree(f"task {key} has two answers that read the same: {twice!r}", task=key)
        asked_after = tuple(columns[column] for column in sorted(parents[key], key=lambda c: (order.index(c[0]), c[1])))
        names = _distinct([slug(label) or f"answer-{place}" for place, label in enumerate(plain, start=1)])
        if graph.kind(key) == "single":
            name = _new(slug(plain_label(text)) or key.lower(), key, taken)
            if len(labels) < 2:
                raise BadTree(
                    f"task {key} has {len(labels)} answers: a question needs two; --leave-out {key}", task=key
                )
            columns |= {(key, place): f"{name}_{answer}" for place, answer in enumerate(names)}
            yield Question(
                name=name,
                text=text,
                answers=tuple(names),
                labels=tuple(labels),
                parents=asked_after,
                task=key,
                task_answers=tuple(names),
            )
            continue
        if not labels:
            raise BadTree(f"task {key} has no answers: nothing is asked; --leave-out {key}", task=key)
        about = slug(plain_label(text), longest=30) or key.lower()
        for box, label in zip(names, labels, strict=True):
            yield Question(
                name=_new(f"{about}-{box}", key, taken),
                text=text,
                answers=YES_NO,
                labels=("Yes", "No"),
                parents=asked_after,
                task=key,
                task_answers=YES_NO,
                choice=label,
            )


def _words(label: str) -> str:
    """Return a label without its pictures, unless it is nothing else."""
    return without_images(label) or label


def _new(name: str, key: str, taken: set[str]) -> str:
    """Return a name that no question has yet; a second one of it is told apart by its task."""
    while name in taken:
        name = f"{name}-{key.lower()}"
    taken.add(name)
    return name


def _distinct(names: Sequence[str]) -> list[str]:
    """Return names of the answers of one question, told apart by their place where two came out alike."""
    return [n if names.count(n) == 1 else f"{n}-{place}" for place, n in enumerate(names, start=1)]
