"""When to try again, how long to wait, and when to stop.

Sleep and chance are arguments. That is why retries are our own: stamina sleeps by itself and draws its jitter from the
global generator, and its switch for tests is one for the whole process.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Final, Self, TypeVar, cast

from alservice.errors import AlserviceError, BadConfig, Retriable, Terminal, ZooniverseUnavailable

T = TypeVar("T")
R = TypeVar("R")


class Workers:
    """A pool of threads as a context; leaving it waits for the calls that run and starts no others.

    Each call has the context variables of who asked for it: a trace goes through it.

    Parameters
    ----------
    threads
        How many. At most four times as many items are taken from their source before results are given back, so
        memory does not grow with the work.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads)
        self._in_flight = 4 * threads

    def __enter__(self) -> Self:
        """Return the pool."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for what runs."""
        self._pool.shutdown(cancel_futures=True)

    def each(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Yield what `work` makes of each item as it comes; an error in `work` is raised and ends it."""
        source = iter(items)
        pending: set[Future[R]] = set()
        while True:
            room = self._in_flight - len(pending)
            pending.update(self._pool.submit(copy_context().run, work, item) for item in islice(source, room))
            if not pending:
                return
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()

    def in_order(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Yield what `work` makes of each item, in their order; an error in `work` is raised and ends it."""
        running: deque[Future[R]] = deque()
        for item in items:
            running.append(self._pool.submit(copy_context().run, work, item))
            if len(running) >= self._in_flight:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()


def one_ahead(items: Iterable[T]) -> Iterator[T]:
    """Yield items, making the next one in a thread meanwhile: reading goes on while the database works."""
    source = iter(items)
    end = object()

    def following() -> T | object:
        return next(source, end)

    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(copy_context().run, following)
        while (item := coming.result()) is not end:
            coming = pool.submit(copy_context().run, following)
            yield cast("T", item)


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """Attempts at one call that is safe to repeat, and the growing waits between them.

    Parameters
    ----------
    attempts
        Calls in all, the first included.
    first_s, factor, longest_s
        Wait after the first failure (seconds), its growth per failure, and its bound (seconds).
    """

    attempts: int = 5
    first_s: float = 1.0
    factor: float = 2.0
    longest_s: float = 30.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.first_s < 0 or self.factor < 1 or self.longest_s < self.first_s:
            raise BadConfig(f"not a retry policy: {self}")

    def delay_s(self, failures: int, chance: float) -> float:
        """Return the wait (seconds) after that many failures.

        Parameters
        ----------
        failures
            At least 1.
        chance
            A number in [0, 1), uniform, that spreads callers which failed together over half the wait.
        """
        full = min(self.first_s * self.factor ** (failures - 1), self.longest_s)
        return full * (0.5 + 0.5 * chance)


def retried(
    call: Callable[[], T],
    *,
    policy: RetryPolicy,
    on: type[Retriable],
    sleep: Callable[[float], None],
    chance: Callable[[], float],
) -> T:
    """Return what a repeatable call returns, tried again after one type of error; the last one is raised."""
    for failures in range(1, policy.attempts):
        try:
            return call()
        except on:
            sleep(policy.delay_s(failures, chance()))
    return call()


BEATS_PER_SILENCE: Final = 10
"""Signs of life within the longest silence: nine may be lost before a run is given up."""

LONGEST_BEAT_S: Final = 30.0
"""Seconds between signs of life at most, however long a silence is borne."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """How long a sender waits (s).

    Parameters
    ----------
    start_s
        For a worker to take the run.
    pending_s
        From then until its process runs.
    silence_s
        Between two signs of life.
    outage_s
        For a database, or an orchestrator that is needed, to answer again.
    """

    start_s: float
    pending_s: float
    silence_s: float
    outage_s: float

    @property
    def beat_s(self) -> float:
        """Seconds between two signs of life."""
        return min(self.silence_s / BEATS_PER_SILENCE, LONGEST_BEAT_S)

    @property
    def crashed_s(self) -> float:
        """Silence after which a run is over that the orchestrator believes dead: it may only be cut off from there."""
        return min(3 * self.beat_s, self.silence_s)


class Circuit:
    """Counts failures in a row where they happen, so that a thread that comes later sends nothing more.

    Parameters
    ----------
    limit
        Failures in a row that open it. Once open it stays so, and says what opened it.
    error
        What `check` raises of it.

    Raises
    ------
    BadConfig
        The limit is below 1.
    """

    def __init__(self, limit: int, error: type[Retriable] = ZooniverseUnavailable) -> None:
        if limit < 1:
            raise BadConfig(f"a circuit opens after at least one failure, not {limit}")
        self._limit = limit
        self._error = error
        self._failures = 0
        self._last: AlserviceError | None = None
        self._lock = threading.Lock()

    def note(self, fault: AlserviceError | None) -> None:
        """Note what a call came to: a fault of the other side, or none."""
        with self._lock:
            if self._failures < self._limit:
                self._failures = 0 if fault is None else self._failures + 1
                self._last = fault

    def check(self) -> None:
        """Raise what opened the circuit, if it is open.

        Raises
        ------
        Retriable
            So many calls failed one after the other; of the type that was given.
        Terminal
            They did, and the last fault is one that only a person can end.
        """
        with self._lock:
            if self._failures < self._limit or self._last is None:
                return
            failures, last = self._failures, self._last
        if isinstance(last, Terminal):
            raise last
        text = f"{failures} failures in a row, the last: {last.message}"
        raise self._error(text, failures=failures) from last
