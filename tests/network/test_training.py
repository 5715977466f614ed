"""Networks, training, sampling and cards on toy galaxies: learns, repeats to the bit, and means what it says."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from alservice.documents import document_of
from alservice.errors import BadConfig, BadInput, BadVotes
from alservice.network.architectures import NETWORKS, Network, NetworkConfig, build_network
from alservice.network.augment import Augmentation, augment
from alservice.network.config import FitConfig, FitResult, resolve_device
from alservice.network.files import ModelCard, from_bytes, to_bytes
from alservice.network.likelihood import mixture_nll
from alservice.network.sampling import sample_posterior
from alservice.network.training import fit
from alservice.science.tree import load_tree

TREE = load_tree("gz-rings")
SMALL = sorted(set(NETWORKS) - {"dieleman2015"})  # its 42 million weights have tests of their own
NETWORK = NetworkConfig(image_px=32, heads=2)
CONFIG = FitConfig(network=NETWORK, steps=30, batch=16, threads=1, looks=3, seed=1)


def toys(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return bright (ring) and dark images (N, 1, 32, 32) with twenty nearly certain votes each."""
    rng = np.random.default_rng(seed)
    bright = rng.integers(0, 2, n)
    images = rng.normal(60 + 100 * bright[:, None, None, None], 20, (n, 1, 32, 32)).clip(0, 255).astype(np.uint8)
    yes = rng.binomial(20, 0.05 + 0.9 * bright)
    return images, np.stack([yes, 20 - yes], axis=1)


def silent(_loss: float) -> None:
    """Show nothing."""


@pytest.fixture(scope="module")
def trained() -> FitResult:
    """A network that has seen two hundred toys."""
    images, counts = toys(200)
    return fit(images, counts, TREE, CONFIG, device="cpu", progress=silent)


def network_of(result: FitResult) -> Network:
    """Return the trained network."""
    network = build_network(NETWORK, TREE, seed=0)
    network.load_state_dict(result.state)
    return network.eval()


def held_out_nll(network: Network) -> float:
    """Return nats per galaxy on toys nobody trained on."""
    images, counts = toys(64, seed=9)
    draws, _ = sample_posterior(network, images, draws=8, seed=0, device="cpu")
    return float(mixture_nll(torch.from_numpy(draws), torch.from_numpy(counts), TREE).sum(-1).mean())


def test_training_learns(trained: FitResult) -> None:
    """It predicts new toys far better than an untrained network does."""
    assert held_out_nll(network_of(trained)) < 0.7 * held_out_nll(build_network(NETWORK, TREE, seed=0).eval())


def test_the_same_training_gives_the_same_bits(trained: FitResult) -> None:
    """Data, seed and threads decide every weight."""
    images, counts = toys(200)
    again = fit(images, counts, TREE, CONFIG, device="cpu", progress=silent)
    assert all(torch.equal(again.state[name], tensor) for name, tensor in trained.state.items())
    assert again.history == trained.history


def test_low_precision_learns_and_repeats_to_the_bit() -> None:
    """With bfloat16 products the same run gives the same weights, near to those of float32 and not the same."""
    images, counts = toys(60)
    short = replace(CONFIG, steps=4, looks=1)
    low = replace(short, precision="bfloat16")
    first, again, full = (fit(images, counts, TREE, c, device="cpu", progress=silent).state for c in (low, low, short))
    assert all(torch.equal(first[name], again[name]) for name in first)
    name = "trunk.blocks.2.first.0.weight"
    assert not torch.equal(first[name], full[name])
    assert (first[name] - full[name]).norm() < 0.2 * full[name].norm()


def test_another_seed_gives_another_network(trained: FitResult) -> None:
    """The seed is used."""
    images, counts = toys(200)
    other = fit(images, counts, TREE, replace(CONFIG, seed=2, steps=3), device="cpu", progress=silent)
    assert any(not torch.equal(other.state[name], tensor) for name, tensor in trained.state.items())


def test_a_warm_start_begins_where_it_was_told(trained: FitResult) -> None:
    """One step from trained weights is better than one step from fresh ones."""
    images, counts = toys(200)
    short = replace(CONFIG, steps=1, looks=1, learning_rate=1e-5)
    warm = fit(images, counts, TREE, short, device="cpu", progress=silent, initial=trained.state)
    cold = fit(images, counts, TREE, short, device="cpu", progress=silent)
    assert warm.history[-1]["hold_out"] < cold.history[-1]["hold_out"]


def test_progress_hears_of_every_step() -> None:
    """Bars move, and figures are losses."""
    images, counts = toys(40)
    heard: list[float] = []
    fit(images, counts, TREE, replace(CONFIG, steps=5), device="cpu", progress=heard.append)
    assert len(heard) == 5
    assert all(np.isfinite(heard))


def test_training_refuses_what_does_not_go_together() -> None:
    """Images without votes, or a single galaxy, are named."""
    images, counts = toys(4)
    with pytest.raises(BadVotes, match="4 images and 3 rows"):
        fit(images, counts[:3], TREE, CONFIG, device="cpu", progress=silent)
    with pytest.raises(BadVotes, match="1 images"):
        fit(images[:1], counts[:1], TREE, CONFIG, device="cpu", progress=silent)


@pytest.mark.parametrize("name", SMALL)
def test_embeddings_do_not_know_up_from_down(name: str) -> None:
    """All eight flips and quarter turns of an image have one embedding."""
    network = build_network(replace(NETWORK, name=name), TREE, seed=3).eval()
    images = torch.from_numpy(toys(2)[0])
    with torch.inference_mode():
        plain = network.embed(network.pixels(images), views=8)
        for turns in range(4):
            for image in (images, images.flip(-1)):
                turned = network.embed(network.pixels(torch.rot90(image, turns, dims=(-2, -1))), views=8)
                torch.testing.assert_close(turned, plain, atol=1e-5, rtol=1e-5)


def test_a_shard_gives_the_same_bytes_and_nearly_the_same_in_other_batches(trained: FitResult) -> None:
    """Draw t is one function: neither the neighbours nor the batch size matter."""
    images, _ = toys(37)
    network = network_of(trained)
    whole, embedded = sample_posterior(network, images, draws=6, seed=4, device="cpu")
    again, _ = sample_posterior(network, images, draws=6, seed=4, device="cpu")
    assert whole.tobytes() == again.tobytes()
    parts = [
        sample_posterior(network, images[rows], draws=6, seed=4, device="cpu")
        for rows in ([*range(20)], [*range(20, 37)])
    ]
    np.testing.assert_allclose(np.concatenate([p[0] for p in parts]), whole, rtol=1e-4)
    np.testing.assert_allclose(np.concatenate([p[1] for p in parts]), embedded, rtol=2e-3, atol=1e-4)
    assert whole.dtype == np.float32
    assert embedded.dtype == np.float16


def test_draws_differ_from_each_other(trained: FitResult) -> None:
    """Dropout is on when the posterior is drawn: identical draws would hide all that the model does not know."""
    draws, _ = sample_posterior(network_of(trained), toys(8)[0], draws=6, seed=4, device="cpu")
    assert (draws.std(axis=1) > 1e-4).any()


def test_images_of_another_size_are_refused(trained: FitResult) -> None:
    """The message says what was expected."""
    with pytest.raises(BadInput, match="32"):
        sample_posterior(network_of(trained), np.zeros((1, 1, 48, 48), np.uint8), draws=2, seed=0, device="cpu")


def test_an_unknown_network_is_refused_with_the_known_ones() -> None:
    """The registry is the list."""
    with pytest.raises(BadConfig, match="compact"):
        NetworkConfig(name="resnet9000")


def test_views_are_of_the_same_galaxies_and_repeat_with_their_generator() -> None:
    """Augmentation turns and flips, and keeps brightness about where it was."""
    images = torch.from_numpy(toys(16)[0])
    one = augment(images, Augmentation(), output_px=32, generator=torch.Generator().manual_seed(1))
    two = augment(images, Augmentation(), output_px=32, generator=torch.Generator().manual_seed(1))
    assert torch.equal(one, two)
    assert not torch.allclose(one, images.float() / 255, atol=0.02)
    torch.testing.assert_close(one.mean((1, 2, 3)), images.float().mean((1, 2, 3)) / 255, atol=0.05, rtol=0.1)


def card_of(result: FitResult) -> ModelCard:
    """Return a card with made-up lineage."""
    return ModelCard(
        network=NETWORK,
        training=document_of(CONFIG),
        tree=TREE.name,
        tree_hash=TREE.hash,
        data_digest="d" * 64,
        n_galaxies=200,
        n_votes=4000,
        seed=1,
        code_revision="0.1.0",
        history=result.history,
    )


def test_weights_and_card_survive_as_bytes(trained: FitResult) -> None:
    """What comes back is what went in, and equal models are equal bytes."""
    data = to_bytes(trained.state, card_of(trained))
    state, card = from_bytes(data, tree=TREE)
    assert json.dumps(document_of(card), sort_keys=True) == json.dumps(document_of(card_of(trained)), sort_keys=True)
    assert card.network == NETWORK
    assert all(torch.equal(state[name], tensor) for name, tensor in trained.state.items())
    assert data == to_bytes(trained.state, card_of(trained))


def test_a_model_of_another_tree_is_refused(trained: FitResult) -> None:
    """Columns would mean something else."""
    with pytest.raises(BadInput, match="gz-rings"):
        from_bytes(to_bytes(trained.state, card_of(trained)), tree=load_tree("gz2"))


@pytest.mark.parametrize("damage", ["empty", "cut", "noise"])
def test_bytes_that_are_no_model_are_refused(trained: FitResult, damage: str) -> None:
    """Nothing is half loaded."""
    data = to_bytes(trained.state, card_of(trained))
    broken = {"empty": b"", "cut": data[: len(data) // 2], "noise": b"\x80\x04pickle" * 100}[damage]
    with pytest.raises(BadInput, match="not a model"):
        from_bytes(broken, tree=TREE)


def test_devices_are_checked_by_name() -> None:
    """A device that is not there is a configuration error, said at once."""
    assert resolve_device("cpu") == "cpu"
    with pytest.raises(BadConfig, match="mars"):
        resolve_device("mars")
