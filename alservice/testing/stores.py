"""Stores in memory that keep the rules of those in SQL: the same tests pass on both."""

from __future__ import annotations

import io
import threading
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np

from alservice.acquisition.batch import Acquired, AcquisitionBatch
from alservice.acquisition.requests import (
    WITHDRAWN,
    Request,
    Sent,
    Wanted,
    Why,
    sent_event,
    share_budget,
    withdrawn_event,
)
from alservice.campaigns.campaign import Campaign
from alservice.campaigns.cycle import Cycle
from alservice.campaigns.store import CampaignRow, Event
from alservice.catalogue.galaxies import Catalogue, CatalogueFault, Galaxy, Roll, Shard
from alservice.errors import Conflict, NotFound
from alservice.explore.selections import (
    Selection,
    check_room,
    check_same,
    deleted_event,
    saved_event,
    unknown,
)
from alservice.ids import StoredObject, digest_of_key
from alservice.registry.records import Model
from alservice.science.tree import load_tree
from alservice.science.votes import TallySet, tally_set
from alservice.shapes import IntArray
from alservice.states import SUBJECTS, AskingState, SubjectState
from alservice.storage import ObjectGroup
from alservice.storage.objects import SingleObjects, check_store, checked, describe
from alservice.subjects.stops import FusedModel, Stop
from alservice.subjects.subject import Subject, VotesAsked, votes_of
from alservice.zooniverse.records import SubjectDraft

_WITH_ID = frozenset({SubjectState.CREATED, SubjectState.VERIFIED, SubjectState.LIVE, SubjectState.RETIRED})


@dataclass
class MemoryCampaigns:
    """Campaigns by name; saving other decisions makes a new version."""

    rows: dict[str, CampaignRow] = field(default_factory=dict)

    def save(self, campaign: Campaign) -> CampaignRow:
        """Keep a campaign; the same decisions again keep their version."""
        before = self.rows.get(campaign.name)
        if before is None:
            row = CampaignRow(id=len(self.rows) + 1, version=1, settings=campaign)
        elif before.settings == campaign:
            return before
        else:
            row = CampaignRow(id=before.id, version=before.version + 1, settings=campaign)
        self.rows[campaign.name] = row
        return row

    def get(self, name: str) -> CampaignRow:
        """Return the newest version; raises `NotFound`."""
        if name not in self.rows:
            raise NotFound(f"there is no campaign {name!r}", campaign=name)
        return self.rows[name]


@dataclass
class MemoryCatalogues:
    """Catalogues with their galaxies: immutable once saved."""

    rows: dict[int, tuple[Catalogue, tuple[Galaxy, ...], tuple[CatalogueFault, ...]]] = field(default_factory=dict)

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
        """Keep a catalogue; the same digest again returns the one there is."""
        for known, _, _ in self.rows.values():
            if (known.campaign_id, known.digest) == (campaign_id, digest):
                return known
        catalogue = Catalogue(
            id=len(self.rows) + 1,
            campaign_id=campaign_id,
            source=source,
            digest=digest,
            n_galaxies=len(galaxies),
            n_failed=len(faults),
            votes_key=votes_key,
        )
        in_order = sorted(galaxies, key=lambda galaxy: galaxy.row)
        self.rows[catalogue.id] = catalogue, tuple(in_order), tuple(sorted(faults, key=lambda fault: fault.row))
        return catalogue

    def newest(self, campaign_id: int) -> Catalogue | None:
        """Return the newest catalogue of a campaign."""
        own = [catalogue for catalogue, _, _ in self.rows.values() if catalogue.campaign_id == campaign_id]
        return own[-1] if own else None

    def get(self, catalogue_id: int) -> Catalogue:
        """Return one; raises `NotFound`."""
        if catalogue_id not in self.rows:
            raise NotFound(f"there is no catalogue {catalogue_id}", catalogue=catalogue_id)
        return self.rows[catalogue_id][0]

    def galaxies(self, catalogue_id: int, *, first_row: int = 0, limit: int | None = None) -> Sequence[Galaxy]:
        """Return galaxies in catalogue order, from a row on; none of a catalogue that is not there."""
        _, galaxies, _ = self.rows.get(catalogue_id, (None, (), ()))
        return [galaxy for galaxy in galaxies if galaxy.row >= first_row][:limit]

    def roll(self, catalogue_id: int, *, first_row: int, limit: int) -> Roll:
        """Return some galaxies in catalogue order by id."""
        some = self.galaxies(catalogue_id, first_row=first_row, limit=limit)
        return Roll(
            galaxy_ids=[galaxy.galaxy_id for galaxy in some],
            unbiased=np.array([galaxy.unbiased for galaxy in some], dtype=bool),
            members=np.array([galaxy.evaluation for galaxy in some], dtype=bool),
        )

    def by_id(self, catalogue_id: int, galaxy_ids: Sequence[str]) -> Sequence[Galaxy]:
        """Return named galaxies in catalogue order; raises `NotFound` naming the first that is absent."""
        found = {galaxy.galaxy_id: galaxy for galaxy in self.galaxies(catalogue_id)}
        absent = next((galaxy_id for galaxy_id in galaxy_ids if galaxy_id not in found), None)
        if absent is not None:
            raise NotFound(f"catalogue {catalogue_id} has no galaxy {absent!r}", catalogue=catalogue_id, galaxy=absent)
        wanted = frozenset(galaxy_ids)
        return [galaxy for galaxy_id, galaxy in found.items() if galaxy_id in wanted]

    def present(self, catalogue_id: int, galaxy_ids: Sequence[str]) -> Sequence[Galaxy]:
        """Return those of some galaxies that are in a catalogue, in order of their ids."""
        wanted = frozenset(galaxy_ids)
        found = [galaxy for galaxy in self.galaxies(catalogue_id) if galaxy.galaxy_id in wanted]
        return sorted(found, key=lambda galaxy: galaxy.galaxy_id)

    def faults(self, catalogue_id: int) -> Sequence[CatalogueFault]:
        """Return the rows that could not become galaxies."""
        return list(self.rows[catalogue_id][2]) if catalogue_id in self.rows else []


@dataclass
class MemoryPosteriors:
    """Models by id, and their posterior shards by model, catalogue and scope."""

    shards: dict[tuple[int, int, str], dict[int, Shard]] = field(default_factory=dict)
    models: dict[int, Model] = field(default_factory=dict)

    def get(self, model_id: int) -> Model:
        """Return one; raises `NotFound`."""
        if model_id not in self.models:
            raise NotFound(f"there is no model {model_id}", model=model_id)
        return self.models[model_id]

    def posterior_shards(self, model_id: int, catalogue_id: int, scope: str) -> Sequence[Shard]:
        """Return finished posterior shards, in order."""
        own = self.shards.get((model_id, catalogue_id, scope), {})
        return [own[index] for index in sorted(own)]

    def save_posterior_shard(self, model_id: int, catalogue_id: int, scope: str, shard: Shard) -> None:
        """List a posterior shard once it is complete; one that is listed stays as it is."""
        self.shards.setdefault((model_id, catalogue_id, scope), {}).setdefault(shard.index, shard)


@dataclass
class MemoryRequests:
    """Galaxies that people ask for, and the lines of the audit about them."""

    rows: dict[int, Request] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    now: datetime = datetime(2026, 1, 1, 12, tzinfo=UTC)

    def send(self, campaign_id: int, wanted: Sequence[Wanted], why: Why, *, budget: int, refused: Counter[str]) -> Sent:
        """Take as many as the budget has votes for, first ones first, with an event."""
        taken, sent = share_budget(wanted, self.waiting(campaign_id), budget=budget, refused=refused)
        for each in taken:
            row = Request(
                id=len(self.rows) + 1,
                campaign_id=campaign_id,
                galaxy_id=each.galaxy_id,
                votes=each.votes,
                cost=each.cost,
                selection=why.selection,
                reason=why.reason,
                actor=why.actor,
                created_at=self.now,
            )
            self.rows[row.id] = row
        self.events.append(sent_event(campaign_id, sent, why, self.now))
        return sent

    def waiting(self, campaign_id: int) -> Sequence[Request]:
        """Return what no cycle has settled yet, first come first."""
        return [row for row in self.rows.values() if row.campaign_id == campaign_id and row.outcome is None]

    def of_galaxy(self, campaign_id: int, galaxy_id: str) -> Sequence[Request]:
        """Return all requests of one galaxy, oldest first."""
        own = (row for row in self.rows.values() if row.campaign_id == campaign_id)
        return [row for row in own if row.galaxy_id == galaxy_id]

    def of_cycle(self, cycle_id: int) -> Sequence[Request]:
        """Return what a cycle settled, first come first."""
        return [row for row in self.rows.values() if row.cycle_id == cycle_id]

    def withdraw(self, campaign_id: int, selection: str, *, reason: str, actor: str) -> int:
        """Take back what waits of a selection, with an event; return how many."""
        own = [row for row in self.waiting(campaign_id) if row.selection == selection]
        self.rows |= {row.id: replace(row, outcome=WITHDRAWN) for row in own}
        if own:
            told = withdrawn_event(campaign_id, selection, len(own), reason=reason, actor=actor, at=self.now)
            self.events.append(told)
        return len(own)

    def settle(self, cycle_id: int, outcomes: Mapping[int, str]) -> None:
        """Say what a cycle made of requests that wait, by their ids."""
        waits = {i: outcome for i, outcome in outcomes.items() if self.rows[i].outcome is None}
        self.rows |= {i: replace(self.rows[i], cycle_id=cycle_id, outcome=outcome) for i, outcome in waits.items()}


@dataclass
class MemoryBatches:
    """Batches of cycles: written once, together with what became of requests."""

    rows: dict[int, tuple[AcquisitionBatch, Mapping[str, int]]] = field(default_factory=dict)
    requests: MemoryRequests = field(default_factory=MemoryRequests)

    def save(
        self, cycle_id: int, batch: AcquisitionBatch, *, n_votes: VotesAsked, settled: Mapping[int, str] | None = None
    ) -> None:
        """Keep the batch of a cycle; a cycle that has one keeps it."""
        votes = {galaxy.galaxy_id: votes_of(n_votes, galaxy.galaxy_id) for galaxy in batch.galaxies}
        if any(n < 1 for n in votes.values()):
            raise Conflict("ck_acquired_n_votes: a drawn galaxy must be asked for one vote at least")
        if cycle_id not in self.rows:
            self.rows[cycle_id] = batch, votes
            self.requests.settle(cycle_id, settled or {})

    def get(self, cycle_id: int) -> Sequence[Acquired] | None:
        """Return what was drawn, in the order of the batch; None before the draw."""
        return list(self.rows[cycle_id][0].galaxies) if cycle_id in self.rows else None

    def votes(self, cycle_id: int) -> Mapping[str, int]:
        """Return the votes asked of each drawn galaxy."""
        return self.rows[cycle_id][1] if cycle_id in self.rows else {}


@dataclass
class MemorySelections:
    """Galaxies under names, and the lines of the audit about them."""

    rows: dict[tuple[int, str], tuple[Selection, tuple[str, ...]]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    now: datetime = datetime(2026, 1, 1, 12, tzinfo=UTC)

    def save(
        self, campaign_id: int, name: str, galaxy_ids: Sequence[str], *, source: Mapping[str, Any], actor: str
    ) -> Selection:
        """Keep galaxies under a name, with an event; the same ones again change nothing."""
        if (campaign_id, name) in self.rows:
            before, kept = self.rows[campaign_id, name]
            check_same(name, kept, galaxy_ids)
            return before
        check_room(len(self.list(campaign_id)))
        saved = Selection(
            id=max((selection.id for selection, _ in self.rows.values()), default=0) + 1,
            campaign_id=campaign_id,
            name=name,
            n=len(galaxy_ids),
            source=dict(source),
            actor=actor,
            created_at=self.now,
        )
        self.rows[campaign_id, name] = saved, tuple(galaxy_ids)
        self.events.append(saved_event(saved))
        return saved

    def list(self, campaign_id: int) -> Sequence[Selection]:
        """Return a campaign's selections, newest first."""
        own = [selection for selection, _ in self.rows.values() if selection.campaign_id == campaign_id]
        return sorted(own, key=lambda selection: -selection.id)

    def get(self, campaign_id: int, name: str) -> tuple[Selection, Sequence[str]]:
        """Return one with its galaxies in order; raises `NotFound`."""
        if (campaign_id, name) not in self.rows:
            raise unknown(name)
        selection, galaxy_ids = self.rows[campaign_id, name]
        return selection, list(galaxy_ids)

    def delete(self, campaign_id: int, name: str, *, actor: str) -> None:
        """Forget one, with an event; raises `NotFound`."""
        selection, _ = self.get(campaign_id, name)
        del self.rows[campaign_id, name]
        self.events.append(deleted_event(selection, actor=actor, at=self.now))


@dataclass
class MemoryTallies:
    """Votes per galaxy as a test sets them, one classification for every vote on the first question."""

    counts: dict[str, IntArray] = field(default_factory=dict)

    def tallies(self, campaign_id: int, n_answers: int) -> TallySet:
        """Return the tallies of all galaxies with votes."""
        del campaign_id  # one campaign's are kept
        return tally_set(self.counts, n_answers)

    def tallies_of(self, campaign_id: int, galaxy_ids: Sequence[str], n_answers: int) -> TallySet:
        """Return the tallies of those of some galaxies that have votes."""
        tallies, wanted = self.tallies(campaign_id, n_answers), frozenset(galaxy_ids)
        return tallies.only([galaxy_id in wanted for galaxy_id in tallies.galaxy_ids])

    def counted(self, campaign_id: int, cycle_id: int | None = None) -> int:
        """Return counted classifications of all cycles; of one they are not kept apart."""
        del cycle_id
        return sum(self.counted_of_galaxies(campaign_id).values())

    def counted_of_galaxies(self, campaign_id: int) -> Mapping[str, int]:
        """Return counted classifications by galaxy id."""
        del campaign_id
        first = load_tree("gz2").slices[0]
        return {galaxy_id: int(counts[first].sum()) for galaxy_id, counts in self.counts.items()}


class MemoryStops:
    """Decisions about subjects that may stop early, with their events in order.

    Parameters
    ----------
    ledger
        Says which cycle asks about a subject now.
    """

    def __init__(self, ledger: MemoryLedger) -> None:
        self.rows: dict[int, Stop] = {}
        self.models: dict[int, FusedModel] = {}
        self.events: list[Event] = []
        self._ledger = ledger

    def stopped(self, campaign_id: int) -> Mapping[str, Stop]:
        """Return the galaxies about which asking has stopped, of those that are in front of volunteers or were."""
        shown = (SubjectState.LIVE, SubjectState.RETIRED)
        return {
            galaxy_id: stop
            for galaxy_id, stop in self._current(campaign_id).items()
            if stop.state is AskingState.STOPPED and self._ledger.rows[stop.subject_id].state in shown
        }

    def of_galaxies(self, campaign_id: int, galaxy_ids: Collection[str]) -> Mapping[str, Stop]:
        """Return what was last decided in the cycle that asks now, by galaxy id."""
        wanted = frozenset(galaxy_ids)
        return {galaxy_id: stop for galaxy_id, stop in self._current(campaign_id).items() if galaxy_id in wanted}

    def of_cycle(self, cycle_id: int) -> Sequence[Stop]:
        """Return the decisions of a cycle, by galaxy id."""
        own = [stop for stop in self.rows.values() if stop.cycle_id == cycle_id]
        return sorted(own, key=lambda stop: stop.galaxy_id)

    def save(self, stops: Sequence[Stop], events: Sequence[Event]) -> None:
        """Replace decisions, and tell of them."""
        self.rows |= {stop.subject_id: stop for stop in stops}
        self.events += events

    def fused(self, cycle_id: int) -> FusedModel | None:
        """Return the model that a cycle's votes are fused with, None before the first decision."""
        return self.models.get(cycle_id)

    def save_fused(self, fused: FusedModel, event: Event) -> None:
        """Keep the model of a cycle with its event, in place of another one."""
        self.models[fused.cycle_id] = fused
        self.events.append(event)

    def _current(self, campaign_id: int) -> Mapping[str, Stop]:
        rows = {row.id: row for row in self._ledger.of_campaign(campaign_id)}
        own = [stop for i, stop in self.rows.items() if i in rows and rows[i].cycle_id == stop.cycle_id]
        return {stop.galaxy_id: stop for stop in own}


@dataclass
class MemoryDailyVotes:
    """Counted classifications per day (UTC), as a test sets them."""

    per_day: dict[date, int] = field(default_factory=dict)

    def counted_per_day(self, campaign_id: int, *, since: datetime, until: datetime) -> Mapping[date, int]:
        """Return counted classifications by day, from a moment up to another."""
        del campaign_id  # one campaign's are kept
        return {day: n for day, n in self.per_day.items() if since.date() <= day < until.date()}


@dataclass
class MemoryObjects:
    """An `ObjectStore` in a dictionary."""

    content: dict[str, bytes] = field(default_factory=dict)

    def put(self, data: bytes, *, kind: str, suffix: str) -> StoredObject:
        """Store bytes."""
        stored = describe(io.BytesIO(data), kind=kind, suffix=suffix)
        self.content.setdefault(stored.key, data)
        return stored

    def put_file(self, path: Path, *, kind: str, suffix: str) -> StoredObject:
        """Store a file."""
        return self.put(path.read_bytes(), kind=kind, suffix=suffix)

    def group(self) -> AbstractContextManager[ObjectGroup]:
        """Open a group, of which every object is there at once."""
        return nullcontext(SingleObjects(self))

    def get(self, key: str) -> bytes:
        """Return the bytes; raises `NotFound`, or `DigestMismatch` when they are not what the key says."""
        if not self.exists(key):
            raise NotFound(f"there is no object {key}", key=key)
        return checked(key, self.content[key])

    def exists(self, key: str) -> bool:
        """Return whether the key is published."""
        digest_of_key(key)  # refuses what is no key, as every object store does
        return key in self.content

    def delete(self, key: str) -> None:
        """Remove the key; absent is fine."""
        digest_of_key(key)
        self.content.pop(key, None)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield published keys in order."""
        yield from sorted(key for key in self.content if key.startswith(prefix))

    def check(self) -> None:
        """Write, read back and delete a probe."""
        check_store(self)


class MemoryLedger:
    """A `SubjectLedger` in memory; every call is one transaction, whatever the thread."""

    def __init__(self) -> None:
        self.rows: dict[int, Subject] = {}
        self._lock = threading.RLock()

    def intend(self, cycle: Cycle, drafts: Sequence[SubjectDraft], *, n_votes: VotesAsked) -> None:
        """Insert intent rows; a galaxy that has one keeps it."""
        with self._lock:
            known = {(row.campaign_id, row.galaxy_id) for row in self.rows.values()}
            new = [draft for draft in drafts if (cycle.campaign_id, draft.galaxy_id) not in known]
            first = len(self.rows) + 1
            rows = [_planned(first + n, cycle, draft, n_votes) for n, draft in enumerate(new)]
            self.rows |= {row.id: row for row in rows}

    def plan(self, cycle: Cycle, drafts: Sequence[SubjectDraft], *, n_votes: VotesAsked) -> Sequence[Subject]:
        """Insert intent rows, and return the drafts' rows by galaxy id."""
        self.intend(cycle, drafts, n_votes=n_votes)
        names = {draft.galaxy_id for draft in drafts}
        return [row for row in self.of_campaign(cycle.campaign_id) if row.galaxy_id in names]

    def of_cycle(self, cycle_id: int, states: Sequence[SubjectState] = ()) -> Sequence[Subject]:
        """Return a cycle's rows by galaxy id."""
        rows = [row for row in self.rows.values() if row.cycle_id == cycle_id and (not states or row.state in states)]
        return sorted(rows, key=lambda row: row.galaxy_id)

    def of_campaign(self, campaign_id: int) -> Iterator[Subject]:
        """Yield a campaign's rows by galaxy id."""
        rows = [row for row in self.rows.values() if row.campaign_id == campaign_id]
        yield from sorted(rows, key=lambda row: row.galaxy_id)

    def of_galaxies(self, campaign_id: int, galaxy_ids: Sequence[str]) -> Sequence[Subject]:
        """Return the rows of named galaxies by galaxy id, of those that have one."""
        return [row for row in self.of_campaign(campaign_id) if row.galaxy_id in {*galaxy_ids}]

    def of_galaxy(self, campaign_id: int, galaxy_id: str) -> Subject | None:
        """Return the row of a galaxy, if it has one."""
        return next((row for row in self.of_campaign(campaign_id) if row.galaxy_id == galaxy_id), None)

    def mark(
        self,
        subjects: Sequence[Subject],
        to: SubjectState,
        *,
        zooniverse_ids: Mapping[int, int] | None = None,
        error: str | None = None,
    ) -> Sequence[Subject]:
        """Move rows, all or none; a row already there is left as it is."""
        with self._lock:
            given = zooniverse_ids or {}
            after = {subject.id: _moved(self.rows[subject.id], to, given, error) for subject in subjects}
            taken = [(r.campaign_id, r.zooniverse_id) for r in (self.rows | after).values() if r.zooniverse_id]
            if len(set(taken)) != len(taken):
                raise Conflict("uq_subjects_campaign_id_zooniverse_id: a Zooniverse id is another galaxy's")
            self.rows |= after
            return [after[subject.id] for subject in subjects]

    def ask(self, subjects: Sequence[Subject], *, cycle_id: int, n_votes: VotesAsked) -> Sequence[Subject]:
        """Give rows to a cycle, and ask for votes."""
        with self._lock:
            asked = [
                replace(self.rows[s.id], cycle_id=cycle_id, n_votes=votes_of(n_votes, s.galaxy_id)) for s in subjects
            ]
            self.rows |= {row.id: row for row in asked}
            return asked

    def creates(self, campaign_id: int) -> int:
        """Return how many creates a campaign has sent."""
        return sum(row.attempts for row in self.of_campaign(campaign_id))

    def watermark(self, campaign_id: int) -> int:
        """Return the highest Zooniverse id of a campaign, 0 when there is none."""
        return max((row.zooniverse_id or 0 for row in self.of_campaign(campaign_id)), default=0)

    def galaxies_of(self, campaign_id: int, zooniverse_ids: Sequence[int]) -> Mapping[int, str]:
        """Return Zooniverse id to galaxy id, for those that are ours."""
        rows = (row for row in self.of_campaign(campaign_id) if row.zooniverse_id in zooniverse_ids)
        return {row.zooniverse_id: row.galaxy_id for row in rows if row.zooniverse_id is not None}


def _planned(row_id: int, cycle: Cycle, draft: SubjectDraft, n_votes: VotesAsked) -> Subject:
    return Subject(
        id=row_id,
        campaign_id=cycle.campaign_id,
        cycle_id=cycle.id,
        galaxy_id=draft.galaxy_id,
        key=draft.key,
        image_key=draft.image_key,
        state=SubjectState.PLANNED,
        zooniverse_id=None,
        n_votes=votes_of(n_votes, draft.galaxy_id),
        attempts=0,
        error=None,
    )


def _moved(row: Subject, to: SubjectState, given: Mapping[int, int], error: str | None) -> Subject:
    zooniverse_id = given.get(row.id, row.zooniverse_id)
    if row.state is to:
        if zooniverse_id != row.zooniverse_id:
            raise Conflict(f"{row.galaxy_id} is {to} as subject {row.zooniverse_id}, not {zooniverse_id}")
        return row
    SUBJECTS.check(row.state, to, what=row.galaxy_id)
    if zooniverse_id is None and to in _WITH_ID:
        raise Conflict(f"ck_subjects_zooniverse_id: {row.galaxy_id} cannot be {to} without a Zooniverse id")
    attempts = row.attempts + (to is SubjectState.CREATING)
    return replace(row, state=to, zooniverse_id=zooniverse_id, attempts=attempts, error=error)
