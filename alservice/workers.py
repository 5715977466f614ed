"""Threads for calls that wait on the network, with a bound on what is in flight."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from types import TracebackType
from typing import Self, TypeVar, cast

T = TypeVar("T")
R = TypeVar("R")


class Workers:
    """A pool of threads as a context; leaving it waits for the calls that run and starts no others.

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
            pending.update(self._pool.submit(work, item) for item in islice(source, room))
            if not pending:
                return
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()


def one_ahead(items: Iterable[T]) -> Iterator[T]:
    """Yield items, making the next one in a thread meanwhile: reading goes on while the database works."""
    source = iter(items)
    end = object()
    with ThreadPoolExecutor(1) as pool:
        coming: Future[T | object] = pool.submit(next, source, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, source, end)
            yield cast("T", item)
