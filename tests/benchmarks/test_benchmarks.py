"""The benchmarks run, small: what they check must hold, what they measure is for their README."""

from pathlib import Path
from typing import get_args

from alservice.core.policies import PolicyName
from tests.benchmarks.acquisition import compare, streamed
from tests.benchmarks.fault_campaign import run_campaign, run_fakes
from tests.benchmarks.publish_throughput import main as publish_throughput
from tests.benchmarks.wasted_votes import experiment


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


def test_every_way_of_scoring_agrees_with_enumeration() -> None:
    """Ours within its bound, the paper's within its rounding; a library that is absent is named with the reason."""
    lines, skipped = compare(2000, Path("no-such-python"))
    errors = {line.way: line.max_error for line in lines}
    assert errors["alservice, exact"] == 0
    assert errors["alservice, fast"] < 1e-3
    assert errors["the paper's method"] < 0.05
    assert {name.split(",")[0] for name in skipped} == {"baal", "batchbald_redux"}
    assert all("No such file" in why for why in skipped.values())


def test_a_pool_is_drawn_from_shard_by_shard() -> None:
    """Two shards and a bit end in one batch."""
    seconds, peak_mib = streamed(25_000)
    assert seconds > 0
    assert peak_mib > 0


def test_waste_is_counted_for_every_policy() -> None:
    """Few galaxies, hardly trained: shares are shares, and batches kept apart hold no copy."""
    found, pool, _ = experiment(learn=60, pool=200, steps=2, batch=20, share=0.001, models=1, draws=2)
    assert len(pool.what) == 200 + 30 + 20
    assert {policy for policy, _ in found} >= set(get_args(PolicyName))
    for (policy, apart), (waste,) in found.items():
        assert 0 <= waste.total <= 1
        assert waste.drawn == 20 or policy == "threshold"
        assert not apart or waste.copies == 0
