"""REST API: what a campaign did and has, and what an operator may do."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from alservice.access import Scope, Token
from alservice.campaigns.cycle import Cycle, CycleState
from alservice.campaigns.store import CampaignRow
from alservice.cycle.table import timeline
from alservice.documents import document_of
from alservice.errors import AlserviceError, NotFound, Retriable
from alservice.ids import check_galaxy_id
from alservice.ops.figures import CampaignFigures
from alservice.ops.service import EXPORTS, Done, OpsService
from alservice.ops.tokens import Answer, SqlAnswers
from alservice.science.tree import load_tree
from alservice.states import ModelState, SubjectState
from alservice.web.problems import problem_response, responses
from alservice.web.schemas import (
    ActOut,
    After,
    AnswerOut,
    Before,
    CampaignName,
    CampaignOut,
    CheckOut,
    CycleDetail,
    CycleNumber,
    CycleOut,
    DecideIn,
    DecisionOut,
    EventOut,
    ExportOut,
    GalaxyDetail,
    GalaxyId,
    GalaxyOut,
    HistoryOut,
    Limit,
    ModelId,
    ModelOut,
    Page,
    PauseOut,
    PredictionOut,
    Reason,
    RollBackIn,
    StepOut,
    SubjectOut,
)
from alservice.web.security import token_with
from alservice.web.service import Service, service_of

reads = APIRouter(
    prefix="/api/v1", tags=["read"], dependencies=[Depends(token_with(Scope.READ))], responses=responses(404)
)
"""Endpoints that look."""

acts = APIRouter(prefix="/api/v1/campaigns/{campaign}", tags=["operate"], responses=responses(404, 409))
"""Endpoints that change what a campaign does next."""


@reads.get("/campaigns")
def list_campaigns(request: Request, limit: Limit = 50, after: After = "") -> Page[CampaignOut]:
    """List campaigns by name."""
    service = service_of(request)
    rows = [row for row in service.factory.campaigns.list() if row.settings.name > after]
    figures = service.figures.campaigns([row.id for row in rows[:limit]])
    return Page(
        items=[_campaign(row, figures[row.id]) for row in rows[:limit]],
        next=rows[limit - 1].settings.name if len(rows) > limit else None,
    )


@reads.get("/campaigns/{campaign}")
def get_campaign(request: Request, campaign: CampaignName) -> CampaignOut:
    """Return one campaign."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    return _campaign(row, service.figures.campaigns([row.id])[row.id])


@reads.get("/campaigns/{campaign}/cycles")
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


@reads.get("/campaigns/{campaign}/cycles/{number}")
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


@reads.get("/campaigns/{campaign}/cycles/{number}/decision")
def get_decision(request: Request, campaign: CampaignName, number: CycleNumber) -> DecisionOut:
    """Return the gate's decision of one cycle, with every check."""
    service = service_of(request)
    cycle = service.cycle(service.factory.campaigns.get(campaign), number)
    found = _decision(service, cycle)
    if found is None:
        raise NotFound(f"cycle {number} of {campaign} has no decision yet", cycle=number)
    return found


@reads.get("/campaigns/{campaign}/decisions")
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


@reads.get("/campaigns/{campaign}/models")
def list_models(
    request: Request, campaign: CampaignName, limit: Limit = 50, before: Before = None, state: ModelState | None = None
) -> Page[ModelOut]:
    """List models, newest first."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    models = service.figures.models(row.id, before=before, state=state, limit=limit + 1)
    items = [ModelOut.model_validate(model) for model in models[:limit]]
    return Page(items=items, next=models[limit - 1].id if len(models) > limit else None)


@reads.get("/campaigns/{campaign}/models/{model}")
def get_model(request: Request, campaign: CampaignName, model: ModelId) -> ModelOut:
    """Return one model."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    found = service.factory.models.get(model)
    if found.campaign_id != row.id:
        raise NotFound(f"campaign {campaign} has no model {model}", model=model)
    return ModelOut.model_validate(found)


@reads.get("/campaigns/{campaign}/events")
def list_events(request: Request, campaign: CampaignName, limit: Limit = 50) -> Page[EventOut]:
    """List the newest lines of the audit, newest first."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    events = service.factory.events.list(row.id, limit=limit)
    return Page(items=[EventOut.model_validate(event) for event in events])


def _campaign(row: CampaignRow, figures: CampaignFigures) -> CampaignOut:
    newest = figures.cycle
    return CampaignOut(
        name=row.settings.name,
        version=row.version,
        tree=row.settings.tree_name,
        decisions=document_of(row.settings),
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
        policy=document_of(decision.policy),
    )


MAX_PREDICTIONS = 50
"""Galaxies of one page of predictions: their shards are read whole."""


@reads.get("/campaigns/{campaign}/galaxies")
def list_galaxies(
    request: Request, campaign: CampaignName, limit: Limit = 50, after: After = "", evaluation: bool | None = None
) -> Page[GalaxyOut]:
    """List galaxies of the newest catalogue by id; of the evaluation stream, or not, when asked."""
    service = service_of(request)
    catalogue = _catalogue(service, service.factory.campaigns.get(campaign))
    galaxies = service.figures.galaxies(catalogue, after=after, limit=limit + 1, evaluation=evaluation)
    items = [GalaxyOut.model_validate(galaxy) for galaxy in galaxies[:limit]]
    return Page(items=items, next=galaxies[limit - 1].galaxy_id if len(galaxies) > limit else None)


@reads.get("/campaigns/{campaign}/galaxies/{galaxy_id:path}")
def get_galaxy(request: Request, campaign: CampaignName, galaxy_id: GalaxyId) -> GalaxyDetail:
    """Return one galaxy of the newest catalogue with its counted votes and its history in the loop."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    check_galaxy_id(galaxy_id, where="galaxy_id")
    (galaxy,) = service.factory.catalogues.by_id(_catalogue(service, row), [galaxy_id])
    votes = service.figures.votes(row.id, [galaxy_id]).get(galaxy_id, ())
    columns = load_tree(row.settings.tree).columns
    history = service.factory.ops.history_of(row, galaxy_id)
    return GalaxyDetail(
        **GalaxyOut.model_validate(galaxy).model_dump(),
        votes=dict(zip(columns, votes, strict=False)),
        history=[HistoryOut.model_validate(line) for line in history],
    )


@reads.get("/campaigns/{campaign}/subjects")
def list_subjects(
    request: Request, campaign: CampaignName, limit: Limit = 50, after: After = "", state: SubjectState | None = None
) -> Page[SubjectOut]:
    """List the upload ledger by galaxy id."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    subjects = service.figures.subjects(row.id, state=state, after=after, limit=limit + 1)
    items = [SubjectOut(**subject) for subject in subjects[:limit]]
    return Page(items=items, next=subjects[limit - 1]["galaxy_id"] if len(subjects) > limit else None)


@reads.get("/campaigns/{campaign}/predictions")
def list_predictions(
    request: Request,
    campaign: CampaignName,
    limit: Annotated[int, Query(ge=1, le=MAX_PREDICTIONS)] = 20,
    after: After = "",
) -> Page[PredictionOut]:
    """List the champion's posteriors by galaxy id; galaxies whose image failed have none."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    found = service.factory.ops.predicted(row)
    if found is None:
        return Page(items=[])
    model, catalogue_id = found
    galaxies = service.figures.galaxies(catalogue_id, after=after, limit=limit + 1)
    bars = service.factory.ops.bars_of(row, model, catalogue_id, galaxies[:limit])
    items = [
        PredictionOut(
            galaxy_id=galaxy_id,
            model_id=model.id,
            questions={q: [AnswerOut.model_validate(bar) for bar in answers] for q, answers in questions.items()},
        )
        for galaxy_id, questions in sorted(bars.items())
    ]
    return Page(items=items, next=galaxies[limit - 1].galaxy_id if len(galaxies) > limit else None)


@reads.get("/campaigns/{campaign}/exports")
def list_exports(request: Request, campaign: CampaignName) -> Page[ExportOut]:
    """List tables that can be downloaded."""
    service_of(request).factory.campaigns.get(campaign)
    base = f"/api/v1/campaigns/{campaign}/exports"
    return Page(items=[ExportOut(name=name, url=f"{base}/{name}.csv") for name in EXPORTS])


@reads.get(
    "/campaigns/{campaign}/exports/{table}.csv",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "The table."}},
)
def get_export(
    request: Request, campaign: CampaignName, table: Annotated[str, Path(pattern="^(tallies|subjects)$")]
) -> StreamingResponse:
    """Download a table as CSV, safe to open in a spreadsheet."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    return csv_response(service, row, table)


def csv_response(service: Service, row: CampaignRow, table: str) -> StreamingResponse:
    """Return a table as a download, streamed."""
    lines = service.factory.ops.export_lines(row, table)
    headers = {"Content-Disposition": f'attachment; filename="{row.settings.name}-{table}.csv"'}
    return StreamingResponse(lines, media_type="text/csv", headers=headers)


def _catalogue(service: Service, row: CampaignRow) -> int:
    catalogue = service.factory.catalogues.newest(row.id)
    if catalogue is None:
        raise NotFound(f"campaign {row.settings.name} has no catalogue yet")
    return catalogue.id


class Idempotent:
    """A request to act, answered by one act however often it comes with the same key and body.

    Parameters
    ----------
    key
        The client's ``Idempotency-Key``; without one every request acts.
    """

    def __init__(
        self,
        request: Request,
        token: Annotated[Token, Depends(token_with(Scope.OPERATE))],
        key: Annotated[
            str | None,
            Header(
                alias="Idempotency-Key",
                pattern=r"^[!-~]{1,200}$",
                description="The same key and body again gives the first answer and does nothing.",
            ),
        ] = None,
    ) -> None:
        self._request, self._token, self._key = request, token, key

    def __call__(self, act: Callable[..., Done], campaign: str, body: Reason, **given: int) -> Response:
        """Act for the body's reason, or give the answer of the first time."""
        ops = service_of(self._request).factory.ops

        def answer() -> Response:
            done = act(ops, campaign, actor=self._token.actor, reason=body.reason, **given)
            return Response(ActOut.model_validate(done).model_dump_json(), media_type="application/json")

        return answer() if self._key is None else self._first(ops.answers, self._key, body, answer)

    def _first(self, kept: SqlAnswers, key: str, body: Reason, answer: Callable[[], Response]) -> Response:
        """Return the answer that is kept, or a new one to keep; a refusal that can pass is not kept."""
        said = f"{self._request.method} {self._request.url.path}\n{body.model_dump_json()}"
        before = kept.claim(self._token.id, key, hashlib.sha256(said.encode()).hexdigest())
        if before is not None:
            return _replayed(before)
        try:
            response = answer()
        except Retriable:
            kept.release(self._token.id, key)
            raise
        except AlserviceError as error:
            response = problem_response(self._request, error)
        except BaseException:
            kept.release(self._token.id, key)
            raise
        kept.save(self._token.id, key, Answer(status=response.status_code, body=bytes(response.body).decode()))
        return response


OnceOnly = Annotated[Idempotent, Depends()]


@acts.post("/cycles/{number}/decision", response_model=ActOut)
def decide(campaign: CampaignName, number: CycleNumber, body: DecideIn, act: OnceOnly) -> Response:
    """Approve or reject the candidate of a held cycle."""
    decision = OpsService.approve if body.verdict == "approve" else OpsService.reject
    return act(decision, campaign, body, cycle=number)


@acts.post("/rollback", response_model=ActOut)
def roll_back(campaign: CampaignName, body: RollBackIn, act: OnceOnly) -> Response:
    """Make an earlier champion live again."""
    return act(OpsService.roll_back, campaign, body, model=body.model)


@acts.post("/pause", response_model=ActOut)
def pause(campaign: CampaignName, body: Reason, act: OnceOnly) -> Response:
    """Let nothing of a campaign start or advance; a step at work finishes."""
    return act(OpsService.pause, campaign, body)


@acts.post("/resume", response_model=ActOut)
def resume(campaign: CampaignName, body: Reason, act: OnceOnly) -> Response:
    """End a pause, and bring a stopped cycle back to its step."""
    return act(OpsService.resume, campaign, body)


def _replayed(answer: Answer) -> Response:
    ok = answer.status < 400
    media = "application/json" if ok else "application/problem+json"
    return Response(answer.body, status_code=answer.status, media_type=media, headers={"Idempotent-Replayed": "true"})
