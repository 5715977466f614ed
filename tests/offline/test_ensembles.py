"""Ensembles on files: what training leaves, and that their members predict as one."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from alservice.errors import BadConfig, Conflict, DigestMismatch, NotFound
from alservice.network.architectures import NetworkConfig
from alservice.network.config import FitConfig
from alservice.offline.commands import predict_file, train_ensemble
from alservice.offline.training import load_model, load_models
from alservice.progress import NoProgress
from tests.support.files import TREE, write_galaxies


def run_train(data, out, *, members=2, image_px=16):
    """Train an ensemble of seconds, with root 3."""
    return train_ensemble(
        data,
        out,
        members=members,
        tree=TREE,
        config=lambda _n: FitConfig(
            network=NetworkConfig(image_px=image_px), steps=2, batch=4, looks=1, threads=1, seed=3
        ),
        galaxies=None,
        device="cpu",
        progress=NoProgress(),
    )


def run_predict(models, data, out, draws=4):
    """Predict a file, and return the means (N, A)."""
    predict_file(models, data, out, draws=draws, keep_draws=False, device="cpu", progress=NoProgress())
    table = pq.read_table(out)
    return np.stack([table[f"{column}_mean"] for column in TREE.columns], axis=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A file of galaxies."""
    return write_galaxies(tmp_path_factory.mktemp("data") / "galaxies.parquet", 20)


@pytest.fixture(scope="module")
def ensemble(data, tmp_path_factory):
    """A folder with an ensemble of two."""
    out = tmp_path_factory.mktemp("models") / "e"
    run_train(data, out)
    return out


def test_members_differ_by_their_seed(data, ensemble):
    """Folders of their own, seeds that count up, and a list of all; the same command again trains nothing."""
    cards = [json.loads((ensemble / f"member-{n}" / "card.json").read_text()) for n in range(2)]
    assert [card["seed"] for card in cards] == [3, 4]
    assert json.loads((ensemble / "ensemble.json").read_text()) == {
        f"member-{n}": card["weights"] for n, card in enumerate(cards)
    }
    assert all(member.was_there for member in run_train(data, ensemble))
    with pytest.raises(Conflict, match="members was 2, now it is 3"):
        run_train(data, ensemble, members=3)


def test_members_share_the_draws(data, ensemble, tmp_path):
    """With a draw each the mean is that of both, not of the first; listed one by one they are the same model."""
    both = run_predict([ensemble], data, tmp_path / "both.parquet", draws=2)
    first = run_predict([ensemble / "member-0"], data, tmp_path / "first.parquet", draws=1)
    second = 2 * both - first
    assert not np.allclose(both, first, atol=1e-3)
    assert (second > 0).all()
    run_predict([ensemble / "member-0", ensemble / "member-1"], data, tmp_path / "listed.parquet", draws=2)
    assert (tmp_path / "listed.parquet").read_bytes() == (tmp_path / "both.parquet").read_bytes()
    with pytest.raises(BadConfig, match="2 networks need a draw each"):
        run_predict([ensemble], data, tmp_path / "few.parquet", draws=1)


def test_one_network_is_itself(ensemble):
    """Its digest is that of its weights; that of an ensemble is another, and depends on the order."""
    one, two = (ensemble / f"member-{n}" for n in range(2))
    assert load_models([one], device="cpu")[1] == load_model(one, device="cpu")[1]
    digests = {load_models(paths, device="cpu")[1] for paths in ([one], [two], [ensemble], [two, one])}
    assert len(digests) == 4


def test_what_does_not_go_together_is_refused(data, ensemble, tmp_path):
    """Another image size, an exchanged member, a member that is gone."""
    run_train(data, tmp_path / "other", members=1, image_px=20)
    with pytest.raises(BadConfig, match="one image size"):
        load_models([ensemble, tmp_path / "other"], device="cpu")
    shutil.copytree(ensemble, tmp_path / "e")
    shutil.copy(tmp_path / "e" / "member-0" / "model.safetensors", tmp_path / "e" / "member-1")
    with pytest.raises(DigestMismatch, match="member-1"):
        load_models([tmp_path / "e"], device="cpu")
    (tmp_path / "e" / "member-1" / "model.safetensors").unlink()
    with pytest.raises(NotFound, match="member-1"):
        load_models([tmp_path / "e"], device="cpu")
