"""What a survey decides once: tree, budgets and policies of one campaign.

The classes are plain frozen records; the edge validates documents into them (`alservice.campaigns.campaigns`). Ranges are
checked here, so that a record that exists is a legal one.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from alservice.campaigns.acquisition_policy import AcquisitionPolicy
from alservice.campaigns.ingest_policy import IngestPolicy
from alservice.campaigns.zooniverse_target import Tier, ZooniverseTarget
from alservice.checks import MAX_HOURS, STRICT, require, require_recordable
from alservice.ids import CAMPAIGN_NAME, digest_of_document
from alservice.learning.drift import DriftPolicy
from alservice.learning.gate import GatePolicy
from alservice.votes.classification import CountingPolicy
from alservice.votes.decoding import LabelRule


@dataclass(frozen=True, kw_only=True, slots=True)
class ImagePolicy:
    """How images become network input.

    Parameters
    ----------
    size_px
        Side of the square the network sees (px).
    field
        Fraction of that side that the network looks at, centred: less sky, and less work.
    channels
        1 for grey, so that colour cannot leak into morphology; 3 for colour.
    shard_galaxies
        Galaxies per packed shard, the unit of prediction.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    size_px: int = 64
    field: float = 1.0
    channels: Literal[1, 3] = 1
    shard_galaxies: int = 512

    def __post_init__(self) -> None:
        require(16 <= self.size_px <= 1024, f"images.size_px must be 16 to 1024 px, not {self.size_px}")
        require(0 < self.field <= 1, f"images.field must lie in (0, 1], not {self.field}")
        require(self.shard_galaxies >= 1, "images.shard_galaxies must be at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationPolicy:
    """The frozen random stream that judges every model.

    Parameters
    ----------
    fraction
        Share of the unbiased part of the catalogue that is held out for good.
    answer
        Answer column whose coverage error is tabled, as in the paper.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    fraction: float = 0.2
    answer: str = "smooth-or-featured_smooth"

    def __post_init__(self) -> None:
        require(0 < self.fraction < 1, f"evaluation.fraction must lie in (0, 1), not {self.fraction}")


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictionPolicy:
    """How the posterior is sampled.

    Parameters
    ----------
    draws
        Per galaxy.
    precision
        Of the products in a trunk; ``auto`` is the faster one on each machine. Where machines of several kinds share a
        catalogue, name one: draws of the two differ by more than rounding.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    draws: int = 30
    precision: Literal["auto", "float32", "bfloat16"] = "auto"

    def __post_init__(self) -> None:
        require(2 <= self.draws <= 1000, f"prediction.draws must be 2 to 1000, not {self.draws}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingPolicy:
    """How a candidate is trained.

    Parameters
    ----------
    network
        Name in the registry of `alservice.network.architectures`.
    steps, batch_galaxies
        Gradient steps, and galaxies in each.
    min_new_votes
        Data-sufficiency rule: with fewer new counted votes the cycle keeps the champion untrained.
    threads
        CPU threads; fixed, because the bits of a result depend on it.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    network: str = "compact"
    steps: int = 600
    batch_galaxies: int = 64
    min_new_votes: int = 100
    threads: int = 2
    warm_start: bool = False

    def __post_init__(self) -> None:
        require(self.steps >= 1, "training.steps must be at least 1")
        require(self.batch_galaxies >= 2, "training.batch_galaxies must be at least 2")
        require(self.min_new_votes >= 0, "training.min_new_votes is negative")
        require(1 <= self.threads <= 256, "training.threads must be 1 to 256")


@dataclass(frozen=True, kw_only=True, slots=True)
class CollectingPolicy:
    """When collecting ends: by votes received or by deadline, whichever comes first."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    deadline_hours: float = 144.0
    votes_share: float = 1.0

    def __post_init__(self) -> None:
        require(
            0 < self.deadline_hours <= MAX_HOURS,
            f"collecting.deadline_hours must be positive, at most {MAX_HOURS:.0f}, not {self.deadline_hours}",
        )
        require(0 < self.votes_share <= 1, "collecting.votes_share must lie in (0, 1]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Campaign:
    """One survey on one Zooniverse workflow: its question tree, budgets and policies.

    Parameters
    ----------
    name
        Lower-case letters, digits and hyphens, 100 at most.
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
    ingest
        Which feed the tallies come from, and how long identities are kept.
    shadow
        Whether each candidate predicts the whole catalogue beside the champion before the gate, to compare what the
        two would ask about.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
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
    ingest: IngestPolicy = field(default_factory=IngestPolicy)
    gate: GatePolicy = field(default_factory=GatePolicy)
    drift: DriftPolicy = field(default_factory=DriftPolicy)
    shadow: bool = False
    zooniverse: ZooniverseTarget = field(default_factory=ZooniverseTarget)

    def __post_init__(self) -> None:
        require(
            re.fullmatch(CAMPAIGN_NAME, self.name) is not None and not self.name.endswith("\n"),
            f"name {self.name[:100]!r}: use a-z, 0-9 and hyphens, 100 at most",
        )
        require_recordable(self.document())
        require(0 <= self.hold_hours <= MAX_HOURS, f"hold_hours must be 0 to {MAX_HOURS:.0f}, not {self.hold_hours}")
        votes = {tier.votes for tier in self.zooniverse.tiers}
        allocated = self.acquisition.allocated
        asked = {self.acquisition.votes_per_galaxy, *(() if allocated is None else allocated.tiers)}
        missing = sorted(asked - votes)
        require(not votes or not missing, f"zooniverse.tiers have no {missing} votes, as acquisition asks")
        require(
            allocated is None or bool(votes) or self.zooniverse.retirement == "own",
            "acquisition.allocated needs zooniverse.retirement 'own' or zooniverse.tiers: a workflow's rule counts "
            "alike for all",
        )

    def by_tier(self) -> Mapping[int, Campaign]:
        """Return the campaign as each tier sees it, by votes per galaxy: one workflow and set, without tiers.

        A campaign without tiers is its own, at its votes per galaxy.
        """
        if not self.zooniverse.tiers:
            return {self.acquisition.votes_per_galaxy: self}
        return {tier.votes: self._of(tier) for tier in self.zooniverse.tiers}

    def _of(self, tier: Tier) -> Campaign:
        return dataclasses.replace(
            self,
            acquisition=dataclasses.replace(self.acquisition, votes_per_galaxy=tier.votes, allocated=None),
            zooniverse=dataclasses.replace(
                self.zooniverse, tiers=(), subject_set=tier.subject_set, workflow_id=tier.workflow_id
            ),
        )

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
