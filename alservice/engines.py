"""Where many like pieces of work run: one after the other in this process, or on workers in a Ray cluster.

Work is a function that something prepares once (`begin`: a model is loaded) and that then is given item after item. It
must be safe to run twice on an item; who maps it records what comes back, under the fence of its own process. Ray
places workers, moves items and results, and says which of them died; see decision 28.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from time import monotonic
from typing import Any, Final, Generic, Protocol, TypeVar

from alservice.constants import VERSION
from alservice.errors import BadConfig, RayUnavailable, RayWorkersLost
from alservice.settings import Settings

T = TypeVar("T")
R = TypeVar("R")

_log = logging.getLogger(__name__)


class Engine(Protocol):
    """Runs a function on many items."""

    def map(self, begin: Callable[[], Callable[[T], R]], items: Iterable[T], *, at_once: int = 1) -> Iterator[R]:
        """Yield what work makes of each item, as it comes and in any order.

        Items are taken when there is a worker for them. Closing the iterator ends what runs.

        Parameters
        ----------
        begin
            Returns the function, once per worker. It, items and results can be pickled, and are small.
        at_once
            Items in hand of a worker; of more than one the function is called from several threads.

        Raises
        ------
        RayUnavailable
            The cluster does not answer.
        RayWorkersLost
            Workers died over one item again and again, or none found a place in time.
        """


class LocalEngine:
    """Runs everything in this process."""

    def map(self, begin: Callable[[], Callable[[T], R]], items: Iterable[T], *, at_once: int = 1) -> Iterator[R]:  # noqa: ARG002 - one process has one item in hand
        """Yield what work makes of each item, in order; nothing begins where there is no item."""
        source = iter(items)
        for first in source:
            work = begin()
            yield work(first)
            yield from map(work, source)


LOCAL: Final = LocalEngine()
"""This process."""


def engine_of(settings: Settings) -> Engine:
    """Return the engine that the settings name; nothing is connected yet.

    Raises
    ------
    BadConfig
        The address is none, or Ray is not installed.
    """
    if settings.ray_address is None:
        return LOCAL
    _host_and_port(settings.ray_address)
    return RayEngine(
        address=settings.ray_address,
        workers=settings.ray_workers,
        device=settings.device,
        attempts=settings.run_attempts,
        start_s=settings.run_pending_s,
    )


_PROBE_S: Final = 120.0
"""Seconds for a process to load Ray and join a cluster, on a busy machine."""

_CONNECT_S: Final = 10.0
_POLL_S: Final = 1.0

_PROBE: Final = "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False, logging_level='ERROR')"


@dataclass(frozen=True, kw_only=True)
class RayEngine:
    """Runs work on actors in a Ray cluster, each with few items in hand: no more is under way.

    Parameters
    ----------
    address
        Of the head, ``host:port`` from a machine of the cluster or ``ray://host:port`` from elsewhere.
    workers
        How many at most; None for as many as the cluster has GPUs, or CPUs where there are none.
    device
        ``auto`` or ``cuda`` gives each worker a GPU, where the cluster has any; ``cpu`` none.
    attempts
        Workers that one item may cost.
    start_s
        Seconds without any worker at work that are borne.
    """

    address: str
    workers: int | None
    device: str
    attempts: int
    start_s: float

    def map(self, begin: Callable[[], Callable[[T], R]], items: Iterable[T], *, at_once: int = 1) -> Iterator[R]:
        """Yield what work makes of each item, as it comes; a worker that dies costs its items in hand, done again."""
        source = iter(items)
        first = list(islice(source, 1))
        if not first:
            return
        with _connected(self.address) as ray:
            resources = ray.cluster_resources()
            gpus = int(resources.get("GPU", 0)) if self.device != "cpu" else 0
            if self.device.startswith("cuda") and not gpus:
                raise BadConfig(f"the Ray cluster has no GPU for device {self.device!r}", device=self.device)
            limit = self.workers or gpus or max(1, int(resources.get("CPU", 1)))
            first += islice(source, limit - 1)
            hand_out = _HandOut(
                ray=ray,
                kind=ray.remote(num_cpus=1, num_gpus=1 if gpus else 0, max_restarts=0, max_concurrency=at_once)(
                    _Worker
                ),
                begin=begin,
                at_once=at_once,
                attempts=self.attempts,
                start_s=self.start_s,
            )
            try:
                for _ in first:
                    hand_out.start()
                yield from hand_out.results(first, source)
            finally:
                hand_out.end()


@dataclass(kw_only=True)
class _Job(Generic[T]):
    """An item, and how many workers died over it."""

    item: T
    lost: int = 0


class _Worker:
    """An actor: work that is prepared once."""

    def __init__(self, begin: Callable[[], Callable[[Any], Any]], version: str) -> None:
        self._begin = begin
        self._version = version

    def prepare(self) -> None:
        """Prepare the work: here and not when the actor is made, so that its errors come back as they are."""
        logging.getLogger("alservice").setLevel(logging.INFO)
        if self._version != VERSION:
            raise BadConfig(f"a node of the Ray cluster has alservice {VERSION}, and this run is of {self._version}")
        self._work = self._begin()

    def do(self, item: Any) -> Any:
        """Return what work makes of an item."""
        return self._work(item)


@dataclass(kw_only=True)
class _HandOut(Generic[T, R]):
    """Gives each worker that is ready an item, and items of workers that died to others."""

    ray: Any
    kind: Any
    begin: Callable[[], Callable[[T], R]]
    at_once: int
    attempts: int
    start_s: float
    again: deque[_Job[T]] = field(default_factory=deque)
    starting: dict[Any, Any] = field(default_factory=dict)
    busy: dict[Any, tuple[Any, _Job[T]]] = field(default_factory=dict)
    idle: list[Any] = field(default_factory=list)
    gone: list[Any] = field(default_factory=list)
    lost_in_a_row: int = 0

    def start(self) -> None:
        """Ask for one more worker; it has no item until it is ready, for it may wait long for a place."""
        worker = self.kind.remote(self.begin, VERSION)
        self.starting[worker.prepare.remote()] = worker

    def end(self) -> None:
        """End all workers, at work or not."""
        workers = [*self.starting.values(), *(worker for worker, _ in self.busy.values()), *self.idle]
        for worker in workers:
            self.ray.kill(worker)

    def results(self, first: Iterable[T], source: Iterator[T]) -> Iterator[R]:
        """Yield results until all items have one."""
        self.again.extend(_Job(item=item) for item in first)
        at_work = monotonic()
        while self._give(source):
            done, _ = self.ray.wait([*self.busy, *self.starting], num_returns=1, timeout=_POLL_S)
            if done or self.busy:
                at_work = monotonic()
            if monotonic() - at_work > self.start_s:
                raise RayWorkersLost(f"no worker found a place in the Ray cluster for {self.start_s:g} s")
            for reference in done:
                yield from self._received(reference)

    def _give(self, source: Iterator[T]) -> bool:
        """Give items to idle workers; return whether anything is still to come."""
        while self.idle:
            job = self.again.popleft() if self.again else next((_Job(item=item) for item in source), None)
            if job is None:
                break
            worker = self.idle.pop()
            self.busy[worker.do.remote(job.item)] = worker, job
        # With items left, no worker is idle: then some are at work, or are about to be.
        return bool(self.busy or self.again)

    def _received(self, reference: Any) -> Iterator[R]:
        """Yield what a worker made of its item, if it did; a worker that died is replaced."""
        exceptions = self.ray.exceptions
        worker, job = self.busy.pop(reference, (None, None))
        if job is None:
            worker = self.starting.pop(reference)
        try:
            result = self.ray.get(reference)
        except exceptions.RayTaskError as error:
            self.idle.append(worker)
            raise error.cause from None
        except exceptions.RayError as error:  # its process or its machine is gone
            self._lose(worker, job, error)
            return
        self.lost_in_a_row = 0
        if job is None:
            self.idle += [worker] * self.at_once
        else:
            if not any(worker is dead for dead in self.gone):  # a last word of one that died meanwhile
                self.idle.append(worker)
            yield result

    def _lose(self, worker: Any, job: _Job[T] | None, error: Exception) -> None:
        if job is not None:
            job.lost += 1
            self.again.append(job)
        if any(worker is dead for dead in self.gone):  # another of its items said so
            return
        self.gone.append(worker)
        self.idle = [other for other in self.idle if other is not worker]
        reason = str(error).strip().partition("\n")[0][:300]
        _log.warning("a worker in the Ray cluster is gone: %s", reason)
        self.lost_in_a_row += 1
        n_workers = len(self.busy) + len(self.starting) + len(self.idle) + 1
        if (job is not None and job.lost >= self.attempts) or self.lost_in_a_row > self.attempts * n_workers:
            raise RayWorkersLost(
                f"{self.lost_in_a_row} workers in the Ray cluster died without a result between, the last: {reason}",
                in_a_row=self.lost_in_a_row,
            ) from error
        self.start()


_ADDRESS: Final = re.compile(r"(?:ray://)?(\[[0-9a-fA-F:]+\]|[^\s:/@]+):(\d{1,5})")


def _host_and_port(address: str) -> tuple[str, int]:
    found = _ADDRESS.fullmatch(address)
    if found is None or not 0 < int(found[2]) < 65536:
        raise BadConfig("ALSERVICE_RAY_ADDRESS is neither host:port nor ray://host:port")
    return found[1].strip("[]"), int(found[2])


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Yield Ray, joined to a cluster for as long as a block runs; the outermost block leaves it.

    Raises
    ------
    BadConfig
        Ray is not installed.
    RayUnavailable
        Nothing answers there, or what does is no Ray head that this machine can join.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise BadConfig(
            "ALSERVICE_RAY_ADDRESS is set and Ray is not installed: pip install 'alservice[ray]'"
        ) from error
    if ray.is_initialized():
        yield ray
        return
    _probe(address)
    is_main = threading.current_thread() is threading.main_thread()
    told = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, namespace="alservice", log_to_driver=False, logging_level=logging.WARNING)
        if is_main:
            signal.signal(signal.SIGTERM, told)  # Ray takes it for itself
        yield ray
    except (ConnectionError, ray.exceptions.RaySystemError, ray.exceptions.AuthenticationError) as error:
        raise RayUnavailable(f"the Ray cluster at {address}: {_line(str(error))}", address=address) from error
    finally:
        ray.shutdown()
        if is_main:
            signal.signal(signal.SIGTERM, told)


def _probe(address: str) -> None:
    """Join a cluster in a process of its own first: from a wrong address Ray may hang, or end its process."""
    try:
        socket.create_connection(_host_and_port(address), timeout=_CONNECT_S).close()
    except OSError as error:
        raise RayUnavailable(f"nothing answers at {address}: {error}", address=address) from error
    try:
        tried = subprocess.run(
            [sys.executable, "-c", _PROBE, address], capture_output=True, text=True, timeout=_PROBE_S, check=False
        )
    except subprocess.TimeoutExpired:
        reason = f"could not be joined in {_PROBE_S:g} s"
        raise RayUnavailable(f"the Ray cluster at {address} {reason}", address=address) from None
    if tried.returncode:
        raise RayUnavailable(f"{address} is no Ray head that can be joined: {_line(tried.stderr)}", address=address)


def _line(text: str) -> str:
    return next((line for line in reversed(text.strip().splitlines()) if line.strip()), "no reason given")[:300]
