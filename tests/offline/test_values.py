"""A number per galaxy on an encoder: learned, judged, predicted with its error, and gone on with after a kill."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

import alservice
from alservice.catalogue.galaxies import CatalogueFault
from alservice.cli import app
from alservice.errors import BadConfig, BadInput, BadVotes, DigestMismatch
from alservice.offline.commands import TrainingOptions
from alservice.offline.regression import VALUES, train_values, value_encoder
from alservice.testing import synthetic_galaxies


@pytest.fixture(scope="module")
def galaxies() -> pd.DataFrame:
    """Return galaxies whose target is how bright their image is, in a unit of its own."""
    frame = synthetic_galaxies(150, seed=2)[["galaxy_id", "image"]]
    bright = [float(np.asarray(Image.open(io.BytesIO(image)).convert("L")).mean()) for image in frame["image"]]
    return frame.assign(light=1e4 + 50 * np.asarray(bright))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> alservice.TrainedModel:
    """Return a small network that has hardly learned anything: its features are there all the same."""
    out = tmp_path_factory.mktemp("encoder") / "model"
    galaxies = synthetic_galaxies(24, seed=1)
    return alservice.train(galaxies, tree="gz2", out=out, network="small", px=32, steps=1, batch=4, threads=1)


@pytest.fixture(scope="module")
def model(galaxies, encoder, tmp_path_factory: pytest.TempPathFactory) -> alservice.TrainedModel:
    """Return the model of the target."""
    out = tmp_path_factory.mktemp("values") / "model"
    return alservice.train(galaxies, target="light", out=out, encoder=encoder, threads=1)


def test_a_number_is_learned_and_predicted_with_its_error(galaxies, encoder, model, tmp_path: Path) -> None:
    """Far better than the mean, on the evaluation stream too, with errors that hold; files and frames agree."""
    figures = model.card["metrics"]
    assert figures["explained"] > 0.8
    assert model.card["parent"] == encoder.card["weights"]
    assert figures["n_galaxies"] + model.card["n_galaxies"] == len(galaxies)
    out = tmp_path / "predicted.parquet"
    found = alservice.predict(model, galaxies[["galaxy_id", "image"]], out=out)
    assert list(found.columns) == ["galaxy_id", "light_mean", "light_sd", "light_p05", "light_p95"]
    error = (found["light_mean"] - galaxies["light"]) / found["light_sd"]
    assert 0.5 < np.sqrt((error**2).mean()) < 1.5
    assert ((found["light_p05"] < galaxies["light"]) & (galaxies["light"] < found["light_p95"])).mean() > 0.8
    assert "RMSE" in (model.folder / "metrics.txt").read_text()
    again = alservice.train(galaxies, target="light", out=model.folder, encoder=encoder, threads=1)
    assert again.was_there


def test_a_killed_embedding_goes_on(galaxies, encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards that were embedded before are not embedded again, and the model is the same to the bit."""
    monkeypatch.setattr("alservice.offline.prediction.SHARD_ROWS", 40)
    table = tmp_path / "galaxies.parquet"
    galaxies.to_parquet(table)
    asked = TrainingOptions(threads=1)
    told = {"target": "light", "encoder": value_encoder(encoder.folder, asked, device="cpu"), "asked": asked}
    whole = train_values(table, tmp_path / "whole", device="cpu", **told)
    embedded: list[int] = []

    def dying(network, images, **options):
        embedded.append(len(images))
        if len(embedded) == 3:
            raise KeyboardInterrupt
        return real(network, images, **options)

    from alservice.offline import prediction

    real = prediction.embedded
    monkeypatch.setattr(prediction, "embedded", dying)
    with pytest.raises(KeyboardInterrupt):
        train_values(table, tmp_path / "killed", device="cpu", **told)
    again = train_values(table, tmp_path / "killed", device="cpu", **told)
    assert embedded == [40, 40, 40, 40, 30]
    assert (again.folder / VALUES).read_bytes() == (whole.folder / VALUES).read_bytes()
    assert not list(again.folder.glob("embeddings-*"))


def test_rows_without_a_number_are_named(galaxies, encoder, tmp_path: Path) -> None:
    """An empty cell, a word and infinity fail by row; what was asked for is what was learned from and what failed."""
    cells = galaxies["light"].astype(str).to_list()
    cells[3], cells[4], cells[5] = "", "bright", "inf"
    table = tmp_path / "galaxies.parquet"
    galaxies.assign(light=cells).to_parquet(table)
    faults: list[CatalogueFault] = []
    asked = TrainingOptions(threads=1)
    encoding = value_encoder(encoder.folder, asked, device="cpu")
    model = train_values(
        table, tmp_path / "m", target="light", encoder=encoding, asked=asked, device="cpu", on_fault=faults.append
    )
    assert [(f.row, f.field, f.reason) for f in model.faults] == [
        (4, "light", "is no number"),
        (5, "light", "is no number"),
        (6, "light", "is no number"),
    ]
    assert list(model.faults) == faults
    assert model.card["n_galaxies"] + model.card["metrics"]["n_galaxies"] + 3 == len(galaxies)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"target": "light"}, "on the embeddings of an encoder: give one"),
        ({"target": "light", "encoder": True, "steps": 9}, "leave steps away"),
        ({"target": "light", "encoder": True, "tree": "gz2"}, "one of them"),
        ({}, "one of them"),
        ({"target": "light", "encoder": True, "label": "light"}, "are of votes"),
    ],
)
def test_options_of_votes_are_refused(galaxies, encoder, tmp_path: Path, told: dict[str, object], message: str) -> None:
    """What a closed form has no use for is refused by name, before anything is read."""
    options = {key: encoder if key == "encoder" else value for key, value in told.items()}
    with pytest.raises(BadConfig, match=message):
        alservice.train(galaxies, out=tmp_path / "m", **options)  # type: ignore[arg-type]


def test_columns_that_cannot_be_learned_are_refused(galaxies, encoder, tmp_path: Path) -> None:
    """No such column, the same number for all, or numbers for none."""
    for column, values, error, message in (
        ("other", None, BadInput, "column 'other' is missing"),
        ("light", 7.0, BadInput, "have the value 7"),
        ("light", np.nan, BadVotes, "no row has both an image and a value"),
    ):
        frame = galaxies if values is None else galaxies.assign(light=values)
        with pytest.raises(error, match=message):
            alservice.train(frame, target=column, out=tmp_path / str(values), encoder=encoder, threads=1, faults="skip")


def test_models_of_both_kinds_do_not_mix(galaxies, encoder, model, tmp_path: Path) -> None:
    """A model of values predicts alone, without draws; a damaged one is refused."""
    with pytest.raises(BadConfig, match="predicts alone"):
        alservice.predict([encoder, model], galaxies)
    with pytest.raises(BadConfig, match="no draws to keep"):
        alservice.predict(model, galaxies, save_draws=True)
    damaged = tmp_path / VALUES
    data = bytearray((model.folder / VALUES).read_bytes())
    data[-9] ^= 1
    damaged.write_bytes(data)
    with pytest.raises(DigestMismatch):
        alservice.predict(damaged, galaxies)


def test_the_printed_commands_learn_and_predict_a_size(galaxies, encoder, tmp_path: Path) -> None:
    """As `train` and `predict` print them, with the table and the folders of here."""
    table, out, predicted = tmp_path / "sizes.parquet", tmp_path / "sizes", tmp_path / "predicted-sizes.parquet"
    galaxies.rename(columns={"light": "radius_arcsec"}).to_parquet(table)
    said = []
    for words in (
        ["train", "--data", table, "--target", "radius_arcsec", "--encoder", encoder.folder, "--out", out],
        ["predict", "--model", out, "--data", table, "--out", predicted],
        ["train", "--data", table, "--target", "radius_arcsec", "--tree", "gz2", "--out", out],
        ["train", "--data", table, "--target", "radius_arcsec", "--out", out, "--ensemble", "2"],
    ):
        done = CliRunner().invoke(app, [str(word) for word in words])
        said.append((done.exit_code, done.output))
    assert [code for code, _ in said] == [0, 0, 1, 1]
    assert "radius_arcsec on the evaluation stream" in said[0][1]
    assert "150 galaxies predicted, 0 rows failed of 150" in said[1][1]
    assert "one of them" in said[2][1]
    assert "--ensemble is of votes" in said[3][1]
    assert pd.read_parquet(predicted)["radius_arcsec_mean"].between(1e4, 3e4).all()
