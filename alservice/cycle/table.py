"""The cycles of a campaign as a table: what was spent, what was learned, what the gate said."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import numpy as np

from alservice.acquisition.policies import SelectionOverlap
from alservice.campaigns.campaign import EvaluationPolicy
from alservice.campaigns.cycle import WORKING, Cycle, CycleKind, CycleState
from alservice.campaigns.cycle_store import CycleStore
from alservice.campaigns.store import CampaignRow, Event, EventLog
from alservice.catalogue.store import CatalogueStore
from alservice.cycle.steps import states_of
from alservice.documents import document_of
from alservice.errors import NotFound
from alservice.ids import seed_of
from alservice.learning.evaluation import JudgeModel
from alservice.registry.records import CycleStatistics, GateDecision, Model, TrainingSnapshot
from alservice.registry.store import ModelStore, SnapshotStore
from alservice.science.bootstrap import bootstrap_sums, percentile_estimate
from alservice.science.evaluation import Evaluation, mixture_nll
from alservice.science.tree import Tree, load_tree
from alservice.shapes import FloatArray
from alservice.states import ModelState, named


@dataclass(frozen=True, kw_only=True, slots=True)
class CycleLine:
    """One cycle in figures; None where the cycle did not come that far.

    Parameters
    ----------
    votes
        Counted so far in the campaign, when this cycle's collecting ended: what was spent.
    galaxies_labelled, galaxies_evaluated
        Galaxies with votes that may be trained on, and evaluation members with votes.
    nll_per_vote, nll_low, nll_high
        NLL per vote of this cycle's candidate on the evaluation stream (nats), with its 95 % interval.
    champion_nll_per_vote
        The same of the champion it was compared with, on the same votes.
    rmse_smooth, rmse_bar
        RMSE of the fraction of the campaign's first and bar answer.
    coverage_error
        Coverage error at a tolerance of 0.10 of the campaign's chosen answer, as a fraction.
    """

    cycle: int
    kind: str
    state: str
    votes: int | None
    galaxies_labelled: int | None
    galaxies_evaluated: int | None
    nll_per_vote: float | None
    nll_low: float | None
    nll_high: float | None
    champion_nll_per_vote: float | None
    rmse_smooth: float | None
    rmse_bar: float | None
    coverage_error: float | None
    verdict: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """First champion against last, on the same votes: mean paired difference of NLL per vote (nats) and interval."""

    first_cycle: int
    last_cycle: int
    first: float
    last: float
    difference: float
    low: float
    high: float

    def text(self) -> str:
        """Return one sentence that says fell, rose or neither."""
        moved = "fell" if self.high < 0 else "rose" if self.low > 0 else "did not change beyond its interval"
        return (
            f"NLL per vote on the evaluation stream {moved}: {self.first:.4f} (champion of cycle {self.first_cycle}) "
            f"to {self.last:.4f} (cycle {self.last_cycle}), difference {self.difference:+.4f} nats, "
            f"95 % interval {self.low:+.4f} to {self.high:+.4f}"
        )


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:+.1%}"


def _interval(line: CycleLine) -> str:
    if line.nll_per_vote is None or line.nll_low is None or line.nll_high is None:
        return "-"
    return f"{line.nll_per_vote:.4f} [{line.nll_low:.4f}, {line.nll_high:.4f}]"


_COLUMNS: tuple[tuple[str, Callable[[CycleLine], str]], ...] = (
    ("cycle", lambda line: f"{line.cycle}"),
    ("kind", lambda line: line.kind),
    ("state", lambda line: line.state),
    ("votes", lambda line: _count(line.votes)),
    ("labelled", lambda line: _count(line.galaxies_labelled)),
    ("evaluated", lambda line: _count(line.galaxies_evaluated)),
    ("NLL/vote [nats]", _interval),
    ("champion's", lambda line: _number(line.champion_nll_per_vote, 4)),
    ("RMSE Smooth", lambda line: _number(line.rmse_smooth, 3)),
    ("RMSE Bar", lambda line: _number(line.rmse_bar, 3)),
    ("coverage error", lambda line: _percent(line.coverage_error)),
    ("gate", lambda line: line.verdict or "-"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class CycleTable:
    """All cycles of a campaign, oldest first.

    Parameters
    ----------
    answer
        Answer column whose errors are tabled.
    """

    campaign: str
    lines: tuple[CycleLine, ...]
    change: Change | None
    answer: str = EvaluationPolicy().answer

    def newest(self) -> CycleTable:
        """Return the table with its last line only."""
        return replace(self, lines=self.lines[-1:], change=None)

    def documents(self) -> Iterator[dict[str, Any]]:
        """Yield one JSON document per cycle."""
        for line in self.lines:
            yield {"campaign": self.campaign, **document_of(line)}

    def rows(self) -> tuple[tuple[str, ...], Sequence[tuple[str, ...]]]:
        """Return headings and cells as text."""
        shown = [(self._heading(name), show) for name, show in _COLUMNS if name != "RMSE Bar" or self.has_bar]
        cells = [tuple(show(line) for _, show in shown) for line in self.lines]
        return tuple(name for name, _ in shown), cells

    @property
    def short_answer(self) -> str:
        """What the answer is called over its column."""
        return "Smooth" if self.answer == EvaluationPolicy().answer else self.answer

    @property
    def has_bar(self) -> bool:
        """Whether the bar has a column: always beside Smooth, and where another tree asks for it."""
        return self.short_answer == "Smooth" or any(line.rmse_bar is not None for line in self.lines)

    def _heading(self, name: str) -> str:
        return f"RMSE {self.short_answer}" if name == "RMSE Smooth" else name

    def text(self) -> str:
        """Return the table for a terminal, columns aligned."""
        head, cells = self.rows()
        widths = [max(len(row[i]) for row in (head, *cells)) for i in range(len(head))]
        first, *rest = ["  ".join(map(str.rjust, row, widths)) for row in (head, *cells)]
        return "\n".join([first, "-" * len(first), *rest])

    def markdown(self) -> str:
        """Return the table as markdown, for Prefect's pages."""
        head, cells = self.rows()
        lines = [" | ".join(row) for row in (head, ["---"] * len(head), *cells)]
        return "\n".join(f"| {line} |" for line in lines) + (f"\n\n{self.change.text()}\n" if self.change else "\n")


@dataclass(frozen=True, kw_only=True, slots=True)
class CycleView:
    """One cycle: its line of the table, the gate's decision, what was measured, and what happened, oldest first."""

    campaign: str
    line: CycleLine
    decision: GateDecision | None
    events: tuple[Event, ...]
    statistics: tuple[CycleStatistics, ...] = ()
    answer: str = EvaluationPolicy().answer

    def document(self) -> dict[str, Any]:
        """Return the view as one JSON document."""
        events = [{"at": e.at.isoformat(), "actor": e.actor, "kind": e.kind, **e.detail} for e in self.events]
        decision = document_of(self.decision) if self.decision else None
        return {
            "campaign": self.campaign,
            **document_of(self.line),
            "decision": decision,
            "events": events,
            **self._measured(),
        }

    def text(self) -> str:
        """Return the view for a terminal."""
        lines = [self._table().text(), ""]
        lines += check_lines(self.decision) if self.decision else ()
        lines += self._statistics()
        lines += [f"  {e.at:%Y-%m-%d %H:%M:%S} UTC  {e.actor:<28} {e.kind}  {_detail(e)}" for e in self.events]
        return "\n".join(lines)

    def _table(self) -> CycleTable:
        return CycleTable(campaign=self.campaign, lines=(self.line,), change=None, answer=self.answer)

    def _measured(self) -> dict[str, Any]:
        """Return what was measured beside the models, without the samples behind it."""
        shown = {"selected": None, "shadow": None, "drift": None}
        return {**shown, **{s.kind: s.document.get("figures", s.document) for s in self.statistics}}

    def _statistics(self) -> Iterator[str]:
        measured = self._measured()
        if selected := measured["selected"]:
            yield (
                f"  champion on the {selected['voted']} it chose: {selected['naive']:.4f} nats per vote; on their pool "
                f"{selected['weighted']:.4f} [{selected['low']:.4f}, {selected['high']:.4f}]"
            )
        if shadow := measured["shadow"]:
            names = {field.name for field in fields(SelectionOverlap)}
            overlap = SelectionOverlap(**{name: value for name, value in shadow.items() if name in names})
            yield f"  shadow {shadow['shadow']} beside {shadow['champion']}: {overlap.text()}"
        for figure in measured["drift"] or ():
            mark = "ALARM" if figure["alarm"] else "ok"
            numbers = f"{figure['value']:+.3f}  (threshold {figure['threshold']:.3f})"
            yield f"  drift {mark:<5} {figure['name']:<36} {numbers}"


def check_lines(decision: GateDecision) -> Iterator[str]:
    """Yield a line per check: its number, interval and margin, and what it is about."""
    for check in decision.checks:
        interval = f"[{check.low:+.4f}, {check.high:+.4f}]" if check.low is not None and check.high is not None else "-"
        mark = "pass" if check.passed else "FAIL"
        numbers = f"{_number(check.value, 4):>9}  {interval:>20}  {_number(check.margin, 4):>9}"
        yield f"  {mark}  {check.name:<32} {numbers}  {check.detail}"


def _detail(event: Event) -> str:
    return ", ".join(f"{name}={value}" for name, value in event.detail.items())


class StepState(StrEnum):
    """Where a step of a timeline stands."""

    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    NOW = "now"  # the cycle stands in it
    WAITING = "waiting"
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True, slots=True)
class StepView:
    """One step of a cycle's timeline.

    Parameters
    ----------
    began, ended
        Of the last time it was entered, and left for the next step (UTC).
    elapsed
        Time in the step, stops included.
    retries
        How often it was resumed after a stop.
    errors
        What stopped it, oldest first.
    """

    step: CycleState
    state: StepState
    began: datetime | None
    ended: datetime | None
    elapsed: timedelta | None
    retries: int
    errors: tuple[str, ...]
    detail: Mapping[str, object]


_ORDER = states_of()


def timeline(cycle: Cycle, events: Sequence[Event], now: datetime) -> list[StepView]:
    """Return the steps of a cycle in order, from its events (oldest first); steps it passed by are skipped.

    A step that only a newer version knows is the last one, while the cycle stands in it.
    """
    moves = [e for e in events if e.kind == "cycle.moved"]
    entered: dict[CycleState, datetime] = {CycleState.PLANNED: cycle.created_at}
    left: dict[CycleState, datetime] = {}
    details: dict[CycleState, Mapping[str, object]] = {}
    errors: dict[CycleState, list[str]] = {}
    retries: dict[CycleState, int] = {}
    for event in moves:
        before, after = (named(CycleState, event.detail[name]) for name in ("from", "to"))
        if after in WORKING and before in WORKING:
            left[before], details[before] = event.at, event.detail
            entered.setdefault(after, event.at)
        elif after is CycleState.DONE:
            left[before] = event.at
        elif before in WORKING:
            errors.setdefault(before, []).append(_why(event))
        elif after in WORKING:
            retries[after] = retries.get(after, 0) + 1
    order = _ORDER if cycle.step in _ORDER or not cycle.is_open else (*_ORDER, cycle.step)
    return [
        StepView(
            step=step,
            state=_step_state(step, cycle, left, order),
            began=entered.get(step),
            ended=left.get(step),
            elapsed=None if step not in entered else left.get(step, now) - entered[step],
            retries=retries.get(step, 0),
            errors=tuple(errors.get(step, ())),
            detail={k: v for k, v in details.get(step, {}).items() if k not in {"from", "to"}},
        )
        for step in order
        if step not in _OUTCOMES or step in entered
    ]


_OUTCOMES = frozenset({CycleState.HELD, CycleState.PROMOTED, CycleState.KEPT})


def _why(event: Event) -> str:
    if "error" in event.detail:
        return str(event.detail.get("message") or event.detail["error"])
    return f"{event.detail['to']}: {event.detail.get('reason', 'no reason given')}"


def _step_state(
    step: CycleState, cycle: Cycle, left: Mapping[CycleState, datetime], order: Sequence[CycleState]
) -> StepState:
    if step in left:
        return StepState.DONE
    if cycle.is_open and step == cycle.step:
        return StepState.NOW if cycle.left_from is None else named(StepState, cycle.state)
    passed = not cycle.is_open or order.index(step) < order.index(cycle.step)
    return StepState.SKIPPED if passed else StepState.WAITING


COVERAGE_TOLERANCE = 0.10
"""Tolerance on the vote fraction of the coverage error in the table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CampaignRecords:
    """What is recorded of a campaign's cycles: read once, for the table, one cycle's view and the report.

    Parameters
    ----------
    cycles, models
        Oldest first.
    snapshots, decisions
        By cycle id, for cycles that have one.
    evaluations
        By cycle and model id, in order of cycles.
    """

    cycles: tuple[Cycle, ...]
    models: tuple[Model, ...]
    snapshots: Mapping[int, TrainingSnapshot]
    decisions: Mapping[int, GateDecision]
    evaluations: Mapping[tuple[int, int], Evaluation]


@dataclass(frozen=True, kw_only=True)
class SummariseCampaign:
    """Read what cycles recorded; only the comparison of champions is computed anew."""

    cycles: CycleStore
    models: ModelStore
    snapshots: SnapshotStore
    catalogues: CatalogueStore
    judge: Callable[[], JudgeModel]

    def run(self, campaign: CampaignRow) -> CycleTable:
        """Return the table of all cycles of a campaign."""
        return self.table(campaign, self.records(campaign))

    def records(self, campaign: CampaignRow) -> CampaignRecords:
        """Return what is recorded of a campaign's cycles."""
        cycles = tuple(self.cycles.list(campaign.id))
        ids = [cycle.id for cycle in cycles]
        return CampaignRecords(
            cycles=cycles,
            models=tuple(self.models.list(campaign.id)),
            snapshots={i: snapshot for i in ids if (snapshot := self.snapshots.of_cycle(i)) is not None},
            decisions={i: decision for i in ids if (decision := self.models.decision(i)) is not None},
            evaluations={(e.cycle_id, e.model_id): e.evaluation for e in self.snapshots.evaluations(campaign.id)},
        )

    def table(self, campaign: CampaignRow, records: CampaignRecords) -> CycleTable:
        """Return the table of what is recorded."""
        return CycleTable(
            campaign=campaign.settings.name,
            lines=tuple(cycle_line(campaign, records, cycle) for cycle in records.cycles),
            change=self._change(campaign, records),
            answer=campaign.settings.evaluation.answer,
        )

    def _change(self, campaign: CampaignRow, records: CampaignRecords) -> Change | None:
        """Compare the first champion with the last on the last snapshot, galaxies resampled in pairs."""
        champions = [m for m in records.models if m.state in {ModelState.CHAMPION, ModelState.RETIRED}]
        judged = [c for c in records.cycles if c.id in records.snapshots]
        if len(champions) < 2 or not judged:
            return None
        tree = load_tree(campaign.settings.tree)
        first, last = champions[0], champions[-1]
        before, votes = self._nll(campaign, judged[-1], first, tree)
        after, _ = self._nll(campaign, judged[-1], last, tree)
        rng = np.random.default_rng(seed_of(campaign.settings.seed, "change"))
        sums = bootstrap_sums(np.stack([after - before, votes], axis=1), repeats=2000, rng=rng)
        total = votes.sum()
        difference = percentile_estimate(float((after - before).sum() / total), sums[:, 0] / sums[:, 1], 0.95)
        return Change(
            first_cycle=first.cycle_number,
            last_cycle=last.cycle_number,
            first=float(before.sum() / total),
            last=float(after.sum() / total),
            difference=difference.value,
            low=difference.low,
            high=difference.high,
        )

    def _nll(self, campaign: CampaignRow, cycle: Cycle, model: Model, tree: Tree) -> tuple[FloatArray, FloatArray]:
        """Return summed NLL (N,) nats and votes (N,) per evaluation galaxy."""
        judged = self.judge().run(campaign, cycle, model, tree)
        counts = judged.tallies.counts
        nll = mixture_nll(tree, judged.posterior.concentrations, counts)
        return nll.sum(axis=1), counts.sum(axis=1).astype(np.float64)


def cycle_line(campaign: CampaignRow, records: CampaignRecords, cycle: Cycle) -> CycleLine:
    """Return one cycle's line of the table."""
    answer = campaign.settings.evaluation.answer
    snapshot, decision = records.snapshots.get(cycle.id), records.decisions.get(cycle.id)
    candidate = records.evaluations.get((cycle.id, cycle.candidate_id or 0))
    champion = records.evaluations.get((cycle.id, cycle.champion_id or 0))
    estimate = candidate.nll_per_vote if candidate else None
    return CycleLine(
        cycle=cycle.number,
        kind=_kind(cycle),
        state=str(cycle.state),
        votes=snapshot.n_votes if snapshot else None,
        galaxies_labelled=_labelled(records, cycle),
        galaxies_evaluated=candidate.n_galaxies if candidate else None,
        nll_per_vote=estimate.value if estimate else None,
        nll_low=estimate.low if estimate else None,
        nll_high=estimate.high if estimate else None,
        champion_nll_per_vote=champion.nll_per_vote.value if champion else None,
        rmse_smooth=_rmse(candidate, answer),
        rmse_bar=_rmse(candidate, _bar(load_tree(campaign.settings.tree))),
        coverage_error=_coverage_error(candidate, answer),
        verdict=decision.verdict if decision else None,
    )


def _labelled(records: CampaignRecords, cycle: Cycle) -> int | None:
    counts = (model.card.get("n_galaxies") for model in records.models if model.id == cycle.candidate_id)
    n_galaxies = next(counts, None)
    return None if n_galaxies is None else int(n_galaxies)


def _kind(cycle: Cycle) -> str:
    if cycle.kind is CycleKind.RETRAIN:
        return "retrain"
    return "bootstrap" if cycle.champion_id is None else "active"


def _bar(tree: Tree) -> str:
    """Return the tree's first bar answer, empty where it does not ask."""
    return next((column for column in tree.columns if column.startswith("bar_")), "")


def _rmse(found: Evaluation | None, column: str) -> float | None:
    rmse = found.answer(column).fractions.rmse if found and column else None
    return None if rmse is None else rmse.value


def _coverage_error(found: Evaluation | None, column: str) -> float | None:
    if found is None:
        return None
    errors = dict(zip(found.tolerances, found.answer(column).fractions.coverage_error, strict=True))
    error = errors.get(COVERAGE_TOLERANCE)
    return None if error is None else error.value


@dataclass(frozen=True, kw_only=True)
class ViewCycle:
    """Look one cycle up."""

    events: EventLog
    summarise: SummariseCampaign

    def run(self, campaign: CampaignRow, number: int | None) -> CycleView:
        """Return a cycle by number, the newest without one; raises `NotFound`."""
        records = self.summarise.records(campaign)
        found = [cycle for cycle in records.cycles if number is None or cycle.number == number]
        if not found:
            which = "no cycle yet" if number is None else f"no cycle {number}"
            raise NotFound(f"campaign {campaign.settings.name} has {which}")
        cycle = found[-1]
        return CycleView(
            campaign=campaign.settings.name,
            line=cycle_line(campaign, records, cycle),
            decision=records.decisions.get(cycle.id),
            statistics=tuple(s for s in self.summarise.snapshots.statistics(campaign.id) if s.cycle_id == cycle.id),
            events=tuple(e for e in reversed(self.events.list(campaign.id, limit=10_000)) if e.cycle_id == cycle.id),
            answer=campaign.settings.evaluation.answer,
        )
