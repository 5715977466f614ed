"""Training that resumes: a run that was interrupted is the run that was not."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from alservice.errors import BadConfig, BadImage, BadInput, BadVotes, Conflict, DigestMismatch
from alservice.network.architectures import NetworkConfig, build_network
from alservice.network.config import FitConfig
from alservice.network.files import tensors_from_bytes, tensors_to_bytes
from alservice.network.sampling import sample_posterior
from alservice.network.training import fit
from alservice.science.tree import load_tree

TREE = load_tree("gz2")
CONFIG = FitConfig(network=NetworkConfig(image_px=24, heads=5), steps=12, batch=8, looks=4, threads=1, seed=3)


def galaxies(n, *, seed=0):
    """Return round and long blobs (N, 1, 24, 24), with 20 votes on the first question and none on the others."""
    rng = np.random.default_rng(seed)
    is_long = rng.integers(0, 2, n)
    y, x = np.mgrid[-11.5:12, -11.5:12]
    radius = np.hypot(x, y * np.where(is_long, 4, 1)[:, None, None])
    images = (200 * np.exp(-radius / 4) + rng.normal(20, 5, radius.shape)).clip(0, 255).astype(np.uint8)
    featured = rng.binomial(20, 0.1 + 0.8 * is_long)
    counts = np.zeros((n, TREE.n_answers), dtype=np.int64)
    counts[:, 0], counts[:, 1] = 20 - featured, featured
    return images[:, None], counts


def run(config=CONFIG, n=60, **keywords):
    """Return a training run on toys."""
    images, counts = galaxies(n)
    return fit(images, counts, TREE, config, device="cpu", progress=lambda _: None, **keywords)


def as_bytes(result):
    """Return all of a result as bytes."""
    return tensors_to_bytes(result.state, {"history": result.history, "best": result.best_step})


class Killed(Exception):
    """Stands for a process that dies."""


@pytest.mark.parametrize("looks_survived", [1, 2, 3, 4])
def test_a_resumed_run_is_the_unbroken_run(looks_survived):
    """Killed after any look and resumed from its checkpoint, training ends in the same bytes."""
    checkpoints = []

    def keep(data):
        checkpoints.append(data)
        if len(checkpoints) == looks_survived:
            raise Killed

    with pytest.raises(Killed):
        run(on_checkpoint=keep)
    steps = []
    images, counts = galaxies(60)
    resumed = fit(images, counts, TREE, CONFIG, device="cpu", progress=steps.append, checkpoint=checkpoints[-1])
    assert len(steps) == CONFIG.steps - 3 * looks_survived
    assert as_bytes(resumed) == as_bytes(run())


def test_a_resumed_run_with_momenta_of_its_own_is_the_unbroken_run():
    """Muon's momenta, weights of galaxies and all: stopped between looks, it ends in the same bytes."""
    config = replace(CONFIG, optimiser="muon")
    weights = np.linspace(0.5, 1.5, 60)
    checkpoints = []
    whole = run(config, weights=weights, on_checkpoint=checkpoints.append, is_due=lambda step: step == 5)
    assert as_bytes(run(config, weights=weights, checkpoint=checkpoints[1])) == as_bytes(whole)
    assert as_bytes(run(weights=weights)) != as_bytes(whole)


def test_a_checkpoint_itself_is_reproducible():
    """The same run gives the same checkpoints, byte for byte."""
    first, again = [], []
    run(on_checkpoint=first.append)
    run(on_checkpoint=again.append)
    assert len(first) == CONFIG.looks
    assert first == again


@pytest.mark.parametrize("change", [{"seed": 4}, {"learning_rate": 1e-3}, {"threads": 2}])
def test_a_checkpoint_of_another_configuration_is_refused(change):
    """A run cannot go on from where another one stopped."""
    checkpoints = []
    run(on_checkpoint=checkpoints.append)
    with pytest.raises(Conflict):
        run(replace(CONFIG, **change), checkpoint=checkpoints[0])
    with pytest.raises(Conflict):
        run(n=61, checkpoint=checkpoints[0])


def test_a_damaged_checkpoint_is_refused():
    """One flipped bit in the weights is noticed."""
    checkpoints = []
    run(on_checkpoint=checkpoints.append)
    damaged = bytearray(checkpoints[0])
    damaged[-100] ^= 1
    with pytest.raises(DigestMismatch):
        run(checkpoint=bytes(damaged))


def test_it_learns_what_the_image_shows():
    """Round and long galaxies that it never saw get the votes they get."""
    result = run(replace(CONFIG, steps=120, batch=16), n=200)
    network = build_network(CONFIG.network, TREE, seed=0)
    network.load_state_dict(result.state)
    images, counts = galaxies(80, seed=9)
    draws, _ = sample_posterior(network, images, draws=10, seed=0, device="cpu")
    featured = (draws[..., 1] / draws[..., :3].sum(-1)).mean(1)
    is_long = counts[:, 1] > 10
    assert featured[is_long].mean() > 0.7
    assert featured[~is_long].mean() < 0.3
    assert result.history[-1]["train"] < 0.6 * result.history[0]["train"]


def test_the_state_kept_is_the_one_the_hold_out_likes_best():
    """The result is the running average at the best look, though training went on and got worse."""
    images, counts = galaxies(80)
    unrelated = np.random.default_rng(1).permutation(counts)
    config = replace(CONFIG, steps=80, looks=8, batch=16, hold_out=0.5, learning_rate=0.01)
    checkpoints = []
    result = fit(
        images,
        unrelated,
        TREE,
        config,
        device="cpu",
        progress=lambda _: None,
        on_checkpoint=checkpoints.append,
    )
    losses = [look["hold_out"] for look in result.history]
    best = losses.index(min(losses))
    assert best < len(losses) - 1
    assert result.best_step == result.history[best]["step"]
    state, _ = tensors_from_bytes(checkpoints[best], what="a checkpoint")
    weights = set(result.state) - {"temperature"}
    assert all(torch.equal(result.state[name], state[f"average/{name}"]) for name in weights)


def test_a_handful_of_held_out_galaxies_does_not_choose():
    """With fewer than thirty held out the last state is kept, whatever they say."""
    images, counts = galaxies(58)
    unrelated = np.random.default_rng(1).permutation(counts)
    config = replace(CONFIG, steps=80, looks=8, batch=16, hold_out=0.5, learning_rate=0.01)
    result = fit(images, unrelated, TREE, config, device="cpu", progress=lambda _: None)
    assert min(result.history, key=lambda look: look["hold_out"])["step"] < 80
    assert result.best_step == 80


def test_temperatures_are_fitted_on_the_hold_out():
    """The question that was asked gets a factor of its own; the others keep 1."""
    temperature = run(replace(CONFIG, hold_out=0.5), n=100).state["temperature"]
    assert abs(temperature[0] - 1) > 0.01
    torch.testing.assert_close(temperature[1:], torch.ones(TREE.n_questions - 1), atol=1e-4, rtol=0)


def test_galaxies_with_few_votes_train_beside_those_with_many():
    """A galaxy with one vote, or none, is no error, and whole numbers are not required."""
    images, counts = galaxies(40)
    few = counts.astype(np.float32) * np.linspace(0, 1, 40, dtype=np.float32)[:, None]
    result = fit(images, few, TREE, CONFIG, device="cpu", progress=lambda _: None)
    assert all(np.isfinite(list(look.values())).all() for look in result.history)


def test_callers_keep_their_threads_and_their_randomness():
    """Training sets the threads it needs and puts them back, and leaves the global generator alone."""
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    run(replace(CONFIG, threads=threads + 1, steps=2))
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_votes_that_are_none_are_named_by_row(bad):
    """A row whose votes are not votes stops training before it starts."""
    images, counts = galaxies(10)
    broken = counts.astype(float)
    broken[7, 0] = bad
    with pytest.raises(BadVotes, match="row 7"):
        fit(images, broken, TREE, CONFIG, device="cpu", progress=lambda _: None)


def test_arrays_that_do_not_fit_are_refused():
    """Images of another size, votes on another tree, and weights of another network raise."""
    images, counts = galaxies(10)

    def train(images, counts, **keywords):
        return fit(images, counts, TREE, CONFIG, device="cpu", progress=lambda _: None, **keywords)

    with pytest.raises(BadImage):
        train(images[:, :, :20, :20], counts)
    with pytest.raises(BadVotes):
        train(images, counts[:, :5])
    with pytest.raises(BadInput, match="initial"):
        train(images, counts, initial={"temperature": torch.ones(2)})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("batch", 1),
        ("looks", 0),
        ("threads", 0),
        ("hold_out", 0.0),
        ("hold_out", 1.0),
        ("learning_rate", 0.0),
        ("weight_decay", -1.0),
        ("average", 1.0),
        ("warm_up", 1.0),
        ("precision", "float16"),
    ],
)
def test_impossible_runs_are_refused(name, value):
    """A configuration that cannot train raises when it is made."""
    with pytest.raises(BadConfig):
        replace(CONFIG, **{name: value})


def test_weights_decide_what_is_learned():
    """Galaxies of weight near nothing teach nothing: the network believes the others."""
    images, counts = galaxies(60)
    swapped = counts.copy()
    swapped[:, [0, 1]] = counts[:, [1, 0]]
    both = np.concatenate([images, images]), np.concatenate([counts, swapped])
    config = replace(CONFIG, steps=60, looks=1)
    found = []
    for favoured in (0, 1):
        weights = np.where(np.arange(120) // 60 == favoured, 2 - 1e-6, 1e-6)
        result = fit(*both, TREE, config, device="cpu", progress=lambda _: None, weights=weights)
        network = build_network(config.network, TREE, seed=0)
        network.load_state_dict(dict(result.state))
        draws, _ = sample_posterior(network, images, draws=5, seed=0, device="cpu")
        found.append((draws[..., 0] / draws[..., :3].sum(-1)).mean(1))
    truth = counts[:, 0] / counts[:, :3].sum(1)
    assert np.corrcoef(found[0], truth)[0, 1] > 0.5
    assert np.corrcoef(found[1], truth)[0, 1] < -0.5


def test_a_checkpoint_of_other_weights_is_refused():
    """Weights are part of what a run is; bad ones are refused before anything is trained."""
    checkpoints = []
    run(weights=np.ones(60), on_checkpoint=checkpoints.append)
    with pytest.raises(Conflict):
        run(weights=np.full(60, 1.5), checkpoint=checkpoints[0])
    for weights in (np.ones(59), np.zeros(60), np.full(60, np.nan)):
        with pytest.raises(BadVotes, match="weights of galaxies"):
            run(weights=weights)
