"""The benchmarks run, small: what they check must hold, what they measure is for their README."""

from tests.benchmarks.dashboard import PAGES
from tests.benchmarks.dashboard import main as dashboard
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


def test_every_page_of_a_large_campaign_answers() -> None:
    """Each page of the dashboard is asked, with and without memory."""
    sizes = ["--cycles", "30", "--subjects", "2000", "--classifications", "5000", "--repeats", "2"]
    assert set(dashboard(sizes)) == set(PAGES)
