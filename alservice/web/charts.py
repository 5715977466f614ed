"""Charts of the dashboard, each with a sentence that says what it shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime

from alservice.cycle.report import AnswerBar, arm_kinds
from alservice.learning.drift import CycleDrift, DriftFigure
from alservice.ops.card import AnswerKnown
from alservice.ops.figures import ArmFigures, CandidateFigures
from alservice.plots import (
    HEIGHT,
    LEFT,
    RIGHT,
    WIDTH,
    Axis,
    Picture,
    Slots,
    bars,
    curve,
    dot,
    frame,
    horizontal,
    legend,
    line,
    path,
    rect,
    text,
    vertical,
    whiskers,
    x_ticks,
)
from alservice.registry.records import Check


def votes_by_hour(hours: Mapping[datetime, int]) -> Picture:
    """Return classifications per hour as bars, a day label below each midnight."""
    y = vertical([0.0, float(max(hours.values(), default=0) or 1)])
    slot = (WIDTH - LEFT - RIGHT) / max(len(hours), 1)
    marks = frame(y, "classifications per hour")
    for place, (hour, n) in enumerate(hours.items()):
        x = LEFT + place * slot
        if n:
            marks.append(rect(x + 0.5, y.at(n), slot - 1, y.at(0) - y.at(n), "bar a"))
        if hour.hour == 0:
            marks.append(line(x, y.start, x, y.start + 5, "axis"))
            marks.append(text(x + 4, HEIGHT - 22, f"{hour:%d %b}", "tick"))
    marks.append(text(LEFT, HEIGHT - 4, "hour (UTC)", "label"))
    peak = max(hours.values(), default=0)
    said = f"{sum(hours.values()):,} classifications in {len(hours)} hours; at most {peak:,} in one hour."
    return Picture(title="Classifications per hour", said=said, marks=tuple(marks))


def learning_curve(points: Sequence[CandidateFigures]) -> Picture:
    """Return NLL per vote against votes spent: candidates with intervals, and the champion on the same votes."""
    values = [v for p in points for v in (p.low, p.high, p.champion) if v is not None]
    x, y = horizontal([float(p.n_votes) for p in points]), vertical(values)
    marks = [*frame(y, "NLL per vote (nats)"), *x_ticks(x, "votes counted")]
    champions = [(p.n_votes, p.champion) for p in points if p.champion is not None]
    marks += curve(x, y, champions, "b dashed")
    marks += curve(x, y, [(p.n_votes, p.value) for p in points], "a", radius=0)
    marks += [mark for p in points for mark in whiskers(x.at(p.n_votes), y, p.low, p.value, p.high, "a")]
    marks += legend((("a", "candidate, 95 % interval"), ("b", "champion, same votes")))
    said = "; ".join(f"cycle {p.cycle}: {p.value:.4f} nats per vote after {p.n_votes:,} votes" for p in points[-8:])
    return Picture(title="Learning curve", said=said, marks=tuple(marks))


def arms(figures: Sequence[ArmFigures]) -> Picture:
    """Return how volunteers split on each arm's galaxies, by cycle, with 95 % intervals."""
    y = vertical([0.0, *(f.high for f in figures)])
    cycles = sorted({f.cycle for f in figures})
    slots = Slots(names=list(map(str, cycles)))
    kinds = arm_kinds(f.arm for f in figures)
    drawn = list(kinds)
    marks = [*frame(y, "vote split (nats)"), *slots.marks("cycle")]
    for f in figures:
        shift = 0.5 + 0.64 * ((drawn.index(f.arm) + 0.5) / len(drawn) - 0.5)
        marks += whiskers(slots.at(cycles.index(f.cycle), shift), y, f.low, f.split_nats, f.high, kinds[f.arm])
    marks += legend((kind, f"{arm} arm") for arm, kind in kinds.items())
    said = "; ".join(
        f"cycle {f.cycle}, {f.arm} arm: {f.split_nats:.3f} nats over {f.galaxies} galaxies" for f in figures[-8:]
    )
    return Picture(title="Arms of the batch", said=said, marks=tuple(marks))


def calibration(tolerances: Sequence[float], series: Sequence[tuple[str, Sequence[float | None]]]) -> Picture:
    """Return coverage errors by tolerance, a bar per model; 0 is perfect, above 0 overconfident."""
    y = vertical([0.0, *(100 * v for _, errors in series for v in errors if v is not None)])
    slots = Slots(names=[f"{tolerance:.2f}" for tolerance in tolerances])
    marks = [*frame(y, "coverage error (%)"), *slots.marks("tolerance on the vote fraction")]
    in_percent = [[None if v is None else 100 * v for v in errors] for _, errors in series]
    marks += bars(slots, y, [("ab"[number % 2], errors) for number, errors in enumerate(in_percent)])
    marks += legend(("ab"[number % 2], name) for number, (name, _) in enumerate(series))
    said = "; ".join(
        f"{name}: "
        + ", ".join(f"{100 * e:+.1f} % at {t:.2f}" for t, e in zip(tolerances, errors, strict=True) if e is not None)
        for name, errors in series
    )
    return Picture(title="Calibration: coverage error", said=said, marks=tuple(marks))


def drift(cycles: Sequence[CycleDrift]) -> Picture:
    """Return each cycle's farthest drift as a share of its threshold; an alarm from 1 on."""
    farthest = {cycle.cycle: max(cycle.figures, key=lambda figure: figure.reach) for cycle in cycles}
    finite = [figure.reach for figure in farthest.values() if math.isfinite(figure.reach)]
    y = vertical([0.0, 1.2, *finite])
    x = horizontal([float(cycle) for cycle in farthest])
    marks = [*frame(y, "share of the threshold"), *x_ticks(x, "cycle", whole=True)]
    marks.append(line(LEFT, y.at(1), WIDTH - RIGHT, y.at(1), "margin"))
    at = {cycle: (x.at(cycle), y.at(min(figure.reach, y.high))) for cycle, figure in farthest.items()}
    marks += path(list(at.values()), "line a")
    marks += [dot(*at[cycle], 4, f"dot {'fail' if figure.alarm else 'a'}") for cycle, figure in farthest.items()]
    marks += legend((("a", "below its threshold"), ("fail", "alarm")))
    said = "; ".join(
        f"cycle {cycle}: {figure.name} at {figure.reach:.2f} of its threshold{', an alarm' if figure.alarm else ''}"
        for cycle, figure in list(farthest.items())[-8:]
    )
    return Picture(title="Drift", said=said, marks=tuple(marks))


def reach(figure: DriftFigure) -> Picture:
    """Return one drift figure as a bar towards its threshold, which is drawn at two thirds."""
    x = Axis(low=0, high=1.5, start=2, end=138)
    kind = "fail" if figure.alarm else "pass"
    marks = (
        line(2, 9, 138, 9, "grid"),
        rect(2, 5, max(x.at(min(figure.reach, x.high)) - 2, 1), 8, f"bar {kind}"),
        line(x.at(1), 1, x.at(1), 17, "margin"),
    )
    said = f"{figure.reach:.2f} of its threshold{', an alarm' if figure.alarm else ''}"
    return Picture(title=figure.name, said=said, marks=marks, size=(140, 18), kind="mini")


def interval(check: Check) -> Picture | str:
    """Return one check's interval beside its margin and zero, on a scale of the margin; nothing without one."""
    if check.value is None or check.low is None or check.high is None or not check.margin:
        return ""
    reach = 1.15 * max(abs(check.low), abs(check.high), abs(check.margin))
    x = Axis(low=-reach, high=reach, start=4, end=156)
    kind = "pass" if check.passed else "fail"
    marks = (
        line(x.at(0), 2, x.at(0), 22, "axis"),
        line(x.at(check.margin), 2, x.at(check.margin), 22, "margin"),
        line(x.at(check.low), 12, x.at(check.high), 12, f"whisker {kind}"),
        dot(x.at(check.value), 12, 4, f"dot {kind}"),
    )
    said = f"{check.value:+.4f}, interval {check.low:+.4f} to {check.high:+.4f}, margin {check.margin:+.4f}"
    return Picture(title=check.name, said=said, marks=marks, size=(160, 24), kind="mini")


def posterior(bar: AnswerBar) -> Picture:
    """Return one answer's posterior: 90 % interval, mean, and the volunteers' share where it is known."""
    x = Axis(low=0, high=1, start=2, end=138)
    marks = [
        line(2, 9, 138, 9, "grid"),
        rect(x.at(bar.low), 5, max(x.at(bar.high) - x.at(bar.low), 1), 8, "band"),
        line(x.at(bar.mean), 2, x.at(bar.mean), 16, "mean"),
    ]
    if bar.observed is not None:
        marks.append(dot(x.at(bar.observed), 9, 3, "dot b"))
    heard = "" if bar.observed is None else f", volunteers {bar.observed:.2f}"
    said = f"mean {bar.mean:.2f}, 90 % between {bar.low:.2f} and {bar.high:.2f}{heard}"
    return Picture(title=bar.answer, said=said, marks=tuple(marks), size=(140, 18), kind="mini")


def belief(answer: AnswerKnown) -> Picture:
    """Return one answer's fraction three ways: by the model alone, by model and votes, and by votes alone."""
    x = Axis(low=0, high=1, start=2, end=138)
    marks, said = [line(2, 9, 138, 9, "grid")], []
    if answer.model is not None and answer.low is not None and answer.high is not None:
        marks.append(rect(x.at(answer.low), 5, max(x.at(answer.high) - x.at(answer.low), 1), 8, "band"))
        marks.append(line(x.at(answer.model), 2, x.at(answer.model), 16, "mean"))
        said.append(f"model {answer.model:.2f}, 90 % between {answer.low:.2f} and {answer.high:.2f}")
    if answer.fused is not None:
        low, high = (min(max(answer.fused.mean + side * answer.fused.sd, 0), 1) for side in (-1, 1))
        marks.append(line(x.at(low), 9, x.at(high), 9, "whisker a"))
        marks.append(dot(x.at(answer.fused.mean), 9, 4, "dot a"))
        said.append(f"model and votes {answer.fused.mean:.2f} ± {answer.fused.sd:.2f}")
    if answer.share is not None:
        marks.append(dot(x.at(answer.share), 9, 3, "dot b"))
        said.append(f"volunteers {answer.share:.2f}")
    what = "; ".join(said) or "nothing is known"
    return Picture(title=answer.answer, said=what, marks=tuple(marks), size=(140, 18), kind="mini")


def stacked(shares: Mapping[str, int]) -> Picture:
    """Return counts as one bar of shares; each state has its own colour, and its count stands beside it in a table."""
    total = sum(shares.values())
    marks, x = [], 0.0
    for name, n in shares.items():
        width = 480 * n / total if total else 0
        if width:
            marks.append(rect(round(x, 2), 0, round(max(width, 0.8), 2), 14, f"share {name}"))
        x += width
    said = ", ".join(f"{n:,} {name}" for name, n in shares.items() if n) or "no subjects"
    return Picture(title="Subjects by state", said=said, marks=tuple(marks), size=(480, 14), kind="stacked")
