"""Whether a cycle's data still look like those of the campaign's first cycles: few figures, each with a threshold.

``ks ...``
    Two-sample Kolmogorov-Smirnov distance of a sample: image properties, and the expected information of a fixed
    random part of the catalogue. Above its threshold it is an alarm only if chance alone gives it in less than
    1 of 1,000 cases: D > 1.95 sqrt((n + m) / (n m)).
``vote-rate``
    New counted votes per hour of collecting, over the reference's mean: an alarm beyond a factor, either way.
``abstention``
    Share of that part of the catalogue on whose first question the model is not confident; its change.
``labels ...``
    Total variation distance of a question's answers, among new votes on evaluation members.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import numpy as np

from alservice.errors import BadConfig
from alservice.shapes import FloatArray

KS_CHANCE: Final = 1.95
"""sqrt(-ln(0.001 / 2) / 2): what chance alone exceeds in 1 of 1,000 cases, in units of sqrt((n + m) / (n m))."""

VOTE_RATE: Final = "vote-rate"

MIN_VOTES: Final = 200
"""New votes on a question below which its answers are not compared: some five galaxies' worth."""


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
    confident
        Predicted fraction of the first question's leading answer from which on a model is confident.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    reference_cycles: int = 3
    max_ks: float = 0.25
    max_rate_factor: float = 3.0
    max_abstention_change: float = 0.2
    max_label_shift: float = 0.2
    confident: float = 0.8

    def __post_init__(self) -> None:
        """Refuse thresholds that nothing or everything passes."""
        if self.reference_cycles < 1:
            raise BadConfig("drift.reference_cycles must be at least 1")
        for name in ("max_ks", "max_abstention_change", "max_label_shift", "confident"):
            if not 0 < getattr(self, name) < 1:
                raise BadConfig(f"drift.{name} must lie in (0, 1), not {getattr(self, name)}")
        if not 1 < self.max_rate_factor < math.inf:
            raise BadConfig(f"drift.max_rate_factor must be above 1, not {self.max_rate_factor}")


@dataclass(frozen=True, kw_only=True, slots=True)
class DriftSample:
    """What one cycle's data look like.

    Parameters
    ----------
    samples
        Values by name, of a random part of the catalogue.
    votes_per_hour
        New counted votes per hour of collecting; None where no time passed.
    abstention
        Share of galaxies that the model is not confident about.
    labels
        New votes per answer, by question, on evaluation members.
    """

    samples: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    votes_per_hour: float | None = None
    abstention: float | None = None
    labels: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return the record as a JSON document."""
        return dataclasses.asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> DriftSample:
        """Return the record that `document` was made from."""
        return cls(
            samples={name: tuple(values) for name, values in document["samples"].items()},
            votes_per_hour=document["votes_per_hour"],
            abstention=document["abstention"],
            labels={name: tuple(votes) for name, votes in document["labels"].items()},
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class DriftFigure:
    """One comparison with the first cycles.

    Parameters
    ----------
    value, threshold
        In the units that the module's head gives for `name`.
    alarm
        Whether the value is beyond its threshold, and beyond chance.
    """

    name: str
    value: float
    threshold: float
    alarm: bool

    @property
    def reach(self) -> float:
        """How far the value is on its way to the threshold, 1 at it; factors are compared by their logarithms."""
        if self.name != VOTE_RATE:
            return abs(self.value) / self.threshold
        return abs(math.log(self.value)) / math.log(self.threshold) if self.value > 0 else math.inf


@dataclass(frozen=True, kw_only=True, slots=True)
class CycleDrift:
    """One cycle's comparison with the first, which themselves have no figures."""

    cycle: int
    figures: tuple[DriftFigure, ...]


def ks_distance(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the largest difference between two samples' cumulative distributions, 0 to 1."""
    a, b = np.sort(np.asarray(first)), np.sort(np.asarray(second))
    at = np.concatenate([a, b])
    below_a = np.searchsorted(a, at, side="right") / len(a)
    below_b = np.searchsorted(b, at, side="right") / len(b)
    return float(np.abs(below_a - below_b).max())


def total_variation(first: FloatArray, second: FloatArray) -> float:
    """Return half the summed difference of two sets of counts as shares, 0 to 1."""
    return float(np.abs(first / first.sum() - second / second.sum()).sum() / 2)


def compare_with_first(policy: DriftPolicy, now: DriftSample, first: Sequence[DriftSample]) -> tuple[DriftFigure, ...]:
    """Return every figure that both sides have data for; none without reference cycles."""
    found = (*_samples(policy, now, first), *_rates(policy, now, first), *_labels(policy, now, first))
    return tuple(found)


def _samples(policy: DriftPolicy, now: DriftSample, first: Sequence[DriftSample]) -> Iterator[DriftFigure]:
    for name, values in now.samples.items():
        then = [value for sample in first for value in sample.samples.get(name, ())]
        if values and then:
            distance = ks_distance(values, then)
            chance = KS_CHANCE * math.sqrt((len(values) + len(then)) / (len(values) * len(then)))
            threshold = max(policy.max_ks, chance)
            yield DriftFigure(name=f"ks {name}", value=distance, threshold=threshold, alarm=distance > threshold)


def _rates(policy: DriftPolicy, now: DriftSample, first: Sequence[DriftSample]) -> Iterator[DriftFigure]:
    rates = [s.votes_per_hour for s in first if s.votes_per_hour is not None]
    if now.votes_per_hour is not None and rates and sum(rates) > 0:
        factor = now.votes_per_hour / (sum(rates) / len(rates))
        limit = policy.max_rate_factor
        yield DriftFigure(name=VOTE_RATE, value=factor, threshold=limit, alarm=not 1 / limit <= factor <= limit)
    shares = [s.abstention for s in first if s.abstention is not None]
    if now.abstention is not None and shares:
        change = now.abstention - sum(shares) / len(shares)
        limit = policy.max_abstention_change
        yield DriftFigure(name="abstention", value=change, threshold=limit, alarm=abs(change) > limit)


def _labels(policy: DriftPolicy, now: DriftSample, first: Sequence[DriftSample]) -> Iterator[DriftFigure]:
    for question, votes in now.labels.items():
        current = np.array(votes, dtype=np.float64)
        then = np.sum([np.array(s.labels[question]) for s in first if question in s.labels], axis=0)
        if current.sum() >= MIN_VOTES and then.sum() >= MIN_VOTES:
            distance = total_variation(current, then)
            limit = policy.max_label_shift
            yield DriftFigure(name=f"labels {question}", value=distance, threshold=limit, alarm=distance > limit)
