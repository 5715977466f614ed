"""Catalogues: read files of galaxies, images and recorded votes; pack images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alservice.lazy import lazily

if TYPE_CHECKING:
    from alservice.catalogue.files import open_catalogue
    from alservice.catalogue.galaxies import Catalogue, CatalogueRow, Galaxy
    from alservice.catalogue.service import CatalogueService
    from alservice.catalogue.store import CatalogueStore
else:
    __getattr__ = lazily(
        __name__,
        {
            "Catalogue": "alservice.catalogue.galaxies",
            "CatalogueRow": "alservice.catalogue.galaxies",
            "CatalogueService": "alservice.catalogue.service",
            "CatalogueStore": "alservice.catalogue.store",
            "Galaxy": "alservice.catalogue.galaxies",
            "open_catalogue": "alservice.catalogue.files",
        },
    )

__all__ = [
    "Catalogue",
    "CatalogueRow",
    "CatalogueService",
    "CatalogueStore",
    "Galaxy",
    "open_catalogue",
]
