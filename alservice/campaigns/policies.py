"""Policies of a campaign that its stages share: gate, drift, counting and decoding."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Final, Literal, TypeAlias

import numpy as np

from alservice.errors import BadConfig, BadInput
from alservice.science.evaluation import TOLERANCES


class Arm(StrEnum):
    """Which part of a batch drew a galaxy. Tables, pages, plots and checks take their arms from here."""

    INFORMATIVE = "informative"  # the galaxies whose votes are expected to teach most
    RANDOM = "random"
    EVALUATION = "evaluation"  # members of the evaluation stream
    EASY = "easy"
    REQUESTED = "requested"  # a person asked for it


@dataclass(frozen=True, kw_only=True, slots=True)
class CountingPolicy:
    """Which classifications count, beyond the rules that hold for everyone.

    Parameters
    ----------
    min_seconds
        A sitting shorter than this by the volunteer's own clock is too fast; 0 lets all pass.
    launched_at
        Classifications before this (ISO time with a zone) were tests; None lets all pass.
    after_retirement
        Whether votes on a subject that was retired already count.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    min_seconds: float = 0.0
    launched_at: str | None = None
    after_retirement: Literal["counted", "excluded"] = "counted"

    def __post_init__(self) -> None:
        if not 0 <= self.min_seconds < float("inf"):
            raise BadConfig(f"counting.min_seconds must be finite and not negative, not {self.min_seconds}")
        launched = time_of(self.launched_at)
        if self.launched_at is not None and (launched is None or launched.tzinfo is None):
            raise BadConfig(f"counting.launched_at {self.launched_at!r} is not a time with a zone")

    def is_too_fast(self, started_at: str | None, finished_at: str | None) -> bool:
        """Tell whether a sitting was too short; clocks that cannot be read or run backwards prove nothing."""
        if not self.min_seconds:
            return False
        start, end = time_of(started_at), time_of(finished_at)
        if start is None or end is None or (start.tzinfo is None) != (end.tzinfo is None):
            return False
        return 0 <= (end - start).total_seconds() < self.min_seconds

    def is_before_launch(self, created_at: datetime) -> bool:
        """Tell whether the survey had not begun; to the second, which is what exports give."""
        launched = None if self.launched_at is None else time_of(self.launched_at)
        return launched is not None and created_at.replace(microsecond=0) < launched.replace(microsecond=0)


def time_of(text: str | None) -> datetime | None:
    """Return an ISO time, with its zone if it has one; None for what is no time."""
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None


IGNORE: Final = "ignored"
"""In a rule, instead of an answer column: the answer is known and is no vote."""

_VERSION = re.compile(r"([0-9]{1,9})\.([0-9]{1,9})")
_RANGE = re.compile(r"(?P<first>[0-9.]*)\.\.(?P<last>[0-9.]*)")


def version_key(version: str) -> tuple[int, int] | None:
    """Return major and minor number of a version, by which versions are ordered; None for what is no version.

    28.30 is the thirtieth minor version of 28, and not 28.3.
    """
    found = _VERSION.fullmatch(version)
    return None if found is None else (int(found[1]), int(found[2]))


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelRule:
    """What labels of one task mean in a range of workflow versions.

    Parameters
    ----------
    task
        Panoptes task key, such as ``T8``.
    versions
        ``28.30..46.77``, both included; an end left out is open.
    labels
        What volunteers read to the answer column (``question_answer``) it stands for, or to ``ignored``.
    ignored
        The whole task is no question of the tree.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    task: str
    versions: str = ".."
    labels: Mapping[str, str] = field(default_factory=dict)
    ignored: bool = False

    def __post_init__(self) -> None:
        if self.ignored == bool(self.labels):
            raise BadConfig(f"decoding of task {self.task}: give either labels or `ignored: true`")
        ends = _RANGE.fullmatch(self.versions)
        if ends is None or any(end and version_key(end) is None for end in ends.groups()):
            raise BadConfig(f"decoding of task {self.task}: versions {self.versions!r} is not like '28.30..46.77'")

    def covers(self, version: str) -> bool:
        """Tell whether the rule is about a version."""
        key = version_key(version)
        first, _, last = self.versions.partition("..")
        after = not first or (key is not None and key >= _known(first))
        before = not last or (key is not None and key <= _known(last))
        return after and before


def _known(version: str) -> tuple[int, int]:
    key = version_key(version)
    if key is None:
        raise BadConfig(f"{version!r} is not a workflow version")
    return key


@dataclass(frozen=True, kw_only=True, slots=True)
class DriftPolicy:
    """When a change is an alarm.

    Parameters
    ----------
    reference_cycles
        First cycles of the campaign that later ones are compared with, pooled.
    max_ks
        Kolmogorov-Smirnov distance, 0 to 1.
    max_rate_factor
        Factor between votes per hour now and then.
    max_abstention_change
        Difference of two shares.
    max_label_shift
        Total variation distance, 0 to 1.
    max_disagreement
        Share of labels of model and votes that differ from those of votes alone, beyond the share that is expected.
    confident
        Predicted fraction of the first question's leading answer from which on a model is confident.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    reference_cycles: int = 3
    max_ks: float = 0.25
    max_rate_factor: float = 3.0
    max_abstention_change: float = 0.2
    max_label_shift: float = 0.2
    max_disagreement: float = 0.1
    confident: float = 0.8

    def __post_init__(self) -> None:
        """Refuse thresholds that nothing or everything passes."""
        if self.reference_cycles < 1:
            raise BadConfig("drift.reference_cycles must be at least 1")
        for name in ("max_ks", "max_abstention_change", "max_label_shift", "max_disagreement", "confident"):
            if not 0 < getattr(self, name) < 1:
                raise BadConfig(f"drift.{name} must lie in (0, 1), not {getattr(self, name)}")
        if not 1 < self.max_rate_factor < math.inf:
            raise BadConfig(f"drift.max_rate_factor must be above 1, not {self.max_rate_factor}")


@dataclass(frozen=True, kw_only=True, slots=True)
class GatePolicy:
    """How much worse a candidate may be, and how much evidence it takes.

    Parameters
    ----------
    margin_nats_per_vote
        Non-inferiority margin of the NLL per vote. The default is about 1 % of a usual value (0.16), and more
        than four standard errors of the difference between two equal networks on 1,500 galaxies.
    max_rmse_increase
        Guard rail of each question's RMSE of the vote fractions.
    max_coverage_increase
        Guard rail of each question's absolute coverage error, a ratio.
    coverage_tolerance
        Vote-fraction error at which the coverage error is taken.
    min_galaxies
        Fewest evaluation galaxies with votes; below, the gate holds.
    min_question_galaxies
        Fewest galaxies with enough votes on a question; below, its guard rails are skipped, and recorded as
        such.
    repeats
        Bootstrap samples.
    confidence
        Share of them inside an interval. At 0.95 a candidate worse by just the margin was promoted in 3.7 % of
        simulated runs on 1,500 galaxies.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    margin_nats_per_vote: float = 0.002
    max_rmse_increase: float = 0.02
    max_coverage_increase: float = 0.2
    coverage_tolerance: float = 0.10
    min_galaxies: int = 100
    min_question_galaxies: int = 100
    repeats: int = 2000
    confidence: float = 0.95

    def __post_init__(self) -> None:
        """Refuse margins and sizes that no test can use."""
        for name in ("margin_nats_per_vote", "max_rmse_increase", "max_coverage_increase"):
            if not 0 < getattr(self, name) < np.inf:
                raise BadConfig(f"gate.{name} must be positive, not {getattr(self, name)}")
        for name in ("min_galaxies", "min_question_galaxies"):
            if getattr(self, name) < 1:
                raise BadConfig(f"gate.{name} must be at least 1, not {getattr(self, name)}")
        if self.coverage_tolerance not in TOLERANCES:
            raise BadConfig(f"gate.coverage_tolerance must be one of {TOLERANCES}, not {self.coverage_tolerance}")
        if self.repeats < 100:
            raise BadConfig(f"gate.repeats must be at least 100, not {self.repeats}")
        if not 0.5 <= self.confidence < 1:
            raise BadConfig(f"gate.confidence must lie in [0.5, 1), not {self.confidence}")


PolicyName: TypeAlias = Literal[
    "bald", "epig", "power_bald", "softmax_bald", "batch_bald", "batch_epig", "random", "entropy", "threshold"
]
REDUCER_KEY: Final = re.compile(
    r"(?P<webhook>[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?)_(?P<task>init|t[0-9]{1,4})", re.IGNORECASE
)
WEBHOOK_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9_-]{0,98}[a-z0-9])?")


def check_webhook_key(key: str) -> str:
    """Return the key if it can stand in an address and ends in no task, else raise `BadInput`."""
    if not WEBHOOK_NAME.fullmatch(key) or REDUCER_KEY.fullmatch(key):
        raise BadInput(f"{key[:40]!r} cannot name a webhook: use a-z, 0-9, - and _, not ending in a task such as _t0")
    return key
