"""One holder per campaign, by the database's clock, also among processes that are killed."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from sqlalchemy import Engine

from alservice.campaigns.store import CampaignRow
from alservice.cycle.lease import Holder, SqlLeaseStore, is_gone, this_process
from alservice.errors import LeaseHeld, LeaseLost
from tests.support.shared import ROOT
from tests.support.stores import Stores

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
_NUMBERS = count()


class Clock:
    """The database's time, set by a test."""

    now = NOON

    def __call__(self, _: object) -> datetime:
        """Return it."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock at noon."""
    return Clock()


@pytest.fixture
def leases(engine: Engine, clock: Clock) -> SqlLeaseStore:
    """Leases by that clock."""
    return SqlLeaseStore(engine, clock)


def holder(actor: str) -> Holder:
    """Return a holder on a machine that is not this one."""
    return Holder(token=f"t{next(_NUMBERS)}", actor=actor, place="elsewhere", pid=1, started_s=0.0)


def nobody_is_gone(_: Holder) -> bool:
    """Know nothing of other machines."""
    return False


def test_the_second_is_refused_by_name_until_the_first_is_done(leases: SqlLeaseStore, campaign: CampaignRow) -> None:
    """While a run works on a campaign another is told who it is; released, it is free."""
    first = leases.take(campaign.id, holder("owl"), seconds=60, is_gone=nobody_is_gone)
    with pytest.raises(LeaseHeld, match="owl works on this campaign since 2026-03-01 12:00:00 UTC"):
        leases.take(campaign.id, holder("crow"), seconds=60, is_gone=nobody_is_gone)
    assert leases.get(campaign.id) == first
    leases.release(first)
    assert leases.get(campaign.id) is None
    leases.take(campaign.id, holder("crow"), seconds=60, is_gone=nobody_is_gone)


def test_a_renewed_lease_lasts_and_a_silent_one_is_taken_over(
    leases: SqlLeaseStore, clock: Clock, campaign: CampaignRow, stores: Stores
) -> None:
    """A holder that nobody hears of loses it, is told so, cannot release the new one, and leaves an event."""
    first = leases.take(campaign.id, holder("owl"), seconds=60, is_gone=nobody_is_gone)
    clock.now = NOON + timedelta(seconds=50)
    assert leases.renew(first, seconds=60).expires_at == NOON + timedelta(seconds=110)
    clock.now = NOON + timedelta(seconds=100)
    with pytest.raises(LeaseHeld):
        leases.take(campaign.id, holder("crow"), seconds=60, is_gone=nobody_is_gone)
    clock.now = NOON + timedelta(seconds=110)
    second = leases.take(campaign.id, holder("crow"), seconds=60, is_gone=nobody_is_gone)
    with pytest.raises(LeaseLost, match="owl"):
        leases.renew(first, seconds=60)
    leases.release(first)
    assert leases.list() == [second]
    (event,) = stores.events.list(campaign.id)
    assert (event.kind, event.actor, event.detail["from"]) == ("lease.taken_over", "crow", "owl")


def test_a_late_renewal_is_fine_while_nobody_took_it(
    leases: SqlLeaseStore, clock: Clock, campaign: CampaignRow
) -> None:
    """A process that slept past its lease goes on with it when nobody asked."""
    lease = leases.take(campaign.id, holder("owl"), seconds=60, is_gone=nobody_is_gone)
    clock.now = NOON + timedelta(hours=1)
    assert leases.renew(lease, seconds=60).expires_at == clock.now + timedelta(seconds=60)


def test_of_many_at_once_one_wins(leases: SqlLeaseStore, campaign: CampaignRow) -> None:
    """Eight ask together: one has it, seven are refused."""

    def take(number: int) -> bool:
        try:
            leases.take(campaign.id, holder(f"run {number}"), seconds=60, is_gone=nobody_is_gone)
        except LeaseHeld:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take, range(8))) == 1


HOLDING = """
import sys, time
from alservice.cycle.lease import is_gone, this_process
from alservice.storage.postgres import make_engine
from alservice.cycle.lease import SqlLeaseStore

leases = SqlLeaseStore(make_engine(sys.argv[1]))
leases.take(int(sys.argv[2]), this_process("the killed one"), seconds=3600, is_gone=is_gone)
print("held", flush=True)
time.sleep(600)
"""


def test_a_holder_killed_by_sigkill_is_replaced_at_once(
    engine: Engine, database_url: str, campaign: CampaignRow, stores: Stores
) -> None:
    """Another process holds it for an hour; while it lives we are refused, and once it is killed we have it."""
    leases = SqlLeaseStore(engine)
    command = [sys.executable, "-c", HOLDING, database_url, str(campaign.id)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(LeaseHeld, match="the killed one"):
            leases.take(campaign.id, this_process("we"), seconds=60, is_gone=is_gone)
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        taken = leases.take(campaign.id, this_process("we"), seconds=60, is_gone=is_gone)
    assert taken.holder.actor == "we"
    assert [event.kind for event in stores.events.list(campaign.id)] == ["lease.taken_over"]


def test_only_a_process_of_this_machine_is_known_to_be_gone() -> None:
    """The same id elsewhere, or an id that is used again, says nothing of the one that is meant."""
    we = this_process("we")
    assert not is_gone(we)
    assert is_gone(replace(we, started_s=we.started_s - 1000)), "the id is another process's by now"
    assert not is_gone(replace(we, place="another machine", started_s=0.0))
