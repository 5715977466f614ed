"""What a report shows, gathered: the table, the curves, the gate's checks and the galleries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from alservice.cycle.table import CycleTable
from alservice.learning.gate import GateDecision


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerBar:
    """Posterior of one answer's vote fraction: mean, 5 % and 95 % quantile, and the volunteers' fraction if known."""

    answer: str
    mean: float
    low: float
    high: float
    observed: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class GalleryItem:
    """One galaxy of a gallery.

    Parameters
    ----------
    image, media_type
        Original bytes as volunteers see them.
    information_nats
        Expected information of its votes about the weights.
    questions
        Question to its answers' posteriors; questions unlikely to be asked are left out.
    """

    galaxy_id: str
    image: bytes
    media_type: str
    information_nats: float
    questions: Mapping[str, Sequence[AnswerBar]]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportData:
    """Everything the report of one campaign shows.

    Parameters
    ----------
    n_draws
        Posterior draws behind each score.
    facts
        Name to value, as text: catalogue, seeds, code revision, counts by verdict.
    scores_by_cycle
        Cycle to the information (nats) of each arm's galaxies, of those arms that have scores.
    smooth_by_cycle
        Cycle to the volunteers' fraction for the campaign's chosen answer in each arm.
    history_by_cycle
        Cycle to the training curve: step to loss on the training and the hold-out galaxies (nats per galaxy).
    coverage
        Tolerance to (expected, observed) share of votes within it, for the last model.
    """

    campaign: str
    generated_at: datetime
    n_draws: int
    table: CycleTable
    facts: Mapping[str, str]
    decisions: Mapping[int, GateDecision]
    scores_by_cycle: Mapping[int, Mapping[str, Sequence[float]]]
    smooth_by_cycle: Mapping[int, Mapping[str, Sequence[float]]]
    history_by_cycle: Mapping[int, Sequence[Mapping[str, float]]]
    coverage: Mapping[float, float]
    answer: str
    most: Sequence[GalleryItem]
    least: Sequence[GalleryItem]
