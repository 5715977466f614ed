"""Tallies as a table for people and other programs: CSV that a spreadsheet cannot run, or Parquet."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from alservice.adapters.csv_lines import spreadsheet_safe
from alservice.core.training_sets import TallySet
from alservice.core.tree import Tree
from alservice.core.votes import totals
from alservice.errors import BadInput

CHUNK_ROWS: Final = 20_000
"""Rows in memory as Python numbers at a time."""


def write_tallies(path: Path, tree: Tree, tallies: TallySet, subjects: Mapping[str, int]) -> None:
    """Write one row per galaxy: ids, votes per answer, and totals per question; whole or not at all.

    Columns are ``galaxy_id``, ``subject_id`` (of Zooniverse, empty where there is none), ``question_answer`` in tree
    order, ``question_total-votes``. In CSV an id that a spreadsheet would run as a formula gets a leading quote.

    Raises
    ------
    BadInput
        The name ends in neither ``.csv`` nor ``.parquet``, or the folder cannot be written.
    """
    writers = {".csv": _write_csv, ".parquet": _write_parquet}
    if path.suffix not in writers:
        raise BadInput(f"{path}: a tally table is .csv or .parquet", path=str(path))
    numbers = np.concatenate([tallies.counts, totals(tree, tallies.counts)], axis=1)
    header = (*tree.columns, *(f"{question.name}_total-votes" for question in tree.questions))
    part = path.with_name(f"{path.name}.part")
    try:
        writers[path.suffix](part, header, tallies.galaxy_ids, subjects, numbers)
        part.replace(path)
    except OSError as error:
        raise BadInput(f"{path}: cannot be written: {error.strerror}", path=str(path)) from error


def _write_csv(
    path: Path, header: tuple[str, ...], ids: tuple[str, ...], subjects: Mapping[str, int], numbers: np.ndarray
) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("galaxy_id", "subject_id", *header))
        for first in range(0, len(ids), CHUNK_ROWS):
            chunk = ids[first : first + CHUNK_ROWS]
            rows = numbers[first : first + CHUNK_ROWS].tolist()
            writer.writerows(
                (spreadsheet_safe(galaxy), subjects.get(galaxy, ""), *row)
                for galaxy, row in zip(chunk, rows, strict=True)
            )


def _write_parquet(
    path: Path, header: tuple[str, ...], ids: tuple[str, ...], subjects: Mapping[str, int], numbers: np.ndarray
) -> None:
    columns = {
        "galaxy_id": pa.array(ids, pa.string()),
        "subject_id": pa.array([subjects.get(galaxy) for galaxy in ids], pa.int64()),
        **{name: pa.array(numbers[:, place]) for place, name in enumerate(header)},
    }
    parquet.write_table(pa.table(columns), path)
