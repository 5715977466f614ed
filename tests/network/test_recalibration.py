"""Temperatures of a fair sample: fitted on its held-out galaxies, and on no others."""

import numpy as np
import torch

from alservice.network.architectures import NetworkConfig, build_network
from alservice.network.config import FitConfig
from alservice.network.recalibration import recalibrated
from alservice.network.sampling import sample_posterior
from alservice.network.training import fit_temperature, held_out, image_keys
from alservice.science.tree import load_tree

RINGS = load_tree("gz-rings")
CONFIG = FitConfig(network=NetworkConfig(image_px=16), steps=1, hold_out=0.3, threads=1)
IMAGES = np.random.default_rng(0).integers(0, 256, (200, 1, 16, 16)).astype(np.uint8)
STATE = build_network(CONFIG.network, RINGS, seed=0).state_dict()


def run(counts, fair):
    """Return the temperature (Q,) of a state whose own is 3."""
    state = {**STATE, "temperature": torch.full((RINGS.n_questions,), 3.0)}
    return recalibrated(state, IMAGES, counts, RINGS, CONFIG, fair=fair, device="cpu")["temperature"]


def votes(unanimous):
    """Return counts (N, A): where marked everyone agrees, either way, elsewhere they are split in halves."""
    first = np.where(unanimous, np.where(np.arange(200) % 2, 20, 0), 10)
    counts = np.zeros((200, RINGS.n_answers), dtype=np.int64)
    for part in RINGS.slices:
        counts[:, part.start], counts[:, part.start + 1] = first, 20 - first
    return counts


def test_only_held_out_galaxies_of_the_fair_sample_count():
    """What others voted does not matter, and the factor is that of the plain fit, without the one there was."""
    fair = np.arange(200) % 5 != 0
    judges = held_out(image_keys(IMAGES), CONFIG.hold_out) & fair
    found = run(votes(judges), fair)
    torch.testing.assert_close(found, run(votes(judges | ~fair), fair))
    assert (found < run(votes(~judges), fair)).all()
    network = build_network(CONFIG.network, RINGS, seed=0)
    draws, _ = sample_posterior(network, IMAGES[judges], draws=30, seed=CONFIG.seed, device="cpu")
    expected = fit_temperature(torch.from_numpy(draws), torch.from_numpy(votes(judges)[judges]), RINGS)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)


def test_without_a_fair_part_the_temperatures_stay():
    """Everything fair, or too few of them held out: what `fit` found is kept."""
    for fair in (np.ones(200, dtype=bool), np.zeros(200, dtype=bool), np.arange(200) < 20):
        assert (run(votes(fair), fair) == 3).all()
