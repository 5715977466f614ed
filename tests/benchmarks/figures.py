"""Figures of benchmarks: what the plots of the product do not have, such as logarithmic axes, in one style."""

from __future__ import annotations

import io

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, ACCENT, PALE = "#1f2933", "#2b6cb0", "#a0aec0"


def plain(axes: Axes) -> Axes:
    """Return a panel without its box, with faint lines to read heights by."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=PALE, alpha=0.35, linewidth=0.6)
    return axes


def svg(figure: Figure) -> str:
    """Return a figure as an SVG element on white, the same for the same figures."""
    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": "alservice", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=False)
    text = buffer.getvalue()
    return text[text.index("<svg") :]
