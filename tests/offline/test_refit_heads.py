"""A backfill on a trunk that is there already: the same rounds, from embeddings."""

from dataclasses import replace

import numpy as np
import pytest

from alservice.backfill.plan import target_of
from alservice.backfill.replay import Replay
from alservice.campaigns.policies import GatePolicy
from alservice.errors import NotFound
from alservice.network.architectures import NetworkConfig, build_network
from alservice.network.config import FitConfig
from alservice.network.sampling import sample_posterior
from alservice.offline.training import DRAWS_SEED, RefitHeads, TrainNetwork, restored_model
from alservice.progress import NoProgress
from alservice.science.tree import load_tree
from tests.support.backfills import Rounds, a_plan, galaxies_of

TREE = load_tree("gz2")
TARGET = target_of(TREE, "smooth")
POOL, TEST = galaxies_of(TARGET, 40, seed=1, prefix="p"), galaxies_of(TARGET, 30, seed=2, prefix="t")
CONFIG = FitConfig(network=NetworkConfig(image_px=16, heads=2), steps=5, batch=4, threads=1)


def a_learner():
    """Return heads on an untrained trunk, with the embeddings of pool and test."""
    encoder = build_network(CONFIG.network, TREE, seed=7)
    embeddings = {}
    for galaxies in (POOL, TEST):
        _, embedded = sample_posterior(encoder, galaxies.images, draws=2, seed=0, device="cpu", precision="float32")
        embeddings |= dict(zip(galaxies.galaxy_ids, embedded.astype(np.float32), strict=True))
    return RefitHeads(
        tree=TARGET.tree, device="cpu", code_revision="test", encoder=encoder, digest="abc", embeddings=embeddings
    )


def test_a_model_of_heads_is_a_model_like_any_other() -> None:
    """Its bytes say where the trunk came from, and predict from images what it predicted from embeddings."""
    learner = a_learner()
    card, data = learner.run(POOL, CONFIG)
    assert (card.parent, card.n_galaxies, card.tree_hash) == ("abc", 40, TARGET.tree.hash)
    network, _, _ = restored_model(data, TARGET.tree, device="cpu")
    drawn, _ = sample_posterior(network, TEST.images, draws=4, seed=DRAWS_SEED, device="cpu", precision="float32")
    np.testing.assert_allclose(learner.draws(network, TEST, 4), drawn, rtol=0.02)


def test_a_backfill_runs_on_heads_alone() -> None:
    """Each round adds its batch; the same seed gives the same curve."""
    replay = Replay(
        target=TARGET,
        plan=a_plan(),
        pool=POOL,
        test=TEST,
        training=CONFIG,
        gate=GatePolicy(min_galaxies=10, min_question_galaxies=10, repeats=100),
        learner=a_learner(),
        rounds=Rounds(),
        seconds=lambda: 0.0,
    )
    run, again = replay.run("epig", 0), replace(replay, rounds=Rounds()).run("epig", 0)
    assert [done.labels for done in run] == [10, 14, 18]
    assert [done.document() for done in run] == [done.document() for done in again]


def test_a_galaxy_that_was_not_embedded_is_named() -> None:
    """Nothing is made up for it."""
    learner = a_learner()
    with pytest.raises(NotFound, match="t000"):
        replace(learner, embeddings={name: learner.embeddings[name] for name in POOL.galaxy_ids}).run(TEST, CONFIG)


def test_whole_networks_are_asked_in_the_same_words() -> None:
    """`TrainNetwork` draws what `sample_posterior` does."""
    learner = TrainNetwork(tree=TARGET.tree, device="cpu", code_revision="test", progress=NoProgress())
    network = build_network(CONFIG.network, TARGET.tree, seed=1)
    drawn, _ = sample_posterior(network, TEST.images, draws=3, seed=DRAWS_SEED, device="cpu")
    np.testing.assert_array_equal(learner.draws(network, TEST, 3), drawn)
