"""The REST API, acting: gate decisions, roll back, pause and resume, each once per idempotency key."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request, Response
from pydantic import BaseModel

from alservice.access import Scope, Token
from alservice.app import operations
from alservice.app.operations import Done
from alservice.app.serving import answers
from alservice.errors import AlserviceError, Retriable
from alservice.ops.tokens import Answer
from alservice.web.problems import problem_response, responses
from alservice.web.schemas import ActOut, CampaignName, CycleNumber, DecideIn, Reason, RollBackIn
from alservice.web.security import token_with
from alservice.web.service import service_of

router = APIRouter(prefix="/api/v1/campaigns/{campaign}", tags=["operate"], responses=responses(404, 409))

Operator = Annotated[Token, Depends(token_with(Scope.OPERATE))]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[!-~]{1,200}$",
        description="The same key and body again gives the first answer and does nothing.",
    ),
]


@router.post("/cycles/{number}/decision", response_model=ActOut)
def decide(
    request: Request, campaign: CampaignName, number: CycleNumber, body: DecideIn, token: Operator, key: Key = None
) -> Response:
    """Approve or reject the candidate of a held cycle."""
    act = operations.approve if body.verdict == "approve" else operations.reject
    factory = service_of(request).factory
    return _once(
        request,
        token,
        key,
        body,
        lambda: act(factory, campaign, cycle=number, actor=token.actor, reason=body.reason),
    )


@router.post("/rollback", response_model=ActOut)
def roll_back(request: Request, campaign: CampaignName, body: RollBackIn, token: Operator, key: Key = None) -> Response:
    """Make an earlier champion live again."""
    factory = service_of(request).factory
    return _once(
        request,
        token,
        key,
        body,
        lambda: operations.roll_back(factory, campaign, model=body.model, actor=token.actor, reason=body.reason),
    )


@router.post("/pause", response_model=ActOut)
def pause(request: Request, campaign: CampaignName, body: Reason, token: Operator, key: Key = None) -> Response:
    """Let nothing of a campaign start or advance; a step at work finishes."""
    factory = service_of(request).factory
    return _once(
        request,
        token,
        key,
        body,
        lambda: operations.pause(factory, campaign, actor=token.actor, reason=body.reason),
    )


@router.post("/resume", response_model=ActOut)
def resume(request: Request, campaign: CampaignName, body: Reason, token: Operator, key: Key = None) -> Response:
    """End a pause, and bring a stopped cycle back to its step."""
    factory = service_of(request).factory
    return _once(
        request,
        token,
        key,
        body,
        lambda: operations.resume(factory, campaign, actor=token.actor, reason=body.reason),
    )


def _once(request: Request, token: Token, key: str | None, body: BaseModel, act: Callable[[], Done]) -> Response:
    """Act, or give the answer of the first time; a refusal that can pass is not kept."""
    if key is None:
        return _answered(act())
    kept = answers(service_of(request).factory)
    said = f"{request.method} {request.url.path}\n{body.model_dump_json()}"
    before = kept.claim(token.id, key, hashlib.sha256(said.encode()).hexdigest())
    if before is not None:
        return _response(before)
    try:
        response = _answered(act())
    except Retriable:
        kept.release(token.id, key)
        raise
    except AlserviceError as error:
        response = problem_response(request, error)
    except BaseException:
        kept.release(token.id, key)
        raise
    kept.save(token.id, key, Answer(status=response.status_code, body=bytes(response.body).decode()))
    return response


def _answered(done: Done) -> Response:
    out = ActOut(act=done.act, campaign=done.campaign, sentence=done.sentence)
    return Response(out.model_dump_json(), media_type="application/json")


def _response(answer: Answer) -> Response:
    ok = answer.status < 400
    media = "application/json" if ok else "application/problem+json"
    return Response(answer.body, status_code=answer.status, media_type=media, headers={"Idempotent-Replayed": "true"})
