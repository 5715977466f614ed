"""The benchmarks run, small: what they check must hold, what they measure is for their README."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from alservice.core.posteriors import Posterior, answer_probabilities
from tests.benchmarks.active_bias import main as active_bias
from tests.benchmarks.fault_campaign import run_campaign, run_fakes
from tests.benchmarks.gate_curve import main as gate_curve
from tests.benchmarks.publish_throughput import main as publish_throughput
from tests.benchmarks.real_predictions import TREE, Population, load, make, save


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
