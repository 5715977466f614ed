"""New questions on an encoder, in closed form or by its gradient: trained, predicted and evaluated by the commands of every model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import alservice
from alservice.errors import BadConfig
from alservice.network.laplace import fit_laplace
from alservice.offline.commands import TrainingOptions, encoder_of
from alservice.offline.training import load_model
from alservice.science.laplace import Prior, fit_head
from alservice.science.tree import Tree, load_tree
from alservice.testing import synthetic_galaxies

GZ2 = load_tree("gz2")
SMOOTH = Tree(name="smooth-alone", questions=(GZ2.questions[0],))


@pytest.fixture(scope="module")
def galaxies():
    """Return sixty synthetic galaxies with votes."""
    return synthetic_galaxies(60, seed=1)


@pytest.fixture(scope="module")
def encoder(galaxies, tmp_path_factory: pytest.TempPathFactory) -> alservice.TrainedModel:
    """Return a small network that has seen every question for a few steps."""
    out = tmp_path_factory.mktemp("encoder") / "model"
    return alservice.train(galaxies, tree="gz2", out=out, network="small", px=32, steps=6, batch=16, threads=1)


def test_a_new_question_is_fitted_predicted_and_evaluated(galaxies, encoder, tmp_path: Path) -> None:
    """The trunk is the encoder's to the bit, the card names it, and predictions come as those of every model."""
    out = tmp_path / "head"
    model = alservice.train(galaxies, tree=SMOOTH, out=out, encoder=encoder, head="laplace", threads=1)
    assert model.card["network"]["head"] == "laplace"
    assert model.card["parent"] == encoder.card["weights"]
    trunk, head = (
        load_model(each, device="cpu", tree=tree)[0] for each, tree in ((encoder.folder, GZ2), (out, SMOOTH))
    )
    for name, weight in trunk.trunk.state_dict().items():
        assert torch.equal(weight, head.trunk.state_dict()[name])
    predictions = alservice.predict(model, galaxies, tree=SMOOTH, save_draws=True)
    found = alservice.evaluate(predictions, galaxies, tree=SMOOTH, evaluation_stream=True).to_frame()
    assert len(predictions) == 60
    assert len(found)
    again = alservice.train(galaxies, tree=SMOOTH, out=out, encoder=encoder, head="laplace", threads=1)
    assert again.was_there


def test_heads_of_the_network_are_draws_of_the_posterior(encoder) -> None:
    """Mean and spread of the network's fractions are those of the closed form; more draws than heads are refused."""
    network = load_model(encoder.folder, device="cpu")[0]
    rng = np.random.default_rng(3)
    embeddings = rng.normal(size=(200, 128)).astype(np.float32)
    embeddings[:, 0] *= 6
    share = 1 / (1 + np.exp(-embeddings[:, 0] / 3))
    smooth = rng.binomial(30, share)
    counts = np.stack([smooth, 30 - smooth, np.zeros(200, dtype=np.int64)], axis=-1)
    keys = tuple(map(str, range(200)))
    fitted = fit_laplace(network, SMOOTH, embeddings, counts, keys, hold_out=0.2, seed=0)
    masks = fitted.network.heads.posterior_masks(200, seed=9)
    drawn = fitted.network.draw(torch.from_numpy(embeddings), masks).detach().numpy().astype(np.float64)
    np.testing.assert_allclose(drawn.sum(axis=-1), fitted.priors[0].precision, rtol=1e-4)
    fractions = drawn[..., 0] / drawn.sum(axis=-1)
    assert np.corrcoef(fractions.mean(axis=1), share)[0, 1] > 0.95
    spread = fractions.std(axis=1).mean()
    assert 0.005 < spread < 0.2
    assert fitted.hold_out < 30 * np.log(2)
    few = fit_laplace(network, SMOOTH, embeddings[:20], counts[:20], keys[:20], hold_out=0.2, seed=0)
    less = few.network.draw(torch.from_numpy(embeddings), masks).detach().numpy()[..., 0]
    assert (less / few.priors[0].precision).std(axis=1).mean() > spread


def test_more_draws_than_the_head_has_are_refused(galaxies, encoder, tmp_path: Path) -> None:
    """They would repeat themselves, and scores would mistake that for certainty."""
    model = alservice.train(galaxies, tree=SMOOTH, out=tmp_path / "m", encoder=encoder, head="laplace", threads=1)
    with pytest.raises(BadConfig, match="200 draws has no 201"):
        alservice.predict(model, galaxies, tree=SMOOTH, draws=201)


def test_a_network_goes_on_from_an_encoder_of_another_tree(galaxies, encoder, tmp_path: Path) -> None:
    """Labels are learned by heads alone where no block may change; the card names encoder and schedule."""
    labelled = galaxies[["galaxy_id", "image"]].assign(kind=["smooth", "artifact"] * 30)
    model = alservice.train(
        labelled,
        tree=SMOOTH,
        out=tmp_path / "m",
        label="kind",
        encoder=encoder.folder / "model.safetensors",
        unfreeze=0,
        steps=3,
        threads=1,
    )
    training = model.card["training"]
    assert model.card["parent"] == encoder.card["weights"]
    assert (training["tuning"]["blocks"], training["batch"], training["hold_out"]) == (0, 8, 0.2)
    assert model.card["n_votes"] == model.card["n_galaxies"]
    trunk, tuned = (
        load_model(each, device="cpu", tree=tree)[0].trunk.state_dict()
        for each, tree in ((encoder.folder, GZ2), (tmp_path / "m", SMOOTH))
    )
    assert all(torch.equal(weight, tuned[name]) for name, weight in trunk.items())


@pytest.mark.parametrize(
    ("asked", "has_encoder", "members", "message"),
    [
        (TrainingOptions(head="laplace"), False, 1, "are of an encoder: give one"),
        (TrainingOptions(unfreeze=1), False, 1, "are of an encoder: give one"),
        (TrainingOptions(unfreeze=9), True, 1, "small has 5 blocks, not 9 to unfreeze"),
        (TrainingOptions(), True, 2, "from fresh weights"),
    ],
)
def test_encoder_and_options_go_together(
    encoder, asked: TrainingOptions, has_encoder: bool, members: int, message: str
) -> None:
    """Each without the other is refused."""
    with pytest.raises(BadConfig, match=message):
        encoder_of(encoder.folder if has_encoder else None, asked, SMOOTH, device="cpu", members=members)
    with pytest.raises(BadConfig, match="dropout or laplace"):
        TrainingOptions(head="ridge")  # type: ignore[arg-type]


def test_priors_and_questions_go_together() -> None:
    """One prior per question."""
    with pytest.raises(ValueError, match=r"shorter|longer"):
        fit_head(GZ2, np.ones((3, 2)), np.ones((3, GZ2.n_answers)), [Prior(prior_precision=1.0)])
