"""The network of Dieleman 2015: its shapes, its 16 viewpoints, and what it can learn."""

from dataclasses import replace

import pytest
import torch

from alservice.network.architectures import CROP_PX, Dieleman2015, NetworkConfig, build_network, viewpoints
from alservice.network.config import FitConfig
from alservice.network.training import Trainer
from alservice.science.tree import load_tree

TREE = load_tree("gz2")
CONFIG = NetworkConfig.of("dieleman2015", channels=3, image_px=69, field=1.0)


def noise(*shape):
    """Return noise images."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def network():
    """The paper's network, untrained."""
    return build_network(CONFIG, TREE, seed=0)


def test_it_has_the_papers_layers(network):
    """16 x 512 = 8192 maps, two maxout layers of 2048 out of 4096, 37 outputs: about 42 million weights."""
    assert [tuple(p.shape[1:]) for p in network.heads.weights] == [(8192, 4096), (2048, 4096), (2048, 37)]
    assert network.heads.dropout == 0.5
    assert 41e6 < sum(p.numel() for p in network.parameters()) < 43e6


def test_biases_are_untied():
    """Every pixel of a layer's output has its own bias: the two kernels after them see 40, 16, 6 and 4 px."""
    shapes = [tuple(p.shape) for name, p in Dieleman2015(channels=3).named_parameters() if "untied" in name]
    assert shapes == [(32, 40, 40), (64, 16, 16), (128, 6, 6), (128, 4, 4)]


def test_viewpoints_overlap_about_the_centre():
    """There are 16 of 45 px for each image, and the centre of the image is in the lower right of every one."""
    image = torch.zeros(2, 1, 69, 69)
    image[..., 34, 34] = 1
    views = viewpoints(image)
    assert views.shape == (32, 1, CROP_PX, CROP_PX)
    row, column = views.flatten(1).argmax(1) // CROP_PX, views.flatten(1).argmax(1) % CROP_PX
    assert row.unique().tolist() == column.unique().tolist() == [34]


def as_set(views):
    """Return the viewpoints of one image, sorted by a fingerprint."""
    return views[views.flatten(1).double().mul(torch.arange(1, views[0].numel() + 1)).sum(1).argsort()]


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("flip", [False, True])
def test_a_turned_or_mirrored_image_has_the_same_viewpoints(turns, flip):
    """Quarter turns and flips only change their order."""
    image = noise(1, 1, 69, 69)
    other = torch.rot90(image.flip(-1) if flip else image, turns, dims=(-2, -1))
    upright, turned = viewpoints(image), viewpoints(other)
    for part in (slice(0, 8), slice(8, 16)):
        torch.testing.assert_close(as_set(turned[part]), as_set(upright[part]), atol=1e-5, rtol=0)
    assert not torch.equal(upright, turned)


def test_maps_of_one_image_stand_together():
    """An embedding holds the viewpoints of its own image, in their order, whoever shares the batch."""
    trunk = Dieleman2015(channels=1).eval()
    images = noise(3, 1, 69, 69)
    with torch.no_grad():
        torch.testing.assert_close(trunk(images)[1:2], trunk(images[1:2]), atol=1e-5, rtol=1e-4)
        first = trunk.convolutions(viewpoints(images[:1])).flatten(1)
        torch.testing.assert_close(trunk(images)[0].view(16, -1), first, atol=1e-5, rtol=1e-4)


def test_images_of_another_size_are_resampled(network):
    """At 32 px the same weights serve; the answers of a question are shares that add up to its precision."""
    small = build_network(replace(CONFIG, image_px=32), TREE, seed=0).eval()
    with torch.no_grad():
        draws = small.draw(small.embed(noise(1, 3, 32, 32), views=1), small.heads.posterior_masks(3, seed=0))
    totals = torch.stack([draws[..., answers].sum(-1) for answers in TREE.slices], dim=-1)
    torch.testing.assert_close(totals, torch.full_like(totals, 10.0), rtol=1e-4, atol=0)


def test_a_step_trains_it_towards_the_recorded_fractions(network):
    """Its loss is the squared error of fractions, and falls."""
    config = FitConfig(network=CONFIG, steps=100, batch=4, threads=1, learning_rate=3e-4, warm_up=0.0)
    trainer = Trainer(network, config)
    images = torch.randint(0, 256, (4, 3, 69, 69), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    counts = torch.zeros(4, TREE.n_answers)
    counts[:, 1] = 10
    losses = [trainer.advance(images, counts, torch.ones(4, 1)) for _ in range(2)]
    assert 0 < losses[0] < 1
    assert losses[-1] < losses[0]


def test_images_of_another_size_are_resampled_in_low_precision_too():
    """As prediction does where the processor multiplies bfloat16."""
    trunk = Dieleman2015(channels=1).to(torch.bfloat16)
    assert trunk(torch.rand(1, 1, 80, 80, dtype=torch.bfloat16)).dtype == torch.bfloat16
