"""Interesting anomalies in a browser and by programs: begin a search, rate what it proposes, see what it found."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from alservice.access import Scope, Token, check_scope
from alservice.errors import AlserviceError, BadConfig, BadInput, NoIndex
from alservice.explore import AnomalyService
from alservice.explore.anomalies import MAX_TOP, Found
from alservice.explore.ratings import MAX_AT_ONCE, NAME, Method
from alservice.web.explore import IndexOut
from alservice.web.forms import Form, Person, check_form
from alservice.web.pages import show
from alservice.web.problems import responses, status_of
from alservice.web.schemas import BIGINT, CampaignName, Page, Record
from alservice.web.security import Session, person, token_with
from alservice.web.service import Service, service_of

_PATH: Final = "/api/v1/campaigns/{campaign}/anomalies"

reads = APIRouter(
    prefix=_PATH, tags=["explore"], dependencies=[Depends(token_with(Scope.READ))], responses=responses(404)
)
"""Endpoints that look."""

acts = APIRouter(prefix=_PATH, tags=["explore"], responses=responses(404, 409))
"""Endpoints that rate; each needs a token of scope operate, whose name is the rater's."""

router = APIRouter(prefix="/campaigns/{campaign}/anomalies", include_in_schema=False, dependencies=[Depends(person)])
"""Pages."""

SHOWN: Final = 24
"""Galaxies of a page's list of the most interesting."""

_GOAL: Final = 200
"""Ratings after which the paper's searches had found what they found: what progress is shown towards."""

SearchName = Annotated[str, Path(pattern=NAME, description="Name of a search.")]
Rater = Annotated[Token, Depends(token_with(Scope.OPERATE))]
N = Annotated[int, Query(ge=1, le=MAX_TOP, description="Galaxies to list.")]
Rated = Annotated[bool, Query(description="Whether galaxies that were rated are among them.")]


class SearchIn(BaseModel):
    """A search to begin."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=NAME)
    is_shared: bool = Field(default=False, description="Whether others may rate in it too.")
    method: Method = Method.GAUSSIAN_PROCESS
    seed: int | None = Field(default=None, ge=0, le=BIGINT, description="Root of its draws; by its name if left out.")


class SearchOut(Record):
    """A search: whose it is, and how it learns."""

    name: str
    owner: str
    is_shared: bool
    method: Method
    seed: int
    created_at: datetime


class RatingsIn(BaseModel):
    """Ratings, 0 (dull) to 5 (what I look for), by galaxy id."""

    model_config = ConfigDict(extra="forbid")

    ratings: dict[str, float] = Field(min_length=1, description=f"At most {MAX_AT_ONCE}.")


class RatedOut(BaseModel):
    """How many galaxies this rater rated."""

    n_mine: int


class UndoneOut(BaseModel):
    """The galaxy whose rating was taken back; null where nothing was rated."""

    galaxy_id: str | None


class FoundOut(BaseModel):
    """Galaxies of a search, by column; rated ones with their mean `rating`, ordered ones with their `interest`.

    `n_absent` rated galaxies are not in the index, and teach nothing.
    """

    search: SearchOut
    index: IndexOut
    n_rated: int
    n_mine: int
    n_absent: int
    items: list[dict[str, Any]]


@reads.get("")
def list_searches(request: Request, campaign: CampaignName) -> Page[SearchOut]:
    """List searches for interesting galaxies, newest first."""
    found = service_of(request).factory.anomalies.list(campaign)
    return Page(items=[SearchOut.model_validate(search) for search in found])


@acts.post("")
def begin_search(request: Request, campaign: CampaignName, body: SearchIn, token: Rater) -> SearchOut:
    """Begin a search; the same again is the one that there is."""
    search = service_of(request).factory.anomalies.begin(
        campaign, body.name, owner=token.actor, is_shared=body.is_shared, method=body.method, seed=body.seed
    )
    return SearchOut.model_validate(search)


@reads.get("/{search}")
def get_search(request: Request, campaign: CampaignName, search: SearchName) -> SearchOut:
    """Return one search."""
    return SearchOut.model_validate(service_of(request).factory.anomalies.get(campaign, search))


@acts.post("/{search}/batch")
def propose_galaxies(request: Request, campaign: CampaignName, search: SearchName, token: Rater) -> FoundOut:
    """Return the galaxies to rate: what is left of the last ten, or the next ten.

    They are kept for this rater for half an hour, so that no two people of a shared search rate the same.
    """
    return _found(service_of(request).factory.anomalies.batch(campaign, search, rater=token.actor))


@acts.post("/{search}/ratings")
def rate_galaxies(
    request: Request, campaign: CampaignName, search: SearchName, body: RatingsIn, token: Rater
) -> RatedOut:
    """Keep ratings, all or nothing; rating a galaxy again replaces what this rater said of it."""
    anomalies = service_of(request).factory.anomalies
    return RatedOut(n_mine=anomalies.rate(campaign, search, body.ratings, rater=token.actor))


@acts.post("/{search}/undo")
def undo_rating(request: Request, campaign: CampaignName, search: SearchName, token: Rater) -> UndoneOut:
    """Take back what this rater said last; the galaxy is proposed again."""
    anomalies = service_of(request).factory.anomalies
    return UndoneOut(galaxy_id=anomalies.undo(campaign, search, rater=token.actor))


@reads.get("/{search}/top")
def list_interesting(
    request: Request, campaign: CampaignName, search: SearchName, n: N = 50, rated: Rated = True
) -> FoundOut:
    """List the galaxies that are expected to be the most interesting."""
    return _found(service_of(request).factory.anomalies.top(campaign, search, n=n, rated=rated))


_TABLE: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "The table."}
}


@router.get("/{search}/download")
@reads.get("/{search}/download", response_class=StreamingResponse, responses=_TABLE)
def download_interesting(
    request: Request, campaign: CampaignName, search: SearchName, n: N = MAX_TOP
) -> StreamingResponse:
    """Download the most interesting galaxies with their ratings as CSV, safe to open in a spreadsheet."""
    lines = service_of(request).factory.anomalies.lines(campaign, search, n=n)
    headers = {"Content-Disposition": f'attachment; filename="{campaign}-{search}.csv"'}
    return StreamingResponse(lines, media_type="text/csv", headers=headers)


def _found(found: Found) -> FoundOut:
    index = found.index
    return FoundOut(
        search=SearchOut.model_validate(found.search),
        index=IndexOut(
            model_id=index.model_id,
            catalogue_id=index.catalogue_id,
            galaxies=index.n,
            built_at=index.built_at,
            is_current=found.is_current,
        ),
        n_rated=found.n_rated,
        n_mine=found.n_mine,
        n_absent=found.n_absent,
        items=[dict(item) for item in found.items],
    )


# Pages


@router.get("")
def searches_page(request: Request, campaign: CampaignName, session: Person) -> Response:
    """Show searches, and a form to begin one."""
    return _show_searches(service_of(request), request, campaign, session, None)


@router.post("")
def begin_page(request: Request, campaign: CampaignName, session: Person, form: Form) -> Response:
    """Begin a search and show it; a refusal is shown beside the form."""
    _check(request, session, form)
    service = service_of(request)
    name = form.get("name", "").strip()
    try:
        service.factory.anomalies.begin(
            campaign,
            name,
            owner=session.token.actor,
            is_shared=form.get("whose") == "shared",
            method=_method(form.get("method", "")),
        )
    except AlserviceError as error:
        return _show_searches(service, request, campaign, session, error)
    return _to(campaign, name)


@router.get("/{search}")
def search_page(
    request: Request,
    campaign: CampaignName,
    search: SearchName,
    session: Person,
    at: Annotated[int, Query(ge=0, le=BIGINT, description="Place in the batch.")] = 0,
) -> Response:
    """Show the galaxy to rate, or what was found to who may only look."""
    return _show_search(service_of(request), request, campaign, search, session, at, None)


@router.post("/{search}")
def rate_page(request: Request, campaign: CampaignName, search: SearchName, session: Person, form: Form) -> Response:
    """Rate a galaxy, or take the last rating back, and show the next one."""
    _check(request, session, form)
    service, rater = service_of(request), session.token.actor
    try:
        if "undo" in form:
            service.factory.anomalies.undo(campaign, search, rater=rater)
        else:
            ratings = {form.get("galaxy", ""): form.get("rating")}
            service.factory.anomalies.rate(campaign, search, ratings, rater=rater)
    except BadInput as error:
        return _show_search(service, request, campaign, search, session, 0, error)
    return _to(campaign, search)


def _show_searches(
    service: Service, request: Request, campaign: str, session: Session, error: AlserviceError | None
) -> Response:
    row = service.factory.campaigns.get(campaign)
    response = show(
        service,
        request,
        row,
        "searches.html",
        "anomalies",
        searches=service.factory.anomalies.list(campaign),
        methods=list(Method),
        error=error,
        mine=session.token.actor,
    )
    response.status_code = HTTPStatus.OK if error is None else status_of(error)
    return response


def _show_search(
    service: Service,
    request: Request,
    campaign: str,
    name: str,
    session: Session,
    at: int,
    error: AlserviceError | None,
) -> Response:
    row = service.factory.campaigns.get(campaign)
    anomalies = service.factory.anomalies
    search = anomalies.get(campaign, name)
    batch: Found | None = None
    top: Found | None = None
    try:
        if session.operates and (search.is_shared or search.owner == session.token.actor):
            batch = anomalies.batch(campaign, name, rater=session.token.actor)
        top = _top(anomalies, campaign, name, session)
    except (BadInput, NoIndex, BadConfig) as refused:
        error = error or refused
    response = show(
        service,
        request,
        row,
        "search.html",
        "anomalies",
        search=search,
        batch=batch,
        top=top,
        at=min(at, len(batch.items) - 1) if batch and batch.items else 0,
        error=error,
        goal=_GOAL,
        says=("dull", "hardly", "a little", "somewhat", "interesting", "what I look for"),
    )
    response.status_code = HTTPStatus.OK if error is None else status_of(error)
    return response


def _top(anomalies: AnomalyService, campaign: str, name: str, session: Session) -> Found:
    return anomalies.top(campaign, name, rater=session.token.actor, n=SHOWN, is_latest=not session.operates)


def _check(request: Request, session: Session, form: dict[str, str]) -> None:
    check_form(request, session, form)
    check_scope(session.token, Scope.OPERATE)


def _method(text: str) -> Method:
    try:
        return Method(text)
    except ValueError:
        raise BadInput(f"there is no method {text[:40]!r}: {', '.join(Method)}", field="method") from None


def _to(campaign: str, search: str) -> Response:
    return RedirectResponse(f"/campaigns/{campaign}/anomalies/{search}", status_code=HTTPStatus.SEE_OTHER)
