"""Classification figures on the galaxies that volunteers are sure of, as the papers table them.

A galaxy's class at a question is the answer with the largest fraction, the volunteers' or the predicted one. The
volunteers are confident where that fraction of theirs exceeds a threshold. Precision, recall and F1 are means over the
volunteers' classes weighted by their galaxies, so recall equals accuracy. Walmsley et al. 2022 (MNRAS 509, 3966) and
the DESI table, both with a threshold of 0.8.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alservice.science.bootstrap import Estimate, bootstrap_sums, percentile_estimate
from alservice.shapes import FloatArray

THRESHOLD = 0.8
"""Volunteers' fraction of one answer above which they count as confident."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfidentFigures:
    """One question on its confident galaxies, with bootstrap intervals over them."""

    n_galaxies: int
    accuracy: Estimate
    precision: Estimate
    recall: Estimate
    f1: Estimate


def confident_figures(
    predicted: FloatArray,
    observed: FloatArray,
    *,
    rng: np.random.Generator,
    threshold: float = THRESHOLD,
    repeats: int = 1000,
    confidence: float = 0.95,
) -> ConfidentFigures | None:
    """Return accuracy, precision, recall and F1 of one question; None without a confident galaxy.

    Parameters
    ----------
    predicted, observed
        (B, A) fractions of the question's A answers; of galaxies with enough votes.
    """
    sure = observed.max(axis=1, initial=0) > threshold
    n_answers = observed.shape[1]
    if not sure.any():
        return None
    cells = observed[sure].argmax(axis=1) * n_answers + predicted[sure].argmax(axis=1)
    # One column per cell of the confusion matrix: every figure is a function of its sums.
    terms = np.eye(n_answers**2)[cells]
    figures = _figures(terms.sum(axis=0), n_answers)
    samples = _figures(bootstrap_sums(terms, repeats=repeats, rng=rng), n_answers)
    accuracy, precision, recall, f1 = (
        percentile_estimate(float(value), drawn, confidence) for value, drawn in zip(figures, samples, strict=True)
    )
    return ConfidentFigures(n_galaxies=int(sure.sum()), accuracy=accuracy, precision=precision, recall=recall, f1=f1)


def _figures(cells: FloatArray, n_answers: int) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return accuracy, precision, recall, F1 of confusion matrices (..., A * A), rows the volunteers' classes."""
    matrix = cells.reshape(*cells.shape[:-1], n_answers, n_answers)
    right = np.diagonal(matrix, axis1=-2, axis2=-1)
    support, claimed = matrix.sum(axis=-1), matrix.sum(axis=-2)
    weight = support / support.sum(axis=-1, keepdims=True)
    # A class nobody claimed has no right claims either: its precision counts as 0, as is usual.
    precision = right / np.maximum(claimed, 1)
    recall = right / np.maximum(support, 1)
    f1 = 2 * right / np.maximum(support + claimed, 1)
    accuracy = right.sum(axis=-1) / support.sum(axis=-1)
    return accuracy, (weight * precision).sum(-1), (weight * recall).sum(-1), (weight * f1).sum(-1)
