"""The benchmarks run, small: what they check must hold, what they measure is for their README."""

from tests.benchmarks import likelihood, predict
from tests.benchmarks.fault_campaign import run_campaign, run_fakes
from tests.benchmarks.publish_throughput import main as publish_throughput


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
