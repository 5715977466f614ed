"""Encoders from checkpoints: mapped by name, strictly, with errors that name what does not fit."""

import importlib

import pytest
import torch

from alservice.errors import BadConfig, BadInput
from alservice.network.architectures import NetworkConfig, build_network, load_encoder
from alservice.science.tree import load_tree

TREE = load_tree("gz-rings")


def has_timm():
    """Return whether timm is there and imports: it needs a torchvision of the same build as torch."""
    try:
        importlib.import_module("timm")
    except (ImportError, RuntimeError):
        return False
    return True


def network(**changes):
    """Return a small network."""
    return build_network(NetworkConfig(image_px=32, heads=2, **changes), TREE, seed=0)


def checkpoint(prefix, **changes):
    """Return the trunk of another network as a checkpoint would hold it, with a head beside it."""
    other = build_network(NetworkConfig(image_px=32, heads=2, **changes), TREE, seed=1)
    state = {f"{prefix}{name}": tensor for name, tensor in other.trunk.state_dict().items()}
    return state | {"head.fc.weight": torch.zeros(3, 128)}


@pytest.mark.parametrize("prefix", ["", "encoder.", "zoobot.encoder.", "trunk."])
def test_the_trunk_is_the_encoder_and_the_heads_are_fresh(prefix):
    """Under any usual prefix the weights arrive, and the result loads into the network."""
    ours, state = network(), checkpoint(prefix)
    loaded = load_encoder(ours, state, what="test.safetensors")
    ours.load_state_dict(loaded)
    name = "blocks.2.first.0.weight"
    torch.testing.assert_close(ours.trunk.state_dict()[name], state[f"{prefix}{name}"])
    assert torch.equal(loaded["heads.weights.0"], network().state_dict()["heads.weights.0"])


def test_a_colour_encoder_sees_grey():
    """Its first layer gives for a grey image what it gave for three equal channels."""
    state = checkpoint("encoder.", channels=3)
    ours = network()
    ours.load_state_dict(load_encoder(ours, state, what="test"))
    image = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    colour = torch.nn.functional.conv2d(
        image.expand(1, 3, 32, 32), state["encoder.blocks.0.0.weight"], stride=2, padding=2
    )
    with torch.no_grad():
        torch.testing.assert_close(ours.trunk.blocks[0][0](image), colour, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("encoder.blocks.2.first.0.weight"), "1 of .* absent, such as 'blocks.2.first.0.weight'"),
        (lambda s: s.update({"encoder.stages.9.weight": torch.zeros(1)}), "has no 'stages.9.weight'"),
        (
            lambda s: s.update({"encoder.blocks.2.first.0.weight": torch.zeros(2)}),
            r"'blocks.2.first.0.weight' is \(2,\)",
        ),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    """A weight that is missing, unknown or of another shape stops the load and says which."""
    state = checkpoint("encoder.")
    change(state)
    with pytest.raises(BadInput, match=message):
        load_encoder(network(), state, what="zoobot.safetensors")


@pytest.mark.skipif(has_timm(), reason="timm is installed")
def test_without_timm_the_extra_is_named():
    """The error says what to install."""
    with pytest.raises(BadConfig, match="extra 'timm'"):
        build_network(NetworkConfig(name="timm:resnet18", image_px=32), TREE, seed=0)


@pytest.mark.skipif(not has_timm(), reason="timm does not import: it needs a torchvision of the build of torch")
def test_a_timm_encoder_trains_from_a_checkpoint_of_its_own():
    """A randomly initialised one, saved as Zoobot saves encoders, gives its own embeddings back."""
    config = NetworkConfig(name="timm:resnet18", image_px=32, heads=2)
    source, ours = (build_network(config, TREE, seed=s).eval() for s in (1, 2))
    state = {f"encoder.{name}": tensor for name, tensor in source.trunk.model.state_dict().items()}
    ours.load_state_dict(load_encoder(ours, state, what="zoobot.safetensors"))
    image = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours.trunk(image), source.trunk(image))
    with pytest.raises(BadConfig, match="no model"):
        build_network(NetworkConfig(name="timm:no_such_model", image_px=32), TREE, seed=0)
