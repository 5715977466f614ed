"""The service over databases of the test's own: an empty one, and one with a populated campaign."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from alservice.access import Scope
from alservice.app import App
from alservice.storage.postgres import make_engine
from alservice.web.application import create_app
from tests.support.dashboards import Hands, World, moving_factory, populate, populate_beside
from tests.support.postgres import scratch_database
from tests.support.web_server import served

PATIENCE_S = 60
"""Longest wait for an answer: a busy machine is slow, and no test is about time."""


@pytest.fixture(scope="session")
def populated(
    postgres_url: str, postgres_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, World]]:
    """A populated campaign of three cycles, the newest held, and others beside it; and its database's name, for copies."""
    databases = scratch_database(postgres_url, postgres_template)
    url = next(databases)
    engine = make_engine(url)
    folder = tmp_path_factory.mktemp("populated")
    world = populate(engine, folder, cycles=3)
    populate_beside(engine, folder)
    engine.dispose()
    yield make_url(url).database or "", world
    next(databases, None)


@pytest.fixture
def world(postgres_url: str, populated: tuple[str, World]) -> Iterator[World]:
    """A copy of the populated campaign, this test's own; objects never change and are shared."""
    template, made = populated
    for url in scratch_database(postgres_url, template):
        engine = make_engine(url)
        hands = Hands()
        hands.now = made.hands.now
        yield replace(made, factory=replace(made.factory, engine=engine, clock=hands), hands=hands)
        engine.dispose()


@pytest.fixture
def client(world: World) -> Iterator[httpx.Client]:
    """A client of the service over the populated campaign; counts are never remembered."""
    app = create_app(world.factory, figures_life_s=0, prefect_ui="http://prefect.example/")
    with served(app) as url, httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
        yield client


@pytest.fixture
def empty_client(engine: Engine, tmp_path: Path) -> Iterator[httpx.Client]:
    """An operator's client of the service over an empty database."""
    factory, _ = moving_factory(engine, tmp_path)
    headers = {"Authorization": f"Bearer {secret_of(factory, Scope.OPERATE)}"}
    with (
        served(create_app(factory, figures_life_s=0)) as url,
        httpx.Client(base_url=url, headers=headers, timeout=PATIENCE_S) as client,
    ):
        yield client


def secret_of(factory: App, scope: Scope, *, days: int = 90, name: str | None = None) -> str:
    """Return the secret of a new token."""
    return factory.access.create(scope=scope, expires_days=days, name=name)[1]


def stopped(app: FastAPI) -> FastAPI:
    """Return an application whose limits see no time pass: what is used up stays so, however slow the machine is."""
    for limiter in (app.state.service.limiter, app.state.service.failures):
        limiter._monotonic = lambda: 0.0
    return app


def log_in(client: httpx.Client, secret: str) -> None:
    """Open a session of the dashboard."""
    answer = client.post("/login", data={"token": secret, "next": "/"})
    assert answer.status_code == 303, answer.text
