"""What the ops pages show of a campaign beside its cycles: pauses, figures of ingest, candidates and arms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from alservice.acquisition.batch_records import Arm
from alservice.campaigns.cycle import Cycle
from alservice.campaigns.records import Model
from alservice.shapes import IntArray
from alservice.states import SubjectState


@dataclass(frozen=True, kw_only=True, slots=True)
class Pause:
    """Why nothing of a campaign starts or advances: who stopped it, and when (UTC)."""

    reason: str
    actor: str
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where classifications come from.

    Parameters
    ----------
    last_id
        Largest classification id read from it.
    updated_at
        When its cursor moved last (UTC): how far behind it may be.
    day, week
        Classifications that arrived from it in the last 24 hours and 7 days.
    """

    name: str
    last_id: int | None
    updated_at: datetime | None
    day: int
    week: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CampaignFigures:
    """Where a campaign stands, at a price that does not grow with it.

    Parameters
    ----------
    cycle
        The newest, None before the first.
    subjects
        Rows of the upload ledger by state, zeros included.
    arrived, day
        Classifications that ever arrived, and in the last 24 hours.
    waiting
        Rows in quarantine.
    cursors
        Source to when its cursor moved last (UTC): how far behind it may be.
    """

    cycle: Cycle | None
    champion: Model | None
    pause: Pause | None
    subjects: Mapping[SubjectState, int]
    arrived: int
    day: int
    waiting: int
    cursors: Mapping[str, datetime]


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestFigures:
    """Classifications coming in.

    Parameters
    ----------
    hours
        Hour (UTC) to classifications that arrived in it, the last days, without gaps.
    waiting
        Rows in quarantine, by reason.
    recent, recent_rows
        Verdicts of the newest rows, and how many those are.
    """

    hours: Mapping[datetime, int]
    sources: Sequence[Source]
    waiting: Mapping[str, int]
    recent: Mapping[str, int]
    recent_rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CandidateFigures:
    """NLL per vote (nats) of one cycle's candidate and champion on the same votes, with 95 % intervals."""

    cycle: int
    n_votes: int
    value: float
    low: float
    high: float
    champion: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmFigures:
    """What volunteers said of one arm's galaxies in one cycle.

    Parameters
    ----------
    galaxies, votes
        Galaxies with counted votes among the first of the arm by rank, and their votes on the first question.
    split_nats
        Mean entropy of a galaxy's votes on the first question (nats): how much its volunteers disagreed.
    low, high
        Its 95 % interval by the normal approximation.
    """

    cycle: int
    arm: Arm
    galaxies: int
    votes: int
    split_nats: float
    low: float
    high: float


def arm_figures(rows: Sequence[Mapping[str, Any]]) -> list[ArmFigures]:
    """Return how volunteers split, by cycle and arm; galaxies without votes on the question are left out.

    Parameters
    ----------
    rows
        One per galaxy: ``cycle``, ``arm`` and ``votes``, its counts on the answers of one question.
    """
    groups: dict[tuple[int, Arm], list[IntArray]] = {}
    for row in rows:
        counts = np.array(row["votes"] or [], dtype=np.int64)
        if counts.sum():
            groups.setdefault((row["cycle"], row["arm"]), []).append(counts)
    return [_arm(cycle, arm, counts) for (cycle, arm), counts in sorted(groups.items())]


def _arm(cycle: int, arm: Arm, galaxies: Sequence[IntArray]) -> ArmFigures:
    splits = np.array([_entropy(counts) for counts in galaxies])
    mean = float(splits.mean())
    half = 1.96 * float(splits.std(ddof=1)) / math.sqrt(len(splits)) if len(splits) > 1 else 0.0
    return ArmFigures(
        cycle=cycle,
        arm=arm,
        galaxies=len(splits),
        votes=int(sum(counts.sum() for counts in galaxies)),
        split_nats=mean,
        low=mean - half,
        high=mean + half,
    )


def _entropy(counts: IntArray) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
