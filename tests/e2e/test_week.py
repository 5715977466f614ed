"""A week in small: two campaigns, people as they come, three roads for votes, a restarted service, a decision in the page."""

import pytest

from tests.benchmarks.week import run

pytestmark = pytest.mark.e2e


def test_a_week_ends_with_every_vote_once_and_one_alarm() -> None:
    """Tallies equal a recount, ledgers Zooniverse, cycles are done with their reports, and only the held gate rang.

    Without Prefect, whose server and workers the whole week has by command: `python -m tests.benchmarks.week`.
    """
    log = run(stepwise=True, ticks=7, a_day=1)
    assert log.broken == []
    told = "; ".join(what for _, what in log.lines)
    for happened in ("the service started", "moves its batch out of the pool", "an export of", "approves in the page"):
        assert happened in told
