"""What is attacked: a service on loopback over a populated database of its own, and one token of each kind."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import httpx
from fastapi import FastAPI

from alservice.access import Scope
from alservice.storage.postgres import make_engine
from alservice.web.application import create_app
from alservice.web.limits import Limits
from tests.support.dashboards import ODD, World, populate
from tests.support.postgres import migrated_database
from tests.support.web_server import served

MANY = 1_000_000
"""Requests a minute: the tour is no test of rates."""

CAMPAIGN = "gz-demo"


class Kind(StrEnum):
    """Who asks."""

    NONE = "none"
    WRONG = "wrong"
    EXPIRED = "expired"
    REVOKED = "revoked"
    INGEST = "ingest"
    READ = "read"
    OPERATE = "operate"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was tried.

    Parameters
    ----------
    expected
        Outcomes of which one should be seen, in words.
    """

    attack: str
    target: str
    who: str
    expected: frozenset[str]
    seen: str

    @property
    def held(self) -> bool:
        """Whether the service did what it should."""
        return self.seen in self.expected


@dataclass(frozen=True, kw_only=True)
class Target:
    """A running service.

    Parameters
    ----------
    secrets, sessions
        Token and session's cookie of each kind; without one where such a token opens no session.
    quick
        Whether a part of each attack is enough.
    """

    address: str
    app: FastAPI
    world: World
    secrets: Mapping[Kind, str]
    sessions: Mapping[Kind, str]
    quick: bool

    def client(self, kind: Kind = Kind.NONE, *, session: bool = False) -> httpx.Client:
        """Return a client that shows a kind's token, or its session."""
        headers = {}
        if session and kind in self.sessions:
            headers["Cookie"] = self.sessions[kind]
        if not session and kind in self.secrets:
            headers["Authorization"] = f"Bearer {self.secrets[kind]}"
        return httpx.Client(base_url=self.address, headers=headers, timeout=60)


@contextmanager
def target(url: str, folder: Path, *, odd: Mapping[int, str] = ODD, quick: bool = False) -> Iterator[Target]:
    """Populate a database, whose galaxies' ids are as said, and serve it."""
    engine = make_engine(url)
    try:
        world = populate(engine, folder, cycles=3, odd=odd)
        app = create_app(
            world.factory, limits=Limits(requests_per_minute=MANY, attempts_per_minute=MANY), figures_life_s=0
        )
        with served(app) as address:
            secrets = _secrets(world)
            ended = _sessions(address, secrets)  # opened while their tokens were valid
            world.hands.forward(days=2)
            world.factory.access.revoke(str(Kind.REVOKED))
            sessions = {**ended, **_sessions(address, secrets)}
            yield Target(address=address, app=app, world=world, secrets=secrets, sessions=sessions, quick=quick)
    finally:
        engine.dispose()


@contextmanager
def scratch_target(*, odd: Mapping[int, str] = ODD, quick: bool = False) -> Iterator[Target]:
    """Serve a target on a database server of its own, which is gone afterwards."""
    with (
        migrated_database() as url,
        tempfile.TemporaryDirectory(prefix="alservice-attack-") as folder,
        target(url, Path(folder), odd=odd, quick=quick) as found,
    ):
        yield found


def _secrets(world: World) -> Mapping[Kind, str]:
    scopes = {
        Kind.EXPIRED: (Scope.OPERATE, 1),
        Kind.REVOKED: (Scope.OPERATE, 30),
        Kind.INGEST: (Scope.INGEST, 30),
        Kind.READ: (Scope.READ, 30),
        Kind.OPERATE: (Scope.OPERATE, 30),
    }
    made = {
        kind: world.factory.access.create(scope=scope, expires_days=days, name=str(kind))[1]
        for kind, (scope, days) in scopes.items()
    }
    return {Kind.WRONG: "als_" + "0" * 43, **made}


def _sessions(address: str, secrets: Mapping[Kind, str]) -> Mapping[Kind, str]:
    """Open a session with every token that opens one now; the wrong one is made up."""
    found = {}
    for kind, secret in secrets.items():
        answer = httpx.post(f"{address}/login", data={"token": secret, "next": "/"})
        if "set-cookie" in answer.headers:
            found[kind] = answer.headers["set-cookie"].partition(";")[0]
    name = next(iter(found.values())).partition("=")[0]
    return {**found, Kind.WRONG: f"{name}=1.2.3"}
