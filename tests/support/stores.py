"""Stores on a fresh database, and the records that tests start from."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import Engine

from alservice.acquisition.request_store import SqlRequestStore
from alservice.acquisition.store import AcquisitionStore
from alservice.campaigns.campaign import Campaign
from alservice.campaigns.cycle import Cycle, CycleState
from alservice.campaigns.cycle_store import CycleStore
from alservice.campaigns.store import CampaignRow, CampaignStore, EventLog
from alservice.catalogue.galaxies import Catalogue, Galaxy
from alservice.catalogue.store import CatalogueStore
from alservice.explore.selection_store import SqlSelectionStore
from alservice.registry.records import Model
from alservice.registry.store import ModelStore, SnapshotStore
from alservice.science.votes import tally_set
from alservice.subjects.ledger import SqlSubjectLedger
from alservice.subjects.subject import draft_subject
from alservice.votes.store import ClassificationStore
from alservice.zooniverse.records import SubjectDraft


@dataclass
class SteppingClock:
    """A clock that a test sets; each reading is a second later."""

    now: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)
    readings: int = field(default=0)

    def __call__(self) -> datetime:
        """Return the time of this reading."""
        self.readings += 1
        return self.now + timedelta(seconds=self.readings)


class Stores:
    """All stores on one engine, and shortcuts to states that take several writes."""

    def __init__(self, engine: Engine) -> None:
        self.clock = SteppingClock()
        self.campaigns = CampaignStore(engine, self.clock)
        self.catalogues = CatalogueStore(engine, self.clock)
        self.cycles = CycleStore(engine, self.clock)
        self.models = ModelStore(engine, self.clock)
        self.acquisitions = AcquisitionStore(engine, self.clock)
        self.requests = SqlRequestStore(engine, self.clock)
        self.selections = SqlSelectionStore(engine, self.clock)
        self.subjects = SqlSubjectLedger(engine, self.clock)
        self.classifications = ClassificationStore(engine, self.clock)
        self.snapshots = SnapshotStore(engine, self.clock)
        self.events = EventLog(engine)

    def move(self, cycle: Cycle, *states: CycleState) -> Cycle:
        """Walk a cycle through states."""
        for state in states:
            cycle = self.cycles.move(cycle, state, actor="test", detail={})
        return cycle

    def start(self, campaign: CampaignRow, catalogue: Catalogue) -> Cycle:
        """Open the next cycle with the champion of the moment."""
        champion = self.models.champion(campaign.id)
        return self.cycles.start(campaign, catalogue.id, champion.id if champion else None, "test")

    def candidate(self, cycle: Cycle) -> Model:
        """Record a snapshot and a candidate of a cycle."""
        tallies = tally_set({"g0": np.array([1, 2])}, 2)
        snapshot = self.snapshots.save(
            cycle, key="tallies/ab/abc.parquet", tallies=tallies, reducer="counts", n_inconsistent=0
        )
        digest = f"{cycle.number:064x}"
        return self.models.save(cycle, key=f"models/{digest}", digest=digest, snapshot_id=snapshot.id, card={"seed": 7})

    def at_gate(self, campaign: CampaignRow, catalogue: Catalogue) -> Cycle:
        """Bring a new cycle with its candidate to the gate."""
        cycle = self.start(campaign, catalogue)
        before = (CycleState.ACQUIRING, CycleState.PUBLISHING, CycleState.COLLECTING, CycleState.TRAINING)
        cycle = self.move(cycle, *before)
        self.candidate(cycle)
        return self.move(cycle, CycleState.EVALUATING, CycleState.GATED)


def make_galaxy(row: int) -> Galaxy:
    """Return a galaxy whose every field follows from its row."""
    return Galaxy(
        galaxy_id=f"g{row}",
        row=row,
        ra_deg=10.5 + row % 300,
        dec_deg=-0.25,
        image_key=f"images/{row:02d}.jpg",
        unbiased=True,
        evaluation=row % 5 == 0,
    )


def make_drafts(cycle: Cycle, n: int) -> list[SubjectDraft]:
    """Return the drafts of the first galaxies."""
    return [draft_subject("survey", cycle.number, make_galaxy(row)) for row in range(n)]


@pytest.fixture
def stores(engine: Engine) -> Stores:
    """Stores on a database of this test's own."""
    return Stores(engine)


@pytest.fixture
def campaign(stores: Stores) -> CampaignRow:
    """A saved campaign."""
    return stores.campaigns.save(Campaign(name="survey", tree="gz2"))


@pytest.fixture
def catalogue(stores: Stores, campaign: CampaignRow) -> Catalogue:
    """A saved catalogue of ten galaxies."""
    galaxies = [make_galaxy(row) for row in range(10)]
    return stores.catalogues.save(
        campaign.id, source="sky", digest="d" * 64, votes_key=None, galaxies=galaxies, faults=[]
    )


@pytest.fixture
def cycle(stores: Stores, campaign: CampaignRow, catalogue: Catalogue) -> Cycle:
    """An open cycle."""
    return stores.start(campaign, catalogue)
