"""Recorded votes of a catalogue file as the share of each answer among those asked."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final, Literal, Protocol, TypeAlias

import numpy as np
import pyarrow as pa

from alservice.catalogue.tables import Table, is_number, numbers, require, texts
from alservice.checks import MAX_COUNT
from alservice.errors import BadInput, BadTree, BadVotes
from alservice.science.tree import Tree, load_tree, tree_names
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
    zeros
        Whether fractions that are all 0 say that nobody was asked.
    """

    tree: Tree
    names: Mapping[str, str]
    recorded: tuple[int, ...]
    total_columns: Mapping[int, str]
    counts: bool
    zeros: bool = False

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
        if self.zeros:
            empty |= ~any_answer(self.tree, values != 0)
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

    @property
    def first_columns(self) -> Sequence[str]:
        """The columns that `first_asked` needs."""
        stated = self.total_columns.get(self.recorded[0])
        return _answer_columns(self.tree, self.names, self.recorded[:1]) if stated is None else (stated,)

    def first_asked(self, batch: pa.RecordBatch) -> FloatArray:
        """Return the votes (N,) on the first recorded question, NaN where the file does not say."""
        columns = [numbers(batch[name])[0] for name in self.first_columns]
        known = self.counts or self.recorded[0] in self.total_columns
        summed: FloatArray = np.sum(columns, axis=0)
        return summed if known else np.full(len(batch), np.nan)

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


def column_votes(table: Table, tree: Tree, where: VoteColumns, votes_are: VotesAre | None = None) -> ColumnVotes | None:
    """Return how a table records votes for a tree, None where it has no answer column of it.

    Answers are counts if every one is a whole number, or if most rows have more than one vote for the first
    recorded question; else they are fractions. So one bad cell does not decide for the whole file.

    Parameters
    ----------
    votes_are
        What a person says that they are; None to tell.

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
        counts=(where.votes_are or votes_are or _told(table, tree, where, recorded)) == "counts",
        zeros=where.layout == "gz2",
    )


MIN_PERCENT_ROWS: Final = 5
"""Rows from which a sum of 100 in nearly all of them is no chance."""


def _told(table: Table, tree: Tree, where: VoteColumns, recorded: Sequence[int]) -> VotesAre:
    """Tell counts from fractions; refuse what may be percentages: as counts they would be a hundred votes each."""
    names = where.answers
    whole, several, voted, hundred = True, 0, 0, 0
    stated = any(where.totals.get(tree.questions[index].name) in table.columns for index in recorded)
    for batch in table.batches(_answer_columns(tree, names, recorded)):
        values, _ = _answers(batch, tree, names, recorded)
        usable = _usable(values)
        whole = whole and not (usable % 1).any()
        sums = totals(tree, usable)[:, recorded[0]]
        several += int((sums > 1.5).sum())
        voted += int((sums > 0).sum())
        hundred += int((np.abs(sums - 100) <= 100 * SUM_TOLERANCE).sum())
    if voted >= MIN_PERCENT_ROWS and hundred >= 0.95 * voted and not stated:
        question = tree.questions[recorded[0]].name
        raise BadInput(
            f"{table.path.name}: the answers of {question!r} sum to 100 in {hundred:,} of {voted:,} rows: "
            f"percentages, or 100 votes each? Divide percentages by 100; of counts say `--votes-are counts`, or give "
            f"their sum in a column {where.totals.get(question, f'{question}_{TOTAL}')!r}",
            file=str(table.path),
        )
    return "counts" if whole or 2 * several > table.n_rows else "fractions"


def _refuse_unknown_answers(table: Table, tree: Tree, where: VoteColumns) -> None:
    """Refuse an answer of another tree or version, which would silently be left out of a question's sums."""
    if where.layout == "gz2":
        return  # its columns are known one by one
    own = {name.partition("_")[0]: column.partition("_")[0] for column, name in where.answers.items()}
    as_here = {f"{own[q]}_{a}": column for column in table.columns for q, _, a in [column.partition("_")] if q in own}
    ours = {f"{own[name.partition('_')[0]]}_{name.partition('_')[2]}" for name in where.answers.values()}
    foreign = [each for each in _foreign(tree, as_here) if each not in ours]
    if foreign:
        column, question = as_here[foreign[0]], foreign[0].partition("_")[0]
        raise UnknownLayout(
            f"{table.path.name}: column {column!r} is no answer of {question!r} in tree {tree.name!r}"
            f"{_use([name for name in trees_of(table.columns) if name != tree.name])}",
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


KAGGLE_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "Class1.1": "smooth-or-featured_smooth",
        "Class1.2": "smooth-or-featured_featured-or-disk",
        "Class1.3": "smooth-or-featured_artifact",
        "Class2.1": "disk-edge-on_yes",
        "Class2.2": "disk-edge-on_no",
        "Class3.1": "bar_yes",
        "Class3.2": "bar_no",
        "Class4.1": "has-spiral-arms_yes",
        "Class4.2": "has-spiral-arms_no",
        "Class5.1": "bulge-size_no",
        "Class5.2": "bulge-size_just-noticeable",
        "Class5.3": "bulge-size_obvious",
        "Class5.4": "bulge-size_dominant",
        "Class6.1": "something-odd_yes",
        "Class6.2": "something-odd_no",
        "Class7.1": "how-rounded_round",
        "Class7.2": "how-rounded_in-between",
        "Class7.3": "how-rounded_cigar-shaped",
        "Class8.1": "odd-feature_ring",
        "Class8.2": "odd-feature_lens-or-arc",
        "Class8.3": "odd-feature_disturbed",
        "Class8.4": "odd-feature_irregular",
        "Class8.5": "odd-feature_other",
        "Class8.6": "odd-feature_merger",
        "Class8.7": "odd-feature_dust-lane",
        "Class9.1": "edge-on-bulge_rounded",
        "Class9.2": "edge-on-bulge_boxy",
        "Class9.3": "edge-on-bulge_none",
        "Class10.1": "spiral-winding_tight",
        "Class10.2": "spiral-winding_medium",
        "Class10.3": "spiral-winding_loose",
        "Class11.1": "spiral-arm-count_1",
        "Class11.2": "spiral-arm-count_2",
        "Class11.3": "spiral-arm-count_3",
        "Class11.4": "spiral-arm-count_4",
        "Class11.5": "spiral-arm-count_more-than-4",
        "Class11.6": "spiral-arm-count_cant-tell",
    }
)
"""Column of the Kaggle file to answer column of the `gz2` tree; file and tree have the same order."""

ALWAYS_RECORDED = frozenset({"smooth-or-featured", "disk-edge-on", "something-odd", "how-rounded", "odd-feature"})
"""Questions of the rows with 17 answers; a row records these or all."""

VOLUNTEERS = 44
"""Volunteers who walk the tree for a galaxy of the file: about as many as classified each galaxy of GZ2."""

KAGGLE_TOLERANCE = 1e-4
"""How far answers may sum from their parent; the real file, rounded to six decimals, is within 2.1e-6."""


def conditional_from_cumulative(tree: Tree, cumulative: FloatArray, ids: Sequence[object]) -> FloatArray:
    """Return the share of each answer among the volunteers asked its question.

    Parameters
    ----------
    tree
        The `gz2` tree.
    cumulative
        (N, A) fractions of the file, in tree order.
    ids
        N galaxy ids, for errors.

    Returns
    -------
    FloatArray
        (N, A) float64; the answers of a question sum to 1, or are NaN where nobody was asked (the parent
        fraction is zero) or the row does not record the question.

    Raises
    ------
    BadTree
        If the tree is not the one of the file.
    BadVotes
        Naming the first galaxy with a NaN where its row should have a fraction, a fraction outside [0, 1], or
        answers that do not sum to their parent within `SUM_TOLERANCE`.
    """
    _check_tree(tree)
    cumulative = np.asarray(cumulative, dtype=np.float64)
    tree.check_columns(cumulative)

    def refuse(faults: BoolArray, fault: str) -> None:
        if faults.any():
            row, index = np.argwhere(faults)[0]
            part, question = tree.slices[index], tree.questions[index].name
            seen = dict(zip(list(KAGGLE_COLUMNS)[part], cumulative[row, part].tolist(), strict=True))
            raise BadVotes(
                f"galaxy {ids[row]}: question {question!r} has {fault}: {seen}",
                galaxy=str(ids[row]),
                question=question,
                galaxies_at_fault=int(faults.any(axis=-1).sum()),
            )

    refuse(_misplaced_nan(tree, cumulative), "a NaN where its row should have a fraction")
    refuse(any_answer(tree, (cumulative < 0) | (cumulative > 1)), "a fraction outside [0, 1]")
    asked = totals(tree, cumulative)
    parent = np.stack([_parent(tree, cumulative, index) for index in range(tree.n_questions)], axis=-1)
    refuse(np.abs(asked - parent) > KAGGLE_TOLERANCE, "answers that do not sum to their parent")
    # Over the siblings' own sum, not the rounded parent: shares then sum to 1 however small the parent is.
    shares = np.full(cumulative.shape, np.nan)
    known = ((asked > 0) & (parent > 0))[..., tree.question_of_answer]
    np.divide(cumulative, asked[..., tree.question_of_answer], out=shares, where=known)
    return shares


def cumulative_from_conditional(tree: Tree, conditional: FloatArray) -> FloatArray:
    """Return fractions in the file's own convention, Class6 and Class8 included.

    Parameters
    ----------
    tree
        The `gz2` tree.
    conditional
        (..., A) share of each answer among those asked.

    Returns
    -------
    FloatArray
        (..., A) float64; 0 below a parent fraction of 0, NaN below or at a question that is not recorded.
    """
    _check_tree(tree)
    tree.check_columns(conditional)
    cumulative = np.empty(conditional.shape, dtype=np.float64)
    for index, part in enumerate(tree.slices):
        parent = _parent(tree, cumulative, index)[..., np.newaxis]
        cumulative[..., part] = np.where(parent == 0, 0, parent * conditional[..., part])
    return cumulative


def _check_tree(tree: Tree) -> None:
    if tree.columns != tuple(KAGGLE_COLUMNS.values()):
        raise BadTree(f"the Kaggle columns are answers of the tree 'gz2', not of {tree.name!r}")


def _parent(tree: Tree, cumulative: FloatArray, index: int) -> FloatArray:
    """Return what the answers of a question sum to in the file, (...)."""
    if tree.questions[index].name == "something-odd" or not tree.parents_of[index]:
        return np.ones(cumulative.shape[:-1])
    fraction: FloatArray = cumulative[..., tree.parents_of[index]].sum(axis=-1)
    return fraction


def _misplaced_nan(tree: Tree, cumulative: FloatArray) -> BoolArray:
    """Tell which questions (N, Q) break the two layouts of a row: 37 fractions, or the 17 always recorded."""
    optional = np.array([question.name not in ALWAYS_RECORDED for question in tree.questions])
    optional_A = optional[tree.question_of_answer]
    missing = np.isnan(cumulative)
    short_row = missing[:, optional_A].all(axis=1, keepdims=True)
    return any_answer(tree, missing != (short_row & optional_A))


Layout: TypeAlias = Literal["kaggle", "gz2", "zoobot", "paths"]
VotesAre: TypeAlias = Literal["counts", "fractions"]

TOTAL = "total-votes"
"""In place of an answer: the votes for a question as a whole."""

GZ2_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "smooth-or-featured_smooth": "t01_smooth_or_features_a01_smooth",
        "smooth-or-featured_featured-or-disk": "t01_smooth_or_features_a02_features_or_disk",
        "smooth-or-featured_artifact": "t01_smooth_or_features_a03_star_or_artifact",
        "disk-edge-on_yes": "t02_edgeon_a04_yes",
        "disk-edge-on_no": "t02_edgeon_a05_no",
        "bar_yes": "t03_bar_a06_bar",
        "bar_no": "t03_bar_a07_no_bar",
        "has-spiral-arms_yes": "t04_spiral_a08_spiral",
        "has-spiral-arms_no": "t04_spiral_a09_no_spiral",
        "bulge-size_no": "t05_bulge_prominence_a10_no_bulge",
        "bulge-size_just-noticeable": "t05_bulge_prominence_a11_just_noticeable",
        "bulge-size_obvious": "t05_bulge_prominence_a12_obvious",
        "bulge-size_dominant": "t05_bulge_prominence_a13_dominant",
        "something-odd_yes": "t06_odd_a14_yes",
        "something-odd_no": "t06_odd_a15_no",
        "how-rounded_round": "t07_rounded_a16_completely_round",
        "how-rounded_in-between": "t07_rounded_a17_in_between",
        "how-rounded_cigar-shaped": "t07_rounded_a18_cigar_shaped",
        "odd-feature_ring": "t08_odd_feature_a19_ring",
        "odd-feature_lens-or-arc": "t08_odd_feature_a20_lens_or_arc",
        "odd-feature_disturbed": "t08_odd_feature_a21_disturbed",
        "odd-feature_irregular": "t08_odd_feature_a22_irregular",
        "odd-feature_other": "t08_odd_feature_a23_other",
        "odd-feature_merger": "t08_odd_feature_a24_merger",
        "odd-feature_dust-lane": "t08_odd_feature_a38_dust_lane",
        "edge-on-bulge_rounded": "t09_bulge_shape_a25_rounded",
        "edge-on-bulge_boxy": "t09_bulge_shape_a26_boxy",
        "edge-on-bulge_none": "t09_bulge_shape_a27_no_bulge",
        "spiral-winding_tight": "t10_arms_winding_a28_tight",
        "spiral-winding_medium": "t10_arms_winding_a29_medium",
        "spiral-winding_loose": "t10_arms_winding_a30_loose",
        "spiral-arm-count_1": "t11_arms_number_a31_1",
        "spiral-arm-count_2": "t11_arms_number_a32_2",
        "spiral-arm-count_3": "t11_arms_number_a33_3",
        "spiral-arm-count_4": "t11_arms_number_a34_4",
        "spiral-arm-count_more-than-4": "t11_arms_number_a36_more_than_4",
        "spiral-arm-count_cant-tell": "t11_arms_number_a37_cant_tell",
    }
)
"""Answer column of the `gz2` tree to the stem of its columns in the GZ2 tables."""

CAMPAIGNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "gz2": ("gz2", "ukidss"),
        "gz-hubble": ("hubble",),
        "gz-candels": ("candels",),
        "gz-decals-dr12": ("dr12",),
        "gz-decals-dr5": ("dr5",),
        "gz-decals-dr8": ("dr8",),
        "gz-desi": ("desi", "dr8", "dr5"),
        "gz-cosmic-dawn": ("cd", "h2o"),
        "gz-euclid": ("euclid",),
        "gz-jwst": ("jwst",),
    }
)
"""Tree to the suffixes that galaxy-datasets gives questions of campaigns: its own, then others that asked the same."""

RENAMED: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "gz2": {
            "how-rounded_cigar-shaped": "how-rounded_cigar",
            "edge-on-bulge_rounded": "bulge-shape_round",
            "edge-on-bulge_boxy": "bulge-shape_boxy",
            "edge-on-bulge_none": "bulge-shape_no-bulge",
            f"edge-on-bulge_{TOTAL}": f"bulge-shape_{TOTAL}",
        },
    }
)
"""By tree: answer column to the one that galaxy-datasets calls it, before the suffix, where they differ."""

CLASSIFICATIONS: Final = "total_classifications"
"""Column of the GZ2 tables: volunteers who classified a galaxy."""

_RECORDED: Final = ("_fraction", "_weighted_fraction")
"""Fractions of the GZ2 tables that volunteers gave, plain ones first; beside `CLASSIFICATIONS` they are votes."""

_DERIVED = ("_fraction", "_weighted_fraction", "_debiased")


class UnknownLayout(BadInput):
    """A table has votes in no layout that is known, or not in the one that was asked for."""

    code = "unknown-layout"
    remedy = "Name one with `--layout`, or rename the columns to `question_answer` of the campaign's tree."


class NotVotes(BadInput):
    """A table has predicted, weighted or debiased fractions, and no votes that volunteers gave."""

    code = "not-votes"
    remedy = "Import the table of volunteers' counts of the same data release; a prediction is no vote."


@dataclass(frozen=True, kw_only=True, slots=True)
class VoteColumns:
    """Where a table keeps the votes for a tree.

    Parameters
    ----------
    answers
        Answer column of the tree to column of the table, for all answers; the table need not have them all.
    totals
        Question name to the column of its votes as a whole, where the layout has such columns.
    votes_are
        Counts or fractions, where the layout says so; None to tell by the numbers.
    """

    layout: Layout
    answers: Mapping[str, str]
    totals: Mapping[str, str]
    votes_are: VotesAre | None = None

    def questions_in(self, tree: Tree, columns: Collection[str]) -> tuple[int, ...]:
        """Return the questions, by index, that have a column for one of their answers at least."""
        return tuple(
            index
            for index, question in enumerate(tree.questions)
            if any(self.answers[answer] in columns for answer in question.columns)
        )


def vote_columns(columns: Collection[str], tree: Tree, layout: Layout | None = None) -> VoteColumns:
    """Return where a table keeps its votes, by the names of its columns.

    Parameters
    ----------
    columns
        Names of all columns of the table.
    layout
        Take the table for this one, whatever its columns look like; None to find out.

    Returns
    -------
    VoteColumns
        Of the layout ``paths`` when the table has no votes at all.

    Raises
    ------
    UnknownLayout
        The table has no column of the layout that was asked for, or votes of other campaigns only; the tree to use is
        named.
    NotVotes
        The table has fractions that nobody voted for, and no counts.
    BadTree
        The layout is that of another tree.
    """
    found = layout or _layout_of(columns)
    if found == "kaggle":
        return VoteColumns(layout=found, answers={v: k for k, v in KAGGLE_COLUMNS.items()}, totals={})
    known = {"gz2": _gz2, "zoobot": _zoobot, "paths": _paths}[found](tree, columns)
    if not known.questions_in(tree, columns):
        _refuse_derived(known, columns)
        if layout is not None and layout != "paths":
            raise UnknownLayout(
                f"the table has no column of the layout {layout!r}, such as {known.answers[tree.columns[0]]!r}"
            )
    return known


def _layout_of(columns: Collection[str]) -> Layout:
    if any(column in columns for column in KAGGLE_COLUMNS):
        return "kaggle"
    if any(f"{stem}{ending}" in columns for stem in GZ2_COLUMNS.values() for ending in ("_count", *_DERIVED)):
        return "gz2"
    return "zoobot" if _campaigns_in(columns) else "paths"


def _gz2(tree: Tree, columns: Collection[str]) -> VoteColumns:
    if tree.columns != tuple(KAGGLE_COLUMNS.values()):
        raise BadTree(f"the GZ2 tables have answers of the tree 'gz2', not of {tree.name!r}", tree=tree.name)
    ending = "_count"
    if not any(f"{stem}{ending}" in columns for stem in GZ2_COLUMNS.values()) and CLASSIFICATIONS in columns:
        whole = (each for each in _RECORDED if all(f"{stem}{each}" in columns for stem in GZ2_COLUMNS.values()))
        ending = next(whole, ending)
    return VoteColumns(
        layout="gz2",
        answers={k: f"{stem}{ending}" for k, stem in GZ2_COLUMNS.items()},
        totals={} if ending == "_count" else {tree.questions[0].name: CLASSIFICATIONS},
        votes_are="counts" if ending == "_count" else "fractions",
    )


def _zoobot(tree: Tree, columns: Collection[str]) -> VoteColumns:
    ours, there = CAMPAIGNS.get(tree.name, ()), _campaigns_in(columns)
    found = [campaign for campaign in ours if campaign in there] or ([] if there else list(ours))
    if not found:
        raise UnknownLayout(
            f"the table has votes of the campaigns {', '.join(there) or 'none'}; the tree {tree.name!r} is that of "
            f"{ours[0] if ours else 'no campaign of galaxy-datasets'}{_use(trees_of(columns))}",
            campaigns=list(there),
        )
    if found[0] != ours[0] and len(found) > 1:
        raise UnknownLayout(
            f"the table has votes of {' and '.join(found)}, which the tree {tree.name!r} could both be asked of"
            f"{_use(trees_of(columns))}",
            campaigns=list(there),
        )
    campaign, names = found[0], RENAMED.get(tree.name, {})

    def named(column: str) -> str:
        question, _, answer = names.get(column, column).partition("_")
        return f"{question}-{campaign}_{answer}"

    return VoteColumns(
        layout="zoobot",
        answers={column: named(column) for column in tree.columns},
        totals={question.name: named(f"{question.name}_{TOTAL}") for question in tree.questions},
    )


def zoobot_columns(tree: Tree) -> VoteColumns:
    """Return the names that galaxy-datasets gives the votes of a tree: those of its own campaign, else plain ones."""
    return _zoobot(tree, ()) if tree.name in CAMPAIGNS else _paths(tree, ())


def _paths(tree: Tree, _columns: Collection[str]) -> VoteColumns:
    return VoteColumns(
        layout="paths",
        answers={column: column for column in tree.columns},
        totals={question.name: f"{question.name}_{TOTAL}" for question in tree.questions},
    )


def _campaigns_in(columns: Collection[str]) -> tuple[str, ...]:
    """Return the campaigns of galaxy-datasets whose first question has a column."""
    known = dict.fromkeys(campaign for campaigns in CAMPAIGNS.values() for campaign in campaigns)
    return tuple(each for each in known if any(column.startswith(f"smooth-or-featured-{each}_") for column in columns))


def trees_of(columns: Collection[str]) -> tuple[str, ...]:
    """Return the packaged trees whose votes a table has: of each layout those with the most answers in it.

    A tree of which a question lacks an answer, or that does not know one that another tree gives the question, does not
    fit.
    """
    campaigns = _campaigns_in(columns)
    if campaigns:
        return tuple(tree for tree, ours in CAMPAIGNS.items() if ours[0] in campaigns)
    layout = _layout_of(columns)
    if layout in {"kaggle", "gz2"}:
        return ("gz2",)
    trees = [load_tree(name) for name in tree_names()]
    fits = {tree.name: _answers_in(tree, columns) for tree in trees if not _foreign(tree, columns)}
    most = max(fits.values(), default=0)
    return tuple(name for name, n in fits.items() if n == most > 0)


def _answers_in(tree: Tree, columns: Collection[str]) -> int:
    """Return how many answers of a tree are columns; 0 if a question has some of its answers only."""
    asked = [[column in columns for column in question.columns] for question in tree.questions]
    return sum(sum(each) for each in asked) if all(all(each) or not any(each) for each in asked) else 0


def _foreign(tree: Tree, columns: Collection[str]) -> list[str]:
    """Return columns that other packaged trees, in any version, know as answers of a question that this tree asks."""
    ours = {question.name: {c.partition("_")[2] for c in question.columns} for question in tree.questions}
    return [
        column
        for column in columns
        for question, _, answer in [column.partition("_")]
        if question in ours
        and answer not in ours[question]
        and f"{question}_{_VERSION.sub('', answer)}" in packaged_answers()
    ]


_VERSION: Final = re.compile(r"-v\d+$")


@cache
def packaged_answers() -> frozenset[str]:
    """Return the answer columns of all packaged trees."""
    return frozenset(column for name in tree_names() for column in load_tree(name).columns)


def _use(trees: Collection[str]) -> str:
    return f"; its columns are those of --tree {' or '.join(trees)}" if trees else ""


def _refuse_derived(known: VoteColumns, columns: Collection[str]) -> None:
    stems = [column.removesuffix("_count") for column in known.answers.values()]
    derived = [f"{stem}{ending}" for stem in stems for ending in _DERIVED if f"{stem}{ending}" in columns]
    if derived:
        raise NotVotes(
            f"column {derived[0]!r} is a fraction that nobody voted for, and there are no counts", column=derived[0]
        )
