"""Packed shards -> the images of some galaxies, one shard in memory at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from alservice.catalogue.galaxies import Shard
from alservice.errors import NotFound
from alservice.shapes import UInt8Array
from alservice.storage import ArrayCodec, ObjectStore


@dataclass(frozen=True, kw_only=True)
class GatherImages:
    """Read images back from their packs."""

    objects: ObjectStore
    arrays: ArrayCodec

    def shards(
        self, shards: Sequence[Shard], wanted: Collection[str]
    ) -> Iterator[tuple[Shard, tuple[str, ...], UInt8Array]]:
        """Yield each shard with the wanted galaxies in it: ids and images (N, C, H, W); N may be 0."""
        for shard in shards:
            ids, images = self.arrays.unpack_images(self.objects.get(shard.key))
            rows = [row for row, galaxy_id in enumerate(ids) if galaxy_id in wanted]
            yield shard, tuple(ids[row] for row in rows), images[rows]

    def all(self, shards: Sequence[Shard], galaxy_ids: Sequence[str]) -> UInt8Array:
        """Return images (N, C, H, W) in the order of the ids; raises `NotFound` naming the first that is absent."""
        found: dict[str, UInt8Array] = {}
        for _, ids, images in self.shards(shards, frozenset(galaxy_ids)):
            found |= dict(zip(ids, images, strict=True))
        absent = next((galaxy_id for galaxy_id in galaxy_ids if galaxy_id not in found), None)
        if absent is not None:
            raise NotFound(f"galaxy {absent} is in no image shard", galaxy_id=absent)
        return np.stack([found[galaxy_id] for galaxy_id in galaxy_ids])
