"""The training objective: a value that is the likelihood, a slope that lets no galaxy off."""

import math

import torch

from alservice.network.likelihood import concentrations_from, dirichlet_multinomial_nll, training_nll
from alservice.science.tree import load_tree

TREE = load_tree("gz2")
MEAN_PRECISION = 40.0


def outputs(rows=6, *, seed=0):
    """Return logits, log-precisions and votes that all questions were asked of."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, TREE.n_answers, generator=generator).double().requires_grad_()
    log_precision = (2 * torch.randn(rows, TREE.n_questions, generator=generator)).double().requires_grad_()
    return logits, log_precision, torch.randint(0, 20, (rows, TREE.n_answers), generator=generator)


def likelihood(logits, log_precision, counts):
    """Return the Dirichlet-multinomial likelihood, coupled as it is."""
    return dirichlet_multinomial_nll(concentrations_from(logits, log_precision, TREE), counts, TREE)


def objective(logits, log_precision, counts):
    """Return what training minimises."""
    return training_nll(logits, log_precision, counts, TREE, mean_precision=MEAN_PRECISION)


def slopes(nll, *inputs):
    """Return the slopes of a sum over all questions."""
    return torch.autograd.grad(nll.sum(), inputs)


def test_the_value_is_the_likelihood():
    """What the training curve shows is nats of votes under the prediction, precision and all."""
    logits, log_precision, counts = outputs()
    expected = likelihood(logits, log_precision, counts)
    torch.testing.assert_close(objective(logits, log_precision, counts), expected)


def test_the_slope_of_the_means_does_not_know_the_precision():
    """A galaxy that the network calls hopeless pulls on its mean as hard as any other."""
    logits, log_precision, counts = outputs()
    sure, hopeless = (torch.full_like(log_precision, value).requires_grad_() for value in (5.0, -2.0))
    of_means = [slopes(objective(logits, p, counts), logits)[0] for p in (sure, hopeless)]
    torch.testing.assert_close(of_means[0], of_means[1])
    fixed = torch.full_like(log_precision, math.log(MEAN_PRECISION))
    torch.testing.assert_close(of_means[0], slopes(likelihood(logits, fixed, counts), logits)[0])
    large, small = (slopes(likelihood(logits, p, counts), logits)[0].abs().sum() for p in (sure, hopeless))
    assert small < 0.5 * large  # what the likelihood alone would do


def test_the_slope_of_the_precision_is_its_own():
    """Uncertainty is learned by the likelihood, around the mean as it is."""
    logits, log_precision, counts = outputs(seed=1)
    plain = likelihood(logits, log_precision, counts)
    found = slopes(objective(logits, log_precision, counts), log_precision)[0]
    torch.testing.assert_close(found, slopes(plain, log_precision)[0])


def test_no_votes_no_slope():
    """A question that nobody was asked says 0 nats and moves nothing."""
    logits, log_precision, counts = outputs()
    nll = objective(logits, log_precision, torch.zeros_like(counts))
    assert bool((nll == 0).all())
    assert all(bool((slope == 0).all()) for slope in slopes(nll, logits, log_precision))
