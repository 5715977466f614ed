"""Who may take a lease."""

from datetime import UTC, datetime, timedelta

from alservice.cycle.lease import HEARTBEAT_S, LEASE_S, Holder, Lease, in_the_way

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LEASE = Lease(
    campaign_id=1,
    holder=Holder(token="t", actor="prefect:owl", place="here", pid=7, started_s=1.0),
    acquired_at=NOON,
    heartbeat_at=NOON,
    expires_at=NOON + timedelta(seconds=60),
)


def test_a_lease_that_was_given_back_is_free() -> None:
    """No row, nobody in the way."""
    assert in_the_way(None, NOON, is_gone=lambda _: False) is None


def test_a_live_lease_is_in_the_way_until_its_last_second() -> None:
    """It ends when it says, not before."""
    last = LEASE.expires_at - timedelta(microseconds=1)
    assert in_the_way(LEASE, last, is_gone=lambda _: False) is LEASE
    assert in_the_way(LEASE, LEASE.expires_at, is_gone=lambda _: False) is None


def test_a_lease_of_a_process_that_is_gone_is_free_at_once() -> None:
    """A killed command can be repeated without waiting."""
    asked: list[Holder] = []
    assert in_the_way(LEASE, NOON, is_gone=lambda holder: not asked.append(holder)) is None
    assert asked == [LEASE.holder]


def test_a_lease_outlives_three_heartbeats_that_fail() -> None:
    """A failover of the database takes nobody's campaign away."""
    assert 3 * HEARTBEAT_S < LEASE_S
