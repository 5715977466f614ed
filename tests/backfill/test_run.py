"""A backfill in its folder, in this process: defaults by question, test galaxies, a trunk that is kept, the report."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from alservice.backfill.options import BackfillOptions
from alservice.backfill.plan import ALL, SIZES, backfill_of
from alservice.backfill.report import write_report
from alservice.backfill.run import open_backfill, open_replay, run_backfill
from alservice.errors import BadConfig, NotFound
from alservice.network.architectures import NetworkConfig
from alservice.network.config import FitConfig
from alservice.offline.commands import train_on_file
from alservice.offline.training import RefitHeads
from alservice.progress import NoProgress
from tests.support.files import TREE, write_galaxies


def asked(data, **changes):
    """Return a small backfill of Smooth."""
    small = BackfillOptions(
        out=Path("unused"),
        data=data,
        question="smooth",
        policies=("random", "epig"),
        seeds=1,
        rounds=1,
        network="compact",
        device="cpu",
    )
    return backfill_of(replace(small, **changes))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return a file of sixty galaxies with votes."""
    return write_galaxies(tmp_path_factory.mktemp("data") / "galaxies.parquet", 60)


@pytest.fixture(scope="module")
def encoder(data, tmp_path_factory):
    """Return the folder of a model that was trained for three steps."""
    out = tmp_path_factory.mktemp("encoder") / "model"
    config = FitConfig(network=NetworkConfig(image_px=16, heads=2), steps=3, batch=4, threads=1, looks=1)
    train_on_file(data, out, tree=TREE, config=lambda _: config, galaxies=None, device="cpu", progress=NoProgress())
    return out


@pytest.mark.parametrize("question", ["smooth", "bar", ALL])
def test_a_question_brings_what_suits_it(question) -> None:
    """And what is asked for goes before it; a question that nobody has tried takes what suits them all."""
    sizes = SIZES[question]
    plain = asked(None, question=question)
    assert (plain.plan.initial, plain.plan.batch, plain.plan.passes) == (sizes.initial, sizes.batch, sizes.passes)
    assert (plain.training.network.image_px, plain.training.steps) == (sizes.px, sizes.steps)
    assert plain.training.mean_precision == sizes.mean_precision
    mine = asked(None, question=question, px=32, field=1.0, steps=7, passes=0, batch=5, mean_precision=9.0)
    assert mine.training.mean_precision == 9
    assert (mine.training.network.image_px, mine.training.network.field, mine.training.steps) == (32, 1.0, 7)
    assert (mine.plan.passes, mine.plan.batch, mine.plan.initial) == (0, 5, sizes.initial)
    assert asked(None, question="bulge-size").plan.batch == SIZES[ALL].batch


def test_a_backfill_on_an_earlier_trunk_ends_in_a_report(data, encoder, tmp_path) -> None:
    """Heads are fitted on embeddings that are made once; the floors of the votes are stated."""
    small = asked(data, encoder=encoder, initial=12, batch=4, steps=3, passes=0, test=5)
    with open_backfill(small, tmp_path, NoProgress()) as folder:
        replay = open_replay(small, tmp_path)
        assert isinstance(replay.learner, RefitHeads)
        assert len(replay.test.galaxy_ids) == 5
        made = (tmp_path / "embeddings.npy").stat().st_mtime_ns
        assert [run_backfill(small, tmp_path, policy, 0) for policy in small.policies] == [2, 2]
        write_report(small, tmp_path, folder)
    with open_backfill(small, tmp_path, NoProgress()):
        assert (tmp_path / "embeddings.npy").stat().st_mtime_ns == made
    rows = list(csv.DictReader((tmp_path / "curves.csv").read_text().splitlines()))
    assert [row["labels"] for row in rows] == ["12", "16", "12", "16"]
    page = (tmp_path / "report.html").read_text()
    assert "of the heads alone, on the trunk of an earlier model" in page
    assert "A perfect prediction would have an NLL of at least" in page
    assert "noise of the votes alone" in page


def test_an_encoder_has_its_own_size_of_images(data, encoder, tmp_path) -> None:
    """Another is refused before anything is read; so is an encoder that is not there."""
    with pytest.raises(BadConfig, match="give no --px"):
        asked(data, encoder=encoder, px=32)
    with pytest.raises(NotFound, match="there is no model here"):
        asked(data, encoder=tmp_path)
