"""Exports of any size for benchmarks, made of the nine real GZ DECaLS rows.

Their cells, with ids, people, sessions, times and subjects of its own, and answers that walk the tree of the real workflow
version 66.425 in the words of its definition. Subjects are classified 40 times each, 5,000 of them at a time, as a
weekly batch is.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from alservice.science.tree import load_tree
from alservice.votes.decoding import read_workflows
from alservice.zooniverse.workflow import Workflow
from tests.support.shared import shared_data

TREE = load_tree("gz-decals-dr5")
ACTIVE, VOTES = 5_000, 40
WALKS, PEOPLE = 20_000, 60_000
BLOCK_ROWS = 100_000
METADATA, ANNOTATIONS, SUBJECT_DATA, SUBJECT = 10, 11, 12, 13


def rows_for(votes: int) -> int:
    """Return how many rows hold so many votes."""
    return int(np.ceil(votes / np.mean([len(cell) for cell in _walks()])))


def make_file(path: Path, rows: int) -> None:
    """Write the export, with a word on how far it is."""
    header, *real = _real_rows()
    shapes = [_shape(row) for row in real]
    answers = [_quoted(json.dumps(cell, separators=(",", ":"))) for cell in _walks()]
    rng = np.random.default_rng(1)
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(f"{','.join(header)}\n")
        for first in range(0, rows, BLOCK_ROWS):
            n = min(BLOCK_ROWS, rows - first)
            numbers = np.arange(first, first + n)
            subjects = numbers // (ACTIVE * VOTES) * ACTIVE + rng.integers(0, ACTIVE, n)
            people, walks = rng.integers(1, PEOPLE, n), rng.integers(0, WALKS, n)
            columns = zip(numbers.tolist(), subjects.tolist(), people.tolist(), walks.tolist(), strict=True)
            file.writelines(_line(shapes[i % 9], i, subject, who, answers[walk]) for i, subject, who, walk in columns)
            if (first + n) % (10 * BLOCK_ROWS) == 0:
                print(f"file: {first + n:,} of {rows:,} rows", flush=True)


def _real_rows() -> list[list[str]]:
    with (shared_data() / "exports" / "gz_decals_dr5_classifications.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def _walks() -> list[list[dict[str, str]]]:
    """Return annotations of volunteers who walk the tree."""
    path = shared_data() / "exports" / "gz_decals_workflow_version_66.425.json"
    (workflow,) = read_workflows(path)
    strings = json.loads(path.read_text())["strings"]
    rng = np.random.default_rng(1)
    return [list(_walk(workflow, strings, rng)) for _ in range(WALKS)]


def _walk(workflow: Workflow, strings: dict[str, str], rng: np.random.Generator) -> Iterator[dict[str, str]]:
    chosen: set[str] = set()
    for question in TREE.questions:
        if question.parents and not chosen & set(question.parents):
            continue
        pick = int(rng.integers(len(question.task_answers)))
        chosen.add(f"{question.name}_{question.task_answers[pick]}")
        label = strings[f"{question.task}.answers.{pick}.label"]
        yield {"task": question.task, "task_label": workflow.tasks[question.task]["question"], "value": label}


def _shape(row: list[str]) -> tuple[str, str, str]:
    """Return what a real row holds before, between and after the cells of its own: place-holders stand for those."""
    metadata = json.loads(row[METADATA]) | {"session": "%SESSION", "started_at": "%START"}
    cells = [*row]
    cells[0], cells[2], cells[6], cells[7] = "%ID", "%USER", "66.425", "%AT"
    head = ",".join(cells[:METADATA])
    data = row[SUBJECT_DATA].replace(row[SUBJECT], "%SUBJECT")
    return head, _quoted(json.dumps(metadata, separators=(",", ":"))), _quoted(data)


def _line(shape: tuple[str, str, str], i: int, subject: int, who: int, answers: str) -> str:
    head, metadata, data = shape
    stamp = f"2018-03-{1 + i // 3600 // 24 % 28:02}T{i // 3600 % 24:02}:{i // 60 % 60:02}:{i % 60:02}"
    user = "" if who % 4 == 0 else str(who)
    head = head.replace("%ID", str(100_000_000 + i)).replace("%USER", user)
    head = head.replace("%AT", f"{stamp.replace('T', ' ')} UTC")
    metadata = metadata.replace("%SESSION", f"{who * 7919:064x}").replace("%START", f"{stamp}.{i % 1000:03}Z")
    return f"{head},{metadata},{answers},{data.replace('%SUBJECT', str(subject))},{subject}\n"


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'
