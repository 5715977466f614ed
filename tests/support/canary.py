"""A server that nothing of ours has any business with: every variable of the Zooniverse client library names it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

LIBRARY = ("ENDPOINT", "USERNAME", "PASSWORD", "CLIENT_ID", "CLIENT_SECRET", "REDIRECT_URL", "DEBUG")
"""What panoptes_client 1.7.1 reads, each after ``PANOPTES_``."""


@dataclass(frozen=True, kw_only=True)
class Canary:
    """Its address, and the first bytes of every connection that it was made."""

    endpoint: str
    seen: list[bytes] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """The library's variables, each with the address: whatever reads one of them comes here, or fails to log in."""
        return {f"PANOPTES_{name}": self.endpoint for name in LIBRARY}


@contextmanager
def open_canary() -> Iterator[Canary]:
    """Listen on loopback; a connection is noted and closed without an answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        canary = Canary(endpoint=f"http://127.0.0.1:{listener.getsockname()[1]}")

        def note() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return  # closed: the test is over
                with connection:
                    connection.settimeout(5)
                    try:
                        canary.seen.append(connection.recv(200))
                    except OSError as error:
                        canary.seen.append(repr(error).encode())

        thread = threading.Thread(target=note, daemon=True)
        thread.start()
        yield canary
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(timeout=10)
