"""Vote fractions of the Kaggle Galaxy Challenge in terms of the `gz2` tree.

The file's fractions are *cumulative*: the answers of a question sum to the fraction of its parent answer, so
the share among those asked is child / parent. One question breaks this rule. "Anything odd?" (Class6) is
asked after smooth and after featured but is stored as if everyone had been asked: its two answers sum to 1 in
every row. So Class6 already is a share among those asked, and Class8 (the odd feature) sums to Class6.1. In a
walk through the tree the artifact votes drop out by themselves, since `something-odd` has the parents smooth
and featured.

Some rows hold only questions 1, 2, 6, 7 and 8 (17 answers); their other 20 fractions are NaN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from alservice.errors import BadTree, BadVotes
from alservice.science.tree import Tree
from alservice.science.votes import any_answer, totals
from alservice.shapes import BoolArray, FloatArray

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

SUM_TOLERANCE = 1e-4
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
    refuse(np.abs(asked - parent) > SUM_TOLERANCE, "answers that do not sum to their parent")
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
