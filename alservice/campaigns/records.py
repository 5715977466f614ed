"""Rows of the registry and the audit, as services see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

from alservice.campaigns.campaign import Campaign
from alservice.science.metrics import Metrics
from alservice.states import ModelState


@dataclass(frozen=True, kw_only=True, slots=True)
class CampaignRow:
    """A campaign with the version of its decisions."""

    id: int
    version: int
    campaign: Campaign


@dataclass(frozen=True, kw_only=True, slots=True)
class CycleRun:
    """An orchestrated run that works, or worked, on a cycle.

    Parameters
    ----------
    run_id
        The orchestrator's id of it.
    flow, name
        Which flow it runs, and what it is called.
    """

    cycle_id: int
    run_id: str
    flow: str
    name: str
    began_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """One trained network.

    Parameters
    ----------
    key, digest
        Object key and sha256 of weights and card; checked whenever they are loaded.
    card
        Lineage: network, tree hash, data digest, seed, code revision, training curve.
    """

    id: int
    campaign_id: int
    cycle_id: int
    cycle_number: int
    snapshot_id: int
    key: str
    digest: str
    state: ModelState
    card: Mapping[str, Any]
    created_at: datetime


PromotionKind: TypeAlias = Literal["gate", "person", "rollback"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Promotion:
    """One change of the live model.

    Parameters
    ----------
    replaced_id
        The champion before; None for a campaign's first.
    kind
        ``gate``: a cycle's decision, a person's on a held cycle included; ``person``: by name; ``rollback``: back to
        the model that the live one had replaced.
    """

    model_id: int
    replaced_id: int | None
    kind: PromotionKind
    actor: str
    reason: str
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSnapshot:
    """Tallies frozen when a cycle's collecting ended.

    Parameters
    ----------
    reducer
        Version of code and rules that made the tallies; see `alservice.votes.counting.reducer_version`.
    n_inconsistent
        Galaxies whose votes no walks through the tree give.
    """

    id: int
    cycle_id: int
    key: str
    digest: str
    n_galaxies: int
    n_votes: int
    reducer: str
    n_inconsistent: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """Metrics of one model on the evaluation stream, with the votes of one cycle's snapshot."""

    cycle_id: int
    cycle_number: int
    model_id: int
    metrics: Metrics


StatisticsKind: TypeAlias = Literal["drift", "shadow", "selected"]
"""What a cycle's statistics are about: its data, a shadow candidate's selection, the loss on what was selected."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CycleStatistics:
    """What was measured of one cycle beside its models."""

    cycle_id: int
    cycle_number: int
    kind: StatisticsKind
    document: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One line of the audit: who did what, when (UTC), and on what evidence."""

    campaign_id: int
    cycle_id: int | None
    at: datetime
    actor: str
    kind: str
    detail: Mapping[str, Any]
