"""Stopping rules at their thresholds, and what may never end asking by accident."""

import dataclasses
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from alservice.errors import BadConfig, BadInput, BadVotes, NotFound
from alservice.science.fusion import fraction_moments, majority_probability, next_vote_information
from alservice.science.pmf import digamma
from alservice.science.posterior import Mixture, update
from alservice.science.stopping import (
    RuleName,
    StoppingPolicy,
    StopReason,
    decisions_without_posterior,
    stop_decisions,
)
from alservice.science.tree import load_tree

TREE = load_tree("gz2")
ROOT, BAR, EDGE = (TREE.slices[TREE.index(name)] for name in ("smooth-or-featured", "bar", "disk-edge-on"))
FEATURED = TREE.column("smooth-or-featured_featured-or-disk")
LABEL = StoppingPolicy(rule="label", min_votes=3, max_votes=40)


def walks(*, smooth=0, featured=0, barred=0, plain=0):
    """Return (1, A) votes: smooth galaxies, and disks seen face-on that are asked for a bar."""
    counts = np.zeros((1, TREE.n_answers), dtype=np.int64)
    counts[0, TREE.column("smooth-or-featured_smooth")] = smooth
    counts[0, FEATURED] = featured
    counts[0, EDGE.start + 1] = barred + plain
    counts[0, BAR] = barred, plain
    return counts


def fused(counts, alpha=None):
    """Return the posterior of flat draws, or others, and votes."""
    return update(TREE, np.ones((1, 2, TREE.n_answers)) if alpha is None else alpha, counts)


def decide(policy, counts, **rest):
    """Return the decision about one galaxy."""
    return stop_decisions(TREE, policy, fused(counts), counts, seed=1, **rest)[0]


def test_a_label_is_known_when_its_majority_is_certain():
    """Nine smooth of nine ends asking, with the certainty as evidence; five against four goes on."""
    roots = dataclasses.replace(LABEL, questions=("smooth-or-featured",))
    sure, unsure = decide(roots, walks(smooth=9)), decide(roots, walks(smooth=5, featured=4))
    assert (sure.stop, sure.reason, sure.votes, sure.question) == (True, StopReason.KNOWN, 9, "smooth-or-featured")
    expected = majority_probability(TREE, fused(walks(smooth=9)), seed=1)[0, ROOT].max()
    assert sure.figure == expected >= 0.95 == sure.target
    assert (unsure.stop, unsure.reason) == (False, StopReason.NOT_YET_KNOWN)
    assert "asking ends after 9 votes: known (label of smooth-or-featured" in sure.text()
    assert "asking goes on after 9 votes: not yet known" in unsure.text()


def test_the_least_certain_question_decides():
    """A certain disk with a doubtful bar goes on, by the bar's figure, unless the bar weighs nothing."""
    counts = walks(featured=20, barred=10, plain=9)
    policy = dataclasses.replace(LABEL, questions=("smooth-or-featured", "disk-edge-on", "bar"))
    decision = decide(policy, counts)
    assert (decision.stop, decision.question) == (False, "bar")
    bar = special.betaincc(11, 10, 0.5)
    assert decision.figure == pytest.approx(bar)
    weights = np.ones(TREE.n_questions)
    weights[TREE.index("bar")] = 0
    assert decide(policy, counts, weights=weights).stop
    weights[TREE.index("bar")] = 0.3
    assert not decide(policy, counts, weights=weights).stop
    assert decide(dataclasses.replace(policy, min_weight=0.3), counts, weights=weights).stop


def test_questions_that_few_are_asked_do_not_count():
    """Of a smooth galaxy nobody needs to know the bar; with a lower share it counts."""
    counts = walks(smooth=30, featured=1)
    policy = dataclasses.replace(LABEL, questions=("smooth-or-featured", "bar"))
    assert decide(policy, counts).question == "smooth-or-featured"
    assert decide(policy, counts).stop
    all_asked = decide(dataclasses.replace(policy, min_asked=0.0), counts)
    assert (all_asked.stop, all_asked.question) == (False, "bar")


def test_precision_is_the_largest_standard_deviation():
    """It ends at the target and goes on above it."""
    counts = walks(smooth=20, featured=5)
    sd = fraction_moments(TREE, fused(counts)).sd[0, ROOT].max()
    policy = StoppingPolicy(rule="precision", target_sd=sd, questions=("smooth-or-featured",))
    decision = decide(policy, counts)
    assert (decision.stop, decision.figure, decision.question) == (True, sd, "smooth-or-featured")
    assert not decide(dataclasses.replace(policy, target_sd=0.999 * sd), counts).stop


def test_value_is_what_one_more_vote_tells():
    """It ends where the next vote is expected to tell less than the threshold, whichever question it is on."""
    counts = walks(smooth=20, featured=5)
    nats = next_vote_information(TREE, fused(counts))[0].sum()
    policy = StoppingPolicy(rule="value", min_information=nats * 1.001, min_asked=0.0)
    decision = decide(policy, counts)
    assert (decision.stop, decision.question) == (True, None)
    assert decision.figure == pytest.approx(nats)
    assert not decide(dataclasses.replace(policy, min_information=nats * 0.999), counts).stop
    root = next_vote_information(TREE, fused(counts))[0, 0]
    weights = 3 * np.eye(TREE.n_questions)[0]
    assert decide(policy, counts, weights=weights).figure == pytest.approx(3 * root)
    often = dataclasses.replace(policy, min_asked=0.9)
    assert root < decide(often, counts).figure < nats


def test_the_next_vote_tells_the_entropy_less_the_noise():
    """One question: entropy of the mean fractions less the mean entropy of drawn fractions; deeper ones by askers."""
    rng = np.random.default_rng(2)
    mixture = Mixture(np.array([[0.3, 0.7]]), np.exp(rng.normal(0, 1, (1, 2, TREE.n_answers))))
    component = rng.choice(2, size=400_000, p=[0.3, 0.7])
    gamma = rng.standard_gamma(mixture.concentrations[0, component][:, ROOT])
    drawn = gamma / gamma.sum(axis=1, keepdims=True)
    expected = special.entr(drawn.mean(axis=0)).sum() - special.entr(drawn).sum(axis=1).mean()
    assert next_vote_information(TREE, mixture)[0, 0] == pytest.approx(expected, abs=2e-3)
    alpha = np.full((1, 1, TREE.n_answers), 1e-9)
    alpha[..., ROOT] = [3e8, 1e8, 1e-9]
    alpha[..., EDGE] = 2, 3
    edge = TREE.index("disk-edge-on")
    one = special.entr([0.4, 0.6]).sum() - (special.digamma(6) - 0.4 * special.digamma(3) - 0.6 * special.digamma(4))
    found = next_vote_information(TREE, Mixture(np.ones((1, 1)), alpha))
    assert found[0, edge] == pytest.approx(one / 4, rel=1e-6)


def test_votes_exhaust_what_the_next_can_tell():
    """Each further hundred votes leave less, to a half over their number for two answers."""
    alpha = np.ones((1, 2, TREE.n_answers))
    edge = TREE.index("disk-edge-on")
    left = []
    for n in (0, 10, 100, 1000):
        counts = np.zeros((1, TREE.n_answers), dtype=np.int64)
        counts[0, FEATURED] = 2 * n
        counts[0, EDGE] = n, n
        left.append(next_vote_information(TREE, update(TREE, alpha, counts))[0, edge])
    assert left == sorted(left, reverse=True)
    assert left[-1] == pytest.approx(1 / (2 * 2000), rel=0.01)


def test_digamma_is_scipys():
    """From 1e-8 to 1e8."""
    x = np.exp(np.linspace(-18, 18, 500))
    np.testing.assert_allclose(digamma(x), special.digamma(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("votes", "reason", "stop"),
    [
        (4, StopReason.TOO_FEW_VOTES, False),
        (5, StopReason.KNOWN, True),
        (40, StopReason.KNOWN, True),
        (50, StopReason.KNOWN, True),
    ],
)
def test_too_few_votes_are_never_enough(votes, reason, stop):
    """Below `min_votes` asking goes on, however sure; votes beyond the most are counted."""
    policy = dataclasses.replace(LABEL, questions=("smooth-or-featured",), min_votes=5, confidence=0.6)
    decision = decide(policy, walks(smooth=votes))
    assert (decision.reason, decision.stop, decision.votes) == (reason, stop, votes)


def test_the_full_number_ends_asking_without_knowing():
    """An even galaxy stops at `max_votes` and says that its label is not known."""
    policy = dataclasses.replace(LABEL, questions=("smooth-or-featured",), max_votes=20)
    open_, full = decide(policy, walks(smooth=10, featured=9)), decide(policy, walks(smooth=10, featured=10))
    assert (open_.stop, open_.reason) == (False, StopReason.NOT_YET_KNOWN)
    assert (full.stop, full.reason) == (True, StopReason.ALL_VOTES)
    assert full.figure < 0.95


def test_without_a_question_that_counts_nothing_is_known():
    """No rule is met by looking at nothing: the full number is asked."""
    for rule in ("label", "precision", "value", "gain"):
        policy = StoppingPolicy(rule=rule, max_votes=30)
        decision = decide(policy, walks(smooth=25), weights=np.zeros(TREE.n_questions))
        assert (decision.stop, decision.figure, decision.question) == (False, None, None)
        assert "no figure" in decision.text()
        assert decide(policy, walks(smooth=30), weights=np.zeros(TREE.n_questions)).reason == StopReason.ALL_VOTES


def test_a_galaxy_without_a_posterior_gets_the_full_number():
    """It goes on to the last vote, and says that no model knows it."""
    counts = np.concatenate([walks(smooth=39), walks(smooth=40)])
    first, second = decisions_without_posterior(TREE, LABEL, counts)
    assert (first.stop, first.reason, first.votes, first.figure) == (False, StopReason.NO_POSTERIOR, 39, None)
    assert (second.stop, second.reason) == (True, StopReason.ALL_VOTES)


def test_a_decision_does_not_depend_on_the_galaxies_beside_it():
    """Three galaxies at once and alone."""
    counts = np.concatenate([walks(smooth=9), walks(smooth=5, featured=4), walks(featured=12, barred=11, plain=1)])
    alpha = np.exp(np.random.default_rng(0).normal(size=(3, 4, TREE.n_answers)))
    together = stop_decisions(TREE, LABEL, update(TREE, alpha, counts), counts, seed=1)
    for row in range(3):
        own = slice(row, row + 1)
        alone = stop_decisions(TREE, LABEL, update(TREE, alpha[own], counts[own]), counts[own], seed=1)
        assert alone == together[own]


RULES = get_args(RuleName)


@settings(max_examples=30, deadline=None)
@given(smooth=st.integers(0, 45), featured=st.integers(0, 45), rule=st.sampled_from(RULES))
def test_asking_ends_only_between_the_fewest_and_the_most_votes(smooth, featured, rule):
    """Never below the minimum, always at the maximum, and in between exactly when the figure meets its target."""
    policy = StoppingPolicy(
        rule=rule, target_sd=0.08, min_votes=6, max_votes=40, questions=("smooth-or-featured",), confidence=0.9
    )
    decision = decide(policy, walks(smooth=smooth, featured=featured))
    met = decision.figure >= 0.9 if rule == "label" else decision.figure <= policy.target
    assert decision.votes == smooth + featured
    assert decision.stop == (decision.votes >= 6 and (met or decision.votes >= 40))


def test_gain_is_worth_asking_where_votes_can_turn_a_label_round():
    """The more evenly votes are split the more a further one gains; agreement ends asking."""
    policy = StoppingPolicy(rule="gain", max_votes=40, questions=("smooth-or-featured",))
    split = [decide(policy, walks(smooth=9 - featured, featured=featured)) for featured in range(5)]
    figures = [decision.figure for decision in split]
    assert figures == sorted(figures)
    assert (split[0].stop, split[0].reason, split[0].question, split[0].target) == (
        True,
        StopReason.KNOWN,
        None,
        0.0005,
    )
    assert not split[4].stop


def test_gain_counts_questions_by_weight_and_looks_as_far_as_votes_are_left():
    """Two questions gain more than one, weight multiplies, and with one vote left nothing that needs three is gained."""
    counts = walks(featured=6, barred=4, plain=2)
    both = StoppingPolicy(rule="gain", min_gain=1e-6, questions=("smooth-or-featured", "bar"))
    one = dataclasses.replace(both, questions=("bar",))
    first, second = decide(both, counts), decide(one, counts)
    assert first.figure > second.figure > 0
    assert decide(one, counts, weights=np.full(TREE.n_questions, 2.0)).figure == pytest.approx(2 * second.figure)
    assert decide(dataclasses.replace(one, max_votes=7), counts).figure < second.figure
    assert decide(dataclasses.replace(one, max_votes=6), counts).figure == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"confidence": 0.5}, "confidence"),
        ({"confidence": 1.0}, "confidence"),
        ({"confidence": float("nan")}, "confidence"),
        ({"min_votes": 41}, "min_votes <= max_votes"),
        ({"min_votes": -1}, "min_votes <= max_votes"),
        ({"min_votes": 0, "max_votes": 0}, "min_votes <= max_votes"),
        ({"target_sd": 0.0}, "positive"),
        ({"min_information": float("inf")}, "positive"),
        ({"min_gain": 0.0}, "positive"),
        ({"min_asked": 1.1}, "share"),
        ({"min_weight": -0.1}, "weight"),
    ],
)
def test_impossible_policies_are_refused(change, message):
    """Thresholds that every galaxy or none would meet raise when the policy is made."""
    with pytest.raises(BadConfig, match=message):
        dataclasses.replace(LABEL, **change)


def test_impossible_evidence_is_refused():
    """A question that the tree lacks, counts that no walk gives or of other galaxies, and negative weights."""
    counts = walks(smooth=9)
    with pytest.raises(NotFound, match="'lens'"):
        decide(dataclasses.replace(LABEL, questions=("lens",)), counts)
    with pytest.raises(NotFound, match="'lens'"):
        decisions_without_posterior(TREE, dataclasses.replace(LABEL, questions=("lens",)), counts)
    wrong = counts.copy()
    wrong[0, BAR] = 5
    for decide_on in (
        lambda votes: stop_decisions(TREE, LABEL, fused(counts), votes, seed=1),
        lambda votes: decisions_without_posterior(TREE, LABEL, votes),
    ):
        with pytest.raises(BadVotes, match="'bar'"):
            decide_on(wrong)
    with pytest.raises(BadVotes, match="votes must be numbers"):
        stop_decisions(TREE, LABEL, fused(counts), np.repeat(counts, 2, axis=0), seed=1)
    with pytest.raises(BadInput, match="weights"):
        decide(LABEL, counts, weights=-np.ones(TREE.n_questions))
