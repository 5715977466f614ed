"""Tallies as a table for people and other programs: CSV that a spreadsheet cannot run, or Parquet."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from alservice.errors import BadInput
from alservice.science.tree import Tree
from alservice.science.votes import Counts, TallySet, totals
from alservice.shapes import FloatArray
from alservice.storage.csv import safe_cell

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
    _write(path, tallies.galaxy_ids, subjects, {"": _with_totals(tree, tallies.counts)}, tree)


def write_weighted_tallies(
    path: Path, tree: Tree, tallies: TallySet, weighted: FloatArray, subjects: Mapping[str, int]
) -> None:
    """Write raw tallies as `write_tallies` does, then the same columns again, ``_weighted``, with sums of weights.

    Parameters
    ----------
    weighted
        (N, A) weighted votes of the same galaxies.
    """
    blocks = {"": _with_totals(tree, tallies.counts), "_weighted": _with_totals(tree, weighted)}
    _write(path, tallies.galaxy_ids, subjects, blocks, tree)


def _with_totals(tree: Tree, counts: Counts) -> np.ndarray:
    return np.concatenate([counts, totals(tree, counts)], axis=1)


def _write(
    path: Path, ids: Sequence[str], subjects: Mapping[str, int], blocks: Mapping[str, np.ndarray], tree: Tree
) -> None:
    """Write blocks of columns side by side, each with its ending of the column names."""
    writers = {".csv": _write_csv, ".parquet": _write_parquet}
    if path.suffix not in writers:
        raise BadInput(f"{path}: a tally table is .csv or .parquet", path=str(path))
    names = (*tree.columns, *(f"{question.name}_total-votes" for question in tree.questions))
    headers = {ending: [f"{name}{ending}" for name in names] for ending in blocks}
    part = path.with_name(f"{path.name}.part")
    try:
        writers[path.suffix](part, ids, subjects, [(headers[ending], block) for ending, block in blocks.items()])
        part.replace(path)
    except OSError as error:
        with suppress(OSError):  # where the folder cannot be written there is none
            part.unlink()
        raise BadInput(f"{path}: cannot be written: {error.strerror}", path=str(path)) from error


_Blocks: TypeAlias = Sequence[tuple[Sequence[str], np.ndarray]]


def _write_csv(path: Path, ids: Sequence[str], subjects: Mapping[str, int], blocks: _Blocks) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("galaxy_id", "subject_id", *itertools.chain.from_iterable(header for header, _ in blocks)))
        for first in range(0, len(ids), CHUNK_ROWS):
            chunk = ids[first : first + CHUNK_ROWS]
            parts = (block[first : first + CHUNK_ROWS].tolist() for _, block in blocks)
            for galaxy, *row in zip(chunk, *parts, strict=True):
                writer.writerow((safe_cell(galaxy), subjects.get(galaxy, ""), *itertools.chain.from_iterable(row)))


def _write_parquet(path: Path, ids: Sequence[str], subjects: Mapping[str, int], blocks: _Blocks) -> None:
    columns = {
        "galaxy_id": pa.array(ids, pa.string()),
        "subject_id": pa.array([subjects.get(galaxy) for galaxy in ids], pa.int64()),
        **{name: pa.array(block[:, i]) for header, block in blocks for i, name in enumerate(header)},
    }
    parquet.write_table(pa.table(columns), path)
