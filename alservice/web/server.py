"""The process that serves: opens the factory, binds the port, answers until it is told to stop."""

from __future__ import annotations

import errno
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from uvicorn import Server

from alservice.app.opening import open_factory
from alservice.errors import BadConfig, PortInUse
from alservice.web.application import create_app
from alservice.web.connections import SENT_AHEAD, make_server


def serve(host: str, port: int, *, started: Callable[[str, int], None] | None = None) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP; requests at work finish first.

    Raises
    ------
    PortInUse
        Somebody else listens there.
    SchemaMismatch, DatabaseUnavailable, BadConfig
        A part cannot be opened; nothing is served then.
    """
    with open_factory() as factory, _listening(host, port) as listener:
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
