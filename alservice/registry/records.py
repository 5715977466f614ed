"""Records of the registry: models, promotions, snapshots, evaluations and gate decisions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

from alservice.campaigns.policies import GatePolicy
from alservice.campaigns.store import StatisticsKind
from alservice.errors import BadInput
from alservice.science.evaluation import Evaluation
from alservice.states import ModelState

Verdict: TypeAlias = Literal["promote", "reject", "hold"]

PERSON = "person"
"""Name of the check that a person's decision leaves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One number the gate looked at.

    Parameters
    ----------
    name
        Such as ``nll-per-vote`` or ``rmse bar``.
    value, low, high
        The number and its interval; None where there is none.
    margin
        What it is compared with; None where it is not compared.
    passed
        Whether it does not speak against the candidate.
    detail
        One sentence for people.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    margin: float | None
    passed: bool
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class GateDecision:
    """The verdict and its evidence.

    Parameters
    ----------
    verdict
        promote, reject or hold.
    n_galaxies, n_votes
        Evaluation galaxies with votes, and votes, that the candidate was judged on.
    checks
        Every check, in the order it was made.
    policy
        The policy that was applied.
    """

    verdict: Verdict
    n_galaxies: int
    n_votes: int
    checks: tuple[Check, ...]
    policy: GatePolicy

    @property
    def person(self) -> Check | None:
        """What a person decided about a hold; None while nobody did."""
        return next((check for check in self.checks if check.name == PERSON), None)

    def by_person(self, verdict: Verdict, *, actor: str, reason: str) -> GateDecision:
        """Return the decision that a person made of a hold, beside the gate's own checks.

        Raises
        ------
        BadInput
            A person holds nothing, and gives a reason.
        """
        if verdict == "hold" or not reason.strip():
            raise BadInput("a held candidate is promoted or rejected, and with a reason")
        note = Check(
            name=PERSON,
            value=None,
            low=None,
            high=None,
            margin=None,
            passed=verdict == "promote",
            detail=f"{actor}: {reason.strip()}",
        )
        return dataclasses.replace(self, verdict=verdict, checks=(*self.checks, note))


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
class ModelEvaluation:
    """Evaluation of one model on the evaluation stream, with the votes of one cycle's snapshot.

    Parameters
    ----------
    assessment
        Object key of the figures per galaxy that it sums up; None in rows of releases that did not keep them.
    """

    cycle_id: int
    cycle_number: int
    model_id: int
    evaluation: Evaluation
    assessment: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CycleStatistics:
    """What was measured of one cycle beside its models."""

    cycle_id: int
    cycle_number: int
    kind: StatisticsKind
    document: Mapping[str, Any]
