"""HTTP replies, and the JSON in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

API_TYPE = "application/vnd.api+json; version=1; charset=utf-8"
JSON_TYPE = "application/json; charset=utf-8"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """One HTTP reply; an empty `body` is sent with Content-Length 0 unless the status is 204 or 304."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def dump_json(value: object) -> bytes:
    """Return compact JSON in UTF-8."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def json_reply(status: int, value: object, *, content_type: str = JSON_TYPE) -> Reply:
    """Return a reply with a JSON body."""
    return Reply(status=status, body=dump_json(value), headers={"Content-Type": content_type})
