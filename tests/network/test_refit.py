"""Heads fitted on a trunk that stays: they learn, the trunk does not move, and the same seed gives the same bits."""

import numpy as np
import pytest
import torch

from alservice.backfill.plan import target_of
from alservice.errors import NumericalFault
from alservice.network.architectures import NetworkConfig, build_network
from alservice.network.config import FitConfig
from alservice.network.training import on_trunk_of, refit_heads
from alservice.science.tree import load_tree

TREE = load_tree("gz2")
SMOOTH = target_of(TREE, "smooth").tree
SMALL = NetworkConfig(image_px=16, heads=2)
CONFIG = FitConfig(network=SMALL, steps=60, batch=16, hold_out=0.2, learning_rate=1e-2)
KEYS = tuple(f"g{row}" for row in range(80))


def a_network(seed=0):
    """Return fresh heads for Smooth on the trunk of a network for the whole tree."""
    return on_trunk_of(build_network(SMALL, TREE, seed=5), SMOOTH, seed=seed)


def galaxies(n=80):
    """Return embeddings whose first value says what the votes will be."""
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(n, build_network(SMALL, TREE, seed=0).trunk.embedding)).astype(np.float32)
    share = 1 / (1 + np.exp(-3 * embeddings[:, 0]))
    k = rng.binomial(40, share)
    counts = np.stack([k, 40 - k, np.zeros_like(k)], axis=1).astype(np.float32)
    return torch.from_numpy(embeddings), torch.from_numpy(counts)


def test_heads_learn_and_the_trunk_stays() -> None:
    """The loss of held-out galaxies falls below that of a short training; no weight of the trunk moves."""
    embeddings, counts = galaxies()
    network = a_network()
    before = {name: tensor.clone() for name, tensor in network.trunk.state_dict().items()}
    _, short = refit_heads(a_network(), embeddings, counts, KEYS, FitConfig(network=SMALL, steps=1, batch=16))
    train, held_out = refit_heads(network, embeddings, counts, KEYS, CONFIG)
    assert held_out < short - 0.5
    assert np.isfinite(train)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.trunk.state_dict().items())


def test_the_trunk_is_the_encoders_and_the_heads_are_new() -> None:
    """Heads answer the questions of the tree that is asked for."""
    encoder = build_network(SMALL, TREE, seed=5)
    network = on_trunk_of(encoder, SMOOTH, seed=1)
    assert network.tree is SMOOTH
    pairs = zip(network.trunk.state_dict().values(), encoder.trunk.state_dict().values(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


def test_the_same_seed_gives_the_same_heads() -> None:
    """To the bit; another seed gives others."""
    embeddings, counts = galaxies()
    states = []
    for seed in (3, 3, 4):
        network = a_network(seed)
        refit_heads(network, embeddings, counts, KEYS, FitConfig(network=SMALL, steps=5, batch=16, seed=seed))
        states.append(torch.cat([weight.flatten() for weight in network.heads.weights]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_an_embedding_that_is_no_number_is_refused() -> None:
    """Nothing is fitted to it."""
    embeddings, counts = galaxies()
    embeddings[:] = torch.inf
    with pytest.raises(NumericalFault, match="finite"):
        refit_heads(a_network(), embeddings, counts, KEYS, CONFIG)
