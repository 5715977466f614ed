"""Likelihood, coverage and metrics against their definitions, and under votes that follow the model."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import gammaln, logsumexp

from alservice.documents import BadDocument
from alservice.errors import BadInput, BadVotes, NotFound, NumericalFault
from alservice.science.bootstrap import Figure, bootstrap_sums, percentile_estimate
from alservice.science.evaluation import Evaluation, assess, coverage_error, evaluate, mixture_nll, summarise
from alservice.science.posterior import Posterior, answer_probabilities
from alservice.science.tree import load_tree

TREE = load_tree("gz2")
DATA = Path(__file__).parents[1] / "data"
TOLERANCES = (0.02, 0.05, 0.10, 0.20)


def make_concentrations(n_galaxies, n_draws=6, seed=0, precision=20.0):
    """Return float32 (N, T, A) concentrations around means that differ between draws a little."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(size=(n_galaxies, 1, TREE.n_answers)) + 0.2 * rng.normal(
        size=(n_galaxies, n_draws, TREE.n_answers)
    )
    return (precision * answer_probabilities(TREE, np.exp(logit))).astype(np.float32)


def make_posterior(concentrations):
    """Return the posterior of these concentrations."""
    n_galaxies = len(concentrations)
    return Posterior(
        galaxy_ids=tuple(f"g{i}" for i in range(n_galaxies)),
        concentrations=concentrations,
        embeddings=np.zeros((n_galaxies, 0), dtype=np.float16),
        tree_hash=TREE.hash,
        model="m",
    )


def walk(concentrations, volunteers, seed=1, draw=None):
    """Return (N, A) votes: each question's fractions from one draw per galaxy, asked as the tree asks."""
    rng = np.random.default_rng(seed)
    n_galaxies, n_draws, _ = concentrations.shape
    counts = np.zeros((n_galaxies, TREE.n_answers), dtype=np.int64)
    for galaxy in range(n_galaxies):
        for question, answers in enumerate(TREE.slices):
            alpha = concentrations[galaxy, rng.integers(n_draws) if draw is None else draw, answers]
            parents = list(TREE.parents_of[question])
            asked = counts[galaxy, parents].sum() if parents else volunteers
            counts[galaxy, answers] = rng.multinomial(asked, rng.dirichlet(alpha.astype(float)))
    return counts


def coverage_reference(posterior, votes, tolerance):
    """Return eq. 13 by the sums of eq. 11 and 12, vote by vote."""
    expected = actual = 0.0
    for draws, (k, n) in zip(posterior, votes, strict=True):
        k_hat = n * np.mean(draws)
        for j in range(n + 1):
            if k_hat - n * tolerance < j < k_hat + n * tolerance:
                expected += stats.binom.pmf(j, n, draws).mean()
                actual += k == j
    return (expected - actual) / actual


def test_nll_equals_scipy():
    """Each question's likelihood is the mean over draws of scipy's Dirichlet-multinomial."""
    concentrations = make_concentrations(5)
    counts = walk(concentrations, 30)
    nll = mixture_nll(TREE, concentrations, counts)
    for galaxy in range(5):
        for question, answers in enumerate(TREE.slices):
            k = counts[galaxy, answers]
            per_draw = [
                stats.dirichlet_multinomial.logpmf(k, a, k.sum())
                for a in concentrations[galaxy, :, answers].astype(float)
            ]
            assert nll[galaxy, question] == pytest.approx(math.log(len(per_draw)) - logsumexp(per_draw), abs=1e-9)


def test_nll_is_zero_where_nothing_was_asked():
    """No votes carry no likelihood, exactly."""
    concentrations = make_concentrations(3)
    assert (mixture_nll(TREE, concentrations, np.zeros((3, TREE.n_answers))) == 0).all()


def test_nll_of_fractional_votes_is_the_gamma_function_formula():
    """Votes need not be whole: factorials become Gamma functions."""
    concentrations = make_concentrations(1, n_draws=1)
    counts = np.zeros((1, TREE.n_answers))
    counts[0, :3] = k = np.array([10.5, 3.25, 0.0])
    a = concentrations[0, 0, :3].astype(float)
    log_p = gammaln(k.sum() + 1) - gammaln(k + 1).sum() + gammaln(a.sum()) - gammaln(a.sum() + k.sum())
    log_p += (gammaln(a + k) - gammaln(a)).sum()
    assert mixture_nll(TREE, concentrations, counts)[0, 0] == pytest.approx(-log_p, abs=1e-10)


def test_nll_is_finite_at_extremes():
    """Concentrations from 1e-30 to 1e30 and 1000 unanimous votes stay finite, and the confident model is right."""
    counts = np.zeros((2, TREE.n_answers), dtype=np.int64)
    counts[:, 0] = 1000
    concentrations = np.full((2, 2, TREE.n_answers), 1e-30, dtype=np.float32)
    concentrations[0, :, 0] = 1e30
    concentrations[1, :, 1] = 1e30
    right, wrong = mixture_nll(TREE, concentrations, counts)[:, 0]
    assert right == pytest.approx(0, abs=1e-9)
    assert 1e4 < wrong < np.inf


@given(seed=st.integers(0, 1000))
def test_nll_does_not_depend_on_the_order_of_draws_or_galaxies(seed):
    """Draws and galaxies are exchangeable."""
    rng = np.random.default_rng(seed)
    concentrations = make_concentrations(4, seed=seed)
    counts = walk(concentrations, 9, seed=seed)
    nll = mixture_nll(TREE, concentrations, counts)
    np.testing.assert_allclose(mixture_nll(TREE, rng.permutation(concentrations, axis=1), counts), nll, atol=1e-10)
    order = rng.permutation(4)
    np.testing.assert_allclose(mixture_nll(TREE, concentrations[order], counts[order]), nll[order], atol=1e-12)


@pytest.mark.parametrize("value", [-1, np.nan, np.inf])
def test_impossible_votes_name_their_row(value):
    """Votes that are negative or not finite raise with the row."""
    counts = np.ones((3, TREE.n_answers))
    counts[2, 4] = value
    with pytest.raises(BadVotes, match="row 2"):
        mixture_nll(TREE, make_concentrations(3), counts)
    with pytest.raises(BadVotes, match="do not fit"):
        mixture_nll(TREE, make_concentrations(3), np.ones((2, TREE.n_answers)))


def test_coverage_error_equals_the_papers_sums():
    """Eq. 11-13 summed vote by vote give the same number, with unequal N and none asked."""
    rng = np.random.default_rng(0)
    posterior = rng.beta(3, 2, (60, 1)) * 0.6 + 0.4 * rng.random((60, 5))
    n = rng.integers(0, 50, 60)
    votes = np.stack([rng.binomial(n, posterior.mean(axis=1)), n], axis=1)
    expected = [coverage_reference(posterior, votes, tolerance) for tolerance in TOLERANCES]
    np.testing.assert_allclose(coverage_error(posterior, votes, TOLERANCES), expected, rtol=1e-9)


def test_coverage_error_is_small_for_a_calibrated_model_and_positive_for_an_overconfident_one():
    """Votes drawn from the posterior give errors near 0; over-dispersed votes fall outside more often."""
    rng = np.random.default_rng(2)
    rho = rng.beta(2, 2, (4000, 30)) * 0.2 + 0.8 * rng.beta(2, 2, (4000, 1))
    n = np.full(4000, 40)
    honest = np.stack([rng.binomial(n, rho[:, 0]), n], axis=1)
    assert np.abs(coverage_error(rho, honest, (0.05, 0.1, 0.2))).max() < 0.06
    fuzzy = rng.beta(6 * rho[:, 0], 6 * (1 - rho[:, 0]))
    surprising = np.stack([rng.binomial(n, fuzzy), n], axis=1)
    assert (coverage_error(rho, surprising, TOLERANCES) > 0.2).all()


def test_impossible_coverage_is_refused():
    """K above N, draws outside [0, 1], other shapes and an empty count raise by name."""
    rho = np.full((3, 2), 0.5)
    votes = np.array([[1, 2], [3, 2], [0, 2]])
    with pytest.raises(BadVotes, match="row 1"):
        coverage_error(rho, votes, TOLERANCES)
    with pytest.raises(BadVotes, match="integer pairs"):
        coverage_error(rho, votes + 0.5, TOLERANCES)
    with pytest.raises(BadVotes, match="integer pairs"):
        coverage_error(rho, votes[:2], TOLERANCES)
    with pytest.raises(NumericalFault, match="row 0"):
        coverage_error(rho * [[3], [1], [1]], np.array([[1, 2]] * 3), TOLERANCES)
    with pytest.raises(NumericalFault, match=r"within 0\.1"):
        coverage_error(rho, np.array([[20, 20]] * 3), (0.6, 0.1))


def test_assessment_is_the_definition_galaxy_by_galaxy():
    """Squared error, coverage terms and masks follow each galaxy's own votes."""
    concentrations = make_concentrations(20)
    counts = walk(concentrations, 25)
    judged = assess(TREE, make_posterior(concentrations), counts, min_votes=8)
    mean = answer_probabilities(TREE, concentrations.astype(float)).mean(axis=1)
    for answer, question in enumerate(TREE.question_of_answer):
        n = counts[:, TREE.slices[question]].sum(axis=1)
        np.testing.assert_array_equal(judged.votes[:, question], n)
        enough = n >= 8
        np.testing.assert_array_equal(judged.judged[:, question], enough)
        error = mean[enough, answer] - counts[enough, answer] / n[enough]
        np.testing.assert_allclose(judged.squared_error[enough, answer], error**2, atol=1e-7)
        within = np.abs(counts[enough, answer] - mean[enough, answer] * n[enough]) < 0.1 * n[enough]
        np.testing.assert_array_equal(judged.actual[enough, answer, 2], within)
        assert (judged.squared_error[~enough, answer] == 0).all()
        assert (judged.expected[~enough, answer] == 0).all()


def test_metrics_are_ratios_of_sums():
    """NLL per vote weighs votes, RMSE weighs galaxies, coverage sums before it divides."""
    concentrations = make_concentrations(80)
    counts = walk(concentrations, 30)
    counts[:5] = 0
    judged = assess(TREE, make_posterior(concentrations), counts)
    metrics = summarise(judged, rng=np.random.default_rng(0))
    nll = mixture_nll(TREE, concentrations, counts)
    assert metrics.n_galaxies == 75
    assert metrics.n_votes == counts.sum()
    assert metrics.nll_per_vote.value == pytest.approx(nll.sum() / counts.sum())
    assert metrics.nll_per_vote.low < metrics.nll_per_vote.value < metrics.nll_per_vote.high
    bar = metrics.questions[TREE.index("bar")]
    part = TREE.slices[TREE.index("bar")]
    assert bar.nll_per_vote.value == pytest.approx(nll[:, TREE.index("bar")].sum() / counts[:, part].sum())
    assert bar.n_galaxies == (counts[:, part].sum(axis=1) > 0).sum()
    enough = counts[:, part].sum(axis=1) >= 10
    assert bar.fractions.n_judged == enough.sum()
    fractions = counts[enough][:, part] / counts[enough][:, part].sum(axis=1, keepdims=True)
    error = answer_probabilities(TREE, concentrations)[enough].mean(axis=1)[:, part] - fractions
    assert bar.fractions.rmse.value == pytest.approx(np.sqrt((error**2).mean()), rel=1e-5)
    answer = metrics.answer("bar_yes").fractions
    assert answer.rmse.value == pytest.approx(np.sqrt((error[:, 0] ** 2).mean()), rel=1e-5)
    index = TREE.column("bar_yes")
    expected, actual = (terms[:, index, 1:].sum(axis=0) for terms in (judged.expected, judged.actual))
    errors = [error.value for error in answer.coverage_error[1:]]
    np.testing.assert_allclose(errors, (expected - actual) / actual)


def test_a_true_model_is_calibrated_and_beats_a_blurred_one():
    """Votes walked from the posterior give coverage near 0 and a lower NLL than a blunter posterior."""
    concentrations = make_concentrations(400, precision=40)
    counts = walk(concentrations, 40)
    rng = np.random.default_rng(0)
    true = evaluate(TREE, make_posterior(concentrations), counts, rng=rng)
    blurred = evaluate(TREE, make_posterior(concentrations * np.float32(0.1)), counts, rng=rng)
    smooth, blurry = (found.answer("smooth-or-featured_smooth").fractions for found in (true, blurred))
    assert np.abs([error.value for error in smooth.coverage_error[1:]]).max() < 0.15
    assert true.nll_per_vote.high < blurred.nll_per_vote.low
    assert smooth.crps_votes.value < blurry.crps_votes.value


def test_what_cannot_be_judged_is_none_not_zero():
    """A question nobody was asked, or by too few, has no RMSE and no coverage; no votes at all raise."""
    concentrations = make_concentrations(6)
    counts = np.zeros((6, TREE.n_answers), dtype=np.int64)
    counts[:, TREE.column("smooth-or-featured_artifact")] = 9
    metrics = evaluate(TREE, make_posterior(concentrations), counts, rng=np.random.default_rng(0))
    root, bar = metrics.questions[0], metrics.questions[TREE.index("bar")]
    assert (root.nll_per_vote is not None, root.fractions.rmse, root.fractions.n_judged) == (True, None, 0)
    assert (bar.nll_per_vote, bar.fractions.rmse, bar.fractions.coverage_error) == (None, None, (None,) * 4)
    assert metrics.answer("bar_yes").fractions.crps_votes is None
    with pytest.raises(BadVotes, match="no galaxy"):
        evaluate(TREE, make_posterior(concentrations), counts * 0, rng=np.random.default_rng(0))


def test_metrics_survive_json():
    """The document holds all of the record, also as text."""
    concentrations = make_concentrations(15)
    metrics = evaluate(TREE, make_posterior(concentrations), walk(concentrations, 20), rng=np.random.default_rng(0))
    assert Evaluation.from_document(json.loads(json.dumps(metrics.document(), allow_nan=False))) == metrics
    with pytest.raises(NotFound, match="nonsense"):
        metrics.answer("nonsense")


@pytest.mark.parametrize("name", ["evaluation-of-files.json", "evaluation-of-loop.json"])
def test_documents_of_earlier_releases_are_read(name):
    """What files and the loop wrote before they shared a record comes back with the same figures."""
    document = json.loads((DATA / name).read_text(encoding="utf-8"))
    found = Evaluation.from_document(document)
    (ring,), (yes, _) = document["questions"], document["answers"]
    assert (found.n_votes, found.nll_per_vote.low) == (1760, document["nll_per_vote"]["low"])
    assert (found.questions[0].question, len(found.slices)) == ("ring", len(document.get("slices", ())))
    if "files" in name:
        assert found.document() == document
    else:
        assert found.questions[0].nll_per_vote == Figure(value=ring["nll_per_vote"])
        assert found.questions[0].fractions.rmse == Figure(value=ring["rmse"])
        errors = found.answer("ring_yes").fractions.coverage_error
        assert [error.value for error in errors] == yes["coverage_error"]
    assert Evaluation.from_document(json.loads(json.dumps(found.document()))) == found


def test_a_document_of_something_else_is_refused():
    """The message names the field."""
    document = json.loads((DATA / "evaluation-of-files.json").read_text(encoding="utf-8"))
    del document["answers"][1]["fractions"]["rmse"]
    with pytest.raises(BadDocument, match=r"Evaluation\.answers\[1\]\.fractions\.rmse is missing"):
        Evaluation.from_document(document)
    document = json.loads((DATA / "evaluation-of-loop.json").read_text(encoding="utf-8"))
    del document["answers"][1]["n_judged"]
    with pytest.raises(BadDocument, match=r"answers\[1\]\.fractions\.n_judged is NoneType"):
        Evaluation.from_document(document)


def test_the_same_generator_gives_the_same_metrics():
    """All randomness is the argument."""
    concentrations = make_concentrations(15)
    counts = walk(concentrations, 20)
    posterior = make_posterior(concentrations)
    first, second = (evaluate(TREE, posterior, counts, rng=np.random.default_rng(9)) for _ in range(2))
    assert first == second


def test_votes_that_do_not_belong_are_refused():
    """Fractions, negative votes and another tree's posterior raise by name."""
    posterior = make_posterior(make_concentrations(3))
    with pytest.raises(BadVotes, match="integers"):
        assess(TREE, posterior, np.ones((3, TREE.n_answers)))
    counts = np.ones((3, TREE.n_answers), dtype=np.int64)
    counts[1, 0] = -1
    with pytest.raises(BadVotes, match="'g1'"):
        assess(TREE, posterior, counts)
    with pytest.raises(BadInput, match="does not follow"):
        assess(TREE, dataclasses.replace(posterior, tree_hash="0" * 64), np.abs(counts))


def test_bootstrap_intervals_cover_the_truth_as_often_as_they_say():
    """About 90 % of 90 % intervals of a ratio hold the true ratio."""
    rng = np.random.default_rng(4)
    hits = 0
    for _ in range(200):
        votes = rng.integers(1, 40, 150)
        nll = votes * 0.3 + rng.normal(0, 2, 150)
        sums = bootstrap_sums(np.stack([nll, votes], axis=1), repeats=300, rng=rng)
        estimate = percentile_estimate(nll.sum() / votes.sum(), sums[:, 0] / sums[:, 1], 0.9)
        hits += estimate.low < 0.3 < estimate.high
    assert 165 <= hits <= 194


def test_bootstrap_columns_are_paired():
    """In one repeat all columns see the same galaxies, as many as there are."""
    values = np.stack([np.arange(30.0), 2 * np.arange(30.0), np.ones(30)], axis=1)
    sums = bootstrap_sums(values, repeats=50, rng=np.random.default_rng(0))
    np.testing.assert_allclose(sums[:, 1], 2 * sums[:, 0])
    assert (sums[:, 2] == 30).all()
    assert sums[:, 0].std() > 0


def test_whole_votes_may_come_as_floats():
    """Votes out of a table of floats give what the integers give."""
    rho = np.random.default_rng(3).beta(4, 3, (50, 8))
    votes = np.stack([np.arange(50) % 21, np.full(50, 20)], axis=1)
    np.testing.assert_array_equal(
        coverage_error(rho, votes.astype(np.float32), TOLERANCES), coverage_error(rho, votes, TOLERANCES)
    )


def test_the_error_is_against_recorded_fractions_where_there_are_any():
    """A recorded fraction replaces the counted one galaxy by galaxy; likelihood and coverage stay with the counts."""
    concentrations = make_concentrations(12)
    counts = walk(concentrations, 30)
    recorded = np.full(counts.shape, np.nan)
    recorded[:6, 0] = 0.25
    plain, against = (
        assess(TREE, make_posterior(concentrations), counts, fractions=fractions) for fractions in (None, recorded)
    )
    mean = answer_probabilities(TREE, concentrations.astype(float)).mean(axis=1)[:, 0]
    np.testing.assert_allclose(against.squared_error[:6, 0], (mean[:6] - 0.25) ** 2, rtol=1e-6)
    np.testing.assert_array_equal(against.squared_error[6:], plain.squared_error[6:])
    np.testing.assert_array_equal(against.nll, plain.nll)
    np.testing.assert_array_equal(against.expected, plain.expected)
    with pytest.raises(BadVotes, match="recorded fractions"):
        assess(TREE, make_posterior(concentrations), counts, fractions=recorded[:3])


def test_what_a_pit_is_made_of_is_the_predicted_distribution():
    """Fewer votes than observed and as many, summed over scipy's beta-binomial mixture."""
    concentrations = make_concentrations(4, n_draws=3)
    counts = walk(concentrations, 20)
    judged = assess(TREE, make_posterior(concentrations), counts)
    for galaxy in range(4):
        a = concentrations[galaxy, :, 0].astype(float)
        b = concentrations[galaxy, :, 1:3].astype(float).sum(axis=1)
        k = counts[galaxy, 0]
        assert judged.at[galaxy, 0] == pytest.approx(stats.betabinom.pmf(k, 20, a, b).mean(), abs=1e-10)
        assert judged.below[galaxy, 0] == pytest.approx(stats.betabinom.cdf(k - 1, 20, a, b).mean(), abs=1e-10)
