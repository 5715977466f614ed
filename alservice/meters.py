"""What this process's calls to the world cost: counted here, and added to the database's totals at the end.

Workers live for one run, so nobody could scrape them. Their counts go where the rest of a campaign's state is, and
the service shows the totals (deploy/decisions/0013-metrics-from-the-database.md).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from alservice.errors import AlserviceError
from alservice.tracing import span

OK = "ok"
"""Outcome of a call that returned; any other is an error's code, or ``error`` for one that has none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CallKey:
    """Which calls are counted together: few, whatever a run does."""

    adapter: str
    call: str
    outcome: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CallCount:
    """How many calls, and how many seconds they took together."""

    calls: int
    seconds: float

    def plus(self, other: CallCount) -> CallCount:
        """Return both together."""
        return CallCount(calls=self.calls + other.calls, seconds=self.seconds + other.seconds)


class Meter:
    """Counts of one process, since they were last taken; safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[CallKey, CallCount] = {}

    @contextmanager
    def measured(
        self, adapter: str, call: str, *, faults: tuple[type[BaseException], ...] = (BaseException,)
    ) -> Iterator[None]:
        """Count one call with its outcome and its time.

        Parameters
        ----------
        faults
            Errors that are the adapter's; others, such as a refused transition within a transaction, count as ok.
        """
        began = time.perf_counter()
        outcome = OK
        try:
            with span(f"{adapter} {call}"):
                yield
        except faults as error:
            outcome = error.code if isinstance(error, AlserviceError) else "error"
            raise
        finally:
            seconds = time.perf_counter() - began
            self.add({CallKey(adapter=adapter, call=call, outcome=outcome): CallCount(calls=1, seconds=seconds)})

    def add(self, counts: Mapping[CallKey, CallCount]) -> None:
        """Add counts, such as those that could not be written."""
        with self._lock:
            for key, count in counts.items():
                known = self._counts.get(key)
                self._counts[key] = count if known is None else known.plus(count)

    def take(self) -> Mapping[CallKey, CallCount]:
        """Return what was counted, and begin anew."""
        with self._lock:
            counts, self._counts = self._counts, {}
        return counts


METER = Meter()
"""The meter of this process."""

measured = METER.measured
