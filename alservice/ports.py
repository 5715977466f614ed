"""What services need of the world: small protocols, each with its contract.

A port exists where a second implementation does (a local folder and S3, the real Zooniverse and its stand-in's
adapter, a fake for tests). Repeating any write with the same arguments must leave the same state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from alservice.core.batches import Acquired, AcquisitionBatch
from alservice.core.campaign import Campaign
from alservice.core.catalogues import Catalogue, CatalogueFault, Galaxy, Shard
from alservice.core.classifications import Classification, RawClassification, Verdict
from alservice.core.cycles import Cycle, CycleState
from alservice.core.gate import GateDecision
from alservice.core.judging import GalaxyTally
from alservice.core.objects import StoredObject
from alservice.core.posteriors import Posterior
from alservice.core.quarantine import Quarantine, RowFault
from alservice.core.records import CampaignRow, Evaluation, Event, Model, TrainingSnapshot
from alservice.core.states import SubjectState
from alservice.core.subjects import CreatedSubject, RemoteSubject, Subject, SubjectDraft, SubjectStatus
from alservice.core.training_sets import TallySet
from alservice.core.workflows import Workflow
from alservice.shapes import FloatArray, IntArray, UInt8Array

Clock = Callable[[], datetime]
"""Returns now, in UTC."""


class Progress(Protocol):
    """Where long work says how far it is; must be cheap and safe from any thread."""

    def start(self, what: str, total: int | None) -> None:
        """Begin a bar; `total` is None where it is not known."""

    def advance(self, n: int = 1) -> None:
        """Move the bar by `n`."""

    def note(self, text: str) -> None:
        """Show a short live figure, such as a loss."""

    def finish(self) -> None:
        """End the bar."""


class ObjectStore(Protocol):
    """Big immutable bytes, named by their digest.

    Keys are ``{kind}/{first two hex}/{sha256}{suffix}``. A write goes to a temporary name first, so that a published
    key is always complete. Putting the same bytes twice gives the same key and writes once.
    """

    def put(self, data: bytes, *, kind: str, suffix: str) -> StoredObject:
        """Store bytes; raises `StorageFull` or `ObjectStoreUnavailable`."""

    def put_file(self, path: Path, *, kind: str, suffix: str) -> StoredObject:
        """Store a file in flat memory."""

    def get(self, key: str) -> bytes:
        """Return the bytes; raises `NotFound`, or `DigestMismatch` when they are not what the key says."""

    def exists(self, key: str) -> bool:
        """Return whether the key is published."""

    def delete(self, key: str) -> None:
        """Remove the key; absent is fine."""

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield published keys in order."""

    def check(self) -> None:
        """Write, read back and delete a probe; raises what is wrong."""


class ImageCodec(Protocol):
    """Image bytes to arrays, bounded before anything is decoded."""

    def decode(self, data: bytes, *, size_px: int, channels: Literal[1, 3]) -> UInt8Array:
        """Return (C, H, W) uint8; raises `BadImage`."""

    def for_volunteers(self, data: bytes) -> bytes:
        """Return the original bytes if Zooniverse would take and show them; raises `BadImage`."""

    def sniff(self, data: bytes) -> str:
        """Return the MIME type that the first bytes declare; raises `BadImage`."""


class ArrayCodec(Protocol):
    """Arrays to bytes and back; equal arrays give equal bytes."""

    def pack_images(self, galaxy_ids: Sequence[str], images: UInt8Array) -> bytes:
        """Encode (N, C, H, W) uint8 with its ids."""

    def unpack_images(self, data: bytes) -> tuple[tuple[str, ...], UInt8Array]:
        """Decode what `pack_images` wrote."""

    def encode_posterior(self, posterior: Posterior) -> bytes:
        """Encode a posterior shard as Parquet."""

    def decode_posterior(self, data: bytes) -> Posterior:
        """Decode what `encode_posterior` wrote."""

    def encode_counts(self, galaxy_ids: Sequence[str], counts: IntArray, columns: Sequence[str]) -> bytes:
        """Encode votes (N, A) with the names of their answer columns."""

    def decode_counts(self, data: bytes) -> tuple[tuple[str, ...], IntArray | FloatArray, tuple[str, ...]]:
        """Decode what `encode_counts` wrote."""

    def encode_fractions(self, galaxy_ids: Sequence[str], fractions: FloatArray, columns: Sequence[str]) -> bytes:
        """Encode recorded answer probabilities (N, A), NaN where not recorded."""

    def decode_fractions(self, data: bytes) -> tuple[tuple[str, ...], FloatArray, tuple[str, ...]]:
        """Decode what `encode_fractions` wrote."""


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

    def start(self, campaign: CampaignRow, catalogue_id: int, champion_id: int | None, actor: str) -> Cycle:
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

    def decision(self, cycle_id: int) -> GateDecision | None:
        """Return the gate's decision of a cycle."""

    def posterior_shards(self, model_id: int, catalogue_id: int, scope: str) -> Sequence[Shard]:
        """Return finished posterior shards, in order; `scope` is ``catalogue`` or ``evaluation``."""

    def save_posterior_shard(self, model_id: int, catalogue_id: int, scope: str, shard: Shard) -> None:
        """List a posterior shard once it is complete; the same again is fine."""


class AcquisitionStore(Protocol):
    """The batch of each cycle, with scores and inclusion probabilities."""

    def save(self, cycle_id: int, batch: AcquisitionBatch, *, n_votes: int) -> None:
        """Record the batch of a cycle in one transaction; a cycle that has one keeps it."""

    def get(self, cycle_id: int) -> Sequence[Acquired] | None:
        """Return what was drawn, by rank; None before the draw."""


class SubjectLedger(Protocol):
    """Upload intents and what became of them; one row per campaign and galaxy, by constraint."""

    def plan(self, cycle: Cycle, drafts: Sequence[SubjectDraft], *, n_votes: int) -> Sequence[Subject]:
        """Insert intent rows in one transaction; a galaxy that has one keeps it. Return the rows of these drafts."""

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

    def ask(self, subjects: Sequence[Subject], *, cycle_id: int, n_votes: int) -> Sequence[Subject]:
        """Give rows to a cycle of their campaign, and ask for so many votes of each."""

    def watermark(self, campaign_id: int) -> int:
        """Return the highest Zooniverse subject id known to the ledger, 0 when there is none."""

    def galaxies_of(self, campaign_id: int, zooniverse_ids: Sequence[int]) -> Mapping[int, str]:
        """Return Zooniverse id to galaxy id, for those that are ours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportBatch:
    """Some rows of an export file.

    Parameters
    ----------
    rows
        Classifications of the campaign's workflow.
    faults
        Rows that cannot be read.
    foreign
        Rows of other workflows, by workflow id.
    """

    rows: Sequence[RawClassification]
    faults: Sequence[RowFault]
    foreign: Mapping[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Inserted:
    """What became of rows that were inserted; those in neither were known and the same.

    Parameters
    ----------
    new
        Ids of the rows that were not there.
    corrected
        Id to galaxy of the rows that were there and changed.
    """

    new: frozenset[int]
    corrected: Mapping[int, str | None]


class Landing(Protocol):
    """One transaction of ingest: rows, verdicts, tallies and the cursor land together or not at all."""

    def insert(
        self,
        rows: Sequence[Classification],
        *,
        source: str,
        received_at: datetime,
        verdicts: Mapping[int, Verdict],
    ) -> Inserted:
        """Insert distinct rows, with the verdicts that are known, or update what a source may still change.

        Sources agree on one row: the API knows the answers as given, an export knows what the API hides.
        """

    def rows_of(self, galaxy_ids: Sequence[str]) -> Mapping[str, Sequence[Classification]]:
        """Return every row of these galaxies, landed earlier or in this transaction."""

    def tallies_of(self, galaxy_ids: Sequence[str]) -> Mapping[str, GalaxyTally]:
        """Return the tallies of these galaxies, where there are any."""

    def verdicts_of(self, classification_ids: Sequence[int]) -> Mapping[int, Verdict]:
        """Return the verdicts of rows that landed earlier."""

    def save_verdicts(self, verdicts: Mapping[int, Verdict]) -> None:
        """Set verdicts by classification id."""

    def waiting(self, *, after_id: int, limit: int) -> Sequence[Classification]:
        """Return rows that could not be read, or whose subject is ours by now, by id."""

    def save_readings(self, rows: Sequence[Classification]) -> None:
        """Replace galaxy and answers of rows that are there, read anew from what their source gave."""

    def save_tallies(self, tallies: Mapping[str, GalaxyTally]) -> None:
        """Replace the tallies of these galaxies."""

    def quarantine(self, faults: Sequence[RowFault], *, source: str, received_at: datetime) -> None:
        """Record rows of a file that cannot be classifications; the same row again is one fault."""

    def move_cursor(self, source: str, last_id: int) -> None:
        """Move the cursor forward; it never goes back."""


class ClassificationStore(Protocol):
    """Raw classifications, verdicts and tallies."""

    def landing(self, campaign_id: int) -> AbstractContextManager[Landing]:
        """Open one transaction."""

    def cursor(self, campaign_id: int, source: str) -> int:
        """Return the largest classification id read from a source, 0 at first."""

    def tallies(self, campaign_id: int, n_answers: int) -> TallySet:
        """Return the tallies of all galaxies with votes."""

    def counted(self, campaign_id: int, cycle_id: int | None = None) -> int:
        """Return counted classifications, of all cycles or of the subjects of one."""

    def counted_of_galaxies(self, campaign_id: int) -> Mapping[str, int]:
        """Return counted classifications by galaxy id, for galaxies that have any row."""

    def by_verdict(self, campaign_id: int) -> Mapping[str, int]:
        """Return rows per verdict."""

    def galaxies(self, campaign_id: int, *, after: str, limit: int) -> Sequence[str]:
        """Return ids of galaxies that have classifications, in order."""

    def quarantined(self, campaign_id: int, *, limit: int) -> Quarantine:
        """Return what waits in quarantine: counts by reason, and the first rows."""


class WorkflowStore(Protocol):
    """Definitions of a campaign's workflow, one per version; a version never changes."""

    def save(self, campaign_id: int, workflows: Sequence[Workflow], *, source: str) -> int:
        """Store versions; return how many were new. Raises `Conflict` for a known version with other tasks."""

    def list(self, campaign_id: int) -> Sequence[Workflow]:
        """Return all known versions."""


class SnapshotStore(Protocol):
    """Tallies frozen for one cycle, and the metrics computed on them."""

    def save(self, cycle: Cycle, *, key: str, tallies: TallySet) -> TrainingSnapshot:
        """Record a cycle's snapshot; the same cycle again returns the one there is."""

    def of_cycle(self, cycle_id: int) -> TrainingSnapshot | None:
        """Return the snapshot a cycle trained on."""

    def save_evaluation(self, evaluation: Evaluation) -> None:
        """Record the metrics of one model in one cycle; the same again is fine."""

    def evaluations(self, campaign_id: int) -> Sequence[Evaluation]:
        """Return all evaluations by cycle."""


class EventLog(Protocol):
    """The append-only audit."""

    def record(self, event: Event) -> None:
        """Append one event."""

    def list(self, campaign_id: int, *, limit: int = 200) -> Sequence[Event]:
        """Return the newest events, newest first."""


class Zooniverse(Protocol):
    """Zooniverse as the publisher and the ingester need it; every call has a timeout.

    Errors: `ZooniverseUnavailable` when nothing changed and a retry may help, `OutcomeUnknown` when a create may or
    may not have happened, `ZooniverseRefused` when a person must act, `AllowanceExhausted` when no upload is left.
    An empty answer where content is due is a refusal, never success.
    """

    def check(self) -> str:
        """Log in and return the login name; raises what is wrong."""

    def workflow(self) -> Workflow:
        """Return the campaign's workflow as it is now."""

    def define_workflow(self, tasks: Mapping[str, Any], first_task: str) -> Workflow:
        """Give an empty workflow its tasks; raises `ZooniverseRefused` when it has others already."""

    def ensure_subject_set(self, name: str) -> int:
        """Return the id of the named set, created and linked to the workflow if need be."""

    def find_subject_set(self, name: str) -> int:
        """Return the id of the named set as it is; raises `NotFound`."""

    def create_subject(self, draft: SubjectDraft, media_type: str) -> CreatedSubject:
        """Create one subject, sent exactly once."""

    def upload_image(self, upload_url: str, data: bytes, media_type: str) -> None:
        """PUT the image; repeating it is harmless."""

    def image_url(self, zooniverse_id: int) -> str:
        """Return the public address of a subject's image."""

    def fetch_image(self, url: str) -> bytes | None:
        """Return the stored image, None when there is none."""

    def subjects_above(self, zooniverse_id: int) -> Iterator[RemoteSubject]:
        """Yield the project's subjects with a higher id, linked or not, from the last page back."""

    def delete_subject(self, zooniverse_id: int) -> None:
        """Remove a surplus subject; absent is fine."""

    def link(self, set_id: int, zooniverse_ids: Sequence[int]) -> None:
        """Link subjects to a set; idempotent, all or nothing; one caller per set at a time."""

    def unlink(self, set_id: int, zooniverse_ids: Sequence[int]) -> None:
        """Take subjects out of a set, their votes stay; absent ones are fine; one caller per set at a time."""

    def linked(self, set_id: int) -> frozenset[int]:
        """Return the ids linked to a set."""

    def survey_ids(self, set_id: int, field: str) -> Iterator[tuple[int, str]]:
        """Yield Zooniverse id and survey id of a set's subjects that have one in a metadata field."""

    def retire(self, zooniverse_ids: Sequence[int], reason: str) -> None:
        """Ask the workflow to show subjects to nobody else; done later, and repeating it changes nothing."""

    def unretire(self, zooniverse_ids: Sequence[int]) -> None:
        """Ask the workflow to show retired subjects again; done later, and repeating it changes nothing."""

    def statuses(self, zooniverse_ids: Sequence[int]) -> Mapping[int, SubjectStatus]:
        """Return what the workflow's counters say by Zooniverse id; a subject it has no row of yet is left out."""

    def classifications(self, last_id: int) -> Iterator[Sequence[RawClassification]]:
        """Yield pages of the project's classifications with higher ids, ascending."""
