"""Published vote tables of Galaxy Zoo in terms of our trees: which of their columns holds the votes for an answer.

Three families are known, each told by its column names:

``gz2``
    Willett et al. 2013 and Hart et al. 2016: ``t01_smooth_or_features_a01_smooth_count``. Beside the counts stand
    ``_weight`` (votes weighted by volunteers' agreement), ``_fraction``, ``_weighted_fraction``, ``_debiased`` and
    ``_flag``; none of these is a vote, and none is read.
``zoobot``
    galaxy-datasets and zoobot: ``smooth-or-featured-dr5_smooth``; several campaigns may stand side by side, and only
    that of the tree is read.
``paths``
    Galaxy Zoo DECaLS (Walmsley et al. 2022) and our own tables: ``smooth-or-featured_smooth``, with totals in
    ``smooth-or-featured_total-votes``. The ``_fraction`` and ``_debiased`` columns beside them are not read.

Galaxy Zoo DESI (Walmsley et al. 2023) publishes what a network predicts: ``smooth-or-featured_smooth_fraction`` without
counts. Nobody gave these votes; such a table is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from alservice.catalogue.kaggle import KAGGLE_COLUMNS
from alservice.errors import BadInput, BadTree
from alservice.science.tree import Tree

Layout: TypeAlias = Literal["kaggle", "gz2", "zoobot", "paths"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

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

CAMPAIGNS: Mapping[str, str] = MappingProxyType(
    {
        "gz2": "gz2",
        "gz-hubble": "hubble",
        "gz-candels": "candels",
        "gz-decals-dr12": "dr12",
        "gz-decals-dr5": "dr5",
        "gz-decals-dr8": "dr8",
        "gz-cosmic-dawn": "cd",
        "gz-euclid": "euclid",
        "gz-jwst": "jwst",
    }
)
"""Tree to the suffix that galaxy-datasets gives the questions of its campaign."""

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
    """

    layout: Layout
    answers: Mapping[str, str]
    totals: Mapping[str, str]

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
        The table has no column of the layout that was asked for, or votes of other campaigns only.
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


def _gz2(tree: Tree, _columns: Collection[str]) -> VoteColumns:
    if tree.columns != tuple(KAGGLE_COLUMNS.values()):
        raise BadTree(f"the GZ2 tables have answers of the tree 'gz2', not of {tree.name!r}", tree=tree.name)
    return VoteColumns(layout="gz2", answers={k: f"{stem}_count" for k, stem in GZ2_COLUMNS.items()}, totals={})


def _zoobot(tree: Tree, columns: Collection[str]) -> VoteColumns:
    campaign, there = CAMPAIGNS.get(tree.name), _campaigns_in(columns)
    if campaign is None or (there and campaign not in there):
        raise UnknownLayout(
            f"the table has votes of the campaigns {', '.join(there) or 'none'}; the tree {tree.name!r} is that of "
            f"{campaign or 'no campaign of galaxy-datasets'}",
            campaigns=list(there),
        )
    names = RENAMED.get(tree.name, {})

    def named(column: str) -> str:
        question, _, answer = names.get(column, column).partition("_")
        return f"{question}-{campaign}_{answer}"

    return VoteColumns(
        layout="zoobot",
        answers={column: named(column) for column in tree.columns},
        totals={question.name: named(f"{question.name}_{TOTAL}") for question in tree.questions},
    )


def _paths(tree: Tree, _columns: Collection[str]) -> VoteColumns:
    return VoteColumns(
        layout="paths",
        answers={column: column for column in tree.columns},
        totals={question.name: f"{question.name}_{TOTAL}" for question in tree.questions},
    )


def _campaigns_in(columns: Collection[str]) -> tuple[str, ...]:
    """Return the campaigns of galaxy-datasets whose first question has a column."""
    first = ("smooth-or-featured",)
    return tuple(
        campaign
        for campaign in CAMPAIGNS.values()
        if any(column.startswith(f"{question}-{campaign}_") for question in first for column in columns)
    )


def _refuse_derived(known: VoteColumns, columns: Collection[str]) -> None:
    stems = [column.removesuffix("_count") for column in known.answers.values()]
    derived = [f"{stem}{ending}" for stem in stems for ending in _DERIVED if f"{stem}{ending}" in columns]
    if derived:
        raise NotVotes(
            f"column {derived[0]!r} is a fraction that nobody voted for, and there are no counts", column=derived[0]
        )
