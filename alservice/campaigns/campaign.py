"""What a survey decides once: tree, budgets and policies of one campaign.

The classes are plain frozen records; the edge validates documents into them. Ranges are checked
here, so that a record that exists is a legal one.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from pydantic import TypeAdapter, ValidationError

from alservice.campaigns.files import NotYaml, read_text, yaml_of
from alservice.campaigns.policies import (
    IGNORE,
    Arm,
    CountingPolicy,
    DriftPolicy,
    GatePolicy,
    LabelRule,
    PolicyName,
    version_key,
)
from alservice.campaigns.trees import load_tree
from alservice.checks import MAX_HOURS, STRICT, require, require_recordable
from alservice.documents import document_of
from alservice.errors import BadConfig, BadInput
from alservice.ids import CAMPAIGN_NAME, digest_of_document
from alservice.science.stopping import MIN_GAIN, RuleName, StoppingPolicy
from alservice.science.tree import Tree, tree_names
from alservice.settings import explain
from alservice.zooniverse.endpoint import check_endpoint, is_loopback


def parse_campaign(document: Mapping[str, Any], *, source: str, folder: Path | None = None) -> Campaign:
    """Return a legal campaign, or say which field of which source is wrong.

    Parameters
    ----------
    folder
        What the path of a tree file is relative to; the current folder if None.

    Raises
    ------
    BadConfig
        A field is missing, unknown or out of range, or names a question or answer that the tree lacks.
    BadTree
        The tree is no packaged one, or its file holds none.
    BadInput
        The file of the tree cannot be read.
    """
    tree = document.get("tree")
    if isinstance(tree, str) and tree not in tree_names():
        document = {**document, "tree": load_tree(tree, folder=folder)}
    try:
        campaign = TypeAdapter(Campaign).validate_python(document)
    except ValidationError as error:
        raise BadConfig(f"{source}: {explain(error)}", source=source) from None
    _check_names(campaign, source)
    return campaign


def load_campaign_file(path: Path) -> Campaign:
    """Read a campaign from a YAML file; raises `BadConfig` naming the file and field."""
    if not path.exists():
        raise BadConfig(f"{path}: no such file", path=str(path))
    try:
        document = yaml_of(read_text(path))
    except NotYaml as error:
        raise BadConfig(f"{path}: not YAML: {error}", path=str(path)) from error
    except BadInput as error:
        raise BadConfig(f"{path}: cannot be read: {error.message.removeprefix(f'{path}: ')}", path=str(path)) from error
    if not isinstance(document, dict):
        raise BadConfig(f"{path}: a campaign is a mapping of fields", path=str(path))
    if isinstance(document.get("tree"), dict):
        raise BadConfig(f"{path}: tree: write the tree to a file of its own, and its path here", path=str(path))
    return parse_campaign(document, source=str(path), folder=path.parent)


def _check_names(campaign: Campaign, source: str) -> None:
    tree = load_tree(campaign.tree)
    unknown = sorted(set(campaign.acquisition.question_weights) - {q.name for q in tree.questions})
    if unknown:
        raise BadConfig(f"{source}: acquisition.question_weights: tree {tree.name} has no question {unknown[0]}")
    if campaign.evaluation.answer not in tree.columns:
        raise BadConfig(f"{source}: evaluation.answer: tree {tree.name} has no answer {campaign.evaluation.answer}")
    wanted = campaign.acquisition.threshold_answer
    if campaign.acquisition.policy == "threshold" and wanted not in tree.columns:
        raise BadConfig(f"{source}: acquisition.threshold_answer: tree {tree.name} has no answer {wanted}")
    named = () if campaign.zooniverse.stopping is None else campaign.zooniverse.stopping.questions
    unknown = sorted(set(named) - {q.name for q in tree.questions})
    if unknown:
        raise BadConfig(f"{source}: zooniverse.stopping.questions: tree {tree.name} has no question {unknown[0]}")
    meant = {column for rule in campaign.decoding for column in rule.labels.values()} - {IGNORE}
    unknown = sorted(meant - set(tree.columns))
    if unknown:
        raise BadConfig(f"{source}: decoding: tree {tree.name} has no answer {unknown[0]}")


MAX_VOTES = 1000
"""Most votes asked of one galaxy: what scores are tested for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AllocatedVotes:
    """Votes per galaxy by what they would teach, for the informative arm; the other arms get their fixed numbers.

    Parameters
    ----------
    tiers
        Numbers of votes to choose from, growing. Zooniverse shows a few tiers more easily than any number.
    budget
        Classifications of a cycle, all arms together; None for what volunteers are forecast to give until the
        deadline (`alservice.acquisition.votes`), or, without a week of history, what fixed votes would cost.
        Every galaxy gets the first tier, whatever the forecast.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    tiers: tuple[int, ...] = (5, 10, 20, 40)
    budget: int | None = None

    def __post_init__(self) -> None:
        growing = all(a < b for a, b in pairwise(self.tiers))
        ok = bool(self.tiers) and growing and self.tiers[0] >= 1 and self.tiers[-1] <= MAX_VOTES
        require(ok, f"acquisition.allocated.tiers must grow from 1 to {MAX_VOTES} votes at most, not {self.tiers}")
        require(self.budget is None or self.budget >= 1, "acquisition.allocated.budget must be at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class AcquisitionPolicy:
    """How a cycle's votes are spent.

    Parameters
    ----------
    initial_galaxies
        Galaxies drawn at random in cycle 0 to train on.
    initial_evaluation_galaxies
        Galaxies drawn at random in cycle 0 from the evaluation stream.
    batch_galaxies
        Galaxies per later cycle, all arms together.
    random_share
        Share of the batch drawn uniformly at random; it keeps the evaluation unbiased.
    easy_share
        Share of the batch drawn among galaxies that volunteers should find easy: a floor beside the random share.
    requested_share
        Share of the batch that galaxies which people ask for may take, from the informative arm: the operator's budget
        for requests (`alservice.acquisition.requests`). Without requests the informative arm has it.
    votes_per_galaxy
        Volunteers asked per galaxy.
    reference_votes
        Volunteers asked per galaxy of the random and the evaluation arm, which judge; None for `votes_per_galaxy`.
    allocated
        Votes by information instead, in the informative arm.
    policy
        How galaxies are scored and drawn (`alservice.acquisition.policies`).
    beta
        Sharpness of ``power_bald``, ``softmax_bald`` (per nat) and ``epig``: the larger, the nearer to the best scores.
    threshold_answer
        Answer column that policy ``threshold`` looks for.
    survey_galaxies
        Size of the uniform survey sample that ``epig`` and ``batch_epig`` predict and that distances are measured on.
    diversity_share
        Share of the survey that a drawn galaxy keeps out of the informative arm as too like it; 0 for none.
    question_weights
        Science weight per question: how many votes a vote on it counts as; 1 where not named.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    initial_galaxies: int = 256
    initial_evaluation_galaxies: int = 256
    batch_galaxies: int = 128
    random_share: float = 0.15
    easy_share: float = 0.05
    requested_share: float = 0.1
    votes_per_galaxy: int = 40
    reference_votes: int | None = None
    allocated: AllocatedVotes | None = None
    policy: PolicyName = "power_bald"
    beta: float = 1.0
    threshold_answer: str = "smooth-or-featured_featured-or-disk"
    survey_galaxies: int = 200
    diversity_share: float = 0.0
    question_weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(self.initial_galaxies >= 1, "acquisition.initial_galaxies must be at least 1")
        require(self.initial_evaluation_galaxies >= 0, "acquisition.initial_evaluation_galaxies is negative")
        require(self.batch_galaxies >= 1, "acquisition.batch_galaxies must be at least 1")
        for name in ("random_share", "easy_share", "requested_share"):
            share = getattr(self, name)
            require(0 <= share <= 1, f"acquisition.{name} must lie in [0, 1], not {share}")
        require(self.random_share + self.easy_share <= 1, "acquisition.random_share and easy_share exceed the batch")
        for name, votes in (("votes_per_galaxy", self.votes_per_galaxy), ("reference_votes", self.judging_votes)):
            require(1 <= votes <= MAX_VOTES, f"acquisition.{name} must be 1 to {MAX_VOTES}, not {votes}")
        require(0 < self.beta < float("inf"), "acquisition.beta must be positive and finite")
        require(self.survey_galaxies >= 2, "acquisition.survey_galaxies must be at least 2")
        require(0 <= self.diversity_share < 1, "acquisition.diversity_share must lie in [0, 1)")
        require(
            self.diversity_share == 0 or not self.policy.startswith("batch_"),
            f"acquisition.diversity_share is not for {self.policy}, which keeps near-copies apart by itself",
        )
        bad = sorted(q for q, w in self.question_weights.items() if not 0 <= w < float("inf"))
        require(not bad, f"acquisition.question_weights of {', '.join(bad)} must be finite and not negative")
        if self.allocated is not None and self.allocated.budget is not None:
            least = self.other_votes + self.informative_galaxies * self.allocated.tiers[0]
            require(
                self.allocated.budget >= least,
                f"acquisition.allocated.budget is below the {least} votes of the first tier",
            )

    @property
    def random_galaxies(self) -> int:
        """Size of the random arm."""
        return self.batch_galaxies if self.policy == "random" else round(self.random_share * self.batch_galaxies)

    @property
    def easy_galaxies(self) -> int:
        """Size of the easy arm."""
        wanted = round(self.easy_share * self.batch_galaxies)
        return min(wanted, self.batch_galaxies - self.random_galaxies)

    @property
    def informative_galaxies(self) -> int:
        """Size of the informative arm."""
        return self.batch_galaxies - self.random_galaxies - self.easy_galaxies

    @property
    def requested_galaxies(self) -> int:
        """Most galaxies of a batch that people may ask for; each takes a place of the informative arm."""
        return min(round(self.requested_share * self.batch_galaxies), self.informative_galaxies)

    @property
    def requested_votes(self) -> int:
        """Votes of a cycle that people may ask for: the operator's budget for requests."""
        return self.requested_galaxies * self.votes_per_galaxy

    @property
    def judging_votes(self) -> int:
        """Votes per galaxy of the random and the evaluation arm."""
        return self.votes_per_galaxy if self.reference_votes is None else self.reference_votes

    @property
    def other_votes(self) -> int:
        """Votes that a batch asks of the arms that look at no score."""
        return self.random_galaxies * self.judging_votes + self.easy_galaxies * self.votes_per_galaxy

    @property
    def fixed_votes(self) -> int:
        """Votes that a batch asks where none are allocated."""
        return self.other_votes + self.informative_galaxies * self.votes_per_galaxy

    def votes_of(self, arm: Arm) -> int:
        """Return the votes that a galaxy of an arm is asked where none are allocated."""
        return self.judging_votes if arm in {Arm.RANDOM, Arm.EVALUATION} else self.votes_per_galaxy


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestPolicy:
    """Where tallies come from, and how long it is kept who gave which vote.

    Parameters
    ----------
    tallies_from
        ``classifications``, or ``reductions`` that Caesar sends; the other feed is compared and never added.
    reducers
        Caesar reducer keys that count; empty for all.
    reductions_since
        First workflow version whose classifications the reducers see; None for every known one.
    retention_days
        Days after which user hash and session of a classification are forgotten; None keeps them.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    tallies_from: Literal["classifications", "reductions"] = "classifications"
    reducers: tuple[str, ...] = ()
    reductions_since: str | None = None
    retention_days: float | None = None

    def __post_init__(self) -> None:
        since = self.reductions_since
        if since is not None and version_key(since) is None:
            raise BadConfig(f"ingest.reductions_since {since!r} is no workflow version")
        days = self.retention_days
        if days is not None and not 0 < days <= MAX_HOURS / 24:
            raise BadConfig(f"ingest.retention_days must be positive, at most {MAX_HOURS / 24:.0f}, not {days}")


SITES: Final = ("https://www.zooniverse.org", "https://panoptes-staging.zooniverse.org")
"""The real Zooniverse, and the site on which its changes are tried."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tier:
    """Galaxies that are to have so many votes, in a subject set and workflow of their own.

    Panoptes retires per workflow, by one count: where its rule decides, votes per galaxy need a workflow for each
    number, and a subject set that only this workflow serves.

    Parameters
    ----------
    votes
        Votes of each galaxy.
    subject_set
        Display name of their set.
    workflow_id
        Number of the workflow that serves it.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    votes: int
    subject_set: str
    workflow_id: int

    def __post_init__(self) -> None:
        require(1 <= self.votes <= 1000, f"zooniverse.tiers.votes must be 1 to 1000, not {self.votes}")
        require(self.workflow_id > 0, "zooniverse.tiers.workflow_id must be positive")


@dataclass(frozen=True, kw_only=True, slots=True)
class StoppingRule:
    """When enough is known of a galaxy to stop asking before its full number of votes.

    Known is what model and votes say together: the champion's draws, tempered by one number per question that is fitted
    on the evaluation stream, after the votes. Members of the evaluation stream and of the random arm get the full
    number, as does every galaxy whose posterior cannot be read. A question counts where its science weight exceeds
    `min_weight` and it is expected to be asked of at least `min_asked` of the volunteers.

    Parameters
    ----------
    rule
        ``label``: the majority answer of every question that counts is certain to `confidence`. ``precision``: the
        standard deviation of every answer's fraction there is at most `target_sd`. ``value``: one more classification
        is expected to tell at most `min_information` there. ``gain``: further classifications are expected to make at
        most `min_gain` of the labels right, each.
    confidence
        Probability that the most likely answer has the largest fraction.
    target_sd
        Standard deviation of a fraction.
    min_information
        Nats that one more classification is expected to give, times the science weights.
    min_gain
        Labels that each further classification is expected to make right, times the science weights.
    min_votes
        Classifications below which asking always goes on.
    max_votes
        Classifications at which it always ends; None for the votes that are asked of the galaxy, which end it anyway.
    min_asked
        Share of volunteers that a question must be expected to be asked of to count.
    min_weight
        Science weight that a question must exceed to count.
    questions
        Questions that may count; empty for all.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    rule: RuleName = "label"
    confidence: float = 0.95
    target_sd: float = 0.08
    min_information: float = 0.05
    min_gain: float = MIN_GAIN
    min_votes: int = 3
    max_votes: int | None = None
    min_asked: float = 0.5
    min_weight: float = 0.0
    questions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where, most = "zooniverse.stopping", self.max_votes
        require(0.5 < self.confidence < 1, f"{where}.confidence must lie in (0.5, 1), not {self.confidence}")
        require(0 < self.target_sd < 0.5, f"{where}.target_sd must lie in (0, 0.5), not {self.target_sd}")
        for name, least in (("min_information", self.min_information), ("min_gain", self.min_gain)):
            require(0 < least < float("inf"), f"{where}.{name} must be positive and finite, not {least}")
        require(0 <= self.min_votes <= MAX_VOTES, f"{where}.min_votes must be 0 to {MAX_VOTES}, not {self.min_votes}")
        require(most is None or 1 <= most <= MAX_VOTES, f"{where}.max_votes must be 1 to {MAX_VOTES}, not {most}")
        ok = most is None or self.min_votes <= most
        require(ok, f"{where}.min_votes ({self.min_votes}) is above {where}.max_votes ({most})")
        require(0 <= self.min_asked <= 1, f"{where}.min_asked must lie in [0, 1], not {self.min_asked}")
        ok = 0 <= self.min_weight < float("inf")
        require(ok, f"{where}.min_weight must be finite and not negative, not {self.min_weight}")

    def policy(self, full_votes: int) -> StoppingPolicy:
        """Return the rule for a galaxy that is to have at most so many votes, at least 1."""
        most = full_votes if self.max_votes is None else min(self.max_votes, full_votes)
        return StoppingPolicy(
            rule=self.rule,
            confidence=self.confidence,
            target_sd=self.target_sd,
            min_information=self.min_information,
            min_gain=self.min_gain,
            min_votes=min(self.min_votes, most),
            max_votes=most,
            min_asked=self.min_asked,
            min_weight=self.min_weight,
            questions=self.questions,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ZooniverseTarget:
    """Where volunteers are asked.

    Parameters
    ----------
    endpoint
        ``standin`` for the work folder's own stand-in; else Zooniverse (``https://www.zooniverse.org``), its staging
        site (``https://panoptes-staging.zooniverse.org``), or a stand-in on this machine's loopback. Any other needs
        the permission of the setting ``zooniverse_endpoint``.
    project_id
        Number of the project on Zooniverse.
    workflow_id
        Number of the workflow whose classifications count.
    subject_set
        Display name of the set that cycles link their subjects to.
    mode
        ``upload`` creates a subject per galaxy; ``move`` links subjects that are there already.
    retirement
        ``panoptes``: the workflow's own rule, one count for all. ``own``: each subject when its counted classifications
        reach its votes asked for; the workflow's rule must then be ``never_retire``. ``posterior``: as ``own``, and
        earlier where `stopping` says that enough is known.
    stopping
        With ``posterior``: when enough is known; the defaults of `StoppingRule` where left out.
    tiers
        Workflows by votes per galaxy, in place of `workflow_id` and `subject_set`; only ``upload`` and ``panoptes``.
    pool_subject_set
        With ``move``: display name of the set that holds those subjects.
    pool_id_field
        With ``move``: metadata field with their survey id.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    endpoint: str = "standin"
    project_id: int = 1
    workflow_id: int = 10
    subject_set: str = "alservice active"
    mode: Literal["upload", "move"] = "upload"
    retirement: Literal["panoptes", "own", "posterior"] = "panoptes"
    stopping: StoppingRule | None = None
    tiers: tuple[Tier, ...] = ()
    pool_subject_set: str | None = None
    pool_id_field: str = "#survey_id"

    def __post_init__(self) -> None:
        if not self.is_standin:
            check_endpoint(self.endpoint)
        require(self.project_id > 0 and self.workflow_id > 0, "zooniverse ids must be positive")
        has_pool = bool(self.pool_subject_set)
        require(
            has_pool == (self.mode == "move"), "zooniverse.pool_subject_set goes with mode 'move', and only with it"
        )
        sets = [self.subject_set] if not self.tiers else [tier.subject_set for tier in self.tiers]
        require(self.pool_subject_set not in sets, "zooniverse.pool_subject_set must not be the subject_set")
        tiered = self.retirement == "panoptes" and self.mode == "upload"
        require(not self.tiers or tiered, "zooniverse.tiers go with mode 'upload' and retirement 'panoptes'")
        require(
            self.stopping is None or self.retirement == "posterior",
            "zooniverse.stopping goes with retirement 'posterior', and only with it",
        )
        for name in ("votes", "subject_set", "workflow_id"):
            distinct = {getattr(tier, name) for tier in self.tiers}
            require(len(distinct) == len(self.tiers), f"zooniverse.tiers have one {name} twice")

    @property
    def workflow_ids(self) -> frozenset[int]:
        """The workflows whose classifications count."""
        return frozenset(tier.workflow_id for tier in self.tiers) or frozenset({self.workflow_id})

    @property
    def retires(self) -> bool:
        """Whether our own tallies say which subjects retire, so that the workflow's rule must not."""
        return self.retirement != "panoptes"

    @property
    def rule(self) -> StoppingRule | None:
        """The rule that ends asking early; None where every galaxy gets its full number of votes."""
        return (self.stopping or StoppingRule()) if self.retirement == "posterior" else None

    @property
    def is_standin(self) -> bool:
        """Whether this is a rehearsal on the local stand-in."""
        return self.endpoint == "standin"

    @property
    def needs_permission(self) -> bool:
        """Whether the endpoint is neither Zooniverse's nor on this machine."""
        return not (self.is_standin or self.endpoint in SITES or is_loopback(self.endpoint))


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
    steps
        Gradient steps.
    batch_galaxies
        Galaxies in each step.
    min_new_votes
        Data-sufficiency rule: with fewer new counted votes the cycle keeps the champion untrained.
    threads
        CPU threads; fixed, because the bits of a result depend on it.
    warm_start
        Whether training begins with the champion's weights instead of fresh ones.
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
    """When collecting ends: by votes received or by deadline, whichever comes first.

    Parameters
    ----------
    deadline_hours
        Hours after publishing.
    votes_share
        Share of the votes asked for that is enough.
    """

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
        Name of a packaged question tree, or path of a tree file (``.yaml``, ``.json``) relative to this file. The tree
        is kept whole with the campaign's version, and its file is not read again.
    seed
        Root of every random draw of the campaign.
    hold_hours
        How long a held gate waits for a person; after that the champion is kept.
    images
        How images become network input.
    evaluation
        Which galaxies judge.
    acquisition
        Which galaxies are asked about, and how many votes each.
    prediction
        How the posterior is sampled.
    training
        How a candidate is trained.
    collecting
        When enough votes are in.
    decoding
        What labels of the workflow's versions mean where they are not the tree's own.
    counting
        Which classifications count.
    ingest
        Which feed the tallies come from, and how long identities are kept.
    gate
        How good a candidate must be.
    drift
        When a change is an alarm.
    shadow
        Whether each candidate predicts the whole catalogue beside the champion before the gate, to compare what the
        two would ask about.
    zooniverse
        Where volunteers are asked.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    name: str
    tree: str | Tree
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
        require_recordable(document_of(self))
        require(0 <= self.hold_hours <= MAX_HOURS, f"hold_hours must be 0 to {MAX_HOURS:.0f}, not {self.hold_hours}")
        votes = {tier.votes for tier in self.zooniverse.tiers}
        allocated = self.acquisition.allocated
        fixed = {self.acquisition.votes_per_galaxy, self.acquisition.judging_votes}
        asked = fixed | set(() if allocated is None else allocated.tiers)
        missing = sorted(asked - votes)
        require(not votes or not missing, f"zooniverse.tiers have no {missing} votes, as acquisition asks")
        require(
            len(asked) == 1 or bool(votes) or self.zooniverse.retires,
            f"acquisition.{'reference_votes' if allocated is None else 'allocated'} needs zooniverse.retirement 'own' "
            "or 'posterior', or zooniverse.tiers: a workflow's rule counts alike for all",
        )
        rule = self.zooniverse.rule
        if rule is not None:
            self._check_stopping(rule, min(asked))

    def _check_stopping(self, rule: StoppingRule, fewest: int) -> None:
        require(
            rule.min_votes <= fewest,
            f"zooniverse.stopping.min_votes is {rule.min_votes}, and acquisition asks for {fewest} votes of a galaxy",
        )
        require(
            self.counting.after_retirement == "counted",
            "counting.after_retirement must be 'counted' with zooniverse.retirement 'posterior': votes that come after "
            "asking stopped say whether that was right",
        )

    @property
    def tree_name(self) -> str:
        """Name of the question tree."""
        return self.tree if isinstance(self.tree, str) else self.tree.name

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
            acquisition=dataclasses.replace(
                self.acquisition, votes_per_galaxy=tier.votes, reference_votes=None, allocated=None
            ),
            zooniverse=dataclasses.replace(
                self.zooniverse, tiers=(), subject_set=tier.subject_set, workflow_id=tier.workflow_id
            ),
        )

    @property
    def digest(self) -> str:
        """Digest of every decision; a cycle records the one it ran under."""
        return digest_of_document(_as_floats(document_of(self)))


def _as_floats(document: Any) -> Any:
    """Return the document with every number as a float: 1 and 1.0 are one decision."""
    if isinstance(document, dict):
        return {name: _as_floats(value) for name, value in document.items()}
    is_number = isinstance(document, int) and not isinstance(document, bool)
    return float(document) if is_number else document
