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

from alservice.catalogue.vote_columns import zoobot_columns
from alservice.errors import BadInput
from alservice.science.tree import Tree
from alservice.science.votes import Counts, TallySet, conditional_fractions, totals
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


def write_zoobot_tallies(
    path: Path, tree: Tree, tallies: TallySet, subjects: Mapping[str, int], *, images: str | None = None
) -> None:
    """Write tallies in the columns of galaxy-datasets, which Zoobot and `train --data` read unchanged.

    Columns are ``id_str``, ``subject_id``, and ``file_loc`` where a folder of images is named; then counts in
    ``question-campaign_answer`` and ``question-campaign_total-votes``, and shares of those asked, empty where nobody
    was, in ``question-campaign_answer_fraction``. A tree of no campaign of galaxy-datasets has its own names, without
    suffix.

    Parameters
    ----------
    images
        Folder, as readers will find it: the image of a galaxy is ``FOLDER/ID.jpg``.

    Raises
    ------
    BadInput
        As `write_tallies`.
    """
    where = zoobot_columns(tree)
    answers = [where.answers[column] for column in tree.columns]
    names = [*answers, *(where.totals[question.name] for question in tree.questions)]
    shares = conditional_fractions(tree, tallies.counts.astype(np.float64))
    head: _Head = {"id_str": tallies.galaxy_ids, "subject_id": [subjects.get(name) for name in tallies.galaxy_ids]}
    if images is not None:
        head["file_loc"] = [f"{images.rstrip('/')}/{name}.jpg" for name in tallies.galaxy_ids]
    blocks = [(names, _with_totals(tree, tallies.counts)), ([f"{name}_fraction" for name in answers], shares)]
    _write_whole(path, head, blocks)


def _with_totals(tree: Tree, counts: Counts) -> np.ndarray:
    return np.concatenate([counts, totals(tree, counts)], axis=1)


def _write(
    path: Path, ids: Sequence[str], subjects: Mapping[str, int], blocks: Mapping[str, np.ndarray], tree: Tree
) -> None:
    """Write blocks of columns side by side, each with its ending of the column names."""
    names = (*tree.columns, *(f"{question.name}_total-votes" for question in tree.questions))
    head: _Head = {"galaxy_id": ids, "subject_id": [subjects.get(name) for name in ids]}
    _write_whole(path, head, [([f"{name}{ending}" for name in names], block) for ending, block in blocks.items()])


_Head: TypeAlias = dict[str, Sequence[str] | Sequence[int | None]]
_Blocks: TypeAlias = Sequence[tuple[Sequence[str], np.ndarray]]


def _write_whole(path: Path, head: _Head, blocks: _Blocks) -> None:
    writers = {".csv": _write_csv, ".parquet": _write_parquet}
    if path.suffix not in writers:
        raise BadInput(f"{path}: a tally table is .csv or .parquet", path=str(path))
    part = path.with_name(f"{path.name}.part")
    try:
        writers[path.suffix](part, head, blocks)
        part.replace(path)
    except OSError as error:
        with suppress(OSError):  # where the folder cannot be written there is none
            part.unlink()
        raise BadInput(f"{path}: cannot be written: {error.strerror}", path=str(path)) from error


def _write_csv(path: Path, head: _Head, blocks: _Blocks) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((*head, *itertools.chain.from_iterable(names for names, _ in blocks)))
        n_rows = len(next(iter(head.values())))
        for first in range(0, n_rows, CHUNK_ROWS):
            rows = slice(first, first + CHUNK_ROWS)
            cells = (list(map(_cell, values[rows])) for values in head.values())
            parts = ([list(map(_cell, row)) for row in block[rows].tolist()] for _, block in blocks)
            for names, *votes in zip(zip(*cells, strict=True), *parts, strict=True):
                writer.writerow((*names, *itertools.chain.from_iterable(votes)))


def _cell(value: str | float | None) -> str | float:
    """Return what a cell says: nothing where there is no value, and no text that a spreadsheet would run."""
    if isinstance(value, str):
        return safe_cell(value)
    return "" if value is None or value != value else value  # noqa: PLR0124 - NaN


def _write_parquet(path: Path, head: _Head, blocks: _Blocks) -> None:
    kinds = {"subject_id": pa.int64()}
    columns = {
        **{name: pa.array(values, kinds.get(name, pa.string())) for name, values in head.items()},
        **{name: pa.array(block[:, i], from_pandas=True) for names, block in blocks for i, name in enumerate(names)},
    }
    parquet.write_table(pa.table(columns), path)
