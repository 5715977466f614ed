"""Charts of the dashboard as SVG, each with a sentence that says what it shows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from alservice.campaigns.policies import Arm
from alservice.cycle.report import AnswerBar
from alservice.learning.drift import CycleDrift, DriftFigure
from alservice.ops.figures import ArmFigures, CandidateFigures
from alservice.registry.records import Check


def votes_by_hour(hours: Mapping[datetime, int]) -> Markup:
    """Return classifications per hour as bars, a day label below each midnight."""
    y = vertical([0.0, float(max(hours.values(), default=0) or 1)])
    slot = (WIDTH - LEFT - RIGHT) / max(len(hours), 1)
    parts = frame(y, "classifications per hour")
    for place, (hour, n) in enumerate(hours.items()):
        x = LEFT + place * slot
        if n:
            parts.append(rect(x + 0.5, y.at(n), slot - 1, y.at(0) - y.at(n), "bar a"))
        if hour.hour == 0:
            parts.append(line(x, y.start, x, y.start + 5, "axis"))
            parts.append(text(x + 4, HEIGHT - 22, f"{hour:%d %b}", "tick"))
    parts.append(text(LEFT, HEIGHT - 4, "hour (UTC)", "label"))
    peak = max(hours.values(), default=0)
    said = f"{sum(hours.values()):,} classifications in {len(hours)} hours; at most {peak:,} in one hour."
    return svg("Classifications per hour", said, parts)


def learning_curve(points: Sequence[CandidateFigures]) -> Markup:
    """Return NLL per vote against votes spent: candidates with intervals, and the champion on the same votes."""
    values = [v for p in points for v in (p.low, p.high, p.champion) if v is not None]
    y = vertical(values or [0.0, 1.0])
    x = horizontal([float(p.n_votes) for p in points])
    parts = frame(y, "NLL per vote (nats)")
    parts += x_ticks(x, "votes counted")
    rivals = [(x.at(p.n_votes), y.at(p.champion)) for p in points if p.champion is not None]
    parts.append(path(rivals, "line b"))
    parts += [circle(px, py, 3, "dot b") for px, py in rivals]
    parts.append(path([(x.at(p.n_votes), y.at(p.value)) for p in points], "line a"))
    for p in points:
        parts.append(line(x.at(p.n_votes), y.at(p.low), x.at(p.n_votes), y.at(p.high), "whisker a"))
        parts.append(circle(x.at(p.n_votes), y.at(p.value), 4, "dot a"))
    parts += legend((("a", "candidate, 95 % interval"), ("b", "champion, same votes")))
    said = "; ".join(f"cycle {p.cycle}: {p.value:.4f} nats per vote after {p.n_votes:,} votes" for p in points[-8:])
    return svg("Learning curve", said, parts)


ARM_CLASSES = "abcd"
"""A colour per arm, in the order of `Arm`; arms that only a newer version knows share the last."""


def arms(figures: Sequence[ArmFigures]) -> Markup:
    """Return how volunteers split on each arm's galaxies, by cycle, with 95 % intervals."""
    y = vertical([0.0, *(f.high for f in figures)])
    cycles = sorted({f.cycle for f in figures})
    shown = {cycle: place for place, cycle in enumerate(cycles)}
    slot = (WIDTH - LEFT - RIGHT) / max(len(cycles), 1)
    parts = frame(y, "vote split (nats)")
    present = {f.arm for f in figures}
    drawn = [*(arm for arm in Arm if arm in present), *sorted(present.difference(Arm))]
    known = [*Arm]
    kinds = {arm: ARM_CLASSES[known.index(arm)] if arm in known else ARM_CLASSES[-1] for arm in drawn}
    every = max(1, math.ceil(len(cycles) / 10))
    for cycle, place in shown.items():
        if place % every == 0:
            parts.append(text(LEFT + (place + 0.5) * slot, HEIGHT - 22, str(cycle), "tick middle"))
    for f in figures:
        shift = (drawn.index(f.arm) + 0.5) / len(drawn) - 0.5
        x = round(LEFT + (shown[f.cycle] + 0.5 + 0.64 * shift) * slot, 2)
        kind = kinds[f.arm]
        parts.append(line(x, y.at(f.low), x, y.at(f.high), f"whisker {kind}"))
        parts.append(circle(x, y.at(f.split_nats), 4, f"dot {kind}"))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, "cycle", "label middle"))
    parts += legend(tuple((kind, f"{arm} arm") for arm, kind in kinds.items()))
    said = "; ".join(
        f"cycle {f.cycle}, {f.arm} arm: {f.split_nats:.3f} nats over {f.galaxies} galaxies" for f in figures[-8:]
    )
    return svg("Arms of the batch", said, parts)


def calibration(tolerances: Sequence[float], series: Sequence[tuple[str, Sequence[float | None]]]) -> Markup:
    """Return coverage errors by tolerance, a bar per model; 0 is perfect, above 0 overconfident."""
    values = [100 * v for _, errors in series for v in errors if v is not None]
    y = vertical([0.0, *values])
    slot = (WIDTH - LEFT - RIGHT) / max(len(tolerances), 1)
    parts = frame(y, "coverage error (%)")
    width = slot * 0.6 / max(len(series), 1)
    for number, (_, errors) in enumerate(series):
        for place, error in enumerate(errors):
            if error is not None:
                top, base = sorted((y.at(100 * error), y.at(0)))
                x = LEFT + place * slot + slot * 0.2 + number * width
                parts.append(rect(x, top, width - 2, max(base - top, 0.5), f"bar {'ab'[number % 2]}"))
    for place, tolerance in enumerate(tolerances):
        parts.append(text(LEFT + (place + 0.5) * slot, HEIGHT - 22, f"{tolerance:.2f}", "tick middle"))
    parts.append(line(LEFT, y.at(0), WIDTH - RIGHT, y.at(0), "axis"))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, "tolerance on the vote fraction", "label middle"))
    parts += legend(tuple(("ab"[i % 2], name) for i, (name, _) in enumerate(series)))
    said = "; ".join(
        f"{name}: "
        + ", ".join(f"{100 * e:+.1f} % at {t:.2f}" for t, e in zip(tolerances, errors, strict=True) if e is not None)
        for name, errors in series
    )
    return svg("Calibration: coverage error", said, parts)


def drift(cycles: Sequence[CycleDrift]) -> Markup:
    """Return each cycle's farthest drift as a share of its threshold; an alarm from 1 on."""
    farthest = {cycle.cycle: max(cycle.figures, key=lambda figure: figure.reach) for cycle in cycles}
    finite = [figure.reach for figure in farthest.values() if math.isfinite(figure.reach)]
    y = vertical([0.0, 1.2, *finite])
    x = horizontal([float(cycle) for cycle in farthest])
    parts = [*frame(y, "share of the threshold"), *x_ticks(x, "cycle", whole=True)]
    parts.append(line(LEFT, y.at(1), WIDTH - RIGHT, y.at(1), "margin"))
    at = {cycle: (x.at(cycle), y.at(min(figure.reach, y.high))) for cycle, figure in farthest.items()}
    parts.append(path(list(at.values()), "line a"))
    parts += [circle(*at[cycle], 4, f"dot {'fail' if figure.alarm else 'a'}") for cycle, figure in farthest.items()]
    parts += legend((("a", "below its threshold"), ("fail", "alarm")))
    said = "; ".join(
        f"cycle {cycle}: {figure.name} at {figure.reach:.2f} of its threshold{', an alarm' if figure.alarm else ''}"
        for cycle, figure in list(farthest.items())[-8:]
    )
    return svg("Drift", said, parts)


def reach(figure: DriftFigure) -> Markup:
    """Return one drift figure as a bar towards its threshold, which is drawn at two thirds."""
    x = Axis(low=0, high=1.5, start=2, end=138)
    kind = "fail" if figure.alarm else "pass"
    parts = [
        line(2, 9, 138, 9, "grid"),
        rect(2, 5, max(x.at(min(figure.reach, x.high)) - 2, 1), 8, f"bar {kind}"),
        line(x.at(1), 1, x.at(1), 17, "margin"),
    ]
    said = f"{figure.reach:.2f} of its threshold{', an alarm' if figure.alarm else ''}"
    return svg(figure.name, said, parts, size=(140, 18), kind="mini")


def interval(check: Check) -> Markup:
    """Return one check's interval beside its margin and zero, on a scale of the margin."""
    if check.value is None or check.low is None or check.high is None or not check.margin:
        return Markup("")
    reach = 1.15 * max(abs(check.low), abs(check.high), abs(check.margin))
    x = Axis(low=-reach, high=reach, start=4, end=156)
    kind = "pass" if check.passed else "fail"
    parts = [
        line(x.at(0), 2, x.at(0), 22, "axis"),
        line(x.at(check.margin), 2, x.at(check.margin), 22, "margin"),
        line(x.at(check.low), 12, x.at(check.high), 12, f"whisker {kind}"),
        circle(x.at(check.value), 12, 4, f"dot {kind}"),
    ]
    said = f"{check.value:+.4f}, interval {check.low:+.4f} to {check.high:+.4f}, margin {check.margin:+.4f}"
    return svg(check.name, said, parts, size=(160, 24), kind="mini")


def posterior(bar: AnswerBar) -> Markup:
    """Return one answer's posterior: 90 % interval, mean, and the volunteers' share where it is known."""
    x = Axis(low=0, high=1, start=2, end=138)
    parts = [
        line(2, 9, 138, 9, "grid"),
        rect(x.at(bar.low), 5, max(x.at(bar.high) - x.at(bar.low), 1), 8, "band"),
        line(x.at(bar.mean), 2, x.at(bar.mean), 16, "mean"),
    ]
    if bar.observed is not None:
        parts.append(circle(x.at(bar.observed), 9, 3, "dot b"))
    heard = "" if bar.observed is None else f", volunteers {bar.observed:.2f}"
    said = f"mean {bar.mean:.2f}, 90 % between {bar.low:.2f} and {bar.high:.2f}{heard}"
    return svg(bar.answer, said, parts, size=(140, 18), kind="mini")


def stacked(shares: Mapping[str, int]) -> Markup:
    """Return counts as one bar of shares; each state has its own colour, and its count stands beside it in a table."""
    total = sum(shares.values())
    parts, x = [], 0.0
    for name, n in shares.items():
        width = 480 * n / total if total else 0
        if width:
            parts.append(rect(round(x, 2), 0, round(max(width, 0.8), 2), 14, f"share {name}"))
        x += width
    said = ", ".join(f"{n:,} {name}" for name, n in shares.items() if n) or "no subjects"
    return svg("Subjects by state", said, parts, size=(480, 14), kind="stacked")


WIDTH, HEIGHT = 480, 272
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 46, 44


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """A linear axis: values from `low` to `high` at pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the pixel of a value."""
        span = self.high - self.low or 1.0
        return round(self.start + (value - self.low) / span * (self.end - self.start), 2)


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Return round values that cover an interval."""
    span = high - low or abs(high) or 1.0
    step = 10 ** math.floor(math.log10(span / about))
    step *= next(m for m in (1, 2, 5, 10) if span / (step * m) <= about)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(i * step, 12) for i in range(first, last + 1)]


def vertical(values: Iterable[float]) -> Axis:
    """Return the vertical axis of a chart that covers some values."""
    known = list(values)
    marks = ticks(min(known), max(known))
    return Axis(low=marks[0], high=marks[-1], start=HEIGHT - BOTTOM, end=TOP)


def horizontal(values: Sequence[float]) -> Axis:
    """Return the horizontal axis of a chart that covers some values, with a little room on both sides."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    pad = (high - low or high or 1.0) * 0.06
    return Axis(low=low - pad, high=high + pad, start=LEFT, end=WIDTH - RIGHT)


def frame(y: Axis, label: str) -> list[Markup]:
    """Return a chart's horizontal lines with their values, and the name of the vertical axis."""
    parts = []
    for mark in ticks(y.low, y.high):
        parts.append(line(LEFT, y.at(mark), WIDTH - RIGHT, y.at(mark), "grid"))
        parts.append(text(LEFT - 7, y.at(mark) + 4, f"{mark:,g}".replace("-", "−"), "tick end"))
    parts.append(text(2, 13, label, "label"))
    return parts


def x_ticks(x: Axis, label: str, *, whole: bool = False) -> list[Markup]:
    """Return the values below a chart, only whole ones where others mean nothing, and the name of its axis."""
    marks = [m for m in ticks(x.low, x.high) if x.low <= m <= x.high and not (whole and m % 1)]
    parts = [text(x.at(mark), HEIGHT - 22, _thousands(mark), "tick middle") for mark in marks]
    return [*parts, text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, label, "label middle")]


def _thousands(value: float) -> str:
    if abs(value) >= 1e6:
        return f"{value / 1e6:g} M"
    return f"{value / 1e3:g} k" if abs(value) >= 1e4 else f"{value:,g}"


def legend(entries: Sequence[tuple[str, str]]) -> list[Markup]:
    """Return the names of colours, on one line above the chart."""
    parts: list[Markup] = []
    x = 6.0
    for kind, name in entries:
        parts += [circle(x, 26, 4, f"dot {kind}"), text(x + 9, 30, name, "legend")]
        x += 7.4 * len(name) + 26
    return parts


def rect(x: float, y: float, width: float, height: float, kind: str) -> Markup:
    """Return a rectangle."""
    return Markup('<rect x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}" class="{}"/>').format(
        x, y, width, height, kind
    )


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """Return a straight line."""
    return Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>').format(x1, y1, x2, y2, kind)


def circle(x: float, y: float, radius: float, kind: str) -> Markup:
    """Return a dot."""
    return Markup('<circle cx="{}" cy="{}" r="{}" class="{}"/>').format(x, y, radius, kind)


def text(x: float, y: float, text: str, kind: str) -> Markup:
    """Return a text."""
    return Markup('<text x="{:.1f}" y="{:.1f}" class="{}">{}</text>').format(x, y, kind, text)


def path(points: Sequence[tuple[float, float]], kind: str) -> Markup:
    """Return a line through points; nothing without points."""
    steps = " ".join(f"{'L' if i else 'M'}{x} {y}" for i, (x, y) in enumerate(points))
    return Markup('<path d="{}" class="{}"/>').format(steps, kind) if points else Markup("")


def svg(
    title: str, said: str, parts: Sequence[Markup], *, size: tuple[int, int] = (WIDTH, HEIGHT), kind: str = "chart"
) -> Markup:
    """Return a picture; `said` is what it shows, for those who do not see it."""
    body = Markup("").join(parts)
    stretched = Markup(' preserveAspectRatio="none"') if kind == "stacked" else ""
    return Markup('<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}"{}>{}</svg>').format(
        kind, size[0], size[1], f"{title}: {said}", stretched, body
    )
