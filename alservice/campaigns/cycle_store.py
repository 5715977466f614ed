"""Small mutable state: campaigns, catalogues, cycles, models, batches, the upload ledger, snapshots, events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from alservice.acquisition.batch_records import Acquired, AcquisitionBatch
from alservice.campaigns.campaign import Campaign
from alservice.campaigns.cycle import Cycle, CycleKind, CycleState
from alservice.campaigns.records import (
    CampaignRow,
    CycleStatistics,
    Evaluation,
    Event,
    Model,
    Promotion,
    PromotionKind,
    TrainingSnapshot,
)
from alservice.catalogue.galaxies import Catalogue, CatalogueFault, Galaxy, Shard
from alservice.learning.gate import GateDecision
from alservice.science.training_sets import TallySet
from alservice.states import SubjectState
from alservice.subjects.subject import Subject, SubjectDraft, VotesAsked


class CampaignStore(Protocol):
    """Campaigns and their versions."""

    def save(self, campaign: Campaign) -> CampaignRow:
        """Create the campaign, or add a version when its decisions changed; unchanged adds none."""

    def get(self, name: str) -> CampaignRow:
        """Return the newest version; raises `NotFound`."""

    def get_version(self, campaign_id: int, version: int) -> Campaign:
        """Return the decisions a cycle was started under."""

    def list(self) -> Sequence[CampaignRow]:
        """Return all campaigns by name."""


class CatalogueStore(Protocol):
    """Catalogues, their galaxies, and the packed shards of their images."""

    def save(
        self,
        campaign_id: int,
        *,
        source: str,
        digest: str,
        votes_key: str | None,
        galaxies: Sequence[Galaxy],
        faults: Sequence[CatalogueFault],
    ) -> Catalogue:
        """Store a catalogue in one transaction; the same digest again returns the one there is."""

    def n_members(self, catalogue_id: int) -> int:
        """Return how many of a catalogue's galaxies are in the evaluation stream."""

    def newest(self, campaign_id: int) -> Catalogue | None:
        """Return the newest catalogue of a campaign."""

    def get(self, catalogue_id: int) -> Catalogue:
        """Return one; raises `NotFound`."""

    def galaxies(self, catalogue_id: int, *, first_row: int = 0, limit: int | None = None) -> Sequence[Galaxy]:
        """Return galaxies in catalogue order, from a row on."""

    def by_id(self, catalogue_id: int, galaxy_ids: Sequence[str]) -> Sequence[Galaxy]:
        """Return named galaxies in catalogue order; raises `NotFound` naming the first that is absent."""

    def faults(self, catalogue_id: int) -> Sequence[CatalogueFault]:
        """Return the rows that could not become galaxies."""

    def image_shards(self, catalogue_id: int, pack: str) -> Sequence[Shard]:
        """Return the finished image shards of one packing, in order."""

    def save_image_shard(self, catalogue_id: int, pack: str, shard: Shard) -> None:
        """List a shard once it is complete; the same again is fine."""


class CycleStore(Protocol):
    """Cycles and their history; every transition is guarded by the table and leaves an event."""

    def start(
        self,
        campaign: CampaignRow,
        catalogue_id: int,
        champion_id: int | None,
        actor: str,
        *,
        kind: CycleKind = CycleKind.FULL,
    ) -> Cycle:
        """Open the next cycle; raises `Conflict` while one is open."""

    def get(self, cycle_id: int) -> Cycle:
        """Return one; raises `NotFound`."""

    def open(self, campaign_id: int) -> Cycle | None:
        """Return the open cycle, if there is one."""

    def list(self, campaign_id: int) -> Sequence[Cycle]:
        """Return all cycles of a campaign by number."""

    def move(self, cycle: Cycle, to: CycleState, *, actor: str, detail: Mapping[str, Any], **changes: object) -> Cycle:
        """Change state and named columns in one transaction; raises `IllegalTransition` or `Conflict` on a race."""


class ModelStore(Protocol):
    """The registry: at most one champion per campaign, by constraint."""

    def save(self, cycle: Cycle, *, key: str, digest: str, snapshot_id: int, card: Mapping[str, Any]) -> Model:
        """Record a cycle's candidate; the same cycle again returns the one there is."""

    def get(self, model_id: int) -> Model:
        """Return one; raises `NotFound`."""

    def champion(self, campaign_id: int) -> Model | None:
        """Return the live model, if any."""

    def list(self, campaign_id: int) -> Sequence[Model]:
        """Return all models of a campaign, oldest first."""

    def settle(self, cycle: Cycle, decision: GateDecision, *, actor: str) -> Cycle:
        """Record the gate's decision, promote or not, move the cycle and write the events, in one transaction."""

    def keep(self, cycle: Cycle, *, actor: str, reason: str) -> Cycle:
        """Reject the candidate of a held cycle that nobody decided on, and keep the champion, in one transaction."""

    def promote(
        self, model: Model, *, over: int | None, actor: str, reason: str, kind: PromotionKind = "person"
    ) -> Model:
        """Make a model the champion by a person's word, over the one the caller saw live; raises `Conflict`."""

    def promotions(self, campaign_id: int) -> Sequence[Promotion]:
        """Return every change of the live model, oldest first."""

    def decision(self, cycle_id: int) -> GateDecision | None:
        """Return the gate's decision of a cycle."""

    def posterior_shards(self, model_id: int, catalogue_id: int, scope: str) -> Sequence[Shard]:
        """Return finished posterior shards, in order; `scope` is ``catalogue`` or ``evaluation``."""

    def save_posterior_shard(self, model_id: int, catalogue_id: int, scope: str, shard: Shard) -> None:
        """List a posterior shard once it is complete; the same again is fine."""


class AcquisitionStore(Protocol):
    """The batch of each cycle, with scores and inclusion probabilities."""

    def save(self, cycle_id: int, batch: AcquisitionBatch, *, n_votes: VotesAsked) -> None:
        """Record the batch of a cycle in one transaction; a cycle that has one keeps it."""

    def get(self, cycle_id: int) -> Sequence[Acquired] | None:
        """Return what was drawn, by rank; None before the draw."""

    def votes(self, cycle_id: int) -> Mapping[str, int]:
        """Return the votes asked of each drawn galaxy."""


class SubjectLedger(Protocol):
    """Upload intents and what became of them; one row per campaign and galaxy, by constraint."""

    def intend(self, cycle: Cycle, drafts: Sequence[SubjectDraft], *, n_votes: VotesAsked) -> None:
        """Insert intent rows in one transaction; a galaxy that has one keeps it."""

    def plan(self, cycle: Cycle, drafts: Sequence[SubjectDraft], *, n_votes: VotesAsked) -> Sequence[Subject]:
        """Insert intent rows as `intend` does, and return the rows of these drafts by galaxy id."""

    def of_cycle(self, cycle_id: int, states: Sequence[SubjectState] = ()) -> Sequence[Subject]:
        """Return a cycle's rows by galaxy id, all states when none is named."""

    def of_campaign(self, campaign_id: int) -> Iterator[Subject]:
        """Yield every row of a campaign by galaxy id, streamed."""

    def mark(
        self,
        subjects: Sequence[Subject],
        to: SubjectState,
        *,
        zooniverse_ids: Mapping[int, int] | None = None,
        error: str | None = None,
    ) -> Sequence[Subject]:
        """Move rows in one transaction; `zooniverse_ids` maps ledger id to Zooniverse id.

        Entering ``creating`` adds an attempt. Raises `IllegalTransition`; a row already there is left as it is.
        """

    def ask(self, subjects: Sequence[Subject], *, cycle_id: int, n_votes: VotesAsked) -> Sequence[Subject]:
        """Give rows to a cycle of their campaign, and ask for so many votes of each."""

    def creates(self, campaign_id: int) -> int:
        """Return how many creates a campaign has sent, those of deleted subjects included."""

    def watermark(self, campaign_id: int) -> int:
        """Return the highest Zooniverse subject id known to the ledger, 0 when there is none."""

    def galaxies_of(self, campaign_id: int, zooniverse_ids: Sequence[int]) -> Mapping[int, str]:
        """Return Zooniverse id to galaxy id, for those that are ours."""


class SnapshotStore(Protocol):
    """Tallies frozen for one cycle, and the metrics computed on them."""

    def save(self, cycle: Cycle, *, key: str, tallies: TallySet, reducer: str, n_inconsistent: int) -> TrainingSnapshot:
        """Record a cycle's snapshot; the same cycle again returns the one there is."""

    def of_cycle(self, cycle_id: int) -> TrainingSnapshot | None:
        """Return the snapshot a cycle trained on."""

    def save_evaluation(self, evaluation: Evaluation) -> None:
        """Record the metrics of one model in one cycle; the same again is fine."""

    def evaluations(self, campaign_id: int) -> Sequence[Evaluation]:
        """Return all evaluations by cycle."""

    def save_statistics(self, statistics: CycleStatistics, events: Sequence[Event]) -> None:
        """Record what was measured of a cycle, with the events it causes; one that has it keeps it and its events."""

    def statistics(self, campaign_id: int) -> Sequence[CycleStatistics]:
        """Return what was measured of a campaign's cycles, by cycle and kind."""


class EventLog(Protocol):
    """The append-only audit."""

    def record(self, event: Event) -> None:
        """Append one event."""

    def list(self, campaign_id: int, *, limit: int = 200) -> Sequence[Event]:
        """Return the newest events, newest first."""
