"""Plots as files: training curves, reliability, coverage; the same figures give the same SVG."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Final

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alservice.science.evaluation import AnswerFigures, Evaluation
from alservice.science.tree import Tree

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


Files = dict[str, bytes]
"""Contents by file name."""

_COLOURS: Final = (ACCENT, WARM, *OTHERS, INK)
_COLUMNS: Final = 4


def training_curve(history: Sequence[Mapping[str, float]]) -> Files:
    """Return ``training-curve.svg`` and ``.png``: loss on training batches and on the hold-out, by step."""
    figure, axes = canvas()
    steps = [point["step"] for point in history]
    axes.plot(steps, [point["train"] for point in history], color=WARM, label="training batches")
    axes.plot(steps, [point["hold_out"] for point in history], color=ACCENT, marker="o", label="hold-out (posterior)")
    axes.set_xlabel("gradient step")
    axes.set_ylabel("NLL per galaxy [nats]")
    axes.legend(frameon=False)
    return rendered("training-curve", figure)


def reliability(tree: Tree, found: Evaluation) -> Files:
    """Return ``reliability.svg`` and ``.png``: observed against predicted vote fractions, a panel per question."""
    rows = math.ceil(tree.n_questions / _COLUMNS)
    figure = Figure(figsize=(3 * _COLUMNS, 2.8 * rows), layout="constrained")
    panels = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axes, question, answers in zip(panels, tree.questions, tree.slices, strict=False):
        plain(axes)
        axes.plot([0, 1], [0, 1], color=PALE, linewidth=0.8)
        for number, answer in enumerate(found.answers[answers]):
            _curve(axes, answer, question.answers[number], _COLOURS[number % len(_COLOURS)])
        axes.set(title=f"{question.name} ({found.answers[answers.start].fractions.n_judged})", xlim=(0, 1), ylim=(0, 1))
        if any(answer.reliability for answer in found.answers[answers]):
            axes.legend(frameon=False, fontsize=6)
    for axes in panels[tree.n_questions :]:
        axes.set_visible(False)
    figure.supxlabel("predicted fraction")
    figure.supylabel("volunteers' fraction")
    return rendered("reliability", figure)


def coverage(tree: Tree, found: Evaluation) -> Files:
    """Return ``coverage.svg`` and ``.png``: coverage error by tolerance, of each question's first answer."""
    figure, axes = canvas()
    axes.axhline(0, color=INK, linewidth=0.8)
    for number, answers in enumerate(tree.slices):
        figures = found.answers[answers.start].fractions
        errors = zip(found.tolerances, figures.coverage_error, strict=True)
        known = [(t, e.value, *e.ends) for t, e in errors if e is not None]
        if figures.n_judged and known:
            axes.errorbar(
                [t + 0.0008 * (number - tree.n_questions / 2) for t, *_ in known],
                [100 * value for _, value, _, _ in known],
                yerr=[
                    [100 * (value - low) for _, value, low, _ in known],
                    [100 * (high - value) for _, value, _, high in known],
                ],
                color=_COLOURS[number % len(_COLOURS)],
                linestyle="-" if number < len(_COLOURS) else "--",
                marker="o",
                markersize=3,
                capsize=2,
                linewidth=0.8,
                label=f"{figures.name} ({figures.n_judged})",
            )
    axes.set_xticks(found.tolerances)
    axes.set_xlabel("tolerance on the vote fraction")
    axes.set_ylabel("coverage error [%], above 0 overconfident")
    axes.legend(frameon=False, fontsize=6)
    return rendered("coverage", figure)


def _curve(axes: Axes, answer: AnswerFigures, label: str, colour: str) -> None:
    bins = answer.reliability
    axes.errorbar(
        [b.predicted for b in bins],
        [b.observed for b in bins],
        yerr=[b.error for b in bins],
        color=colour,
        marker="o",
        markersize=3,
        linewidth=0.8,
        label=label,
    )


def rendered(name: str, figure: Figure) -> Files:
    """Return a figure as ``NAME.svg`` and ``NAME.png``."""
    return {f"{name}.svg": svg(figure, transparent=False).encode(), f"{name}.png": png(figure)}
