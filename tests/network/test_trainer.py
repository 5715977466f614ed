"""One gradient step: what it moves, what it leaves, and when it stops."""

from dataclasses import replace

import pytest
import torch

from alservice.errors import BadConfig, NumericalFault
from alservice.network.architectures import NetworkConfig, build_network, optimiser_of
from alservice.network.config import FitConfig, decay_of
from alservice.network.training import Trainer, learning_rate
from alservice.science.tree import load_tree

TREE = load_tree("gz-rings")
CONFIG = FitConfig(network=NetworkConfig(image_px=16, heads=3), steps=12, batch=8, threads=1, weight_decay=0.0)


def make_trainer(**changes):
    """Return a trainer of a fresh network."""
    return Trainer(build_network(CONFIG.network, TREE, seed=0), replace(CONFIG, **changes))


def galaxies(n=10):
    """Return noise images, votes, and equal weights for three heads."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (n, 1, 16, 16), generator=generator, dtype=torch.uint8)
    return images, torch.randint(0, 20, (n, 2), generator=generator), torch.ones(n, 3)


def test_a_head_learns_only_from_galaxies_with_weight():
    """A head in whose loss every galaxy weighs nothing keeps its weights; the others move."""
    trainer = make_trainer()
    images, counts, weights = galaxies()
    weights[:, 1] = 0
    before = trainer.network.heads.weights[0].clone()
    trainer.advance(images, counts, weights)
    moved = (trainer.network.heads.weights[0] != before).flatten(1).any(1)
    assert moved.tolist() == [True, False, True]


def test_galaxies_without_votes_teach_nothing():
    """Where nothing was asked the loss is exactly 0 and no head moves."""
    trainer = make_trainer()
    images, counts, weights = galaxies()
    before = trainer.network.heads.weights[0].clone()
    assert trainer.advance(images, torch.zeros_like(counts), weights) == 0
    assert torch.equal(trainer.network.heads.weights[0], before)


def test_the_average_follows_the_weights():
    """After each step the average moves a share of the way, batch statistics too, and is no part of the network."""
    trainer = make_trainer()
    name = "trunk.blocks.0.1.running_mean"
    expected = trainer.average.state_dict()["heads.weights.0"].clone()
    statistics = trainer.average.state_dict()[name].clone()
    for step in range(1, 4):
        trainer.advance(*galaxies())
        share = 9 / (step + 9)
        expected = torch.lerp(expected, trainer.network.state_dict()["heads.weights.0"], share)
        statistics = torch.lerp(statistics, trainer.network.state_dict()[name], share)
    torch.testing.assert_close(trainer.average.state_dict()["heads.weights.0"], expected)
    torch.testing.assert_close(trainer.average.state_dict()[name], statistics)
    assert not torch.equal(expected, trainer.network.state_dict()["heads.weights.0"])


def test_a_loss_that_is_not_finite_is_raised():
    """Outputs that overflow stop training by name."""
    trainer = make_trainer()
    with torch.no_grad():
        trainer.network.heads.weights[-1].fill_(torch.inf)
    with pytest.raises(NumericalFault):
        trainer.advance(*galaxies())


def test_a_gradient_that_is_not_finite_is_raised_before_it_is_used():
    """A finite loss with an infinite gradient stops training too, and leaves the weights as they were."""
    trainer = make_trainer()
    before = trainer.network.heads.weights[0].clone()
    trainer.network.heads.biases[0].register_hook(lambda gradient: gradient * torch.inf)
    with pytest.raises(NumericalFault, match="step 0"):
        trainer.advance(*galaxies())
    assert torch.equal(trainer.network.heads.weights[0], before)


def test_every_galaxy_trains_once_before_any_trains_again():
    """Batches run through the galaxies in a new order each time, across the ends of batches."""
    trainer = make_trainer(batch=4)
    seen = []
    for step in range(15):
        trainer.step = step
        seen += trainer._rows(10).tolist()
    epochs = [seen[i : i + 10] for i in range(0, 60, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 6


def test_the_learning_rate_rises_and_falls():
    """It climbs for the first share of the steps, peaks at the configured rate, and ends near zero."""
    rates = [learning_rate(replace(CONFIG, steps=100, warm_up=0.1), step) for step in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert max(rates) == CONFIG.learning_rate
    assert rates[-1] < 1e-3 * CONFIG.learning_rate


def test_a_long_run_decays_in_all_no_more_than_a_short_one() -> None:
    """At a constant rate, what rare questions taught would be eroded away."""
    assert decay_of(100) == decay_of(1000) == 0.3
    assert decay_of(13_000) * 13_000 == pytest.approx(300)


def drawn(trainer, n, passes):
    """Return how often each of n galaxies came in each pass."""
    order = torch.stack([trainer._pass(epoch, n) for epoch in range(passes)])
    return torch.stack([torch.bincount(one, minlength=n) for one in order])


def test_every_galaxy_comes_once_in_a_pass():
    """Without rates a pass is a permutation, another each time."""
    trainer = make_trainer()
    assert (drawn(trainer, 10, 5) == 1).all()
    assert not torch.equal(trainer._pass(0, 10), trainer._pass(1, 10))


def test_galaxies_come_as_often_as_their_rate_says():
    """By systematic sampling: never off by one or more in a pass, and right on average."""
    rates = torch.tensor([0.3, 2.3, 0.4, 1.0, 1.0], dtype=torch.float64)
    trainer = Trainer(build_network(CONFIG.network, TREE, seed=0), CONFIG, rates)
    often = drawn(trainer, 5, 400)
    assert (often.sum(1) == 5).all()
    assert ((often - rates).abs() < 1).all()
    torch.testing.assert_close(often.double().mean(0), rates, atol=0.1, rtol=0)
    assert torch.equal(trainer._rows(5), trainer._rows(5))


def test_muon_moves_the_hidden_convolutions_and_nothing_else():
    """Of `compact` all but the one that sees the image; other networks, and other names, have none or are refused."""
    trainer = make_trainer(optimiser="muon")
    before = {name: weight.clone() for name, weight in trainer.network.named_parameters()}
    trainer._optimiser.step = lambda: None
    for _ in range(2):  # the first rate is not 0
        trainer.advance(*galaxies())
    moved = {name for name, weight in trainer.network.named_parameters() if not torch.equal(weight, before[name])}
    expected = {n for n, w in before.items() if n.startswith("trunk.") and w.ndim == 4 and w.shape[1] > 1}
    assert moved == expected
    assert "trunk.blocks.0.0.weight" not in expected
    assert [optimiser_of(name) for name in ("compact", "small", "walmsley2020")] == ["muon", "muon", "adamw"]
    with pytest.raises(BadConfig, match="adamw or muon"):
        make_trainer(optimiser="sgd")
