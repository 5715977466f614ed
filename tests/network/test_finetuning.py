"""Fine-tuning: which weights learn at which step, and that a killed run goes on to the same bytes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from alservice.errors import BadConfig
from alservice.network.architectures import NetworkConfig, build_network
from alservice.network.config import FineTuning, FitConfig
from alservice.network.files import tensors_to_bytes
from alservice.network.finetuning import parts_of, trunk_blocks, unfreeze
from alservice.network.training import fit, on_trunk_of
from alservice.science.tree import load_tree

TREE = load_tree("gz-rings")
SMALL = NetworkConfig(name="small", image_px=16, heads=2)
CONFIG = FitConfig(network=SMALL, steps=10, batch=4, looks=2, threads=1, tuning=FineTuning())
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 1, 16, 16), dtype=np.uint8)
COUNTS = np.tile(np.array([[1, 0], [0, 1]]), (6, 1))


@pytest.fixture(scope="module")
def encoder():
    """Return a network with statistics of its own in the batch norms."""
    network = build_network(SMALL, load_tree("gz2"), seed=1).train()
    with torch.no_grad():
        network.trunk(network.pixels(torch.from_numpy(IMAGES)))
    return network.eval()


def tuned(encoder, tuning, **options):
    """Return the state before and after fine-tuning."""
    initial = on_trunk_of(encoder, TREE, seed=0).state_dict()
    config = replace(CONFIG, tuning=tuning)
    result = fit(IMAGES, COUNTS, TREE, config, device="cpu", progress=lambda _: None, initial=initial, **options)
    return initial, result


def changed(before, after):
    """Return the names of weights that differ."""
    return {name for name, weight in before.items() if not torch.equal(weight, after[name])}


@pytest.mark.parametrize(("blocks", "expected"), [(0, set()), (2, {"5", "4"}), (None, {"0", "2", "3", "4", "5"})])
def test_only_the_blocks_asked_for_learn(encoder, blocks, expected):
    """Heads always do, statistics of batch norms never."""
    before, result = tuned(encoder, FineTuning(blocks=blocks))
    moved = changed(before, result.state)
    assert {name.split(".")[2] for name in moved if name.startswith("trunk.")} == expected
    assert "heads.weights.0" in moved
    assert not [name for name in moved if "running" in name or "num_batches" in name]


def test_blocks_join_from_the_top_and_learn_slower_further_down(encoder):
    """Heads for three tenths of the steps, then a block after equal times; rates fall by the same factor."""
    network = on_trunk_of(encoder, TREE, seed=0)
    config = replace(CONFIG, steps=100, tuning=FineTuning(rate=0.5, decay=0.5))
    parts = parts_of(network, config)
    assert [part.first_step for part in parts] == [0, 30, 36, 42, 48, 54]
    assert [part.rate for part in parts] == [1, 0.5, 0.25, 0.125, 0.0625, 0.03125]
    for step, learning in ((0, 0), (29, 0), (30, 1), (54, 5)):
        unfreeze(network, parts, step)
        blocks = [all(weight.requires_grad for weight in part.weights) for part in parts[1:]]
        assert blocks == [True] * learning + [False] * (5 - learning)


@pytest.mark.parametrize(
    ("name", "n"),
    [
        ("small", 5),
        ("walmsley2020", 7),
        ("timm:test_convnext", 5),
        ("timm:test_efficientnet", 7),
        ("timm:test_vit", 7),
        ("timm:test_resnet", 5),
    ],
)
def test_every_weight_of_a_trunk_is_in_one_block(name, n):
    """Stem and stages of networks of several families; what lies outside of layers is the stem's."""
    config = NetworkConfig.of(name, channels=1, image_px=160 if "vit" in name else 32, field=1.0)
    network = build_network(config, TREE, seed=0)
    blocks = trunk_blocks(network)
    assert len(blocks) == n
    ids = [id(weight) for block in blocks for weight in block]
    assert sorted(ids) == sorted(map(id, network.trunk.parameters()))


def test_a_resumed_run_is_the_unbroken_run(encoder):
    """Killed between two steps with a part of the trunk awake, it ends in the same bytes."""
    _, whole = tuned(encoder, FineTuning())
    checkpoints = []
    tuned(encoder, FineTuning(), on_checkpoint=checkpoints.append, is_due=lambda step: step == 4)
    _, resumed = tuned(encoder, FineTuning(), checkpoint=checkpoints[0])
    assert tensors_to_bytes(resumed.state, {}) == tensors_to_bytes(whole.state, {})
    assert resumed.history == whole.history


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FineTuning(blocks=-1), "0 or more blocks"),
        (lambda: FineTuning(rate=0), "rate and decay above 0"),
        (lambda: FineTuning(frozen=0.6), "frozen of 0 to 0.5"),
        (lambda: replace(CONFIG, optimiser="muon"), "optimiser adamw"),
        (
            lambda: parts_of(build_network(SMALL, TREE, seed=0), replace(CONFIG, tuning=FineTuning(blocks=6))),
            "small has 5 blocks, not 6 to unfreeze",
        ),
    ],
)
def test_what_is_no_schedule_is_refused(make, message):
    """The message says what would be one."""
    with pytest.raises(BadConfig, match=message):
        make()
