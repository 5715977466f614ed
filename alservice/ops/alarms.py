"""Alarms by name: what each means, what it costs while it lasts, what to do, and which page shows it.

One table for Prometheus' rules (deploy/monitoring/alerts.yaml), the runbook and the dashboard; tests hold the three
together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final


class Severity(StrEnum):
    """How soon somebody looks."""

    PAGE = "page"  # wakes somebody
    TICKET = "ticket"  # waits for the morning


TARGETS: Final = "prometheus"
"""Stands for Prometheus' own page of targets: the service cannot show that it does not answer."""

ALARMS_PAGE: Final = "/alarms"
"""Page of the dashboard that lists every alarm, and the calls to the world."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Alarm:
    """One alarm.

    Parameters
    ----------
    means, costs, do
        Sentences for whoever is woken; commands in backticks.
    page
        Path below a campaign's pages, empty for its first; from ``/`` on the dashboard's own; or `TARGETS`.
    over, times
        Age, or events in a day, above which it fires; None where being there is enough, or where Prometheus alone
        measures it.
    """

    name: str
    severity: Severity
    means: str
    costs: str
    do: str
    page: str = ""
    over: timedelta | None = None
    times: int | None = None

    @property
    def anchor(self) -> str:
        """Name of its section of the runbook, as renderers of Markdown make it of the heading."""
        return self.name.lower()

    def page_of(self, campaign: str) -> str:
        """Return the path of the page that shows it, for a campaign."""
        return self.page if self.page.startswith("/") else f"/campaigns/{campaign}/{self.page}".rstrip("/")


_ALARMS: Final = (
    Alarm(
        name="CycleFailed",
        severity=Severity.PAGE,
        means="A step raised an error that its retries did not cure.",
        costs="The loop stands still in that step. Nothing is lost: what is done stays done.",
        do="`alservice cycle show` names the step and the error code; do what the code's line says, then "
        "`alservice cycle resume`.",
    ),
    Alarm(
        name="CycleCancelled",
        severity=Severity.TICKET,
        means="A cycle was cancelled and lies there.",
        costs="The loop stands still until the week's next run brings the cycle back.",
        do="Ask who cancelled it (the event names the run) and resume it, or leave it to next week's run.",
        over=timedelta(days=1),
    ),
    Alarm(
        name="CycleLate",
        severity=Severity.PAGE,
        means="A cycle is open for more than eight days.",
        costs="This week's cycle cannot start: volunteers get no new galaxies, the model is a week older.",
        do="See where it stands: collecting past its deadline, held, failed, or a pool without a worker.",
        over=timedelta(days=8),
    ),
    Alarm(
        name="NoCycleFinished",
        severity=Severity.TICKET,
        means="No cycle has ended for fifteen days.",
        costs="Nothing was learned from two weeks of votes; they are kept.",
        do="Is `weekly-cycle` scheduled and not paused? Is a worker of pool `cpu` up?",
        page="cycles",
        over=timedelta(days=15),
    ),
    Alarm(
        name="Stuck",
        severity=Severity.PAGE,
        means="A cycle stands in a state for longer than the state may last, whoever works on it or holds its lease; "
        "or a campaign was paused, and nobody came back. The bounds are in the table below.",
        costs="The loop stands still, though everything looks alive.",
        do="`alservice cycle show` and the newest run of the state's flow say what it does: its log, its machine's "
        "load. Cancel the run (the cycle keeps its step) and `alservice cycle resume`; end a forgotten pause on "
        "its page.",
    ),
    Alarm(
        name="CollectingOverdue",
        severity=Severity.PAGE,
        means="A cycle still collects an hour after its deadline: `ingest` does not run, or fails.",
        costs="Votes lie on Zooniverse and are not counted; none is lost, the next read takes them all.",
        do="Look at the newest run of `ingest`, then at the worker of pool `cpu`.",
        page="votes",
        over=timedelta(hours=1),
    ),
    Alarm(
        name="GateHeld",
        severity=Severity.TICKET,
        means="The gate could not tell candidate and champion apart: a person decides.",
        costs="The next cycle waits; without a decision by the deadline the champion stays.",
        do="Read the checks on the page, or in `alservice cycle show`, and approve or reject.",
    ),
    Alarm(
        name="LabelsDisagree",
        severity=Severity.PAGE,
        means="Labels by the champion differ from those of votes alone more than it expects.",
        costs="Galaxies that stop early may get wrong labels, and too few votes. Votes and tallies are untouched.",
        do="The champion is wrong or stale, see `disagreement` in the figures of *Drift*: compare with the model "
        "before (`alservice model list`), roll back (`alservice model rollback`), set `zooniverse.retirement` to "
        "`own` until then. Galaxies that stopped early are asked again by the next tick where a better model says so.",
        page="models",
    ),
    Alarm(
        name="LeaseExpired",
        severity=Severity.TICKET,
        means="A run died, and nobody took its cycle over for half an hour.",
        costs="The cycle stands in its step until somebody takes it over; what the run had done is kept.",
        do="Start `advance` by hand, and see why `ingest` does not tick.",
        over=timedelta(minutes=30),
    ),
    Alarm(
        name="RunsDie",
        severity=Severity.TICKET,
        means="Runs were taken over more than three times in a day.",
        costs="Each death costs the shards or calls in flight and a lease's time, two minutes or a tick.",
        do="Workers are killed again and again: memory limits, evictions, `dmesg`.",
        page="events",
        times=3,
    ),
    Alarm(
        name="StepSilent",
        severity=Severity.PAGE,
        means="A step in another pool is silent, and whoever sent it is silent too.",
        costs="The step may stand still, and nobody waits for it.",
        do="See *A step in the pool gpu*; is a worker of pool `cpu` up, does `ingest` tick?",
        over=timedelta(minutes=15),
    ),
    Alarm(
        name="StepNotTaken",
        severity=Severity.TICKET,
        means="No worker takes a step that was sent to pool `gpu`.",
        costs="The cycle waits for a worker, twelve hours at most; then it fails.",
        do="Is a worker of pool `gpu` up (`prefect work-pool ls`), or busy with another campaign?",
        over=timedelta(minutes=30),
    ),
    Alarm(
        name="RunsLost",
        severity=Severity.TICKET,
        means="Runs in another pool were given up: their worker died or was cut off.",
        costs="Up to five minutes of silence each, and the work since the newest checkpoint or shard.",
        do="Nothing to do for the cycle; the events `step.taken_back` name machine and time: memory, eviction, "
        "network.",
        page="events",
        times=0,
    ),
    Alarm(
        name="StepsFail",
        severity=Severity.TICKET,
        means="A step failed with one error more than twice in a day.",
        costs="Each attempt costs a run and changes nothing.",
        do="The same error comes after each resume: do what the code's line says; resuming again will not help.",
        page="events",
        times=2,
    ),
    Alarm(
        name="AdapterErrors",
        severity=Severity.TICKET,
        means="More than 5 % of calls to the database, the object store or Zooniverse fail.",
        costs="Runs retry and take longer; where retries end, cycles fail.",
        do="Which outcome grows (dashboard, *Calls that failed*)? Do what its code's line says; then see that system's "
        "own status page.",
        page=ALARMS_PAGE,
    ),
    Alarm(
        name="AdapterSlow",
        severity=Severity.TICKET,
        means="Calls to the database, the object store or Zooniverse take more than two seconds on average.",
        costs="Runs only take longer.",
        do="Look at that system's own figures.",
        page=ALARMS_PAGE,
    ),
    Alarm(
        name="ServiceDown",
        severity=Severity.PAGE,
        means="The service does not answer its scrape.",
        costs="Nobody sees the other alarms or the dashboard, and webhooks are not taken. The loop goes on without it.",
        do="Restart the service; `alservice doctor` where it runs.",
        page=TARGETS,
    ),
    Alarm(
        name="ServiceMissing",
        severity=Severity.PAGE,
        means="Prometheus does not scrape the service at all.",
        costs="No alarm can fire. The loop goes on.",
        do="Prometheus' targets: address and token (`docker/metrics_token`, scope `read`).",
        page=TARGETS,
    ),
)

ALARMS: Final[Mapping[str, Alarm]] = {alarm.name: alarm for alarm in _ALARMS}
"""Name to alarm, in the order of the runbook."""
