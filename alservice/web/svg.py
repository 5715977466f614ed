"""Parts of charts as SVG: axes and marks. Colours are the style sheet's, so that they are right in light and dark."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

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
