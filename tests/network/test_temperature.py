"""The precision temperature: found where the votes are, near 1 where there are few."""

import numpy as np
import pytest
import torch

from alservice.network.likelihood import mixture_nll
from alservice.network.training import fit_temperature
from alservice.science.tree import load_tree

TREE = load_tree("gz2")
RINGS = load_tree("gz-rings")


def votes_of(precision, n_galaxies, *, seed=0, n_votes=40):
    """Return draws (B, 3, 2) of precision 20, and votes (B, 2) of another precision about the same means."""
    rng = np.random.default_rng(seed)
    mean = rng.uniform(0.2, 0.8, n_galaxies)
    k = rng.binomial(n_votes, rng.beta(precision * mean, precision * (1 - mean)))
    draws = 20 * np.stack([mean, 1 - mean], axis=1)
    return torch.tensor(draws)[:, None].expand(-1, 3, -1), torch.tensor(np.stack([k, n_votes - k], axis=1))


@pytest.mark.parametrize("factor", [0.25, 1.0, 4.0])
def test_the_true_factor_is_found(factor):
    """From many galaxies whose votes are wider or tighter than predicted, tau is by how much."""
    tau = fit_temperature(*votes_of(20 * factor, 3000), RINGS)
    assert tau.item() == pytest.approx(factor, rel=0.1)


def test_few_galaxies_leave_it_near_one():
    """Two galaxies cannot argue for a factor of ten."""
    draws, counts = votes_of(200, 2)
    assert fit_temperature(draws, counts, RINGS).item() == pytest.approx(1, abs=0.4)


def test_unasked_questions_and_empty_hold_outs_give_one():
    """Without votes tau is 1."""
    draws = torch.rand(3, 2, TREE.n_answers) + 0.1
    counts = torch.zeros(3, TREE.n_answers)
    counts[:, TREE.slices[0]] = 9
    tau = fit_temperature(draws, counts, TREE)
    torch.testing.assert_close(tau[1:], torch.ones(TREE.n_questions - 1), atol=1e-4, rtol=0)
    assert abs(tau[0] - 1) > 1e-3
    none = fit_temperature(draws[:0], counts[:0], TREE)
    torch.testing.assert_close(none, torch.ones(TREE.n_questions), atol=1e-4, rtol=0)


def test_votes_become_more_likely():
    """The factor never makes the held-out votes less likely than no factor."""
    draws, counts = votes_of(5, 200)
    before = mixture_nll(draws, counts, RINGS).sum()
    assert mixture_nll(draws * fit_temperature(draws, counts, RINGS), counts, RINGS).sum() < before


def test_a_galaxy_of_weight_two_counts_as_two():
    """Weights stand for repetitions; without them all galaxies count alike."""
    (draws, counts), (wide, spread) = votes_of(80, 60), votes_of(5, 40, seed=1)
    doubled = fit_temperature(torch.cat([draws, wide, wide]), torch.cat([counts, spread, spread]), RINGS)
    weights = torch.cat([torch.ones(60), torch.full((40,), 2.0)])
    both = torch.cat([draws, wide]), torch.cat([counts, spread])
    torch.testing.assert_close(fit_temperature(*both, RINGS, weights=weights), doubled, rtol=1e-4, atol=0)
    assert fit_temperature(*both, RINGS) > 1.1 * doubled
    torch.testing.assert_close(
        fit_temperature(*both, RINGS, weights=torch.ones(100)), fit_temperature(*both, RINGS), rtol=1e-6, atol=0
    )
