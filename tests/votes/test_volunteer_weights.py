"""Weights by agreement: contrary volunteers count little, and without them nothing changes."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alservice.documents import document_of
from alservice.errors import BadVotes
from alservice.science.tree import load_tree
from alservice.science.votes import NOT_ASKED, conditional_fractions, walk
from alservice.votes.weights import (
    KAPPA_POWER,
    KAPPA_SCALE,
    Sitting,
    VoteList,
    sensitivity,
    volunteer_weights,
    vote_list,
)

TREE = load_tree("gz2")
RINGS = load_tree("gz-rings")
YES, NO = 0, 1


@cache
def crowd(n_contrary: int, *, galaxies: int = 120, volunteers: int = 60, per_galaxy: int = 25) -> VoteList:
    """Return votes on galaxies that are mostly clear and rarely artifacts; contrary volunteers choose the unlikely."""
    rng = np.random.default_rng(4)
    sittings = []
    for g in range(galaxies):
        probabilities = np.concatenate([rng.dirichlet(np.full(len(q.answers), 0.15)) for q in TREE.questions])
        probabilities[TREE.slices[0]] = [*rng.dirichlet([0.15, 0.15]) * 0.98, 0.02]
        against = probabilities.copy()
        for part in TREE.slices:
            against[part] = np.arange(part.stop - part.start) == probabilities[part].argmin()
        against[TREE.slices[0]] = [0, 0.1, 0.9]
        for v in rng.choice(volunteers, per_galaxy, replace=False).tolist():
            chosen = walk(TREE, against if v < n_contrary else probabilities, 1, rng)[0]
            answers = [TREE.slices[q].start + int(a) for q, a in enumerate(chosen) if a != NOT_ASKED]
            sittings.append(Sitting(galaxy_id=f"g{g:03}", voter=f"v{v:02}", answers=answers))
    return vote_list(sorted(sittings, key=lambda s: s.voter), TREE)


def test_contrary_volunteers_get_low_weights_and_others_keep_theirs():
    """Six of sixty who choose the least likely answers hardly count; settled in a few rounds."""
    votes = crowd(6)
    found = volunteer_weights(votes, TREE)
    assert found.settled
    assert found.rounds <= 8
    assert found.weights[:6].max() < 0.4
    assert found.weights[:6].mean() < 0.2
    assert found.weights[6:].min() > 0.9
    assert ((found.weights >= 0) & (found.weights <= 1)).all()


def test_weighted_tallies_are_nearer_to_the_honest_ones():
    """Taking weight from contrary volunteers brings back the fractions without them."""
    votes = crowd(6)
    weights = volunteer_weights(votes, TREE).weights
    honest = conditional_fractions(TREE, votes.counts(TREE, (np.arange(60) >= 6).astype(float)))
    raw, weighted = (conditional_fractions(TREE, votes.counts(TREE, w)) for w in (None, weights))
    first = TREE.slices[0]
    assert np.abs(weighted - honest)[:, first].mean() < 0.25 * np.abs(raw - honest)[:, first].mean()


def test_without_contrary_volunteers_raw_and_weighted_agree():
    """Everyone counts in full or nearly so, and no fraction of the first question moves by a hundredth."""
    votes = crowd(0)
    found = volunteer_weights(votes, TREE)
    assert found.weights.min() > 0.9
    raw, weighted = (conditional_fractions(TREE, votes.counts(TREE, w)) for w in (None, found.weights))
    np.testing.assert_allclose(weighted[:, TREE.slices[0]], raw[:, TREE.slices[0]], atol=0.01)
    report = sensitivity(TREE, votes, found)
    assert (report.changed, report.histogram[-1]) == (0, 60)


def test_the_published_formula_by_hand():
    """Three say yes, one says no: kappa is .75 and .25, the weights 1 and (.25 / .6) ** 8.5, in the first round."""
    votes = vote_list([Sitting(galaxy_id="g", voter=str(v), answers=[NO if v == 3 else YES]) for v in range(4)], RINGS)
    found = volunteer_weights(votes, RINGS, max_rounds=1)
    np.testing.assert_allclose(found.consistency, [0.75, 0.75, 0.75, 0.25])
    np.testing.assert_allclose(found.weights, [1, 1, 1, (0.25 / KAPPA_SCALE) ** KAPPA_POWER])
    assert not found.settled


def test_a_question_with_more_answers_forgives_more():
    """With K answers and nobody agreeing kappa tends to (K - 2) / K: .667 for the six numbers of arms."""
    arms = TREE.column("spiral-arm-count_1")
    sittings = [Sitting(galaxy_id="g", voter=str(v), answers=[arms + (v == 9)]) for v in range(10)]
    found = volunteer_weights(vote_list(sittings, TREE), TREE, max_rounds=1)
    assert found.consistency[9] == pytest.approx((2 * 0.1 + 4) / 6)
    assert found.weights[9] == 1


def test_sensitivity_counts_what_changed():
    """Two contrary volunteers decide one galaxy until their weight is gone; a galaxy alone stays as it is."""
    sittings = [Sitting(galaxy_id=f"g{g}", voter=f"v{v}", answers=[YES]) for g in range(30) for v in range(9)]
    sittings += [Sitting(galaxy_id=f"g{g}", voter=f"x{v}", answers=[NO]) for g in range(30) for v in range(2)]
    sittings += [Sitting(galaxy_id="z", voter=voter, answers=[NO]) for voter in ("x0", "x1")]
    sittings += [Sitting(galaxy_id="z", voter="v0", answers=[YES])]
    votes = vote_list(sittings, RINGS)
    report = sensitivity(RINGS, votes, volunteer_weights(votes, RINGS))
    (question,) = report.questions
    assert (report.changed, question.changed, question.galaxies) == (1, 1, 31)
    assert question.largest_shift == pytest.approx(2 / 3, abs=0.01)
    assert (report.histogram[0], report.histogram[-1]) == (2, 9)
    assert "1 galaxies have another most frequent answer" in report.text()
    assert document_of(report)["questions"][0]["changed"] == 1


def test_no_votes_at_all():
    """An empty campaign has no weights and no changes."""
    votes = vote_list([], TREE)
    found = volunteer_weights(votes, TREE)
    assert (found.settled, sensitivity(TREE, votes, found).changed) == (True, 0)


def test_a_vote_for_no_answer_is_refused():
    """A column beyond the tree belongs to another tree."""
    with pytest.raises(BadVotes, match="column 37"):
        vote_list([Sitting(galaxy_id="g", voter="v", answers=[37])], TREE)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 1)), max_size=30))
def test_any_votes_give_weights_within_bounds(cells: list[tuple[int, int, int]]):
    """Weights are finite and in [0, 1], sums of weights at most the votes, in whatever order votes come."""
    sittings = [Sitting(galaxy_id=f"g{g}", voter=f"v{v}", answers=[a]) for g, v, a in cells]
    votes = vote_list(sittings, RINGS)
    found = volunteer_weights(votes, RINGS)
    assert np.isfinite(found.weights).all()
    assert ((found.weights >= 0) & (found.weights <= 1)).all()
    weighted = votes.counts(RINGS, found.weights)
    assert (weighted <= votes.counts(RINGS) + 1e-9).all()
    backwards = vote_list(sittings[::-1], RINGS)
    again = backwards.counts(RINGS, volunteer_weights(backwards, RINGS).weights)
    np.testing.assert_allclose(again, weighted, atol=0.01)
