"""Forms of the dashboard: log in and out, end sessions, and decide, each after a page that asks for a reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse

from alservice.access import Scope, check_scope
from alservice.errors import AlserviceError, BadInput, NotAuthenticated, NotFound
from alservice.ops.service import Act, Done
from alservice.web.problems import status_of
from alservice.web.schemas import CampaignName, SessionNumber
from alservice.web.security import (
    COOKIE,
    Session,
    check_same_origin,
    client_of,
    delete_cookie,
    log_in,
    person,
    set_cookie,
)
from alservice.web.service import Service, safe_next, service_of

router = APIRouter(include_in_schema=False)

MAX_FIELDS = 20
"""Fields of one form."""


async def form_of(request: Request) -> dict[str, str]:
    """Return the fields of a URL-encoded form; raises `BadInput` for anything else."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise BadInput(f"a form is sent as application/x-www-form-urlencoded, not as {kind[:100] or 'nothing'}")
    try:
        text = (await request.body()).decode()
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict"))
    except ValueError as error:
        raise BadInput("the form cannot be read: it is not UTF-8, or has too many fields") from error


Form = Annotated[dict[str, str], Depends(form_of)]
Person = Annotated[Session, Depends(person)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """Question that a page asks before an act.

    Parameters
    ----------
    needs
        Field of the act beside its reason: ``cycle``, ``model`` or none.
    """

    title: str
    consequence: str
    button: str
    needs: str | None = None
    is_grave: bool = False


QUESTIONS: Mapping[Act, Question] = {
    "approve": Question(
        title="Approve the candidate",
        consequence="The candidate becomes the champion and predicts from the next cycle on.",
        button="Approve and promote",
        needs="cycle",
    ),
    "reject": Question(
        title="Reject the candidate",
        consequence="The champion stays; the candidate is rejected for good.",
        button="Reject candidate",
        needs="cycle",
        is_grave=True,
    ),
    "roll-back": Question(
        title="Roll back",
        consequence="This earlier champion is live again at once, and the present one retires.",
        button="Roll back",
        needs="model",
        is_grave=True,
    ),
    "pause": Question(
        title="Pause the campaign",
        consequence="No cycle starts or advances until somebody resumes. A step that is at work finishes.",
        button="Pause campaign",
    ),
    "resume": Question(
        title="Resume the campaign",
        consequence="The pause ends, and a cycle that stopped goes back to the step it stopped in.",
        button="Resume campaign",
    ),
}


@router.get("/login")
def login_page(request: Request, target: Annotated[str, Query(alias="next")] = "/") -> Response:
    """Show the login."""
    return service_of(request).render(request, "login.html", target=safe_next(target), error=None)


@router.post("/login")
def post_login(request: Request, form: Form) -> Response:
    """Exchange a token for a session."""
    service = service_of(request)
    check_same_origin(request)
    target = safe_next(form.get("next", "/"))
    try:
        token = log_in(service, request, form.get("token", "").strip())
    except AlserviceError as error:
        return service.render(request, "login.html", target=target, error=error, status=status_of(error))
    factory = service.factory
    factory.access.end_cookie(request.cookies.get(COOKIE, ""))
    browser = request.headers.get("user-agent", "")
    cookie = factory.access.open_session(token, address=client_of(request), user_agent=browser)
    response = RedirectResponse(target, status_code=HTTPStatus.SEE_OTHER)
    set_cookie(request, response, cookie, secure=(factory.settings.dashboard_url or "").startswith("https:"))
    return response


@router.post("/logout")
def post_logout(request: Request, form: Form, session: Person) -> Response:
    """End the session, in this browser and wherever else its cookie is known."""
    check_form(request, session, form)
    service_of(request).factory.access.end_cookie(session.cookie)
    return _logged_out()


@router.get("/sessions")
def sessions(request: Request, session: Person) -> Response:
    """Show the sessions that were opened with this token."""
    service = service_of(request)
    found = service.factory.access.list_sessions(token=session.token)
    return service.render(request, "sessions.html", sessions=found)


@router.post("/sessions/{number}/end")
def post_session_end(request: Request, number: SessionNumber, form: Form, session: Person) -> Response:
    """End one of this token's sessions."""
    check_form(request, session, form)
    service_of(request).factory.access.end_session(number, token=session.token)
    if number == session.kept.id:
        return _logged_out()
    return RedirectResponse("/sessions", status_code=HTTPStatus.SEE_OTHER)


@router.post("/sessions/end")
def post_sessions_end(request: Request, form: Form, session: Person) -> Response:
    """Log out everywhere: end every session of this token."""
    check_form(request, session, form)
    service_of(request).factory.access.end_sessions(token_name=session.token.name)
    return _logged_out()


def _logged_out() -> Response:
    response = RedirectResponse("/login", status_code=HTTPStatus.SEE_OTHER)
    delete_cookie(response)
    return response


@router.get("/campaigns/{campaign}/act/{act}")
def get_act(request: Request, campaign: CampaignName, act: str, session: Person) -> Response:
    """Ask for confirmation and a reason."""
    question = _question(act)
    check_scope(session.token, Scope.OPERATE)
    service = service_of(request)
    service.factory.campaigns.get(campaign)
    given = request.query_params.get(question.needs, "") if question.needs else ""
    return _render_confirm(service, request, campaign, act, question, given=given, reason="", error=None)


@router.post("/campaigns/{campaign}/act/{act}")
def post_act(request: Request, campaign: CampaignName, act: str, session: Person, form: Form) -> Response:
    """Do what was confirmed, then show the campaign; a refusal is shown beside the form."""
    question = _question(act)
    check_form(request, session, form)
    check_scope(session.token, Scope.OPERATE)
    service = service_of(request)
    given, reason = form.get("given", ""), form.get("reason", "")
    try:
        done = _act(service, campaign, act, given, session.token.actor, reason)
    except NotAuthenticated:
        raise
    except AlserviceError as error:
        return _render_confirm(service, request, campaign, act, question, given=given, reason=reason, error=error)
    return RedirectResponse(f"/campaigns/{campaign}?done={done.act}", status_code=HTTPStatus.SEE_OTHER)


def _act(service: Service, campaign: str, act: str, given: str, actor: str, reason: str) -> Done:
    factory = service.factory
    match act:
        case "approve":
            return factory.ops.approve(campaign, cycle=_number(given, "cycle"), actor=actor, reason=reason)
        case "reject":
            return factory.ops.reject(campaign, cycle=_number(given, "cycle"), actor=actor, reason=reason)
        case "roll-back":
            return factory.ops.roll_back(campaign, model=_number(given, "model"), actor=actor, reason=reason)
        case "pause":
            return factory.ops.pause(campaign, actor=actor, reason=reason)
        case _:
            return factory.ops.resume(campaign, actor=actor, reason=reason)


def _render_confirm(
    service: Service,
    request: Request,
    campaign: str,
    act: str,
    question: Question,
    *,
    given: str,
    reason: str,
    error: AlserviceError | None,
) -> Response:
    return service.render(
        request,
        "confirm.html",
        status=HTTPStatus.OK if error is None else status_of(error),
        campaign=campaign,
        act=act,
        question=question,
        given=given,
        reason=reason,
        error=error,
    )


def check_form(request: Request, session: Session, form: Mapping[str, str]) -> None:
    """Raise `NotAllowed` unless a form comes from a page of its own session."""
    check_same_origin(request)
    session.check_csrf(form.get("csrf", ""))


def _question(act: str) -> Question:
    for name, question in QUESTIONS.items():
        if name == act:
            return question
    raise NotFound(f"there is no act {act[:50]!r}")


def _number(text: str, field: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BadInput(f"{field} must be a number", field=field)
    return int(text)
