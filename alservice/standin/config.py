"""What the stand-in is told when it starts, and the credentials it may invent."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from alservice.errors import BadConfig

Clock = Callable[[], datetime]
"""Returns the present as an aware datetime in UTC."""


def system_clock() -> datetime:
    """Return the present of this machine in UTC."""
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    """Return `moment` as JSON carries it, milliseconds and a Z; sorts as text in order of time."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def parse_stamp(text: str) -> datetime:
    """Return the moment written by `stamp`."""
    return datetime.fromisoformat(text)


def csv_stamp(text: str | None) -> str:
    """Return a stamp as the exports write it, ``2021-08-06 11:08:53 UTC``; blank for none."""
    return "" if text is None else f"{parse_stamp(text):%Y-%m-%d %H:%M:%S} UTC"


def http_date(text: str) -> str:
    """Return a stamp as HTTP headers carry it."""
    return f"{parse_stamp(text):%a, %d %b %Y %H:%M:%S} GMT"


PUBLIC_CLIENT_ID = "ce310d45f951de68c4cc8ef46ca38cc0a008f607a2026680295757bfef99f43c"
"""The application id built into panoptes-client for password logins; public, not a secret."""

ALL_SCOPES = "public user project group collection classification subject medium organization translation"


@dataclass(frozen=True, kw_only=True, slots=True)
class StandinConfig:
    """Settings of one stand-in; what is persisted in `state` wins over the ``first_*`` ids on a restart.

    Attributes
    ----------
    state
        Folder of the database and the uploaded files; created when absent.
    host, port
        Where to listen; port 0 takes any free one.
    users
        Pairs of login and password. The first login ever seen owns the project. May be empty when `state`
        knows its users already; a pair given again replaces the stored password.
    client_id, client_secret, client_scopes
        An optional application for the client-credentials grant; its tokens belong to the project owner.
    project_id, project_name, workflow_id
        The one project and its first workflow.
    live_project
        Whether the project counts and retires; applied at each start.
    subject_limit
        Subjects one account may upload, soft-deleted ones included.
    subject_uploading
        The feature flag behind POST /subjects; off means 503.
    settle_s
        Seconds until asynchronous effects (retirement, counters, status rows, exports) become visible.
        With 0 the effect of a call is visible to the next call, never to its own answer.
    page_size_limit
        The cap on ``page_size``; 200 in production, 100 elsewhere, 25 for workflows in any case.
    token_lifetime_s
        Seconds an access token lives.
    upload_lifetime_s
        Seconds a signed URL lives; 300 on Azure.
    first_subject_id, first_subject_set_id, first_classification_id
        Nine digits by default for subjects and classifications, as in production.
    seed
        Makes ids of files, tokens, pseudonyms and queue order reproducible; None draws a secret from the
        operating system once and keeps it in `state`.
    """

    state: Path
    host: str = "127.0.0.1"
    port: int = 0
    users: tuple[tuple[str, str], ...] = ()
    client_id: str | None = None
    client_secret: str | None = None
    client_scopes: str = ALL_SCOPES
    project_id: int = 1
    project_name: str = "Galaxy Zoo Rehearsal"
    workflow_id: int = 10
    live_project: bool = True
    subject_limit: int = 10_000
    subject_uploading: bool = True
    settle_s: float = 0.0
    page_size_limit: int = 200
    token_lifetime_s: int = 7200
    upload_lifetime_s: int = 300
    first_subject_id: int = 100_000_001
    first_subject_set_id: int = 1001
    first_classification_id: int = 500_000_001
    seed: int | None = None

    def __post_init__(self) -> None:
        if (self.client_id is None) != (self.client_secret is None):
            raise BadConfig("client_id and client_secret of the stand-in go together")
        if not self.host:
            raise BadConfig("host of the stand-in is empty, which is every address of this machine; name one")
        if self.settle_s < 0:
            raise BadConfig(f"settle_s of the stand-in is {self.settle_s}; it must not be negative")
        for login, password in self.users:
            if not login or not password:
                raise BadConfig(f"user {login!r} of the stand-in needs a login and a password")


def generate_credentials() -> tuple[str, str]:
    """Return a login and a fresh random password for an owner nobody named."""
    return "surveyor", secrets.token_urlsafe(18)
