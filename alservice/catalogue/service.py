"""Catalogues: imported from files with their images, packed for the network, measured, read back."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from alservice.campaigns.campaign import Campaign, ImagePolicy
from alservice.campaigns.store import CampaignRow, CampaignStore
from alservice.catalogue.files import AS_TOLD, ReadAs, open_catalogue
from alservice.catalogue.galaxies import (
    Catalogue,
    CatalogueFault,
    CatalogueRow,
    Galaxy,
    Import,
    Shard,
    is_evaluation_member,
)
from alservice.catalogue.image_source import images_at
from alservice.catalogue.import_store import ImportStore, Quarantined, Waiting, other_content, refusal
from alservice.catalogue.store import CatalogueStore
from alservice.catalogue.understood import Understood, understand
from alservice.catalogue.vote_columns import Layout
from alservice.checks import storable
from alservice.errors import BadImage, BadInput, NotFound
from alservice.ids import MAX_ID_CHARS, check_galaxy_id, digest_of_lines
from alservice.progress import Progress
from alservice.science.healpix import nested_cells
from alservice.science.image_properties import Properties, measure_images
from alservice.science.stretch import PLAIN, Stretch
from alservice.science.tree import Tree, load_tree
from alservice.science.votes import TallySet, totals
from alservice.shapes import FloatArray, UInt8Array
from alservice.storage import ObjectGroup, ObjectStore, arrays
from alservice.storage import images as image_files
from alservice.storage.remote_images import RemoteImages

_SUFFIXES: Final = {"image/jpeg": ".jpg", "image/png": ".png", "image/gif": ".gif"}

VOTES: Final = "votes on the first question"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFiles:
    """Images in a folder or under an address, named after the galaxies; see `images_at`."""

    folder: Path | str
    pattern: str


class Order(StrEnum):
    """How the galaxies of an import follow each other, after those that are there."""

    ID = "id"
    HEALPIX = "healpix"


ORDER_OF_CELLS: Final = 18
"""HEALPix order by which galaxies are sorted: cells of 0.8 arcseconds."""

_NOWHERE: Final = 1 << 62
"""After all cells: galaxies without a position."""


@dataclass(kw_only=True, slots=True)
class Noted:
    """Galaxies of which something is to be said: how many, and the first."""

    n: int = 0
    first: str | None = None

    def add(self, galaxy_id: str) -> None:
        """Count one more."""
        self.n += 1
        self.first = self.first or galaxy_id


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """What a file became.

    Parameters
    ----------
    catalogue
        The campaign's newest catalogue: a new version unless the file brought nothing new.
    record
        What its rows became.
    faults
        The first `SHOWN_FAULTS` rows in quarantine.
    understood
        How the file was read.
    inconsistent
        Galaxies whose recorded votes no walks through the tree give; they are in the catalogue.
    stripped
        Galaxies whose image file held more than pixels, such as metadata, which volunteers are not shown.
    converted
        Galaxies whose image was made from a file of another kind, by kind.
    """

    catalogue: Catalogue
    record: Import
    faults: Sequence[CatalogueFault]
    layout: Layout
    understood: Understood
    inconsistent: Noted
    stripped: Noted
    converted: Mapping[str, Noted]


@dataclass(frozen=True, kw_only=True, slots=True)
class CatalogueCard:
    """What a catalogue is, the files it came from, and what volunteers and the network are shown of its images.

    Parameters
    ----------
    imports
        Of the campaign, oldest first.
    images
        How the network's images are made of those that volunteers are shown.
    """

    catalogue: Catalogue
    imports: Sequence[Import]
    images: ImagePolicy

    @property
    def shown(self) -> Mapping[str, str]:
        """What each is shown, in a sentence."""
        colours = "in colour" if self.images.channels == 3 else "in grey, the mean over its channels"
        return {
            "volunteers": "the image file that was imported: its pixels to the bit; of CMYK, 16-bit grey, transparent "
            "and turned images, of WebP, TIFF and FITS the PNG or JPEG that was made when they were imported",
            "network": f"that same file: its largest centred square at {self.images.size_px} px, {colours}",
        }

    def document(self) -> dict[str, Any]:
        """Return the card as JSON."""
        catalogue = self.catalogue
        names = ("source", "stretch", "n_added", "n_replaced", "n_known", "n_failed")
        return {
            "catalogue": catalogue.id,
            "digest": catalogue.digest,
            "galaxies": catalogue.n_galaxies,
            "failed": catalogue.n_failed,
            "shown": dict(self.shown),
            "imports": [{name: getattr(each, name) for name in names} for each in self.imports],
        }

    def rows(self) -> Sequence[tuple[str, str]]:
        """Return the card as lines of a name and what it says."""
        files = (
            f"{each.source}: {each.n_added} galaxies added, {each.n_replaced} replaced, {each.n_known} known, "
            f"{each.n_failed} rows failed; stretch of fluxes: {each.stretch or 'none recorded'}"
            for each in self.imports
        )
        return [
            ("catalogue", f"{self.catalogue.id}, {self.catalogue.n_galaxies} galaxies, {self.catalogue.digest[:12]}"),
            *(("file", line) for line in files),
            *((f"{who} see", what) for who, what in self.shown.items()),
        ]


SHOWN_FAULTS: Final = 20

FLUSH_ROWS: Final = 2_000
"""Rows between two commits of an import: what a killed one does again at most."""

_AHEAD: Final = 32
"""Rows per thread that are read before the oldest of them is done: some megabytes of images."""


def usable_cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
    remote_images
        Reads images at addresses; None refuses them.
    threads
        Threads that check, store and decode images; decoders do not hold each other up.
    """

    campaigns: CampaignStore
    catalogues: CatalogueStore
    imports: ImportStore
    objects: ObjectStore
    progress: Progress
    image_folders: tuple[Path, ...] = ()
    remote_images: RemoteImages | None = None
    threads: int = field(default_factory=usable_cores)

    def import_file(
        self,
        name: str,
        path: Path,
        *,
        galaxies: int | None = None,
        layout: Layout | None = None,
        images: ImageFiles | None = None,
        order: Order = Order.ID,
        replace: bool = False,
        stretch: Stretch = PLAIN,
        read_as: ReadAs = AS_TOLD,
        on_understood: Callable[[Understood], None] | None = None,
    ) -> Imported:
        """Import a file: what is new in it is appended to the campaign's catalogue as a new version.

        A killed import goes on where it was when the same file is imported in the same way.

        Parameters
        ----------
        galaxies
            Use a seeded subset of so many.
        layout
            Take the file for this one; None to tell by its columns.
        order
            How the new galaxies follow each other.
        replace
            Take the file's content for galaxies that are there with other content, instead of refusing their rows.
        stretch
            How the fluxes of FITS images become what volunteers and the network are shown.
        read_as
            What its columns do not say.
        on_understood
            Told how the file was read, before any row is imported.

        Raises
        ------
        ImagesUnavailable
            A server that images are on is down; the same call goes on when it is back.
        """
        row = self.campaigns.get(name)
        files = None if images is None else images_at(images.folder, images.pattern)
        tree = load_tree(row.settings.tree)
        source = open_catalogue(
            path,
            tree,
            layout=layout,
            read_as=read_as,
            images=files,
            roots=self.image_folders,
            remote=self.remote_images,
            stretch=stretch,
        )
        understood = understand(source)
        if on_understood is not None:
            on_understood(understood)
        how = [source.table.sha256(), galaxies, row.settings.seed, source.layout, str(images), order, replace]
        if stretch != PLAIN:
            how.append(stretch.text())
        if read_as != AS_TOLD:
            how.append(str(read_as.document()))
        inconsistent = Noted()
        converted: dict[str, Noted] = {}

        def rows(done: int) -> Iterator[CatalogueRow | CatalogueFault]:
            for each in source.rows(galaxies, row.settings.seed, after=done):
                if isinstance(each, CatalogueRow) and not each.consistent:
                    inconsistent.add(each.galaxy_id)
                if isinstance(each, CatalogueRow) and each.made_from is not None:
                    converted.setdefault(each.made_from, Noted()).add(each.galaxy_id)
                yield each

        catalogue, record, stripped = self._import(
            row,
            rows,
            source=storable(path.name, max_chars=MAX_ID_CHARS),
            key=digest_of_lines(map(str, how)),
            total=galaxies or source.n_rows,
            order=order,
            replace=replace,
            stretch=stretch.text(),
        )
        return Imported(
            catalogue=catalogue,
            record=record,
            faults=self.imports.faults(record.id, limit=SHOWN_FAULTS),
            layout=source.layout,
            understood=understood,
            inconsistent=inconsistent,
            stripped=stripped,
            converted=converted,
        )

    def card(self, name: str) -> CatalogueCard:
        """Return what a campaign's newest catalogue is and how its images were made; raises `NotFound`."""
        row = self.campaigns.get(name)
        catalogue = self.catalogues.newest(row.id)
        if catalogue is None:
            raise NotFound(f"campaign {name} has no catalogue yet", campaign=name)
        return CatalogueCard(
            catalogue=catalogue, imports=tuple(self.imports.of_campaign(row.id)), images=row.settings.images
        )

    def import_rows(
        self,
        campaign: CampaignRow,
        rows: Iterable[CatalogueRow | CatalogueFault],
        *,
        source: str,
        total: int | None = None,
    ) -> Catalogue:
        """Append rows to a campaign's catalogue; a row that fails is recorded with its reason, never dropped.

        What is stored of an image, uploaded and compared with what Zooniverse gives back, is its pixels alone.

        Raises
        ------
        BadInput
            Not one row became a galaxy, and the campaign has no catalogue yet.
        """
        return self._import(campaign, lambda _: rows, source=source, total=total)[0]

    def _import(
        self,
        campaign: CampaignRow,
        rows: Callable[[int], Iterable[CatalogueRow | CatalogueFault]],
        *,
        source: str,
        key: str | None = None,
        total: int | None = None,
        order: Order = Order.ID,
        replace: bool = False,
        stretch: str | None = None,
    ) -> tuple[Catalogue, Import, Noted]:
        """Import the rows after those that are done, in flat memory; `rows` takes the number of those."""
        begun, stripped = self.imports.begin(campaign.id, source=source, key=key, stretch=stretch), Noted()
        done = begun.rows_done
        self.progress.start("import catalogue", total)
        self.progress.advance(begun.n_known + begun.n_failed)
        with self.objects.group() as images, ThreadPoolExecutor(self.threads) as pool:
            store = partial(self._store, campaign, images)
            read = _in_parallel(pool, store, rows(begun.rows_done), self.threads * _AHEAD)
            for batch in _batches(read, FLUSH_ROWS):
                for stored in batch:
                    if isinstance(stored, _Stored) and stored.stripped:
                        stripped.add(stored.galaxy.galaxy_id)
                done = done + len(batch) if key is None else max(each.row for each in batch)
                images.sync()  # before a row says where its image is
                self._flush(campaign, begun.id, batch, rows_done=done, order=order, replace=replace)
                self.progress.advance(len(batch))
        record = self.imports.finish(begun.id, replace=replace, join_votes=self._join_votes)
        self.progress.finish()
        if record.catalogue_id is None:
            faults = self.imports.faults(record.id, limit=1)
            reason = f"row {faults[0].row}: {faults[0].reason}" if faults else "it has no rows"
            raise BadInput(f"{source}: the catalogue is empty: {reason}", source=source, failed=record.n_failed)
        return self.catalogues.get(record.catalogue_id), record, stripped

    def _store(
        self, campaign: CampaignRow, images: ObjectGroup, row: CatalogueRow | CatalogueFault
    ) -> _Stored | CatalogueFault:
        """Store a row's image, unless it is a fault already."""
        if isinstance(row, CatalogueFault):
            return row
        try:
            check_galaxy_id(row.galaxy_id, where="galaxy_id")
            shown = image_files.for_volunteers(row.image)
            image_files.check_decodable(shown)  # what enters a catalogue can be packed at any later size
        except BadImage as error:
            return CatalogueFault(row=row.row, galaxy_id=row.galaxy_id, field="image", reason=error.message)
        except BadInput as error:
            return CatalogueFault(row=row.row, galaxy_id=row.galaxy_id, field="galaxy_id", reason=error.message)
        stored = images.put(shown, kind="images", suffix=_SUFFIXES[image_files.sniff(shown)])
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
        return _Stored(row=row.row, galaxy=galaxy, fractions=row.fractions, stripped=shown != row.image)

    def _flush(
        self,
        campaign: CampaignRow,
        import_id: int,
        batch: Sequence[_Stored | CatalogueFault],
        *,
        rows_done: int,
        order: Order,
        replace: bool,
    ) -> None:
        """Commit what some rows became: known galaxies are counted, those with other content replaced or refused."""
        stored = [each for each in batch if isinstance(each, _Stored)]
        faults = [each for each in batch if isinstance(each, CatalogueFault)]
        newest = self.catalogues.newest(campaign.id)
        ids = [each.galaxy.galaxy_id for each in stored]
        there = {} if newest is None else {g.galaxy_id: g for g in self.catalogues.present(newest.id, ids)}
        new: dict[str, _Stored] = {}
        n_known = 0
        for each in stored:
            galaxy_id = each.galaxy.galaxy_id
            before = there.get(galaxy_id)
            differs = None if before is None else other_content(each.galaxy, before)
            if before is not None and differs is None:
                n_known += 1
            elif differs is not None and not replace:
                faults.append(refusal(row=each.row, galaxy_id=galaxy_id, field=differs))
            else:
                new[galaxy_id] = each
        self.imports.add(
            import_id,
            rows_done=rows_done,
            waiting=_waiting(list(new.values()), order),
            faults=faults,
            n_known=n_known,
            votes_key=self._keep_votes(campaign, new),
        )

    def _keep_votes(self, campaign: CampaignRow, stored: Mapping[str, _Stored]) -> str | None:
        votes = {galaxy_id: each.fractions for galaxy_id, each in sorted(stored.items()) if each.fractions is not None}
        if not votes:
            return None
        columns = load_tree(campaign.settings.tree).columns
        data = arrays.encode_fractions(tuple(votes), np.stack(list(votes.values())), columns)
        return self.objects.put(data, kind="recorded-votes", suffix=".parquet").key

    def _join_votes(self, before: str | None, keys: Sequence[str]) -> str | None:
        """Return the key of all recorded votes: of their one file, or of a list of files."""
        parts = [*_vote_files(self.objects, before), *keys]
        if len(parts) < 2:
            return parts[0] if parts else None
        data = json.dumps({"files": parts}).encode()
        return self.objects.put(data, kind="recorded-votes", suffix=".json").key

    def quarantine(self, name: str) -> Iterator[Quarantined]:
        """Yield the rows of all imported files that became no galaxy of a campaign, oldest import first."""
        return self.imports.quarantine(self.campaigns.get(name).id)

    def recorded_votes(self, catalogue: Catalogue) -> tuple[tuple[str, ...], FloatArray]:
        """Return ids and recorded vote fractions (N, A), NaN where not recorded; N is 0 where none are.

        Of a galaxy that was replaced, those that came with it.
        """
        found: dict[str, FloatArray] = {}
        for key in _vote_files(self.objects, catalogue.votes_key):
            ids, fractions, _ = arrays.decode_fractions(self.objects.get(key))
            found |= dict(zip(ids, fractions, strict=True))
        return tuple(found), np.stack(list(found.values())) if found else np.empty((0, 0))

    def pack(self, catalogue: Catalogue, policy: ImagePolicy) -> tuple[Shard, ...]:
        """Return all image shards of a packing, in catalogue order; memory holds one.

        Finished ones are kept, and full ones of other versions shared: only what is new is decoded, and the galaxies
        before it in the same shard.
        """
        pack = pack_name(policy)
        self.catalogues.share_image_shards(catalogue, pack, size=policy.shard_galaxies)
        finished = {shard.index: shard for shard in self.catalogues.image_shards(catalogue.id, pack)}
        n_shards = -(-catalogue.n_galaxies // policy.shard_galaxies)
        self.progress.start("pack images", n_shards)
        with ThreadPoolExecutor(self.threads) as pool:
            for index in range(n_shards):
                if index not in finished:
                    finished[index] = self._pack(catalogue, policy, index, pool)
                    self.catalogues.save_image_shard(catalogue.id, pack, finished[index])
                self.progress.advance()
        self.progress.finish()
        return tuple(finished[i] for i in range(n_shards))

    def _pack(self, catalogue: Catalogue, policy: ImagePolicy, index: int, pool: Executor) -> Shard:
        galaxies = self.catalogues.galaxies(
            catalogue.id, first_row=index * policy.shard_galaxies, limit=policy.shard_galaxies
        )
        images = np.stack(list(pool.map(lambda galaxy: self._decode(galaxy, policy), galaxies)))
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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Stored:
    """A row whose image is stored."""

    row: int
    galaxy: Galaxy
    fractions: FloatArray | None
    stripped: bool


def _waiting(stored: Sequence[_Stored], order: Order) -> Sequence[Waiting]:
    """Return galaxies with the place that each has in an order."""
    places = np.zeros(len(stored), dtype=np.int64)
    if order is Order.HEALPIX:
        positions = [(each.galaxy.ra_deg, each.galaxy.dec_deg) for each in stored]
        known = np.array([None not in position for position in positions], dtype=np.bool_)
        places[~known] = _NOWHERE
        ra_dec = np.array([position for position in positions if None not in position], dtype=np.float64).reshape(-1, 2)
        places[known] = nested_cells(ra_dec[:, 0], ra_dec[:, 1], order=ORDER_OF_CELLS)
    return [
        Waiting(row=each.row, place=place, galaxy=each.galaxy)
        for each, place in zip(stored, places.tolist(), strict=True)
    ]


def _vote_files(objects: ObjectStore, key: str | None) -> Sequence[str]:
    """Return the files of recorded votes that a key names: itself, or those that it lists."""
    if key is None:
        return ()
    if not key.endswith(".json"):
        return (key,)
    files: list[str] = json.loads(objects.get(key))["files"]
    return files


def _in_parallel(
    pool: Executor,
    work: Callable[[CatalogueRow | CatalogueFault], _Stored | CatalogueFault],
    rows: Iterable[CatalogueRow | CatalogueFault],
    ahead: int,
) -> Iterator[_Stored | CatalogueFault]:
    """Yield what rows become, in their order; no more than so many are in memory."""
    running: deque[Future[_Stored | CatalogueFault]] = deque()
    for row in rows:
        running.append(pool.submit(work, row))
        if len(running) >= ahead:
            yield running.popleft().result()
    while running:
        yield running.popleft().result()


def _batches(rows: Iterator[_Stored | CatalogueFault], size: int) -> Iterator[Sequence[_Stored | CatalogueFault]]:
    while batch := list(islice(rows, size)):
        yield batch
