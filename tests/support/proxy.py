"""A cable that can be cut: TCP on loopback, passed on to a server until a test says otherwise."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

_CHUNK = 65_536


def tcp(port: int) -> Callable[[], socket.socket]:
    """Return how a server on a loopback port is reached."""
    return lambda: socket.create_connection(("127.0.0.1", port), timeout=60)


def unix(path: str) -> Callable[[], socket.socket]:
    """Return how a server on a Unix socket is reached."""

    def connect() -> socket.socket:
        there = socket.socket(socket.AF_UNIX)
        there.connect(path)
        return there

    return connect


class Proxy:
    """Passes bytes both ways between whoever connects to `port` and a server.

    Parameters
    ----------
    connect
        Makes a connection to the server.
    """

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        self._connect = connect
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._accepting = threading.Thread(target=self._accept, daemon=True)

    @property
    def port(self) -> int:
        """The loopback port that stands for the server."""
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        """Begin to pass on."""
        self._accepting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        self.cut()
        self._accepting.join(10)

    def cut(self) -> None:
        """End every connection, and refuse new ones."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for end in self._open:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            try:
                there = self._connect()
            except OSError:
                here.close()
                continue
            there.settimeout(None)
            for source, sink in ((here, there), (there, here)):
                with self._lock:
                    self._open.add(source)
                threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                sink.sendall(data)
        with self._lock:
            self._open.discard(source)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
        if source.fileno() != -1:
            source.close()
