"""Recorded votes of a catalogue file as the share of each answer among those asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import pyarrow as pa

from alservice.catalogue.kaggle import KAGGLE_COLUMNS, conditional_from_cumulative
from alservice.catalogue.published import TOTAL, VoteColumns
from alservice.catalogue.tables import Table, is_number, numbers, require, texts
from alservice.checks import MAX_COUNT
from alservice.errors import BadInput, BadVotes
from alservice.science.tree import Tree
from alservice.science.votes import any_answer, conditional_fractions, inconsistent, totals
from alservice.shapes import BoolArray, FloatArray, IntArray

SUM_TOLERANCE: Final = 0.01
"""How far the fractions of one question may sum from 1: ten answers rounded to three decimals."""

Faults = dict[int, tuple[str, str]]
"""Field and reason of the first fault of a row, by its place in the batch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VoteBlock:
    """Votes of N rows of a file.

    Parameters
    ----------
    fractions
        (N, A) share of each answer among those asked, NaN where not recorded.
    asked
        (N,) volunteers, NaN where the file does not say.
    inconsistent
        (N,) whether no walks through the tree give these counts.
    counts
        int64 (N, A) votes, 0 where nobody was asked; None where the file does not count them.
    cumulative
        (N, A) fractions of all volunteers, as the Kaggle file gives them; None in other files.
    """

    fractions: FloatArray
    asked: FloatArray
    inconsistent: BoolArray
    counts: IntArray | None = None
    cumulative: FloatArray | None = None


class RecordedVotes(Protocol):
    """How a file records votes."""

    @property
    def columns(self) -> Sequence[str]:
        """The columns that `read` needs."""

    def read(self, batch: pa.RecordBatch, faults: Faults) -> VoteBlock:
        """Return the votes of N rows; rows that cannot be read are added to `faults`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KaggleVotes:
    """Cumulative fractions of the Kaggle Galaxy Challenge."""

    tree: Tree
    id_column: str

    @property
    def columns(self) -> Sequence[str]:
        """The columns that `read` needs."""
        return (self.id_column, *KAGGLE_COLUMNS)

    def read(self, batch: pa.RecordBatch, faults: Faults) -> VoteBlock:
        """Return the votes of a batch; see `RecordedVotes.read`."""
        cumulative = np.stack([numbers(batch[column])[0] for column in KAGGLE_COLUMNS], axis=-1)
        galaxy_ids = texts(batch[self.id_column])
        unknown, fine = np.full(len(cumulative), np.nan), np.zeros(len(cumulative), dtype=np.bool_)
        try:
            shares = conditional_from_cumulative(self.tree, cumulative, galaxy_ids)
        except BadVotes:
            shares = self._read_one_by_one(cumulative, galaxy_ids, faults)
        return VoteBlock(fractions=shares, asked=unknown, inconsistent=fine, cumulative=cumulative)

    def _read_one_by_one(self, cumulative: FloatArray, galaxy_ids: Sequence[str | None], faults: Faults) -> FloatArray:
        shares = np.full(cumulative.shape, np.nan)
        for row, galaxy_id in enumerate(galaxy_ids):
            try:
                shares[row] = conditional_from_cumulative(self.tree, cumulative[[row]], [galaxy_id])[0]
            except BadVotes as error:
                faults.setdefault(row, (str(error.evidence["question"]), error.message))
        return shares


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnVotes:
    """A column per answer of counts or of fractions among those asked.

    Parameters
    ----------
    names
        Answer column of the tree to column of the file.
    recorded
        Questions that have columns, by index in the tree.
    total_columns
        Column of the votes for a question as a whole, by index of those that have one.
    counts
        Whether answers are counted in whole votes rather than given as fractions.
    """

    tree: Tree
    names: Mapping[str, str]
    recorded: tuple[int, ...]
    total_columns: Mapping[int, str]
    counts: bool

    @property
    def columns(self) -> Sequence[str]:
        """The columns that `read` needs."""
        return (*_answer_columns(self.tree, self.names, self.recorded), *self.total_columns.values())

    def read(self, batch: pa.RecordBatch, faults: Faults) -> VoteBlock:
        """Return the votes of a batch; see `RecordedVotes.read`."""
        values, unreadable = _answers(batch, self.tree, self.names, self.recorded)
        usable = _usable(values)
        sums, missing = totals(self.tree, usable), np.isnan(values)
        empty = ~any_answer(self.tree, ~missing)
        self._refuse(faults, any_answer(self.tree, unreadable), "a vote is not a number")
        self._refuse(faults, any_answer(self.tree, missing) & ~empty, "some of its answers are NaN, others not")
        self._refuse(faults, any_answer(self.tree, values < 0), "a vote is negative")
        self._refuse(faults, any_answer(self.tree, np.isinf(values)), "a vote is infinite")
        self._refuse(faults, any_answer(self.tree, values > MAX_COUNT), "a vote is beyond any count")
        if self.counts:
            self._refuse(faults, any_answer(self.tree, usable % 1 > 0), "a count is not a whole number")
        else:
            off = ~empty & (np.abs(sums - 1) > SUM_TOLERANCE)
            self._refuse(faults, off, "its fractions sum to {:g}, not to 1", sums)
        asked = np.where(empty, np.nan, sums) if self.counts else np.full(sums.shape, np.nan)
        for index, column in self.total_columns.items():
            asked[:, index] = self._total(batch, column, asked[:, index], faults)
        return VoteBlock(
            fractions=conditional_fractions(self.tree, usable),
            asked=asked[:, 0],
            inconsistent=self._is_inconsistent(usable),
            counts=usable.astype(np.int64) if self.counts else None,
        )

    def _is_inconsistent(self, counts: FloatArray) -> BoolArray:
        """Tell of which rows (N,) more volunteers answered a question than were led to it, as far as is recorded."""
        if not self.counts:
            return np.zeros(len(counts), dtype=np.bool_)
        known = [
            {int(self.tree.question_of_answer[parent]) for parent in parents} <= set(self.recorded)
            for parents in self.tree.parents_of
        ]
        flagged: BoolArray = np.any(inconsistent(self.tree, counts)[:, known], axis=1)
        return flagged

    def _refuse(self, faults: Faults, wrong: BoolArray, reason: str, *seen: FloatArray) -> None:
        """Add the questions marked in (N, Q) to the faults."""
        for index in self.recorded:
            name = self.tree.questions[index].name
            add_faults(faults, wrong[:, index], name, reason, *(values[:, index] for values in seen))

    def _total(self, batch: pa.RecordBatch, column: str, summed: FloatArray, faults: Faults) -> FloatArray:
        """Return the stated votes for one question, NaN where empty; counts must sum to them."""
        stated, unreadable = numbers(batch[column])
        usable = _usable(stated)
        broken = unreadable | (np.abs(stated) > MAX_COUNT) | (usable < 0) | (usable % 1 > 0)
        add_faults(faults, broken, column, "the total is no number of votes")
        if self.counts:
            differs = usable != np.nan_to_num(summed)
            add_faults(faults, differs, column, "the answers sum to {:g}, the total is {:g}", summed, stated)
        return stated


def column_votes(table: Table, tree: Tree, where: VoteColumns) -> ColumnVotes | None:
    """Return how a table records votes for a tree, None where it has no answer column of it.

    Answers are counts if every one is a whole number, or if most rows have more than one vote for the first
    recorded question; else they are fractions. So one bad cell does not decide for the whole file.

    Raises
    ------
    BadInput
        Naming the file and the column, if a question has columns for some of its answers only or for an
        answer that the tree does not know, or a column holds no numbers.
    """
    _refuse_unknown_answers(table, tree, where)
    recorded = where.questions_in(tree, table.columns)
    if not recorded:
        return None
    named = {index: where.totals.get(tree.questions[index].name) for index in recorded}
    total_columns = {index: name for index, name in named.items() if name is not None and name in table.columns}
    columns = _answer_columns(tree, where.answers, recorded)
    require(table, (*columns, *total_columns.values()), is_number, "votes")
    return ColumnVotes(
        tree=tree,
        names=where.answers,
        recorded=recorded,
        total_columns=total_columns,
        counts=where.layout == "gz2" or _are_counts(table, tree, where.answers, recorded),
    )


def _are_counts(table: Table, tree: Tree, names: Mapping[str, str], recorded: Sequence[int]) -> bool:
    whole, several = True, 0
    for batch in table.batches(_answer_columns(tree, names, recorded)):
        values, _ = _answers(batch, tree, names, recorded)
        usable = _usable(values)
        whole = whole and not (usable % 1).any()
        several += int((totals(tree, usable)[:, recorded[0]] > 1.5).sum())
    return whole or 2 * several > table.n_rows


def _refuse_unknown_answers(table: Table, tree: Tree, where: VoteColumns) -> None:
    """Refuse an answer column of a known question that would silently be left out of its sums."""
    if where.layout == "gz2":
        return  # its columns are known one by one
    answers: dict[str, set[str]] = {}
    for name in where.answers.values():
        question, _, answer = name.partition("_")
        answers.setdefault(question, {TOTAL}).add(answer)
    for column in table.columns:
        question, _, answer = column.partition("_")
        if question in answers and "_" not in answer and answer not in answers[question]:
            raise BadInput(
                f"{table.path.name}: column {column!r} is no answer of {question!r} in tree {tree.name!r}",
                file=str(table.path),
                column=column,
            )


def _answer_columns(tree: Tree, names: Mapping[str, str], recorded: Sequence[int]) -> tuple[str, ...]:
    return tuple(names[column] for index in recorded for column in tree.questions[index].columns)


def _answers(
    batch: pa.RecordBatch, tree: Tree, names: Mapping[str, str], recorded: Sequence[int]
) -> tuple[FloatArray, BoolArray]:
    """Return values (N, A), NaN where empty or not recorded, and where a cell was not a number."""
    values = np.full((len(batch), tree.n_answers), np.nan)
    unreadable = np.zeros(values.shape, dtype=np.bool_)
    for index in recorded:
        for column in tree.questions[index].columns:
            place = tree.column(column)
            values[:, place], unreadable[:, place] = numbers(batch[names[column]])
    return values, unreadable


def _usable(values: FloatArray) -> FloatArray:
    """Return values with 0 for what no count or fraction can be."""
    return np.where(np.abs(values) <= MAX_COUNT, values, 0)


def add_faults(faults: Faults, rows: BoolArray, field: str, reason: str, *seen: FloatArray) -> None:
    """Add the marked rows to the faults unless they have one; `reason` is formatted with what was seen."""
    for row in np.flatnonzero(rows).tolist():
        faults.setdefault(row, (field, reason.format(*(values[row] for values in seen))))
