"""From find to campaign in a browser and by programs: selections kept by name, shown, downloaded, and asked for."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import FileResponse, RedirectResponse
from pydantic import BaseModel, ConfigDict, Field

from alservice.access import Scope, Token, check_scope
from alservice.errors import AlserviceError, BadInput, NotAuthenticated
from alservice.explore.choice import choice_of
from alservice.explore.columns import NOVELTY
from alservice.explore.selections import MAX_SELECTED, NAME, Selection
from alservice.web.explore import FormatName, file_response
from alservice.web.forms import Form, check_form
from alservice.web.pages import show
from alservice.web.problems import responses, status_of
from alservice.web.schemas import INTEGER, TEXT, CampaignName, Page, Reason, Record
from alservice.web.security import Session, person, token_with
from alservice.web.service import Service, service_of

reads = APIRouter(
    prefix="/api/v1/campaigns/{campaign}",
    tags=["explore"],
    dependencies=[Depends(token_with(Scope.READ))],
    responses=responses(404),
)
"""Endpoints that look."""

writes = APIRouter(prefix="/api/v1/campaigns/{campaign}/selections", tags=["explore"], responses=responses(404, 409))
"""Endpoints that keep, forget and ask."""

router = APIRouter(prefix="/campaigns/{campaign}/selections", include_in_schema=False, dependencies=[Depends(person)])
"""Pages."""

SHOWN: Final = 24
"""Galaxies of a page."""

Operator = Annotated[Token, Depends(token_with(Scope.OPERATE))]
Person = Annotated[Session, Depends(person)]
SelectionName = Annotated[str, Path(pattern=NAME, description="Name of a selection.")]
First = Annotated[int, Query(ge=0, le=MAX_SELECTED, description="`next` of the page before.")]
Items = Annotated[int, Query(ge=1, le=1_000, description="Galaxies of a page.")]


class SelectionOut(Record):
    """Galaxies under a name; `source` says where they come from."""

    name: str
    n: int
    source: dict[str, Any]
    actor: str
    created_at: datetime


class SelectionDetail(SelectionOut):
    """A selection with some of its galaxies, in order."""

    galaxies: list[str]
    next: int | None = None


class SelectionIn(BaseModel):
    """Galaxies to keep: those of a choice (`where`, `sort`, `descending`), or named ones (`galaxies`)."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=NAME)
    galaxies: list[Annotated[str, Field(pattern=TEXT)]] | None = Field(default=None, max_length=MAX_SELECTED)
    where: list[str] | None = None
    sort: str = Field(default=NOVELTY, pattern=TEXT)
    descending: bool = True


class SendIn(Reason):
    """Why volunteers are asked, and for how many votes each; the campaign's votes per galaxy when left out."""

    votes: int | None = Field(default=None, ge=1, le=INTEGER)


class SentOut(Record):
    """What was taken within the operator's budget, and what was not: `requested` = accepted and refused ones."""

    requested: int
    accepted: list[str]
    refused: dict[str, int]
    votes: int
    left: int


class WithdrawnOut(BaseModel):
    """How many requests were taken back."""

    galaxies: int


class RequestOut(Record):
    """One galaxy that waits for the next cycle."""

    galaxy_id: str
    votes: int
    cost: int
    selection: str
    reason: str
    actor: str
    created_at: datetime


class RequestsOut(BaseModel):
    """Votes that people may ask for until the next cycle draws, what is left of them, and what waits."""

    budget: int
    left: int
    waiting: list[RequestOut]


@reads.get("/selections")
def list_selections(request: Request, campaign: CampaignName) -> Page[SelectionOut]:
    """List selections, newest first."""
    found = service_of(request).factory.selections.list(campaign)
    return Page(items=[SelectionOut.model_validate(selection) for selection in found])


@reads.get("/selections/{selection}")
def get_selection(
    request: Request, campaign: CampaignName, selection: SelectionName, first: First = 0, limit: Items = 100
) -> SelectionDetail:
    """Return a selection with some of its galaxies."""
    found, galaxy_ids = service_of(request).factory.selections.get(campaign, selection)
    after = first + limit
    return SelectionDetail(
        **SelectionOut.model_validate(found).model_dump(),
        galaxies=list(galaxy_ids[first:after]),
        next=after if after < found.n else None,
    )


@reads.get("/requests")
def list_requests(request: Request, campaign: CampaignName) -> RequestsOut:
    """List galaxies that people asked for and no cycle has drawn yet, first come first."""
    selections = service_of(request).factory.selections
    budget = selections.budget(campaign)
    waiting = [RequestOut.model_validate(each) for each in selections.waiting(campaign)]
    return RequestsOut(budget=budget.votes, left=budget.left, waiting=waiting)


@writes.post("")
def save_selection(request: Request, campaign: CampaignName, body: SelectionIn, token: Operator) -> SelectionOut:
    """Keep galaxies under a name, those of a choice as it is now or named ones; the same again changes nothing."""
    selections = service_of(request).factory.selections
    if (body.galaxies is None) == (body.where is None):
        raise BadInput("a selection is of `galaxies`, or of what `where` holds: of one of them", field="galaxies")
    if body.galaxies is not None:
        source = {"kind": "list"}
        saved = selections.save(campaign, body.name, body.galaxies, actor=token.actor, source=source)
    else:
        choice = choice_of(body.where or (), sort=body.sort, descending=body.descending)
        saved = selections.save_choice(campaign, body.name, choice, actor=token.actor)
    return SelectionOut.model_validate(saved)


@writes.delete("/{selection}", status_code=HTTPStatus.NO_CONTENT)
def delete_selection(request: Request, campaign: CampaignName, selection: SelectionName, token: Operator) -> None:
    """Forget a selection; what was asked for stays so."""
    service_of(request).factory.selections.delete(campaign, selection, actor=token.actor)


@writes.post("/{selection}/send")
def send_selection(
    request: Request, campaign: CampaignName, selection: SelectionName, body: SendIn, token: Operator
) -> SentOut:
    """Ask for a selection's galaxies in the next cycle, within the operator's budget; none is asked for twice."""
    sent = service_of(request).factory.selections.send(
        campaign, selection, reason=body.reason, actor=token.actor, votes=body.votes
    )
    return SentOut.model_validate(sent)


@writes.post("/{selection}/withdraw")
def withdraw_selection(
    request: Request, campaign: CampaignName, selection: SelectionName, body: Reason, token: Operator
) -> WithdrawnOut:
    """Take back what no cycle has drawn yet of a selection."""
    selections = service_of(request).factory.selections
    return WithdrawnOut(galaxies=selections.withdraw(campaign, selection, reason=body.reason, actor=token.actor))


_TABLE: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The galaxies of the selection that the index has, with all columns.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.get("/{selection}/download")
@reads.get("/selections/{selection}/download", response_class=FileResponse, responses=_TABLE)
def download_selection(
    request: Request, campaign: CampaignName, selection: SelectionName, form: FormatName = "csv"
) -> FileResponse:
    """Download a selection as CSV, Parquet or FITS."""
    selections = service_of(request).factory.selections
    return file_response(
        lambda folder: selections.download(campaign, selection, form, folder), f"{campaign}-{selection}.{form}"
    )


# Pages


@router.get("")
def selections_page(request: Request, campaign: CampaignName) -> Response:
    """Show what was kept, and what waits for the next cycle."""
    return _show_all(service_of(request), request, campaign)


@router.post("")
def post_selection(request: Request, campaign: CampaignName, form: Form, session: Person) -> Response:
    """Keep what a page found under a name, then show it; a refusal is shown beside the list."""
    check_form(request, session, form)
    check_scope(session.token, Scope.OPERATE)
    service = service_of(request)
    try:
        saved = _save(service, campaign, form, session.token.actor)
    except NotAuthenticated:
        raise
    except AlserviceError as error:
        return _show_all(service, request, campaign, error=error)
    return _to(campaign, saved.name)


@router.get("/{selection}")
def selection_page(request: Request, campaign: CampaignName, selection: SelectionName, first: First = 0) -> Response:
    """Show one selection: its galaxies, what was asked for, and a form to ask."""
    return _show_one(service_of(request), request, campaign, selection, first=first)


@router.post("/{selection}/{what}")
def post_selection_act(
    request: Request,
    campaign: CampaignName,
    selection: SelectionName,
    what: Annotated[str, Path(pattern="^(send|withdraw|delete)$")],
    form: Form,
    session: Person,
) -> Response:
    """Ask for a selection, take that back, or forget it."""
    check_form(request, session, form)
    check_scope(session.token, Scope.OPERATE)
    service = service_of(request)
    selections, actor, reason = service.factory.selections, session.token.actor, form.get("reason", "")
    try:
        if what == "delete":
            selections.delete(campaign, selection, actor=actor)
            return _to(campaign)
        if what == "withdraw":
            n = selections.withdraw(campaign, selection, reason=reason, actor=actor)
            return _show_one(service, request, campaign, selection, done=f"{n} requests were taken back.")
        sent = selections.send(campaign, selection, reason=reason, actor=actor, votes=_votes(form.get("votes", "")))
    except NotAuthenticated:
        raise
    except AlserviceError as error:
        return _show_one(service, request, campaign, selection, error=error, reason=reason)
    # Not by another address: sent again, such as by reloading, the form asks for no galaxy twice.
    return _show_one(service, request, campaign, selection, done=f"{sent.text()}.")


def _save(service: Service, campaign: str, form: dict[str, str], actor: str) -> Selection:
    """Keep what a form states: conditions, or ids, each on a line of its own."""
    selections, name = service.factory.selections, form.get("name", "").strip()
    if "galaxies" in form:
        ids = [line.strip() for line in form["galaxies"].splitlines() if line.strip()]
        source = {"kind": form.get("from", "list")[:80]}
        return selections.save(campaign, name, ids, actor=actor, source=source)
    where = [line for line in form.get("where", "").splitlines() if line]
    choice = choice_of(where, sort=form.get("sort", NOVELTY), descending=form.get("descending") != "false")
    return selections.save_choice(campaign, name, choice, actor=actor)


def _show_all(service: Service, request: Request, campaign: str, *, error: AlserviceError | None = None) -> Response:
    row, selections = service.factory.campaigns.get(campaign), service.factory.selections
    response = show(
        service,
        request,
        row,
        "selections.html",
        "selections",
        selections=selections.list(campaign),
        waiting=selections.waiting(campaign),
        budget=selections.budget(campaign),
        error=error,
    )
    response.status_code = HTTPStatus.OK if error is None else status_of(error)
    return response


def _show_one(
    service: Service,
    request: Request,
    campaign: str,
    name: str,
    *,
    first: int = 0,
    done: str = "",
    reason: str = "",
    error: AlserviceError | None = None,
) -> Response:
    row, selections = service.factory.campaigns.get(campaign), service.factory.selections
    found, galaxy_ids = selections.get(campaign, name)
    opened, items = selections.shown(campaign, galaxy_ids, first=first, limit=SHOWN)
    response = show(
        service,
        request,
        row,
        "selection.html",
        "selections",
        selection=found,
        opened=opened,
        catalogue=service.factory.catalogues.newest(row.id),
        items=items,
        waiting=[each for each in selections.waiting(campaign) if each.selection == name],
        budget=selections.budget(campaign),
        votes=row.settings.acquisition.votes_per_galaxy,
        first=first,
        shown=SHOWN,
        done=done,
        reason=reason,
        error=error,
    )
    response.status_code = HTTPStatus.OK if error is None else status_of(error)
    return response


def _votes(text: str) -> int | None:
    if not text.strip():
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise BadInput("votes must be a number", field="votes")
    return int(text)


def _to(campaign: str, name: str = "") -> RedirectResponse:
    page = f"/campaigns/{campaign}/selections" + (f"/{quote(name)}" if name else "")
    return RedirectResponse(page, status_code=HTTPStatus.SEE_OTHER)
