"""Fencing: what is written under a lease or a sent step that is another's by now is refused where it is written.

The kind: a process that was taken for dead, wakes up, and writes all the same.
"""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
import pytest
from sqlalchemy import Engine, text

from alservice.campaigns.cycle import Cycle, CycleState
from alservice.campaigns.store import CampaignRow
from alservice.catalogue.galaxies import Catalogue, Shard
from alservice.cycle.lease import Lease, SqlLeaseStore
from alservice.cycle.sent_step_store import SqlSentStepStore
from alservice.errors import DatabaseUnavailable, LeaseLost
from alservice.science.votes import tally_set
from alservice.storage.postgres import IDLE_S, LOCK_S, Fence, fenced, transaction
from tests.cycle.test_lease_store import holder, nobody_is_gone
from tests.support.shared import ROOT
from tests.support.stores import Stores

SHARD = Shard(index=0, key="posteriors/x", n_galaxies=3, n_failed=0)


@pytest.fixture
def cycle(stores: Stores, campaign: CampaignRow, catalogue: Catalogue) -> Cycle:
    """A cycle whose candidate is trained next."""
    cycle = stores.start(campaign, catalogue)
    states = (CycleState.ACQUIRING, CycleState.PUBLISHING, CycleState.COLLECTING, CycleState.TRAINING)
    cycle = stores.move(cycle, *states)
    tallies = tally_set({"g0": np.array([1, 2])}, 2)
    stores.snapshots.save(cycle, key="tallies/ab", tallies=tallies, reducer="counts", n_inconsistent=0)
    return cycle


@pytest.fixture
def lease(engine: Engine, campaign: CampaignRow) -> Lease:
    """The lease of the process that sends steps."""
    return SqlLeaseStore(engine).take(campaign.id, holder("crow"), seconds=60, is_gone=nobody_is_gone)


def at_work(engine: Engine, lease: Lease, token: str) -> Stores:
    """Return the stores of a run that was sent a step under a lease."""
    return Stores(fenced(engine, Fence(kind="sent step", campaign_id=lease.campaign_id, token=token)))


def write_shard(stores: Stores, cycle: Cycle) -> object:
    """List a shard."""
    (model,) = stores.models.list(cycle.campaign_id)
    stores.models.save_posterior_shard(model.id, cycle.catalogue_id, "catalogue", SHARD)
    return stores.models.posterior_shards(model.id, cycle.catalogue_id, "catalogue")


def register(stores: Stores, cycle: Cycle) -> object:
    """Register a candidate."""
    snapshot = stores.snapshots.of_cycle(cycle.id)
    assert snapshot is not None
    return stores.models.save(cycle, key="models/x", digest="x", snapshot_id=snapshot.id, card={})


def move(stores: Stores, cycle: Cycle) -> object:
    """Move the cycle."""
    return stores.cycles.move(cycle, CycleState.EVALUATING, actor="owl", detail={})


def fail(stores: Stores, cycle: Cycle) -> object:
    """Mark the cycle as failed."""
    return stores.cycles.move(cycle, CycleState.FAILED, actor="owl", detail={}, left_from=cycle.state)


def content(engine: Engine) -> list[tuple[object, ...]]:
    """Return every row that a step could have written."""
    tables = ("cycles", "models", "posterior_shards", "events", "training_snapshots")
    with transaction(engine) as connection:
        return [
            (table, *row)
            for table in tables
            for row in connection.execute(text(f"SELECT * FROM {table} ORDER BY 1, 2"))
        ]


WRITES = [register, move, fail, write_shard]


@pytest.mark.parametrize("write", WRITES)
def test_a_run_whose_step_was_taken_back_writes_nothing(
    engine: Engine, stores: Stores, lease: Lease, cycle: Cycle, write: Callable[[Stores, Cycle], object]
) -> None:
    """A shard is listed, a model registered, a cycle moved only under the newest token."""
    sent = SqlSentStepStore(engine)
    first = sent.send(cycle, "first", 1)
    late = at_work(engine, lease, "first")
    sent.take_back(first, cycle, actor="crow", reason="silent")
    if write is write_shard:
        register(stores, cycle)
    before = content(engine)
    with pytest.raises(LeaseLost, match="what it was about to write is refused"):
        write(late, cycle)
    sent.send(cycle, "second", 2)
    with pytest.raises(LeaseLost):
        write(late, cycle)
    assert content(engine) == before
    assert write(at_work(engine, lease, "second"), cycle)


@pytest.mark.parametrize("write", [register, move, fail])
def test_a_process_whose_lease_was_taken_over_writes_nothing_nor_does_its_run(
    engine: Engine, lease: Lease, cycle: Cycle, write: Callable[[Stores, Cycle], object]
) -> None:
    """Both the sleeper that held the lease, and the run that it had sent a step to."""
    sleeper = fenced(engine, Fence(kind="lease", campaign_id=lease.campaign_id, token=lease.holder.token))
    SqlSentStepStore(sleeper).send(cycle, "first", 1)
    leases = SqlLeaseStore(engine)
    leases.take(lease.campaign_id, holder("next"), seconds=60, is_gone=lambda _: True)
    before = content(engine)
    for late in (Stores(sleeper), at_work(engine, lease, "first")):
        with pytest.raises(LeaseLost):
            write(late, cycle)
    with pytest.raises(LeaseLost):
        SqlSentStepStore(sleeper).send(cycle, "again", 2)
    with pytest.raises(LeaseLost, match="took it back, or has ended"):
        SqlSentStepStore(engine).report(lease.campaign_id, "first", worker="owl", place="there")
    assert content(engine) == before


WORKING = """
import sys
from alservice.campaigns.cycle_store import CycleStore
from alservice.storage.postgres import fenced, make_engine
from alservice.cycle.sent_step_store import SqlSentStepStore
from alservice.campaigns.cycle import CycleState
from alservice.errors import LeaseLost
from alservice.progress import utc_now
from alservice.cycle.lease import TakeStep

engine, campaign_id, cycle_id = make_engine(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
service = TakeStep(sent=SqlSentStepStore(engine), heartbeat_s=0.1)
with service.run(campaign_id, "first", worker="owl", place="there") as held:
    cycles = CycleStore(fenced(engine, held.fence), utc_now)
    cycle = cycles.get(cycle_id)
    print("at work", flush=True)
    sys.stdin.readline()  # the work: it ends when the test says so
    try:
        cycles.move(cycle, CycleState.EVALUATING, actor="owl", detail={})
        print("moved", flush=True)
    except LeaseLost as error:
        print(error.code, flush=True)
"""


@pytest.mark.parametrize("is_taken_back", [True, False])
def test_a_process_that_is_stopped_and_wakes_up_late_writes_nothing(
    engine: Engine, database_url: str, lease: Lease, cycle: Cycle, is_taken_back: bool
) -> None:
    """Its beats stop with it by SIGSTOP; woken by SIGCONT when the step is another's it is refused, and else goes on."""
    sent = SqlSentStepStore(engine)
    first = sent.send(cycle, "first", 1)
    command = [sys.executable, "-c", WORKING, database_url, str(lease.campaign_id), str(cycle.id)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as late:
        assert late.stdin is not None
        assert late.stdout is not None
        assert late.stdout.readline() == "at work\n"
        late.send_signal(signal.SIGSTOP)
        time.sleep(0.3)  # what it had begun to write has come
        silent = sent.get(lease.campaign_id)
        time.sleep(0.5)  # five beats of one that lives
        assert sent.get(lease.campaign_id) == silent, "nobody beats for a process that is stopped"
        if is_taken_back:
            sent.take_back(first, cycle, actor="crow", reason="silent")
            sent.send(cycle, "second", 2)
        before = content(engine)
        late.stdin.write("done\n")
        late.stdin.flush()
        late.send_signal(signal.SIGCONT)
        assert late.stdout.readline() == ("lease-lost\n" if is_taken_back else "moved\n")
    assert (content(engine) == before) is is_taken_back


def test_reading_needs_no_lease(engine: Engine, lease: Lease, cycle: Cycle) -> None:
    """Whoever lost it may still look."""
    late = at_work(engine, lease, "never sent")
    assert late.cycles.get(cycle.id) == cycle


def test_what_is_sent_ends_with_the_lease(engine: Engine, lease: Lease, cycle: Cycle) -> None:
    """Given back by a sender that failed: its run may write no more."""
    SqlSentStepStore(engine).send(cycle, "first", 1)
    SqlLeaseStore(engine).release(lease)
    assert SqlSentStepStore(engine).get(lease.campaign_id) is None
    with pytest.raises(LeaseLost):
        move(at_work(engine, lease, "first"), cycle)


def test_a_run_reports_and_its_end_is_told(engine: Engine, stores: Stores, lease: Lease, cycle: Cycle) -> None:
    """Times are the database's; the event names worker, place, attempt, and when it was last heard of. Once."""
    sent = SqlSentStepStore(engine)
    first = sent.send(cycle, "first", 2)
    assert (first.worker, first.heard_at) == (None, None)
    heard = [sent.report(lease.campaign_id, "first", worker="owl", place="there").heard_at for _ in range(2)]
    assert heard[0] is not None
    assert heard[1] is not None
    assert first.sent_at < heard[0] < heard[1]
    for _ in range(2):
        sent.take_back(first, cycle, actor="crow", reason="silent")
    (event,) = [e for e in stores.events.list(lease.campaign_id) if e.kind == "step.taken_back"]
    assert (event.actor, event.cycle_id) == ("crow", cycle.id)
    assert event.detail == {
        "step": "training",
        "attempt": 2,
        "reason": "silent",
        "worker": "owl",
        "place": "there",
        "last_heard_of": heard[1].isoformat(),
    }


def test_who_takes_over_waits_for_a_commit_that_was_allowed(engine: Engine, lease: Lease, cycle: Cycle) -> None:
    """Between check and commit nobody can take the lease: what is refused later never came earlier."""
    fence = Fence(kind="lease", campaign_id=lease.campaign_id, token=lease.holder.token)
    taken = threading.Event()

    def take() -> None:
        SqlLeaseStore(engine).take(lease.campaign_id, holder("next"), seconds=60, is_gone=lambda _: True)
        taken.set()

    other = threading.Thread(target=take)
    with ExitStack() as open_, transaction(engine) as connection:
        open_.callback(other.join, 30)
        # What the end of a fenced transaction does before it commits.
        wanted = text("SELECT 1 FROM leases WHERE campaign_id = :c AND token = :t FOR KEY SHARE")
        assert connection.scalar(wanted, {"c": fence.campaign_id, "t": fence.token}) == 1
        SqlLeaseStore(engine).renew(lease, seconds=60)
        other.start()
        assert not taken.wait(1)
        connection.commit()
        assert taken.wait(30)


def test_a_transaction_that_does_nothing_keeps_nobody_waiting(engine: Engine, lease: Lease) -> None:
    """The kind: a stopped process or a cut network that holds locks. Postgres ends its transaction."""
    with transaction(engine) as connection:
        bounds = [connection.scalar(text(f"SHOW {n}")) for n in ("idle_in_transaction_session_timeout", "lock_timeout")]
        assert bounds == [f"{IDLE_S // 60}min", f"{LOCK_S // 60}min"]
    assert IDLE_S < LOCK_S

    def stop_at_the_worst() -> None:
        with transaction(engine) as connection:
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = '100ms'"))
            connection.execute(text("SELECT 1 FROM leases FOR UPDATE"))
            SqlLeaseStore(engine).take(lease.campaign_id, holder("next"), seconds=60, is_gone=lambda _: True)
            connection.execute(text("SELECT 1"))

    with pytest.raises(DatabaseUnavailable):
        stop_at_the_worst()
    there = SqlLeaseStore(engine).get(lease.campaign_id)
    assert there is not None
    assert there.holder.actor == "next"


def test_a_lock_is_not_waited_for_for_ever(engine: Engine, lease: Lease) -> None:
    """A wait for a holder that is busy has a bound, and a retriable error."""

    def wait() -> None:
        with transaction(engine) as waiting:
            waiting.execute(text("SET LOCAL lock_timeout = '100ms'"))
            waiting.execute(text("SELECT 1 FROM leases FOR UPDATE"))

    with transaction(engine) as holding:
        assert holding.scalar(text("SELECT campaign_id FROM leases FOR UPDATE")) == lease.campaign_id
        with pytest.raises(DatabaseUnavailable, match="lock timeout"):
            wait()
