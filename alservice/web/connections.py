"""Connections of the web service: how many there may be, and how long each may take over a request.

uvicorn bounds neither the time of a request's head and body nor that of a reader, and looks at its limit on concurrency
only once a head is complete. Its protocol is therefore watched here (decision 17).
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import resource
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from http import HTTPStatus
from typing import Any, Final, cast

import h11
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from alservice.errors import BadConfig, NoRoom, TooSlow
from alservice.web.limits import refusal

log = logging.getLogger("alservice.web.connections")

FILES_KEPT: Final = 96
"""Files left to all else: database, objects, logs, and connections that were accepted and not yet judged."""

ACCEPTED: Final = 16
"""Connections accepted at a time. More would be open before the first of them is judged; and when files run out,
asyncio logs one error for each that it still wanted."""

QUEUE: Final = 1024
"""Connections that wait in the kernel to be accepted."""

SENT_AHEAD: Final = 128 * 1024
"""Bytes that the kernel keeps for a reader: a small buffer shows early whether somebody reads."""

HEALTH: Final = "/healthz"
"""Path that is answered even where nothing else is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectionLimits:
    """Bounds of one process on its connections: their number, and the seconds of each phase.

    Parameters
    ----------
    total
        Connections at once; fewer where the process may not open as many files.
    per_address
        Of these, from one address that is no trusted proxy.
    reserve
        Connections beyond, on which only health is told.
    head_s, body_s
        Until a request's head is complete, and then its body.
    idle_s
        Between an answer and the next request; longer than proxies keep theirs, so that they end them first.
    stall_s
        For which a reader may take nothing of an answer.
    answer_s
        Until an answer is complete.
    rest_s, rest_bytes
        In which the rest of a body that was refused may still come: a client that is sending sees the answer so.
    """

    total: int = 512
    per_address: int = 64
    reserve: int = 16
    head_s: float = 10
    body_s: float = 60
    idle_s: float = 75
    stall_s: float = 30
    answer_s: float = 3600
    rest_s: float = 5
    rest_bytes: int = 16 << 20


class Phase(IntEnum):
    """Phase of a connection by what it waits for; where room is needed, the first ones go first."""

    IDLE = 0
    """The next request."""
    HEAD = 1
    """The rest of a request's head."""
    REST = 2
    """The rest of a body that nobody wants: the answer is sent."""
    BODY = 3
    """The rest of a request's body."""
    ANSWER = 4
    """The service, or that the answer is read."""


class Connections:
    """Open connections of one process.

    A new one has room while the limits last. Beyond, it takes the place of the one that has waited longest for its own
    client; where all are being answered, it comes to the reserve, and where that is full, it is cut.
    """

    def __init__(self, limits: ConnectionLimits, trusted: Callable[[str], bool], *, files: int) -> None:
        self.limits = limits
        self._total = min(limits.total, files - FILES_KEPT)
        self._trusted = trusted
        self._open: dict[BoundedConnection, None] = {}
        self._reserve: dict[BoundedConnection, None] = {}
        if self._total < 1:
            raise BadConfig(f"the process may open {files} files, and the service needs more than {FILES_KEPT}")

    def admit(self, new: BoundedConnection) -> ASGIApp | None:
        """Return the application that a new connection speaks to; None where there is no room for it."""
        near = [] if self._trusted(new.address) else [one for one in self._open if one.address == new.address]
        if len(near) >= self.limits.per_address and not self._make_room(near):
            return self._to_reserve(new)
        if len(self._open) >= self._total and not self._make_room(self._open):
            return self._to_reserve(new)
        self._open[new] = None
        app: ASGIApp = new.app
        return app

    def forget(self, one: BoundedConnection) -> None:
        """Give a connection's place back."""
        self._open.pop(one, None)
        self._reserve.pop(one, None)

    def _to_reserve(self, new: BoundedConnection) -> ASGIApp | None:
        if len(self._reserve) >= self.limits.reserve and not self._make_room(self._reserve):
            return None
        self._reserve[new] = None
        return HealthOnly(new.app)

    def _make_room(self, among: Iterable[BoundedConnection]) -> bool:
        waiting = [one for one in among if one.phase is not Phase.ANSWER]
        if not waiting:
            return False
        longest = min(waiting, key=lambda one: (one.phase, one.since_s))
        self.forget(longest)
        longest.cut("its place was needed")
        return True


class Config(uvicorn.Config):
    """uvicorn's configuration, with the connections of the process."""

    def __init__(self, app: ASGIApp, connections: Connections, **options: Any) -> None:
        # A websocket would leave the watched protocol for one without bounds; the service has none.
        super().__init__(app, http=BoundedConnection, ws="none", backlog=ACCEPTED, **options)
        self.connections = connections


class Server(uvicorn.Server):
    """uvicorn's server; connections beyond those accepted at a time wait in the kernel."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, with a queue of its own length."""
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(QUEUE)


def make_server(
    app: ASGIApp, *, limits: ConnectionLimits | None = None, proxies: str = "127.0.0.1", **options: Any
) -> Server:
    """Return a server that bounds its connections.

    Parameters
    ----------
    proxies
        Addresses and networks whose ``X-Forwarded-For`` is believed; many clients share them, so that no limit per
        address holds for them. ``*`` for all.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    connections = Connections(limits or ConnectionLimits(), trusts(proxies), files=files)
    config = Config(
        app,
        connections,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the application follows ALSERVICE_TRUSTED_PROXIES, and no other variable
        **options,
    )
    return Server(config)


def trusts(proxies: str) -> Callable[[str], bool]:
    """Return whether an address is one of those, by comma: addresses, networks, or ``*``.

    Raises
    ------
    BadConfig
        Something in the list is no address and no network.
    """
    if proxies.strip() == "*":
        return lambda _: True
    try:
        networks = [ipaddress.ip_network(name.strip()) for name in proxies.split(",") if name.strip()]
    except ValueError as error:
        raise BadConfig(f"trusted proxies: {error}") from error

    def trusted(address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in networks)

    return trusted


class BoundedConnection(H11Protocol):
    """uvicorn's connection with a bound on each phase, however many bytes come meanwhile."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._room = config.connections
        self._limits = config.connections.limits
        self._bound: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._seen: object = None
        self._rest_bytes = 0
        self._ended = False
        self.address = ""
        self.phase = Phase.HEAD
        self.since_s = self.loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place, if there is one."""
        super().connection_made(cast("asyncio.Transport", transport))
        self.address = self.client[0] if self.client else ""
        app = self._room.admit(self)
        if app is None:
            self.cut("there is no room")
            return
        self.app = app
        self._enter(Phase.HEAD)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        self._room.forget(self)
        for timer in (self._bound, self._stall):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, within the bound of the phase."""
        if self.phase is Phase.REST:
            self._rest_bytes += len(data)
            if self._rest_bytes > self._limits.rest_bytes:
                self.cut("it went on sending what was refused")
        if self._ended or self.transport.is_closing():
            return
        super().data_received(data)
        self._follow()

    def on_response_complete(self) -> None:
        """Wait for what comes next."""
        super().on_response_complete()
        self._follow()

    def pause_writing(self) -> None:
        """Watch whether the reader takes anything."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """The reader did."""
        super().resume_writing()
        if self._stall is not None:
            self._stall.cancel()

    def cut(self, reason: str) -> None:
        """End the connection at once."""
        if not self.transport.is_closing():
            log.warning("a connection from %s was cut while it waited (%s): %s", self.address, self.phase.name, reason)
        self.transport.abort()

    def _watch_reader(self) -> None:
        left = self.transport.get_write_buffer_size()

        def look() -> None:
            if self.transport.get_write_buffer_size() >= left:
                self.cut("nobody reads the answer")
            else:
                self._watch_reader()

        self._stall = self.loop.call_later(self._limits.stall_s, look)

    def _follow(self) -> None:
        """Begin the bound of a phase when it is entered; bytes that come within it change nothing."""
        phase = self._phase_now()
        if (phase, self.cycle) != (self.phase, self._seen):
            self._enter(phase)

    def _phase_now(self) -> Phase:
        if self.cycle is None:
            return Phase.HEAD
        if not self.cycle.response_complete:
            return Phase.BODY if self.cycle.more_body else Phase.ANSWER
        if self.conn.their_state is h11.SEND_BODY:
            return Phase.REST
        return Phase.HEAD if self.conn.trailing_data[0] else Phase.IDLE

    def _enter(self, phase: Phase) -> None:
        self.phase, self._seen, self.since_s, self._rest_bytes = phase, self.cycle, self.loop.time(), 0
        if self._bound is not None:
            self._bound.cancel()
        limits = self._limits
        bounds = {
            Phase.IDLE: limits.idle_s,
            Phase.HEAD: limits.head_s,
            Phase.REST: limits.rest_s,
            Phase.BODY: limits.body_s,
            Phase.ANSWER: limits.answer_s,
        }
        self._bound = self.loop.call_later(bounds[phase], self._late)

    def _late(self) -> None:
        if self.transport.is_closing():
            return
        asked = self.phase is Phase.BODY or (self.phase is Phase.HEAD and self.conn.trailing_data[0])
        if asked and self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            self._refuse()
            return
        if self.phase is Phase.ANSWER:
            self.cut("the answer took too long")
            return
        self.transport.close()
        # Closing waits until the reader has all that is written.
        self._bound = self.loop.call_later(self._limits.stall_s, self.transport.abort)

    def _refuse(self) -> None:
        """Answer a request that did not arrive whole; the application is told that its client is gone.

        Our half of the connection ends, and what still comes is thrown away for a while: closed at once, the client's
        next byte would be answered by a reset, which takes the answer away from a client that has not read it.
        """
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        status, headers, body = refusal(TooSlow("the request did not arrive whole in time"), HTTPStatus.REQUEST_TIMEOUT)
        for event in (
            h11.Response(
                status_code=status, headers=[*headers, (b"connection", b"close")], reason=status.phrase.encode()
            ),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        log.warning("a request from %s did not arrive whole in time (%s)", self.address, self.phase.name)
        self._ended = True
        self.transport.write_eof()
        self.flow.resume_reading()
        self._enter(Phase.REST)


@dataclass(frozen=True, slots=True)
class HealthOnly:
    """Application that tells health alone; all else is asked to come again."""

    app: ASGIApp
    retry_s: int = field(default=5, kw_only=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a question for health on, and refuse the others."""
        if scope["path"] == HEALTH:
            await self.app(scope, receive, send)
            return
        error = NoRoom("the service has as many connections as it can hold")
        status, headers, body = refusal(error, HTTPStatus.SERVICE_UNAVAILABLE)
        headers += [(b"connection", b"close"), (b"retry-after", str(self.retry_s).encode())]
        await send({"type": "http.response.start", "status": status.value, "headers": headers})
        await send({"type": "http.response.body", "body": body})
