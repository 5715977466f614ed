"""Panoptes over HTTP: what a reply means, and the requests that panoptes_client has no part in."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidSchema
from urllib3.exceptions import MaxRetryError, NewConnectionError

from alservice.constants import MAX_IMAGE_BYTES
from alservice.errors import AllowanceExhausted, BadConfig, ZooniverseRefused, ZooniverseUnavailable
from alservice.meters import measured
from alservice.retry import RetryPolicy, retried
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


T = TypeVar("T")
Query = Mapping[str, object]


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One request of the API.

    Parameters
    ----------
    path
        Below ``/api``, with a leading slash.
    etag
        State that a write expects to find.
    """

    method: str
    path: str
    where: Query = field(default_factory=dict)
    body: Document | None = None
    etag: str | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def kind(self) -> str:
        """The kind of resource that the path begins with."""
        return self.path.split("/")[1]


class Connection(Protocol):
    """What one thread talks through."""

    media: Media

    def send(self, call: Call) -> requests.Response:
        """Send one call, once, and return its success; raises what `panoptes_http.judge` does."""


class PanoptesApi:
    """The API as documents; threads may share it.

    Parameters
    ----------
    connect
        Makes a connection, without a request; each thread gets its own, because clients that share a token
        break it when they refresh it together.
    sleep, chance
        Wait some seconds; draw a number in [0, 1) that spreads retries.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        *,
        retry: RetryPolicy,
        sleep: Callable[[float], None],
        chance: Callable[[], float],
    ) -> None:
        self._connect = connect
        self._retry = retry
        self._sleep = sleep
        self._chance = chance
        self._local = threading.local()

    @property
    def media(self) -> Media:
        """The calling thread's way to files."""
        return self._connection().media

    def retried(self, repeatable: Callable[[], T]) -> T:
        """Return what a call returns that is safe to repeat, over passing failures."""
        return retried(repeatable, policy=self._retry, on=ZooniverseUnavailable, sleep=self._sleep, chance=self._chance)

    def send(self, call: Call) -> requests.Response:
        """Return the success of one call, sent once.

        After a 401 the login is renewed and the call sent again: a 401 comes before the server looks at the
        call, so that is safe even for a create.
        """
        known = getattr(self._local, "connection", None) is not None
        try:
            return self._once(call)
        except LoginExpired:
            self._local.connection = None
            if not known:
                raise
        return self._once(call)

    def _once(self, call: Call) -> requests.Response:
        with measured("zooniverse", f"{call.method} {call.kind}"):
            return self._connection().send(call)

    def act(self, call: Call) -> None:
        """Send a call that answers 204 and no more; `Unreadable` for any other success."""
        status = self.send(call).status_code
        if status != 204:
            raise Unreadable(f"{call}: {status} instead of 204")

    def post(self, path: str, kind: str, body: Document) -> Document:
        """Return the resource that a POST answers with, sent once."""
        call = Call(method="POST", path=path, body=body)
        return only(resources(document(self.send(call), str(call)), kind, str(call)), str(call))

    def one(self, kind: str, identity: int) -> Document:
        """Return a resource by id."""
        path = f"/{kind}/{identity}"
        return only(self.listing(path, kind, {}), f"GET {path}")

    def listing(self, path: str, kind: str, where: Query) -> list[Document]:
        """Return one page of resources."""
        return resources(self.read(path, where), kind, f"GET {path}")

    def pages(self, path: str, kind: str, where: Query) -> Iterator[Document]:
        """Yield the resources of all pages, first to last."""
        number = last = 1
        while number <= last:
            body = self.read(path, {**where, "page": number})
            yield from resources(body, kind, f"GET {path}")
            last = page_count(body, kind, f"GET {path}")
            number += 1

    def read(self, path: str, where: Query) -> Document:
        """Return the document of a GET, over passing failures."""
        call = Call(method="GET", path=path, where=where)
        return self.retried(lambda: document(self.send(call), str(call)))

    def _connection(self) -> Connection:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
        return connection


def only(entries: list[Document], what: str) -> Document:
    """Return the first of some resources, `Unreadable` when there is none."""
    if not entries:
        raise Unreadable(f"{what}: the answer is an empty list")
    return entries[0]


Document = dict[str, Any]
"""A JSON object of the API."""

_WAIT: Final = frozenset({408, 409, 412, 429})
"""Client errors that pass: a time-out, a set being rewritten, a changed ETag, the edge asking for less."""


class LoginExpired(ZooniverseRefused):
    """The token or the login was not accepted: a new login may be."""


class Missing(ZooniverseRefused):
    """What was asked for does not exist, or is hidden from us."""


class Unreadable(ZooniverseRefused):
    """A success without the content it owes."""


class NoAnswer(ZooniverseUnavailable):
    """The request was sent and no trustworthy answer came: it may have been carried out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeouts:
    """Longest waits: for a connection, and between two bytes of an answer (seconds)."""

    connect_s: float = 10.0
    read_s: float = 60.0


def judge(response: requests.Response, what: str) -> None:
    """Raise what an API status means; a success passes.

    Raises
    ------
    LoginExpired
        401: token expired or revoked.
    AllowanceExhausted
        403 that counts uploads.
    Missing
        404.
    NoAnswer
        5xx, 408, 409, 412 or 429.
    ZooniverseRefused
        Any other client error, an empty 403 for want of a scope among them.
    """
    status = response.status_code
    if status < 400:
        return
    said = _message(response)
    text = f"{what}: {status} {said}"
    if status == 401:
        raise LoginExpired(text, status=status)
    if status == 403 and "has uploaded" in said and "maximum" in said:
        raise AllowanceExhausted(text, status=status)
    if status == 404:
        raise Missing(text, status=status)
    if status in _WAIT or status >= 500:
        raise NoAnswer(text, status=status)
    raise ZooniverseRefused(text, status=status)


def judge_login(response: requests.Response) -> None:
    """Raise what is wrong with a reply to a login or token call.

    panoptes_client looks for tokens in any reply at all; a refusal would surface as a `KeyError` or worse.

    Raises
    ------
    ZooniverseUnavailable
        5xx, 408 or 429, or a success without its token, such as a maintenance page.
    LoginExpired
        Credentials, application or refresh token were not accepted.
    """
    request = response.request
    path = urlsplit(request.url or "").path
    status = response.status_code
    text = f"{request.method} {path}: {status} {_message(response)}"
    if status >= 500 or status in _WAIT:
        raise ZooniverseUnavailable(text, status=status)
    if status >= 400:
        raise LoginExpired(text, status=status)
    due = {"GET": "x-csrf-token" in response.headers, "POST": isinstance(_json(response), dict)}
    if not due.get(request.method or "", True):
        raise ZooniverseUnavailable(f"{request.method} {path}: {status} without a token", status=status)


def never_sent(error: requests.RequestException) -> bool:
    """Return whether a request failed before a single byte of it left."""
    if isinstance(error, requests.ConnectTimeout):
        return True
    cause = error.args[0] if error.args else None
    return isinstance(cause, MaxRetryError) and isinstance(cause.reason, NewConnectionError)


def document(response: requests.Response, what: str) -> Document:
    """Return the JSON object of a success.

    Raises
    ------
    Unreadable
        The body is empty or reports errors.
    NoAnswer
        The body is not JSON, as when something between us and Panoptes answered.
    """
    if not response.content:
        raise Unreadable(f"{what}: {response.status_code} with an empty body")
    body = _json(response)
    if not isinstance(body, dict):
        raise NoAnswer(f"{what}: {response.status_code} with a body that is not a JSON object")
    if "errors" in body or "error" in body:
        raise Unreadable(f"{what}: {response.status_code} {_message(response)}")
    return body


def resources(body: Document, kind: str, what: str) -> list[Document]:
    """Return the resources of a kind, `Unreadable` when the document does not list them."""
    found = body.get(kind)
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise Unreadable(f"{what}: the answer lists no {kind}")
    return found


def page_count(body: Document, kind: str, what: str) -> int:
    """Return how many pages a listing has, `Unreadable` when the document does not say."""
    try:
        return int(body["meta"][kind]["page_count"])
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"{what}: the answer does not say how many pages of {kind} there are") from error


class Media:
    """Files behind addresses that are not part of the API; no token of ours goes there.

    Parameters
    ----------
    session
        One thread's session, without credentials.
    """

    def __init__(self, session: requests.Session, timeouts: Timeouts) -> None:
        self._session = session
        self._timeout = (timeouts.connect_s, timeouts.read_s)

    def put(self, url: str, data: bytes, media_type: str) -> None:
        """PUT bytes to a signed URL, which is its own credential.

        Raises
        ------
        ZooniverseUnavailable
            No answer, or one that passes.
        ZooniverseRefused
            The URL has expired or was never good.
        """
        what = f"PUT {_without_query(url)}"
        headers = {"Content-Type": media_type, "x-ms-blob-type": "BlockBlob"}
        with measured("zooniverse", "PUT media"):
            try:
                response = self._session.put(url, data=data, headers=headers, timeout=self._timeout)
            except requests.RequestException as error:
                raise ZooniverseUnavailable(f"{what}: {type(error).__name__}") from error
            judge(response, what)

    def get(self, url: str) -> bytes | None:
        """Return the bytes behind a public address, None when nothing was stored there.

        Raises
        ------
        ZooniverseUnavailable
            No answer, or one that passes.
        ZooniverseRefused
            The address is not ours to read, or holds more than any image we send.
        """
        what = f"GET {_without_query(url)}"
        with measured("zooniverse", "GET media"):
            try:
                with self._session.get(url, stream=True, timeout=self._timeout) as response:
                    if response.status_code == 404:
                        return None
                    judge(response, what)
                    return _bounded(response, what)
            except requests.RequestException as error:
                raise ZooniverseUnavailable(f"{what}: {type(error).__name__}") from error


def _bounded(response: requests.Response, what: str) -> bytes:
    data = bytearray()
    for chunk in response.iter_content(64 * 1024):
        data += chunk
        if len(data) > MAX_IMAGE_BYTES:
            raise ZooniverseRefused(f"{what}: more than {MAX_IMAGE_BYTES} bytes")
    return bytes(data)


def _without_query(url: str) -> str:
    """Return the address for messages; the query of a signed URL is a credential."""
    return urlsplit(url)._replace(query="").geturl()


def _json(response: requests.Response) -> Any:
    try:
        return response.json()
    except requests.JSONDecodeError:
        return None


def _message(response: requests.Response) -> str:
    """Return what the server said, shortened, or that it said nothing."""
    body = _json(response)
    if not isinstance(body, dict):
        return "with a body that is not Panoptes' own" if response.content else "with an empty body"
    said = body.get("errors") or body.get("error_description") or body.get("error") or "without a reason"
    if isinstance(said, list):
        said = "; ".join(str(entry.get("message", entry)) for entry in said if isinstance(entry, dict))
    return str(said)[:500]
