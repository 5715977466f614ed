"""What a survey decides once: tree, budgets and policies of one campaign.

The classes are plain frozen records; the edge validates documents into them (`alservice.campaigns`). Ranges are
checked here, so that a record that exists is a legal one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from alservice.core.classifications import CountingPolicy
from alservice.core.decoding import LabelRule
from alservice.core.drift import DriftPolicy
from alservice.core.gate import GatePolicy
from alservice.core.ids import digest_of_document
from alservice.errors import BadConfig

_STRICT: dict[str, Any] = {"extra": "forbid"}


def _require(ok: bool, message: str) -> None:
    if not ok:
        raise BadConfig(message)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImagePolicy:
    """How images become network input.

    Parameters
    ----------
    size_px
        Side of the square the network sees (px).
    channels
        1 for grey, so that colour cannot leak into morphology; 3 for colour.
    shard_galaxies
        Galaxies per packed shard, the unit of prediction.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT
    size_px: int = 64
    channels: Literal[1, 3] = 1
    shard_galaxies: int = 512

    def __post_init__(self) -> None:
        _require(16 <= self.size_px <= 1024, f"images.size_px must be 16 to 1024 px, not {self.size_px}")
        _require(self.shard_galaxies >= 1, "images.shard_galaxies must be at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationPolicy:
    """The frozen random stream that judges every model.

    Parameters
    ----------
    fraction
        Share of the unbiased part of the catalogue that is held out for good.
    question
        Answer column whose coverage error is tabled, as in the paper.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT
    fraction: float = 0.2
    answer: str = "smooth-or-featured_smooth"

    def __post_init__(self) -> None:
        _require(0 < self.fraction < 1, f"evaluation.fraction must lie in (0, 1), not {self.fraction}")


@dataclass(frozen=True, kw_only=True, slots=True)
class AcquisitionPolicy:
    """How a cycle's votes are spent.

    Parameters
    ----------
    initial_galaxies, initial_evaluation_galaxies
        Galaxies drawn at random in cycle 0 to train on, and from the evaluation stream.
    batch_galaxies
        Galaxies per later cycle, both arms together.
    random_share
        Share of the batch drawn uniformly at random; it keeps the evaluation unbiased.
    votes_per_galaxy
        Volunteers asked per galaxy.
    policy, beta
        Stochastic batch rule, and its sharpness (dimensionless).
    question_weights
        Science weight per question; 1 where not named.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT
    initial_galaxies: int = 256
    initial_evaluation_galaxies: int = 256
    batch_galaxies: int = 128
    random_share: float = 0.15
    votes_per_galaxy: int = 40
    policy: Literal["top", "power", "softmax", "random"] = "power"
    beta: float = 1.0
    question_weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require(self.initial_galaxies >= 1, "acquisition.initial_galaxies must be at least 1")
        _require(self.initial_evaluation_galaxies >= 0, "acquisition.initial_evaluation_galaxies is negative")
        _require(self.batch_galaxies >= 1, "acquisition.batch_galaxies must be at least 1")
        _require(0 <= self.random_share <= 1, f"acquisition.random_share must lie in [0, 1], not {self.random_share}")
        _require(1 <= self.votes_per_galaxy <= 1000, "acquisition.votes_per_galaxy must be 1 to 1000")
        _require(self.beta > 0, "acquisition.beta must be positive")
        bad = sorted(q for q, w in self.question_weights.items() if not 0 <= w < float("inf"))
        _require(not bad, f"acquisition.question_weights of {', '.join(bad)} must be finite and not negative")


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictionPolicy:
    """How the posterior is sampled: draws per galaxy."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT
    draws: int = 30

    def __post_init__(self) -> None:
        _require(2 <= self.draws <= 1000, f"prediction.draws must be 2 to 1000, not {self.draws}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingPolicy:
    """How a candidate is trained.

    Parameters
    ----------
    network
        Name in the registry of `alservice.model.networks`.
    steps, batch_galaxies
        Gradient steps, and galaxies in each.
    min_new_votes
        Data-sufficiency rule: with fewer new counted votes the cycle keeps the champion untrained.
    threads
        CPU threads; fixed, because the bits of a result depend on it.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT
    network: str = "compact"
    steps: int = 600
    batch_galaxies: int = 64
    min_new_votes: int = 100
    threads: int = 2
    warm_start: bool = False

    def __post_init__(self) -> None:
        _require(self.steps >= 1, "training.steps must be at least 1")
        _require(self.batch_galaxies >= 2, "training.batch_galaxies must be at least 2")
        _require(self.min_new_votes >= 0, "training.min_new_votes is negative")
        _require(1 <= self.threads <= 256, "training.threads must be 1 to 256")


@dataclass(frozen=True, kw_only=True, slots=True)
class CollectingPolicy:
    """When collecting ends: by votes received or by deadline, whichever comes first."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT
    deadline_hours: float = 144.0
    votes_share: float = 1.0

    def __post_init__(self) -> None:
        _require(self.deadline_hours > 0, "collecting.deadline_hours must be positive")
        _require(0 < self.votes_share <= 1, "collecting.votes_share must lie in (0, 1]")


@dataclass(frozen=True, kw_only=True, slots=True)
class ZooniverseTarget:
    """Where volunteers are asked.

    Parameters
    ----------
    endpoint
        ``standin`` for the local stand-in of a rehearsal, else a URL without a trailing slash.
    subject_set
        Display name of the set that cycles link their subjects to.
    mode
        ``upload`` creates a subject per galaxy; ``move`` links subjects that are there already.
    retirement
        ``panoptes``: the workflow's own rule, one count for all. ``own``: each subject when its counted classifications
        reach its votes asked for; the workflow's rule must then be ``never_retire``.
    pool_subject_set, pool_id_field
        With ``move``: display name of the set that holds those subjects, and the metadata field with their survey id.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT
    endpoint: str = "standin"
    project_id: int = 1
    workflow_id: int = 10
    subject_set: str = "alservice active"
    mode: Literal["upload", "move"] = "upload"
    retirement: Literal["panoptes", "own"] = "panoptes"
    pool_subject_set: str | None = None
    pool_id_field: str = "#survey_id"

    def __post_init__(self) -> None:
        ok = self.endpoint == "standin" or self.endpoint.startswith(("http://", "https://"))
        _require(ok, f"zooniverse.endpoint must be 'standin' or a URL, not {self.endpoint!r}")
        _require(not self.endpoint.endswith("/"), "zooniverse.endpoint must not end with a slash")
        _require(self.project_id > 0 and self.workflow_id > 0, "zooniverse ids must be positive")
        has_pool = bool(self.pool_subject_set)
        _require(
            has_pool == (self.mode == "move"), "zooniverse.pool_subject_set goes with mode 'move', and only with it"
        )
        _require(self.pool_subject_set != self.subject_set, "zooniverse.pool_subject_set must not be the subject_set")

    @property
    def is_standin(self) -> bool:
        """Whether this is a rehearsal on the local stand-in."""
        return self.endpoint == "standin"


@dataclass(frozen=True, kw_only=True, slots=True)
class Campaign:
    """One survey on one Zooniverse workflow: its question tree, budgets and policies.

    Parameters
    ----------
    name
        Lower-case letters, digits and hyphens.
    tree
        Name of a packaged question tree.
    seed
        Root of every random draw of the campaign.
    hold_hours
        How long a held gate waits for a person; after that the champion is kept.
    decoding
        What labels of the workflow's versions mean where they are not the tree's own.
    counting
        Which classifications count.
    shadow
        Whether each candidate predicts the whole catalogue beside the champion before the gate, to compare what the
        two would ask about.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT
    name: str
    tree: str
    seed: int = 0
    hold_hours: float = 48.0
    images: ImagePolicy = field(default_factory=ImagePolicy)
    evaluation: EvaluationPolicy = field(default_factory=EvaluationPolicy)
    acquisition: AcquisitionPolicy = field(default_factory=AcquisitionPolicy)
    prediction: PredictionPolicy = field(default_factory=PredictionPolicy)
    training: TrainingPolicy = field(default_factory=TrainingPolicy)
    collecting: CollectingPolicy = field(default_factory=CollectingPolicy)
    decoding: tuple[LabelRule, ...] = ()
    counting: CountingPolicy = field(default_factory=CountingPolicy)
    gate: GatePolicy = field(default_factory=GatePolicy)
    drift: DriftPolicy = field(default_factory=DriftPolicy)
    shadow: bool = False
    zooniverse: ZooniverseTarget = field(default_factory=ZooniverseTarget)

    def __post_init__(self) -> None:
        ok = bool(self.name) and all(c.isascii() and (c.isalnum() or c == "-") for c in self.name)
        _require(ok and self.name == self.name.lower(), f"name {self.name!r}: use a-z, 0-9 and hyphens")
        _require(self.hold_hours >= 0, "hold_hours is negative")

    def document(self) -> dict[str, Any]:
        """Return the record as a JSON document."""
        return dataclasses.asdict(self)

    @property
    def digest(self) -> str:
        """Digest of every decision; a cycle records the one it ran under."""
        return digest_of_document(_as_floats(self.document()))


def _as_floats(document: Any) -> Any:
    """Return the document with every number as a float: 1 and 1.0 are one decision."""
    if isinstance(document, dict):
        return {name: _as_floats(value) for name, value in document.items()}
    is_number = isinstance(document, int) and not isinstance(document, bool)
    return float(document) if is_number else document
