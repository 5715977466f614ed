"""Likelihoods against scipy, at extremes, and through their gradients."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import gammaln

from alservice.errors import BadVotes, NumericalFault
from alservice.network.likelihood import binomial_nll, concentrations_from, dirichlet_multinomial_nll, mixture_nll
from alservice.science.tree import load_tree

GZ2 = load_tree("gz2")
RINGS = load_tree("gz-rings")


def random_votes(rng, tree, n_galaxies, n_votes):
    """Return whole counts (B, A): every question asked 0..n_votes times."""
    counts = np.zeros((n_galaxies, tree.n_answers))
    for answers in tree.slices:
        width = answers.stop - answers.start
        for row in counts:
            row[answers] = rng.multinomial(rng.integers(0, n_votes + 1), rng.dirichlet(np.ones(width)))
    return counts


def scipy_nll(alpha, counts, tree):
    """Return the reference (B, Q)."""
    return np.array(
        [
            [-stats.dirichlet_multinomial.logpmf(k[s].astype(int), a[s], int(k[s].sum())) for s in tree.slices]
            for a, k in zip(alpha, counts, strict=True)
        ]
    )


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), n_votes=st.sampled_from([1, 44, 1000]), log_scale=st.floats(-5, 9))
def test_dirichlet_multinomial_equals_scipy(seed, n_votes, log_scale):
    """Every question's value is scipy's, from concentrations far below 1 to thousands: there is no cap."""
    rng = np.random.default_rng(seed)
    counts = random_votes(rng, GZ2, 3, n_votes)
    alpha = (np.exp(log_scale) * rng.gamma(1.0, size=counts.shape) + 1e-4).astype(np.float32)
    ours = dirichlet_multinomial_nll(torch.tensor(alpha), torch.tensor(counts, dtype=torch.float32), GZ2)
    assert ours.shape == (3, GZ2.n_questions)
    assert ours.dtype == torch.float32
    np.testing.assert_allclose(ours, scipy_nll(alpha.astype(float), counts, GZ2), rtol=1e-5, atol=1e-6)


def test_two_answers_are_a_beta_binomial():
    """With two answers the value is the beta-binomial's, unanimous votes included."""
    alpha = torch.tensor([[0.3, 5.0], [40.0, 2.0], [300.0, 300.0]], dtype=torch.float64)
    counts = torch.tensor([[0.0, 44.0], [44.0, 0.0], [20.0, 24.0]], dtype=torch.float64)
    expected = -stats.betabinom.logpmf(counts[:, 0], 44, alpha[:, 0], alpha[:, 1])
    np.testing.assert_allclose(dirichlet_multinomial_nll(alpha, counts, RINGS)[:, 0], expected, rtol=1e-10)


def test_infinite_precision_is_the_multinomial():
    """A precision of ten million gives the multinomial likelihood: what a cap on concentrations would miss."""
    p = np.array([0.7, 0.3])
    counts = np.array([[31, 13], [44, 0]])
    ours = dirichlet_multinomial_nll(torch.tensor(1e7 * p).expand(2, 2), torch.tensor(counts), RINGS)[:, 0]
    np.testing.assert_allclose(ours, -stats.multinomial.logpmf(counts, 44, p), rtol=1e-5)


def test_probabilities_of_all_outcomes_sum_to_one():
    """The multinomial coefficient is in the value: all ways to split N votes have total probability 1."""
    k = torch.arange(13.0)
    counts = torch.stack([k, 12 - k], dim=1)
    nll = dirichlet_multinomial_nll(torch.tensor([[0.4, 3.0]], dtype=torch.float64), counts, RINGS)
    assert torch.exp(-nll).sum().item() == pytest.approx(1, abs=1e-11)


def test_counts_need_not_be_whole():
    """Weighted votes have the value that the gamma functions give them."""
    a, k = np.array([2.5, 0.7]), np.array([3.25, 0.5])
    n, total = k.sum(), a.sum()
    expected = gammaln(n + total) - gammaln(total) - gammaln(n + 1)
    expected -= (gammaln(k + a) - gammaln(a) - gammaln(k + 1)).sum()
    ours = dirichlet_multinomial_nll(torch.tensor(a)[None], torch.tensor(k)[None], RINGS)
    assert ours.item() == pytest.approx(expected, rel=1e-10)


def test_a_question_nobody_was_asked_costs_nothing():
    """Without votes a question's value is exactly 0 and so is its gradient, whatever was predicted."""
    alpha = torch.rand(4, GZ2.n_answers).mul(1e4).add(1e-6).requires_grad_()
    counts = torch.zeros(4, GZ2.n_answers)
    counts[:, GZ2.slices[0]] = 5
    nll = dirichlet_multinomial_nll(alpha, counts, GZ2)
    nll.sum().backward()
    assert torch.count_nonzero(nll[:, 1:]) == 0
    assert torch.count_nonzero(alpha.grad[:, GZ2.slices[0].stop :]) == 0
    assert torch.count_nonzero(nll[:, 0]) == 4


def test_gradient_is_that_of_the_value():
    """Gradients by logits and precision agree with finite differences."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, GZ2.n_answers, generator=generator, dtype=torch.float64, requires_grad=True)
    log_precision = torch.randn(2, GZ2.n_questions, generator=generator, dtype=torch.float64, requires_grad=True)
    counts = torch.tensor(random_votes(np.random.default_rng(1), GZ2, 2, 44))

    def loss(z, s):
        return dirichlet_multinomial_nll(concentrations_from(z, s, GZ2), counts, GZ2)

    assert torch.autograd.gradcheck(loss, (logits, log_precision))


def test_float32_gradients_are_those_of_float64():
    """Single precision changes neither value nor gradient, heads (K, B, A) against counts (B, A)."""
    generator = torch.Generator().manual_seed(5)
    alpha = torch.exp(4 * torch.randn(3, 40, GZ2.n_answers, generator=generator, dtype=torch.float64))
    counts = torch.tensor(random_votes(np.random.default_rng(2), GZ2, 40, 1000))
    single, double = alpha.float().requires_grad_(), alpha.float().double().requires_grad_()
    values = [dirichlet_multinomial_nll(x, counts, GZ2) for x in (single, double)]
    for value in values:
        value.sum().backward()
    torch.testing.assert_close(values[0].double(), values[1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(single.grad.double(), double.grad, rtol=1e-4, atol=1e-6)


def test_gradients_reach_concentrations_that_are_shared():
    """One row of concentrations against many rows of counts gets the sum of their gradients."""
    counts = torch.tensor(random_votes(np.random.default_rng(4), GZ2, 6, 20))
    alpha = torch.rand(1, GZ2.n_answers, dtype=torch.float64).add(0.5)
    shared, copies = alpha.clone().requires_grad_(), alpha.expand(6, -1).clone().requires_grad_()
    dirichlet_multinomial_nll(shared, counts, GZ2).sum().backward()
    dirichlet_multinomial_nll(copies, counts, GZ2).sum().backward()
    torch.testing.assert_close(shared.grad[0], copies.grad.sum(0))


@pytest.mark.parametrize("n", [0.0, 1.0, 44.0, 1000.0])
@pytest.mark.parametrize("log_precision", [-30.0, 0.0, 20.0, 60.0])
@pytest.mark.parametrize("gap", [0.0, 80.0, 500.0])
def test_gradients_stay_finite_at_extremes(n, log_precision, gap):
    """Unanimous votes for what was thought impossible, at any precision, leave value and gradient finite."""
    logits = torch.tensor([[gap, 0.0], [-gap, 0.0]], requires_grad=True)
    precision = torch.full((2, 1), log_precision, requires_grad=True)
    counts = torch.tensor([[0.0, n], [0.0, n]])
    nll = dirichlet_multinomial_nll(concentrations_from(logits, precision, RINGS), counts, RINGS)
    nll.sum().backward()
    assert torch.isfinite(nll).all()
    assert torch.isfinite(logits.grad).all()
    assert torch.isfinite(precision.grad).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0, -1.0])
def test_concentrations_out_of_range_raise(bad):
    """A concentration that is no concentration raises instead of becoming a number."""
    with pytest.raises(NumericalFault):
        dirichlet_multinomial_nll(torch.tensor([[bad, 1.0]]), torch.ones(1, 2), RINGS)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_counts_out_of_range_raise(bad):
    """A count that is no count raises; "not asked" is 0, never NaN."""
    with pytest.raises(NumericalFault):
        dirichlet_multinomial_nll(torch.ones(1, 2), torch.tensor([[bad, 1.0]]), RINGS)


def test_arrays_of_another_tree_raise():
    """Arrays whose last axis is not the tree's answers are refused by name."""
    with pytest.raises(BadVotes, match="counts"):
        dirichlet_multinomial_nll(torch.ones(1, 2), torch.ones(1, 3), RINGS)


def test_concentrations_are_precision_times_softmax():
    """Per question, concentrations add up to the precision, without a cap, in the proportions of the softmax."""
    logits = torch.randn(5, GZ2.n_answers, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    log_precision = torch.linspace(-3, 14, 5 * GZ2.n_questions, dtype=torch.float64).reshape(5, -1)
    alpha = concentrations_from(logits, log_precision, GZ2)
    for question, answers in enumerate(GZ2.slices):
        expected = torch.exp(log_precision[:, question, None]) * torch.softmax(logits[:, answers], dim=1)
        torch.testing.assert_close(alpha[:, answers], expected, rtol=1e-9, atol=0)


def test_temperature_scales_precision_and_leaves_means():
    """A temperature multiplies each question's concentrations by its own factor."""
    logits, log_precision = torch.randn(3, GZ2.n_answers), torch.zeros(3, GZ2.n_questions)
    tau = torch.linspace(0.5, 2, GZ2.n_questions)
    plain = concentrations_from(logits, log_precision, GZ2)
    scaled = concentrations_from(logits, log_precision, GZ2, temperature=tau)
    torch.testing.assert_close(scaled, plain * tau[torch.tensor(GZ2.question_of_answer)])


def test_concentrations_survive_logits_that_overflow_an_exponential():
    """Logits of hundreds neither overflow nor give a concentration of zero."""
    alpha = concentrations_from(torch.tensor([[900.0, -900.0]]), torch.tensor([[2.0]]), RINGS)
    assert alpha[0, 0].item() == pytest.approx(math.exp(2), rel=1e-6)
    assert alpha[0, 1].item() > 0


def test_mixture_is_the_mean_of_the_draws_probabilities():
    """The predictive of T draws averages probabilities, not their logarithms."""
    rng = np.random.default_rng(3)
    alpha = rng.gamma(2.0, 3.0, (4, 6, GZ2.n_answers))
    counts = random_votes(rng, GZ2, 4, 44)
    each = np.stack([scipy_nll(alpha[:, t], counts, GZ2) for t in range(6)])
    ours = mixture_nll(torch.tensor(alpha), torch.tensor(counts), GZ2)
    np.testing.assert_allclose(ours, -np.log(np.exp(-each).mean(0)), rtol=1e-9, atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(n=st.integers(0, 1000), share=st.floats(0, 1), logit=st.floats(-30, 30))
def test_binomial_equals_scipy(n, share, logit):
    """The binomial value is scipy's, the coefficient included."""
    k = round(share * n)
    ours = binomial_nll(*(torch.tensor([x], dtype=torch.float32) for x in (logit, k, n)))
    # ln(1 - rho) from the logit: 1 - expit() has lost it at 30.
    z = float(np.float32(logit))
    coefficient = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    expected = k * np.logaddexp(0, -z) + (n - k) * np.logaddexp(0, z) - coefficient
    assert ours.item() == pytest.approx(expected, rel=1e-5, abs=1e-5)
    if abs(z) < 5:
        assert ours.item() == pytest.approx(-stats.binom.logpmf(k, n, 1 / (1 + math.exp(-z))), rel=1e-5, abs=1e-5)


def test_binomial_is_finite_at_certainty():
    """Votes against a certain prediction cost much, votes for it nothing, and both have a gradient."""
    logit = torch.tensor([500.0, 500.0, -500.0], requires_grad=True)
    nll = binomial_nll(logit, torch.tensor([44.0, 0.0, 0.0]), torch.tensor([44.0, 44.0, 0.0]))
    nll.sum().backward()
    assert nll.tolist() == pytest.approx([0, 44 * 500, 0])
    assert logit.grad.tolist() == pytest.approx([0, 44, 0])


@pytest.mark.parametrize(("logit", "k", "n"), [(math.nan, 1, 2), (0, 3, 2), (0, -1, 2), (0, 1, math.inf)])
def test_binomial_refuses_impossible_votes(logit, k, n):
    """More votes for than on, negative votes and values that are not finite raise."""
    with pytest.raises(NumericalFault):
        binomial_nll(*(torch.tensor([float(x)]) for x in (logit, k, n)))
