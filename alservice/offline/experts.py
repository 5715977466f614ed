"""Vote fractions beside expert labels: the rescaling of Walmsley 2020, appendix A, and its tables as a report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from alservice.catalogue.files import open_catalogue
from alservice.catalogue.galaxies import CatalogueRow
from alservice.catalogue.vote_columns import VOLUNTEERS
from alservice.documents import document_of
from alservice.errors import BadInput
from alservice.ids import stable_fraction
from alservice.offline.prediction import read_predictions
from alservice.plots import (
    LEFT,
    RIGHT,
    SERIES,
    WIDTH,
    Axis,
    Files,
    Picture,
    curve,
    files,
    frame,
    legend,
    line,
    path,
    vertical,
    x_ticks,
)
from alservice.progress import Progress, process_progress
from alservice.science.calibration import reliability_curve
from alservice.science.experts import CONFIDENT, Agreement, Rescaling, Roc, agreement, fit_rescaling, is_confident, roc
from alservice.science.scorecard import TextTable
from alservice.science.tree import Question, Tree
from alservice.science.votes import totals
from alservice.shapes import BoolArray, FloatArray
from alservice.storage.csv import csv_lines
from alservice.storage.run_folder import cannot_write, write_whole

TEST_SHARE: Final = 0.2
"""Share of the galaxies with both that is kept from the fit and judges it, as in the paper."""

MIN_VOTES: Final = 10
"""Votes on a question from which its fraction is compared, as in the paper."""

EXPERT: Final = Tree(
    name="expert",
    questions=(
        Question(
            name="expert",
            text="What do experts say?",
            answers=("yes", "no"),
            labels=("Yes", "No"),
            parents=(),
            task="T0",
            task_answers=("yes", "no"),
        ),
    ),
)
"""What a column of expert labels answers."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Compared:
    """One source of fractions beside expert labels, on galaxies that the rescaling was not fitted on.

    Parameters
    ----------
    name
        ``votes`` or ``predictions``, plain or rescaled.
    probabilities
        (N,) taken as probabilities that experts say yes.
    """

    name: str
    probabilities: FloatArray = field(repr=False)
    labels: BoolArray = field(repr=False)
    roc: Roc = field(repr=False)
    all: Agreement
    confident: Agreement


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ExpertComparison:
    """How vote fractions of an answer, and predicted ones, agree with experts.

    Parameters
    ----------
    answer
        Column of the answer.
    n_fitted, n_test
        Galaxies with fraction and label that the rescaling was fitted on, and that judge it.
    left_aside
        Why other galaxies were not compared, and how many of them.
    """

    answer: str
    rescaling: Rescaling
    n_fitted: int
    n_test: int
    left_aside: Mapping[str, int]
    compared: tuple[Compared, ...]

    def tables(self) -> tuple[TextTable, ...]:
        """Return the tables of the paper: expected numbers and areas, confusion, and the confident subset."""
        yes = int(self.compared[0].labels.sum())
        counts = TextTable(
            title=f"{self.answer} beside experts, {self.n_test:,} galaxies not fitted on; experts say yes to {yes:,}",
            head=("probabilities", "expected yes", "Brier", "area under ROC"),
            rows=tuple(
                (c.name, f"{c.all.expected_yes:,.0f}", f"{c.all.brier:.4f}", f"{c.roc.area:.4f}") for c in self.compared
            ),
        )
        return (
            counts,
            self._matrix("all galaxies", "all"),
            self._matrix(f"probability of {CONFIDENT:g} or more", "confident"),
        )

    def _matrix(self, title: str, which: str) -> TextTable:
        found: list[tuple[str, Agreement]] = [(c.name, getattr(c, which)) for c in self.compared]
        return TextTable(
            title=f"Confusion at 0.5, {title}",
            head=(
                "probabilities",
                "galaxies",
                "both yes",
                "only ours",
                "only experts",
                "both no",
                "accuracy",
                "precision",
                "recall",
            ),
            rows=tuple(
                (
                    name,
                    *(f"{n:,}" for n in (a.n_galaxies, a.true_yes, a.false_yes, a.false_no, a.true_no)),
                    *(f"{share:.3f}" for share in (a.accuracy, a.precision, a.recall)),
                )
                for name, a in found
            ),
        )

    def document(self) -> dict[str, Any]:
        """Return the figures as a JSON document."""
        return {
            "answer": self.answer,
            "rescaling": document_of(self.rescaling),
            "fitted": self.n_fitted,
            "test": self.n_test,
            "left_aside": dict(self.left_aside),
            "compared": {
                c.name: {"area": c.roc.area, "all": _plain(c.all), "confident": _plain(c.confident)}
                for c in self.compared
            },
        }

    def report(self) -> Files:
        """Return ``report.md``, ``figures.json`` and the plots ``roc`` and ``calibration`` by file name."""
        lines = [f"# {self.answer} beside experts", "", self._method(), ""]
        for found in self.tables():
            lines += [f"**{found.title}**", "", found.markdown(), ""]
        lines += ["![ROC](roc.svg) ![calibration](calibration.svg)", ""]
        return {
            **_plot_roc(self.compared),
            **_plot_calibration(self.compared),
            "figures.json": json.dumps(self.document(), indent=1, allow_nan=False).encode() + b"\n",
            "report.md": "\n".join(lines).encode(),
        }

    def _method(self) -> str:
        aside = "; ".join(f"{n:,} {why}" for why, n in self.left_aside.items() if n)
        return (
            f"Fitted on {self.n_fitted:,} galaxies, judged on {self.n_test:,} others, chosen by hash of their ids"
            f"{f' (left aside: {aside})' if aside else ''}. Probability that an expert says yes: "
            f"1 / (1 + exp(-({self.rescaling.intercept:.3f} + {self.rescaling.slope:.3f} f))), "
            "f the share of volunteers (Walmsley et al. 2020, appendix A)."
        )


def compare_with_experts(
    votes: Path,
    experts: Path,
    *,
    tree: Tree,
    answer: str,
    label: str,
    predictions: Path | None = None,
    min_votes: int = MIN_VOTES,
    out: Path | None = None,
    progress: Progress | None = None,
) -> ExpertComparison:
    """Fit the rescaling from vote fractions to expert labels, and judge it on galaxies kept aside.

    Parameters
    ----------
    votes
        Catalogue with votes, in any layout that `train` reads; images are not read.
    experts
        Table with ids and the labels of experts: 1 and 0, true and false, or yes and no.
    answer
        Answer column of the tree whose fraction is compared.
    label
        Column of the labels.
    predictions
        What `predict` wrote of the same galaxies: rescaled by the same function, and judged beside the votes.
    out
        Folder for report, figures, plots and the probabilities of all galaxies with enough votes.

    Raises
    ------
    BadInput, BadVotes
        A file or a column is wrong, or too few galaxies are in both.
    NotFound
        The tree has no such answer.
    """
    place = tree.column(answer)
    shares, few = _fractions(votes, tree, place, min_votes, progress or process_progress())
    said, unlabelled = _labels(experts, label)
    names = sorted(shares.keys() & said.keys())
    predicted = None if predictions is None else _predicted(predictions, tree, place)
    both = [name for name in names if predicted is None or name in predicted]
    is_test = np.array([stable_fraction("expert", name) < TEST_SHARE for name in both], dtype=np.bool_)
    labels = np.array([said[name] for name in both], dtype=np.bool_)
    fractions = np.array([shares[name] for name in both], dtype=np.float64)
    if is_test.all() or not is_test.any():
        raise BadInput(f"{len(both)} galaxies have votes and a label: too few to fit and to judge a rescaling")
    rescaling = fit_rescaling(fractions[~is_test], labels[~is_test])
    sources = {"votes": fractions}
    if predicted is not None:
        sources["predictions"] = np.array([predicted[name] for name in both])
    found = ExpertComparison(
        answer=answer,
        rescaling=rescaling,
        n_fitted=int((~is_test).sum()),
        n_test=int(is_test.sum()),
        left_aside={
            f"with fewer than {min_votes} votes": few,
            "labelled without votes": len(said) - len(names),
            "without a label": unlabelled + len(shares) - len(names),
            "without a prediction": len(names) - len(both),
        },
        compared=tuple(
            _compared(f"{name}{ending}", values, labels[is_test])
            for name, plain in sources.items()
            for ending, values in (("", plain[is_test]), (", rescaled", rescaling(plain[is_test])))
        ),
    )
    if out is not None:
        _write(out, found, shares)
    return found


def _fractions(votes: Path, tree: Tree, place: int, min_votes: int, progress: Progress) -> tuple[dict[str, float], int]:
    """Return the fraction of an answer by galaxy, and how many galaxies have too few votes on its question."""
    source = open_catalogue(votes, tree, with_images=False)
    question, shares, few = int(tree.question_of_answer[place]), {}, 0
    progress.start("read votes", source.n_rows)
    for row in source.rows():
        progress.advance()
        if not isinstance(row, CatalogueRow) or row.fractions is None or np.isnan(row.fractions[place]):
            continue
        if _asked(tree, row, question) < min_votes:
            few += 1
        else:
            shares[row.galaxy_id] = float(row.fractions[place])
    progress.finish()
    return shares, few


def _asked(tree: Tree, row: CatalogueRow, question: int) -> float:
    """Return the votes on a question, infinite where the file has fractions without their votes."""
    if row.counts is not None:
        return float(totals(tree, row.counts)[question])
    return np.inf if row.cumulative is None else VOLUNTEERS * float(totals(tree, row.cumulative)[question])


def _labels(experts: Path, label: str) -> tuple[dict[str, bool], int]:
    rows = list(open_catalogue(experts, EXPERT, with_images=False, label=label).rows())
    wrong = next((row for row in rows if not isinstance(row, CatalogueRow)), None)
    if wrong is not None:
        raise BadInput(f"{experts.name}: row {wrong.row}: {wrong.field}: {wrong.reason}", row=wrong.row)
    known = [row for row in rows if isinstance(row, CatalogueRow)]
    said = {row.galaxy_id: bool(row.counts[0]) for row in known if row.counts is not None}
    return said, len(known) - len(said)


def _predicted(predictions: Path, tree: Tree, place: int) -> dict[str, float]:
    found = read_predictions(predictions, tree)
    return dict(zip(found.galaxy_ids, found.mean[:, place].astype(np.float64).tolist(), strict=True))


def _compared(name: str, probabilities: FloatArray, labels: BoolArray) -> Compared:
    sure = is_confident(probabilities)
    return Compared(
        name=name,
        probabilities=probabilities,
        labels=labels,
        roc=roc(probabilities, labels),
        all=agreement(probabilities, labels),
        confident=agreement(probabilities[sure], labels[sure]),
    )


def _plain(found: Agreement) -> dict[str, Any]:
    return {key: None if value != value else value for key, value in document_of(found).items()}  # noqa: PLR0124 - NaN


def _write(out: Path, found: ExpertComparison, shares: Mapping[str, float]) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(out, error) from error
    probabilities = found.rescaling(np.array(list(shares.values())))
    rows = [(name, f"{share:.6f}", f"{p:.6f}") for (name, share), p in zip(shares.items(), probabilities, strict=True)]
    text = "".join(csv_lines([("galaxy_id", "fraction", "probability"), *rows]))
    for name, content in {**found.report(), "probabilities.csv": text.encode()}.items():
        write_whole(out / name, content)


def _plot_roc(compared: tuple[Compared, ...]) -> Files:
    """Return ``roc.svg`` and ``.png``: rescaling keeps the order, so that plain and rescaled share a curve."""
    x, y = _unit_axes()
    marks = [*frame(y, "share of experts' yes's found"), *x_ticks(x, "share of experts' no's called yes")]
    shown = [c for c in compared if not c.name.endswith("rescaled")]
    for kind, c in zip(SERIES, shown, strict=False):
        marks += path(
            [(x.at(f), y.at(t)) for f, t in zip(c.roc.false_rate, c.roc.true_rate, strict=True)], f"line {kind}"
        )
    marks += legend([(kind, f"{c.name} ({c.roc.area:.3f})") for kind, c in zip(SERIES, shown, strict=False)])
    said = "Receiver operating characteristic of fractions for expert labels: " + ", ".join(
        f"{c.name} {c.roc.area:.3f}" for c in shown
    )
    return files("roc", Picture(title="ROC", said=said, marks=tuple(marks)))


def _plot_calibration(compared: tuple[Compared, ...]) -> Files:
    """Return ``calibration.svg`` and ``.png``: experts' share of yes by probability, in five bins as in the paper."""
    x, y = _unit_axes()
    marks = [*frame(y, "experts' share of yes"), *x_ticks(x, "probability of yes")]
    marks.append(line(x.start, y.start, x.end, y.end, "axis"))
    for kind, c in zip(SERIES, compared, strict=False):
        bins = reliability_curve(c.probabilities, c.labels.astype(np.float64), n_bins=5)
        marks += curve(x, y, [(b.predicted, b.observed) for b in bins], kind)
    marks += legend([(kind, c.name) for kind, c in zip(SERIES, compared, strict=False)])
    said = "Experts' share of yes for galaxies binned by probability; on the diagonal probabilities are calibrated."
    return files("calibration", Picture(title="Calibration", said=said, marks=tuple(marks)))


def _unit_axes() -> tuple[Axis, Axis]:
    return Axis(low=0, high=1, start=LEFT, end=WIDTH - RIGHT), vertical([0.0, 1.0])
