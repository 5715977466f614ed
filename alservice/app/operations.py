"""What operators decide: approve, reject, roll back, pause, resume; each leaves who, when and why in the events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from alservice.app import registry
from alservice.app.jobs import Factory
from alservice.campaigns.cycle import Pause
from alservice.campaigns.store import CampaignRow, SqlOperations
from alservice.errors import IllegalTransition
from alservice.states import ModelState
from alservice.texts import check_reason

Act: TypeAlias = Literal["approve", "reject", "roll-back", "pause", "resume"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """What an act did, in one sentence for people."""

    act: Act
    campaign: str
    sentence: str


def approve(factory: Factory, name: str, *, cycle: int, actor: str, reason: str) -> Done:
    """Promote the candidate of the held cycle; raises what `DecideHeld` does."""
    check_reason(reason)
    moved = registry.decide_held(factory, name, "approve", actor=actor, reason=reason, number=cycle)
    return Done(act="approve", campaign=name, sentence=f"The candidate of cycle {moved.number} is the champion.")


def reject(factory: Factory, name: str, *, cycle: int, actor: str, reason: str) -> Done:
    """Keep the champion of the held cycle; raises what `approve` does."""
    check_reason(reason)
    moved = registry.decide_held(factory, name, "reject", actor=actor, reason=reason, number=cycle)
    return Done(act="reject", campaign=name, sentence=f"Cycle {moved.number} keeps its champion.")


def roll_back(factory: Factory, name: str, *, model: int, actor: str, reason: str) -> Done:
    """Make an earlier champion live again.

    Raises
    ------
    NotFound, DigestMismatch
        The campaign has no such model, or its weights are gone or damaged.
    IllegalTransition
        The model never was champion, or is it now.
    """
    check_reason(reason)
    campaign = factory.campaigns.get(name)
    found = factory.models.get(model)
    if found.campaign_id == campaign.id and found.state is not ModelState.RETIRED:
        raise IllegalTransition(f"model {model} is {found.state}: only an earlier champion can be brought back")
    registry.promote(factory, name, model, actor=actor, reason=reason)
    return Done(act="roll-back", campaign=name, sentence=f"Model {model} is the champion again.")


def pause(factory: Factory, name: str, *, actor: str, reason: str) -> Done:
    """Let nothing start or advance; a step at work finishes. Raises `Conflict` if it is paused already."""
    check_reason(reason)
    _acts(factory).pause(factory.campaigns.get(name).id, actor=actor, reason=reason)
    return Done(act="pause", campaign=name, sentence=f"{name} is paused: no cycle starts or advances.")


def resume(factory: Factory, name: str, *, actor: str, reason: str) -> Done:
    """End a pause, and bring a failed or cancelled cycle back to its step.

    Raises
    ------
    IllegalTransition
        The campaign is not paused and no cycle of it has stopped.
    """
    check_reason(reason)
    row = factory.campaigns.get(name)
    cycle = factory.cycles.open(row.id)
    stopped = cycle is not None and cycle.left_from is not None
    was_paused = _acts(factory).unpause(row.id, actor=actor, reason=reason)
    if not was_paused and not stopped:
        raise IllegalTransition(f"campaign {name} is not paused and no cycle of it has stopped", campaign=name)
    if cycle is None or cycle.left_from is None:
        return Done(act="resume", campaign=name, sentence=f"{name} goes on.")
    detail = {"resumed": True, "reason": reason}
    factory.cycles.move(cycle, cycle.left_from, actor=actor, detail=detail, left_from=None)
    return Done(act="resume", campaign=name, sentence=f"Cycle {cycle.number} goes on with {cycle.left_from}.")


def paused(factory: Factory, campaign: CampaignRow) -> Pause | None:
    """Return the pause of a campaign, if it is paused."""
    return _acts(factory).paused(campaign.id)


def _acts(factory: Factory) -> SqlOperations:
    return SqlOperations(factory.engine, factory.clock)
