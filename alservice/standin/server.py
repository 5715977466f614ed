"""The sockets of the stand-in: HTTP/1.1 with keep-alive, each reply in one write, breakable connections."""

from __future__ import annotations

import errno
import socket
import struct
import sys
import threading
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from alservice.errors import BadConfig, Conflict, PortInUse
from alservice.standin.application import Application, ConnectionBrokenError, logger
from alservice.standin.config import Clock, StandinConfig, system_clock
from alservice.standin.replies import Reply
from alservice.standin.state import State
from alservice.standin.wire import Request

_LINGER_NOT = struct.pack("ii", 1, 0)
_DRAIN_S = 10.0
"""How long a stop waits for calls in flight; each is a transaction of milliseconds, an export of seconds."""

_MAX_LINE = 65_536
_LENGTH_DIGITS = 12
_WITHOUT_BODY = (204, 304)


class _Server(ThreadingHTTPServer):
    """A thread per connection; all of them end when the server stops."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], application: Application) -> None:
        self.application = application
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changed:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._changed:
            self._open.discard(request)
            self._changed.notify_all()
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if isinstance(sys.exception(), OSError):
            logger.debug("connection %s from %s ended early", request, client_address, exc_info=True)
        else:
            logger.exception("the Zooniverse stand-in failed on a connection from %s", client_address)

    def hang_up(self) -> None:
        """End every open connection and wait until the calls in flight are over."""
        with self._changed:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    logger.debug("a connection was closed by its client first")
            self._changed.wait_for(lambda: not self._open, timeout=_DRAIN_S)


class _Handler(BaseHTTPRequestHandler):
    """Reads a request, asks the application, writes the reply."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def handle_one_request(self) -> None:
        """Serve one request of this connection, or end it when the client has."""
        self.raw_requestline = self.rfile.readline(_MAX_LINE + 1)
        if not self.raw_requestline or len(self.raw_requestline) > _MAX_LINE or not self.parse_request():
            self.close_connection = True
            return
        if "Transfer-Encoding" in self.headers:
            self.close_connection = True
            self._write(Reply(status=411))
            return
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit() and len(length) <= _LENGTH_DIGITS):
            self.close_connection = True
            self._write(Reply(status=400))
            return
        body = self.rfile.read(int(length))
        try:
            reply = self.server.application.answer(self._request(body), self.path)
        except ConnectionBrokenError as broken:
            self.close_connection = True
            if broken.reset:
                self._reset()
            return
        self._write(reply)

    def _request(self, body: bytes) -> Request:
        parts = urlsplit(self.path)
        host = self.headers.get("Host") or "{}:{}".format(*self.server.server_address[:2])
        return Request(
            method="GET" if self.command == "HEAD" else self.command,
            path=unquote(parts.path),
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers=self.headers,
            body=body,
            base_url=f"http://{host}",
            client_ip=self.client_address[0],
        )

    def _write(self, reply: Reply) -> None:
        lines = [
            f"HTTP/1.1 {reply.status} {responses.get(reply.status, 'Unknown')}",
            f"Date: {self.date_time_string()}",
        ]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        if reply.status not in _WITHOUT_BODY:
            lines.append(f"Content-Length: {len(reply.body)}")
        if self.close_connection:
            lines.append("Connection: close")
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        self.connection.sendall(head if self.command == "HEAD" else head + reply.body)

    def _reset(self) -> None:
        """End the connection with a RST: nothing lingers, and no other handle keeps the socket open."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self.rfile.close()
        self.connection.close()

    def log_message(self, *args: Any) -> None:
        logger.debug(*args)


class Standin:
    """A running stand-in; a context manager.

    Parameters
    ----------
    config
        What to serve and where to keep it.
    clock
        Returns the present as an aware datetime in UTC.

    Raises
    ------
    BadConfig
        The state knows no user and `config` names none, or the state folder cannot be used.
    Conflict
        Another stand-in uses the state folder.
    """

    def __init__(self, config: StandinConfig, *, clock: Clock = system_clock) -> None:
        self.config = config
        self._application = Application(config, clock)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def state(self) -> State:
        """The state behind the server, for tests and for whoever loads it in bulk."""
        return self._application.state

    @property
    def endpoint(self) -> str:
        """Where clients connect, without a trailing slash.

        Raises
        ------
        Conflict
            The stand-in is not running.
        """
        if self._server is None:
            raise Conflict("the stand-in has no endpoint before start()")
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def start(self) -> Self:
        """Bind and serve from a daemon thread.

        Raises
        ------
        PortInUse
            The port that was asked for is taken.
        BadConfig
            The host is not an IPv4 address of this machine, or the port is not for this user.
        """
        address = (self.config.host, self.config.port)
        try:
            self._server = _Server(address, self._application)
        except OSError as error:
            self._application.close()
            if error.errno == errno.EADDRINUSE:
                raise PortInUse(f"port {self.config.port} of {self.config.host} is taken") from error
            raise BadConfig(f"host {self.config.host}, port {self.config.port} cannot be served: {error}") from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, name="standin", daemon=True
        )
        self._thread.start()
        return self

    def wait(self) -> None:
        """Block until another thread stops the stand-in."""
        if self._thread is not None:
            self._thread.join()

    def stop(self) -> None:
        """Stop serving, end every connection and close the state; stopping twice is fine."""
        if self._server is not None:
            self._application.faults.clear()
            self._server.shutdown()
            self._server.hang_up()
            self._server.server_close()
            self._server = None
        self._application.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()


def known_logins(state: Path) -> tuple[str, ...]:
    """Return the logins a state folder knows, oldest first; none for a folder that is new."""
    if not (state / "standin.db").is_file():
        return ()
    opened = State(state, clock=system_clock, seed=None, settle_s=0.0)
    try:
        with opened.transaction() as tx:
            return tuple(row["login"] for row in tx.all("SELECT login FROM users ORDER BY id"))
    finally:
        opened.close()
