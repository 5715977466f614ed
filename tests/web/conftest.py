"""The service over databases of the test's own: an empty one, and one with a populated campaign."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine

from alservice.core.access import Scope
from alservice.factory import Factory
from alservice.factory.access import create_token
from alservice.web.application import create_app
from tests.support.dashboards import World, moving_factory, populate
from tests.support.web_server import served


@pytest.fixture
def world(engine: Engine, tmp_path: Path) -> World:
    """A populated campaign of three cycles, the newest of them held."""
    return populate(engine, tmp_path, cycles=3)


@pytest.fixture
def client(world: World) -> Iterator[httpx.Client]:
    """A client of the service over the populated campaign; counts are never remembered."""
    app = create_app(world.factory, figures_life_s=0, prefect_ui="http://prefect.example/")
    with served(app) as url, httpx.Client(base_url=url) as client:
        yield client


@pytest.fixture
def empty_client(engine: Engine, tmp_path: Path) -> Iterator[httpx.Client]:
    """An operator's client of the service over an empty database."""
    factory, _ = moving_factory(engine, tmp_path)
    headers = {"Authorization": f"Bearer {secret_of(factory, Scope.OPERATE)}"}
    with (
        served(create_app(factory, figures_life_s=0)) as url,
        httpx.Client(base_url=url, headers=headers) as client,
    ):
        yield client


def secret_of(factory: Factory, scope: Scope, *, days: int | None = None, name: str | None = None) -> str:
    """Return the secret of a new token."""
    return create_token(factory, scope=scope, expires_days=days, name=name)[1]


def log_in(client: httpx.Client, secret: str) -> None:
    """Open a session of the dashboard."""
    answer = client.post("/login", data={"token": secret, "next": "/"})
    assert answer.status_code == 303, answer.text
