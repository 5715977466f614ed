"""The ops dashboard, looking: campaigns at a glance, and one page per question an operator has."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from alservice.core.cycles import Cycle, CycleState
from alservice.core.records import CampaignRow
from alservice.core.states import ModelState, SubjectState
from alservice.core.timeline import timeline
from alservice.errors import NotFound
from alservice.factory.operations import paused
from alservice.factory.serving import bars_of, compare_arms, image_of, predicted_in
from alservice.web import charts
from alservice.web.api import csv_response, find_cycle
from alservice.web.guards import person
from alservice.web.health import campaign_state
from alservice.web.person_acts import QUESTIONS
from alservice.web.schemas import INTEGER, CampaignName, CycleNumber, GalaxyId
from alservice.web.service import Service, service_of

router = APIRouter(include_in_schema=False, dependencies=[Depends(person)])

CAMPAIGNS = 50
"""Campaigns of the overview."""

CYCLES = 30
"""Cycles of one page."""

CURVE = 60
"""Newest cycles of a learning curve."""

ARM_CYCLES = 12
"""Newest cycles whose arms are compared."""

FORECAST = timedelta(days=365)
"""Longest time that a forecast looks ahead."""

GALLERY = 12
"""Galaxies of a gallery: at most as many shards are read."""

TABS = (
    ("", "Now"),
    ("cycles", "Cycles"),
    ("votes", "Votes"),
    ("subjects", "Subjects"),
    ("models", "Models"),
    ("gallery", "Gallery"),
    ("events", "Audit"),
)

Past = Annotated[int | None, Query(ge=0, le=INTEGER)]


@router.get("/")
def overview(request: Request) -> Response:
    """Show every campaign at a glance."""
    service = service_of(request)
    rows = service.factory.campaigns.list()
    cards = [_card(service, row) for row in rows[:CAMPAIGNS]]
    return service.render(request, "overview.html", cards=cards, more=max(0, len(rows) - CAMPAIGNS))


@router.get("/campaigns/{campaign}")
def now(request: Request, campaign: CampaignName, done: str = "") -> Response:
    """Show where a campaign stands and what waits for a person."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    cycle = next(iter(service.figures.newest_cycles(row.id, limit=1)), None)
    steps = _steps(service, cycle) if cycle else []
    decision = service.factory.models.decision(cycle.id) if cycle else None
    question = next((q for name, q in QUESTIONS.items() if name == done), None)
    return _show(
        service,
        request,
        row,
        "now.html",
        "",
        card=_card(service, row),
        cycle=cycle,
        steps=steps,
        decision=decision if cycle and cycle.state is CycleState.HELD else None,
        notice=question.consequence if question else None,
        curve=_curve(service, row),
        interval=charts.interval,
    )


@router.get("/campaigns/{campaign}/cycles")
def cycles(request: Request, campaign: CampaignName, before: Past = None) -> Response:
    """Show cycles, newest first."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    found = service.figures.newest_cycles(row.id, before=before, limit=CYCLES + 1)
    ids = [cycle.id for cycle in found]
    return _show(
        service,
        request,
        row,
        "cycles.html",
        "cycles",
        cycles=found[:CYCLES],
        verdicts=service.figures.verdicts(ids),
        votes=service.figures.snapshot_votes(ids),
        older=found[CYCLES - 1].number if len(found) > CYCLES else None,
    )


@router.get("/campaigns/{campaign}/cycles/{number}")
def cycle(request: Request, campaign: CampaignName, number: CycleNumber) -> Response:
    """Show one cycle: its steps, its batch, and the gate's checks."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    found = find_cycle(service, row, number)
    decided = service.figures.decided(found.id)
    return _show(
        service,
        request,
        row,
        "cycle.html",
        "cycles",
        cycle=found,
        steps=_steps(service, found),
        events=list(reversed(service.figures.events(found.id)))[:100],
        decision=service.factory.models.decision(found.id),
        decided=decided,
        batch=service.figures.batch(found.id),
        ledger=service.figures.ledger(row.id, found.id),
        interval=charts.interval,
        runs=_runs(service, found),
    )


@router.get("/campaigns/{campaign}/votes")
def votes(request: Request, campaign: CampaignName) -> Response:
    """Show classifications coming in: rate, sources and their lag, quarantine."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    ingest = campaign_state(service, row).ingest
    return _show(
        service,
        request,
        row,
        "votes.html",
        "votes",
        ingest=ingest,
        chart=charts.votes_by_hour(ingest.hours),
        forecast=_forecast(service, row, sum(source.day for source in ingest.sources)),
        rows=service.factory.classifications.quarantined(row.id, limit=20).rows,
    )


@router.get("/campaigns/{campaign}/subjects")
def subjects(request: Request, campaign: CampaignName) -> Response:
    """Show the upload ledger: how many are where, and which need a look."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    ledger = campaign_state(service, row).subjects
    return _show(
        service,
        request,
        row,
        "subjects.html",
        "subjects",
        ledger=ledger,
        chart=charts.stacked({str(state): n for state, n in ledger.items()}),
        unsettled=service.figures.unsettled(row.id, limit=25),
        repaired=service.figures.newest_event(row.id, "subjects.repaired"),
        orphans=ledger[SubjectState.CREATING],
    )


@router.get("/campaigns/{campaign}/models")
def models(request: Request, campaign: CampaignName) -> Response:
    """Show champion against candidate, what was learned, and which earlier models can be brought back."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    newest = service.figures.newest_cycles(row.id, limit=ARM_CYCLES)
    judged = next((c for c in newest if service.factory.models.decision(c.id) is not None), None)
    arms = compare_arms(service.factory, row, newest)
    return _show(
        service,
        request,
        row,
        "models.html",
        "models",
        models=service.figures.models(row.id, limit=25),
        champion=service.factory.models.champion(row.id),
        judged=judged,
        decision=service.factory.models.decision(judged.id) if judged else None,
        metrics=_metrics(service, row, judged) if judged else None,
        curve=_curve(service, row),
        arms=charts.arms(arms) if arms else None,
        interval=charts.interval,
        retired=ModelState.RETIRED,
    )


@router.get("/campaigns/{campaign}/gallery")
def gallery(request: Request, campaign: CampaignName) -> Response:
    """Show the newest batch's most informative galaxies, what the champion expects of them and why they were chosen."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    drawn = next(
        (c for c in service.figures.newest_cycles(row.id, limit=5) if service.figures.batch(c.id) is not None), None
    )
    shown = service.remembered.get(("gallery", drawn.id), lambda: _gallery(service, row, drawn)) if drawn else []
    return _show(
        service,
        request,
        row,
        "gallery.html",
        "gallery",
        cycle=drawn,
        batch=service.figures.batch(drawn.id) if drawn else None,
        items=shown,
        posterior=charts.posterior,
    )


@router.get("/campaigns/{campaign}/events")
def events(request: Request, campaign: CampaignName) -> Response:
    """Show who did what, newest first."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    return _show(service, request, row, "events.html", "events", events=service.factory.events.list(row.id, limit=100))


@router.get("/campaigns/{campaign}/exports/{table}.csv")
def export(request: Request, campaign: CampaignName, table: str) -> Response:
    """Download a table."""
    service = service_of(request)
    return csv_response(service, service.factory.campaigns.get(campaign), table)


@router.get("/campaigns/{campaign}/catalogues/{catalogue}/images/{galaxy_id:path}")
def image(request: Request, campaign: CampaignName, catalogue: int, galaxy_id: GalaxyId) -> Response:
    """Return a galaxy's image as volunteers see it."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    if service.factory.catalogues.get(catalogue).campaign_id != row.id:
        raise NotFound(f"campaign {campaign} has no catalogue {catalogue}")
    data, media_type = image_of(service.factory, catalogue, galaxy_id)
    return Response(data, media_type=media_type, headers={"Cache-Control": "private, max-age=86400, immutable"})


def _show(service: Service, request: Request, row: CampaignRow, template: str, tab: str, **values: Any) -> Response:
    return service.render(
        request,
        template,
        campaign=row.campaign.name,
        decisions=row.campaign,
        pause=paused(service.factory, row),
        tabs=TABS,
        tab=tab,
        **values,
    )


def _card(service: Service, row: CampaignRow) -> dict[str, Any]:
    state = campaign_state(service, row)
    newest = next(iter(service.figures.newest_cycles(row.id, limit=1)), None)
    ingest = state.ingest
    return {
        "name": row.campaign.name,
        "tree": row.campaign.tree,
        "cycle": newest,
        "pause": paused(service.factory, row),
        "champion": service.factory.models.champion(row.id),
        "live": state.subjects[SubjectState.LIVE],
        "retired": state.subjects[SubjectState.RETIRED],
        "ledger": charts.stacked({str(s): n for s, n in state.subjects.items()}),
        "subjects": sum(state.subjects.values()),
        "arrived": ingest.total,
        "day": sum(source.day for source in ingest.sources),
        "waiting": sum(ingest.waiting.values()),
    }


def _forecast(service: Service, row: CampaignRow, day: int) -> dict[str, Any] | None:
    """Return how far collecting is, and when all that was asked is there at the rate of the last 24 hours."""
    cycle = service.factory.cycles.open(row.id)
    if cycle is None or cycle.state is not CycleState.COLLECTING:
        return None
    asked = service.figures.asked(cycle.id)
    counted = service.factory.classifications.counted(row.id, cycle.id)
    left = timedelta(days=max(0, asked - counted) / day) if day else None
    return {
        "cycle": cycle.number,
        "asked": asked,
        "counted": counted,
        "deadline": cycle.deadline,
        "ends": None if left is None or left > FORECAST else service.factory.clock() + left,
    }


def _steps(service: Service, cycle: Cycle) -> list[Any]:
    return timeline(cycle, service.figures.events(cycle.id), service.factory.clock())


def _runs(service: Service, cycle: Cycle) -> list[str]:
    """Return the names of the Prefect runs that moved a cycle, newest first."""
    actors = [event.actor for event in reversed(service.figures.events(cycle.id))]
    names = [actor.removeprefix("prefect:") for actor in actors if actor.startswith("prefect:")]
    return list(dict.fromkeys(names))[:20]


def _curve(service: Service, row: CampaignRow) -> Any:
    points = service.remembered.get(("curve", row.id), lambda: service.figures.candidates(row.id, limit=CURVE))
    return charts.learning_curve(points) if points else None


def _metrics(service: Service, row: CampaignRow, cycle: Cycle) -> dict[str, Any]:
    """Return what candidate and champion scored in one cycle, question by question, and their calibration."""
    by_model = service.figures.metrics(cycle.id)
    pairs = [
        (name, by_model[model])
        for name, model in (("candidate", cycle.candidate_id), ("champion", cycle.champion_id))
        if model is not None and model in by_model
    ]
    answer = row.campaign.evaluation.answer
    series: list[tuple[str, Sequence[float | None]]] = [
        (name, next((a["coverage_error"] for a in document["answers"] if a["column"] == answer), []))
        for name, document in pairs
    ]
    tolerances = pairs[0][1]["tolerances"] if pairs else []
    known = [(name, errors) for name, errors in series if len(errors) == len(tolerances)]
    return {
        "pairs": pairs,
        "answer": answer,
        "calibration": charts.calibration(tolerances, known) if tolerances and known else None,
    }


def _gallery(service: Service, row: CampaignRow, cycle: Cycle) -> list[dict[str, Any]]:
    """Return the galaxies of most expected information; of the random arm where there is no other."""
    figures = service.figures
    chosen, arm = figures.acquired(cycle.id, arm="informative", limit=GALLERY), "informative"
    if not chosen:
        chosen, arm = figures.acquired(cycle.id, arm="random", limit=GALLERY), "random"
    galaxies = service.factory.catalogues.by_id(cycle.catalogue_id, [item["galaxy_id"] for item in chosen])
    model = predicted_in(service.factory, cycle)
    bars = {} if model is None else bars_of(service.factory, row, model, cycle.catalogue_id, galaxies)
    return [{**item, "arm": arm, "questions": bars.get(item["galaxy_id"], {})} for item in chosen]
