"""Pages of the dashboard: campaigns at a glance, and one page per question an operator has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Depends, Query, Request, Response

from alservice.campaigns.cycle import Cycle, CycleState
from alservice.campaigns.store import CampaignRow
from alservice.cycle.table import timeline
from alservice.errors import BadConfig, NotFound
from alservice.explore.service import Around
from alservice.ids import check_galaxy_id
from alservice.learning.drift import DriftFigure
from alservice.ops.alarms import ALARMS, TARGETS
from alservice.ops.figures import CampaignFigures
from alservice.ops.metrics import Measures
from alservice.ops.troubles import Trouble, by_cause
from alservice.plots import Picture
from alservice.science.evaluation import Evaluation
from alservice.science.information import score_note
from alservice.states import ModelState, SubjectState
from alservice.web import charts
from alservice.web.api import csv_response
from alservice.web.forms import QUESTIONS
from alservice.web.schemas import INTEGER, CampaignName, CycleNumber, GalaxyId
from alservice.web.security import person
from alservice.web.service import Service, service_of

router = APIRouter(include_in_schema=False, dependencies=[Depends(person)])

CAMPAIGNS = 50
"""Campaigns of the overview."""

CYCLES = 30
"""Cycles of one page."""

ARM_CYCLES = 12
"""Newest cycles whose arms are compared."""

RUNS = 5
"""Newest runs of each flow that a cycle's page lists."""

CURVE = 60
"""Newest cycles of a learning curve."""

FORECAST = timedelta(days=365)
"""Longest time that a forecast looks ahead."""

GALLERY = 12
"""Galaxies of a gallery: at most as many shards are read."""

AROUND = 6
"""Neighbours of a galaxy that its page shows, on the sky and in the embedding."""

GOOD = frozenset({"ok", "not-found"})
"""Outcomes of calls that the alarm `AdapterErrors` counts as good."""

TABS = (
    ("", "Now"),
    ("cycles", "Cycles"),
    ("votes", "Votes"),
    ("subjects", "Subjects"),
    ("models", "Models"),
    ("gallery", "Gallery"),
    ("explore", "Explore"),
    ("similar", "Similar"),
    ("map", "Map"),
    ("anomalies", "Anomalies"),
    ("selections", "Selections"),
    ("events", "Audit"),
)

Evaluations: TypeAlias = Sequence[tuple[str, Evaluation]]
"""``candidate`` and ``champion``, as far as a cycle evaluated them."""

Past = Annotated[int | None, Query(ge=0, le=INTEGER)]


@router.get("/")
def overview(request: Request) -> Response:
    """Show every campaign at a glance."""
    service = service_of(request)
    rows = service.factory.campaigns.list()
    shown = rows[:CAMPAIGNS]
    figures = service.figures.campaigns([row.id for row in shown])
    cards = [_card(row, figures[row.id]) for row in shown]
    found = by_cause(troubles_of(service, shown, figures))
    return service.render(request, "overview.html", cards=cards, more=len(rows) - len(shown), troubles=found)


@router.get("/alarms")
def alarms(request: Request) -> Response:
    """Show every alarm with what it means, costs and asks for, which of them ring, and calls to the world."""
    service = service_of(request)
    rows = service.factory.campaigns.list()[:CAMPAIGNS]
    found = troubles_of(service, rows, service.figures.campaigns([row.id for row in rows]))
    return service.render(
        request,
        "alarms.html",
        alarms=[(alarm, [each for each in found if each.alarm is alarm]) for alarm in ALARMS.values()],
        calls=_calls(measures_of(service)),
        targets=TARGETS,
    )


@router.get("/campaigns/{campaign}")
def now(request: Request, campaign: CampaignName, done: str = "") -> Response:
    """Show where a campaign stands and what waits for a person."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    figures = service.figures.campaigns([row.id])[row.id]
    cycle = figures.cycle
    steps = _steps(service, cycle) if cycle else []
    decision = service.factory.models.decision(cycle.id) if cycle else None
    question = next((q for name, q in QUESTIONS.items() if name == done), None)
    return show(
        service,
        request,
        row,
        "now.html",
        "",
        card=_card(row, figures),
        cycle=cycle,
        steps=steps,
        decision=decision if cycle and cycle.state is CycleState.HELD else None,
        notice=question.consequence if question else None,
        troubles=by_cause(troubles_of(service, [row], {row.id: figures})),
        curve=curve_of(service, row),
        interval=charts.interval,
    )


@router.get("/campaigns/{campaign}/cycles")
def cycles(request: Request, campaign: CampaignName, before: Past = None) -> Response:
    """Show cycles, newest first."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    found = service.figures.newest_cycles(row.id, before=before, limit=CYCLES + 1)
    ids = [cycle.id for cycle in found]
    return show(
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
    found = service.cycle(row, number)
    evaluations = evaluations_of(service, found)
    return show(
        service,
        request,
        row,
        "cycle.html",
        "cycles",
        cycle=found,
        steps=_steps(service, found),
        events=list(reversed(service.figures.events(found.id)))[:100],
        decision=service.factory.models.decision(found.id),
        decided=service.figures.decided(found.id),
        batch=service.figures.batch(found.id),
        ledger=service.figures.ledger(found.id),
        interval=charts.interval,
        answer=row.settings.evaluation.answer,
        calibration=calibration_of(row, evaluations),
        drift=drift_of(service, found),
        reach=charts.reach,
        reference=row.settings.drift.reference_cycles,
        runs=service.factory.runs.newest(found.id, per_flow=RUNS),
        n_runs=service.factory.runs.count(found.id),
    )


@router.get("/campaigns/{campaign}/votes")
def votes(request: Request, campaign: CampaignName) -> Response:
    """Show classifications coming in: rate, sources and their lag, quarantine."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    figures = service.figures.campaigns([row.id])[row.id]
    ingest = service.remembered.get(("ingest", row.id), lambda: service.figures.ingest(row.id))
    return show(
        service,
        request,
        row,
        "votes.html",
        "votes",
        arrived=figures.arrived,
        ingest=ingest,
        chart=charts.votes_by_hour(ingest.hours),
        forecast=forecast_of(service, row, figures.day),
        rows=service.factory.classifications.quarantined(row.id, limit=20).rows,
    )


@router.get("/campaigns/{campaign}/subjects")
def subjects(request: Request, campaign: CampaignName) -> Response:
    """Show the upload ledger: how many are where, and which need a look."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    ledger = service.figures.campaigns([row.id])[row.id].subjects
    return show(
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
    arms = service.factory.ops.compare_arms(row, newest)
    evaluations = evaluations_of(service, judged) if judged else []
    return show(
        service,
        request,
        row,
        "models.html",
        "models",
        models=service.figures.models(row.id, limit=25),
        champion=service.factory.models.champion(row.id),
        judged=judged,
        decision=service.factory.models.decision(judged.id) if judged else None,
        evaluations=evaluations,
        answer=row.settings.evaluation.answer,
        calibration=calibration_of(row, evaluations),
        curve=curve_of(service, row),
        drift=drift_by_cycle(service, row),
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
    shown = service.remembered.get(("gallery", drawn.id), lambda: gallery_of(service, row, drawn)) if drawn else []
    return show(
        service,
        request,
        row,
        "gallery.html",
        "gallery",
        cycle=drawn,
        batch=service.figures.batch(drawn.id) if drawn else None,
        items=shown,
        note=score_note(row.settings.prediction.draws),
        posterior=charts.posterior,
    )


@router.get("/campaigns/{campaign}/galaxies/{galaxy_id:path}")
def galaxy(request: Request, campaign: CampaignName, galaxy_id: GalaxyId) -> Response:
    """Show what is known of one galaxy of the newest catalogue, and why volunteers are asked on or not."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    check_galaxy_id(galaxy_id, where="galaxy_id")
    catalogue = service.factory.catalogues.newest(row.id)
    if catalogue is None:
        raise NotFound(f"campaign {campaign} has no catalogue")
    card = service.factory.ops.card_of(row, catalogue.id, galaxy_id)
    return show(
        service,
        request,
        row,
        "galaxy.html",
        "gallery",
        card=card,
        early=row.settings.zooniverse.rule is not None,
        belief=charts.belief,
        history=service.factory.ops.history_of(row, galaxy_id),
        around=around_of(service, row, galaxy_id),
    )


@router.get("/campaigns/{campaign}/events")
def events(request: Request, campaign: CampaignName) -> Response:
    """Show who did what, newest first."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    return show(service, request, row, "events.html", "events", events=service.factory.events.list(row.id, limit=100))


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
    data, media_type = service.factory.ops.image_of(catalogue, galaxy_id)
    return Response(data, media_type=media_type, headers={"Cache-Control": "private, max-age=86400, immutable"})


def _card(row: CampaignRow, figures: CampaignFigures) -> dict[str, Any]:
    subjects = figures.subjects
    return {
        "name": row.settings.name,
        "tree": row.settings.tree_name,
        "figures": figures,
        "cycle": figures.cycle,
        "pause": figures.pause,
        "champion": figures.champion,
        "live": subjects[SubjectState.LIVE],
        "retired": subjects[SubjectState.RETIRED],
        "ledger": charts.stacked({str(state): n for state, n in subjects.items()}),
        "subjects": sum(subjects.values()),
    }


def measures_of(service: Service) -> Measures:
    """Return what monitoring reads from the database, at most some seconds old."""
    return service.remembered.get("measures", service.factory.ops.measures)


def troubles_of(
    service: Service, rows: Sequence[CampaignRow], figures: Mapping[int, CampaignFigures]
) -> Sequence[Trouble]:
    """Return what is wrong with some campaigns, the gravest first."""
    named = {row.settings.name: figures[row.id] for row in rows}
    return service.factory.ops.troubles(measures_of(service), named)


def _calls(measures: Measures) -> Sequence[tuple[str, int, int, float]]:
    """Return each adapter with its calls ever, those that failed, and their mean time (s)."""
    adapters = sorted({key.adapter for key in measures.calls})
    found = []
    for adapter in adapters:
        counts = {key: count for key, count in measures.calls.items() if key.adapter == adapter}
        calls = sum(count.calls for count in counts.values())
        failed = sum(count.calls for key, count in counts.items() if key.outcome not in GOOD)
        found.append((adapter, calls, failed, sum(count.seconds for count in counts.values()) / max(calls, 1)))
    return found


def _steps(service: Service, cycle: Cycle) -> list[Any]:
    return timeline(cycle, service.figures.events(cycle.id), service.factory.clock())


def show(service: Service, request: Request, row: CampaignRow, template: str, tab: str, **values: Any) -> Response:
    """Return a page of a campaign, under one of its tabs."""
    return service.render(
        request,
        template,
        campaign=row.settings.name,
        decisions=row.settings,
        pause=service.factory.ops.paused(row),
        tabs=TABS,
        tab=tab,
        **values,
    )


def around_of(service: Service, row: CampaignRow, galaxy_id: str) -> Around | None:
    """Return a galaxy's neighbours; None without an index that holds it, or without the extra that asks one."""
    try:
        return service.factory.explore.around(row.settings.name, galaxy_id, n=AROUND)
    except (NotFound, BadConfig):
        return None


def forecast_of(service: Service, row: CampaignRow, day: int) -> dict[str, Any] | None:
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


def curve_of(service: Service, row: CampaignRow) -> Picture | None:
    """Return the learning curve of the newest cycles; None before the first candidate."""
    points = service.remembered.get(("curve", row.id), lambda: service.figures.candidates(row.id, limit=CURVE))
    return charts.learning_curve(points) if points else None


def evaluations_of(service: Service, cycle: Cycle) -> Evaluations:
    """Return the evaluations of candidate and champion in one cycle."""
    by_model = service.factory.snapshots.evaluations_in(cycle.id)
    both = ("candidate", cycle.candidate_id), ("champion", cycle.champion_id)
    return [(name, by_model[model].evaluation) for name, model in both if model is not None and model in by_model]


def calibration_of(row: CampaignRow, evaluations: Evaluations) -> Picture | None:
    """Return the coverage errors of both models for the campaign's chosen answer; None where none was measured."""
    answer = row.settings.evaluation.answer
    series = [
        (name, [None if e is None else e.value for e in figures.fractions.coverage_error])
        for name, found in evaluations
        for figures in found.answers
        if figures.fractions.name == answer
    ]
    tolerances = evaluations[0][1].tolerances if evaluations else ()
    known = [(name, errors) for name, errors in series if len(errors) == len(tolerances)]
    return charts.calibration(tolerances, known) if tolerances and known else None


def drift_of(service: Service, cycle: Cycle) -> Sequence[DriftFigure] | None:
    """Return a cycle's drift, farthest first; None before it was measured, nothing in the cycles compared with."""
    found = service.figures.drift(cycle.campaign_id, number=cycle.number, limit=1)
    return sorted(found[0].figures, key=lambda figure: -figure.reach) if found else None


def drift_by_cycle(service: Service, row: CampaignRow) -> Picture | None:
    """Return how far each of the newest cycles drifted; None before one was compared with the first."""
    found = service.figures.drift(row.id, limit=CURVE)
    compared = [cycle for cycle in found if cycle.figures]
    return charts.drift(compared) if compared else None


def gallery_of(service: Service, row: CampaignRow, cycle: Cycle) -> list[dict[str, Any]]:
    """Return the galaxies of most expected information; of one arm that drew without scores where none has any."""
    found = service.figures.acquired(cycle.id, limit=GALLERY)
    chosen = [item for item in found if item["arm"] == found[0]["arm"]]
    galaxies = service.factory.catalogues.by_id(cycle.catalogue_id, [item["galaxy_id"] for item in chosen])
    model = service.factory.ops.predicted_in(cycle)
    bars = {} if model is None else service.factory.ops.bars_of(row, model, cycle.catalogue_id, galaxies)
    return [{**item, "questions": bars.get(item["galaxy_id"], {})} for item in chosen]
