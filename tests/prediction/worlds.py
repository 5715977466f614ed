"""A model and packs of random galaxies, small enough to predict in a moment."""

import numpy as np
import torch

from alservice.catalogue.galaxies import Shard
from alservice.network.architectures import NetworkConfig, build_network
from alservice.network.files import ModelCard, to_bytes
from alservice.prediction.overlap import predict_overlapped
from alservice.prediction.shard import ShardPredictor, ShardTask
from alservice.storage import arrays
from tests.support.models import registered
from tests.support.worlds import TREE, make_campaign

CAMPAIGN = make_campaign()
CONFIG = NetworkConfig(name="small", image_px=16)


def make_model(objects, *, seed=0, heads=None):
    """Register a network of a seed; with `heads`, of that seed's trunk and other heads."""
    network = build_network(CONFIG, TREE, seed=seed)
    with torch.no_grad():
        network.heads.weights[-1].mul_(10)
        network.temperature.copy_(torch.linspace(0.5, 2, TREE.n_questions))
        if heads is not None:
            network.heads.load_state_dict(build_network(CONFIG, TREE, seed=heads).heads.state_dict())
    card = ModelCard(
        network=CONFIG,
        training={},
        tree=TREE.name,
        tree_hash=TREE.hash,
        data_digest="0" * 64,
        n_galaxies=1,
        n_votes=1,
        seed=seed,
        code_revision="test",
        history=(),
    )
    return registered(objects.put(to_bytes(network.state_dict(), card), kind="models", suffix=".safetensors").key)


def make_tasks(objects, n_shards=5, size=7):
    """Store packs of random galaxies; all but the first of the first pack are wanted, and one that it lacks."""
    rng = np.random.default_rng(0)
    tasks = []
    for index in range(n_shards):
        ids = tuple(f"g{index}-{i}" for i in range(size))
        images = rng.integers(0, 256, (size, 1, 16, 16)).astype(np.uint8)
        key = objects.put(arrays.pack_images(ids, images), kind="packs", suffix=".safetensors").key
        wanted = frozenset(ids) if index else frozenset((*ids[1:], "absent"))
        tasks.append(ShardTask(pack=Shard(index=index, key=key, n_galaxies=size, n_failed=0), wanted=wanted))
    return tasks


def predict(objects, model, tasks, *, devices=("cpu",), campaign=CAMPAIGN):
    """Predict tasks on devices."""
    predictors = [ShardPredictor.load(objects, model, campaign, device) for device in devices]
    return list(predict_overlapped(tasks, predictors))
