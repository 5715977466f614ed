"""Which runs worked on a cycle: each once, the newest of every flow, however many ticks there were."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from alservice.campaigns.store import CycleRun
from alservice.cycle.runs import SqlRunLog

NOON = datetime(2026, 3, 5, 12, tzinfo=UTC)


@pytest.fixture
def runs(engine: Engine) -> SqlRunLog:
    """The log on a fresh database."""
    return SqlRunLog(engine)


def run(cycle_id: int, flow: str, minutes: int) -> CycleRun:
    """Return a run that began some minutes after noon."""
    began = NOON + timedelta(minutes=minutes)
    name = f"survey cycle 0: {flow}"
    return CycleRun(cycle_id=cycle_id, run_id=f"{flow}-{minutes}", flow=flow, name=name, began_at=began)


def test_a_run_is_kept_once_per_cycle(runs: SqlRunLog, cycle) -> None:
    """Suspended and resumed, it says so again: its first beginning stays."""
    first = run(cycle.id, "advance", 0)
    for again in (first, CycleRun(**{**_fields(first), "began_at": NOON + timedelta(hours=2)})):
        runs.note(again)
    assert runs.newest(cycle.id, per_flow=5) == [first]
    assert runs.count(cycle.id) == 1
    assert runs.newest(cycle.id + 1, per_flow=5) == []


def test_ticks_do_not_push_other_runs_away(runs: SqlRunLog, cycle) -> None:
    """A week has hundreds of them; the run that trained is listed all the same."""
    for minutes in range(0, 600, 15):
        runs.note(run(cycle.id, "ingest", minutes))
    runs.note(run(cycle.id, "train", 1))
    found = runs.newest(cycle.id, per_flow=2)
    assert [r.run_id for r in found] == ["ingest-585", "ingest-570", "train-1"]
    assert runs.count(cycle.id) == 41


def _fields(made: CycleRun) -> dict[str, object]:
    return {name: getattr(made, name) for name in CycleRun.__slots__}
