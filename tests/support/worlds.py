"""A factory on a test's own database and folder, and catalogues small enough to follow by hand."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from sqlalchemy import Engine

from alservice.app import App
from alservice.campaigns.campaign import AcquisitionPolicy, Campaign, EvaluationPolicy, ImagePolicy, TrainingPolicy
from alservice.campaigns.store import CampaignRow
from alservice.catalogue.galaxies import CatalogueFault, CatalogueRow
from alservice.progress import NoProgress
from alservice.science.tree import load_tree
from alservice.settings import Settings
from alservice.storage.images import encode_png
from alservice.storage.objects import open_objects

TREE = load_tree("gz2")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def make_factory(engine: Engine, folder: Path) -> App:
    """Return a factory whose clock stands at noon."""
    return App(
        settings=Settings(workdir=folder),
        engine=engine,
        objects=open_objects(str(folder / "objects")),
        clock=lambda: NOON,
        progress=NoProgress(),
        secret=lambda name: f"secret of {name}",
    )


def make_campaign(**changes: object) -> Campaign:
    """Return decisions for a handful of galaxies."""
    decisions: dict[str, object] = {
        "name": "test",
        "tree": "gz2",
        "images": ImagePolicy(size_px=16, shard_galaxies=8),
        "evaluation": EvaluationPolicy(fraction=0.3),
        "acquisition": AcquisitionPolicy(
            initial_galaxies=6, initial_evaluation_galaxies=4, batch_galaxies=5, votes_per_galaxy=3
        ),
        "training": TrainingPolicy(steps=2, batch_galaxies=4, min_new_votes=1, threads=1),
    }
    return Campaign(**{**decisions, **changes})


def make_row(number: int, *, image: bytes | None = None) -> CatalogueRow:
    """Return galaxy ``gNN`` with a picture of its own, a bright bar on a sky, and certain votes."""
    pixels = np.full((1, 16, 16), number % 200, dtype=np.uint8)
    pixels[:, 6:10, 4:12] += 50
    fractions = np.array([1.0 if TREE.slices[q].start == a else 0.0 for a, q in enumerate(TREE.question_of_answer)])
    return CatalogueRow(
        row=number,
        galaxy_id=f"g{number:02}",
        ra_deg=10.0 + number,
        dec_deg=-5.0,
        image=encode_png(pixels) if image is None else image,
        unbiased=True,
        fractions=fractions,
        n_votes=None,
    )


def import_rows(factory: App, campaign: Campaign, rows: Iterable[CatalogueRow | CatalogueFault]) -> CampaignRow:
    """Make the campaign and its catalogue."""
    row = factory.campaigns.save(campaign)
    factory.catalogue.import_rows(row, rows, source="test")
    return row
