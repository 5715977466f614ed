"""Catalogues by a campaign's name: files of galaxies, images and recorded votes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from alservice.app.jobs import Factory
from alservice.catalogue import files as catalogue_files
from alservice.catalogue.galaxies import Catalogue, CatalogueFault, CatalogueRow
from alservice.catalogue.tables import ImageSource
from alservice.catalogue.vote_columns import Layout
from alservice.checks import storable
from alservice.ids import MAX_ID_CHARS
from alservice.science.tree import load_tree


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


def import_file(
    factory: Factory,
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
    row = factory.campaigns.get(name)
    files = None if images is None else ImageSource(folder=images.folder, pattern=images.pattern)
    tree, roots = load_tree(row.campaign.tree), factory.settings.image_folders
    source = catalogue_files.open_catalogue(path, tree, layout=layout, images=files, roots=roots)
    flagged: list[str] = []
    stripped: list[str] = []
    rows = _noting(source.rows(galaxies, row.campaign.seed), flagged)
    catalogue = factory.import_catalogue().run(
        row,
        rows,
        source=storable(path.name, max_chars=MAX_ID_CHARS),
        total=galaxies or source.n_rows,
        on_stripped=stripped.append,
    )
    return Imported(catalogue=catalogue, layout=source.layout, inconsistent=tuple(flagged), stripped=tuple(stripped))


def _noting(
    rows: Iterable[CatalogueRow | CatalogueFault], flagged: list[str]
) -> Iterator[CatalogueRow | CatalogueFault]:
    """Yield rows; add the galaxies with inconsistent votes to `flagged` as they pass."""
    for row in rows:
        if isinstance(row, CatalogueRow) and not row.consistent:
            flagged.append(row.galaxy_id)
        yield row
