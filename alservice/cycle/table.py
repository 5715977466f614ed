"""The cycles of a campaign as a table: what was spent, what was learned, what the gate said."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from alservice.acquisition.selections import SelectionOverlap
from alservice.campaigns.records import CycleStatistics, Event
from alservice.learning.gate import GateDecision


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
    """All cycles of a campaign, oldest first."""

    campaign: str
    lines: tuple[CycleLine, ...]
    change: Change | None

    def newest(self) -> CycleTable:
        """Return the table with its last line only."""
        return CycleTable(campaign=self.campaign, lines=self.lines[-1:], change=None)

    def documents(self) -> Iterator[dict[str, Any]]:
        """Yield one JSON document per cycle."""
        for line in self.lines:
            yield {"campaign": self.campaign, **asdict(line)}

    def rows(self) -> tuple[tuple[str, ...], Sequence[tuple[str, ...]]]:
        """Return headings and cells as text."""
        cells = [tuple(show(line) for _, show in _COLUMNS) for line in self.lines]
        return tuple(name for name, _ in _COLUMNS), cells

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

    def document(self) -> dict[str, Any]:
        """Return the view as one JSON document."""
        events = [{"at": e.at.isoformat(), "actor": e.actor, "kind": e.kind, **e.detail} for e in self.events]
        decision = self.decision.document() if self.decision else None
        return {
            "campaign": self.campaign,
            **asdict(self.line),
            "decision": decision,
            "events": events,
            **self._measured(),
        }

    def text(self) -> str:
        """Return the view for a terminal."""
        lines = [CycleTable(campaign=self.campaign, lines=(self.line,), change=None).text(), ""]
        lines += check_lines(self.decision) if self.decision else ()
        lines += self._statistics()
        lines += [f"  {e.at:%Y-%m-%d %H:%M:%S} UTC  {e.actor:<28} {e.kind}  {_detail(e)}" for e in self.events]
        return "\n".join(lines)

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
