"""What monitoring asks of the tables: figures of campaigns, steps, leases, and totals of calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, func, select, text
from sqlalchemy.dialects.postgresql import insert as upsert

from alservice.campaigns.cycle import CycleState
from alservice.meters import CallCount, CallKey
from alservice.storage import schema
from alservice.storage.postgres import transaction

_STEPS = text("""
    SELECT name AS campaign, step, state AS ended_in, code, count(*) AS n, sum(seconds)::float AS seconds
    FROM (
        SELECT c.name, e.detail->>'from' AS step, e.detail->>'to' AS state, e.detail->>'code' AS code,
            extract(epoch FROM e.at - lag(e.at) OVER (PARTITION BY e.cycle_id ORDER BY e.id)) AS seconds
        FROM events e JOIN campaigns c ON c.id = e.campaign_id
        WHERE e.kind IN ('cycle.started', 'cycle.moved')
    ) moves
    WHERE step IS NOT NULL AND step NOT IN ('failed', 'cancelled')
    GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
""")

_TAKEOVERS = text("""
    SELECT c.name AS campaign, count(e.id) AS n
    FROM campaigns c LEFT JOIN events e ON e.campaign_id = c.id AND e.kind = 'lease.taken_over'
    GROUP BY 1 ORDER BY 1
""")

_TAKEN_BACK = text("""
    SELECT c.name AS campaign, count(e.id) AS n
    FROM campaigns c LEFT JOIN events e ON e.campaign_id = c.id AND e.kind = 'step.taken_back'
    GROUP BY 1 ORDER BY 1
""")

_SENT = text("""
    SELECT c.name AS campaign, s.step, s.sent_at, s.heard_at
    FROM sent_steps s JOIN campaigns c ON c.id = s.campaign_id
    JOIN cycles k ON k.id = s.cycle_id AND k.state = s.step ORDER BY 1
""")

_LAST_DONE = text("""
    SELECT c.name AS campaign, max(k.updated_at) AS at
    FROM campaigns c JOIN cycles k ON k.campaign_id = c.id WHERE k.state = 'done' GROUP BY 1 ORDER BY 1
""")


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenCycle:
    """A cycle that is not done; times in UTC."""

    campaign: str
    number: int
    state: CycleState
    left_from: CycleState | None
    deadline: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTotal:
    """How often a step ended in a state, and the seconds from its beginning to that, waiting included."""

    campaign: str
    step: str
    ended_in: str
    code: str | None
    n: int
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class LeaseRow:
    """A lease that is out, run out or not."""

    campaign: str
    expires_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class SentRow:
    """A step that another work pool has, since when, and when its run last reported, if it did."""

    campaign: str
    step: str
    sent_at: datetime
    heard_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Measures:
    """Everything monitoring reads from the database at one moment (UTC, the database's)."""

    at: datetime
    cycles: Sequence[OpenCycle]
    done: Mapping[str, datetime]
    steps: Sequence[StepTotal]
    leases: Sequence[LeaseRow]
    takeovers: Mapping[str, int]
    sent: Sequence[SentRow]
    taken_back: Mapping[str, int]
    calls: Mapping[CallKey, CallCount]


class SqlMeasures:
    """Reads figures, and keeps the totals of calls."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read(self) -> Measures:
        """Return all figures, in one snapshot of the database."""
        campaigns, cycles, leases = schema.campaigns, schema.cycles, schema.leases
        columns = [cycles.c[n] for n in ("number", "state", "left_from", "deadline", "created_at", "updated_at")]
        open_cycles = select(campaigns.c.name.label("campaign"), *columns).join_from(cycles, campaigns)
        open_cycles = open_cycles.where(cycles.c.state != CycleState.DONE).order_by(campaigns.c.name)
        held = select(campaigns.c.name.label("campaign"), leases.c.expires_at).join_from(leases, campaigns)
        repeatable = self._engine.execution_options(isolation_level="REPEATABLE READ")
        with transaction(repeatable) as connection:
            return Measures(
                at=connection.execute(select(func.now())).scalar_one(),
                cycles=[OpenCycle(**row) for row in connection.execute(open_cycles).mappings()],
                done={row["campaign"]: row["at"] for row in connection.execute(_LAST_DONE).mappings()},
                steps=[StepTotal(**row) for row in connection.execute(_STEPS).mappings()],
                leases=[LeaseRow(**row) for row in connection.execute(held.order_by(campaigns.c.name)).mappings()],
                takeovers={row["campaign"]: row["n"] for row in connection.execute(_TAKEOVERS).mappings()},
                sent=[SentRow(**row) for row in connection.execute(_SENT).mappings()],
                taken_back={row["campaign"]: row["n"] for row in connection.execute(_TAKEN_BACK).mappings()},
                calls=dict(_call(row) for row in connection.execute(select(schema.call_totals)).mappings()),
            )

    def add_calls(self, counts: Mapping[CallKey, CallCount]) -> None:
        """Add a process's counts to the totals, in one order, so that two processes cannot wait for each other."""
        table = schema.call_totals
        keys = sorted(counts, key=lambda key: (key.adapter, key.call, key.outcome))
        rows = [
            {
                "adapter": key.adapter,
                "call": key.call,
                "outcome": key.outcome,
                "calls": counts[key].calls,
                "seconds": counts[key].seconds,
                "updated_at": func.now(),
            }
            for key in keys
        ]
        new = upsert(table).values(rows)
        added = {
            "calls": table.c.calls + new.excluded.calls,
            "seconds": table.c.seconds + new.excluded.seconds,
            "updated_at": func.now(),
        }
        with transaction(self._engine) as connection:
            connection.execute(new.on_conflict_do_update(index_elements=["adapter", "call", "outcome"], set_=added))


def _call(row: Mapping[Any, Any]) -> tuple[CallKey, CallCount]:
    key = CallKey(adapter=row["adapter"], call=row["call"], outcome=row["outcome"])
    return key, CallCount(calls=row["calls"], seconds=row["seconds"])
