"""Calls of the Panoptes API: a connection per thread, renewed logins, patience where repeating is safe."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import requests

from alservice.errors import ZooniverseUnavailable
from alservice.meters import measured
from alservice.retry import RetryPolicy, patiently
from alservice.zooniverse.http import Document, LoginExpired, Media, Unreadable, document, page_count, resources

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

    def patiently(self, repeatable: Callable[[], T]) -> T:
        """Return what a call returns that is safe to repeat, over passing failures."""
        return patiently(
            repeatable, policy=self._retry, on=ZooniverseUnavailable, sleep=self._sleep, chance=self._chance
        )

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
        return self.patiently(lambda: document(self.send(call), str(call)))

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
