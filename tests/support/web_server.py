"""The web service on a port of this machine, for tests and benchmarks."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp

from alservice.web.connections import ConnectionLimits, make_server


@contextmanager
def served(app: ASGIApp, limits: ConnectionLimits | None = None) -> Iterator[str]:
    """Serve an application in a thread, by the server that `alservice serve` runs; yield its address once it listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = make_server(app, limits=limits)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
