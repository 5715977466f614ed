"""What a backfill learns and is judged by."""

import json

import numpy as np
import pytest

from alservice.backfill.plan import BackfillPlan, Round, eligible, expected_votes, policy_named, target_of
from alservice.errors import BadConfig, NotFound
from alservice.science.tree import load_tree
from tests.support.backfills import a_plan, a_round

TREE = load_tree("gz2")


def test_a_question_alone_is_a_tree_of_its_own() -> None:
    """Asked of everyone that is eligible, with its answers' columns in the whole tree."""
    bar = target_of(TREE, "bar")
    assert bar.tree.n_questions == 1
    assert [TREE.columns[column] for column in bar.columns] == list(bar.tree.columns)
    assert bar.tree.columns[bar.answer] == "bar_yes"
    assert bar.metric == "RMSE bar_yes"
    smooth = target_of(TREE, "smooth")
    assert smooth.metric == "RMSE smooth-or-featured_smooth"
    assert smooth.sought.startswith("smooth-or-featured_featured")


def test_all_questions_are_the_tree_itself() -> None:
    """Judged by the likelihood of all votes."""
    everything = target_of(TREE, "all")
    assert everything.tree is TREE
    assert everything.metric == "NLL per vote"
    assert everything.sought in TREE.columns


def test_an_unknown_question_or_policy_is_named() -> None:
    """With what there is."""
    with pytest.raises(NotFound, match="ring"):
        target_of(TREE, "ring")
    with pytest.raises(BadConfig, match="'bold' is none of bald"):
        policy_named("bold")
    assert policy_named("bald") == "bald"


def test_galaxies_with_too_few_votes_on_a_question_are_left_out() -> None:
    """As in the paper's Bar sample; on a whole tree one vote is enough."""
    bar = target_of(TREE, "bar")
    counts = np.array([[5, 4], [6, 4], [0, 0]])
    assert eligible(bar, counts, min_votes=10).tolist() == [False, True, False]
    everything = target_of(TREE, "all")
    whole = np.zeros((2, TREE.n_answers), dtype=np.int64)
    whole[0, 0] = 1
    assert eligible(everything, whole, min_votes=10).tolist() == [True, False]
    assert expected_votes(bar, counts) == pytest.approx(19 / 3)


@pytest.mark.parametrize("wrong", [{"initial": 0}, {"batch": 0}, {"rounds": -1}, {"draws": 1}, {"pool": 17}])
def test_a_plan_that_cannot_be_is_refused(wrong) -> None:
    """Also one that needs more galaxies than its pool has."""
    with pytest.raises(BadConfig):
        a_plan(**wrong)
    assert a_plan(pool=18).needed == 18
    assert isinstance(a_plan(), BackfillPlan)


def test_a_round_survives_json() -> None:
    """All but the terms, which are kept beside it."""
    done = a_round()
    back = Round.from_document(json.loads(json.dumps(done.document())), done.terms)
    assert back.document() == done.document()
    assert back.chosen == done.chosen
