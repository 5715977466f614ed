"""A column of labels is one vote a galaxy."""

import numpy as np
import pandas as pd
import pytest

from alservice.catalogue.files import open_catalogue
from alservice.catalogue.galaxies import CatalogueFault
from alservice.catalogue.tables import frame_table
from alservice.errors import BadInput
from alservice.science.tree import Tree, load_tree

RINGS = load_tree("gz-rings")
SMOOTH = Tree(name="smooth-alone", questions=(load_tree("gz2").questions[0],))


def rows_of(labels, tree=RINGS):
    """Return the rows of a table of labels."""
    table = frame_table(pd.DataFrame({"galaxy_id": [f"g{i}" for i in range(len(labels))], "label": labels}))
    return list(open_catalogue(table, tree, with_images=False, label="label").rows())


@pytest.mark.parametrize(
    ("labels", "tree", "places"),
    [
        ([1, 0], RINGS, [0, 1]),
        ([True, False], RINGS, [0, 1]),
        (["Yes", " no "], RINGS, [0, 1]),
        (["artifact", "smooth", "featured-or-disk"], SMOOTH, [2, 0, 1]),
        ([SMOOTH.questions[0].labels[1]], SMOOTH, [1]),
    ],
)
def test_a_label_is_one_vote_for_its_answer(labels, tree, places):
    """Names and labels of answers in any case, and flags for yes and no."""
    for row, place in zip(rows_of(labels, tree), places, strict=True):
        expected = np.eye(tree.n_answers, dtype=np.int64)[place]
        np.testing.assert_array_equal(row.counts, expected)
        assert row.n_votes == 1


def test_an_unknown_label_is_a_fault_of_its_row_and_an_empty_one_no_vote():
    """Neither becomes an answer."""
    unknown, empty, known = rows_of(["perhaps", None, "yes"])
    assert isinstance(unknown, CatalogueFault)
    assert unknown.reason == "label 'perhaps' is none of yes, no"
    assert empty.counts is None
    assert empty.fractions is None
    assert known.counts.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("labels", "tree", "message"),
    [
        ([1], load_tree("gz2"), "tree 'gz2' asks 11 questions: column 'label' labels the answers of one"),
        ([0.5], RINGS, "must hold labels: text, integers, or true and false"),
    ],
)
def test_what_labels_nothing_is_refused(labels, tree, message):
    """A tree of several questions, or numbers that are no classes."""
    with pytest.raises(BadInput, match=message):
        rows_of(labels, tree)
