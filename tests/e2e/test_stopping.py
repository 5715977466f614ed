"""Asking stops on the real parts, and ``kill -9`` inside the tick: ledger and stand-in agree, nobody is told of twice."""

import multiprocessing
import signal
from pathlib import Path

import pytest

from alservice.app import App, open_app
from alservice.campaigns.campaign import AcquisitionPolicy, StoppingRule, ZooniverseTarget
from alservice.campaigns.cycle import Cycle, CycleState
from alservice.rehearsal.run import WAVE_VOTES, ask_volunteers
from alservice.settings import Settings
from alservice.states import AskingState, SubjectState
from tests.e2e.killed import arm
from tests.support.worlds import TREE, import_rows, make_campaign, make_row

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

FULL = 9
RULE = StoppingRule(confidence=0.51, min_votes=1, questions=(TREE.questions[0].name,))
"""Any majority is certain enough."""

CAMPAIGN = make_campaign(
    acquisition=AcquisitionPolicy(
        initial_galaxies=8, initial_evaluation_galaxies=6, batch_galaxies=10, votes_per_galaxy=FULL, random_share=0.2
    ),
    zooniverse=ZooniverseTarget(retirement="posterior", stopping=RULE),
)

POINTS = [
    ("alservice.subjects.stop_store:SqlStopStore.save", 2, "before"),  # decided by the rule, and not recorded
    ("alservice.subjects.stop_store:SqlStopStore.save", 1, "after"),  # recorded, and the site not told
    ("alservice.zooniverse.client:PanoptesZooniverse.retire", 1, "after"),  # told, and neither seen nor marked
    ("alservice.subjects.ledger:SqlSubjectLedger.mark", 1, "before"),  # seen retired, and not marked
]
"""Where one process after the other dies in the same tick."""


def run_until(app: App, cycle: Cycle, state: CycleState) -> Cycle:
    """Advance a cycle to a state."""
    while cycle.state is not state:
        cycle = app.cycle.advance(cycle.id, actor="test")
    return cycle


def tick(workdir: Path, cycle_id: int, target: str, calls: int, when: str) -> None:
    """Ingest once, in a process that ends at a call."""
    arm(target, calls, when)
    with open_app(Settings(workdir=workdir)) as app, app.sites.local.opened():
        app.cycle.advance(cycle_id, actor="test")


def test_a_tick_that_stops_asking_survives_kill_9(tmp_path: Path) -> None:
    """One decision and one retirement a galaxy, whatever died between; the random arm has its full number."""
    with open_app(Settings(workdir=tmp_path)) as app, app.sites.local.opened():
        row = import_rows(app, CAMPAIGN, [make_row(n) for n in range(40)])
        cycle = app.cycle.start("test", actor="test")
        run_until(app, cycle, CycleState.COLLECTING)
        ask_volunteers(app, cycle.id)
        run_until(app, app.cycles.get(cycle.id), CycleState.DONE)
        cycle = run_until(app, app.cycle.start("test", actor="test"), CycleState.COLLECTING)
        assert ask_volunteers(app, cycle.id) >= WAVE_VOTES * 10

    spawn = multiprocessing.get_context("spawn")
    for target, calls, when in POINTS:
        process = spawn.Process(target=tick, args=(tmp_path, cycle.id, target, calls, when))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL, (target, calls, when)

    with open_app(Settings(workdir=tmp_path)) as app, app.sites.local.opened():
        app.cycle.advance(cycle.id, actor="test")
        subjects = app.ledger.of_cycle(cycle.id)
        known = app.stops.stopped(row.id)
        retired = {s.galaxy_id: s.zooniverse_id for s in subjects if s.state is SubjectState.RETIRED}
        assert retired.keys() == known.keys()
        assert 0 < len(known) < len(subjects)
        statuses = app.sites.zooniverse(CAMPAIGN).statuses([s.zooniverse_id for s in subjects if s.zooniverse_id])
        assert {i for i, status in statuses.items() if status.is_retired} == set(retired.values())
        told = [e for e in app.events.list(row.id, limit=1000) if e.kind == "subjects.stopped"]
        assert sorted(s["galaxy"] for e in told for s in e.detail["subjects"]) == sorted(known)
        marked = [e for e in app.events.list(row.id, limit=1000) if e.kind == "subjects.retired" and e.at >= told[0].at]
        assert {s["galaxy"] for e in marked for s in e.detail["subjects"]} >= known.keys()

        cycle = app.cycles.get(cycle.id)
        while cycle.state is CycleState.COLLECTING:
            ask_volunteers(app, cycle.id)
            cycle = app.cycle.advance(cycle.id, actor="test")
        given = app.classifications.counted_of_galaxies(row.id)
        drawn = {a.galaxy_id for a in app.acquisitions.get(cycle.id) or () if a.arm == "random"}
        assert {given[galaxy_id] for galaxy_id in drawn} == {FULL}
        figures = app.stopping.figures(cycle.id)
        assert figures.spared == sum(s.n_votes - given[s.galaxy_id] for s in subjects) > 0
        asking = app.stopping.galaxy("test", min(known))
        assert asking is not None
        assert asking.state is AskingState.STOPPED
        (outcome,) = app.subjects.reconcile("test", repair=False, actor="test")
        assert outcome.is_clean
