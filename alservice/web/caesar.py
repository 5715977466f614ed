"""Caesar's webhook: reductions in KaDE's form, so that a survey running KaDE can point its effects at us.

Caesar fires an effect on every later classification and tries again until it is answered 2xx: a late or repeated
reduction is a success. What can never succeed is answered 4xx with the field at fault, what may pass 503. Caesar can
send basic auth: its password is a token of scope ingest. Who shows none learns nothing of which keys there are.
"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from alservice.access import Scope, Token
from alservice.errors import TooLarge
from alservice.web.problems import responses
from alservice.web.security import token_with
from alservice.web.service import service_of

MAX_BODY_BYTES: Final = 256 * 1024
"""Largest body: a reduction has some hundred bytes, and its subject's metadata some thousands."""

WebhookKey = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,120}$", description="The webhook's key, and `_` task.")]

_BODY: Final = {"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}}

router = APIRouter(tags=["caesar"])


@router.post(
    "/caesar/reductions/{key}",
    status_code=204,
    response_class=Response,
    responses=responses(404),
    openapi_extra=_BODY,
)
async def post_reduction(
    key: WebhookKey, request: Request, token: Annotated[Token, Depends(token_with(Scope.INGEST))]
) -> Response:
    """Keep one reduction."""
    body = await read_body(request, MAX_BODY_BYTES)
    receive = service_of(request).factory.votes.receive()
    await run_in_threadpool(receive.run, key, token=token, body=body)
    return Response(status_code=204)


async def read_body(request: Request, most: int) -> bytes:
    """Return the body; raises `TooLarge` when it is longer than so many bytes, and no more than that is ever read."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise TooLarge(f"the body is over {most} bytes", field="body")
        parts.append(part)
    return b"".join(parts)
