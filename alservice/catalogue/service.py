"""Catalogues: imported from files with their images, packed for the network, measured, read back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from alservice.campaigns.campaign import Campaign, ImagePolicy
from alservice.campaigns.store import CampaignRow, CampaignStore
from alservice.catalogue.files import open_catalogue
from alservice.catalogue.galaxies import (
    Catalogue,
    CatalogueFault,
    CatalogueRow,
    Galaxy,
    Shard,
    catalogue_digest,
    is_evaluation_member,
)
from alservice.catalogue.store import CatalogueStore
from alservice.catalogue.tables import ImageSource
from alservice.catalogue.vote_columns import Layout
from alservice.checks import storable
from alservice.errors import BadImage, BadInput, NotFound
from alservice.ids import MAX_ID_CHARS, check_galaxy_id
from alservice.progress import Progress
from alservice.science.image_properties import Properties, measure_images
from alservice.science.tree import Tree, load_tree
from alservice.science.votes import TallySet, totals
from alservice.shapes import FloatArray, UInt8Array
from alservice.storage import ObjectStore, arrays
from alservice.storage import images as image_files

_SUFFIXES: Final = {"image/jpeg": ".jpg", "image/png": ".png", "image/gif": ".gif"}

VOTES: Final = "votes on the first question"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFiles:
    """Images in a folder, named after the galaxies; see `ImageSource`."""

    folder: Path
    pattern: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """What a file became.

    Parameters
    ----------
    inconsistent
        Galaxies whose recorded votes no walks through the tree give; they are in the catalogue.
    stripped
        Galaxies whose image file held more than pixels, such as metadata, which volunteers are not shown.
    """

    catalogue: Catalogue
    layout: Layout
    inconsistent: tuple[str, ...]
    stripped: tuple[str, ...] = ()


def pack_name(policy: ImagePolicy) -> str:
    """Return the name of a packing: shards of one name hold the same galaxies at the same size and channels."""
    return f"{policy.size_px}px-{policy.channels}c-{policy.shard_galaxies}"


def read_shards(
    objects: ObjectStore, shards: Sequence[Shard], wanted: Collection[str]
) -> Iterator[tuple[Shard, tuple[str, ...], UInt8Array]]:
    """Yield each image shard with the wanted galaxies in it: ids and images (N, C, H, W); N may be 0."""
    for shard in shards:
        ids, images = arrays.unpack_images(objects.get(shard.key))
        rows = [row for row, galaxy_id in enumerate(ids) if galaxy_id in wanted]
        yield shard, tuple(ids[row] for row in rows), images[rows]


@dataclass(frozen=True, kw_only=True)
class CatalogueService:
    """Versioned, immutable catalogues of a campaign's galaxies, and their images.

    Parameters
    ----------
    image_folders
        Where image paths of a file may lead besides its own folder.
    """

    campaigns: CampaignStore
    catalogues: CatalogueStore
    objects: ObjectStore
    progress: Progress
    image_folders: tuple[Path, ...] = ()

    def import_file(
        self,
        name: str,
        path: Path,
        *,
        galaxies: int | None = None,
        layout: Layout | None = None,
        images: ImageFiles | None = None,
    ) -> Imported:
        """Import a file into a campaign's next catalogue.

        Parameters
        ----------
        galaxies
            Use a seeded subset of so many.
        layout
            Take the file for this one; None to tell by its columns.
        """
        row = self.campaigns.get(name)
        files = None if images is None else ImageSource(folder=images.folder, pattern=images.pattern)
        tree = load_tree(row.settings.tree)
        source = open_catalogue(path, tree, layout=layout, images=files, roots=self.image_folders)
        flagged: list[str] = []
        stripped: list[str] = []
        catalogue = self.import_rows(
            row,
            _noting(source.rows(galaxies, row.settings.seed), flagged),
            source=storable(path.name, max_chars=MAX_ID_CHARS),
            total=galaxies or source.n_rows,
            on_stripped=stripped.append,
        )
        return Imported(
            catalogue=catalogue, layout=source.layout, inconsistent=tuple(flagged), stripped=tuple(stripped)
        )

    def import_rows(
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
        try:
            check_galaxy_id(row.galaxy_id, where="galaxy_id")
            shown = image_files.for_volunteers(row.image)
            image_files.check_decodable(shown)  # what enters a catalogue can be packed at any later size
        except BadImage as error:
            return CatalogueFault(row=row.row, galaxy_id=row.galaxy_id, field="image", reason=error.message)
        except BadInput as error:
            return CatalogueFault(row=row.row, galaxy_id=row.galaxy_id, field="galaxy_id", reason=error.message)
        stored = self.objects.put(shown, kind="images", suffix=_SUFFIXES[image_files.sniff(shown)])
        decisions = campaign.settings
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
            columns = load_tree(campaign.settings.tree).columns
            data = arrays.encode_fractions(ids, np.stack([votes[i] for i in ids]), columns)
            votes_key = self.objects.put(data, kind="recorded-votes", suffix=".parquet").key
        return self.catalogues.save(
            campaign.id,
            source=source,
            digest=catalogue_digest(ordered),
            votes_key=votes_key,
            galaxies=ordered,
            faults=faults,
        )

    def pack(self, catalogue: Catalogue, policy: ImagePolicy) -> tuple[Shard, ...]:
        """Return all image shards of a packing, in catalogue order; memory holds one, and finished ones are kept."""
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
        data = arrays.pack_images(tuple(g.galaxy_id for g in galaxies), images)
        stored = self.objects.put(data, kind="packs", suffix=".safetensors")
        return Shard(index=index, key=stored.key, n_galaxies=len(galaxies), n_failed=0)

    def _decode(self, galaxy: Galaxy, policy: ImagePolicy) -> UInt8Array:
        """Return one image; every image of a catalogue decoded when it was imported, so a failure is corruption."""
        data = self.objects.get(galaxy.image_key)
        return image_files.decode(data, size_px=policy.size_px, channels=policy.channels)

    def images_of(self, campaign: Campaign, catalogue_id: int, galaxy_ids: Sequence[str]) -> UInt8Array:
        """Return packed images (N, C, H, W) in the order of the ids; raises `NotFound` naming the first absent one."""
        shards = self.catalogues.image_shards(catalogue_id, pack_name(campaign.images))
        found: dict[str, UInt8Array] = {}
        for _, ids, images in read_shards(self.objects, shards, frozenset(galaxy_ids)):
            found |= dict(zip(ids, images, strict=True))
        absent = next((galaxy_id for galaxy_id in galaxy_ids if galaxy_id not in found), None)
        if absent is not None:
            raise NotFound(f"galaxy {absent} is in no image shard", galaxy_id=absent)
        return np.stack([found[galaxy_id] for galaxy_id in galaxy_ids])

    def measure(self, campaign: Campaign, catalogue_id: int, tallies: TallySet, tree: Tree) -> Properties:
        """Return properties measured on the packed images and the number of votes, in the order of the tallies.

        Raises
        ------
        NotFound
            A galaxy has no packed image.
        """
        measured = self.measure_images(campaign, catalogue_id, tallies.galaxy_ids)
        return {**measured, VOTES: totals(tree, tallies.counts)[:, 0].astype(np.float64)}

    def measure_images(self, campaign: Campaign, catalogue_id: int, galaxy_ids: tuple[str, ...]) -> Properties:
        """Return what can be measured on the packed images of some galaxies, in the order of the ids."""
        return measure_images(self.images_of(campaign, catalogue_id, galaxy_ids))


def _noting(
    rows: Iterable[CatalogueRow | CatalogueFault], flagged: list[str]
) -> Iterator[CatalogueRow | CatalogueFault]:
    """Yield rows; add the galaxies with inconsistent votes to `flagged` as they pass."""
    for row in rows:
        if isinstance(row, CatalogueRow) and not row.consistent:
            flagged.append(row.galaxy_id)
        yield row
