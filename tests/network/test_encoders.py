"""Encoders from files: weights mapped by name, strictly, with errors that name what does not fit; nothing is run."""

import functools
import importlib
import pickle
import sys
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from alservice.errors import BadConfig, BadInput
from alservice.network.architectures import NetworkConfig, build_network, import_timm
from alservice.network.pretrained import load_encoder, open_encoder
from alservice.science.tree import load_tree

TREE = load_tree("gz-rings")
TIMM = NetworkConfig.of("timm:test_convnext", channels=1, image_px=32, field=1.0)
PLAIN = NetworkConfig.of("compact", channels=1, image_px=32, field=1.0)
IMAGE = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))


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


@pytest.fixture(scope="module")
def source():
    """Return a randomly initialised network of timm's smallest ConvNeXt."""
    return build_network(TIMM, TREE, seed=1).eval()


@pytest.fixture(scope="module")
def names(source):
    """Return its weights by timm's names."""
    return source.trunk.model.state_dict()


def lightning(names, **settings):
    """Return a checkpoint as Lightning saves a `ZoobotTree`: encoder, head, a metric, loops, settings."""
    return {
        "epoch": 3,
        "pytorch-lightning_version": "2.1.0",
        "state_dict": {
            **{f"encoder.{name}": weight for name, weight in names.items()},
            "head.1.output_layer.weight": torch.zeros(34, 64),
            "train_accuracy.tp": torch.zeros(1, dtype=torch.int64),
        },
        "loops": {"fit_loop": {"epoch_progress": {"total": {"ready": 3}}}},
        "hyper_parameters": {"output_dim": 34, "channels": 1, "timm_kwargs": {}} | settings,
    }


def test_timm_knows_the_names_that_zoobot_checkpoints_have(names):
    """As `encoder.state_dict()` of Zoobot's `timm.create_model(name, in_chans=1, num_classes=0)` has them."""
    assert {"stem.0.weight", "stages.0.blocks.0.conv_dw.weight", "stages.3.downsample.1.weight", "head.norm.bias"} <= {
        *names
    }


@pytest.mark.parametrize(
    ("write", "ending", "config"),
    [
        (lambda names: lightning(names, architecture_name="test_convnext"), ".ckpt", PLAIN),
        (
            lambda names: lightning(names, name="hf_hub:mwalmsley/zoobot-encoder-greyscale-test_convnext"),
            ".ckpt",
            PLAIN,
        ),
        (lightning, ".ckpt", TIMM),
        # Objects among the settings, as Zoobot's schemas are: they are not made.
        (lambda names: lightning(names, loss=functools.partial(print, "x"), schema=TIMM), ".ckpt", TIMM),
        (lambda names: dict(names) | {"head.fc.weight": torch.zeros(10, 64)}, ".pth", TIMM),
        (dict, ".safetensors", TIMM),
        (lambda names: {f"encoder._orig_mod.{n}": w.half() for n, w in names.items()}, ".safetensors", TIMM),
    ],
)
def test_an_encoder_of_timm_is_read_from_any_file(source, names, tmp_path, write, ending, config):
    """The trunk gives the embeddings of the one that was saved; the heads are fresh."""
    path = tmp_path / f"zoobot{ending}"
    state = write(names)
    save_file({n: w.contiguous() for n, w in state.items()}, path) if ending == ".safetensors" else torch.save(
        state, path
    )
    found = open_encoder(path, TREE, config)
    assert found.config == TIMM
    with torch.inference_mode():
        torch.testing.assert_close(found.trunk(IMAGE), source.trunk(IMAGE), atol=2e-2, rtol=2e-2)


class Vandal:
    """An object whose unpickling would run a command."""

    def __reduce__(self):
        return (importlib.import_module, ("alservice_was_run",))


def written(path, content):
    """Write a file and return its path."""
    path.write_bytes(content)
    return path


def packed(path, names):
    """Write a checkpoint whose zip is compressed: a small file that unfolds."""
    torch.save(dict(names), path)
    with zipfile.ZipFile(path) as old:
        entries = [(entry.filename, old.read(entry)) for entry in old.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in entries:
            new.writestr(name, content)
    return path


def saved(path, document):
    """Write a document as torch does and return the path."""
    torch.save(document, path)
    return path


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda p, _: written(p / "a.ckpt", b"no zip"), "is no zip of torch"),
        (lambda p, _: written(p / "a.ckpt", pickle.dumps(Vandal())), "is no zip of torch"),
        (lambda p, names: packed(p / "a.ckpt", names), "is packed"),
        (lambda p, _: saved(p / "a.ckpt", torch.zeros(1)), "holds no weights by name"),
        (lambda p, _: saved(p / "a.pth", {"state_dict": {}}), "weights of timm:test_convnext absent"),
        (lambda p, n: saved(p / "a.pth", dict(n) | {"stem.0.weight": torch.tensor(0.0)}), r"'stem.0.weight' is \(\)"),
        (
            lambda p, n: saved(p / "a.pth", dict(n) | {"stem.0.weight": n["stem.0.weight"] / 0}),
            "'stem.0.weight' has numbers that are not finite",
        ),
        (lambda p, _: written(p / "a.safetensors", b"\0" * 20), "is no file of weights"),
        (lambda p, _: written(p / "a.txt", b"weights"), "is no file of weights"),
        (lambda p, _: p / "none.ckpt", "No such file"),
    ],
)
def test_files_that_are_no_encoders_are_refused(names, tmp_path, write, message):
    """The message says what is wrong."""
    with pytest.raises(BadInput, match=message):
        open_encoder(write(tmp_path, names), TREE, TIMM)


def test_nothing_of_a_checkpoint_is_run(names, tmp_path):
    """What would run at unpickling does not: it stays a record without content, and the weights are read."""
    path = saved(tmp_path / "zoobot.ckpt", lightning(names, schema=Vandal(), path=tmp_path))
    assert open_encoder(path, TREE, TIMM).config == TIMM
    assert "alservice_was_run" not in sys.modules


@pytest.mark.parametrize(
    ("settings", "config", "message"),
    [
        ({}, PLAIN, "does not say what network it is of: give network timm:NAME"),
        ({"architecture_name": "no_such_model"}, PLAIN, "timm knows no model 'no_such_model'"),
    ],
)
def test_an_encoder_of_no_known_network_is_refused(names, tmp_path, settings, config, message):
    """The message says how to name it."""
    with pytest.raises(BadConfig, match=message):
        open_encoder(saved(tmp_path / "zoobot.ckpt", lightning(names, **settings)), TREE, config)


def test_without_timm_the_extra_is_named(monkeypatch):
    """The error says what to install; a torchvision whose operators are absent is none."""
    timm = import_timm()
    assert timm.is_model("convnext_nano")
    monkeypatch.setitem(sys.modules, "timm", None)  # what an import then finds is that there is none
    with pytest.raises(BadConfig, match="extra 'timm'"):
        build_network(TIMM, TREE, seed=0)
