"""Requests, replies and Panoptes' envelope: string ids, href, links, meta, ETag."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from typing import Any

from alservice.standin.config import StandinConfig, http_date
from alservice.standin.errors import api_error
from alservice.standin.replies import API_TYPE, Reply, dump_json
from alservice.standin.state import Transaction

Resource = dict[str, Any]

_ID_DIGITS = 18
"""The most digits that any number of SQLite's 64-bit integers may have."""

LINKS: dict[str, dict[str, str]] = {
    "projects": {"owner": "users", "workflows": "workflows", "subject_sets": "subject_sets"},
    "workflows": {
        "project": "projects",
        "subject_sets": "subject_sets",
        "tutorial_subject": "subjects",
        "published_version": "workflow_versions",
    },
    "subject_sets": {"project": "projects", "workflows": "workflows"},
    "subjects": {
        "project": "projects",
        "collections": "collections",
        "subject_sets": "subject_sets",
        "set_member_subjects": "set_member_subjects",
    },
    "set_member_subjects": {"subject_set": "subject_sets", "subject": "subjects"},
    "subject_workflow_statuses": {"subject": "subjects", "workflow": "workflows"},
    "classifications": {
        "project": "projects",
        "user": "users",
        "user_group": "user_groups",
        "workflow": "workflows",
        "subjects": "subjects",
    },
    "media": {"linked": "projects"},
    "project_roles": {"project": "projects", "owner": "owners"},
    "users": {},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One HTTP request, read to its last byte."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Message[str, str]
    body: bytes
    base_url: str
    client_ip: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Viewer:
    """Who a request comes from; everything is None or empty for an anonymous one."""

    user_id: int | None = None
    token_sent: bool = False
    token_is_valid: bool = False
    scopes: frozenset[str] = frozenset()


def _refuse_constant(name: str) -> None:
    """Refuse NaN and the infinities, which Python's reader takes and JSON does not have."""
    raise ValueError(f"{name} is not JSON")


def row_number(text: str) -> int:
    """Return the id that `text` writes; what no row can have, words or thirty digits, is 0, which none has."""
    digits = text.strip()
    return int(digits) if digits.isdecimal() and len(digits) <= _ID_DIGITS else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """What a handler works with: the request, its path parameters, its viewer and its transaction.

    `seen_lock` is the lock version of the subject set when the request arrived, on routes that check it.
    """

    request: Request
    config: StandinConfig
    parameters: Mapping[str, str]
    viewer: Viewer
    tx: Transaction
    seen_lock: int | None = None

    @property
    def id(self) -> int:
        """The numeric id in the path."""
        return row_number(self.parameters["id"])

    def document(self) -> dict[str, Any]:
        """Return the JSON body.

        Raises
        ------
        RefusalError
            400 when the body is not a JSON object.
        """
        try:
            body = json.loads(self.request.body or b"{}", parse_constant=_refuse_constant)
        except ValueError as error:
            raise api_error(400, "There was a problem parsing the JSON request body") from error
        if not isinstance(body, dict):
            raise api_error(400, "The JSON request body is not an object")
        return body

    def attributes(self, kind: str) -> dict[str, Any]:
        """Return the value under `kind` in the body, which Panoptes requires.

        Raises
        ------
        RefusalError
            422 when it is missing or empty, 500 when it is an array, as in Panoptes.
        """
        value = self.document().get(kind)
        if isinstance(value, list):
            raise api_error(500, f"undefined method `permit!' for an array of {kind}")
        if not isinstance(value, dict) or not value:
            raise api_error(422, f"param is missing or the value is empty: {kind}")
        return value


def link_templates(kind: str) -> dict[str, dict[str, str]]:
    """Return the top-level ``links`` of an envelope of `kind`."""
    return {
        f"{kind}.{name}": {"href": f"/{target}/{{{kind}.{name}}}", "type": target}
        for name, target in LINKS[kind].items()
    }


def resource(kind: str, row_id: int, attributes: Resource, links: Resource) -> Resource:
    """Return one entry of an envelope: string id, href, and every declared link."""
    return {"id": str(row_id), **attributes, "href": f"/{kind}/{row_id}", "links": links}


def strong_etag(kind: str, row_id: int, *revision: object) -> str:
    """Return the ETag of one row: it changes exactly when the row's `revision` does."""
    key = "-".join((kind, str(row_id), *map(str, revision)))
    return f'"{hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()}"'


def body_etag(body: bytes) -> str:
    """Return the ETag of a listing: the digest of what was sent, never the ETag of a row."""
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


def envelope(kind: str, resources: Sequence[Resource], meta: Resource) -> Resource:
    """Return the envelope around `resources`."""
    return {kind: list(resources), "links": link_templates(kind), "meta": {kind: meta}}


def one_page(kind: str, count: int = 1, size: int = 20) -> Resource:
    """Return the meta of an answer that fits on its only page."""
    return {
        "page": 1,
        "page_size": size,
        "count": count,
        "include": [],
        "page_count": 1,
        "previous_page": None,
        "next_page": None,
        "first_href": f"/{kind}",
        "previous_href": None,
        "next_href": None,
        "last_href": f"/{kind}",
    }


def shown(call: Call, kind: str, entry: Resource, etag: str) -> Reply:
    """Return the answer to a GET of one row; 304 when the reader has it."""
    return unless_known(call, dump_json(envelope(kind, [entry], one_page(kind))), etag)


def unless_known(call: Call, body: bytes, etag: str) -> Reply:
    """Return `body` with its ETag, or a 304 when ``If-None-Match`` names that ETag, weak or strong."""
    known = call.request.headers.get("If-None-Match", "")
    if etag in {name.strip().removeprefix("W/") for name in known.split(",")}:
        return Reply(status=304, headers={"ETag": etag})
    return Reply(status=200, body=body, headers={"Content-Type": API_TYPE, "ETag": etag})


def created(call: Call, kind: str, entry: Resource, etag: str) -> Reply:
    """Return the 201 of a new row: usable ETag, Location, Last-Modified."""
    return Reply(
        status=201,
        body=dump_json(envelope(kind, [entry], one_page(kind))),
        headers={
            "Content-Type": API_TYPE,
            "ETag": etag,
            "Location": f"{call.request.base_url}/api{entry['href']}",
            "Last-Modified": http_date(entry["updated_at"]),
        },
    )


def updated(kind: str, entry: Resource) -> Reply:
    """Return the 200 of a PUT or a link call: Last-Modified, and no ETag."""
    return Reply(
        status=200,
        body=dump_json(envelope(kind, [entry], one_page(kind))),
        headers={"Content-Type": API_TYPE, "Last-Modified": http_date(entry["updated_at"])},
    )


def require_match(call: Call, etag: str) -> None:
    """Check If-Match against the row's present ETag; the weak form is accepted.

    Raises
    ------
    RefusalError
        428 without the header, 412 when it names another revision.
    """
    claimed = call.request.headers.get("If-Match")
    if claimed is None:
        raise api_error(428, "Request requires If-Match header to be present")
    if claimed.removeprefix("W/") != etag:
        raise api_error(412, "JsonApiController::PreconditionFailed")
