"""The REST API, reading what a campaign has of galaxies: votes, subjects, predictions, and tables to download."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import StreamingResponse

from alservice.access import Scope
from alservice.app.serving import EXPORTS, bars_of, export_lines, predicted
from alservice.campaigns.store import CampaignRow
from alservice.errors import NotFound
from alservice.ids import check_galaxy_id
from alservice.science.tree import load_tree
from alservice.states import SubjectState
from alservice.web.problems import responses
from alservice.web.schemas import (
    After,
    AnswerOut,
    CampaignName,
    ExportOut,
    GalaxyDetail,
    GalaxyId,
    GalaxyOut,
    Limit,
    Page,
    PredictionOut,
    SubjectOut,
)
from alservice.web.security import token_with
from alservice.web.service import Service, service_of

router = APIRouter(
    prefix="/api/v1", tags=["read"], dependencies=[Depends(token_with(Scope.READ))], responses=responses(404)
)

MAX_PREDICTIONS = 50
"""Galaxies of one page of predictions: their shards are read whole."""


@router.get("/campaigns/{campaign}/galaxies")
def list_galaxies(
    request: Request, campaign: CampaignName, limit: Limit = 50, after: After = "", evaluation: bool | None = None
) -> Page[GalaxyOut]:
    """List galaxies of the newest catalogue by id; of the evaluation stream, or not, when asked."""
    service = service_of(request)
    catalogue = _catalogue(service, service.factory.campaigns.get(campaign))
    galaxies = service.figures.galaxies(catalogue, after=after, limit=limit + 1, evaluation=evaluation)
    items = [GalaxyOut.model_validate(galaxy) for galaxy in galaxies[:limit]]
    return Page(items=items, next=galaxies[limit - 1].galaxy_id if len(galaxies) > limit else None)


@router.get("/campaigns/{campaign}/galaxies/{galaxy_id:path}")
def get_galaxy(request: Request, campaign: CampaignName, galaxy_id: GalaxyId) -> GalaxyDetail:
    """Return one galaxy of the newest catalogue with its counted votes."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    check_galaxy_id(galaxy_id, where="galaxy_id")
    (galaxy,) = service.factory.catalogues.by_id(_catalogue(service, row), [galaxy_id])
    votes = service.figures.votes(row.id, [galaxy_id]).get(galaxy_id, ())
    columns = load_tree(row.campaign.tree).columns
    return GalaxyDetail(**GalaxyOut.model_validate(galaxy).model_dump(), votes=dict(zip(columns, votes, strict=False)))


@router.get("/campaigns/{campaign}/subjects")
def list_subjects(
    request: Request, campaign: CampaignName, limit: Limit = 50, after: After = "", state: SubjectState | None = None
) -> Page[SubjectOut]:
    """List the upload ledger by galaxy id."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    subjects = service.figures.subjects(row.id, state=state, after=after, limit=limit + 1)
    items = [SubjectOut(**subject) for subject in subjects[:limit]]
    return Page(items=items, next=subjects[limit - 1]["galaxy_id"] if len(subjects) > limit else None)


@router.get("/campaigns/{campaign}/predictions")
def list_predictions(
    request: Request,
    campaign: CampaignName,
    limit: Annotated[int, Query(ge=1, le=MAX_PREDICTIONS)] = 20,
    after: After = "",
) -> Page[PredictionOut]:
    """List the champion's posteriors by galaxy id; galaxies whose image failed have none."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    found = predicted(service.factory, row)
    if found is None:
        return Page(items=[])
    model, catalogue_id = found
    galaxies = service.figures.galaxies(catalogue_id, after=after, limit=limit + 1)
    bars = bars_of(service.factory, row, model, catalogue_id, galaxies[:limit])
    items = [
        PredictionOut(
            galaxy_id=galaxy_id,
            model_id=model.id,
            questions={q: [AnswerOut.model_validate(bar) for bar in answers] for q, answers in questions.items()},
        )
        for galaxy_id, questions in sorted(bars.items())
    ]
    return Page(items=items, next=galaxies[limit - 1].galaxy_id if len(galaxies) > limit else None)


@router.get("/campaigns/{campaign}/exports")
def list_exports(request: Request, campaign: CampaignName) -> Page[ExportOut]:
    """List tables that can be downloaded."""
    service_of(request).factory.campaigns.get(campaign)
    base = f"/api/v1/campaigns/{campaign}/exports"
    return Page(items=[ExportOut(name=name, url=f"{base}/{name}.csv") for name in EXPORTS])


@router.get(
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
    lines = export_lines(service.factory, row, table)
    headers = {"Content-Disposition": f'attachment; filename="{row.campaign.name}-{table}.csv"'}
    return StreamingResponse(lines, media_type="text/csv", headers=headers)


def _catalogue(service: Service, row: CampaignRow) -> int:
    catalogue = service.factory.catalogues.newest(row.id)
    if catalogue is None:
        raise NotFound(f"campaign {row.campaign.name} has no catalogue yet")
    return catalogue.id
