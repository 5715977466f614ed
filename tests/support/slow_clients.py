"""Clients that hold a server by taking their time: plain sockets, which say exactly what is sent and read."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import DEVNULL, Popen

import httpx

START_S = 60.0
"""Longest wait for a service to listen."""

_LIMITED = (
    "import resource, sys; n = int(sys.argv.pop(1)); resource.setrlimit(resource.RLIMIT_NOFILE, (n, n)); "
    "from alservice.cli import main; main()"
)
"""The command line with at most so many open files."""


@contextmanager
def limited_service(log: Path, *, files: int) -> Iterator[str]:
    """Run ``alservice serve`` as a process that may open so many files; yield its address once it answers."""
    command = [sys.executable, "-c", _LIMITED, str(files), "serve", "--port", "0"]
    with log.open("wb") as out, Popen(command, stdout=DEVNULL, stderr=out) as process:
        try:
            yield _address(log, process)
        finally:
            process.terminate()


def _address(log: Path, process: Popen[bytes]) -> str:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        for line in log.read_text().splitlines():
            if line.startswith("serving on") and answers(line.split()[-1], within_s=START_S):
                return line.split()[-1]
        time.sleep(0.05)
    raise AssertionError(f"the service did not start: {log.read_text()[-2000:]}")


def answers(address: str, *, within_s: float) -> bool:
    """Tell whether ``/healthz`` answers before a bound; refused and cut connections are tried again."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            if httpx.get(f"{address}/healthz", timeout=2).json() == {"status": "ok"}:
                return True
        except httpx.TransportError:
            time.sleep(0.1)
    return False


@contextmanager
def held(address: str, sent: bytes, *, n: int) -> Iterator[Sequence[socket.socket]]:
    """Hold so many connections, each with these bytes sent and nothing read."""
    with ExitStack() as stack:
        held_open = []
        for _ in range(n):
            client = stack.enter_context(connected(address))
            client.sendall(sent)
            held_open.append(client)
        yield held_open


def connected(address: str, *, timeout_s: float = 30, receive_bytes: int | None = None) -> socket.socket:
    """Return a connection to an address, with a receive buffer of about this size."""
    url = httpx.URL(address)
    client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if receive_bytes is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    client.settimeout(timeout_s)
    client.connect((url.host, url.port))
    return client


def everything(client: socket.socket) -> bytes:
    """Return what a server sends until it ends the connection, in order or not."""
    parts = []
    try:
        while part := client.recv(65_536):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)
