"""Figures of the database in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from alservice.campaigns.cycle import CycleState
from alservice.ops.measures import Measures, OpenCycle


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
        for campaign, done in self._measures.done.items():
            self._add("alservice_last_cycle_done_timestamp_seconds", (campaign,), done.timestamp())

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
