"""Where a prediction comes from: catalogue row, model, its parents, the votes it learned from, who let it live."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

from alservice.campaigns.records import Model, Promotion
from alservice.learning.gate import GateDecision
from alservice.states import ModelState

Role: TypeAlias = Literal["trained on", "evaluation member", "not voted on"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelLineage:
    """One model with all that made it.

    Parameters
    ----------
    digest
        Of weights and card.
    snapshot_digest, snapshot_votes
        Of the tallies frozen when the cycle's collecting ended, evaluation members included.
    data_digest
        Of the part of them that it was trained on; recomputed from the snapshot, not only read from the card.
    seed, code_revision, network, tree_hash
        The rest of what training depends on.
    parent_digest
        Of the model that training started from; None for a cold start.
    decision, promotions
        What the gate said of it, and each time it became the champion.
    """

    model_id: int
    digest: str
    state: ModelState
    cycle: int
    snapshot_key: str
    snapshot_digest: str
    snapshot_votes: int
    data_digest: str
    n_galaxies: int
    n_votes: int
    seed: int
    code_revision: str
    network: str
    tree_hash: str
    parent_digest: str | None
    decision: GateDecision | None
    promotions: tuple[Promotion, ...]

    def document(self) -> dict[str, Any]:
        """Return the record as a JSON document."""
        promotions = [_promotion(promotion) for promotion in self.promotions]
        decision = None if self.decision is None else self.decision.document()
        return {**asdict(self), "decision": decision, "promotions": promotions}

    def lines(self) -> Iterator[str]:
        """Yield the record for a terminal."""
        yield f"model {self.model_id} ({self.state}) of cycle {self.cycle}, sha256 {self.digest}"
        yield f"  network    {self.network}, tree {self.tree_hash[:12]}"
        yield f"  votes      snapshot {self.snapshot_digest}, {self.snapshot_votes:,} votes ({self.snapshot_key})"
        yield f"  trained on {self.data_digest}, {self.n_votes:,} votes on {self.n_galaxies:,} galaxies"
        yield f"  seed, code {self.seed}, {self.code_revision}"
        yield f"  parent     {self.parent_digest or 'none: cold start'}"
        yield f"  gate       {self.decision.verdict if self.decision else 'not judged'}"
        for promotion in self.promotions:
            yield f"  champion   {_day(promotion.at)} by {promotion.actor}, {promotion.kind}: {promotion.reason}"


@dataclass(frozen=True, kw_only=True, slots=True)
class GalaxyLineage:
    """One row of a catalogue of predictions.

    Parameters
    ----------
    catalogue_digest, image_key
        The galaxy's catalogue, and its original image by content.
    posterior_key
        The shard of the prediction, by content; None when the model has not predicted the galaxy yet.
    role
        What the galaxy's votes were to the model.
    votes
        On the galaxy in the model's snapshot.
    """

    galaxy_id: str
    catalogue_id: int
    catalogue_source: str
    catalogue_digest: str
    image_key: str
    posterior_key: str | None
    role: Role
    votes: int

    def lines(self) -> Iterator[str]:
        """Yield the record for a terminal."""
        source = f"catalogue {self.catalogue_id} ({self.catalogue_source}), sha256 {self.catalogue_digest}"
        yield f"galaxy {self.galaxy_id} of {source}"
        yield f"  image      {self.image_key}"
        yield f"  prediction {self.posterior_key or 'none by this model yet'}"
        yield f"  its votes  {self.votes} in the model's snapshot: {self.role}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Lineage:
    """A model and its parents, the nearest first; and the galaxy that was asked about."""

    galaxy: GalaxyLineage | None
    models: tuple[ModelLineage, ...]

    def document(self) -> dict[str, Any]:
        """Return the record as one JSON document."""
        galaxy = None if self.galaxy is None else asdict(self.galaxy)
        return {"galaxy": galaxy, "models": [model.document() for model in self.models]}

    def text(self) -> str:
        """Return the record for a terminal."""
        lines = [] if self.galaxy is None else list(self.galaxy.lines())
        return "\n".join([*lines, *(line for model in self.models for line in model.lines())])


def model_documents(models: Sequence[Model], promotions: Sequence[Promotion]) -> Iterator[dict[str, Any]]:
    """Yield a JSON document per model: its state, its card without the training curve, its times as champion."""
    for model in models:
        card = {name: value for name, value in model.card.items() if name != "history"}
        yield {
            "model": model.id,
            "state": model.state,
            "cycle": model.cycle_number,
            "digest": model.digest,
            "created_at": model.created_at.isoformat(),
            "card": card,
            "promotions": [_promotion(p) for p in promotions if p.model_id == model.id],
        }


def _promotion(promotion: Promotion) -> dict[str, Any]:
    return {**asdict(promotion), "at": promotion.at.isoformat()}


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
