"""Figures of the database in Prometheus' text format."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine, func, select, text
from sqlalchemy.dialects.postgresql import insert as upsert

from alservice.campaigns import schema as campaigns_schema
from alservice.campaigns.cycle import CycleState
from alservice.cycle.steps import BY_STATE
from alservice.errors import AlserviceError
from alservice.meters import METER, CallCount, CallKey
from alservice.states import named
from alservice.storage.postgres import transaction

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """One metric: its name as scraped, what it counts, and its labels."""

    kind: Literal["gauge", "counter"]
    help: str
    labels: tuple[str, ...]


FAMILIES: Final = {
    "alservice_open_cycle_age_seconds": Family(
        kind="gauge", help="Seconds since the open cycle was started.", labels=("campaign",)
    ),
    "alservice_open_cycle_stopped": Family(
        kind="gauge",
        help="1 while the open cycle stands in failed or cancelled; step is where it resumes.",
        labels=("campaign", "state", "step"),
    ),
    "alservice_collecting_overdue_seconds": Family(
        kind="gauge",
        help="Seconds by which a collecting cycle is past its deadline; 0 before it.",
        labels=("campaign",),
    ),
    "alservice_gate_held_seconds": Family(
        kind="gauge", help="Seconds for which a held candidate has waited for a person.", labels=("campaign",)
    ),
    "alservice_last_cycle_done_timestamp_seconds": Family(
        kind="gauge", help="When the newest finished cycle was closed (seconds since 1970).", labels=("campaign",)
    ),
    "alservice_state_stuck_seconds": Family(
        kind="gauge",
        help="Seconds for which the open cycle, or a pause, is older than it may be, whoever works on it; 0 before.",
        labels=("campaign", "state"),
    ),
    "alservice_label_disagreement_ratio": Family(
        kind="gauge",
        help="Labels by the champion against those of votes alone in the newest measured cycle; an alarm above 1.",
        labels=("campaign",),
    ),
    "alservice_lease_expired_seconds": Family(
        kind="gauge",
        help="Seconds since a lease that nobody gave back ran out; 0 while it is alive.",
        labels=("campaign",),
    ),
    "alservice_lease_takeovers_total": Family(
        kind="counter", help="Leases taken over from a run that died.", labels=("campaign",)
    ),
    "alservice_sent_step_waiting_seconds": Family(
        kind="gauge",
        help="Seconds for which a step that was sent to another work pool has waited for its run to report.",
        labels=("campaign", "step"),
    ),
    "alservice_sent_step_silent_seconds": Family(
        kind="gauge", help="Seconds since the run of a sent step was last heard of.", labels=("campaign", "step")
    ),
    "alservice_steps_taken_back_total": Family(
        kind="counter", help="Sent steps taken back from runs that went silent or never came.", labels=("campaign",)
    ),
    "alservice_steps_total": Family(
        kind="counter", help="Steps that ended, by the state they led to.", labels=("campaign", "step", "ended_in")
    ),
    "alservice_step_seconds_total": Family(
        kind="counter",
        help="Seconds from the beginning of steps to their end, waiting included.",
        labels=("campaign", "step", "ended_in"),
    ),
    "alservice_step_failures_total": Family(
        kind="counter", help="Steps that failed, by error code.", labels=("campaign", "step", "code")
    ),
    "alservice_adapter_calls_total": Family(
        kind="counter",
        help="Calls to the world of runs that have ended, by outcome: ok or an error code.",
        labels=("adapter", "call", "outcome"),
    ),
    "alservice_adapter_seconds_total": Family(
        kind="counter",
        help="Seconds that these calls took together.",
        labels=("adapter", "call", "outcome"),
    ),
}
"""Every metric that is derived from the database. Rules, dashboards and the runbook name these, which a test checks."""


FAILED_LONGEST: Final = timedelta(days=1)
"""How long a failed cycle may lie: a person looks at it within a working day."""

PERSON_LONGEST: Final = timedelta(days=8)
"""How long a cancelled cycle or a paused campaign may lie: a person did it, and the week's run has come by."""

RECENT: Final = timedelta(days=1)
"""How far back what happens again and again is counted."""


def expose(measures: Measures) -> bytes:
    """Return the figures in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Figures(measures))
    return generate_latest(registry)


class _Figures(Collector):
    def __init__(self, measures: Measures) -> None:
        self._measures = measures
        self._families: dict[str, Metric] = {name: _empty(name, family) for name, family in FAMILIES.items()}

    def collect(self) -> Iterator[Metric]:
        """Yield every family, also those without a sample."""
        self._cycles()
        self._steps()
        self._leases()
        for key, count in self._measures.calls.items():
            labels = (key.adapter, key.call, key.outcome)
            self._add("alservice_adapter_calls_total", labels, count.calls)
            self._add("alservice_adapter_seconds_total", labels, count.seconds)
        yield from self._families.values()

    def _cycles(self) -> None:
        at = self._measures.at
        for cycle in self._measures.cycles:
            labels = (cycle.campaign,)
            self._add("alservice_open_cycle_age_seconds", labels, (at - cycle.created_at).total_seconds())
            if cycle.left_from is not None:
                stopped = (cycle.campaign, str(cycle.state), str(cycle.left_from))
                self._add("alservice_open_cycle_stopped", stopped, 1)
            if cycle.state is CycleState.HELD:
                self._add("alservice_gate_held_seconds", labels, (at - cycle.updated_at).total_seconds())
            self._overdue(cycle)
            stuck = (at - cycle.stuck_at).total_seconds()
            self._add("alservice_state_stuck_seconds", (cycle.campaign, cycle.stands), max(stuck, 0.0))
        for campaign, done in self._measures.done.items():
            self._add("alservice_last_cycle_done_timestamp_seconds", (campaign,), done.timestamp())
        for campaign, ratio in self._measures.disagreement.items():
            self._add("alservice_label_disagreement_ratio", (campaign,), ratio)

    def _overdue(self, cycle: OpenCycle) -> None:
        if CycleState.COLLECTING in {cycle.state, cycle.left_from} and cycle.deadline is not None:
            late = (self._measures.at - cycle.deadline).total_seconds()
            self._add("alservice_collecting_overdue_seconds", (cycle.campaign,), max(late, 0.0))

    def _steps(self) -> None:
        totals: dict[tuple[str, ...], tuple[int, float]] = {}
        for step in self._measures.steps:
            labels: tuple[str, ...] = (step.campaign, step.step, step.ended_in)
            n, seconds = totals.get(labels, (0, 0.0))
            totals[labels] = (n + step.n, seconds + step.seconds)
            if step.ended_in == CycleState.FAILED:
                code = step.code or "unknown"
                self._add("alservice_step_failures_total", (step.campaign, step.step, code), step.n)
        for labels, (n, seconds) in totals.items():
            self._add("alservice_steps_total", labels, n)
            self._add("alservice_step_seconds_total", labels, seconds)

    def _leases(self) -> None:
        for lease in self._measures.leases:
            expired = (self._measures.at - lease.expires_at).total_seconds()
            self._add("alservice_lease_expired_seconds", (lease.campaign,), max(expired, 0.0))
        for campaign, n in self._measures.takeovers.items():
            self._add("alservice_lease_takeovers_total", (campaign,), n)
        for campaign, n in self._measures.taken_back.items():
            self._add("alservice_steps_taken_back_total", (campaign,), n)
        for sent in self._measures.sent:
            what, since = ("waiting", sent.sent_at) if sent.heard_at is None else ("silent", sent.heard_at)
            seconds = (self._measures.at - since).total_seconds()
            self._add(f"alservice_sent_step_{what}_seconds", (sent.campaign, sent.step), max(seconds, 0.0))

    def _add(self, name: str, labels: tuple[str, ...], value: float) -> None:
        family = FAMILIES[name]
        self._families[name].add_sample(name, dict(zip(family.labels, labels, strict=True)), value)


def _empty(name: str, family: Family) -> Metric:
    if family.kind == "gauge":
        return GaugeMetricFamily(name, family.help, labels=family.labels)
    return CounterMetricFamily(name.removesuffix("_total"), family.help, labels=family.labels)


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

_OPEN = text("""
    SELECT c.name AS campaign, k.number, k.state, k.left_from, k.deadline, k.created_at, k.updated_at,
        coalesce((v.document->>'hold_hours')::float, 0) AS hold_hours, p.at AS paused_at, resumed.at AS resumed_at,
        stop.detail->>'code' AS code, stop.detail->>'message' AS message
    FROM cycles k JOIN campaigns c ON c.id = k.campaign_id
    JOIN campaign_versions v ON v.campaign_id = k.campaign_id AND v.version = k.campaign_version
    LEFT JOIN campaign_pauses p ON p.campaign_id = c.id
    LEFT JOIN LATERAL (
        SELECT max(e.at) AS at FROM events e
        WHERE e.campaign_id = c.id AND e.kind = 'campaign.resumed' AND e.at > k.updated_at
    ) resumed ON true
    LEFT JOIN LATERAL (
        SELECT e.detail FROM events e WHERE e.cycle_id = k.id AND e.kind = 'cycle.moved' ORDER BY e.id DESC LIMIT 1
    ) stop ON k.left_from IS NOT NULL
    WHERE k.state <> 'done' ORDER BY 1
""")

_RECENT = text("""
    SELECT c.name AS campaign, e.kind, CASE e.kind WHEN 'cycle.moved' THEN e.detail->>'from' END AS step,
        e.detail->>'code' AS code, count(*) AS n,
        min(e.at) AS first
    FROM (SELECT * FROM events ORDER BY id DESC LIMIT 20000) e JOIN campaigns c ON c.id = e.campaign_id
    WHERE e.at > :since AND (
        e.kind IN ('lease.taken_over', 'step.taken_back')
        OR (e.kind = 'cycle.moved' AND e.detail->>'to' = 'failed')
    )
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

_DISAGREEMENT = text("""
    SELECT campaign, ratio FROM (
        SELECT DISTINCT ON (c.name) c.name AS campaign, (
            SELECT max(greatest((figure->>'value')::float, 0) / (figure->>'threshold')::float)
            FROM jsonb_array_elements(s.document->'figures') figure
            WHERE figure->>'name' LIKE 'disagreement %'
        ) AS ratio
        FROM campaigns c JOIN cycles k ON k.campaign_id = c.id
        JOIN cycle_statistics s ON s.cycle_id = k.id AND s.kind = 'drift'
        ORDER BY c.name, k.number DESC
    ) newest WHERE ratio IS NOT NULL
""")


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenCycle:
    """A cycle that is not done; times in UTC.

    Parameters
    ----------
    hold_hours
        How long a person has to decide in it (h).
    paused_at, resumed_at
        Since when its campaign is paused, and when a pause ended since the cycle last moved; None without one.
    code, message
        Why it stopped, where an error stopped it.
    """

    campaign: str
    number: int
    state: CycleState
    left_from: CycleState | None
    deadline: datetime | None
    created_at: datetime
    updated_at: datetime
    hold_hours: float = 0.0
    paused_at: datetime | None = None
    resumed_at: datetime | None = None
    code: str | None = None
    message: str | None = None

    @property
    def stands(self) -> str:
        """What it stands in: its state, or a pause."""
        return "paused" if self.paused_at is not None else str(self.state)

    @property
    def stuck_at(self) -> datetime:
        """When it is older than it may be in what it stands in (UTC); a pause and its end begin the wait anew."""
        if self.paused_at is not None:
            return self.paused_at + PERSON_LONGEST
        if self.left_from is not None:
            return self.updated_at + (FAILED_LONGEST if self.state is CycleState.FAILED else PERSON_LONGEST)
        since = max(self.updated_at, self.resumed_at or self.updated_at)
        if self.state is CycleState.COLLECTING:
            since = max(since, self.deadline or since)
        elif self.state is CycleState.HELD:
            since = max(since, self.updated_at + timedelta(hours=self.hold_hours))
        step = BY_STATE.get(self.state)
        return since + (PERSON_LONGEST if step is None else step.longest)


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
class RecentRow:
    """Events of one kind in the last day: how many, and when the first of them was (UTC)."""

    campaign: str
    kind: str
    step: str | None
    code: str | None
    n: int
    first: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Measures:
    """Everything monitoring reads from the database at one moment (UTC, the database's)."""

    at: datetime
    cycles: Sequence[OpenCycle]
    done: Mapping[str, datetime]
    disagreement: Mapping[str, float]
    steps: Sequence[StepTotal]
    leases: Sequence[LeaseRow]
    takeovers: Mapping[str, int]
    sent: Sequence[SentRow]
    taken_back: Mapping[str, int]
    calls: Mapping[CallKey, CallCount]
    recent: Sequence[RecentRow] = ()


class SqlMeasures:
    """Reads figures, and keeps the totals of calls."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read(self, at: datetime | None = None) -> Measures:
        """Return all figures, in one snapshot of the database, as of a moment; of now by its clock when left out."""
        campaigns, leases = campaigns_schema.campaigns, campaigns_schema.leases
        held = select(campaigns.c.name.label("campaign"), leases.c.expires_at).join_from(leases, campaigns)
        repeatable = self._engine.execution_options(isolation_level="REPEATABLE READ")
        with transaction(repeatable) as connection:
            now = at or connection.execute(select(func.now())).scalar_one()
            recent = connection.execute(_RECENT, {"since": now - RECENT}).mappings()
            return Measures(
                at=now,
                cycles=[_open_cycle(row) for row in connection.execute(_OPEN).mappings()],
                recent=[RecentRow(**row) for row in recent],
                done={row["campaign"]: row["at"] for row in connection.execute(_LAST_DONE).mappings()},
                disagreement={row["campaign"]: row["ratio"] for row in connection.execute(_DISAGREEMENT).mappings()},
                steps=[StepTotal(**row) for row in connection.execute(_STEPS).mappings()],
                leases=[LeaseRow(**row) for row in connection.execute(held.order_by(campaigns.c.name)).mappings()],
                takeovers={row["campaign"]: row["n"] for row in connection.execute(_TAKEOVERS).mappings()},
                sent=[SentRow(**row) for row in connection.execute(_SENT).mappings()],
                taken_back={row["campaign"]: row["n"] for row in connection.execute(_TAKEN_BACK).mappings()},
                calls=dict(_call(row) for row in connection.execute(select(campaigns_schema.call_totals)).mappings()),
            )

    def add_calls(self, counts: Mapping[CallKey, CallCount]) -> None:
        """Add a process's counts to the totals, in one order, so that two processes cannot wait for each other."""
        table = campaigns_schema.call_totals
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


def _open_cycle(row: Mapping[Any, Any]) -> OpenCycle:
    """Return a row of text SQL as a record: states of a newer version are read as `named` reads them."""
    states = {name: None if row[name] is None else named(CycleState, row[name]) for name in ("state", "left_from")}
    return OpenCycle(**{**row, **states})


def _call(row: Mapping[Any, Any]) -> tuple[CallKey, CallCount]:
    key = CallKey(adapter=row["adapter"], call=row["call"], outcome=row["outcome"])
    return key, CallCount(calls=row["calls"], seconds=row["seconds"])


def metrics_text(engine: Engine) -> bytes:
    """Return all metrics that the database holds, this process's own calls included, in Prometheus' text format."""
    write_calls(engine)
    return expose(SqlMeasures(engine).read())


def write_calls(engine: Engine) -> None:
    """Add what this process counted to the totals; where the database is away it is kept for the next time.

    Counting is no part of the work: it fails nothing.
    """
    counts = METER.take()
    if not counts:
        return
    try:
        SqlMeasures(engine).add_calls(counts)
    except AlserviceError as error:
        METER.add(counts)
        _log.debug("calls are not counted yet: %s", error)
