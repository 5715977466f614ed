"""When a sender gives up a run that works elsewhere: the kind is a wait for another process without a bound."""

from datetime import UTC, datetime, timedelta

import pytest

from alservice.campaigns.cycle import CycleState
from alservice.cycle.sent_steps import Look, RunState, Verdict, Watch
from alservice.retry import Bounds

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BOUNDS = Bounds(start_s=1000, pending_s=100, silence_s=60, outage_s=500)
TRAINING = CycleState.TRAINING

Seen = tuple[float, RunState, float | None] | tuple[float, RunState, float | None, CycleState | None]
"""Second, what the orchestrator says, second of the newest beat, and the cycle's state where it is not training."""


def verdicts(*seen: Seen) -> list[Verdict]:
    """Follow a run that is sent at second 0, and return what follows from each look."""
    watch, found = Watch.begin(TRAINING, 0.0), []
    for at_s, run, beat_s, *state in seen:
        heard_at = None if beat_s is None else NOON + timedelta(seconds=beat_s)
        watch = watch.look(Look(at_s=at_s, run=run, state=state[0] if state else TRAINING, heard_at=heard_at))
        found.append(watch.verdict(BOUNDS))
    return found


WAIT, SILENT = Verdict.WAIT, Verdict.SILENT
AWAY = None
"""State of a cycle in a database that does not answer."""


def test_a_run_that_beats_is_waited_for_as_long_as_it_takes() -> None:
    """Hours, as long as each beat comes before the bound on silence."""
    seen: list[Seen] = [(at, RunState.RUNNING, at) for at in range(0, 40_000, 59)]
    assert set(verdicts(*seen)) == {WAIT}


def test_silence_ends_the_wait_at_its_bound_not_before() -> None:
    """A killed process leaves its run as running for ever: only its beats have stopped."""
    running = RunState.RUNNING
    assert verdicts((10, running, 9), (69.9, running, 9), (70, running, 9)) == [WAIT, WAIT, SILENT]


def test_a_run_that_never_reports_is_given_up_as_well() -> None:
    """The orchestrator saw its process begin, and the database never heard of it."""
    assert verdicts((5, RunState.RUNNING, None), (65, RunState.RUNNING, None)) == [WAIT, SILENT]


def test_each_phase_before_the_first_beat_has_its_own_bound() -> None:
    """A queue may be long, a container may be slow to come, and neither is for ever."""
    waiting, starting = RunState.WAITING, RunState.STARTING
    assert verdicts((999, waiting, None), (1000, waiting, None)) == [WAIT, Verdict.NOT_TAKEN]
    seen: tuple[Seen, ...] = ((900, starting, None), (999, starting, None), (1000, starting, None))
    assert verdicts(*seen) == [WAIT, WAIT, SILENT]


def test_what_is_believed_crashed_is_over_after_three_beats() -> None:
    """Its process ended, and nothing waits for the longer bound; one that is only cut off beats on, and is kept."""
    crashed = RunState.CRASHED
    assert BOUNDS.crashed_s == 18
    assert verdicts((10, RunState.RUNNING, 9), (12, crashed, 9), (27.9, crashed, 9), (28, crashed, 9)) == [
        *[WAIT] * 3,
        SILENT,
    ]
    beating: list[Seen] = [(at, crashed, at) for at in range(0, 1000, 6)]
    assert set(verdicts(*beating)) == {WAIT}


def test_a_server_that_is_away_stops_nobody_who_beats() -> None:
    """What was known of the run holds on; beats decide, with and without the server."""
    unknown = RunState.UNKNOWN
    seen: list[Seen] = [(1, RunState.RUNNING, 1), *((at, unknown, at) for at in range(30, 4000, 30))]
    assert set(verdicts(*seen)) == {WAIT}
    assert verdicts(*seen, (4050, unknown, 3990))[-1] is SILENT
    assert verdicts((500, unknown, None), (1000, unknown, None)) == [WAIT, Verdict.NOT_TAKEN]


def test_silence_does_not_count_while_the_sender_could_not_listen() -> None:
    """The database was away for both: the run gets the whole bound from its return on."""
    running = RunState.RUNNING
    outage: list[Seen] = [(at, running, None, AWAY) for at in range(20, 400, 10)]
    assert verdicts((10, running, 9), *outage, (400, running, 9), (459, running, 9), (460, running, 9))[-4:] == [
        WAIT,
        WAIT,
        WAIT,
        SILENT,
    ]


def test_a_database_that_stays_away_ends_the_wait_too() -> None:
    """The sender cannot know more, and says so."""
    seen: tuple[Seen, ...] = ((10, RunState.RUNNING, 9), (509, RunState.RUNNING, None, AWAY))
    assert verdicts(*seen, (510, RunState.RUNNING, None, AWAY)) == [WAIT, WAIT, Verdict.DATABASE_AWAY]


@pytest.mark.parametrize("state", [CycleState.EVALUATING, CycleState.FAILED, CycleState.CANCELLED])
def test_a_cycle_that_left_the_step_ends_the_wait(state: CycleState) -> None:
    """Whatever the orchestrator says: the rows are what was done."""
    for run in RunState:
        assert verdicts((10, run, 9, state)) == [Verdict.MOVED]


@pytest.mark.parametrize(
    ("run", "verdict"),
    [
        (RunState.COMPLETED, Verdict.LEFT),
        (RunState.CANCELLED, Verdict.CANCELLED),
        (RunState.FAILED, Verdict.FAILED),
    ],
)
def test_a_run_that_ended_without_moving_the_cycle_is_not_waited_for(run: RunState, verdict: Verdict) -> None:
    """It found a pause, a person ended it, or it failed where the database did not hear it."""
    assert verdicts((10, run, 9)) == [verdict]


@pytest.mark.parametrize("silence_s", [0.5, 5, 60, 300, 86_400])
def test_nine_beats_may_be_lost(silence_s: float) -> None:
    """A run is not given up for a hiccup, and one that is believed dead not later than any other."""
    bounds = Bounds(start_s=1, pending_s=1, silence_s=silence_s, outage_s=1)
    assert 0 < bounds.beat_s <= silence_s / 10
    assert bounds.beat_s <= 30
    assert bounds.beat_s < bounds.crashed_s < silence_s
