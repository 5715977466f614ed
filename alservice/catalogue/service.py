"""Catalogue file -> galaxies: store the original images, freeze memberships, account for every row."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from alservice.campaigns.cycle_store import CatalogueStore
from alservice.campaigns.records import CampaignRow
from alservice.catalogue.galaxies import (
    Catalogue,
    CatalogueFault,
    CatalogueRow,
    Galaxy,
    catalogue_digest,
    is_evaluation_member,
)
from alservice.errors import BadImage, BadInput
from alservice.ids import check_galaxy_id
from alservice.process import Progress
from alservice.science.tree import load_tree
from alservice.shapes import FloatArray
from alservice.storage import ArrayCodec, ImageCodec, ObjectStore

_SUFFIXES = {"image/jpeg": ".jpg", "image/png": ".png", "image/gif": ".gif"}


@dataclass(frozen=True, kw_only=True)
class ImportCatalogue:
    """Turn rows of a source into a versioned, immutable catalogue."""

    catalogues: CatalogueStore
    objects: ObjectStore
    images: ImageCodec
    arrays: ArrayCodec
    progress: Progress

    def run(
        self,
        campaign: CampaignRow,
        rows: Iterable[CatalogueRow | CatalogueFault],
        *,
        source: str,
        total: int | None = None,
        on_stripped: Callable[[str], None] = lambda _galaxy_id: None,
    ) -> Catalogue:
        """Import every row; a row that fails is recorded with its reason, never dropped.

        What is stored of an image, uploaded and compared with what Zooniverse gives back, is its pixels alone.

        Parameters
        ----------
        on_stripped
            Told the id of each galaxy whose image file held more than pixels.

        Raises
        ------
        BadInput
            Not one row became a galaxy.
        """
        galaxies: list[Galaxy] = []
        faults: list[CatalogueFault] = []
        votes: dict[str, FloatArray] = {}
        self.progress.start("import catalogue", total)
        for row in rows:
            outcome = row if isinstance(row, CatalogueFault) else self._store(campaign, row)
            if isinstance(outcome, CatalogueFault):
                faults.append(outcome)
            else:
                galaxies.append(outcome[0])
                if outcome[1]:
                    on_stripped(outcome[0].galaxy_id)
                if isinstance(row, CatalogueRow) and row.fractions is not None:
                    votes[row.galaxy_id] = row.fractions
            self.progress.advance()
        self.progress.finish()
        if not galaxies:
            reason = f"row {faults[0].row}: {faults[0].reason}" if faults else "it has no rows"
            raise BadInput(f"{source}: the catalogue is empty: {reason}", source=source, failed=len(faults))
        return self._save(campaign, galaxies, faults, votes, source)

    def _store(self, campaign: CampaignRow, row: CatalogueRow) -> tuple[Galaxy, bool] | CatalogueFault:
        """Store a row's image; return the galaxy, and whether the file held more than pixels."""
        policy = campaign.campaign.images
        try:
            check_galaxy_id(row.galaxy_id, where="galaxy_id")
            shown = self.images.for_volunteers(row.image)
            # Decoded here for its verdict alone: what enters a catalogue can be packed at any later size.
            self.images.decode(shown, size_px=policy.size_px, channels=policy.channels)
        except BadImage as error:
            return CatalogueFault(row=row.row, galaxy_id=row.galaxy_id, field="image", reason=error.message)
        except BadInput as error:
            return CatalogueFault(row=row.row, galaxy_id=row.galaxy_id, field="galaxy_id", reason=error.message)
        stored = self.objects.put(shown, kind="images", suffix=_SUFFIXES[self.images.sniff(shown)])
        decisions = campaign.campaign
        galaxy = Galaxy(
            galaxy_id=row.galaxy_id,
            row=-1,
            ra_deg=row.ra_deg,
            dec_deg=row.dec_deg,
            image_key=stored.key,
            unbiased=row.unbiased,
            evaluation=is_evaluation_member(
                row.galaxy_id,
                unbiased=row.unbiased,
                seed=decisions.seed,
                fraction=decisions.evaluation.fraction,
            ),
        )
        return galaxy, shown != row.image

    def _save(
        self,
        campaign: CampaignRow,
        galaxies: list[Galaxy],
        faults: list[CatalogueFault],
        votes: dict[str, FloatArray],
        source: str,
    ) -> Catalogue:
        ordered = [replace(g, row=i) for i, g in enumerate(sorted(galaxies, key=lambda g: g.galaxy_id))]
        votes_key = None
        if votes:
            ids = tuple(sorted(votes))
            columns = load_tree(campaign.campaign.tree).columns
            data = self.arrays.encode_fractions(ids, np.stack([votes[i] for i in ids]), columns)
            votes_key = self.objects.put(data, kind="recorded-votes", suffix=".parquet").key
        return self.catalogues.save(
            campaign.id,
            source=source,
            digest=catalogue_digest(ordered),
            votes_key=votes_key,
            galaxies=ordered,
            faults=faults,
        )
