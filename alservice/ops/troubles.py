"""What is wrong now: the alarms that the database alone can tell, each with since when, what it costs, what to do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from alservice.campaigns.cycle import CycleState
from alservice.cycle.steps import BY_STATE, Phase
from alservice.errors import AlserviceError
from alservice.ops.alarms import ALARMS, Alarm, Severity
from alservice.ops.figures import CampaignFigures
from alservice.ops.metrics import Measures, OpenCycle
from alservice.states import SubjectState


@dataclass(frozen=True, kw_only=True, slots=True)
class Trouble:
    """One alarm of one campaign.

    Parameters
    ----------
    what
        What is wrong, in one sentence.
    since
        When it began (UTC).
    costs, do
        What it costs while it lasts, and what to do about it.
    also
        Alarms that ring because of it.
    """

    alarm: Alarm
    campaign: str
    what: str
    since: datetime
    costs: str
    do: str
    also: tuple[Alarm, ...] = ()

    @property
    def severity(self) -> Severity:
        """How soon somebody looks: the gravest of it and of what rings because of it."""
        grave = any(alarm.severity is Severity.PAGE for alarm in (self.alarm, *self.also))
        return Severity.PAGE if grave else Severity.TICKET

    @property
    def page(self) -> str:
        """The path of the page that shows it."""
        return self.alarm.page_of(self.campaign)


def troubles(measures: Measures, figures: Mapping[str, CampaignFigures]) -> Sequence[Trouble]:
    """Return what is wrong at the moment of the measures: what wakes somebody first, then oldest first.

    Parameters
    ----------
    figures
        Campaign to where it stands, for what a standstill costs; of one that is left out nothing is counted.
    """
    return _in_order([*_of_cycles(measures, figures), *_of_runs(measures), *_again_and_again(measures)])


STANDSTILL: Final = (
    "CycleFailed",
    "CycleCancelled",
    "GateHeld",
    "StepNotTaken",
    "StepSilent",
    "LeaseExpired",
    "Stuck",
    "CollectingOverdue",
    "CycleLate",
    "NoCycleFinished",
)
"""Alarms of a cycle that stands still, each with what it may be a consequence of before it."""


def by_cause(found: Sequence[Trouble]) -> Sequence[Trouble]:
    """Return troubles with those that follow from another one of their campaign folded into it."""
    standing: defaultdict[str, list[Trouble]] = defaultdict(list)
    others = []
    for each in found:
        if each.alarm.name in STANDSTILL:
            standing[each.campaign].append(each)
        else:
            others.append(each)
    for of_one in standing.values():
        cause, *rest = sorted(of_one, key=lambda each: STANDSTILL.index(each.alarm.name))
        others.append(replace(cause, also=tuple(each.alarm for each in rest)))
    return _in_order(others)


def _in_order(found: Sequence[Trouble]) -> Sequence[Trouble]:
    return sorted(found, key=lambda each: (each.severity is not Severity.PAGE, each.since, each.campaign))


def _of_cycles(measures: Measures, figures: Mapping[str, CampaignFigures]) -> Iterator[Trouble]:
    for cycle in measures.cycles:
        costs = _standstill(cycle, figures.get(cycle.campaign))
        yield from _stopped(cycle, measures.at, costs)
        yield from _waiting(cycle, measures.at, costs)
    for campaign, done in measures.done.items():
        if _is_over("NoCycleFinished", done, measures.at):
            alarm = ALARMS["NoCycleFinished"]
            yield _of(alarm, campaign, "No cycle has ended for fifteen days.", done)


def _stopped(cycle: OpenCycle, at: datetime, costs: str | None) -> Iterator[Trouble]:
    if cycle.state is CycleState.FAILED:
        code = f" with {cycle.code}" if cycle.code else ""
        text = f"Cycle {cycle.number} failed in {cycle.left_from}{code}."
        yield _trouble("CycleFailed", cycle, text, cycle.updated_at, costs, _remedy(cycle.code))
    if cycle.state is CycleState.CANCELLED and _is_over("CycleCancelled", cycle.updated_at, at):
        text = f"Cycle {cycle.number} lies cancelled in {cycle.left_from}."
        yield _trouble("CycleCancelled", cycle, text, cycle.updated_at, costs)
    if cycle.stuck_at < at:
        text = f"Cycle {cycle.number} is {cycle.stands} for longer than that may last."
        yield _trouble("Stuck", cycle, text, cycle.paused_at or cycle.updated_at, costs)


def _waiting(cycle: OpenCycle, at: datetime, costs: str | None) -> Iterator[Trouble]:
    if _is_over("CycleLate", cycle.created_at, at):
        text = f"Cycle {cycle.number} is open for more than eight days: it is {cycle.stands}."
        yield _trouble("CycleLate", cycle, text, cycle.created_at)
    is_collecting = CycleState.COLLECTING in {cycle.state, cycle.left_from}
    if is_collecting and cycle.deadline is not None and _is_over("CollectingOverdue", cycle.deadline, at):
        text = f"Cycle {cycle.number} still collects after its deadline."
        yield _trouble("CollectingOverdue", cycle, text, cycle.deadline, costs)
    if cycle.state is CycleState.HELD:
        yield _trouble("GateHeld", cycle, f"The candidate of cycle {cycle.number} waits.", cycle.updated_at)


def _of_runs(measures: Measures) -> Iterator[Trouble]:
    at = measures.at
    for campaign, ratio in measures.disagreement.items():
        if ratio > 1:
            text = f"Labels of model and votes differ {ratio:.1f} times as often as they may."
            since = next((c.updated_at for c in measures.cycles if c.campaign == campaign), at)
            yield _of(ALARMS["LabelsDisagree"], campaign, text, measures.done.get(campaign, since))
    for lease in measures.leases:
        if _is_over("LeaseExpired", lease.expires_at, at):
            text = "A run died, and nobody took over."
            yield _of(ALARMS["LeaseExpired"], lease.campaign, text, lease.expires_at)
    for sent in measures.sent:
        name, since = ("StepNotTaken", sent.sent_at) if sent.heard_at is None else ("StepSilent", sent.heard_at)
        if _is_over(name, since, at):
            text = (
                f"{sent.step} was sent and no worker takes it." if sent.heard_at is None else f"{sent.step} is silent."
            )
            yield _of(ALARMS[name], sent.campaign, text[0].upper() + text[1:], since)


_EVENTS: Final = {"lease.taken_over": "RunsDie", "step.taken_back": "RunsLost", "cycle.moved": "StepsFail"}
"""Events to the alarm of too many in a day."""


def _again_and_again(measures: Measures) -> Iterator[Trouble]:
    for row in measures.recent:
        alarm = ALARMS[_EVENTS[row.kind]]
        if alarm.times is None or row.n <= alarm.times:
            continue
        times = f"{row.n} time{'s' if row.n > 1 else ''} in a day"
        text = {
            "RunsDie": f"Runs died {times}.",
            "RunsLost": f"Runs in another pool were given up {times}.",
            "StepsFail": f"{(row.step or 'a step').capitalize()} failed with {row.code or 'an unknown error'} {times}.",
        }[alarm.name]
        yield _of(alarm, row.campaign, text, row.first)


def _is_over(name: str, since: datetime, at: datetime) -> bool:
    over = ALARMS[name].over
    return over is not None and at - since > over


def _trouble(
    name: str, cycle: OpenCycle, what: str, since: datetime, costs: str | None = None, do: str | None = None
) -> Trouble:
    alarm = ALARMS[name]
    return Trouble(
        alarm=alarm, campaign=cycle.campaign, what=what, since=since, costs=costs or alarm.costs, do=do or alarm.do
    )


def _of(alarm: Alarm, campaign: str, what: str, since: datetime) -> Trouble:
    return Trouble(alarm=alarm, campaign=campaign, what=what, since=since, costs=alarm.costs, do=alarm.do)


def _standstill(cycle: OpenCycle, figures: CampaignFigures | None) -> str | None:
    """Return what it costs that a cycle stands still in its step, in the campaign's own figures."""
    step = BY_STATE.get(cycle.left_from or cycle.state)
    if step is None or figures is None:
        return None
    if step.phase is Phase.ASK:
        return (
            f"Volunteers get nothing new: {figures.subjects[SubjectState.LIVE]:,} subjects are before them, "
            f"and {figures.day:,} classifications came in 24 h."
        )
    if step.phase is Phase.COLLECT:
        return f"Votes are not counted: {figures.day:,} came in the last 24 h. None is lost, the next read takes them."
    model = f"model {figures.champion.id}" if figures.champion is not None else "no model"
    return f"What volunteers said is not learned from: {model} labels on."


def _remedy(code: str | None) -> str | None:
    """Return what to do about an error code before the cycle is resumed; None where its class says nothing."""
    kinds: list[type[AlserviceError]] = [AlserviceError]
    while kinds:
        kind = kinds.pop()
        if kind.code == code and kind.remedy != AlserviceError.remedy:
            return f"{kind.remedy} Then `alservice cycle resume`."
        kinds += kind.__subclasses__()
    return None
