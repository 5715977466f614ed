"""Plots as one kind of picture: an SVG element for pages and reports, SVG and PNG files from the same marks.

Colours are attributes of each mark, so that a picture is complete in a file, and classes beside them, so that a page's
style sheet can say otherwise in the dark; no picture carries a style of its own, which pages refuse.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final, TypeAlias

import numpy as np

WIDTH, HEIGHT = 480, 272
"""Size of a chart (px)."""

LEFT, RIGHT, TOP, BOTTOM = 58, 12, 46, 44
"""Margins of a chart, in which its axes are named."""

SERIES: Final = ("a", "b", "c", "d", "e", "f", "g")
"""Classes of the series of one chart, each with a colour of its own."""

PALETTE: Final[Mapping[str, str]] = {
    "a": "#2b6cb0",
    "b": "#c05621",
    "c": "#2f855a",
    "d": "#718096",
    "e": "#6b46c1",
    "f": "#97266d",
    "g": "#b7791f",
    "pass": "#276749",
    "fail": "#9b2c2c",
}
INK, SOFT, FAINT = "#1f2933", "#52606d", "#d9e2ec"

Point: TypeAlias = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Mark:
    """One thing drawn, in pixels from the top left corner.

    Parameters
    ----------
    shape
        ``line`` through the points, ``area`` inside them, ``dot`` at the first, or ``text`` that begins there.
    kind
        Classes: a role such as ``line``, ``bar``, ``tick``, and a series.
    text
        Of a text.
    radius
        Of a dot.
    """

    shape: str
    kind: str
    points: tuple[Point, ...]
    text: str = ""
    radius: float = 0.0

    @property
    def look(self) -> Mapping[str, str]:
        """Attributes of its kind: colour, width, dashes and where a text is anchored."""
        role, *rest = self.kind.split()
        colour = next((PALETTE[word] for word in rest if word in PALETTE), ROLES.get(role, INK))
        if self.shape == "text":
            at = {"end": "end", "middle": "middle"}
            return {"fill": colour, "text-anchor": next((at[word] for word in rest if word in at), "start")}
        if self.shape == "line":
            dashed = {"stroke-dasharray": "4 3"} if role in DASHED or "dashed" in rest else {}
            return {"fill": "none", "stroke": colour, "stroke-width": WIDTHS.get(role, "1.8"), **dashed}
        faint = {"fill-opacity": "0.25"} if role == "area" else {"fill-opacity": "0.55"} if role == "box" else {}
        return {"fill": colour, **faint}


ROLES: Final[Mapping[str, str]] = {
    "grid": FAINT,
    "axis": SOFT,
    "tick": SOFT,
    "margin": PALETTE["fail"],
    "band": "#90cdf4",
    "share": SOFT,
}
"""Colours of roles that belong to no series; others are drawn in ink."""

WIDTHS: Final[Mapping[str, str]] = {"grid": "1", "axis": "1", "margin": "1.5", "mean": "2", "rule": "1"}
DASHED: Final = frozenset({"margin", "rule"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """Marks with their title and, for those who do not see it, what they show.

    Parameters
    ----------
    kind
        Class of the element: ``chart``, ``mini`` or ``stacked``, which is stretched to its place.
    size
        Width and height (px).
    """

    title: str
    said: str
    marks: tuple[Mark, ...]
    size: tuple[float, float] = (WIDTH, HEIGHT)
    kind: str = "chart"

    def __html__(self) -> str:
        """Return the element for a page; every text in it is escaped."""
        stretched = ' preserveAspectRatio="none"' if self.kind == "stacked" else ""
        label = escape(f"{self.title}: {self.said}")
        box = f'class="{self.kind}" viewBox="0 0 {_n(self.size[0])} {_n(self.size[1])}"'
        return f'<svg {box} role="img" aria-label="{label}"{stretched}>{self._body()}</svg>'

    def svg(self) -> bytes:
        """Return a file of its own: on white, with title and description."""
        width, height = map(_n, self.size)
        head = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        named = f"<title>{escape(self.title)}</title><desc>{escape(self.said)}</desc>"
        paper = f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
        return f'<svg {head} font-family="sans-serif">{named}{paper}{self._body()}</svg>\n'.encode()

    def png(self) -> bytes:
        """Return the same as PNG, twice as large."""
        return _png(self)

    def _body(self) -> str:
        return "".join(map(_element, self.marks))


Files: TypeAlias = dict[str, bytes]
"""Contents by file name."""


def files(name: str, picture: Picture) -> Files:
    """Return a picture as ``NAME.svg`` and ``NAME.png``."""
    return {f"{name}.svg": picture.svg(), f"{name}.png": picture.png()}


def _element(mark: Mark) -> str:
    look = "".join(f' {name}="{value}"' for name, value in mark.look.items())
    look += f' class="{escape(mark.kind)}"'
    x, y = map(_n, mark.points[0])
    if mark.shape == "text":
        return f'<text x="{x}" y="{y}" font-size="12"{look}>{escape(mark.text)}</text>'
    if mark.shape == "dot":
        return f'<circle cx="{x}" cy="{y}" r="{_n(mark.radius)}"{look}/>'
    steps = "L".join(f"{_n(px)} {_n(py)}" for px, py in mark.points)
    return f'<path d="M{steps}{"Z" if mark.shape == "area" else ""}"{look}/>'


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _png(picture: Picture) -> bytes:
    # Only files are written so; a process that serves pages never loads matplotlib and its 40 MiB.
    from matplotlib.figure import Figure
    from matplotlib.patches import Polygon

    width, height = picture.size
    figure = Figure(figsize=(width / 72, height / 72))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    for order, mark in enumerate(picture.marks):
        look, (x, y) = mark.look, mark.points[0]
        xs, ys = zip(*mark.points, strict=True)
        if mark.shape == "text":
            side = {"start": "left", "middle": "center", "end": "right"}[look["text-anchor"]]
            axes.text(x, y, mark.text.replace("$", r"\$"), color=look["fill"], ha=side, size=9.5, zorder=order)
        elif mark.shape == "dot":
            axes.plot(x, y, "o", color=look["fill"], markersize=2 * mark.radius, markeredgewidth=0, zorder=order)
        elif mark.shape == "line":
            dashes = (0, (3, 2)) if "stroke-dasharray" in look else "-"
            axes.plot(xs, ys, color=look["stroke"], lw=float(look["stroke-width"]), linestyle=dashes, zorder=order)
        else:
            alpha = float(look.get("fill-opacity", 1))
            axes.add_patch(Polygon(mark.points, facecolor=look["fill"], alpha=alpha, linewidth=0, zorder=order))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=144)
    return buffer.getvalue()


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Mark:
    """Return a straight line."""
    return Mark("line", kind, ((x1, y1), (x2, y2)))


def path(points: Sequence[Point], kind: str) -> list[Mark]:
    """Return a line through points; nothing without points."""
    return [Mark("line", kind, tuple(points))] if points else []


def rect(x: float, y: float, width: float, height: float, kind: str) -> Mark:
    """Return a rectangle."""
    return Mark("area", kind, ((x, y), (x + width, y), (x + width, y + height), (x, y + height)))


def dot(x: float, y: float, radius: float, kind: str) -> Mark:
    """Return a dot."""
    return Mark("dot", kind, ((x, y),), radius=radius)


def text(x: float, y: float, text: str, kind: str) -> Mark:
    """Return a text."""
    return Mark("text", kind, ((x, y),), text=text)


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
    """Return the vertical axis of a chart that covers some values; 0 to 1 without any."""
    known = list(values) or [0.0, 1.0]
    marks = ticks(min(known), max(known))
    return Axis(low=marks[0], high=marks[-1], start=HEIGHT - BOTTOM, end=TOP)


def horizontal(values: Sequence[float]) -> Axis:
    """Return the horizontal axis of a chart that covers some values, with a little room on both sides."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    pad = (high - low or high or 1.0) * 0.06
    return Axis(low=low - pad, high=high + pad, start=LEFT, end=WIDTH - RIGHT)


@dataclass(frozen=True, kw_only=True, slots=True)
class Slots:
    """A horizontal axis of equal places, such as cycles or tolerances."""

    names: Sequence[str]

    @property
    def width(self) -> float:
        """Pixels of one place."""
        return (WIDTH - LEFT - RIGHT) / max(len(self.names), 1)

    def at(self, place: float, shift: float = 0.5) -> float:
        """Return the pixel within a place, from 0 at its begin to 1 at its end."""
        return round(LEFT + (place + shift) * self.width, 2)

    def marks(self, label: str) -> list[Mark]:
        """Return the names below a chart, at most about ten of them, and the name of the axis."""
        every = max(1, math.ceil(len(self.names) / 10))
        named = [(place, name) for place, name in enumerate(self.names) if place % every == 0]
        return [*(text(self.at(place), HEIGHT - 22, name, "tick middle") for place, name in named), below(label)]


def frame(y: Axis, label: str) -> list[Mark]:
    """Return a chart's horizontal lines with their values, and the name of the vertical axis."""
    marks = []
    for value in (v for v in ticks(y.low, y.high) if y.low <= v <= y.high):
        marks.append(line(LEFT, y.at(value), WIDTH - RIGHT, y.at(value), "grid"))
        marks.append(text(LEFT - 7, y.at(value) + 4, f"{value:,g}".replace("-", "−"), "tick end"))
    return [*marks, text(2, 13, label, "label")]


def below(label: str) -> Mark:
    """Return the name of the horizontal axis."""
    return text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, label, "label middle")


def x_ticks(x: Axis, label: str, *, whole: bool = False) -> list[Mark]:
    """Return the values below a chart, only whole ones where others mean nothing, and the name of its axis."""
    values = [m for m in ticks(x.low, x.high) if x.low <= m <= x.high and not (whole and m % 1)]
    return [*(text(x.at(value), HEIGHT - 22, _thousands(value), "tick middle") for value in values), below(label)]


def _thousands(value: float) -> str:
    if abs(value) >= 1e6:
        return f"{value / 1e6:g} M"
    return f"{value / 1e3:g} k" if abs(value) >= 1e4 else f"{value:,g}".replace("-", "−")


def legend(entries: Iterable[tuple[str, str]]) -> list[Mark]:
    """Return the names of colours, on one line above the chart."""
    marks: list[Mark] = []
    x = 6.0
    for kind, name in entries:
        marks += [dot(x, 26, 4, f"dot {kind}"), text(x + 9, 30, name, "legend")]
        x += 7.4 * len(name) + 20
    return marks


def key(entries: Iterable[tuple[str, str]], x: float, y: float) -> list[Mark]:
    """Return the names of colours one below the other, for more than fit above a chart."""
    rows = [(y + 15 * place, kind, name) for place, (kind, name) in enumerate(entries)]
    return [
        mark for at, kind, name in rows for mark in (dot(x, at, 4, f"dot {kind}"), text(x + 9, at + 4, name, "legend"))
    ]


def curve(x: Axis, y: Axis, points: Sequence[Point], kind: str, *, radius: float = 3.0) -> list[Mark]:
    """Return a line through values, with a dot at each."""
    at = [(x.at(px), y.at(py)) for px, py in points]
    return [*path(at, f"line {kind}"), *(dot(px, py, radius, f"dot {kind}") for px, py in at if radius)]


def whiskers(
    at: float, y: Axis, low: float, value: float, high: float, kind: str, *, radius: float = 4.0
) -> list[Mark]:
    """Return a value with its interval, at a pixel."""
    return [line(at, y.at(low), at, y.at(high), f"whisker {kind}"), dot(at, y.at(value), radius, f"dot {kind}")]


def band(x: Axis, y: Axis, low: Sequence[Point], high: Sequence[Point], kind: str) -> Mark:
    """Return the area between two lines."""
    edge = [*low, *reversed(high)]
    return Mark("area", f"area {kind}", tuple((x.at(px), y.at(py)) for px, py in edge))


def bars(slots: Slots, y: Axis, series: Sequence[tuple[str, Sequence[float | None]]]) -> list[Mark]:
    """Return a bar for each value of each series, side by side in the value's place; and the line they stand on."""
    marks, width = [], 0.6 / max(len(series), 1)
    for number, (kind, values) in enumerate(series):
        for place, value in enumerate(values):
            if value is not None:
                top, base = sorted((y.at(value), y.at(0)))
                x = slots.at(place, 0.2 + number * width)
                marks.append(rect(x, top, width * slots.width - 2, max(base - top, 0.5), f"bar {kind}"))
    return [*marks, line(LEFT, y.at(0), WIDTH - RIGHT, y.at(0), "axis")]


def steps(edges: Sequence[float], values: Sequence[float]) -> list[Point]:
    """Return the corners of values that each hold from one edge to the next."""
    ends = zip(edges, edges[1:], values, strict=False)
    return [corner for left, right, value in ends for corner in ((left, value), (right, value))]


def box(at: float, width: float, y: Axis, values: Sequence[float], kind: str) -> list[Mark]:
    """Return values as quartiles, whiskers to the last within 1.5 of their range, and what lies beyond (Tukey)."""
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    reach = 1.5 * (high - low)
    within = [v for v in values if low - reach <= v <= high + reach]
    left, right = at - width / 2, at + width / 2
    return [
        line(at, y.at(min(within)), at, y.at(low), f"whisker {kind}"),
        line(at, y.at(high), at, y.at(max(within)), f"whisker {kind}"),
        rect(left, y.at(high), width, y.at(low) - y.at(high), f"box {kind}"),
        line(left, y.at(middle), right, y.at(middle), "axis"),
        *(dot(at, y.at(v), 1.2, f"dot {kind}") for v in values if not low - reach <= v <= high + reach),
    ]
