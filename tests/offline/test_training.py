"""Training in memory: which galaxies count how much, and whose temperatures a model has."""

from dataclasses import replace

import numpy as np

from alservice.backfill.plan import target_of
from alservice.network.architectures import NetworkConfig
from alservice.network.config import FitConfig
from alservice.network.recalibration import recalibrated
from alservice.network.training import fit
from alservice.offline.training import TrainNetwork, restored_model
from alservice.progress import NoProgress
from alservice.science.reweighting import survey_weights
from alservice.science.tree import load_tree
from tests.support.backfills import galaxies_of

TARGET = target_of(load_tree("gz2"), "smooth")
TREE = TARGET.tree
CONFIG = FitConfig(network=NetworkConfig(image_px=16, heads=2), steps=4, batch=4, threads=1, looks=1, hold_out=0.4)
GALAXIES = replace(galaxies_of(TARGET, 200, seed=1, prefix="g"), unbiased=np.arange(200) % 2 == 0)


def state_of(galaxies, *, as_surveyed):
    """Return the weights that training leaves."""
    train = TrainNetwork(tree=TREE, device="cpu", code_revision="", progress=NoProgress(), as_surveyed=as_surveyed)
    _, data = train.run(galaxies, CONFIG)
    return restored_model(data, TREE, device="cpu")[0].state_dict()


def fitted(weights):
    """Return the weights that `fit` leaves."""
    result = fit(
        GALAXIES.images, GALAXIES.counts, TREE, CONFIG, device="cpu", progress=lambda _loss: None, weights=weights
    )
    return result.state


def same(state, expected):
    """Tell whether two states are equal to the bit."""
    return all(np.array_equal(state[name], tensor) for name, tensor in expected.items())


def test_as_surveyed_every_galaxy_counts_by_its_weight():
    """Weights come from the votes and the unbiased part, and no temperature is fitted anew."""
    weights = survey_weights(TREE, GALAXIES.counts, GALAXIES.unbiased)
    assert weights.std() > 0.01
    assert same(state_of(GALAXIES, as_surveyed=True), fitted(weights))


def test_otherwise_all_count_alike_and_temperatures_are_of_the_unbiased():
    """As a backfill trains, whose training set is what it chose."""
    plain = fitted(None)
    expected = recalibrated(plain, GALAXIES.images, GALAXIES.counts, TREE, CONFIG, fair=GALAXIES.unbiased, device="cpu")
    assert not same(plain, expected)
    assert same(state_of(GALAXIES, as_surveyed=False), expected)
