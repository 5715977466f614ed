"""The gate's verdicts, their evidence, and how often it errs."""

import dataclasses
import json

import numpy as np
import pytest

from alservice.campaigns.policies import GatePolicy
from alservice.documents import document_of, record_of
from alservice.errors import BadConfig, BadInput
from alservice.learning.gate import decide
from alservice.registry.records import GateDecision
from alservice.science.evaluation import TOLERANCES, Assessment
from alservice.science.tree import load_tree

TREE = load_tree("gz2")
N_QUESTIONS, N_ANSWERS = TREE.n_questions, TREE.n_answers
POLICY = GatePolicy(margin_nats_per_vote=0.004, repeats=400)


def make(rng, n_galaxies=400, *, nll_shift=0.0, rmse=0.1, coverage=0.0, votes=None):
    """Return an assessment of a model whose NLL per vote, RMSE and coverage error are about as asked.

    The galaxies' difficulty is fixed, the model's own scatter about it comes from `rng`.
    """
    difficulty = np.random.default_rng(99).gamma(4, 0.5, (n_galaxies, N_QUESTIONS))
    votes = np.full((n_galaxies, N_QUESTIONS), 20) if votes is None else votes
    asked = votes > 0
    own = rng.normal(0, 0.3, (n_galaxies, N_QUESTIONS))
    actual = rng.random((n_galaxies, N_ANSWERS, len(TOLERANCES))) < 0.5
    judged = votes >= 10
    per_answer = judged[:, TREE.question_of_answer]
    return Assessment(
        tree=TREE,
        galaxy_ids=tuple(f"g{i}" for i in range(n_galaxies)),
        nll=np.where(asked, difficulty + own + nll_shift * votes, 0),
        votes=votes,
        judged=judged,
        squared_error=np.where(per_answer, rmse**2 * rng.gamma(1, 1, (n_galaxies, N_ANSWERS)), 0),
        crps_votes=np.zeros((n_galaxies, N_ANSWERS)),
        expected=np.where(per_answer[..., None], 0.5 * (1 + coverage), 0.0) * np.ones(len(TOLERANCES)),
        actual=(actual & per_answer[..., None]).astype(float),
        below=np.zeros((n_galaxies, N_ANSWERS)),
        at=np.zeros((n_galaxies, N_ANSWERS)),
        tolerances=TOLERANCES,
    )


def pair(seed=0, **changes):
    """Return a champion and a candidate that differs from it by `changes`."""
    rng = np.random.default_rng(seed)
    return {"champion": make(rng), "candidate": make(rng, **changes)}


def run(policy=POLICY, seed=0, **changes):
    """Return the decision about a candidate that differs by `changes`."""
    return decide(policy, **pair(seed, **changes), rng=np.random.default_rng(seed))


def check(decision, name):
    """Return the check of this name."""
    return next(check for check in decision.checks if check.name == name)


def test_the_first_model_is_promoted_by_name():
    """Without a champion there is nothing to compare with, and the decision says so."""
    decision = decide(POLICY, champion=None, candidate=make(np.random.default_rng(0), 3), rng=np.random.default_rng(0))
    assert decision.verdict == "promote"
    assert [c.name for c in decision.checks] == ["first-model"]
    assert (decision.n_galaxies, decision.n_votes) == (3, 3 * N_QUESTIONS * 20)


def test_a_better_model_is_promoted_with_its_evidence():
    """The figure, its interval and its margin are recorded, and every question's guard rails."""
    decision = run(nll_shift=-0.02)
    assert decision.verdict == "promote"
    figure = check(decision, "nll-per-vote")
    assert figure.low < figure.value < figure.high < figure.margin == POLICY.margin_nats_per_vote
    assert figure.value == pytest.approx(-0.02, abs=0.002)
    names = {c.name for c in decision.checks}
    assert {f"{kind} {q.name}" for kind in ("rmse", "coverage") for q in TREE.questions} <= names
    assert all(c.passed for c in decision.checks)


def test_a_model_worse_beyond_doubt_is_rejected():
    """The whole interval lies above the margin."""
    decision = run(nll_shift=0.02)
    assert decision.verdict == "reject"
    assert not check(decision, "nll-per-vote").passed
    assert check(decision, "nll-per-vote").low > POLICY.margin_nats_per_vote


def test_a_difference_the_galaxies_cannot_tell_is_held():
    """An interval that straddles the margin leaves the decision to a person."""
    decision = run(nll_shift=POLICY.margin_nats_per_vote)
    figure = check(decision, "nll-per-vote")
    assert decision.verdict == "hold"
    assert figure.low < POLICY.margin_nats_per_vote < figure.high


def test_too_few_galaxies_are_held_whatever_the_figure():
    """Below the minimum nothing is compared; galaxies without votes do not count."""
    rng = np.random.default_rng(0)
    votes = np.full((400, N_QUESTIONS), 20)
    votes[99:] = 0
    champion, candidate = make(rng, votes=votes), make(rng, votes=votes, nll_shift=-1)
    decision = decide(POLICY, champion=champion, candidate=candidate, rng=rng)
    assert decision.verdict == "hold"
    assert [(c.name, c.value, c.margin, c.passed) for c in decision.checks] == [("evaluation-galaxies", 99, 100, False)]


@pytest.mark.parametrize(
    ("changes", "kind"),
    [({"rmse": 0.16}, "rmse"), ({"coverage": 0.5}, "coverage"), ({"coverage": -0.5}, "coverage")],
)
def test_a_failed_guard_rail_rejects_a_model_with_a_better_likelihood(changes, kind):
    """Much larger errors of fractions, or over- or underconfidence, stop a candidate; the rail is named."""
    decision = run(nll_shift=-0.02, **changes)
    assert decision.verdict == "reject"
    assert check(decision, "nll-per-vote").passed
    failed = {c.name for c in decision.checks if not c.passed}
    assert failed == {f"{kind} {question.name}" for question in TREE.questions}


def test_better_calibration_is_no_increase():
    """A candidate whose coverage error falls from +50 % to 0 passes its rails."""
    rng = np.random.default_rng(0)
    decision = decide(POLICY, champion=make(rng, coverage=0.5), candidate=make(rng), rng=rng)
    assert decision.verdict == "promote"
    assert check(decision, "coverage bar").value < -0.3


def test_rails_without_evidence_are_skipped_and_say_so():
    """A question with few judged galaxies neither stops nor supports the candidate."""
    rng = np.random.default_rng(0)
    votes = np.full((400, N_QUESTIONS), 20)
    bar = TREE.index("bar")
    votes[50:, bar] = 0
    champion, candidate = make(rng, votes=votes), make(rng, votes=votes, nll_shift=-0.02)
    champion.actual[:, TREE.slices[0]] = 0
    decision = decide(POLICY, champion=champion, candidate=candidate, rng=rng)
    assert decision.verdict == "promote"
    for name in ("rmse bar", "coverage bar", "coverage smooth-or-featured"):
        assert check(decision, name).value is None
        assert check(decision, name).passed
        assert "Skipped" in check(decision, name).detail
    assert check(decision, "rmse smooth-or-featured").value is not None


def test_galaxies_without_votes_change_nothing_but_the_noise():
    """The value of every check is that of the galaxies with votes."""
    rng = np.random.default_rng(0)
    votes = np.full((400, N_QUESTIONS), 20)
    votes[200:] = 0
    champion, candidate = make(rng, votes=votes), make(rng, votes=votes)
    decision = decide(POLICY, champion=champion, candidate=candidate, rng=np.random.default_rng(1))
    figure = check(decision, "nll-per-vote")
    expected = (candidate.nll - champion.nll)[:200].sum() / votes.sum()
    assert figure.value == pytest.approx(expected)
    assert "200 galaxies" in figure.detail


@pytest.mark.parametrize("field", ["galaxy_ids", "votes", "judged", "tolerances"])
def test_models_must_be_assessed_on_the_same_galaxies_and_votes(field):
    """An unpaired comparison is refused."""
    models = pair()
    other = {
        "galaxy_ids": tuple(reversed(models["champion"].galaxy_ids)),
        "votes": models["champion"].votes + 1,
        "judged": ~models["champion"].judged,
        "tolerances": (0.02, 0.05, 0.1, 0.3),
    }[field]
    models["champion"] = dataclasses.replace(models["champion"], **{field: other})
    with pytest.raises(BadInput, match="same galaxies"):
        decide(POLICY, **models, rng=np.random.default_rng(0))


def test_the_same_generator_gives_the_same_decision():
    """All randomness is the argument, and a decision survives JSON."""
    first, second = run(nll_shift=0.001), run(nll_shift=0.001)
    assert first == second
    assert record_of(GateDecision, json.loads(json.dumps(document_of(first), allow_nan=False))) == first


def test_the_gate_errs_as_rarely_as_it_must():
    """At 1,500 galaxies an equal model is promoted in >= 90 % of runs, one worse by the margin in <= 5 %."""
    # Five standard errors of the simulated figure: 0.3 sqrt(2 x 11) / sqrt(1500) nats over 220 votes.
    policy = GatePolicy(margin_nats_per_vote=5 * 0.3 * np.sqrt(22 / 1500) / 220, repeats=200)
    promoted = {}
    for name, shift in (("better", -1.0), ("equal", 0.0), ("worse", 1.0)):
        verdicts = []
        for seed in range(100):
            rng = np.random.default_rng([seed, 7])
            champion = make(rng, 1500)
            candidate = make(rng, 1500, nll_shift=shift * policy.margin_nats_per_vote)
            verdicts.append(decide(policy, champion=champion, candidate=candidate, rng=rng).verdict)
        promoted[name] = verdicts.count("promote") / len(verdicts)
    assert promoted["better"] >= 0.95
    assert promoted["equal"] >= 0.90
    assert promoted["worse"] <= 0.05


@pytest.mark.parametrize(
    "changes",
    [
        {"margin_nats_per_vote": 0.0},
        {"max_rmse_increase": float("nan")},
        {"max_coverage_increase": -1.0},
        {"coverage_tolerance": 0.3},
        {"min_galaxies": 0},
        {"min_question_galaxies": 0},
        {"repeats": 10},
        {"confidence": 1.0},
    ],
)
def test_impossible_policies_are_refused(changes):
    """Margins must be positive, sizes at least 1, the interval an interval."""
    with pytest.raises(BadConfig, match=next(iter(changes))):
        GatePolicy(**changes)


def exact(shift, *, covered=40):
    """Return a decision about models whose every galaxy differs by `shift` nats per vote, with no scatter at all."""
    n_galaxies = 128
    votes = np.zeros((n_galaxies, N_QUESTIONS), dtype=np.int64)
    votes[:, 0] = 16
    plain = make(np.random.default_rng(0), n_galaxies, votes=votes)
    actual = np.zeros_like(plain.actual)
    actual[:covered, 0] = 1
    champion = dataclasses.replace(plain, nll=np.zeros_like(plain.nll), actual=actual)
    nll = np.zeros_like(plain.nll)
    nll[:, 0] = shift * 16
    policy = GatePolicy(margin_nats_per_vote=0.25, repeats=100)
    candidate = dataclasses.replace(champion, nll=nll)
    return decide(policy, champion=champion, candidate=candidate, rng=np.random.default_rng(0))


@pytest.mark.parametrize(("shift", "verdict"), [(0.2421875, "promote"), (0.25, "hold"), (0.2578125, "reject")])
def test_exactly_the_margin_is_neither_better_nor_worse(shift, verdict):
    """Both ends of an interval without width: below the margin promotes, above rejects, on it a person decides."""
    decision = exact(shift)
    figure = check(decision, "nll-per-vote")
    assert (figure.low, figure.value, figure.high) == (shift, shift, shift)
    assert decision.verdict == verdict
    assert figure.passed == (verdict == "promote")


def test_a_rail_at_its_margin_passes():
    """A rail fails only beyond its margin; equal models are on none."""
    decision = exact(0.0)
    rail = check(decision, f"rmse {TREE.questions[0].name}")
    assert (rail.low, rail.high, rail.passed) == (0, 0, True)


@pytest.mark.parametrize(("covered", "is_judged"), [(29, False), (30, True)])
def test_thirty_fractions_within_the_tolerance_are_enough(covered, is_judged):
    """From the thirtieth on, coverage is a rail."""
    rail = check(exact(0.0, covered=covered), f"coverage {TREE.questions[0].name}")
    assert (rail.value is not None) == is_judged
