"""Posterior draws of many images: the same in any batch, and refused where they would mean nothing."""

import numpy as np
import pytest
import torch

from alservice.errors import BadConfig, BadImage, NumericalFault
from alservice.network.architectures import NetworkConfig, build_network
from alservice.network.sampling import sample_posterior
from alservice.science.tree import load_tree

TREE = load_tree("gz2")
IMAGES = np.random.default_rng(0).integers(0, 256, (13, 1, 32, 32)).astype(np.uint8)


@pytest.fixture
def network():
    """A network whose batch statistics, temperature and weights are not those of a fresh one."""
    network = build_network(NetworkConfig(image_px=32), TREE, seed=0)
    with torch.no_grad():
        network.trunk(torch.rand(64, 1, 32, 32, generator=torch.Generator().manual_seed(0)))
        network.heads.weights[-1].mul_(10)
        network.temperature.copy_(torch.linspace(0.5, 2, TREE.n_questions))
    return network


def sample(network, images=IMAGES, **keywords):
    """Return draws and embeddings, of 6 draws unless told otherwise."""
    return sample_posterior(network, images, **{"draws": 6, "seed": 4, "device": "cpu", **keywords})


def test_batches_and_shards_agree(network):
    """One by one, in odd batches or all at once, a galaxy has the same draws within 1e-4."""
    whole, embedded = sample(network)
    for parts in (
        [sample(network, IMAGES[:5]), sample(network, IMAGES[5:])],
        [sample(network, IMAGES[i : i + 1]) for i in range(13)],
    ):
        np.testing.assert_allclose(np.concatenate([p[0] for p in parts]), whole, rtol=1e-4)
        np.testing.assert_allclose(np.concatenate([p[1] for p in parts]), embedded, rtol=2e-3, atol=1e-4)


def test_a_network_in_training_mode_predicts_like_any_other(network):
    """Batch statistics and random masks of training play no part, whatever mode the network was left in."""
    in_prediction_mode, _ = sample(network.eval())
    in_training_mode, _ = sample(network.train())
    np.testing.assert_array_equal(in_prediction_mode, in_training_mode)


def test_draws_are_one_function_of_the_embedding(network):
    """Two galaxies with the same image have the same draws, and each galaxy's draws differ among themselves."""
    draws, _ = sample(network, np.concatenate([IMAGES, IMAGES[:1]]))
    np.testing.assert_allclose(draws[13], draws[0], rtol=1e-4)
    spread = np.log(draws).std(axis=1)
    assert (spread > 1e-3).mean() > 0.99


def test_the_posterior_does_not_know_which_way_is_up(network):
    """Flips and quarter turns of an image change its draws by less than 1e-4 with 8 views, and more with 1."""
    turned = np.ascontiguousarray(np.rot90(IMAGES, axes=(2, 3))[..., ::-1])
    np.testing.assert_allclose(sample(network, turned)[0], sample(network)[0], rtol=1e-4)
    assert not np.allclose(sample(network, turned, views=1)[0], sample(network, views=1)[0], rtol=1e-3)


def test_temperatures_are_in_the_draws(network):
    """The draws' precisions are the network's, times the temperature of each question."""
    fitted, _ = sample(network)
    tau = network.temperature.numpy().copy()
    network.temperature.fill_(1)
    np.testing.assert_allclose(fitted, sample(network)[0] * tau[TREE.question_of_answer], rtol=1e-4)


def test_no_images_give_no_draws(network):
    """An empty shard has an empty posterior of the right shapes."""
    draws, embeddings = sample(network, IMAGES[:0])
    assert draws.shape == (0, 6, TREE.n_answers)
    assert embeddings.shape == (0, 192)


def test_what_is_not_finite_is_raised(network):
    """A broken weight becomes a named error, not a posterior."""
    with torch.no_grad():
        network.heads.weights[0][0, 0, 0] = torch.nan
    with pytest.raises(NumericalFault, match="row 0"):
        sample(network)


def test_an_embedding_that_float16_cannot_hold_is_raised(network):
    """Embeddings beyond 65504 are a fault rather than infinity in storage."""
    with torch.no_grad():
        network.trunk.blocks[-1].second[1].bias.fill_(1e6)
    with pytest.raises(NumericalFault, match="embeddings"):
        sample(network)


@pytest.mark.parametrize("wrong", [{"draws": 0}, {"views": 3}])
def test_impossible_requests_are_refused(network, wrong):
    """No draws, or views that are no group of symmetries are configuration errors."""
    with pytest.raises(BadConfig):
        sample(network, **wrong)


@pytest.mark.parametrize("images", [IMAGES.astype(np.float32), IMAGES[:, :, :16], IMAGES[:, 0]])
def test_images_of_another_kind_are_refused(network, images):
    """Floats, another size or a missing axis raise before anything is computed."""
    with pytest.raises(BadImage):
        sample(network, images)
