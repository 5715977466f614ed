"""Networks by name: shapes, symmetry, and weights that follow from a seed."""

import math

import pytest
import torch
from torch import nn

from alservice.errors import BadConfig
from alservice.network.architectures import NETWORKS, NetworkConfig, Residual, build_network, log_precision_of
from alservice.science.tree import load_tree

TREE = load_tree("gz2")
SMALL = sorted(set(NETWORKS) - {"dieleman2015"})  # its 42 million weights have tests of their own


def pixels(*shape, seed=0):
    """Return noise images."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_network_draws_concentrations(name, channels):
    """Each network turns images into positive concentrations (B, T, A)."""
    network = build_network(NetworkConfig(name=name, channels=channels, image_px=32), TREE, seed=0).eval()
    embeddings = network.embed(pixels(2, channels, 32, 32), views=1)
    draws = network.draw(embeddings, network.heads.posterior_masks(4, seed=0))
    assert draws.shape == (2, 4, TREE.n_answers)
    assert (draws > 0).all()


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("image_px", [32, 41])
def test_embeddings_do_not_know_which_way_is_up(name, image_px):
    """Over 8 views an embedding is the same for all flips and quarter turns; over 1 it is not."""
    network = build_network(NetworkConfig(name=name, image_px=image_px), TREE, seed=0).eval()
    image = pixels(1, 1, image_px, image_px)
    turned = [torch.rot90(i, k, dims=(2, 3)) for k in range(4) for i in (image, image.flip(3))]
    with torch.no_grad():
        eight = torch.cat([network.embed(i, views=8) for i in turned])
        one = torch.cat([network.embed(i, views=1) for i in turned])
    assert (eight - eight[0]).abs().max() < 1e-5
    assert (one - one[0]).abs().max() > 1e-4


def test_the_four_first_views_are_the_turns():
    """Over 4 views an embedding is the same for quarter turns, and still knows a mirror image."""
    network = build_network(NetworkConfig(image_px=32), TREE, seed=0).eval()
    image = pixels(1, 1, 32, 32)
    with torch.no_grad():
        plain, turned, mirrored = (
            network.embed(i, views=4) for i in (image, torch.rot90(image, dims=(2, 3)), image.flip(3))
        )
    assert (plain - turned).abs().max() < 1e-5
    assert (plain - mirrored).abs().max() > 1e-4


def test_a_prediction_does_not_depend_on_the_batch():
    """In prediction a galaxy's embedding is the same whoever shares its batch."""
    network = build_network(NetworkConfig(image_px=32), TREE, seed=0).eval()
    images = pixels(5, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(
            network.embed(images, views=2)[3:4], network.embed(images[3:4], views=2), rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize(
    ("image_px", "field", "input_px"), [(64, 1.0, 64), (64, 0.5, 32), (65, 0.5, 33), (112, 0.43, 48)]
)
def test_the_field_is_the_centre(image_px, field, input_px):
    """A field below 1 looks at the middle of the image only, off by no pixel."""
    config = NetworkConfig(image_px=image_px, field=field)
    network = build_network(config, TREE, seed=0)
    images = torch.zeros(1, 1, image_px, image_px, dtype=torch.uint8)
    margin = (image_px - input_px) // 2
    images[:, :, margin : image_px - margin, margin : image_px - margin] = 255
    seen = network.pixels(images)
    assert config.input_px == input_px
    assert seen.shape == (1, 1, input_px, input_px)
    assert (seen == 1).all()


def test_weights_follow_from_the_seed_and_touch_no_global_randomness():
    """The same seed gives the same weights, another others, and the global generator is left alone."""
    before = torch.get_rng_state()
    first, again, other = (build_network(NetworkConfig(), TREE, seed=s).state_dict() for s in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["trunk.blocks.0.0.weight"], other["trunk.blocks.0.0.weight"])
    assert torch.equal(before, torch.get_rng_state())


def test_every_weight_is_set():
    """A fresh network has finite weights, distinct heads and a temperature of 1."""
    network = build_network(NetworkConfig(), TREE, seed=0)
    assert all(torch.isfinite(tensor).all() for tensor in network.state_dict().values())
    assert not torch.equal(network.heads.weights[0][0], network.heads.weights[0][1])
    assert (network.temperature == 1).all()


def test_a_fresh_network_is_undecided():
    """Before training all answers are about as likely, with a precision near 10."""
    network = build_network(NetworkConfig(image_px=32), TREE, seed=0).eval()
    with torch.no_grad():
        draws = network.draw(network.embed(pixels(4, 1, 32, 32), views=1), network.heads.posterior_masks(5, seed=0))
    smooth = draws[..., TREE.slices[0]]
    assert smooth.sum(-1).log().mean().item() == pytest.approx(2.3, abs=0.3)
    assert (smooth / smooth.sum(-1, keepdim=True)).mean().item() == pytest.approx(1 / 3, abs=0.05)


def test_precision_is_a_square_without_cap_or_overflow():
    """Outputs far from zero give finite precisions and gradients: a square above, an exponential below."""
    outputs = torch.tensor([-500.0, -20.0, -15.0, 0.0, 30.0, 1e4], requires_grad=True)
    log_precision = log_precision_of(outputs)
    log_precision.sum().backward()
    expected = [-1000, -40, -30, 2 * math.log(math.log(2)), 2 * math.log(30), 2 * math.log(1e4)]
    assert log_precision.tolist() == pytest.approx(expected, rel=1e-6)
    assert outputs.grad[:3].tolist() == pytest.approx([2, 2, 2], rel=1e-4)
    assert outputs.grad[3:].tolist() == pytest.approx([1 / math.log(2), 2 / 30, 2e-4], rel=1e-4)


def test_images_unlike_any_galaxy_are_no_fault():
    """A saturated or empty frame gets a posterior like any other, even from a head with huge weights."""
    network = build_network(NetworkConfig(image_px=32), TREE, seed=0).eval()
    with torch.no_grad():
        network.heads.weights[-1].mul_(300)
        frames = torch.stack([torch.zeros(1, 32, 32), torch.ones(1, 32, 32)])
        draws = network.draw(network.embed(frames, views=1), network.heads.posterior_masks(5, seed=0))
    assert torch.isfinite(draws).all()
    assert (draws > 0).all()


def test_walmsley2020_is_the_papers():
    """Figure 3: pairs of 3x3 convolutions 32, 32 and 16 wide at 128, 64 and 32 px, dense 128, one linear head."""
    network = build_network(NetworkConfig(name="walmsley2020", image_px=128), TREE, seed=0)
    convolutions = [module for module in network.trunk.modules() if isinstance(module, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.kernel_size) for c in convolutions] == [
        (1, 32, (3, 3)),
        (32, 32, (3, 3)),
        (32, 32, (3, 3)),
        (32, 32, (3, 3)),
        (32, 16, (3, 3)),
        (16, 16, (3, 3)),
    ]
    sides = []
    for convolution in convolutions:
        convolution.register_forward_hook(lambda _m, _i, output: sides.append(output.shape[-1]))
    network.trunk(torch.zeros(1, 1, 128, 128))
    assert sides == [128, 128, 64, 64, 32, 32]
    assert [tuple(weight.shape[1:]) for weight in network.heads.weights] == [(128, TREE.n_answers + TREE.n_questions)]


def test_residual_trunk_halves_the_image_between_blocks():
    """A 64 px image meets its widest block at 8 px, odd sizes round up, and a block that does not widen keeps it."""
    for image_px, last_px in ((64, 8), (41, 6)):
        trunk = Residual(channels=1, stem=4, widths=(4, 6, 8)).eval()
        assert trunk.blocks(torch.zeros(1, 1, image_px, image_px)).shape == (1, 8, last_px, last_px)


@pytest.mark.parametrize("px", [8, 16, 32])
def test_gradients_in_low_precision_are_those_of_float32(px):
    """Kind: kernels that read what lay in memory. Where a block stepped over one pixel, gradients were anything."""
    trunk = build_network(NetworkConfig(name="compact", image_px=32, field=px / 32), TREE, seed=0).trunk
    images = torch.rand(16, 1, px, px, generator=torch.Generator().manual_seed(1))

    def gradients(*, low):
        trunk.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low):
            embedded = trunk(images)
        embedded.float().square().sum().backward()
        return {name: weight.grad.clone() for name, weight in trunk.named_parameters()}

    torch.full((10**6,), 1e30)  # What a kernel finds that does not write before it reads.
    exact, low, again = gradients(low=False), gradients(low=True), gradients(low=True)
    for name, wanted in exact.items():
        assert torch.equal(low[name], again[name]), name
        assert (low[name] - wanted).norm() <= 0.5 * wanted.norm() + 1e-3, name


def test_unknown_networks_are_refused_with_the_known_ones():
    """A name that is not in the registry raises an error that lists the names that are."""
    with pytest.raises(BadConfig, match=r"resnet.*compact, dieleman2015, small, walmsley2020"):
        NetworkConfig(name="resnet")


@pytest.mark.parametrize("wrong", [{"channels": 0}, {"image_px": 8}, {"field": 0.0}, {"field": 1.1}])
def test_impossible_networks_are_refused(wrong):
    """No channels, tiny images or a field outside the image are configuration errors."""
    with pytest.raises(BadConfig):
        NetworkConfig(**wrong)
