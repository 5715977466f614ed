"""The map in a browser and by programs: tiles, galaxies at a place or within a lasso, and these as files."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Path as InPath
from fastapi.responses import FileResponse
from pydantic import BaseModel
from starlette.background import BackgroundTask

from alservice.access import Scope
from alservice.errors import AlserviceError, BadConfig, BadInput, NoIndex
from alservice.explore.choice import Choice, choice_of
from alservice.explore.columns import MEASURES
from alservice.explore.latent_map import CELLS, MAX_NEAREST, NUMBER
from alservice.explore.map_service import OpenedMap, Spot
from alservice.explore.service import DownloadFormat
from alservice.explore.table import MAX_ITEMS
from alservice.science.plane import MAX_VERTICES, MAX_ZOOM, Tile, polygon_of
from alservice.science.tree import Tree, load_tree
from alservice.shapes import FloatArray
from alservice.web.explore import FormatName, IndexOut, Where
from alservice.web.pages import show
from alservice.web.problems import responses, status_of
from alservice.web.schemas import TEXT, CampaignName
from alservice.web.security import person, token_with
from alservice.web.service import Service, service_of

reads = APIRouter(
    prefix="/api/v1/campaigns/{campaign}/map",
    tags=["explore"],
    dependencies=[Depends(token_with(Scope.READ))],
    responses=responses(404),
)
"""Endpoints that look."""

router = APIRouter(prefix="/campaigns/{campaign}/map", include_in_schema=False, dependencies=[Depends(person)])
"""Pages, and what their script asks for."""

LISTED: Final = 24
"""Galaxies that a page lists: some 100 kB of thumbnails."""

_DAY_S: Final = 86_400
_POLYGON_CHARACTERS: Final = 60 * 1024

Colour = Annotated[
    str, Query(pattern=TEXT, description=f"A name, as of a condition, whose mean is shown; or `{NUMBER}`.")
]
Level = Annotated[int, InPath(description=f"0, where one tile is the whole map, to {MAX_ZOOM}.")]
Row = Annotated[int, InPath(description="From the top, 0 to 2^z - 1.")]
Column = Annotated[int, InPath(description="From the left, 0 to 2^z - 1.")]
X = Annotated[float, Query(description="Place on the map, from left to right in 0 to 1.")]
Y = Annotated[float, Query(description="Place on the map, from top to bottom in 0 to 1.")]
MaybeX = Annotated[float | None, Query(description="Place on the map, from left to right in 0 to 1.")]
MaybeY = Annotated[float | None, Query(description="Place on the map, from top to bottom in 0 to 1.")]
Around = Annotated[int, Query(ge=1, le=MAX_ITEMS, description="Galaxies to list.")]
Nearest = Annotated[int, Query(ge=1, le=MAX_NEAREST, description="Galaxies around the place.")]
Lasso = Annotated[
    str, Query(max_length=_POLYGON_CHARACTERS, description=f"Corners `x,y;x,y;x,y`, 3 to {MAX_VERTICES} of them.")
]
Version = Annotated[str, Query(pattern=r"^[^\x00]{0,64}$")]


class MapOut(BaseModel):
    """What a map shows: galaxies in the unit square, tiles of `cells` by `cells`, coloured by any of `colours`."""

    index: IndexOut
    version: str
    max_zoom: int
    cells: int
    colours: list[str]


class NearOut(BaseModel):
    """Galaxies nearest to a place on the map, each with `map_x`, `map_y` and its `map_distance`."""

    index: IndexOut
    items: list[dict[str, Any]]


class WithinOut(BaseModel):
    """Galaxies within a polygon on the map: `n`, and in `items` the first of them in order of the catalogue."""

    index: IndexOut
    n: int
    items: list[dict[str, Any]]


@reads.get("")
def map_about(request: Request, campaign: CampaignName) -> MapOut:
    """Say what the map of a campaign's catalogue holds."""
    found = service_of(request).factory.maps.opened(campaign)
    return MapOut(
        index=_index(found),
        version=found.opened.folder.name,
        max_zoom=MAX_ZOOM,
        cells=CELLS,
        colours=[NUMBER, *found.opened.table.names],
    )


_PNG: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Cells of a tile, transparent where no galaxy is.",
        "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
    },
    304: {"description": "The tile is still the one of `If-None-Match`."},
}
_TABLE: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The galaxies with all columns.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.get("/tiles/{z}/{x}/{y}")
@reads.get("/tiles/{z}/{x}/{y}", response_class=Response, responses=_PNG)
def map_tile(
    request: Request,
    campaign: CampaignName,
    z: Level,
    x: Column,
    y: Row,
    colour: Colour = NUMBER,
    where: Where = [],  # noqa: B006 - FastAPI copies it
    v: Annotated[Version, Query(description="`version` of the map: what answers to it never changes.")] = "",
) -> Response:
    """Return a tile as a PNG: hue is the mean of the colour, opacity how many galaxies a cell holds."""
    tile, choice = Tile(z=z, x=x, y=y), choice_of(where)
    found = service_of(request).factory.maps.opened(campaign)
    version = found.opened.folder.name
    told = "\n".join([version, f"{z}/{x}/{y}", colour, *(condition.text for condition in choice.conditions)])
    tag = f'"{hashlib.sha256(told.encode()).hexdigest()[:32]}"'
    kept = f"private, max-age={_DAY_S}, immutable" if v == version else "private, no-cache"
    headers = {"ETag": tag, "Cache-Control": kept}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(found.map.tile(tile, colour, choice), media_type="image/png", headers=headers)


@reads.get("/near")
def galaxies_on_map(
    request: Request,
    campaign: CampaignName,
    x: X,
    y: Y,
    n: Nearest = LISTED,
    where: Where = [],  # noqa: B006
) -> NearOut:
    """List the galaxies nearest to a place on the map."""
    found = service_of(request).factory.maps.opened(campaign)
    items = found.map.near(x, y, choice_of(where), n=n)
    return NearOut(index=_index(found), items=[dict(item) for item in items])


@reads.get("/within")
def galaxies_within(
    request: Request,
    campaign: CampaignName,
    polygon: Lasso,
    where: Where = [],  # noqa: B006
) -> WithinOut:
    """Count the galaxies within a polygon on the map, and list the first 100."""
    corners, choice = polygon_of(polygon), choice_of(where)
    found, held = service_of(request).factory.maps.within(campaign, corners, choice)
    return WithinOut(index=_index(found), n=held.n, items=[dict(item) for item in held.items])


@router.get("/download")
@reads.get("/download", response_class=FileResponse, responses=_TABLE)
def download_from_map(
    request: Request,
    campaign: CampaignName,
    x: MaybeX = None,
    y: MaybeY = None,
    n: Nearest = MAX_NEAREST,
    polygon: Lasso | None = None,
    where: Where = [],  # noqa: B006
    form: FormatName = "csv",
) -> FileResponse:
    """Download the galaxies nearest to a place on the map, or within a polygon, as CSV, Parquet or FITS."""
    return _file(service_of(request), campaign, _area(x, y, n, polygon), choice_of(where), form)


def _area(x: float | None, y: float | None, n: int, polygon: str | None) -> Spot | FloatArray:
    if (polygon is None) == (x is None and y is None):
        raise BadInput("galaxies of a map are asked for by a place or by a polygon: by one of them", field="polygon")
    if polygon is not None:
        return polygon_of(polygon)
    if x is None or y is None:
        raise BadInput("a place on the map is x and y: one of them is missing", field="x" if x is None else "y")
    return Spot(x=x, y=y, n=n)


def _index(found: OpenedMap) -> IndexOut:
    index = found.opened.index
    return IndexOut(
        model_id=index.model_id,
        catalogue_id=index.catalogue_id,
        galaxies=index.n,
        built_at=index.built_at,
        is_current=found.opened.is_current,
    )


def _file(
    service: Service, campaign: str, area: Spot | FloatArray, choice: Choice, form: DownloadFormat
) -> FileResponse:
    """Return a table as a download; what was written for it goes once it is sent."""
    folder = tempfile.TemporaryDirectory(prefix="alservice-map-")
    try:
        path = service.factory.maps.download(campaign, area, choice, form, Path(folder.name))
    except BaseException:
        folder.cleanup()
        raise
    kind = {"csv": "text/csv"}.get(form, "application/octet-stream")
    return FileResponse(
        path, media_type=kind, filename=f"{campaign}-map.{form}", background=BackgroundTask(folder.cleanup)
    )


# Pages


@router.get("")
def map_page(
    request: Request,
    campaign: CampaignName,
    colour: Annotated[str, Query(pattern=r"^[^\x00]{0,200}$")] = "",
    where: Where = [],  # noqa: B006
    x: MaybeX = None,
    y: MaybeY = None,
    z: Annotated[float, Query(ge=0, le=MAX_ZOOM, allow_inf_nan=False)] = 0.0,
) -> Response:
    """Show the map, and the galaxies around a place of it; the address holds colour, choice and place."""
    service = service_of(request)
    row = service.factory.campaigns.get(campaign)
    tree = load_tree(row.settings.tree)
    colour = colour or tree.columns[0]
    values: dict[str, Any] = {"error": None, "held": None}
    try:
        choice = choice_of(where)
        found = service.factory.maps.opened(campaign)
        values |= {"n": found.opened.table.count(choice), "span": found.map.span(colour), "opened": found.opened}
        if x is not None and y is not None:
            values |= _around(found, choice, x, y)
    except (BadInput, NoIndex, BadConfig) as refused:
        choice, values["error"] = Choice(), refused
    link = _link(colour, choice)
    response = show(
        service,
        request,
        row,
        "map.html",
        "map",
        colours=_colours(tree),
        measures=MEASURES,
        colour=colour,
        number=NUMBER,
        conditions=choice.conditions,
        link=link,
        max_zoom=MAX_ZOOM,
        x=0.5 if x is None else x,
        y=0.5 if y is None else y,
        z=z,
        **values,
    )
    error = values["error"]
    response.status_code = HTTPStatus.OK if error is None else status_of(error)
    return response


@router.get("/galaxies")
def map_galaxies(
    request: Request,
    campaign: CampaignName,
    where: Where = [],  # noqa: B006
    x: MaybeX = None,
    y: MaybeY = None,
    polygon: Lasso | None = None,
) -> Response:
    """Return the part of the page that lists galaxies around a place, or within a lasso."""
    service = service_of(request)
    service.factory.campaigns.get(campaign)
    error: AlserviceError | None = None
    values: dict[str, Any] = {}
    try:
        choice, area = choice_of(where), _area(x, y, LISTED, polygon)
        found = service.factory.maps.opened(campaign)
        if isinstance(area, Spot):
            values = _around(found, choice, area.x, area.y)
        else:
            _, held = service.factory.maps.within(campaign, area, choice)
            fields = [("polygon", polygon or ""), *_where(choice)]
            values = {
                "opened": found.opened,
                "held": held.items[:LISTED],
                "heading": f"{held.n:,} {'galaxy' if held.n == 1 else 'galaxies'} in the lasso",
                "download": urlencode(fields) if held.n else None,
                "nearest": 0,
            }
    except (BadInput, NoIndex, BadConfig) as refused:
        error = refused
    status = HTTPStatus.OK if error is None else status_of(error)
    return service.render(request, "map_galaxies.html", status=status, campaign=campaign, error=error, **values)


def _around(found: OpenedMap, choice: Choice, x: float, y: float) -> dict[str, Any]:
    """Return what the list of galaxies around a place shows."""
    return {
        "opened": found.opened,
        "held": found.map.near(x, y, choice, n=LISTED),
        "heading": f"Nearest to {x:.3f}, {y:.3f} on the map",
        "download": urlencode([("x", x), ("y", y), ("n", MAX_NEAREST), *_where(choice)]),
        "nearest": MAX_NEAREST,
    }


def _where(choice: Choice) -> list[tuple[str, str]]:
    return [("where", condition.text) for condition in choice.conditions]


def _link(colour: str, choice: Choice) -> str:
    return urlencode([("colour", colour), *_where(choice)])


def _colours(tree: Tree) -> Sequence[tuple[str, Sequence[tuple[str, str]]]]:
    """Return what a map may be coloured by, by question: names and words."""
    found = []
    for question, part in zip(tree.questions, tree.slices, strict=True):
        answers = list(zip(tree.columns[part], question.answers, strict=True))
        found.append((question.name, [*answers, (f"{question.name}_asked", "share of volunteers who are asked")]))
    return found
