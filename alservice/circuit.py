"""The circuit breaker of calls that many threads send."""

from __future__ import annotations

import threading

from alservice.errors import AlserviceError, Terminal, ZooniverseUnavailable
from alservice.retry import Breaker


class Circuit:
    """Counts failures in a row where they happen, so that a thread that comes later sends nothing more.

    Parameters
    ----------
    limit
        Failures in a row that open it. Once open it stays so, and says what opened it.
    """

    def __init__(self, limit: int) -> None:
        self._breaker = Breaker(limit=limit)
        self._last: AlserviceError | None = None
        self._lock = threading.Lock()

    def note(self, fault: AlserviceError | None) -> None:
        """Note what a call came to: a fault of the other side, or none."""
        with self._lock:
            if not self._breaker.is_open:
                self._breaker = self._breaker.after(failed=fault is not None)
                self._last = fault

    def check(self) -> None:
        """Raise what opened the circuit, if it is open.

        Raises
        ------
        ZooniverseUnavailable
            So many calls failed one after the other.
        Terminal
            They did, and the last fault is one that only a person can end.
        """
        with self._lock:
            if not self._breaker.is_open or self._last is None:
                return
            failures, last = self._breaker.failures, self._last
        if isinstance(last, Terminal):
            raise last
        text = f"{failures} failures in a row, the last: {last.message}"
        raise ZooniverseUnavailable(text, failures=failures) from last
