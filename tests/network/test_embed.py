"""Embeddings made fast: those of the network itself, and the same whoever shares the batch."""

import pytest
import torch

from alservice.errors import BadConfig
from alservice.network.architectures import NetworkConfig, build_network
from alservice.network.config import resolve_precision
from alservice.network.sampling import Embedder
from alservice.science.tree import load_tree

TREE = load_tree("gz2")
IMAGES = torch.randint(0, 256, (21, 1, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


@pytest.fixture
def network():
    """A network whose batch norms are far from doing nothing."""
    network = build_network(NetworkConfig(image_px=32), TREE, seed=0)
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            torch.nn.init.uniform_(module.weight, 0.5, 2, generator=generator)
    return network.eval()


@pytest.mark.parametrize("views", [1, 2, 4, 8])
def test_folded_batch_norms_change_nothing(network, views):
    """In float32 the embeddings are the network's own, for any number of views, and the network is left as it was."""
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.no_grad():
        expected = network.embed(network.pixels(IMAGES), views=views)
    torch.testing.assert_close(Embedder(network, views=views, dtype=torch.float32)(IMAGES), expected)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_bfloat16_is_near(network):
    """Its embeddings are off by less than a hundredth of their size, and by something."""
    full, low = (Embedder(network, views=8, dtype=dtype)(IMAGES) for dtype in (torch.float32, torch.bfloat16))
    assert low.dtype == torch.float32
    assert 0 < (low - full).norm() < 0.01 * full.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_blocks_do_not_show(network, dtype):
    """One by one, in the middle of others or at the end of a block, an image has one embedding within 1e-5."""
    embed = Embedder(network, views=8, dtype=dtype)
    whole = embed(IMAGES)
    torch.testing.assert_close(torch.cat([embed(IMAGES[i : i + 1]) for i in range(21)]), whole, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(embed(IMAGES.flip(0)).flip(0), whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_embeddings_do_not_know_which_way_is_up(network, dtype):
    """Over 8 views all flips and quarter turns have one embedding, in low precision too."""
    embed = Embedder(network, views=8, dtype=dtype)
    for turns in range(4):
        for image in (IMAGES, IMAGES.flip(-1)):
            turned = torch.rot90(image, turns, dims=(-2, -1))
            torch.testing.assert_close(embed(turned), embed(IMAGES), atol=1e-5, rtol=1e-5)


def test_precisions_have_names():
    """Auto is one of the two; others are refused."""
    assert resolve_precision("float32", "cpu") is torch.float32
    assert resolve_precision("bfloat16", "cpu") is torch.bfloat16
    assert resolve_precision("auto", "cpu") in {torch.float32, torch.bfloat16}
    with pytest.raises(BadConfig, match="float16"):
        resolve_precision("float16", "cpu")
