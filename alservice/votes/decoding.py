"""Workflow definitions from files: the workflows export, or versions as the API gives them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from alservice.campaigns.campaign import Campaign
from alservice.campaigns.policies import IGNORE, LabelRule, version_key
from alservice.checks import MAX_ID, is_shallow
from alservice.errors import BadInput
from alservice.ids import ROUNDED_REMEDY, rounded
from alservice.science.tree import YES_NO, Question, Tree
from alservice.storage.csv import BOM, UNREADABLE, cells, open_bytes, records
from alservice.votes.classification import Classification, Reading, decode
from alservice.zooniverse.records import RawClassification
from alservice.zooniverse.workflow import IGNORED, AnswerMap, Boxes, Workflow, boxes_of, plain_label

_COLUMNS: Final = ("workflow_id", "version", "minor_version", "tasks", "strings")
_WRAPPERS: Final = ("workflow_versions", "workflows")
_TEXT_KEYS: Final = frozenset({"question", "instruction", "label"})
MAX_JSON_BYTES: Final = 64 << 20
"""Largest file of definitions: a thousand versions."""

MAX_ITEMS: Final = 4_000_000
"""Most values of a JSON file, told by the signs between them: each takes some fifty bytes of memory."""

MAX_VERSION_CHARS: Final = 40
_ITEMS: Final = (b",", b"[", b"{")


def read_workflows(path: Path) -> Sequence[Workflow]:
    """Return what every version in a file asks, without decoration; raises what `read_definitions` does."""
    return tuple(workflow.plain() for workflow in read_definitions(path))


def choose_workflow(
    found: Sequence[Workflow], workflow_id: int | None, version: str | None, *, where: str
) -> Sequence[Workflow]:
    """Return the versions of one workflow, that which is asked for first and the others from the newest on.

    Raises
    ------
    BadInput
        The workflow or version is not there, or there are several workflows and none is named.
    """
    ids = sorted({workflow.workflow_id for workflow in found})
    if workflow_id is None and len(ids) > 1:
        raise BadInput(f"{where}: holds the workflows {', '.join(map(str, ids[:20]))}: name one with --workflow")
    own = [workflow for workflow in found if workflow_id in {None, workflow.workflow_id}]
    own.sort(key=lambda workflow: version_key(workflow.version) or (0, 0), reverse=True)
    first = next((workflow for workflow in own if version in {None, workflow.version}), None)
    if first is None:
        there = ", ".join(map(str, ids[:20])) if not own else ", ".join(workflow.version for workflow in own[:20])
        what = f"workflow {workflow_id}" if not own else f"version {version}"
        raise BadInput(f"{where}: has no {what}; it has {there}")
    return [first, *(workflow for workflow in own if workflow is not first)]


def read_definitions(path: Path) -> Sequence[Workflow]:
    """Return every version in a file as served, CSV or JSON by its first byte, gzip or not.

    Raises
    ------
    BadInput
        Naming the row or entry and what is wrong with it; then none is returned. Or there is none.
    """
    with open_bytes(path) as file:
        try:
            start = file.read(1)
            is_json = start in {b"{", b"["}
            data = start + file.read(MAX_JSON_BYTES) if is_json else b""
        except UNREADABLE as error:
            raise BadInput(f"{path.name}: cannot be read to its end: {error}", path=str(path)) from None
    found = _from_json(path, data) if is_json else _from_csv(path)
    if not found:
        raise BadInput(f"{path.name}: holds no workflow version", path=str(path))
    return found


def _from_json(path: Path, data: bytes) -> Sequence[Workflow]:
    if len(data) > MAX_JSON_BYTES:
        raise BadInput(f"{path.name}: is longer than {MAX_JSON_BYTES} bytes", path=str(path))
    if sum(map(data.count, _ITEMS)) > MAX_ITEMS:
        raise BadInput(f"{path.name}: holds more than {MAX_ITEMS:,} values", path=str(path))
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path.name}: is not JSON: {error}", path=str(path)) from None
    if isinstance(document, dict):
        document = next((document[name] for name in _WRAPPERS if name in document), [document])
    if not isinstance(document, list):
        raise BadInput(f"{path.name}: is not a list of workflow versions", path=str(path))
    return tuple(_entry(entry, f"{path.name}: entry {number}") for number, entry in enumerate(document, start=1))


def _entry(entry: Any, where: str) -> Workflow:
    try:
        if "major_number" in entry:
            workflow_id = entry["links"]["workflow"]
            version = f"{_whole(entry['major_number'])}.{_whole(entry['minor_number'])}"
        else:
            workflow_id, version = entry["id"], entry["version"]
        return _workflow(workflow_id, version, entry["tasks"], entry.get("strings") or {}, entry.get("first_task"))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise BadInput(f"{where}: is not a workflow version: {error!r}", where=where) from None


def _from_csv(path: Path) -> Sequence[Workflow]:
    found = []
    header: Sequence[str] = ()
    left = MAX_JSON_BYTES
    with open_bytes(path) as file:
        for number, (record, fault) in enumerate(records(file)):
            left -= len(record)
            if left < 0:
                raise BadInput(f"{path.name}: is longer than {MAX_JSON_BYTES} bytes", path=str(path))
            try:
                row = _cells(record if number else record.removeprefix(BOM), fault)
                if number == 0:
                    header = _header(row)
                elif row:
                    found.append(_row(header, row))
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
                where = f"{path.name}: row {number}" if number else f"{path.name}: the header"
                raise BadInput(f"{where}: {error}", where=where) from None
    return tuple(found)


def _cells(record: bytes, fault: str | None) -> Sequence[str]:
    if fault is not None:
        raise ValueError(fault)
    return cells(record)


def _header(row: Sequence[str]) -> Sequence[str]:
    missing = [column for column in _COLUMNS if column not in row]
    if missing:
        raise ValueError(f"has no column {', '.join(missing)}: not a workflows export")
    return row


def _row(header: Sequence[str], row: Sequence[str]) -> Workflow:
    if len(row) != len(header):
        raise ValueError(f"has {len(row)} of {len(header)} cells")
    given = dict(zip(header, row, strict=True))
    version = f"{_whole(given['version'])}.{_whole(given['minor_version'])}"
    tasks, strings = json.loads(given["tasks"]), json.loads(given["strings"] or "{}")
    return _workflow(given["workflow_id"], version, tasks, strings, given.get("first_task"))


def _whole(value: Any) -> int:
    """Return a whole number, also as text; a float is refused, since its end may be lost."""
    if isinstance(value, float) or (isinstance(value, str) and rounded(value) is not None):
        raise ValueError(f"{value!r} is a float and no id: {ROUNDED_REMEDY}")
    return int(value)


def _workflow(
    workflow_id: Any, version: Any, tasks: Mapping[str, Any], strings: Mapping[str, str], first_task: Any
) -> Workflow:
    if not isinstance(version, str):
        raise TypeError(f"version {version!r} is not text: 28.30 is not 28.3")
    if not 0 < len(version) <= MAX_VERSION_CHARS or not version.isprintable():
        raise ValueError(f"version {version[:40]!r} is none")
    if not 0 < _whole(workflow_id) <= MAX_ID or not is_shallow(tasks):
        raise ValueError("its id is none, or its tasks are nested too deep")
    worded = {str(key): _worded(task, strings) for key, task in tasks.items()}
    first = str(first_task) if first_task else None
    workflow = Workflow(workflow_id=_whole(workflow_id), version=version, tasks=worded, first_task=first)
    workflow.plain()  # refuses what is no task before anybody reads it
    return workflow


def _worded(node: Any, strings: Mapping[str, str]) -> Any:
    """Return a task with its texts in the place of their keys."""
    if isinstance(node, list):
        return [_worded(item, strings) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: strings.get(value, value) if key in _TEXT_KEYS and isinstance(value, str) else _worded(value, strings)
        for key, value in node.items()
    }


CACHE_READINGS: Final = 50_000
"""Readings kept: volunteers walk a tree in a few thousand ways, and sources share equal annotations."""


class Codebook:
    """Decodes rows of one campaign; equal annotations of one version are read once.

    Parameters
    ----------
    versions
        Known workflow versions; those of other workflows are left aside.
    """

    def __init__(self, campaign: Campaign, tree: Tree, versions: Iterable[Workflow]) -> None:
        self._maps: Mapping[tuple[int, str], AnswerMap] = {
            (workflow.workflow_id, workflow.version): read_version(tree, workflow, campaign.decoding)
            for workflow in versions
            if workflow.workflow_id in campaign.zooniverse.workflow_ids
        }
        self._readings: dict[tuple[int, str, int], tuple[Any, Reading]] = {}

    def maps(self, *, since: str | None = None) -> tuple[AnswerMap, ...]:
        """Return the meanings of the known versions from one on, in order of version."""
        first = (0, 0) if since is None else version_key(since) or (0, 0)
        keyed = sorted((version_key(version) or (0, 0), workflow, version) for workflow, version in self._maps)
        return tuple(self._maps[workflow, version] for key, workflow, version in keyed if key >= first)

    def decode(self, raw: RawClassification, galaxy_id: str | None) -> Classification:
        """Return the row with its answers as columns of the tree, or with the reason why not."""
        key = raw.workflow_id, raw.workflow_version, id(raw.annotations)
        annotations, reading = self._readings.get(key, (None, None))
        if reading is None or annotations is not raw.annotations:  # an id may be another object's by now
            decoded = decode(raw, galaxy_id, self._maps.get((raw.workflow_id, raw.workflow_version)))
            if len(self._readings) >= CACHE_READINGS:
                self._readings.clear()
            reading = Reading(answers=decoded.answers, abstentions=decoded.abstentions, fault=decoded.fault)
            self._readings[key] = raw.annotations, reading
            return decoded
        return Classification(
            raw=raw,
            galaxy_id=galaxy_id,
            answers=reading.answers,
            abstentions=reading.abstentions,
            fault=reading.fault,
        )


def read_version(tree: Tree, workflow: Workflow, rules: Sequence[LabelRule] = ()) -> AnswerMap:
    """Return what each answer of one workflow version means in the tree.

    A task that cannot be read is left out, with its reason in ``unread``: classifications that hold it wait.
    """
    questions: defaultdict[str, list[Question]] = defaultdict(list)
    for question in sorted(tree.questions, key=lambda q: q.superseded):
        questions[question.task].append(question)
    columns: dict[str, tuple[int, ...]] = {}
    labels: dict[str, dict[str, int]] = {}
    boxes: dict[str, Boxes] = {}
    ignored: set[str] = set()
    unread: dict[str, str] = {}
    for key, task in workflow.tasks.items():
        applying = [rule for rule in rules if rule.task == key and rule.covers(workflow.version)]
        if any(rule.ignored for rule in applying):
            ignored.add(key)
            continue
        texts = [plain_label(str(answer.get("label"))) for answer in task.get("answers") or ()]
        if task.get("type") == "multiple" and any(q.choice is not None for q in questions.get(key, [])):
            found = _boxes(tree, questions[key], applying, texts)
            if isinstance(found, Boxes):
                boxes[key] = found
            else:
                unread[key] = f"task {key} of version {workflow.version} {found}"
            continue
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
        boxes=boxes,
    )


def _boxes(tree: Tree, questions: Sequence[Question], rules: Sequence[LabelRule], texts: Sequence[str]) -> Boxes | str:
    """Return what the boxes of a task mean, or what is wrong; a box that this version lacks was not asked."""
    meanings: dict[str, Question | None] = {plain_label(q.choice): q for q in questions if q.choice is not None}
    by_yes = {q.columns[0]: q for q in tree.questions if q.answers == YES_NO}
    for rule in rules:
        for label, column in rule.labels.items():
            if column != IGNORE and column not in by_yes:
                return f"has a box {label!r} that the campaign calls {column}, which is no yes"
            meanings[plain_label(label)] = None if column == IGNORE else by_yes[column]
    unknown = [text for text in texts if text not in meanings]
    if unknown:
        return f"has the box {unknown[0]!r}, which is not in the tree"
    found = [meanings[text] for text in texts]
    meant = [question.name for question in found if question is not None]
    if len(set(texts)) != len(texts) or len(set(meant)) != len(meant):
        return "has two boxes that mean the same"
    return boxes_of(tree, found, texts)


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
    if question is not None and question.choice is None:
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
