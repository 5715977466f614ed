"""Shards in flight: while a device computes one, the next are read and the last ones scored and stored."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from queue import SimpleQueue
from typing import Final

from alservice.catalogue.galaxies import Shard
from alservice.prediction.shard import Batch, ShardPredictor, ShardTask
from alservice.shapes import FloatArray

_AHEAD: Final = 2
"""Shards per device that are read, or not yet stored, beside the one on it: memory holds three per device."""


def predict_overlapped(tasks: Iterable[ShardTask], predictors: Sequence[ShardPredictor]) -> Iterator[Shard]:
    """Yield what is to be recorded of every task, in order; each is stored when it is yielded.

    Reading, computing and storing run in threads side by side: one of the second kind for each predictor, whatever
    device it is on. The first error ends the run; shards that were under way are then finished or lost, never half
    stored.

    Parameters
    ----------
    predictors
        One per device, of one model.
    """
    free: SimpleQueue[ShardPredictor] = SimpleQueue()
    for predictor in predictors:
        free.put(predictor)
    n = len(predictors)
    first = predictors[0]

    def compute(read: Future[Batch]) -> tuple[Batch, FloatArray]:
        batch = read.result()
        predictor = free.get()
        try:
            return batch._replace(images=None), predictor.embed(batch)
        finally:
            free.put(predictor)

    def finish(task: ShardTask, computed: Future[tuple[Batch, FloatArray]]) -> Shard:
        return first.finish(task, *computed.result())

    flying: deque[Future[Shard]] = deque()
    with (
        ThreadPoolExecutor(_AHEAD * n, "read") as reading,
        ThreadPoolExecutor(n, "compute") as computing,
        ThreadPoolExecutor(n, "store") as storing,
    ):
        try:
            for task in tasks:
                if len(flying) > _AHEAD * n:
                    yield flying.popleft().result()
                computed = computing.submit(
                    copy_context().run, compute, reading.submit(copy_context().run, first.read, task)
                )
                flying.append(storing.submit(copy_context().run, finish, task, computed))
            while flying:
                yield flying.popleft().result()
        finally:
            for pool in (storing, computing, reading):
                pool.shutdown(wait=False, cancel_futures=True)
