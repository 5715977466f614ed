"""Galaxies of a catalogue -> what their images and tallies say of them, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from alservice.campaigns.campaign import Campaign
from alservice.campaigns.cycle_store import CatalogueStore
from alservice.catalogue.gather_images import GatherImages
from alservice.catalogue.pack_images import pack_name
from alservice.science.image_properties import Properties, measure_images
from alservice.science.training_sets import TallySet
from alservice.science.tree import Tree
from alservice.science.votes import totals
from alservice.storage import ArrayCodec, ObjectStore

VOTES: Final = "votes on the first question"


@dataclass(frozen=True, kw_only=True)
class MeasureGalaxies:
    """Measure galaxies on the packed images that the network sees."""

    catalogues: CatalogueStore
    objects: ObjectStore
    arrays: ArrayCodec

    def run(self, campaign: Campaign, catalogue_id: int, tallies: TallySet, tree: Tree) -> Properties:
        """Return measured properties and the number of votes, in the order of the tallies.

        Raises
        ------
        NotFound
            A galaxy has no packed image.
        """
        measured = self.images(campaign, catalogue_id, tallies.galaxy_ids)
        return {**measured, VOTES: totals(tree, tallies.counts)[:, 0].astype(np.float64)}

    def images(self, campaign: Campaign, catalogue_id: int, galaxy_ids: tuple[str, ...]) -> Properties:
        """Return what can be measured on the images of some galaxies, in the order of the ids."""
        packs = self.catalogues.image_shards(catalogue_id, pack_name(campaign.images))
        gather = GatherImages(objects=self.objects, arrays=self.arrays)
        return measure_images(gather.all(packs, galaxy_ids))
