"""Likelihoods against reference values, at the extremes, and against their own wrong versions."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from alservice.core.tree import load_tree
from alservice.errors import BadVotes, NumericalFault
from alservice.model.likelihood import (
    binomial_nll,
    concentrations_from,
    dirichlet_multinomial_nll,
    mixture_nll,
)

TREE = load_tree("gz2")


def reference(alpha: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the NLL per question by scipy."""
    return np.array(
        [
            [-stats.dirichlet_multinomial.logpmf(k[s], a[s], k[s].sum()) if k[s].sum() else 0.0 for s in TREE.slices]
            for a, k in zip(alpha, counts, strict=True)
        ]
    )


@given(st.integers(0, 2**32 - 1))
def test_values_equal_scipys(seed: int) -> None:
    """Every question of the tree at once, concentrations over five decades, unasked questions among them."""
    rng = np.random.default_rng(seed)
    alpha = 10 ** rng.uniform(-2, 3, (3, TREE.n_answers))
    asked = rng.integers(0, 2, (3, TREE.n_questions))[:, TREE.question_of_answer]
    counts = rng.integers(0, 30, (3, TREE.n_answers)) * asked
    nll = dirichlet_multinomial_nll(torch.from_numpy(alpha), torch.from_numpy(counts), TREE)
    np.testing.assert_allclose(nll.numpy(), reference(alpha, counts), rtol=1e-5, atol=1e-8)


def test_an_unasked_question_costs_exactly_nothing() -> None:
    """No votes, no loss, and no gradient."""
    alpha = torch.rand(2, TREE.n_answers, requires_grad=True)
    nll = dirichlet_multinomial_nll(alpha, torch.zeros(2, TREE.n_answers), TREE)
    assert torch.equal(nll, torch.zeros(2, TREE.n_questions))
    torch.autograd.backward(nll.sum())
    assert alpha.grad is not None
    assert torch.equal(alpha.grad, torch.zeros_like(alpha))


@pytest.mark.parametrize("n", [1, 40, 1000])
@pytest.mark.parametrize("precision", [1e-3, 1.0, 1e6])
def test_gradients_are_finite_where_votes_are_unanimous(n: int, precision: float) -> None:
    """A fraction of exactly 0 or 1 is learned without NaN, however sure the network already is."""
    logits = torch.zeros(1, TREE.n_answers)
    logits[0, 0] = 12.0
    logits.requires_grad_(True)
    counts = torch.zeros(1, TREE.n_answers)
    counts[0, 1] = n
    alpha = concentrations_from(logits, torch.full((1, TREE.n_questions), float(np.log(precision))), TREE)
    nll = dirichlet_multinomial_nll(alpha, counts, TREE)
    torch.autograd.backward(nll.sum())
    assert logits.grad is not None
    assert torch.isfinite(nll).all()
    assert torch.isfinite(logits.grad).all()


def test_precision_has_no_cap() -> None:
    """Two per cent of a thousand votes are expressible: a cap of 101 on concentrations (Zoobot's) is not."""
    alpha = concentrations_from(torch.zeros(1, TREE.n_answers), torch.full((1, TREE.n_questions), 9.0), TREE)
    sums = torch.tensor([alpha[0, s].sum() for s in TREE.slices])
    np.testing.assert_allclose(sums.numpy(), np.exp(9.0), rtol=1e-4)


def test_temperature_scales_precision_and_leaves_means() -> None:
    """Calibration never changes a ranking of answers."""
    logits, precision = torch.randn(2, TREE.n_answers), torch.randn(2, TREE.n_questions)
    factor = torch.linspace(0.5, 2, TREE.n_questions)
    plain = concentrations_from(logits, precision, TREE)
    scaled = concentrations_from(logits, precision, TREE, temperature=factor)
    expected = plain * factor[TREE.question_of_answer.tolist()]
    torch.testing.assert_close(scaled, expected)


def test_a_mixture_is_the_mean_of_probabilities() -> None:
    """Not the mean of log-probabilities: that would punish disagreement twice."""
    alpha = torch.rand(2, 4, TREE.n_answers, dtype=torch.float64) * 5
    counts = torch.randint(0, 5, (2, TREE.n_answers))
    per_draw = torch.stack([dirichlet_multinomial_nll(alpha[:, t], counts, TREE) for t in range(4)])
    torch.testing.assert_close(mixture_nll(alpha, counts, TREE), -torch.log(torch.exp(-per_draw).mean(0)))


def test_binomial_equals_scipys_and_takes_certainty() -> None:
    """Log-odds keep rho = 0 and 1 within reach; no votes cost nothing."""
    z = torch.tensor([-2.0, 0.0, 3.0, 60.0, -60.0], dtype=torch.float64)
    k, n = torch.tensor([3, 20, 40, 40, 0]), torch.tensor([40, 40, 41, 40, 0])
    expected = -stats.binom.logpmf(k.numpy(), n.numpy(), 1 / (1 + np.exp(-z.numpy())))
    np.testing.assert_allclose(binomial_nll(z, k, n).numpy(), expected, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_concentration_is_raised_not_clamped(bad: float) -> None:
    """Nothing is replaced by ones."""
    alpha = torch.ones(1, TREE.n_answers)
    alpha[0, 3] = bad
    with pytest.raises(NumericalFault):
        dirichlet_multinomial_nll(alpha, torch.ones(1, TREE.n_answers), TREE)


def test_votes_of_another_tree_are_refused() -> None:
    """The last axis is the tree's answers."""
    with pytest.raises(BadVotes, match="gz2"):
        dirichlet_multinomial_nll(torch.ones(1, 5), torch.ones(1, 5), TREE)
