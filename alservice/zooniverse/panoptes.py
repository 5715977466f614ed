"""Connections to Zooniverse through panoptes_client, the only place that imports it.

Of the client we use the login, the tokens and one call, `http_request`. Its objects retry creates, drop
failed uploads, take empty refusals for success and never time out; `panoptes_http` judges replies. None of the
environment variables that it knows is read: whatever they say, a campaign talks to its own endpoint with the
credentials of our settings.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidSchema

from alservice.errors import BadConfig, ZooniverseRefused, ZooniverseUnavailable
from alservice.zooniverse.http import Media, NoAnswer, Timeouts, judge, judge_login, never_sent
from alservice.zooniverse.panoptes_api import Call
from alservice.zooniverse.sessions import Session

_NOT_ASKED: Final = "-"
"""Given to the client's constructor for what it would otherwise ask the environment; put right before any use."""

_IMPORTING: Final = threading.Lock()


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """A user's login and password, or an application's id and secret; exactly one pair.

    A user logs in through the client's own application.
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
    """One thread's client and files; both share a pool, so a thread holds one connection per host.

    The client's session, which carries login and token, reaches the endpoint and no other server.
    """

    def __init__(self, endpoint: str, credentials: Credentials, timeouts: Timeouts) -> None:
        self._endpoint = endpoint
        self._api_root = f"{endpoint}/api/"
        self._library = _import_library()
        self._client = _make_client(self._library, endpoint, credentials)
        adapter = HTTPAdapter()
        session = self._client.session = Session(endpoint, is_confined=True, adapter=adapter)
        # The client's calls name no time-out.
        self._client.session.request = partial(session.request, timeout=(timeouts.connect_s, timeouts.read_s))
        session.hooks["response"].append(self._judge_login)
        self.media = Media(Session(endpoint, adapter=adapter), timeouts)

    def send(self, call: Call) -> requests.Response:
        """Send one call, once, and return its success; see `Connection.send`."""
        try:
            response: requests.Response = self._client.http_request(
                call.method, call.path, dict(call.where), {}, json=call.body, etag=call.etag
            )
        except self._library.PanoptesAPIException as error:
            raise NoAnswer(f"{call}: {error}") from error
        except InvalidSchema as error:
            raise ZooniverseRefused(f"{call}: {self._endpoint} sends it on to another server") from error
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


def _import_library() -> Any:
    """Import the client and leave the root logger as it was: the import configures it, as ``PANOPTES_DEBUG`` says."""
    with _IMPORTING:
        root = logging.getLogger()
        level, handlers = root.level, root.handlers[:]
        from panoptes_client import panoptes

        root.setLevel(level)
        root.handlers[:] = handlers
    return panoptes


def _make_client(library: Any, endpoint: str, credentials: Credentials) -> Any:
    """Return a client that was told everything; an empty login keeps its constructor from logging in."""
    applications = vars(library.Panoptes)["_endpoint_client_ids"]
    client = library.Panoptes(
        endpoint=endpoint,
        username="",
        password="",
        client_id=credentials.client_id or applications.get(endpoint, applications["default"]),
        client_secret=_NOT_ASKED,
        redirect_url=_NOT_ASKED,
    )
    client.username, client.password = credentials.username, credentials.password
    client.client_secret, client.redirect_url = credentials.client_secret, None
    return client
