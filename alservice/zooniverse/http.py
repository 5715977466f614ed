"""Panoptes over HTTP: what a reply means, and the requests that panoptes_client has no part in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import MaxRetryError, NewConnectionError

from alservice.constants import MAX_IMAGE_BYTES
from alservice.errors import AllowanceExhausted, ZooniverseRefused, ZooniverseUnavailable
from alservice.meters import measured

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
