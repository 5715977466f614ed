"""Connections to Zooniverse through panoptes_client, the only place that imports it.

Of the client we use the login, the tokens and one call, `http_request`. Its objects retry creates, drop
failed uploads, take empty refusals for success and never time out; `panoptes_http` judges replies.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import requests
from panoptes_client.panoptes import Panoptes, PanoptesAPIException
from requests.adapters import HTTPAdapter

from alservice.adapters.panoptes_api import Call
from alservice.adapters.panoptes_http import (
    Media,
    NoAnswer,
    Timeouts,
    as_it_is,
    judge,
    judge_login,
    never_sent,
)
from alservice.errors import BadConfig, ZooniverseUnavailable

_LIST_PAGE: Final = 200
"""Subjects or sets asked for per page: production's cap; more is silently clipped."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """A user's login and password, or an application's id and secret; exactly one pair.

    A user logs in through the client's own application, or the one that ``PANOPTES_CLIENT_ID`` names.
    """

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        user = bool(self.username), bool(self.password)
        application = bool(self.client_id), bool(self.client_secret)
        if {user, application} != {(True, True), (False, False)}:
            raise BadConfig("Zooniverse needs a user name and password, or a client id and secret")

    @property
    def login(self) -> str:
        """Who this is, for people."""
        return self.username or f"application {self.client_id}"


class ClientConnection:
    """One thread's client and files; both share a pool, so a thread holds one connection per host."""

    def __init__(self, endpoint: str, credentials: Credentials, timeouts: Timeouts) -> None:
        self._api_root = f"{endpoint}/api/"
        # Empty credentials keep the constructor from the environment, and from a login that cannot time out.
        self._client: Any = Panoptes(endpoint=endpoint, username="", password="")
        self._client.username, self._client.password = credentials.username, credentials.password
        self._client.client_id = credentials.client_id or self._client.client_id
        self._client.client_secret = credentials.client_secret
        session = self._client.session
        session.request = partial(session.request, timeout=(timeouts.connect_s, timeouts.read_s))
        session.hooks["response"].append(self._judge_login)
        files = requests.Session()
        adapter = HTTPAdapter()
        for each in (session, files):
            each.auth = as_it_is
            each.mount("http://", adapter)
            each.mount("https://", adapter)
        self.media = Media(files, timeouts)

    def send(self, call: Call) -> requests.Response:
        """Send one call, once, and return its success; see `Connection.send`."""
        try:
            with self._client:  # else its classes would find an anonymous client of the public site
                response: requests.Response = self._client.http_request(
                    call.method, call.path, dict(call.where), {}, json=call.body, etag=call.etag
                )
        except PanoptesAPIException as error:
            raise NoAnswer(f"{call}: {error}") from error
        except requests.RequestException as error:
            raise self._lost(error, call) from error
        except (KeyError, TypeError, ValueError) as error:
            # The client reads no API reply in this call, only replies to token calls, and those come first.
            raise ZooniverseUnavailable(f"{call}: no token in the answer ({error!r})") from error
        judge(response, str(call))
        return response

    def _judge_login(self, response: requests.Response, **_: object) -> None:
        if not response.url.startswith(self._api_root):
            judge_login(response)

    def _lost(self, error: requests.RequestException, call: Call) -> ZooniverseUnavailable:
        url = error.request.url if error.request is not None else None
        at_login = url is not None and not url.startswith(self._api_root)
        kind = ZooniverseUnavailable if at_login or never_sent(error) else NoAnswer
        return kind(f"{call}: {type(error).__name__} at {self._api_root}")
