"""The REST API, reading what a campaign did: cycles, models, decisions, events."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request

from alservice.access import Scope
from alservice.campaigns.cycle import Cycle, CycleState
from alservice.campaigns.store import CampaignRow
from alservice.cycle.table import timeline
from alservice.errors import NotFound
from alservice.ops.figures import CampaignFigures
from alservice.states import ModelState
from alservice.web.problems import responses
from alservice.web.schemas import (
    After,
    Before,
    CampaignName,
    CampaignOut,
    CheckOut,
    CycleDetail,
    CycleNumber,
    CycleOut,
    DecisionOut,
    EventOut,
    Limit,
    ModelId,
    ModelOut,
    Page,
    PauseOut,
    StepOut,
)
from alservice.web.security import token_with
from alservice.web.service import Service, service_of

router = APIRouter(
    prefix="/api/v1", tags=["read"], dependencies=[Depends(token_with(Scope.READ))], responses=responses(404)
)


@router.get("/campaigns")
def list_campaigns(request: Request, limit: Limit = 50, after: After = "") -> Page[CampaignOut]:
    """List campaigns by name."""
    service = service_of(request)
    rows = [row for row in service.factory.campaigns.list() if row.campaign.name > after]
    figures = service.figures.campaigns([row.id for row in rows[:limit]])
    return Page(
        items=[_campaign(row, figures[row.id]) for row in rows[:limit]],
        next=rows[limit - 1].campaign.name if len(rows) > limit else None,
    )


@router.get("/campaigns/{campaign}")
def get_campaign(request: Request, campaign: CampaignName) -> CampaignOut:
    """Return one campaign."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    return _campaign(row, service.figures.campaigns([row.id])[row.id])


@router.get("/campaigns/{campaign}/cycles")
def list_cycles(
    request: Request, campaign: CampaignName, limit: Limit = 50, before: Before = None, state: CycleState | None = None
) -> Page[CycleOut]:
    """List cycles, newest first."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    cycles = service.figures.newest_cycles(row.id, before=before, state=state, limit=limit + 1)
    shown = cycles[:limit]
    verdicts = service.figures.verdicts([cycle.id for cycle in shown])
    items = [_cycle(cycle, verdicts.get(cycle.id)) for cycle in shown]
    return Page(items=items, next=shown[-1].number if len(cycles) > limit else None)


@router.get("/campaigns/{campaign}/cycles/{number}")
def get_cycle(request: Request, campaign: CampaignName, number: CycleNumber) -> CycleDetail:
    """Return one cycle with its steps."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    cycle = service.cycle(row, number)
    steps = timeline(cycle, service.figures.events(cycle.id), service.factory.clock())
    return CycleDetail(
        **_cycle(cycle, service.figures.verdicts([cycle.id]).get(cycle.id)).model_dump(),
        steps=[
            StepOut(
                step=step.step,
                state=step.state,
                began=step.began,
                ended=step.ended,
                seconds=None if step.elapsed is None else step.elapsed.total_seconds(),
                retries=step.retries,
                errors=list(step.errors),
            )
            for step in steps
        ],
        subjects=dict(service.figures.ledger(cycle.id)),
    )


@router.get("/campaigns/{campaign}/cycles/{number}/decision")
def get_decision(request: Request, campaign: CampaignName, number: CycleNumber) -> DecisionOut:
    """Return the gate's decision of one cycle, with every check."""
    service = service_of(request)
    cycle = service.cycle(service.factory.campaigns.get(campaign), number)
    found = _decision(service, cycle)
    if found is None:
        raise NotFound(f"cycle {number} of {campaign} has no decision yet", cycle=number)
    return found


@router.get("/campaigns/{campaign}/decisions")
def list_decisions(
    request: Request, campaign: CampaignName, limit: Limit = 20, before: Before = None
) -> Page[DecisionOut]:
    """List the gate's decisions of a page of cycles, newest first."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    cycles = service.figures.newest_cycles(row.id, before=before, limit=limit + 1)
    found = [_decision(service, cycle) for cycle in cycles[:limit]]
    items = [decision for decision in found if decision is not None]
    return Page(items=items, next=cycles[limit - 1].number if len(cycles) > limit else None)


@router.get("/campaigns/{campaign}/models")
def list_models(
    request: Request, campaign: CampaignName, limit: Limit = 50, before: Before = None, state: ModelState | None = None
) -> Page[ModelOut]:
    """List models, newest first."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    models = service.figures.models(row.id, before=before, state=state, limit=limit + 1)
    items = [ModelOut.model_validate(model) for model in models[:limit]]
    return Page(items=items, next=models[limit - 1].id if len(models) > limit else None)


@router.get("/campaigns/{campaign}/models/{model}")
def get_model(request: Request, campaign: CampaignName, model: ModelId) -> ModelOut:
    """Return one model."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    found = service.factory.models.get(model)
    if found.campaign_id != row.id:
        raise NotFound(f"campaign {campaign} has no model {model}", model=model)
    return ModelOut.model_validate(found)


@router.get("/campaigns/{campaign}/events")
def list_events(request: Request, campaign: CampaignName, limit: Limit = 50) -> Page[EventOut]:
    """List the newest lines of the audit, newest first."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    events = service.factory.events.list(row.id, limit=limit)
    return Page(items=[EventOut.model_validate(event) for event in events])


def _campaign(row: CampaignRow, figures: CampaignFigures) -> CampaignOut:
    newest = figures.cycle
    return CampaignOut(
        name=row.campaign.name,
        version=row.version,
        tree=row.campaign.tree,
        decisions=dict(row.campaign.document()),
        newest_cycle=newest.number if newest else None,
        state=newest.state if newest else None,
        paused=PauseOut.model_validate(figures.pause) if figures.pause else None,
    )


def _cycle(cycle: Cycle, verdict: str | None) -> CycleOut:
    return CycleOut.model_validate(cycle).model_copy(update={"verdict": verdict})


def _decision(service: Service, cycle: Cycle) -> DecisionOut | None:
    decision = service.factory.models.decision(cycle.id)
    by = service.figures.decided(cycle.id)
    if decision is None or by is None:
        return None
    return DecisionOut(
        cycle=cycle.number,
        verdict=decision.verdict,
        actor=by[0],
        decided_at=by[1],
        n_galaxies=decision.n_galaxies,
        n_votes=decision.n_votes,
        checks=[CheckOut.model_validate(check) for check in decision.checks],
        policy=decision.document()["policy"],
    )
