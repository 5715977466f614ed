"""Plots of a trained model and of its evaluation: training curve, reliability, coverage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from alservice.plots import (
    HEIGHT,
    SERIES,
    WIDTH,
    Axis,
    Files,
    Mark,
    Picture,
    Slots,
    curve,
    files,
    frame,
    horizontal,
    key,
    legend,
    line,
    path,
    text,
    vertical,
    whiskers,
    x_ticks,
)
from alservice.science.bootstrap import Figure
from alservice.science.evaluation import AnswerFigures, Evaluation
from alservice.science.tree import Question, Tree

_COLUMNS: Final = 3
"""Panels beside each other."""

_PANEL: Final = (330.0, 230.0)
"""Width and height of a panel (px): a square of fractions, and the names of its answers."""

_KEY: Final = 210
"""Width of the names beside a plot of many series (px)."""


def training_curve(history: Sequence[Mapping[str, float]]) -> Files:
    """Return ``training-curve.svg`` and ``.png``: loss on training batches and on the hold-out, by step."""
    batches = [(point["step"], point["train"]) for point in history]
    hold_out = [(point["step"], point["hold_out"]) for point in history]
    x, y = horizontal([step for step, _ in batches]), vertical([loss for _, loss in (*batches, *hold_out)])
    marks = [*frame(y, "NLL per galaxy [nats]"), *x_ticks(x, "gradient step")]
    marks += [*curve(x, y, batches, "b", radius=0), *curve(x, y, hold_out, "a")]
    marks += legend((("b", "training batches"), ("a", "hold-out (posterior)")))
    said = f"Loss by gradient step; the last on the hold-out is {hold_out[-1][1]:.4f} nats." if hold_out else "no step"
    return files("training-curve", Picture(title="Training curve", said=said, marks=tuple(marks)))


def reliability(tree: Tree, found: Evaluation) -> Files:
    """Return ``reliability.svg`` and ``.png``: observed against predicted vote fractions, a panel per question."""
    marks: list[Mark] = []
    for number, (question, answers) in enumerate(zip(tree.questions, tree.slices, strict=True)):
        row, column = divmod(number, _COLUMNS)
        marks += _panel(question, found.answers[answers], column * _PANEL[0], row * _PANEL[1])
    size = (_COLUMNS * _PANEL[0], math.ceil(tree.n_questions / _COLUMNS) * _PANEL[1])
    said = "Volunteers' fraction against the predicted one, for galaxies binned by it; on the diagonal they agree."
    return files("reliability", Picture(title="Reliability", said=said, marks=tuple(marks), size=size))


def _panel(question: Question, answers: Sequence[AnswerFigures], left: float, top: float) -> list[Mark]:
    x = Axis(low=0, high=1, start=left + 34, end=left + 194)
    y = Axis(low=0, high=1, start=top + 190, end=top + 30)
    marks = [text(left + 4, top + 16, f"{question.name} ({answers[0].fractions.n_judged})", "label")]
    for value in (0.0, 0.5, 1.0):
        marks.append(line(x.start, y.at(value), x.end, y.at(value), "grid"))
        marks.append(text(x.start - 6, y.at(value) + 4, f"{value:g}", "tick end"))
        marks.append(text(x.at(value), y.start + 15, f"{value:g}", "tick middle"))
    marks.append(line(x.start, y.start, x.end, y.end, "axis"))
    marks.append(text(x.at(0.5), y.start + 30, "volunteers' by predicted fraction", "tick middle"))
    kinds = [SERIES[number % len(SERIES)] for number in range(len(answers))]
    for answer, kind in zip(answers, kinds, strict=True):
        bins = answer.reliability
        marks += path([(x.at(b.predicted), y.at(b.observed)) for b in bins], f"line {kind}")
        for b in bins:
            low, high = max(0.0, b.observed - b.error), min(1.0, b.observed + b.error)
            marks += whiskers(x.at(b.predicted), y, low, b.observed, high, kind, radius=2.5)
    return [*marks, *key(zip(kinds, question.answers, strict=True), x.end + 16, y.end + 4)]


def coverage(tree: Tree, found: Evaluation) -> Files:
    """Return ``coverage.svg`` and ``.png``: coverage error by tolerance, of each question's first answer."""
    marks: list[Mark] = []
    names: list[tuple[str, str]] = []
    slots = Slots(names=[f"{tolerance:.2f}" for tolerance in found.tolerances])
    ends = [100 * end for answers in tree.slices for e in _errors(found, answers) if e is not None for end in e.ends]
    y = vertical([0.0, *ends])
    for number, answers in enumerate(tree.slices):
        figures = found.answers[answers.start].fractions
        known = [(place, e) for place, e in enumerate(_errors(found, answers)) if e is not None]
        if figures.n_judged and known:
            kind, dashed = SERIES[number % len(SERIES)], number >= len(SERIES)
            names.append((kind, f"{figures.name} ({figures.n_judged}){', dashed' if dashed else ''}"))
            at = [slots.at(place, 0.15 + 0.7 * (number + 0.5) / tree.n_questions) for place, _ in known]
            points = [(x, y.at(100 * e.value)) for x, (_, e) in zip(at, known, strict=True)]
            marks += path(points, f"line {kind}{' dashed' if dashed else ''}")
            for x, (_, e) in zip(at, known, strict=True):
                low, high = e.ends
                marks += whiskers(x, y, 100 * low, 100 * e.value, 100 * high, kind, radius=2.5)
    below = slots.marks("tolerance on the vote fraction")
    marks = [*frame(y, "coverage error [%], above 0 overconfident"), *below, *marks, *key(names, WIDTH + 10, 50)]
    said = "Coverage error by tolerance, of each question's first answer, with 95 % intervals; 0 is perfect."
    size = (WIDTH + _KEY, HEIGHT)
    return files("coverage", Picture(title="Coverage error", said=said, marks=tuple(marks), size=size))


def _errors(found: Evaluation, answers: slice) -> Sequence[Figure | None]:
    first: AnswerFigures = found.answers[answers.start]
    return first.fractions.coverage_error
