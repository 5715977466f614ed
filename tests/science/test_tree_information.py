"""The tree-aware score against its definition."""

import numpy as np
import pytest

from alservice.errors import BadInput, BadVotes, NumericalFault
from alservice.science.information import (
    dirichlet_multinomial_mutual_information,
    expected_question_information,
    score_note,
    tree_information,
)
from alservice.science.posterior import answer_probabilities
from alservice.science.tree import load_tree

TREE = load_tree("gz2")
ONES = np.ones(TREE.n_questions)


def concentrations(n_galaxies, n_draws=8, seed=0):
    """Return float32 (N, T, A) concentrations that differ between draws."""
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=(n_galaxies, 1, TREE.n_answers))
    draws = np.exp(1 + centre + 0.7 * rng.normal(size=(n_galaxies, n_draws, TREE.n_answers)))
    return draws.astype(np.float32)


def test_a_score_may_exceed_what_its_draws_can_hold_and_the_note_says_so():
    """Kind: figures named for what they are not. Two draws that disagree on all questions score more than ln 2."""
    draws = np.full((1, 2, TREE.n_answers), 0.05, dtype=np.float32)
    for draw in range(2):
        for answers in TREE.slices:
            draws[0, draw, answers.start + draw] = 200
    (score,) = tree_information(TREE, draws, 40.0, ONES)
    assert score > 1.5 * np.log(2)
    assert "ln 2 = 0.69 nats" in score_note(2)
    assert "ln 30 = 3.40 nats" in score_note(30)


def test_questions_are_scored_at_their_expected_votes():
    """I_q lies on the line between the whole numbers of votes around N P(asked), question by question."""
    draws = concentrations(6)
    information = expected_question_information(TREE, draws, 12.0)
    asked = TREE.asked_probability(answer_probabilities(TREE, draws)).mean(axis=1, dtype=np.float64)
    for question, answers in enumerate(TREE.slices):
        for galaxy in range(len(draws)):
            n = 12 * asked[galaxy, question]
            alpha = draws[galaxy : galaxy + 1, :, answers]
            below, above = (
                dirichlet_multinomial_mutual_information(alpha, int(k), max_states=256, samples=64)[0]
                for k in (np.floor(n), np.floor(n) + 1)
            )
            expected = below + (n - np.floor(n)) * (above - below)
            assert information[galaxy, question] == pytest.approx(expected, abs=1e-6)


def test_a_question_that_is_hardly_asked_counts_once_for_its_rarity():
    """Below one expected vote the information is N P(asked) I(1): not multiplied by P(asked) again."""
    draws = concentrations(1)
    bar = TREE.index("bar")
    draws[..., TREE.column("smooth-or-featured_smooth")] = 1e4
    asked = TREE.asked_probability(answer_probabilities(TREE, draws)).mean(axis=1)[0, bar]
    assert 40 * asked < 1
    one_vote = dirichlet_multinomial_mutual_information(draws[..., TREE.slices[bar]], 1)[0]
    assert expected_question_information(TREE, draws, 40)[0, bar] == pytest.approx(40 * asked * one_vote, rel=1e-5)


def test_weights_sum_questions_by_their_science_value():
    """The score is the weighted sum, so one question's weight alone gives that question."""
    draws = concentrations(5)
    information = expected_question_information(TREE, draws, 20)
    np.testing.assert_allclose(tree_information(TREE, draws, 20, ONES), information.sum(axis=1))
    np.testing.assert_allclose(tree_information(TREE, draws, 20, np.eye(len(ONES))[3]), information[:, 3])


def test_scores_do_not_depend_on_the_shard():
    """A galaxy scores the same alone as among others with more votes."""
    draws = concentrations(40)
    votes = np.linspace(0, 40, 40)
    whole = tree_information(TREE, draws, votes, ONES)
    alone = [tree_information(TREE, draws[i : i + 1], votes[i], ONES)[0] for i in range(40)]
    np.testing.assert_allclose(whole, alone, atol=1e-9)
    assert whole[0] == 0
    assert (whole[1:] > 0).all()


def test_draws_that_agree_teach_nothing():
    """Without spread between draws no question is worth asking, whatever its noise."""
    draws = np.repeat(concentrations(3, n_draws=1), 8, axis=1)
    assert (tree_information(TREE, draws, 40, ONES) < 1e-9).all()


def test_simulated_questions_are_unbiased():
    """Over seeds, a question of six answers averages to its enumeration."""
    arms = TREE.index("spiral-arm-count")
    draws = concentrations(4)
    for parent in ("smooth-or-featured_featured-or-disk", "disk-edge-on_no", "has-spiral-arms_yes"):
        draws[..., TREE.column(parent)] = 1e5
    runs = np.array([expected_question_information(TREE, draws, 8, seed=s)[:, arms] for s in range(30)])
    exact = dirichlet_multinomial_mutual_information(draws[..., TREE.slices[arms]], 8, max_states=5000)
    standard_error = runs.std(axis=0, ddof=1) / np.sqrt(len(runs))
    assert (np.abs(runs.mean(axis=0) - exact) < 4.5 * standard_error + 2e-3).all()


@pytest.mark.parametrize("weights", [ONES[:-1], -ONES, ONES * np.nan])
def test_impossible_weights_are_refused(weights):
    """Weights must be one per question, finite and not negative."""
    with pytest.raises(BadInput, match="weights"):
        tree_information(TREE, concentrations(2), 40, weights)


@pytest.mark.parametrize("votes", [-1.0, np.nan, np.array([1.0]), np.array([1.0, np.inf])])
def test_impossible_votes_are_refused(votes):
    """Expected votes must be one number or one per galaxy, finite and not negative."""
    with pytest.raises(BadVotes):
        tree_information(TREE, concentrations(2), votes, ONES)


def test_impossible_concentrations_name_their_row():
    """A concentration that is not finite and positive raises; so does another tree's width."""
    draws = concentrations(3)
    with pytest.raises(BadInput, match="37 answers"):
        tree_information(TREE, draws[..., :-1], 40, ONES)
    draws[1, 0, 0] = np.nan
    with pytest.raises(NumericalFault, match="row 1"):
        tree_information(TREE, draws, 40, ONES)
