"""Rows of a file -> prediction shards: memory holds one shard, a finished one is not computed again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from alservice.catalogue.galaxies import CatalogueFault, CatalogueRow
from alservice.errors import BadImage
from alservice.network.architectures import Network
from alservice.network.ensemble import sample_ensemble
from alservice.offline.tables import PredictionSink
from alservice.offline.training import DRAWS_SEED
from alservice.process import Progress
from alservice.science.posterior import Posterior
from alservice.science.predictions import PredictionTable, predictions
from alservice.shapes import UInt8Array
from alservice.storage import ImageCodec

SHARD_ROWS = 512
"""Rows of a shard: what a kill can cost, and what memory holds."""


@dataclass(frozen=True, kw_only=True)
class PredictRows:
    """Sample the posterior of a network, or of an ensemble, for the galaxies of a file.

    Parameters
    ----------
    networks
        One, or several for one tree and one kind of images, which share the draws.
    model
        Digest of their bytes.
    keep_draws
        Whether draws of the fractions are kept beside their mean and interval.
    """

    networks: Sequence[Network]
    model: str
    codec: ImageCodec
    device: str
    draws: int
    keep_draws: bool
    progress: Progress

    def run(
        self, rows: Iterable[CatalogueRow | CatalogueFault], sink: PredictionSink, *, total: int | None = None
    ) -> tuple[int, int, int]:
        """Predict every row; return the shards, the galaxies that were predicted, and the rows that failed."""
        index = done = failed = 0
        self.progress.start("predict", total)
        for shard in _shards(rows):
            finished = sink.finished(index)
            if finished is None:
                finished = self._predict(index, shard, sink)
            done, failed, index = done + finished[0], failed + finished[1], index + 1
            self.progress.advance(len(shard))
            if failed:
                self.progress.note(f"{failed} failed")
        self.progress.finish()
        return index, done, failed

    def _predict(self, index: int, rows: list[CatalogueRow | CatalogueFault], sink: PredictionSink) -> tuple[int, int]:
        config = self.networks[0].config
        ids: list[str] = []
        images: list[UInt8Array] = []
        faults: list[CatalogueFault] = []
        for row in rows:
            if isinstance(row, CatalogueFault):
                faults.append(row)
                continue
            try:
                image = self.codec.decode(row.image, size_px=config.image_px, channels=3 if config.channels == 3 else 1)
            except BadImage as error:
                faults.append(CatalogueFault(row=row.row, galaxy_id=row.galaxy_id, field="image", reason=error.message))
                continue
            ids.append(row.galaxy_id)
            images.append(image)
        sink.save(index, self._table(tuple(ids), images), faults)
        return len(ids), len(faults)

    def _table(self, ids: tuple[str, ...], images: list[UInt8Array]) -> PredictionTable:
        config, tree = self.networks[0].config, self.networks[0].tree
        pixels = np.empty((len(ids), config.channels, config.image_px, config.image_px), dtype=np.uint8)
        if ids:
            np.stack(images, out=pixels)
        concentrations, embeddings = sample_ensemble(
            self.networks, pixels, draws=self.draws, seed=DRAWS_SEED, device=self.device
        )
        posterior = Posterior(
            galaxy_ids=ids,
            concentrations=concentrations,
            embeddings=embeddings,
            tree_hash=tree.hash,
            model=self.model,
        )
        return predictions(tree, posterior, draws_seed=DRAWS_SEED if self.keep_draws else None)


def _shards(rows: Iterable[CatalogueRow | CatalogueFault]) -> Iterator[list[CatalogueRow | CatalogueFault]]:
    stream = iter(rows)
    while shard := list(islice(stream, SHARD_ROWS)):
        yield shard
