"""How all plots look, and their bytes: the same figure gives the same SVG and PNG."""

from __future__ import annotations

import io
from typing import Final

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, ACCENT, WARM, PALE = "#1f2933", "#2b6cb0", "#c05621", "#a0aec0"

OTHERS: Final = ("#2f855a", "#6b46c1", "#b7791f", "#97266d")
"""Colours of further lines of one plot."""

_SIZE: Final = (6.4, 3.6)
"""Width and height in inches of a plot of one panel."""

_DPI: Final = 130


def canvas() -> tuple[Figure, Axes]:
    """Return an empty plot of one panel."""
    figure = Figure(figsize=_SIZE, layout="constrained")
    return figure, plain(figure.subplots())


def plain(axes: Axes) -> Axes:
    """Return a panel without its box, with faint lines to read heights by."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=PALE, alpha=0.35, linewidth=0.6)
    return axes


def svg(figure: Figure, *, transparent: bool = True) -> str:
    """Return a plot as an SVG element, fit for a page and for a file of its own."""
    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": "alservice", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=transparent)
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def png(figure: Figure) -> bytes:
    """Return a plot as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()
