"""A step that is sent to another pool: taken back from a run that went silent, with a clock that tests turn.

The kind: a parent that waits for a run elsewhere without a bound, and a late child that writes all the same.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from alservice.campaigns.cycle import Cycle, CycleState
from alservice.cycle.elsewhere import RunElsewhere
from alservice.cycle.sent_steps import RunState, SentStep
from alservice.errors import DatabaseUnavailable, DeploymentFailed, LeaseLost, NoWorker, PrefectUnavailable, WorkerLost
from alservice.retry import Bounds
from tests.cycle.test_hold_lease import NOON

BOUNDS = Bounds(start_s=400, pending_s=100, silence_s=60, outage_s=120)
CYCLE = Cycle(
    id=7,
    campaign_id=1,
    campaign_version=1,
    catalogue_id=1,
    number=3,
    state=CycleState.TRAINING,
    left_from=None,
    champion_id=None,
    candidate_id=None,
    deadline=None,
    created_at=NOON,
    updated_at=NOON,
)

Behaviour = Callable[["Elsewhere", float], None]
"""What a run does to the world at a second after it was started."""


@dataclass
class Elsewhere:
    """Cycles, rows of sent steps, an orchestrator and a clock: one small world that moves when its sender sleeps."""

    behaviours: list[Behaviour]
    at_s: float = 0.0
    cycle: Cycle = CYCLE
    row: SentStep | None = None
    started: list[str] = field(default_factory=list)
    begun_s: float = 0.0
    state_now: RunState = RunState.WAITING
    taken_back: list[str] = field(default_factory=list)
    crashed: list[str] = field(default_factory=list)
    database_is_away: bool = False
    server_is_away: bool = False
    is_lost: bool = False

    def now(self) -> float:
        """Return the second."""
        return self.at_s

    def sleep(self, seconds: float) -> None:
        """Let time pass, and the newest run do what it does."""
        self.at_s += seconds
        if self.started:
            self.behaviours[len(self.started) - 1](self, self.at_s - self.begun_s)

    def check(self) -> None:
        """Raise once the sender's lease is another's."""
        if self.is_lost:
            raise LeaseLost("another has it")

    def beat(self) -> None:
        """Be the run that reports."""
        assert self.row is not None
        heard_at = NOON + timedelta(seconds=self.at_s)
        self.row = replace(self.row, heard_at=heard_at, worker="owl", place="there")

    def finish(self, state: CycleState = CycleState.EVALUATING) -> None:
        """Be the run that moves the cycle."""
        left_from = CYCLE.state if state is CycleState.FAILED else None
        self.cycle = replace(self.cycle, state=state, left_from=left_from)

    def _answer(self) -> None:
        if self.database_is_away:
            raise DatabaseUnavailable("away")

    def send(self, cycle: Cycle, token: str, attempt: int) -> SentStep:
        """Record it."""
        self._answer()
        self.row = SentStep(
            campaign_id=1, cycle_id=cycle.id, step=cycle.state, token=token, attempt=attempt, sent_at=NOON
        )
        return self.row

    def report(self, campaign_id: int, token: str, *, worker: str, place: str) -> SentStep:
        """Not asked by a sender."""
        raise NotImplementedError

    def get(self, _: int) -> SentStep | None:
        """Return the row."""
        self._answer()
        return self.row

    def take_back(self, sent: SentStep, cycle: Cycle, *, actor: str, reason: str) -> None:
        """Note it."""
        self._answer()
        assert self.row is not None
        assert (self.row.token, cycle.id, actor) == (sent.token, 7, "crow")
        self.row = None
        self.taken_back.append(reason)

    def start(self, step: CycleState, token: str) -> str:
        """Start one run per token."""
        if self.server_is_away:
            raise PrefectUnavailable("away")
        assert step is CycleState.TRAINING
        assert self.row is not None
        assert token == self.row.token, "the row is there before the run is"
        self.started.append(token)
        self.begun_s, self.state_now = self.at_s, RunState.WAITING
        return f"run {len(self.started)}"

    def state(self, _: str) -> RunState:
        """Return where the newest run stands."""
        return RunState.UNKNOWN if self.server_is_away else self.state_now

    def name(self, run: str) -> str:
        """Return the name."""
        return run

    def give_up(self, run: str, reason: str) -> bool:
        """Note it, if the server is there."""
        if not self.server_is_away:
            self.crashed.append(run)
        assert reason
        return not self.server_is_away


@dataclass
class Cycles:
    """The table of cycles, of which one row is asked for."""

    world: Elsewhere

    def get(self, _: int) -> Cycle:
        """Return the cycle as it is."""
        return self.world.cycle


def works(seconds: float) -> Behaviour:
    """Return a run that starts, beats every few seconds, and is done after so many."""

    def behave(world: Elsewhere, at_s: float) -> None:
        world.state_now = RunState.RUNNING
        world.beat()
        if at_s >= seconds:
            world.finish()

    return behave


def dies(seconds: float) -> Behaviour:
    """Return a run that beats and is killed after so many seconds: the orchestrator goes on saying that it runs."""

    def behave(world: Elsewhere, at_s: float) -> None:
        world.state_now = RunState.RUNNING
        if at_s < seconds:
            world.beat()

    return behave


def is_never_taken(_: Elsewhere, at_s: float) -> None:
    """Be a run that no worker takes."""
    assert at_s >= 0


def service(world: Elsewhere, attempts: int = 3) -> RunElsewhere:
    """Return the service in a world."""
    parts: dict[str, object] = {"cycles": Cycles(world), "sent": world, "runs": world}
    return RunElsewhere(
        **parts,
        bounds=BOUNDS,
        attempts=attempts,
        actor="crow",
        check=world.check,
        now=world.now,
        sleep=world.sleep,
    )


def test_a_run_that_does_its_work_is_waited_for() -> None:
    """Ten hours are fine while it beats."""
    world = Elsewhere([works(36_000)])
    assert service(world).run(CYCLE).state is CycleState.EVALUATING
    assert (len(world.started), world.taken_back) == (1, [])


def test_a_dead_run_is_given_up_and_the_next_one_ends_the_step() -> None:
    """Within the bound on silence: taken back, marked as crashed, told, and sent again with another token."""
    world = Elsewhere([dies(30), works(50)])
    assert service(world).run(CYCLE).state is CycleState.EVALUATING
    assert world.at_s <= 30 + BOUNDS.silence_s + 50 + 10
    assert world.crashed == ["run 1"]
    assert world.taken_back == ["nothing was heard of it for longer than 60 s"]
    assert len(set(world.started)) == 2


def test_a_run_is_lost_so_many_times_and_no_more() -> None:
    """Then a person looks: the cycle fails with a code of its own."""
    world = Elsewhere([dies(10)] * 3)
    with pytest.raises(WorkerLost, match="training of cycle 3: 3 runs were lost"):
        service(world).run(CYCLE)
    assert len(world.taken_back) == len(world.crashed) == 3


def test_a_run_that_nobody_takes_is_not_sent_again() -> None:
    """Where no worker is, a second run would wait beside the first."""
    world = Elsewhere([is_never_taken])
    with pytest.raises(NoWorker, match="no worker took it within 400 s"):
        service(world).run(CYCLE)
    assert (world.taken_back, world.crashed) == (["no worker took it within 400 s"], ["run 1"])


def test_a_step_that_failed_over_there_fails_here() -> None:
    """The cycle says so; it is not tried again, for its own retries are spent."""
    world = Elsewhere([lambda world, _: world.finish(CycleState.FAILED)])
    with pytest.raises(DeploymentFailed, match="did not complete in its run run 1: the cycle is failed"):
        service(world).run(CYCLE)


def test_a_run_that_a_person_cancelled_is_not_sent_again() -> None:
    """Who cancels wants it to stop."""

    def is_cancelled(world: Elsewhere, _: float) -> None:
        world.state_now = RunState.CANCELLED

    with pytest.raises(DeploymentFailed):
        service(Elsewhere([is_cancelled])).run(CYCLE)


def test_a_run_that_failed_without_a_word_is_tried_on_the_next_worker() -> None:
    """It could not reach the database, or its code did not start there."""

    def fails(world: Elsewhere, _: float) -> None:
        world.state_now = RunState.FAILED

    world = Elsewhere([fails, works(10)])
    assert service(world).run(CYCLE).state is CycleState.EVALUATING
    assert (world.crashed, len(world.taken_back)) == ([], 1)


def test_a_paused_campaign_ends_the_wait_without_an_error() -> None:
    """The run found the pause and ended well: the cycle stands where it stood."""

    def finds_a_pause(world: Elsewhere, _: float) -> None:
        world.state_now = RunState.COMPLETED

    assert service(Elsewhere([finds_a_pause])).run(CYCLE) == CYCLE


def during(
    first_s: float, last_s: float, behave: Behaviour, *, database: bool = False, server: bool = False
) -> Behaviour:
    """Return a run during which a part is away for a while."""

    def act(world: Elsewhere, at_s: float) -> None:
        is_away = first_s <= at_s < last_s
        world.database_is_away, world.server_is_away = database and is_away, server and is_away
        if not world.database_is_away:
            behave(world, at_s)

    return act


def test_a_server_that_restarts_for_an_hour_stops_nothing() -> None:
    """The run beats in the database, and its end is seen there, also while the server is still away."""
    world = Elsewhere([during(20, 10**6, works(3600), server=True)])
    assert service(world).run(CYCLE).state is CycleState.EVALUATING
    assert world.at_s >= 3600


def test_a_database_that_is_away_for_a_minute_costs_nothing() -> None:
    """Longer than the bound on silence: nobody could be heard, so nobody was silent."""
    world = Elsewhere([during(20, 120, works(200), database=True)])
    assert service(world).run(CYCLE).state is CycleState.EVALUATING
    assert len(world.started) == 1


def test_a_database_that_stays_away_is_a_typed_error() -> None:
    """After the outage that is borne."""
    world = Elsewhere([during(20, 10**6, works(10**6), database=True)])
    with pytest.raises(DatabaseUnavailable, match="no answer for 120 s"):
        service(world).run(CYCLE)
    assert world.at_s <= 20 + BOUNDS.outage_s + 10


def test_sending_bears_an_outage_and_ends_with_a_typed_error() -> None:
    """Without a server there is no run: asked again for as long as an outage may last."""
    world = Elsewhere([works(10)], server_is_away=True)
    with pytest.raises(PrefectUnavailable):
        service(world).run(CYCLE)
    assert BOUNDS.outage_s <= world.at_s <= BOUNDS.outage_s + 10


def test_a_dead_run_is_taken_back_also_where_the_server_cannot_be_told(caplog: pytest.LogCaptureFixture) -> None:
    """Marking it as crashed is a courtesy; the token is what keeps it from writing."""

    def dies_with_the_server(world: Elsewhere, at_s: float) -> None:
        dies(10)(world, at_s)
        world.server_is_away = at_s < BOUNDS.silence_s + 30

    world = Elsewhere([dies_with_the_server, works(10)])
    assert service(world).run(CYCLE).state is CycleState.EVALUATING
    assert (len(world.taken_back), world.crashed) == (1, [])
    assert "run run 1 is not marked as crashed" in caplog.text


def test_a_sender_that_lost_its_own_lease_stops_waiting() -> None:
    """Another process took the campaign over, and with it the step."""

    def loses(world: Elsewhere, at_s: float) -> None:
        works(10**6)(world, at_s)
        world.is_lost = at_s > 20

    with pytest.raises(LeaseLost):
        service(Elsewhere([loses])).run(CYCLE)

    def another_sends(world: Elsewhere, _: float) -> None:
        assert world.row is not None
        world.row = replace(world.row, token="another's")

    with pytest.raises(LeaseLost, match="was taken over"):
        service(Elsewhere([another_sends])).run(CYCLE)
