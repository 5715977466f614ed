"""Where predictions go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from alservice.catalogue.galaxies import CatalogueFault
from alservice.science.predictions import PredictionTable


class PredictionSink(Protocol):
    """Shards of predictions, kept whole or not at all."""

    def finished(self, index: int) -> tuple[int, int] | None:
        """Return how many galaxies and how many faults a shard holds, None if it is not finished."""

    def save(self, index: int, table: PredictionTable, faults: Sequence[CatalogueFault]) -> None:
        """Keep a shard; raises `StorageFull`."""
