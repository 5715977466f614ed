"""The benchmarks run, small: what they check must hold, what they measure is for their README."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow.parquet as pq
import pytest

from alservice.campaigns.campaign import AcquisitionPolicy
from alservice.campaigns.policies import PolicyName
from alservice.offline.training import load_model
from alservice.progress import NoProgress
from alservice.release import FORMATS
from alservice.release.formats import FormatName
from alservice.science.posterior import Posterior, answer_probabilities
from alservice.storage.run_folder import claim_folder
from tests.benchmarks import likelihood, predict
from tests.benchmarks.acquisition import compare, streamed
from tests.benchmarks.active_bias import main as active_bias
from tests.benchmarks.backfill_encoder import main as backfill_encoder
from tests.benchmarks.dashboard import PAGES
from tests.benchmarks.dashboard import main as dashboard
from tests.benchmarks.fault_campaign import run_campaign, run_fakes
from tests.benchmarks.gate_curve import main as gate_curve
from tests.benchmarks.goals import main as goals
from tests.benchmarks.ingest import main as ingest
from tests.benchmarks.publish_throughput import main as publish_throughput
from tests.benchmarks.real_predictions import TREE, Population, load, make, save
from tests.benchmarks.release import write
from tests.benchmarks.scale import KeptScores, Sky
from tests.benchmarks.scale import run as run_week
from tests.benchmarks.scale_plan import PAGE, page, text
from tests.benchmarks.wasted_votes import experiment
from tests.benchmarks.webhook import main as webhook
from tests.support.posteriors import network_posterior
from tests.support.shared import shared_data


@pytest.mark.slow
def test_the_goals_are_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On real galaxies: every goal a line of the table, judged on the whole stream."""
    options = [
        "--tiny",
        "--epochs",
        "0.1",
        "--threads",
        "1",
        "--device",
        "cpu",
        "--learning-curve",
        "--out",
        str(tmp_path),
    ]
    found = goals(options)
    assert found["card"].n_galaxies == 1500
    folder = tmp_path / "tiny-compact-0"
    text = (folder / "goals.md").read_text()
    assert text in capsys.readouterr().out
    assert sum("coverage error" in line for line in text.splitlines()) == 8
    assert all(f"| RMSE {what}" in text for what in ("of the Smooth", "of the Bar", "over the 37"))
    assert {"goals.json", "reliability.svg", "training-curve.png", "learning-curve.svg"} <= {
        p.name for p in folder.iterdir()
    }


def test_a_short_fault_campaign_breaks_no_rule() -> None:
    """Real client, processes killed, faults on the wire: every planned subject live once, no orphan left."""
    totals = run_campaign(runs=5, seed=101)
    assert totals.violations == []
    assert totals.live == totals.planned
    assert totals.killed
    assert sum(totals.faults.values())


def test_the_fakes_weather_every_storm() -> None:
    """Seeds beyond those of the publisher's own tests."""
    assert run_fakes(runs=30, seed=1000) == []


def test_throughput_is_measured_within_the_connections_allowed() -> None:
    """Every way ends; ours stays within 24 connections and links in hundreds."""
    table = publish_throughput(["--subjects", "120", "--client-subjects", "2", "--latency", "0.01"])
    assert table["ours"].connections <= 24
    assert table["ours"].link_calls == 2


def test_ingest_is_measured_in_every_way(capsys: pytest.CaptureFixture[str]) -> None:
    """File, both baselines and the API listing land all their rows."""
    ingest(["--votes", "1300", "--api-rows", "450"])
    said = capsys.readouterr().out
    assert "409 rows: 409 landed, 0 quarantined" in said
    assert "landing and reading together" in said
    assert "450 rows: 450 landed" in said
    assert said.count("pandas + to_sql") == 2
    assert "60,000,000 votes" in said


def test_the_webhook_keeps_every_reduction_while_votes_are_read() -> None:
    """Nothing fails and nothing is lost or doubled, with the reader and without."""
    for result in webhook(["--requests", "120", "--connections", "3"]):
        assert result.failed == 0
        assert result.kept == result.expected
    assert result.polled


def test_the_likelihood_is_that_of_the_loop() -> None:
    """Both ways end, and give the same values to the digits that the loop's float32 has."""
    theirs, ours, difference = likelihood.measure(questions=5, batch=8, repeats=1)
    assert theirs > 0
    assert ours > 0
    assert difference < 1e-3


def test_prediction_is_measured_beside_its_floor() -> None:
    """Every figure of the table is a rate, and the text names them all."""
    figures = predict.measure(
        device="cpu", name="compact", image_px=16, images=4, batch=2, repeats=1, precision="float32", side=32
    )
    assert min(figures.ours, figures.one_draw, figures.plain, figures.trained, figures.floor) > 0
    assert figures.text().count("images/s") == 3


def test_every_way_of_scoring_is_held_against_simulated_walks() -> None:
    """The loop's score is within 6 % of the truth and below ln 30; the sum over questions is neither."""
    loop, summed, walks = compare(network_posterior(TREE, 40), judged=30)
    assert loop.error < 0.06
    assert loop.most <= np.log(30) < summed.most
    assert summed.ratio > 1.15
    assert walks.ratio == pytest.approx(1, abs=0.05)
    assert min(loop.rank, summed.rank, walks.rank) > 0.9


def test_a_pool_is_drawn_from_shard_by_shard() -> None:
    """Two shards and a bit end in one batch."""
    seconds, peak_mib = streamed(2_500)
    assert seconds > 0
    assert peak_mib > 0


def test_a_week_of_a_survey_is_run_killed_and_gone_on_with(tmp_path: Path, database_url: str) -> None:
    """Every stage has a line; nothing is scored twice; inclusion probabilities weigh up to the galaxies there are."""
    size = {"scored": None, "subjects": 40, "batch": 400, "seed": 1, "folder": tmp_path / "week"}
    week = run_week(4_000, **size, url=database_url)
    assert week.drawn == 400
    assert [stage.galaxies for stage in week.stages] == [4_000, 40, 4_000, 400]
    assert week.population == pytest.approx(week.expected, rel=0.4)
    scores = (tmp_path / "week" / "scores.f32").read_bytes()
    assert len(scores) == 4_000 * 4
    (tmp_path / "week" / "done").write_text("1")  # as a run that was killed after a shard leaves it
    sky, policy = Sky(4_000, 1), AcquisitionPolicy(policy="power_bald")
    with claim_folder(
        tmp_path / "week", {"galaxies": 4_000, "seed": 1, "scored": 4_000, "policy": policy.policy}
    ) as kept:
        assert KeptScores(kept, sky, 4_000).fill(policy, NoProgress()) == 2_000
    assert (tmp_path / "week" / "scores.f32").read_bytes() == scores


def test_the_plan_on_paper_is_that_of_the_rates() -> None:
    """Who changes a rate writes the page again."""
    document = PAGE.read_text()
    assert page(document) == document
    assert text() in document


@pytest.mark.parametrize("name", FORMATS)
def test_writing_a_release_is_measured(name: FormatName, tmp_path: Path) -> None:
    """Each format has its line."""
    assert write(name, 3_000, tmp_path).startswith(f"| {name} | 3,000 |")


def test_waste_is_counted_for_every_policy() -> None:
    """Few galaxies, hardly trained: shares are shares, and batches kept apart hold no copy."""
    found, pool, _ = experiment(learn=60, pool=200, steps=2, batch=20, share=0.001, models=1, draws=2)
    assert len(pool.what) == 200 + 30 + 20
    assert {policy for policy, _ in found} >= set(get_args(PolicyName))
    for (policy, apart), (waste,) in found.items():
        assert 0 <= waste.total <= 1
        assert waste.drawn == 20 or policy == "threshold"
        assert not apart or waste.copies == 0


def informed(people: Population, seed: int, noise: float) -> Posterior:
    """Return a posterior that knows the votes but for some noise, as a well trained network would."""
    rng = np.random.default_rng(seed)
    logits = np.log(people.counts[:, None, :] + 1.0) + rng.normal(0, noise, (len(people.counts), 8, TREE.n_answers))
    concentrations = (10 * answer_probabilities(TREE, np.exp(logits))).astype(np.float32)
    return replace(people.first, concentrations=concentrations)


def test_gate_and_bias_are_measured_on_real_galaxies(tmp_path: Path) -> None:
    """Two networks are trained and kept; every run of the gate has a verdict, every estimator is near the truth."""
    file = tmp_path / "predictions.npz"
    people = make(train=60, steps=4, limit=200)
    save(replace(people, first=informed(people, 1, 0.5), second=informed(people, 2, 0.3)), file)
    assert len(load(file).galaxy_ids) == len(people.images) == 200
    cells = gate_curve(["--predictions", str(file), "--runs", "5", "--sizes", "150", "--plot", str(tmp_path / "g.svg")])
    assert [sum(cell.verdicts.values()) for cell in cells] == [5, 5, 5]
    promoted = {cell.case: cell.promoted for cell in cells}
    assert promoted["worse by the margin"] < 1
    assert promoted["worse by the margin"] <= promoted["better by the margin"]
    assert (tmp_path / "g.svg").read_text().count("copy the newest") == 1
    found = active_bias(["--predictions", str(file), "--batch", "40", "--seeds", "20", "--beta", "1"])
    weighted = [e for estimates in found.values() for e in estimates if e.covered is not None]
    assert len(weighted) == 4
    assert all(abs(estimate.bias) < 0.1 for estimate in weighted)


def test_every_page_of_a_large_campaign_answers() -> None:
    """Each page of the dashboard is asked, with and without memory."""
    sizes = ["--cycles", "30", "--subjects", "2000", "--classifications", "5000", "--repeats", "2"]
    assert set(dashboard(sizes)) == set(PAGES)


@pytest.mark.slow
def test_a_trunk_is_made_from_galaxies_that_are_not_replayed(tmp_path: Path) -> None:
    """The model is one that a backfill takes; what it learned from is not among the rows that are left."""
    folder = backfill_encoder(["--out", str(tmp_path), "--galaxies", "40", "--of", "150", "--steps", "2"])
    network, _ = load_model(folder / "encoder", device="cpu")
    assert network.config.input_px == 32
    kept = pq.read_metadata(folder / "rest.parquet").num_rows
    assert kept == pq.read_metadata(shared_data() / "gz2_kaggle.parquet").num_rows - 40
