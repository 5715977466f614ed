"""Exploring in a browser and by programs: galaxies by choice of posteriors, galaxies like others, downloads."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes, policy
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Body, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from pydantic import BaseModel
from starlette.background import BackgroundTask

from alservice.access import Scope
from alservice.errors import AlserviceError, BadConfig, BadInput, NoIndex, NotFound
from alservice.explore import Choice, Condition, Index, Likeness, Similar
from alservice.explore.choice import MAX_CONDITIONS, choice_of
from alservice.explore.columns import CONFIDENCE, MAP_X, MAP_Y, MEASURES, NOVELTY, SCORE, VOTES
from alservice.explore.neighbours import MAX_NEAR
from alservice.explore.service import RADIUS_ARCSEC, DownloadFormat, Opened
from alservice.explore.table import MAX_FIRST, MAX_ITEMS, Found
from alservice.release.columns import DEC, RA
from alservice.science.tree import Tree, load_tree
from alservice.web.pages import show
from alservice.web.problems import responses, status_of
from alservice.web.schemas import TEXT, CampaignName, GalaxyId
from alservice.web.security import Session, check_same_origin, person, token_with
from alservice.web.service import Service, service_of

reads = APIRouter(
    prefix="/api/v1/campaigns/{campaign}",
    tags=["explore"],
    dependencies=[Depends(token_with(Scope.READ))],
    responses=responses(404),
)
"""Endpoints that look."""

router = APIRouter(prefix="/campaigns/{campaign}", include_in_schema=False, dependencies=[Depends(person)])
"""Pages."""

SHOWN: Final = 24
"""Galaxies of a page: some 100 kB of thumbnails."""

SLOTS: Final = 3
"""Conditions that a page has room for at least; one more than are used, at most `MAX_CONDITIONS`."""

Where = Annotated[
    list[str],
    Query(
        description="Conditions `NAME:LOW:HIGH` that all hold: an answer (`bar_yes:0.5:1`), `QUESTION_asked`, "
        "`novelty`, `score_nats`, `confidence`, `n_votes`, `ra_deg`, `dec_deg`.",
    ),
]
Sort = Annotated[str, Query(pattern=TEXT, description="A name, as of a condition.")]
Descending = Annotated[bool, Query(description="Largest first; galaxies without a value come last either way.")]
First = Annotated[int, Query(ge=0, le=MAX_FIRST, description="`next` of the page before.")]
Items = Annotated[int, Query(ge=1, le=MAX_ITEMS, description="Galaxies of a page.")]
Near = Annotated[int, Query(ge=1, le=MAX_NEAR, description="Galaxies to list.")]
Exact = Annotated[bool, Query(description="Compare every galaxy, in place of asking the graph.")]
Example = Annotated[list[Annotated[str, Query(pattern=TEXT)]], Query(description="Ids; their mean is looked around.")]
Degrees = Annotated[float | None, Query(description="Position (deg, ICRS); the nearest galaxy there is the example.")]
Radius = Annotated[float, Query(gt=0, le=3600, description="How far (arcsec) from the position it may lie.")]
FormatName = Annotated[DownloadFormat, Query(description="`fits` needs the extra `astro`.")]


class IndexOut(BaseModel):
    """Which index answered; `is_current` is false where champion or catalogue are newer."""

    model_id: int
    catalogue_id: int
    galaxies: int
    built_at: datetime
    is_current: bool


class ExploreOut(BaseModel):
    """Galaxies of a choice: `n` of `of` hold, some of them in `items`, by column."""

    index: IndexOut
    n: int
    of: int
    items: list[dict[str, Any]]
    next: int | None = None


class SimilarOut(BaseModel):
    """Galaxies nearest in the embedding, each with its `distance`; `examples` are what was asked for."""

    index: IndexOut
    examples: list[dict[str, Any]]
    items: list[dict[str, Any]]


@reads.get("/explore")
def explore_galaxies(
    request: Request,
    campaign: CampaignName,
    where: Where = [],  # noqa: B006 - FastAPI copies it
    sort: Sort = NOVELTY,
    descending: Descending = True,
    first: First = 0,
    limit: Items = SHOWN,
) -> ExploreOut:
    """List galaxies of a choice in its order, and how many there are."""
    choice = choice_of(where, sort=sort, descending=descending)
    opened, found = service_of(request).factory.explore.choose(campaign, choice, first=first, limit=limit)
    after = first + len(found.items)
    return ExploreOut(
        index=_index(opened.index, is_current=opened.is_current),
        n=found.n,
        of=found.of,
        items=[dict(item) for item in found.items],
        next=after if found.items and after < min(found.n, MAX_FIRST) else None,
    )


_TABLE: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The galaxies of the choice, in its order, with all columns.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.get("/explore/download")
@reads.get("/explore/download", response_class=FileResponse, responses=_TABLE)
def download_galaxies(
    request: Request,
    campaign: CampaignName,
    where: Where = [],  # noqa: B006
    sort: Sort = NOVELTY,
    descending: Descending = True,
    form: FormatName = "csv",
) -> FileResponse:
    """Download the galaxies of a choice as CSV, Parquet or FITS."""
    choice = choice_of(where, sort=sort, descending=descending)
    explore = service_of(request).factory.explore
    return file_response(lambda folder: explore.download(campaign, choice, form, folder), f"{campaign}-choice.{form}")


@reads.get("/similar")
def similar_galaxies(
    request: Request,
    campaign: CampaignName,
    galaxy: Example = [],  # noqa: B006
    ra: Degrees = None,
    dec: Degrees = None,
    radius_arcsec: Radius = RADIUS_ARCSEC,
    n: Near = SHOWN,
    exact: Exact = False,
) -> SimilarOut:
    """List galaxies like others: like one or several, or like the one at a position."""
    wanted = _wanted(galaxy, ra, dec, radius_arcsec)
    return _similar(service_of(request).factory.explore.similar(campaign, wanted, n=n, exact=exact))


@reads.post("/similar")
def similar_to_image(
    request: Request,
    campaign: CampaignName,
    image: Annotated[bytes, Body(media_type="application/octet-stream", description="JPEG, PNG or GIF, 1,000 KiB.")],
    n: Near = SHOWN,
    exact: Exact = False,
) -> SimilarOut:
    """List galaxies like the one of an image, the body of the request."""
    found = service_of(request).factory.explore.similar(campaign, Likeness(image=image), n=n, exact=exact)
    return _similar(found)


def _wanted(galaxies: Sequence[str], ra: float | None, dec: float | None, radius_arcsec: float) -> Likeness:
    if (ra is None) != (dec is None):
        raise BadInput("a position is right ascension and declination: one of them is missing", field="position")
    position = None if ra is None or dec is None else (ra, dec)
    return Likeness(galaxy_ids=tuple(galaxies), position=position, radius_arcsec=radius_arcsec)


def _index(index: Index, *, is_current: bool) -> IndexOut:
    return IndexOut(
        model_id=index.model_id,
        catalogue_id=index.catalogue_id,
        galaxies=index.n,
        built_at=index.built_at,
        is_current=is_current,
    )


def _similar(found: Similar) -> SimilarOut:
    return SimilarOut(
        index=_index(found.index, is_current=found.is_current),
        examples=[dict(item) for item in found.examples],
        items=[dict(item) for item in found.items],
    )


def file_response(write: Callable[[Path], Path], name: str) -> FileResponse:
    """Return what is written to a folder as a download; it goes once it is sent."""
    folder = tempfile.TemporaryDirectory(prefix="alservice-choice-")
    try:
        path = write(Path(folder.name))
    except BaseException:
        folder.cleanup()
        raise
    kind = "text/csv" if name.endswith(".csv") else "application/octet-stream"
    return FileResponse(path, media_type=kind, filename=name, background=BackgroundTask(folder.cleanup))


# Pages


@router.get("/explore")
def explore_page(
    request: Request,
    campaign: CampaignName,
    name: Annotated[list[str], Query()] = [],  # noqa: B006
    low: Annotated[list[str], Query()] = [],  # noqa: B006
    high: Annotated[list[str], Query()] = [],  # noqa: B006
    sort: Sort = NOVELTY,
    descending: Descending = True,
    first: First = 0,
    view: Annotated[str, Query(pattern="^(pictures|table)$")] = "pictures",
) -> Response:
    """Show galaxies of a choice; the address holds all of it."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    tree = load_tree(row.settings.tree)
    opened: Opened | None = None
    found: Found | None = None
    error: AlserviceError | None = None
    choice = Choice(sort=sort, descending=descending)
    try:
        choice = _choice(name, low, high, sort=sort, descending=descending)
        opened, found = service.factory.explore.choose(campaign, choice, first=first, limit=SHOWN)
    except (BadInput, NoIndex, BadConfig) as refused:
        error = refused
    link = _link(choice, view)
    response = show(
        service,
        request,
        row,
        "explore.html",
        "explore",
        options=_options(tree),
        slots=_slots(choice),
        reaches=reaches({} if opened is None else opened.table.largest),
        unit=Reach(name="", text="", low=0, high=1, step=0.01),
        choice=choice,
        measures=MEASURES,
        view=view,
        opened=opened,
        found=found,
        error=error,
        columns=_chosen(choice),
        first=first,
        shown=SHOWN,
        link=link,
        other=_link(choice, "table" if view == "pictures" else "pictures"),
        download=urlencode(
            [*(("where", c.text) for c in choice.conditions), ("sort", sort), ("descending", str(descending).lower())]
        ),
    )
    response.status_code = HTTPStatus.OK if error is None else status_of(error)
    return response


@router.get("/similar")
def similar_page(
    request: Request,
    campaign: CampaignName,
    galaxy: Annotated[list[str], Query()] = [],  # noqa: B006
    ra: str = "",
    dec: str = "",
    radius_arcsec: Radius = RADIUS_ARCSEC,
) -> Response:
    """Show galaxies like others, or ask what for."""
    ids = [part.strip() for each in galaxy for part in each.split("\n") if part.strip()]
    asked = bool(ids or ra.strip() or dec.strip())
    given = {"galaxy": "\n".join(ids), "ra": ra, "dec": dec, "radius_arcsec": radius_arcsec}

    def wanted() -> Likeness:
        return _wanted(ids, _degrees("ra", ra), _degrees("dec", dec), radius_arcsec)

    return _show_similar(service_of(request), request, campaign, wanted if asked else None, given)


@router.post("/similar")
async def similar_upload(
    request: Request, campaign: CampaignName, session: Annotated[Session, Depends(person)]
) -> Response:
    """Show galaxies like the one of an image that a person brings; it is looked at and not kept."""
    check_same_origin(request)
    parts = _parts(request.headers.get("content-type", ""), await request.body())
    session.check_csrf(parts.get("csrf", b"").decode("utf-8", "replace"))
    image = parts.get("image", b"")
    return await run_in_threadpool(
        _show_similar, service_of(request), request, campaign, lambda: Likeness(image=image), {}
    )


def _show_similar(
    service: Service, request: Request, campaign: str, wanted: Any, given: Mapping[str, object]
) -> Response:
    row = service.factory.campaigns.get(campaign)
    found: Similar | None = None
    error: AlserviceError | None = None
    try:
        if wanted is not None:
            found = service.factory.explore.similar(campaign, wanted(), n=SHOWN)
        else:
            service.factory.explore.opened(campaign)
    except (BadInput, NotFound) as refused:
        error = refused
    response = show(
        service, request, row, "similar.html", "similar", found=found, error=error, given=given, radius=RADIUS_ARCSEC
    )
    response.status_code = HTTPStatus.OK if error is None else status_of(error)
    return response


@router.get("/catalogues/{catalogue}/thumbnails/{galaxy_id:path}")
def thumbnail(request: Request, campaign: CampaignName, catalogue: int, galaxy_id: GalaxyId) -> Response:
    """Return a small picture of a galaxy."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    if service.factory.catalogues.get(catalogue).campaign_id != row.id:
        raise NotFound(f"campaign {campaign} has no catalogue {catalogue}")
    data = service.factory.explore.thumbnail(catalogue, galaxy_id)
    return Response(data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400, immutable"})


def _choice(names: Sequence[str], lows: Sequence[str], highs: Sequence[str], *, sort: str, descending: bool) -> Choice:
    """Return the choice that a form's rows state; rows without a name are empty ones."""
    if not len(names) == len(lows) == len(highs):
        raise BadInput("each condition has a name, a low and a high end", field="where")
    used = [row for row in zip(names, lows, highs, strict=True) if row[0]]
    return choice_of([":".join(row) for row in used], sort=sort, descending=descending)


def _slots(choice: Choice) -> list[Condition | None]:
    used: list[Condition | None] = list(choice.conditions)
    empty = max(SLOTS - len(used), 1) if len(used) < MAX_CONDITIONS else 0
    return used + [None] * empty


@dataclass(frozen=True, kw_only=True, slots=True)
class Reach:
    """A column beside the fractions that conditions may be on: its name, words for it, and how far a slider goes."""

    name: str
    text: str
    low: float
    high: float
    step: float

    def holds(self, value: float) -> bool:
        """Return whether a slider has this value; a browser would move it to one that it has."""
        place = (value - self.low) / self.step
        return self.low <= value <= self.high and abs(place - round(place)) < TOLERANCE


TOLERANCE: Final = 1e-6
"""Share of a step by which a value may lie beside it."""

STEPS: Final = 100
"""Steps of a slider, up to ten times as many."""


def reaches(largest: Mapping[str, float]) -> list[Reach]:
    """Return the columns beside the fractions that conditions may be on.

    Parameters
    ----------
    largest
        Largest value of each measure in the index; 1 where it is not known.
    """
    votes = max(1.0, largest.get(VOTES, 1.0))
    return [
        Reach(name=CONFIDENCE, text="confidence of the model", low=0, high=1, step=0.01),
        Reach(name=VOTES, text="votes so far", low=0, high=votes, step=1),
        _upwards(SCORE, "informativeness [nats]", largest),
        _upwards(NOVELTY, "novelty", largest),
        Reach(name=RA, text="right ascension [deg]", low=0, high=360, step=0.1),
        Reach(name=DEC, text="declination [deg]", low=-90, high=90, step=0.1),
        Reach(name=MAP_X, text="place on the map, from left", low=0, high=1, step=0.01),
        Reach(name=MAP_Y, text="place on the map, from top", low=0, high=1, step=0.01),
    ]


def _upwards(name: str, text: str, largest: Mapping[str, float]) -> Reach:
    """Return a slider from 0 to at least the largest value, in steps of a power of ten."""
    most = largest.get(name) or 1.0
    step = 10.0 ** math.floor(math.log10(most / STEPS))
    return Reach(name=name, text=text, low=0, high=round(math.ceil(most / step) * step, 12), step=step)


def _options(tree: Tree) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return what may be chosen by, by question: names and words."""
    found = []
    for question, part in zip(tree.questions, tree.slices, strict=True):
        answers = list(zip(tree.columns[part], question.answers, strict=True))
        found.append((question.name, [*answers, (f"{question.name}_asked", "share of volunteers who are asked")]))
    return found


def _chosen(choice: Choice) -> list[str]:
    """Return the names of fractions that galaxies were chosen or sorted by, once each."""
    named = [*(condition.name for condition in choice.conditions), choice.sort]
    return [name for name in dict.fromkeys(named) if name not in MEASURES and not name.endswith("_deg")]


def _link(choice: Choice, view: str) -> str:
    fields = [
        pair
        for c in choice.conditions
        for pair in (("name", c.name), ("low", f"{c.low:.15g}"), ("high", f"{c.high:.15g}"))
    ]
    return urlencode([*fields, ("sort", choice.sort), ("descending", str(choice.descending).lower()), ("view", view)])


def _degrees(name: str, text: str) -> float | None:
    if not text.strip():
        return None
    try:
        return float(text)
    except ValueError:
        raise BadInput(f"{name}: {text[:40]!r} is no number of degrees", field="position") from None


def _parts(content_type: str, body: bytes) -> dict[str, bytes]:
    """Return the fields of a form with a file; none where the body is no such form."""
    head = b"Content-Type: " + content_type.encode("latin-1", "replace") + b"\r\n\r\n"
    message = message_from_bytes(head + body, policy=policy.HTTP)
    found: dict[str, bytes] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        data = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(data, bytes):
            found[name] = data
    return found
