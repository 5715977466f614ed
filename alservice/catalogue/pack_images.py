"""Original images -> packed shards: decoded once to what the network sees, listed only when complete."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alservice.campaigns.campaign import ImagePolicy
from alservice.campaigns.cycle_store import CatalogueStore
from alservice.catalogue.galaxies import Catalogue, Galaxy, Shard
from alservice.process import Progress
from alservice.shapes import UInt8Array
from alservice.storage import ArrayCodec, ImageCodec, ObjectStore


def pack_name(policy: ImagePolicy) -> str:
    """Return the name of a packing: shards of one name hold the same galaxies at the same size and channels."""
    return f"{policy.size_px}px-{policy.channels}c-{policy.shard_galaxies}"


@dataclass(frozen=True, kw_only=True)
class PackImages:
    """Pack a catalogue's images; memory holds one shard, and finished shards are skipped."""

    catalogues: CatalogueStore
    objects: ObjectStore
    images: ImageCodec
    arrays: ArrayCodec
    progress: Progress

    def run(self, catalogue: Catalogue, policy: ImagePolicy) -> tuple[Shard, ...]:
        """Return all shards of the packing, in catalogue order."""
        pack = pack_name(policy)
        finished = {shard.index: shard for shard in self.catalogues.image_shards(catalogue.id, pack)}
        n_shards = -(-catalogue.n_galaxies // policy.shard_galaxies)
        self.progress.start("pack images", n_shards)
        for index in range(n_shards):
            if index not in finished:
                finished[index] = self._pack(catalogue, policy, index)
                self.catalogues.save_image_shard(catalogue.id, pack, finished[index])
            self.progress.advance()
        self.progress.finish()
        return tuple(finished[i] for i in range(n_shards))

    def _pack(self, catalogue: Catalogue, policy: ImagePolicy, index: int) -> Shard:
        galaxies = self.catalogues.galaxies(
            catalogue.id, first_row=index * policy.shard_galaxies, limit=policy.shard_galaxies
        )
        images = np.stack([self._decode(galaxy, policy) for galaxy in galaxies])
        data = self.arrays.pack_images(tuple(g.galaxy_id for g in galaxies), images)
        stored = self.objects.put(data, kind="packs", suffix=".safetensors")
        return Shard(index=index, key=stored.key, n_galaxies=len(galaxies), n_failed=0)

    def _decode(self, galaxy: Galaxy, policy: ImagePolicy) -> UInt8Array:
        """Return one image; every image of a catalogue decoded when it was imported, so a failure is corruption."""
        data = self.objects.get(galaxy.image_key)
        return self.images.decode(data, size_px=policy.size_px, channels=policy.channels)
