"""A backfill of votes in its folder: a few galaxies of the synthetic sky and of files, trained for a few steps."""

import csv
import dataclasses
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from alservice.backfill import votes_run
from alservice.backfill.options import VotesOptions
from alservice.backfill.votes import RULES
from alservice.backfill.votes_run import folds_of, run_backfill_votes
from alservice.campaigns.campaign import EvaluationPolicy
from alservice.catalogue.galaxies import is_evaluation_member
from alservice.cli import app
from alservice.errors import BadConfig, BadInput, BadVotes, Conflict, NotFound
from alservice.offline.commands import EVALUATION_SEED, TrainingOptions, train_on_file
from alservice.offline.training import TrainNetwork
from alservice.progress import NoProgress
from tests.support.files import TREE, counts_of, ids_of, write_galaxies

SMALL = VotesOptions(
    out=Path("unused"),
    galaxies=40,
    seeds=2,
    folds=2,
    network="compact",
    px=16,
    steps=3,
    batch=8,
    draws=3,
    max_votes=6,
    device="cpu",
    threads=1,
)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Return the folder and the result of a replay on forty synthetic galaxies."""
    out = tmp_path_factory.mktemp("votes") / "run"
    return out, run_backfill_votes(dataclasses.replace(SMALL, out=out), NoProgress())


def test_a_replay_leaves_its_table_plot_and_summary(done) -> None:
    """Every question that is judged and the tree, every rule, with intervals around each figure."""
    out, found = done
    rows = list(csv.DictReader(io.StringIO((out / "votes_saved.csv").read_text())))
    assert {"question", "rule", "votes_per_galaxy", "label_accuracy", "rmse", "rmse_low", "rmse_high"} <= set(rows[0])
    assert {row["rule"] for row in rows} == set(RULES)
    assert {"all", "smooth-or-featured"} <= {row["question"] for row in rows}
    for row in rows:
        assert 1 <= float(row["votes_per_galaxy"]) <= 6
        for name in ("votes_per_galaxy", "label_accuracy", "rmse"):
            assert float(row[f"{name}_low"]) <= float(row[name]) + 1e-5
            assert float(row[name]) <= float(row[f"{name}_high"]) + 1e-5
    assert len(rows) == len(found.figures)
    assert (out / "votes-saved.svg").read_bytes().startswith(b"<svg")
    summary = (out / "votes_saved.txt").read_text()
    assert "40 galaxies, of which 40 of the unbiased part judge; 2 seeds of 2 folds" in summary
    assert "A survey of 1,000,000 galaxies at 30,000 classifications a day" in summary
    assert "6,000,000           200.0" in summary


def test_nobody_is_predicted_by_a_model_that_saw_them(tmp_path, monkeypatch) -> None:
    """Each training leaves out the part that it predicts, and every galaxy is predicted once a seed."""
    learned, predicted = [], []
    run, draws = TrainNetwork.run, TrainNetwork.draws
    monkeypatch.setattr(
        TrainNetwork, "run", lambda self, g, *a, **k: learned.append(set(g.galaxy_ids)) or run(self, g, *a, **k)
    )
    monkeypatch.setattr(
        TrainNetwork, "draws", lambda self, net, g, n: predicted.append(set(g.galaxy_ids)) or draws(self, net, g, n)
    )
    options = dataclasses.replace(SMALL, out=tmp_path / "run", galaxies=12, seeds=1, folds=3, max_votes=2, steps=1)
    run_backfill_votes(dataclasses.replace(options, min_votes=1), NoProgress())
    assert len(learned) == len(predicted) == 3
    for theirs, judged in zip(learned, predicted, strict=True):
        assert not theirs & judged
        assert len(theirs | judged) == 12
    assert len(set.union(*predicted)) == 12


def test_a_finished_replay_is_not_trained_again(done, monkeypatch) -> None:
    """The same bytes; another cost is stated at once; other options are refused."""
    out, _ = done
    before = (out / "votes_saved.csv").read_bytes()
    monkeypatch.setattr(TrainNetwork, "run", None)
    run_backfill_votes(dataclasses.replace(SMALL, out=out, survey=500), NoProgress())
    assert (out / "votes_saved.csv").read_bytes() == before
    assert "A survey of 500 galaxies" in (out / "votes_saved.txt").read_text()
    with pytest.raises(Conflict, match="policy"):
        run_backfill_votes(dataclasses.replace(SMALL, out=out, confidence=0.9), NoProgress())
    with pytest.raises(Conflict, match="training"):
        run_backfill_votes(dataclasses.replace(SMALL, out=out, steps=4), NoProgress())


def test_a_killed_replay_goes_on_to_the_same_bytes(done, tmp_path, monkeypatch) -> None:
    """After the first parts: they are not trained again."""
    whole, _ = done
    options = dataclasses.replace(SMALL, out=tmp_path / "run")
    monkeypatch.setattr(votes_run, "replay_votes", lambda *_, **__: pytest.fail("killed"))
    with pytest.raises(pytest.fail.Exception):
        run_backfill_votes(options, NoProgress())
    monkeypatch.undo()
    run, trained = TrainNetwork.run, []
    monkeypatch.setattr(TrainNetwork, "run", lambda *a, **k: trained.append(1) or run(*a, **k))
    run_backfill_votes(options, NoProgress())
    assert len(trained) == 2, "the two parts of the second seed"
    assert (options.out / "votes_saved.csv").read_bytes() == (whole / "votes_saved.csv").read_bytes()


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"confidence": 0.5}, BadConfig, r"confidence of a stopping rule must lie in \(0.5, 1\), not 0.5"),
        ({"confidence": 1.0}, BadConfig, r"must lie in \(0.5, 1\), not 1.0"),
        ({"min_votes": 7}, BadConfig, "0 <= min_votes <= max_votes, not 7 and 6"),
        ({"questions": ("ring",)}, NotFound, "no question 'ring'"),
        ({"galaxies": 3}, BadInput, "3 galaxies are too few for 2 folds"),
        ({"galaxies": None}, BadConfig, "synthetic sky needs a number"),
        ({"network": "none"}, BadConfig, "none"),
        ({"steps": 3, "epochs": 1.0}, BadConfig, "steps or epochs"),
    ],
)
def test_bad_input_is_named(tmp_path, changes, kind, said) -> None:
    """Before anything is trained."""
    with pytest.raises(kind, match=said):
        run_backfill_votes(dataclasses.replace(SMALL, out=tmp_path / "run", **changes), NoProgress())


def test_votes_that_no_walk_gives_are_named(tmp_path) -> None:
    """More asked about a bar than chose a disk: the galaxy and the question."""
    path = write_galaxies(tmp_path / "galaxies.parquet", 12)
    table = pq.read_table(path)
    place = table.column_names.index("bar_yes")
    bars = counts_of(12)[:, TREE.column("bar_yes")]
    bars[5] = 500
    pq.write_table(table.set_column(place, "bar_yes", pa.array(bars)), path)
    options = dataclasses.replace(SMALL, out=tmp_path / "run", data=path, galaxies=None)
    with pytest.raises(BadVotes, match="galaxy J0005: question 'bar' has counts"):
        run_backfill_votes(options, NoProgress())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a file of galaxies, and two models trained on all outside its evaluation stream."""
    folder = tmp_path_factory.mktemp("ready")
    data = write_galaxies(folder / "galaxies.parquet", 60)
    for seed in range(2):
        options = TrainingOptions(network="compact", px=16, steps=2, batch=8, seed=seed, threads=1)
        train_on_file(
            data,
            folder / f"m{seed}",
            tree=TREE,
            config=lambda n, options=options: options.config(n, "cpu"),
            galaxies=None,
            device="cpu",
        )
    return data, (str(folder / "m0"), str(folder / "m1"))


def test_ready_made_models_judge_the_evaluation_stream_alone(trained, tmp_path, monkeypatch) -> None:
    """Nothing is trained, who was trained on is not read, and the same models go on where a run was left."""
    data, models = trained
    read = votes_run.recorded_fractions
    seen: list[str] = []
    monkeypatch.setattr(TrainNetwork, "run", None)
    monkeypatch.setattr(votes_run, "recorded_fractions", lambda t, ids, *a: seen.extend(ids) or read(t, ids, *a))
    options = dataclasses.replace(SMALL, out=tmp_path / "run", data=data, galaxies=None, models=models)
    found = run_backfill_votes(options, NoProgress())
    fraction = EvaluationPolicy().fraction
    members = {i for i in ids_of(60) if is_evaluation_member(i, unbiased=True, seed=EVALUATION_SEED, fraction=fraction)}
    assert set(seen) == members
    assert 0 < max(figure.galaxies for figure in found.figures) <= len(members) < 60
    assert (
        "of the evaluation stream judge; 2 seeds of 2 folds, models that never saw them: m0, m1"
        in (tmp_path / "run" / "votes_saved.txt").read_text()
    )
    run_backfill_votes(options, NoProgress())
    with pytest.raises(Conflict, match="training"):
        run_backfill_votes(dataclasses.replace(options, models=models[:1]), NoProgress())


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"data": None, "galaxies": 40}, BadConfig, "evaluation stream of a file"),
        ({"draws": 1}, BadConfig, "2 for 1 draws"),
        ({"models": ("none",)}, NotFound, "there is no model here"),
    ],
)
def test_models_that_cannot_predict_are_named(trained, tmp_path, changes, kind, said) -> None:
    """A sky without a file, too few draws to share, or a folder without a model."""
    data, models = trained
    options = dataclasses.replace(SMALL, out=tmp_path / "run", data=data, galaxies=None, models=models)
    with pytest.raises(kind, match=said):
        run_backfill_votes(dataclasses.replace(options, **changes), NoProgress())


def test_parts_differ_by_one_galaxy_at_most() -> None:
    """By the ids alone, whatever their order; other seeds cut otherwise."""
    ids = [f"g{n}" for n in range(50)]
    parts = folds_of(ids, 3, 0)
    assert sorted(np.bincount(parts)) == [16, 17, 17]
    assert folds_of(ids[::-1], 3, 0).tolist() == parts[::-1].tolist()
    assert folds_of(ids, 3, 1).tolist() != parts.tolist()


def test_the_command_prints_the_summary(done, monkeypatch) -> None:
    """And as JSON what each rule needs."""
    out, found = done
    monkeypatch.setattr(TrainNetwork, "run", None)
    small = "--galaxies 40 --seeds 2 --folds 2 --network compact --px 16 --steps 3 --batch 8 --draws 3 --max-votes 6"
    given = ["backfill-votes", "--out", str(out), *small.split(), "--device", "cpu", "--threads", "1"]
    printed = CliRunner().invoke(app, given)
    assert printed.exit_code == 0, printed.output
    assert "Votes per galaxy to be as good as 6 votes for all" in printed.stdout
    as_json = CliRunner().invoke(app, [*given, "--json"])
    assert len(as_json.stdout.splitlines()) == len(found.savings)
