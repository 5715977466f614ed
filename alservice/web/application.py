"""The web service as one ASGI application, made from a factory."""

from __future__ import annotations

from importlib import resources

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

import alservice
from alservice.app.jobs import Factory
from alservice.web import acts, api, api_galaxies, caesar, formats, health, pages, person_acts, problems
from alservice.web.limits import BodyLimit, Limits, SecureHeaders
from alservice.web.monitoring import Observed
from alservice.web.problems import Described
from alservice.web.service import Service


def create_app(
    factory: Factory,
    *,
    limits: Limits | None = None,
    prefect_ui: str | None = None,
    figures_life_s: float = 10.0,
) -> FastAPI:
    """Return the application; it uses the factory until whoever opened it closes it."""
    service = Service(
        factory=factory,
        limits=limits or Limits(),
        pages=_environment(),
        prefect_ui=prefect_ui.rstrip("/") if prefect_ui else None,
        figures_life_s=figures_life_s,
    )
    app = Described(
        title="alservice",
        version=alservice.__version__,
        description="Campaigns, cycles, models and votes of the weekly human-machine loop.",
        docs_url=None,  # their assets come from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,  # the names of a generated client's functions
    )
    app.state.service = service
    app.state.factory = factory
    for module in (health, api, api_galaxies, acts, pages, person_acts, caesar):
        app.include_router(module.router)
    static = resources.files("alservice.web").joinpath("static")
    app.mount("/static", StaticFiles(directory=str(static)), name="static")
    problems.install(app)
    # The last one added sees a request first.
    app.add_middleware(BodyLimit, max_bytes=service.limits.body_bytes)
    app.add_middleware(SecureHeaders)
    app.add_middleware(Observed, metrics=service.metrics)
    if proxies := factory.settings.trusted_proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=[str(network) for network in proxies])
    return app


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("alservice.web"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(formats.FILTERS)
    return environment
