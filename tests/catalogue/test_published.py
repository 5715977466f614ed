"""Published tables: every column map fits its tree, and what is no vote is refused by name."""

import pytest

from alservice.catalogue.vote_columns import (
    CAMPAIGNS,
    GZ2_COLUMNS,
    KAGGLE_COLUMNS,
    RENAMED,
    TOTAL,
    NotVotes,
    UnknownLayout,
    vote_columns,
)
from alservice.errors import BadTree
from alservice.science.tree import load_tree, tree_names

GZ2 = load_tree("gz2")
DR5 = load_tree("gz-decals-dr5")


def test_the_gz2_map_has_every_answer_once():
    """37 answers, in the order of the published columns, each by its published number a01 to a38."""
    assert tuple(GZ2_COLUMNS) == tuple(KAGGLE_COLUMNS.values()) == GZ2.columns
    assert len(set(GZ2_COLUMNS.values())) == 37
    assert all(
        stem.startswith(f"t{int(task[5:].split('.')[0]):02}_")
        for task, stem in zip(KAGGLE_COLUMNS, GZ2_COLUMNS.values(), strict=True)
    )


def test_every_campaign_has_a_tree_and_every_renamed_column_an_answer():
    """A map that names no tree or no answer would never be used."""
    assert set(CAMPAIGNS) <= set(tree_names())
    for name, columns in RENAMED.items():
        tree = load_tree(name)
        totals = {f"{question.name}_{TOTAL}" for question in tree.questions}
        assert set(columns) <= {*tree.columns, *totals}


@pytest.mark.parametrize(
    ("column", "tree", "layout", "smooth"),
    [
        ("Class1.1", GZ2, "kaggle", "Class1.1"),
        ("t02_edgeon_a04_yes_count", GZ2, "gz2", "t01_smooth_or_features_a01_smooth_count"),
        ("smooth-or-featured-dr5_smooth", DR5, "zoobot", "smooth-or-featured-dr5_smooth"),
        ("smooth-or-featured_smooth", DR5, "paths", "smooth-or-featured_smooth"),
        ("image_path", DR5, "paths", "smooth-or-featured_smooth"),
    ],
)
def test_a_layout_is_told_by_its_columns(column, tree, layout, smooth):
    """One column of a family suffices, and says where the votes for smooth stand."""
    found = vote_columns([column], tree)
    assert (found.layout, found.answers["smooth-or-featured_smooth"]) == (layout, smooth)


def test_galaxy_datasets_calls_some_answers_of_gz2_otherwise():
    """Bulge shape is asked of edge-on galaxies, cigars are called so, totals follow their question."""
    found = vote_columns(["smooth-or-featured-gz2_smooth"], GZ2)
    assert found.answers["edge-on-bulge_none"] == "bulge-shape-gz2_no-bulge"
    assert found.answers["how-rounded_cigar-shaped"] == "how-rounded-gz2_cigar"
    assert found.totals["edge-on-bulge"] == "bulge-shape-gz2_total-votes"


@pytest.mark.parametrize(
    ("columns", "tree"),
    [
        (["smooth-or-featured_smooth_fraction", "image_path"], DR5),
        (["t01_smooth_or_features_a01_smooth_debiased"], GZ2),
        (["t01_smooth_or_features_a01_smooth_weighted_fraction"], GZ2),
        (["smooth-or-featured-dr5_smooth_fraction"], DR5),
    ],
)
def test_fractions_that_nobody_voted_for_are_refused(columns, tree):
    """What a network predicts, and what was weighted or debiased, is never taken for votes."""
    with pytest.raises(NotVotes, match=columns[0]):
        vote_columns(columns, tree)


def test_votes_of_another_campaign_are_refused():
    """A table of other campaigns names them; side by side with ours they are left alone."""
    with pytest.raises(UnknownLayout, match=r"dr12, dr8.* is that of dr5"):
        vote_columns(["smooth-or-featured-dr12_smooth", "smooth-or-featured-dr8_smooth"], DR5)
    both = vote_columns(["smooth-or-featured-dr12_smooth", "smooth-or-featured-dr5_smooth"], DR5)
    assert both.answers["bar_weak"] == "bar-dr5_weak"
    with pytest.raises(UnknownLayout, match=r"no campaign of galaxy-datasets; .* those of --tree gz-decals-dr5"):
        vote_columns(["smooth-or-featured-dr5_smooth"], load_tree("gz-rings"))


@pytest.mark.parametrize(
    ("campaigns", "tree", "taken"),
    [
        (["dr5"], "gz-desi", "dr5"),
        (["dr8", "dr12"], "gz-desi", "dr8"),
        (["dr8", "dr5", "desi"], "gz-desi", "desi"),
        (["ukidss"], "gz2", "ukidss"),
        (["gz2", "ukidss"], "gz2", "gz2"),
        (["h2o"], "gz-cosmic-dawn", "h2o"),
    ],
)
def test_a_tree_takes_campaigns_that_asked_its_questions(campaigns, tree, taken):
    """Its own first; where two others are there, neither is taken, and their trees are named."""
    columns = [f"smooth-or-featured-{campaign}_smooth" for campaign in campaigns]
    found = vote_columns(columns, load_tree(tree))
    assert found.answers["smooth-or-featured_smooth"] == f"smooth-or-featured-{taken}_smooth"
    both = ["smooth-or-featured-dr8_smooth", "smooth-or-featured-dr5_smooth"]
    with pytest.raises(UnknownLayout, match=r"dr8 and dr5, which .* both .* --tree gz-decals-dr5 or gz-decals-dr8"):
        vote_columns(both, load_tree("gz-desi"))


def test_a_layout_that_is_asked_for_must_be_there():
    """Forcing a layout on another table is an error that shows what was looked for."""
    with pytest.raises(UnknownLayout, match="t01_smooth_or_features_a01_smooth_count"):
        vote_columns(["smooth-or-featured_smooth"], GZ2, "gz2")
    with pytest.raises(BadTree, match="gz-decals-dr5"):
        vote_columns(["t02_edgeon_a04_yes_count"], DR5)
