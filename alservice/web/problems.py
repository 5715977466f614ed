"""Typed errors as answers: problem JSON (RFC 9457) with the stable code, or a page for people."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from alservice.errors import (
    AlserviceError,
    BadInput,
    Conflict,
    IllegalTransition,
    KeyReused,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    Retriable,
    SchemaMismatch,
    TooLarge,
    TooManyRequests,
)
from alservice.web.service import is_page, login_url, service_of

log = logging.getLogger("alservice.web")

MEDIA_TYPE = "application/problem+json"

CAESAR = "/caesar/"
"""Begins the addresses that Caesar sends to."""

GONE = 499
"""Status, known from nginx, of a request whose client left; `HTTPStatus` has none."""

RETRY_S = 30
"""Seconds after which it makes sense to try again what may pass."""

STATUS: tuple[tuple[type[AlserviceError], HTTPStatus], ...] = (
    (NotAuthenticated, HTTPStatus.UNAUTHORIZED),
    (NotAllowed, HTTPStatus.FORBIDDEN),
    (NotFound, HTTPStatus.NOT_FOUND),
    (Conflict, HTTPStatus.CONFLICT),
    (IllegalTransition, HTTPStatus.CONFLICT),
    (KeyReused, HTTPStatus.UNPROCESSABLE_ENTITY),
    (TooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (TooManyRequests, HTTPStatus.TOO_MANY_REQUESTS),
    (BadInput, HTTPStatus.UNPROCESSABLE_ENTITY),
    (SchemaMismatch, HTTPStatus.SERVICE_UNAVAILABLE),
    (Retriable, HTTPStatus.SERVICE_UNAVAILABLE),
)
"""First match wins; any other error is a fault of ours."""


class Problem(BaseModel):
    """What went wrong, for programs: the code is stable, the sentences are for people."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    remedy: str | None = None
    field: str | None = None


class Application(FastAPI):
    """An application whose OpenAPI document holds the schema of problems, which no endpoint returns as its model."""

    def openapi(self) -> dict[str, Any]:
        """Return the document."""
        document = super().openapi()
        document["components"]["schemas"].setdefault(Problem.__name__, Problem.model_json_schema())
        return document


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the error answers of an endpoint, for its OpenAPI description."""
    always = (400, 401, 403, 413, 422, 429, 503)
    schema = {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: schema}}
        for status in sorted({*always, *statuses})
    }


def status_of(error: AlserviceError) -> HTTPStatus:
    """Return the HTTP status that an error is answered with."""
    return next((s for kind, s in STATUS if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)


def install(app: FastAPI) -> None:
    """Answer every error in one form."""
    app.add_exception_handler(AlserviceError, _typed)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _unforeseen)


def problem_response(request: Request, error: AlserviceError) -> Response:
    """Return the answer to a request that a typed error ended.

    Above 500 the error's own words stay in the log: they may name hosts and folders.
    """
    status = status_of(error)
    ours = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    level = logging.ERROR if ours else logging.WARNING
    log.log(level, "%s %s refused with %d: %s", request.method, request.url.path, status, error)
    detail = (type(error).__doc__ or "").partition("\n")[0] if ours else error.message
    remedy = None if error.remedy == AlserviceError.remedy else error.remedy
    field = error.evidence.get("field")
    return _answer(request, status, error.code, detail, remedy, _headers(request, error), field=field)


def _headers(request: Request, error: AlserviceError) -> dict[str, str]:
    if isinstance(error, NotAuthenticated):
        basic = request.url.path.startswith(CAESAR)  # elsewhere a browser would ask for a user name
        return {"WWW-Authenticate": f'{"Basic" if basic else "Bearer"} realm="alservice"'}
    if isinstance(error, TooManyRequests):
        return {"Retry-After": str(error.evidence.get("retry_after_s", 60))}
    return {"Retry-After": str(RETRY_S)} if isinstance(error, Retriable) else {}


def _answer(
    request: Request,
    status: HTTPStatus,
    code: str,
    detail: str,
    remedy: str | None,
    headers: dict[str, str],
    field: object = None,
) -> Response:
    if is_page(request.url.path):
        return service_of(request).render(
            request, "error.html", status=status, code=code, detail=detail, remedy=remedy, headers=headers
        )
    problem = Problem(
        type=f"urn:alservice:{code}",
        title=status.phrase,
        status=status,
        detail=detail,
        code=code,
        remedy=remedy,
        field=field if isinstance(field, str) else None,
    )
    return JSONResponse(
        problem.model_dump(exclude_none=True), status_code=status, media_type=MEDIA_TYPE, headers=headers
    )


async def _typed(request: Request, error: Exception) -> Response:
    if not isinstance(error, AlserviceError):
        raise error
    if isinstance(error, NotAuthenticated) and is_page(request.url.path) and request.method == "GET":
        return RedirectResponse(login_url(request), status_code=HTTPStatus.SEE_OTHER)
    return problem_response(request, error)


async def _invalid(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
    return problem_response(request, BadInput("; ".join(faults)[:2000]))


async def _http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    if isinstance(error.__cause__, ClientDisconnect):
        return await _gone(request, error.__cause__)
    if isinstance(error.__cause__, AlserviceError):  # FastAPI wraps what ends the reading of a body
        return problem_response(request, error.__cause__)
    status = HTTPStatus(error.status_code)
    if status is HTTPStatus.NOT_FOUND:
        return problem_response(request, NotFound(f"there is nothing at {request.url.path[:200]}"))
    code = status.phrase.lower().replace(" ", "-")
    log.warning("%s %s refused with %d", request.method, request.url.path, status)
    return _answer(request, status, code, str(error.detail), None, dict(error.headers or {}))


async def _gone(request: Request, _: Exception) -> Response:
    """Note that a client left before its request was whole; the answer is for the count of answers alone."""
    log.info("%s %s: the client left before its request was whole", request.method, request.url.path)
    return Response(status_code=GONE)


async def _unforeseen(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    detail = "The service met an error that it does not know; its log has the details."
    return _answer(request, HTTPStatus.INTERNAL_SERVER_ERROR, "internal-error", detail, None, {})
