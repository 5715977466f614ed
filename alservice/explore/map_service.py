"""What researchers ask of a campaign's map: tiles, galaxies at a place or in a lasso, and these as files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Final

import numpy as np

from alservice.errors import NoIndex
from alservice.explore.choice import Choice
from alservice.explore.latent_map import LatentMap
from alservice.explore.service import DownloadFormat, ExploreService, Item, Opened
from alservice.release.formats import GROUP_ROWS, Layout, check_format, write_rows
from alservice.release.rows import Rows
from alservice.shapes import FloatArray

FIRST: Final = 100
"""Galaxies of a lasso that are listed: those first in the catalogue."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spot:
    """A place on the map and how many galaxies around it; `BadInput` where these are asked for says what is wrong."""

    x: float
    y: float
    n: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """Galaxies of a lasso: how many, and some of them."""

    n: int
    items: tuple[Item, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedMap:
    """A map, and the index that it is of."""

    opened: Opened
    map: LatentMap


@dataclass(frozen=True, kw_only=True)
class MapService:
    """Maps of campaigns' catalogues, as `ExploreService` opens their indices."""

    explore: ExploreService
    _maps: dict[str, tuple[Path, LatentMap]] = field(default_factory=dict, repr=False, compare=False)
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    def opened(self, name: str) -> OpenedMap:
        """Return a campaign's map; raises as `ExploreService.opened`, and `NoMap`."""
        opened = self.explore.opened(name)
        with self._lock:
            folder, found = self._maps.get(name, (None, None))
            if found is None or folder != opened.folder:
                found = LatentMap(opened.table, has_embeddings=opened.neighbours is not None)
                self._maps[name] = opened.folder, found
        return OpenedMap(opened=opened, map=found)

    def within(self, name: str, corners: FloatArray, choice: Choice) -> tuple[OpenedMap, Held]:
        """Return the galaxies of a choice within a polygon (V, 2)."""
        found = self.opened(name)
        places = found.map.inside(corners, choice)
        items = found.opened.table.at(places[:FIRST].tolist()) if len(places) else []
        return found, Held(n=len(places), items=tuple(items))

    def download(
        self, name: str, area: Spot | FloatArray, choice: Choice, file_format: DownloadFormat, folder: Path
    ) -> Path:
        """Write galaxies of a choice, with all columns, to a file in a folder; return its path.

        Parameters
        ----------
        area
            Nearest first of a spot; or in order of the catalogue within a polygon (V, 2).

        Raises
        ------
        BadInput
            They are too many, or the format cannot hold them.
        BadConfig
            FITS without the extra `astro`.
        """
        found = self.opened(name)
        check_format(file_format)
        told, n, rows = _rows_of(found.map, area, choice)
        table, index = found.opened.table, found.opened.index
        layout = Layout(
            columns=table.columns,
            n_rows=n,
            id_bytes=table.id_bytes,
            provenance={
                "content": "map",
                "campaign": {"name": index.campaign},
                "catalogue": {"id": index.catalogue_id},
                "model": {"id": index.model_id, "digest": index.model_digest},
                "tree": {"hash": index.tree},
                "choice": {"where": [condition.text for condition in choice.conditions], **told},
            },
            positions=lambda: iter(()),
        )
        written = write_rows(file_format, folder, layout, rows)
        if written != n:
            raise NoIndex(f"{written} of {n} galaxies were read", campaign=name)
        return folder / f"catalogue.{file_format}"


def _rows_of(
    found: LatentMap, area: Spot | FloatArray, choice: Choice
) -> tuple[Mapping[str, Any], int, Iterator[Rows]]:
    """Return what is asked for, how many galaxies that are, and their rows."""
    if isinstance(area, Spot):
        n = len(found.near(area.x, area.y, choice, n=area.n))
        clause, values = found.nearest_clause(area.x, area.y, choice, n=area.n)
        told: Mapping[str, Any] = {"map_x": area.x, "map_y": area.y}
        return told, n, found.table.stream(clause, values, group=GROUP_ROWS)
    places = found.inside(np.asarray(area), choice)
    return {"polygon": area.tolist()}, len(places), found.rows(places, group=GROUP_ROWS)
