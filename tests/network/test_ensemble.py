"""Ensembles of trunks: every member has its share of the draws, and draws stay functions."""

import numpy as np
import pytest

from alservice.errors import BadConfig
from alservice.ids import seed_of
from alservice.network.architectures import NetworkConfig, build_network
from alservice.network.sampling import sample_ensemble, sample_posterior
from alservice.science.tree import load_tree

TREE = load_tree("gz2")
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 1, 32, 32)).astype(np.uint8)


def members(n, tree=TREE):
    """Return untrained networks from different seeds."""
    return [build_network(NetworkConfig(image_px=32), tree, seed=seed) for seed in range(n)]


def test_draws_are_shared_over_the_members():
    """Draw t is of member t mod M, as that member alone gives it; seven draws of three members are 3, 2 and 2."""
    networks = members(3)
    draws, embeddings = sample_ensemble(networks, IMAGES, draws=7, seed=4, device="cpu")
    for number, network in enumerate(networks):
        share = len(range(number, 7, 3))
        alone, embedded = sample_posterior(
            network, IMAGES, draws=share, seed=seed_of(4, "member", number) if number else 4, device="cpu"
        )
        np.testing.assert_array_equal(draws[:, number::3], alone)
        if number == 0:
            np.testing.assert_array_equal(embeddings, embedded)
    assert draws.shape == (5, 7, TREE.n_answers)


def test_members_that_cannot_be_one_posterior_are_refused():
    """None, more members than draws, and different trees are configuration errors."""
    with pytest.raises(BadConfig):
        sample_ensemble([], IMAGES, draws=3, seed=0, device="cpu")
    with pytest.raises(BadConfig):
        sample_ensemble(members(3), IMAGES, draws=2, seed=0, device="cpu")
    with pytest.raises(BadConfig, match="tree"):
        sample_ensemble(members(1) + members(1, load_tree("gz-rings")), IMAGES, draws=2, seed=0, device="cpu")
