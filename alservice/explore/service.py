"""What researchers ask of a campaign's catalogue: galaxies by choice, galaxies like others, tables to keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import Lock
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from alservice.campaigns.campaign import Campaign
from alservice.campaigns.store import CampaignRow, CampaignStore
from alservice.catalogue.galaxies import Catalogue, Shard
from alservice.catalogue.service import usable_cores
from alservice.catalogue.store import CatalogueStore
from alservice.constants import MAX_IMAGE_BYTES
from alservice.errors import BadInput, NoIndex, NotFound
from alservice.explore.build import Part, build_index, load_components
from alservice.explore.choice import Choice
from alservice.explore.index import TABLE, Index, IndexFolder, Piece
from alservice.explore.neighbours import Neighbours, check_near
from alservice.explore.table import Found, Table, check_position
from alservice.prediction.scope import Scope
from alservice.prediction.service import PredictionService
from alservice.prediction.shard import Batch, ShardPredictor
from alservice.progress import Clock, Progress
from alservice.registry.records import Model
from alservice.registry.store import ModelStore, SnapshotStore
from alservice.release.formats import GROUP_ROWS, Layout, check_format, write_rows
from alservice.release.rows import Rows
from alservice.science.tree import load_tree
from alservice.shapes import FloatArray, IntArray
from alservice.storage import ObjectStore, arrays, images
from alservice.votes.service import VoteService

MAX_DOWNLOAD: Final = 200_000
"""Rows of one download; a release has all."""

MAX_EXAMPLES: Final = 50
"""Galaxies whose like may be asked for together."""

RADIUS_ARCSEC: Final = 30.0
"""How far from a position its galaxy may lie, unless said otherwise."""

THUMBNAIL_PX: Final = 128

VOTES_LIFE: Final = timedelta(days=7)
"""Age from which an index of the champion and the newest catalogue is built again, for its votes."""

DownloadFormat: TypeAlias = Literal["csv", "parquet", "fits"]
Item: TypeAlias = Mapping[str, Any]
"""A galaxy by column; None where there is no value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Likeness:
    """What similar galaxies are asked for: galaxies, one position or one image.

    Parameters
    ----------
    galaxy_ids
        Examples, whose mean is looked around; they are not among the answers.
    position
        Right ascension and declination (deg, ICRS); the nearest galaxy within the radius is the example.
    image
        JPEG, PNG or GIF, as a catalogue's.

    Raises
    ------
    BadInput
        Not one of them is given, or more than one.
    """

    galaxy_ids: tuple[str, ...] = ()
    position: tuple[float, float] | None = None
    radius_arcsec: float = RADIUS_ARCSEC
    image: bytes | None = None

    def __post_init__(self) -> None:
        """Refuse what is not one question."""
        if (bool(self.galaxy_ids), self.position is not None, self.image is not None).count(True) != 1:
            raise BadInput("similar galaxies are asked for by galaxies, by a position or by an image: by one of them")
        if len(self.galaxy_ids) > MAX_EXAMPLES:
            raise BadInput(f"{len(self.galaxy_ids)} examples are more than {MAX_EXAMPLES}", field="galaxy")
        if self.position is not None:
            check_position(*self.position)


@dataclass(frozen=True, kw_only=True, slots=True)
class Similar:
    """Galaxies like others.

    Parameters
    ----------
    examples
        What was asked for; none for an image.
    items
        Nearest first, each with its ``distance`` in the embedding.
    """

    index: Index
    is_current: bool
    examples: tuple[Item, ...]
    items: tuple[Item, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Around:
    """Neighbours of one galaxy.

    Parameters
    ----------
    sky
        Nearest first, each with its ``separation_deg``; none where it has no position.
    similar
        Nearest in the embedding first, each with its ``distance``; none where there are no embeddings.
    """

    index: Index
    is_current: bool
    sky: tuple[Item, ...]
    similar: tuple[Item, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """An index as this process reads it.

    Parameters
    ----------
    neighbours
        None where the model has no embeddings.
    is_current
        Whether its model is the champion, and its catalogue the newest.
    """

    index: Index
    folder: Path
    table: Table
    neighbours: Neighbours | None
    is_current: bool


@dataclass(frozen=True, kw_only=True)
class ExploreService:
    """Indices of campaigns' catalogues, built from stored predictions and asked by many at once.

    Parameters
    ----------
    folder
        Where indices are: made from what is stored elsewhere, and lost without harm.
    device
        Returns the torch device for images that are brought.
    """

    campaigns: CampaignStore
    catalogues: CatalogueStore
    models: ModelStore
    snapshots: SnapshotStore
    objects: ObjectStore
    prediction: PredictionService
    votes: VoteService
    folder: Path
    device: Callable[[], str]
    clock: Clock
    progress: Progress
    _open: dict[str, tuple[Index, Path, Table, Neighbours | None]] = field(
        default_factory=dict, repr=False, compare=False
    )
    _predictors: dict[int, ShardPredictor] = field(default_factory=dict, repr=False, compare=False)
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    def build(self, name: str) -> Index:
        """Build the index of the newest catalogue as the champion sees it; what it has not predicted yet is first.

        The index before answers until this one is whole.

        Raises
        ------
        NotFound
            No such campaign, no catalogue, or no model promoted yet.
        NoIndex
            Not one galaxy could be predicted.
        Conflict
            Another process builds it.
        BadConfig
            The extra `explore` is not installed.
        """
        row = self.campaigns.get(name)
        champion, catalogue = self._live(row)
        folder = IndexFolder(self.folder / name)
        with folder.building() as work:
            self.prediction.newest(name)
            shards = self.models.posterior_shards(champion.id, catalogue.id, Scope.CATALOGUE)
            shards = [shard for shard in shards if shard.n_galaxies]
            if not shards:
                raise NoIndex(f"model {champion.id} could predict no galaxy of campaign {name}", campaign=name)
            labelled, digest = self._labelled(champion)
            index = Index(
                campaign=name,
                catalogue_id=catalogue.id,
                model_id=champion.id,
                model_digest=champion.digest,
                tree=load_tree(row.settings.tree).hash,
                pieces=tuple(Piece(key=shard.key, n=shard.n_galaxies) for shard in shards),
                labelled=digest,
                dimensions=0,
                explained=0.0,
                fitted=0,
                built_at=self.clock(),
            )
            index = build_index(
                work,
                index,
                lambda places: self._parts(row, catalogue, [shards[place] for place in places]),
                tree=load_tree(row.settings.tree),
                labelled=labelled,
                before=folder.usable(),
                threads=usable_cores(),
                progress=self.progress,
            )
            folder.publish(work, index)
        return index

    def due(self, name: str) -> str | None:
        """Return why a campaign's index should be built now; None where it need not, or cannot yet.

        Raises
        ------
        NotFound
            No such campaign.
        """
        row = self.campaigns.get(name)
        champion, catalogue = self.models.champion(row.id), self.catalogues.newest(row.id)
        if champion is None or catalogue is None:
            return None
        found = IndexFolder(self.folder / name).usable()
        if found is None:
            return "there was none"
        index = found[1]
        if (index.model_id, index.catalogue_id) != (champion.id, catalogue.id):
            return "champion or catalogue are newer"
        return "its votes were a week old" if self.clock() - index.built_at >= VOTES_LIFE else None

    def _live(self, row: CampaignRow) -> tuple[Model, Catalogue]:
        champion, catalogue = self.models.champion(row.id), self.catalogues.newest(row.id)
        if champion is None or catalogue is None:
            missing = "catalogue" if catalogue is None else "promoted model"
            raise NotFound(f"campaign {row.settings.name} has no {missing} yet", campaign=row.settings.name)
        return champion, catalogue

    def _labelled(self, champion: Model) -> tuple[frozenset[str], str | None]:
        snapshot = self.snapshots.of_cycle(champion.cycle_id)
        if snapshot is None:
            return frozenset(), None
        return frozenset(arrays.decode_counts(self.objects.get(snapshot.key))[0]), snapshot.digest

    def _parts(self, row: CampaignRow, catalogue: Catalogue, shards: Sequence[Shard]) -> Iterator[Part]:
        size, votes_of = row.settings.images.shard_galaxies, self.votes.votes_of(row)
        for shard in shards:
            (prediction,) = self.prediction.stored.predictions(row.settings, [shard])
            listed = self.catalogues.galaxies(catalogue.id, first_row=shard.index * size, limit=size)
            known = {galaxy.galaxy_id: galaxy for galaxy in listed}
            galaxies = [known[galaxy_id] for galaxy_id in prediction.galaxy_ids]
            yield Part(galaxies=galaxies, prediction=prediction, counts=votes_of(prediction.galaxy_ids))

    def opened(self, name: str) -> Opened:
        """Return a campaign's index as this process reads it; the one of before is let go when there is another.

        Raises
        ------
        NotFound
            No such campaign.
        NoIndex
            It has no index here yet.
        BadConfig
            The extra `explore` is not installed.
        """
        row = self.campaigns.get(name)
        with self._lock:
            found = IndexFolder(self.folder / name).current()
            if found is None:
                raise NoIndex(f"campaign {name} has no index yet", campaign=name)
            path, index = found
            held = self._open.get(name)
            tree = load_tree(row.settings.tree)
            if index.tree != tree.hash:
                raise NoIndex(f"the index of campaign {name} follows another question tree", campaign=name)
            if held is None or held[1] != path:
                table = Table(path / TABLE, tree)
                neighbours = Neighbours(path) if index.dimensions else None
                held = self._open[name] = index, path, table, neighbours
        champion, catalogue = self.models.champion(row.id), self.catalogues.newest(row.id)
        live = (champion.id if champion else None, catalogue.id if catalogue else None)
        index, path, table, neighbours = held
        return Opened(
            index=index,
            folder=path,
            table=table,
            neighbours=neighbours,
            is_current=live == (index.model_id, index.catalogue_id),
        )

    def choose(self, name: str, choice: Choice, *, first: int = 0, limit: int = 24) -> tuple[Opened, Found]:
        """Return some galaxies of a choice in its order, and how many there are; raises what its parts do."""
        opened = self.opened(name)
        return opened, opened.table.page(choice, first=first, limit=limit)

    def similar(self, name: str, wanted: Likeness, *, n: int = 24, exact: bool = False) -> Similar:
        """Return the galaxies nearest in the embedding to what is wanted.

        Parameters
        ----------
        exact
            Whether every galaxy is compared, in place of asking the graph.

        Raises
        ------
        NotFound
            A galaxy is not in the index, or none lies at the position.
        BadImage
            The image is none, or over the bounds in bytes or pixels.
        BadInput
            Too many are asked for.
        NoIndex
            There is no index, or its model has no embeddings.
        """
        opened = self.opened(name)
        neighbours = opened.neighbours
        if neighbours is None:
            raise NoIndex(f"model {opened.index.model_id} has no embeddings: nothing is similar", campaign=name)
        examples = self._examples(opened, wanted)
        places = [int(item["place"]) for item in examples]
        vector: FloatArray
        if wanted.image is not None:
            vector = self._vector_of(name, opened, wanted.image)
        else:
            vector = neighbours.vectors[np.array(places)].astype(np.float32).mean(axis=0)
        search = neighbours.exact if exact else neighbours.near
        check_near(n)
        found, distances = search(vector, n + len(places))
        return Similar(
            index=opened.index,
            is_current=opened.is_current,
            examples=tuple(examples),
            items=tuple(_without(opened, found, distances, places)[:n]),
        )

    def _examples(self, opened: Opened, wanted: Likeness) -> list[Item]:
        table = opened.table
        if wanted.position is not None:
            ra_deg, dec_deg = wanted.position
            found = table.near(ra_deg, dec_deg, radius_deg=wanted.radius_arcsec / 3600, n=1)
            if not found:
                where = f"{wanted.radius_arcsec:g} arcsec of ({ra_deg:g}, {dec_deg:g}) deg"
                raise NotFound(f"no galaxy of the index lies within {where}")
            return found
        return table.at(table.place_of(wanted.galaxy_ids)) if wanted.galaxy_ids else []

    def _vector_of(self, name: str, opened: Opened, data: bytes) -> FloatArray:
        """Return the vector (K,) of an image, seen by the index's model as it saw the catalogue."""
        campaign = self.campaigns.get(name).settings
        policy = campaign.images
        shown = images.for_volunteers(data, max_bytes=MAX_IMAGE_BYTES)
        pixels = np.array([images.decode(shown, size_px=policy.size_px, channels=policy.channels)])
        with self._lock:
            embeddings = self._predictor(campaign, opened.index).embed(Batch(("image",), pixels, None))
        vector: FloatArray = load_components(opened.folder).project(embeddings)[0]
        return vector

    def _predictor(self, campaign: Campaign, index: Index) -> ShardPredictor:
        if index.model_id not in self._predictors:
            self._predictors.clear()  # of a model before
            model = self.models.get(index.model_id)
            self._predictors[index.model_id] = ShardPredictor.load(self.objects, model, campaign, self.device())
        return self._predictors[index.model_id]

    def download(self, name: str, choice: Choice, file_format: DownloadFormat, folder: Path) -> Path:
        """Write all galaxies of a choice, in its order and with all columns, to a file in a folder; return its path.

        Raises
        ------
        BadInput
            There are more than `MAX_DOWNLOAD`, or the format cannot hold them.
        BadConfig
            FITS without the extra `astro`.
        """
        opened = self.opened(name)
        check_format(file_format)
        table, n = opened.table, opened.table.count(choice)
        if n > MAX_DOWNLOAD:
            raise BadInput(
                f"{n:,} galaxies are more than a download's {MAX_DOWNLOAD:,}: choose fewer, or release the catalogue",
                field="where",
            )
        rows = table.rows(choice, group=GROUP_ROWS)
        return _written(opened, rows, n, file_format, folder, _provenance(opened, choice))

    def download_named(
        self, name: str, galaxy_ids: Sequence[str], selection: str, file_format: DownloadFormat, folder: Path
    ) -> Path:
        """Write those galaxies of a selection that the index has to a file, in its order; as `download`."""
        opened = self.opened(name)
        check_format(file_format)
        n = len(opened.table.named(galaxy_ids))
        rows = opened.table.rows_named(galaxy_ids, group=GROUP_ROWS)
        return _written(opened, rows, n, file_format, folder, {**_of_index(opened.index), "selection": selection})

    def around(self, name: str, galaxy_id: str, *, n: int) -> Around:
        """Return the galaxies nearest to one, at most so many; raises as `opened` and `similar`."""
        opened = self.opened(name)
        (own,) = opened.table.at(opened.table.place_of([galaxy_id]))
        sky: Sequence[Item] = ()
        if own["ra_deg"] is not None and own["dec_deg"] is not None:
            near = opened.table.near(own["ra_deg"], own["dec_deg"], radius_deg=SKY_DEG, n=n + 1)
            sky = [item for item in near if item["place"] != own["place"]][:n]
        similar: Sequence[Item] = ()
        if opened.neighbours is not None:
            similar = self.similar(name, Likeness(galaxy_ids=(galaxy_id,)), n=n).items
        return Around(index=opened.index, is_current=opened.is_current, sky=tuple(sky), similar=tuple(similar))

    def thumbnail(self, catalogue_id: int, galaxy_id: str) -> bytes:
        """Return a small JPEG of a galaxy; raises `NotFound`."""
        (galaxy,) = self.catalogues.by_id(catalogue_id, [galaxy_id])
        pixels = images.decode(self.objects.get(galaxy.image_key), size_px=THUMBNAIL_PX, channels=3)
        return images.encode_jpeg(pixels, quality=80)


SKY_DEG: Final = 1.0
"""How far neighbours on the sky are looked for."""


def _without(opened: Opened, found: IntArray, distances: FloatArray, places: Sequence[int]) -> list[Item]:
    """Return galaxies with their distances, examples left out."""
    kept = [(int(p), float(d)) for p, d in zip(found, distances, strict=True) if int(p) not in places]
    items = opened.table.at([place for place, _ in kept])
    return [{**item, "distance": distance} for item, (_, distance) in zip(items, kept, strict=True)]


def _written(
    opened: Opened,
    rows: Iterator[Rows],
    n: int,
    file_format: DownloadFormat,
    folder: Path,
    provenance: Mapping[str, Any],
) -> Path:
    """Write n rows of an index in a format; return the path."""
    layout = Layout(
        columns=opened.table.columns,
        n_rows=n,
        id_bytes=opened.table.id_bytes,
        provenance={"content": "choice", **provenance},
        positions=lambda: iter(()),
    )
    written = write_rows(file_format, folder, layout, rows)
    if written != n:
        raise NoIndex(f"{written} of {n} galaxies were read", campaign=opened.index.campaign)
    return folder / f"catalogue.{file_format}"


def _of_index(index: Index) -> Mapping[str, Any]:
    return {
        "campaign": {"name": index.campaign},
        "catalogue": {"id": index.catalogue_id},
        "model": {"id": index.model_id, "digest": index.model_digest},
        "tree": {"hash": index.tree},
    }


def _provenance(opened: Opened, choice: Choice) -> Mapping[str, Any]:
    return {
        **_of_index(opened.index),
        "choice": {
            "where": [condition.text for condition in choice.conditions],
            "sort": choice.sort,
            "descending": choice.descending,
        },
    }
