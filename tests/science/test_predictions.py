"""The numbers a prediction file keeps: moments of the mixture, and draws that hold both spreads."""

import numpy as np
import pytest

from alservice.errors import BadInput, NumericalFault
from alservice.science.evaluation import TOLERANCES, assess, coverage_error
from alservice.science.posterior import (
    Posterior,
    answer_probabilities,
    concat,
    fraction_draws,
    posterior_of,
    predictions,
    question_totals,
    summaries,
    take,
)
from alservice.science.tree import load_tree

TREE = load_tree("gz2")


def make_posterior(n=4, n_draws=6, seed=0, scale=10.0, spread=0.5):
    """Return a posterior whose draws differ."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(size=(n, 1, TREE.n_answers)) + spread * rng.normal(size=(n, n_draws, TREE.n_answers))
    alpha = scale * answer_probabilities(TREE, np.exp(logit)) * rng.gamma(4, 0.25, (n, n_draws, 1))
    return Posterior(
        galaxy_ids=tuple(f"g{i}" for i in range(n)),
        concentrations=alpha.astype(np.float32),
        embeddings=np.zeros((n, 0), dtype=np.float16),
        tree_hash=TREE.hash,
        model="m",
    )


def mixture_variances(posterior):
    """Return the total variance (N, A) of every fraction: within draws and between them."""
    alpha = posterior.concentrations.astype(float)
    total = question_totals(TREE, alpha)[..., TREE.question_of_answer]
    mean = alpha / total
    return (mean * (1 - mean) / (total + 1)).mean(axis=1) + mean.var(axis=1)


@pytest.mark.parametrize("scale", [1e-3, 0.5, 20.0, 1e6])
def test_the_precision_keeps_mean_and_total_variance(scale):
    """The single Dirichlet of a question has the mixture's mean and the sum of its variances."""
    posterior = make_posterior(scale=scale)
    table = predictions(TREE, posterior)
    np.testing.assert_allclose(table.mean, summaries(TREE, posterior).mean)
    s = table.precision[:, TREE.question_of_answer].astype(float)
    mean = table.mean.astype(float)
    np.testing.assert_allclose(
        question_totals(TREE, mean * (1 - mean) / (s + 1)),
        question_totals(TREE, mixture_variances(posterior)),
        rtol=1e-4,
    )


def test_one_draw_keeps_its_own_concentrations():
    """Of a single Dirichlet nothing is lost: the table gives it back."""
    posterior = make_posterior(n_draws=1)
    stated = posterior_of(TREE, predictions(TREE, posterior), model="m")
    np.testing.assert_allclose(stated.concentrations, posterior.concentrations, rtol=1e-4)


def test_draws_are_of_the_whole_posterior():
    """They sum to 1 per question, and their mean and variance are the mixture's."""
    wide = make_posterior(n=2, n_draws=4000)
    drawn = fraction_draws(TREE, wide, seed=3)
    assert drawn.shape == (2, 4000, TREE.n_answers)
    assert drawn.dtype == np.float32
    np.testing.assert_allclose(question_totals(TREE, drawn), 1, atol=1e-5)
    np.testing.assert_allclose(drawn.mean(axis=1), summaries(TREE, wide).mean, atol=0.02)
    np.testing.assert_allclose(drawn.var(axis=1), mixture_variances(wide), rtol=0.15, atol=1e-4)


def test_few_draws_judge_votes_as_the_mixture_does():
    """Coverage errors of 30 draws are those of the whole posterior; their means and variances are its own."""
    posterior = make_posterior(n=400, n_draws=30, scale=15.0)
    drawn = fraction_draws(TREE, posterior, seed=0)
    column = TREE.column("bar_yes")
    rng = np.random.default_rng(1)
    truth = fraction_draws(TREE, posterior, seed=9)[np.arange(400), rng.integers(30, size=400), column]
    votes = np.stack([rng.binomial(44, truth.astype(float)), np.full(400, 44)], axis=1)
    counts = np.zeros((400, TREE.n_answers), dtype=np.int64)
    counts[:, column], counts[:, column + 1] = votes[:, 0], 44 - votes[:, 0]
    judged = assess(TREE, posterior, counts)
    whole = judged.expected[:, column].sum(axis=0) / judged.actual[:, column].sum(axis=0) - 1
    np.testing.assert_allclose(coverage_error(drawn[..., column], votes, TOLERANCES), whole, atol=0.03)
    np.testing.assert_allclose(drawn[..., column].mean(axis=1), summaries(TREE, posterior).mean[:, column], atol=5e-3)
    ratio = drawn[..., column].var(axis=1) / mixture_variances(posterior)[:, column]
    assert np.median(ratio) > 0.95
    assert ratio.max() < 1.02


def test_draws_stay_finite_where_nothing_is_certain():
    """Concentrations of 1e-6 give fractions of 0 and 1, not NaN."""
    drawn = fraction_draws(TREE, make_posterior(scale=1e-6), seed=0)
    assert np.isfinite(drawn).all()
    np.testing.assert_allclose(question_totals(TREE, drawn), 1, atol=1e-5)


def test_a_galaxys_draws_do_not_depend_on_its_shard():
    """Another order and other neighbours give the same draws; another seed gives others."""
    posterior = make_posterior(n=5)
    drawn = fraction_draws(TREE, posterior, seed=1)
    backwards = concat([take(posterior, np.array([i])) for i in (4, 2, 0)])
    np.testing.assert_allclose(fraction_draws(TREE, backwards, seed=1), drawn[[4, 2, 0]], atol=1e-5)
    assert (fraction_draws(TREE, posterior, seed=2) != drawn).any()


def test_another_trees_table_and_impossible_numbers_are_refused():
    """Shapes of another tree, and a mean of 0, raise by name."""
    table = predictions(TREE, make_posterior())
    with pytest.raises(BadInput, match="do not fit"):
        posterior_of(load_tree("gz-rings"), table, model="m")
    table.mean[1, 2] = 0
    with pytest.raises(NumericalFault, match="'g1'"):
        posterior_of(TREE, table, model="m")


def test_strata_of_a_stick_are_in_the_order_of_a_plain_sample():
    """The T draws of an answer are the T quantiles of its mixture; which draw gets which follows its own Dirichlet."""
    posterior = make_posterior(n=30, n_draws=8, spread=2.0, scale=2000.0)
    first = fraction_draws(TREE, posterior, seed=1)[..., 0]
    own = answer_probabilities(TREE, posterior.concentrations)[..., 0]
    together = [
        np.corrcoef(np.argsort(np.argsort(a)), np.argsort(np.argsort(b)))[0, 1] for a, b in zip(first, own, strict=True)
    ]
    assert np.mean(together) > 0.9
