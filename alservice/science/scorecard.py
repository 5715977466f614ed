"""Tables of an evaluation as people read them: totals, questions, answers and confident galaxies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from alservice.science.bootstrap import Estimate, Figure
from alservice.science.evaluation import Evaluation, FractionFigures


@dataclass(frozen=True, kw_only=True, slots=True)
class TextTable:
    """A title, headings, and rows of as many cells."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def text(self) -> str:
        """Return the table for a terminal: names to the left, figures to the right."""
        widths = [max(len(row[i]) for row in (self.head, *self.rows)) for i in range(len(self.head))]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
            for row in (self.head, *self.rows)
        ]
        return "\n".join([self.title, lines[0], "-" * len(lines[0]), *lines[1:]])

    def markdown(self) -> str:
        """Return the table as Markdown."""
        lines = [" | ".join(row) for row in (self.head, ["---"] * len(self.head), *self.rows)]
        return "\n".join(f"| {line} |" for line in lines)


def evaluation_tables(found: Evaluation) -> Iterator[TextTable]:
    """Yield the tables of an evaluation: totals, questions, answers, confident galaxies."""
    totals = [("galaxies", f"{found.n_galaxies:,}"), ("votes", f"{found.n_votes:,}")]
    totals.append(("NLL per vote [nats]", _interval(found.nll_per_vote, 4)))
    if found.cumulative_rmse is not None:
        totals.append(("RMSE of the cumulative fractions", _interval(found.cumulative_rmse, 4)))
    yield TextTable(title="All questions, 95 % intervals over galaxies", head=("figure", "value"), rows=tuple(totals))
    head = _fraction_head(found)
    yield TextTable(
        title=f"Questions, answers pooled, judged from {found.min_votes} votes on; CRPS [votes]; ±: coverage error [%]",
        head=("question", "galaxies", "votes", "NLL/vote [nats]", *head),
        rows=tuple(
            (
                q.question,
                f"{q.n_galaxies:,}",
                f"{q.n_votes:,}",
                _interval(q.nll_per_vote, 3),
                *_fraction_cells(q.fractions),
            )
            for q in found.questions
        ),
    )
    yield TextTable(
        title="Answers; PIT: distance of the randomised PIT from uniform, and its p-value",
        head=("answer", *head, "PIT", "p"),
        rows=tuple(
            (a.fractions.name, *_fraction_cells(a.fractions), _number(a.pit_distance), _number(a.pit_p))
            for a in found.answers
        ),
    )
    yield TextTable(
        title="Classification where more than 80 % of the volunteers agree",
        head=("question", "count", "accuracy", "precision", "recall", "F1"),
        rows=tuple(
            (
                q.question,
                f"{q.confident.n_galaxies:,}",
                *(
                    _interval(figure, 4)
                    for figure in (q.confident.accuracy, q.confident.precision, q.confident.recall, q.confident.f1)
                ),
            )
            for q in found.questions
            if q.confident is not None
        ),
    )


def _fraction_head(found: Evaluation) -> tuple[str, ...]:
    return ("judged", "RMSE", "CRPS", *(f"±{t:.2f}" for t in found.tolerances))


def _fraction_cells(figures: FractionFigures) -> Sequence[str]:
    return (
        f"{figures.n_judged:,}",
        _interval(figures.rmse, 3),
        "-" if figures.crps_votes is None else f"{figures.crps_votes.value:.2f}",
        *("-" if error is None else f"{100 * error.value:+.1f}" for error in figures.coverage_error),
    )


def _interval(figure: Figure | Estimate | None, digits: int) -> str:
    if figure is None:
        return "-"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.{digits}f}"
    return f"{figure.value:.{digits}f} [{figure.low:.{digits}f}, {figure.high:.{digits}f}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
