"""The web service as one ASGI application, and the process that serves it."""

from __future__ import annotations

import errno
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from types import FrameType

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from uvicorn import Server
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from alservice.app import App, open_app
from alservice.constants import VERSION
from alservice.errors import BadConfig, PortInUse
from alservice.web import anomalies, api, caesar, explore, forms, maps, monitoring, pages, problems, selections
from alservice.web.connections import SENT_AHEAD, make_server
from alservice.web.limits import BodyLimit, Limits, SecureHeaders
from alservice.web.monitoring import MetricsMiddleware, WebMetrics
from alservice.web.problems import Application
from alservice.web.service import Service


def create_app(
    factory: App,
    *,
    limits: Limits | None = None,
    prefect_ui: str | None = None,
    figures_life_s: float = 10.0,
) -> FastAPI:
    """Return the application; it uses the factory until whoever opened it closes it."""
    service = Service(
        factory=factory,
        limits=limits or Limits(),
        prefect_ui=prefect_ui.rstrip("/") if prefect_ui else None,
        figures_life_s=figures_life_s,
    )
    app = Application(
        title="alservice",
        version=VERSION,
        description="Campaigns, cycles, models and votes of the weekly human-machine loop.",
        docs_url=None,  # their assets come from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,  # the names of a generated client's functions
    )
    app.state.service = service
    app.state.factory = factory
    app.state.metrics = WebMetrics()
    routers = monitoring.router, api.reads, explore.reads, api.acts, explore.router, pages.router, forms.router
    searches = maps.reads, maps.router, anomalies.reads, anomalies.acts, anomalies.router
    kept = selections.reads, selections.writes, selections.router
    for router in (*routers, *searches, *kept, caesar.router):
        app.include_router(router)
    static = resources.files("alservice.web").joinpath("static")
    app.mount("/static", StaticFiles(directory=str(static)), name="static")
    problems.install(app)
    # The last one added sees a request first.
    app.add_middleware(BodyLimit, max_bytes=service.limits.body_bytes)
    app.add_middleware(SecureHeaders)
    app.add_middleware(MetricsMiddleware, metrics=app.state.metrics)
    if proxies := factory.settings.trusted_proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=[str(network) for network in proxies])
    return app


def serve(host: str, port: int, *, started: Callable[[str, int], None] | None = None) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP; requests at work finish first.

    Raises
    ------
    PortInUse
        Somebody else listens there.
    SchemaMismatch, DatabaseUnavailable, BadConfig
        A part cannot be opened; nothing is served then.
    """
    with open_app() as factory, _listening(host, port) as listener:
        app = create_app(factory, prefect_ui=os.environ.get("PREFECT_UI_URL"))
        proxies = ",".join(map(str, factory.settings.trusted_proxies))
        server = make_server(app, proxies=proxies, timeout_graceful_shutdown=10)
        if started is not None:
            started(*listener.getsockname()[:2])
        with _ended_by_hang_up(server):
            server.run(sockets=[listener])


@contextmanager
def _ended_by_hang_up(server: Server) -> Iterator[None]:
    """Let a closed terminal end the service in order, as uvicorn lets SIGTERM; who ignores it goes on ignoring it."""
    usual = signal.getsignal(signal.SIGHUP)
    if usual is signal.SIG_IGN or threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(told: int, frame: FrameType | None) -> None:
        signal.signal(told, usual)  # which uvicorn raises again when all is closed
        server.handle_exit(told, frame)

    signal.signal(signal.SIGHUP, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, usual)


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SENT_AHEAD)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno in {errno.EADDRINUSE, errno.EACCES}:
            raise PortInUse(f"port {port} of {host}: {error.strerror}", port=port) from error
        raise BadConfig(f"{host} is no address of this machine: {error.strerror}") from error
    return listener
