"""Caesar's webhook: reductions in KaDE's form, so that a survey running KaDE can point its effects at us.

Caesar fires an effect on every later classification and tries again until it is answered 2xx: a late or repeated
reduction is a success. What can never succeed is answered 4xx with the field at fault, what may pass 503.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from alservice.errors import AlserviceError, BadInput, NotFound
from alservice.factory.feeds import ReceiveReductions, WebhookRefused, receive_reductions

MAX_BODY_BYTES: Final = 256 * 1024
"""Largest body: a reduction has some hundred bytes, and its subject's metadata some thousands."""

RETRY_S: Final = 30
"""Seconds after which Caesar may try again; it decides for itself."""

_STATUS: Final[dict[type[AlserviceError], int]] = {WebhookRefused: 401, NotFound: 404, BadInput: 422}

router = APIRouter(tags=["caesar"])


def receiver(request: Request) -> ReceiveReductions:
    """Return the service behind the webhook, from the factory that the application was made with."""
    return receive_reductions(request.app.state.factory)


_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"description": what, "content": {"application/json": {}}}
    for status, what in (
        (401, "No login, or a wrong one."),
        (404, "No campaign has this key."),
        (413, "The body is too long."),
        (422, "The body is no reduction; the field at fault is named."),
        (503, "Not now: try again later."),
    )
}


@router.post("/caesar/reductions/{key}", status_code=204, response_class=Response, responses=_ANSWERS)
async def post_reduction(
    key: str, request: Request, receive: Annotated[ReceiveReductions, Depends(receiver)]
) -> Response:
    """Keep one reduction; 401 and 404 for credentials and key, 413 and 422 for the body."""
    login = basic_login(request.headers.get("Authorization"))
    if login is None:
        return _refusal(401, "webhook-refused", "user name and password are due (HTTP basic)")
    body = await read_body(request, MAX_BODY_BYTES)
    if body is None:
        return _refusal(413, "bad-reduction", f"the body is over {MAX_BODY_BYTES} bytes", field="body")
    try:
        await run_in_threadpool(receive.run, key, user=login[0], password=login[1], body=body)
    except AlserviceError as error:
        return _answer(error)
    return Response(status_code=204)


def basic_login(header: str | None) -> tuple[str, str] | None:
    """Return user name and password of an Authorization header, None when there are none."""
    scheme, _, value = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(value.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    user, colon, password = text.partition(":")
    return (user, password) if colon else None


async def read_body(request: Request, most: int) -> bytes | None:
    """Return the body, None when it is longer than so many bytes; no more than that is ever read."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            return None
        parts.append(part)
    return b"".join(parts)


def _answer(error: AlserviceError) -> Response:
    status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), None)
    if status is not None:
        return _refusal(status, error.code, error.message, field=error.evidence.get("field"))
    response = _refusal(503, error.code, "not now: try again later")
    response.headers["Retry-After"] = str(RETRY_S)
    return response


def _refusal(status: int, code: str, message: str, *, field: object = None) -> Response:
    """Return what is wrong as JSON; nothing of what was sent but names of fields."""
    content = {"error": message, "code": code} | ({} if field is None else {"field": field})
    headers = {"WWW-Authenticate": 'Basic realm="alservice", charset="UTF-8"'} if status == 401 else None
    return JSONResponse(content, status_code=status, headers=headers)
