"""Refusals that are sent before a request has a handler: the same problem JSON as everywhere, without FastAPI."""

from __future__ import annotations

import json
from http import HTTPStatus

from alservice.errors import AlserviceError


def refusal(error: AlserviceError, status: HTTPStatus) -> tuple[HTTPStatus, list[tuple[bytes, bytes]], bytes]:
    """Return status, headers and body of an answer that tells a typed error."""
    document = {
        "type": f"urn:alservice:{error.code}",
        "title": status.phrase,
        "status": status.value,
        "detail": error.message,
        "code": error.code,
    }
    if error.remedy != AlserviceError.remedy:
        document["remedy"] = error.remedy
    body = json.dumps(document).encode()
    headers = [(b"content-type", b"application/problem+json"), (b"content-length", str(len(body)).encode())]
    return status, headers, body
