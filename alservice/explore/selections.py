"""From find to campaign: galaxies kept under a name, and asked for in the next cycle within the operator's budget."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from alservice.acquisition.batch import MEMBER
from alservice.acquisition.requests import ABSENT, Request, RequestStore, Sent, Wanted, Why
from alservice.acquisition.service import exclusion_reason
from alservice.campaigns.campaign import MAX_VOTES, Campaign
from alservice.campaigns.store import CampaignRow, Event
from alservice.catalogue.galaxies import Catalogue, Galaxy
from alservice.errors import BadInput, Conflict, NoIndex, NotFound
from alservice.explore.choice import Choice
from alservice.ids import check_galaxy_id
from alservice.subjects.retire import SHOWN
from alservice.subjects.stops import StoppedSubjects
from alservice.subjects.subject import Subject, SubjectLedger
from alservice.texts import check_reason

if TYPE_CHECKING:
    from alservice.explore.service import DownloadFormat, ExploreService, Item, Opened

MAX_SELECTED: Final = 100_000
"""Galaxies of one selection."""

MAX_SELECTIONS: Final = 1_000
"""Selections that a campaign keeps."""

NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,79}$"
"""What a selection may be called: it stands in addresses and names of files."""

HAS_VOTES: Final = "asked as many votes already"
NOT_OURS: Final = "known to volunteers, and its votes are not ours to ask"

ASK_VOTES_FIRST: Final = "votes per galaxy need zooniverse.retirement 'own' or 'posterior', or tiers"


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Galaxies under a name; which ones does not change.

    Parameters
    ----------
    n
        How many.
    source
        Where they come from: ``kind`` is ``choice``, with its conditions and the model of its index, or what a page
        says, such as ``similar``, ``map`` or ``anomalies``.
    """

    id: int
    campaign_id: int
    name: str
    n: int
    source: Mapping[str, Any]
    actor: str
    created_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """Votes that people may ask for until the next cycle draws: all of them, and what waits takes."""

    votes: int
    spent: int

    @property
    def left(self) -> int:
        """What may still be asked for; none where an operator lowered the budget since."""
        return max(0, self.votes - self.spent)


class SelectionStore(Protocol):
    """Selections of campaigns."""

    def save(
        self, campaign_id: int, name: str, galaxy_ids: Sequence[str], *, source: Mapping[str, Any], actor: str
    ) -> Selection:
        """Keep galaxies under a name, with an event; the same ones again change nothing.

        Raises
        ------
        Conflict
            The name stands for other galaxies.
        BadInput
            The campaign has `MAX_SELECTIONS` already.
        """

    def list(self, campaign_id: int, /) -> Sequence[Selection]:
        """Return a campaign's selections, newest first."""

    def get(self, campaign_id: int, name: str, /) -> tuple[Selection, Sequence[str]]:
        """Return one with its galaxies in order; raises `NotFound`."""

    def delete(self, campaign_id: int, name: str, *, actor: str) -> None:
        """Forget one, with an event; raises `NotFound`."""


class Campaigns(Protocol):
    """Campaigns by name."""

    def get(self, name: str, /) -> CampaignRow:
        """Return the newest version; raises `NotFound`."""


class Catalogues(Protocol):
    """Catalogues and their galaxies."""

    def newest(self, campaign_id: int, /) -> Catalogue | None:
        """Return the newest catalogue of a campaign."""

    def by_id(self, catalogue_id: int, galaxy_ids: Sequence[str], /) -> Sequence[Galaxy]:
        """Return named galaxies; raises `NotFound` naming the first that is absent."""

    def present(self, catalogue_id: int, galaxy_ids: Sequence[str], /) -> Sequence[Galaxy]:
        """Return those of some galaxies that are in a catalogue."""


@dataclass(frozen=True, kw_only=True)
class SelectionService:
    """Selections of galaxies by a campaign's name, and what is asked of volunteers about them.

    Parameters
    ----------
    explore
        Returns the explorer, which choices are made in.
    """

    campaigns: Campaigns
    catalogues: Catalogues
    selections: SelectionStore
    requests: RequestStore
    ledger: SubjectLedger
    stops: StoppedSubjects
    explore: Callable[[], ExploreService]

    def save(
        self, campaign: str, name: str, galaxy_ids: Sequence[str], *, actor: str, source: Mapping[str, Any]
    ) -> Selection:
        """Keep galaxies of the newest catalogue under a name, in their order; one that is named twice counts once.

        Parameters
        ----------
        source
            Where they come from, ``kind`` first: a small JSON document.

        Raises
        ------
        NotFound
            No such campaign, no catalogue, or no such galaxy; the message names the first one.
        BadInput
            The name is none, an id is none, or there are no galaxies or more than `MAX_SELECTED`.
        Conflict
            The name stands for other galaxies.
        """
        row = self.campaigns.get(campaign)
        _check_name(name)
        wanted = list(dict.fromkeys(check_galaxy_id(each, where="galaxies") for each in galaxy_ids))
        _check_size(len(wanted))
        self.catalogues.by_id(self._catalogue(row), wanted)
        return self.selections.save(row.id, name, wanted, source=source, actor=actor)

    def save_choice(self, campaign: str, name: str, choice: Choice, *, actor: str) -> Selection:
        """Keep what a choice holds now, in its order; raises what `save` and the explorer do."""
        row = self.campaigns.get(campaign)
        _check_name(name)
        opened = self.explore().opened(campaign)
        _check_size(opened.table.count(choice))
        source = {
            "kind": "choice",
            "where": [condition.text for condition in choice.conditions],
            "sort": choice.sort,
            "descending": choice.descending,
            "model_id": opened.index.model_id,
            "catalogue_id": opened.index.catalogue_id,
        }
        galaxy_ids = opened.table.ids(choice)
        return self.selections.save(row.id, name, galaxy_ids, source=source, actor=actor)

    def list(self, campaign: str) -> Sequence[Selection]:
        """Return a campaign's selections, newest first."""
        return self.selections.list(self.campaigns.get(campaign).id)

    def get(self, campaign: str, name: str) -> tuple[Selection, Sequence[str]]:
        """Return one with its galaxies in order; raises `NotFound`."""
        return self.selections.get(self.campaigns.get(campaign).id, name)

    def delete(self, campaign: str, name: str, *, actor: str) -> None:
        """Forget one; what was asked for stays so. Raises `NotFound`."""
        self.selections.delete(self.campaigns.get(campaign).id, name, actor=actor)

    def shown(
        self, campaign: str, galaxy_ids: Sequence[str], *, first: int, limit: int
    ) -> tuple[Opened | None, Sequence[Item]]:
        """Return some of a selection's galaxies as the index has them, in order; without one, their ids alone."""
        some = galaxy_ids[first : first + limit]
        try:
            opened = self.explore().opened(campaign)
        except NoIndex:
            return None, [{"galaxy_id": galaxy_id} for galaxy_id in some]
        known = {item["galaxy_id"]: item for item in opened.table.named(some)}
        return opened, [known.get(galaxy_id, {"galaxy_id": galaxy_id}) for galaxy_id in some]

    def download(self, campaign: str, name: str, file_format: DownloadFormat, folder: Path) -> Path:
        """Write a selection's galaxies as the index has them to a file in a folder; return its path."""
        selection, galaxy_ids = self.get(campaign, name)
        return self.explore().download_named(campaign, galaxy_ids, selection.name, file_format, folder)

    def budget(self, campaign: str) -> Budget:
        """Return what may be asked for until the next cycle draws (`acquisition.requested_share`)."""
        row = self.campaigns.get(campaign)
        spent = sum(each.cost for each in self.requests.waiting(row.id))
        return Budget(votes=row.settings.acquisition.requested_votes, spent=spent)

    def waiting(self, campaign: str) -> Sequence[Request]:
        """Return what no cycle has settled yet, first come first."""
        return self.requests.waiting(self.campaigns.get(campaign).id)

    def send(self, campaign: str, name: str, *, reason: str, actor: str, votes: int | None = None) -> Sent:
        """Ask for a selection's galaxies in the next cycle, as many as the budget has votes for.

        The next cycle draws those that volunteers have not seen, each in place of one of the informative arm, and asks
        for more votes on those that they have, as `alservice subject ask` does. Asking again asks for no galaxy twice.

        Parameters
        ----------
        votes
            Votes that each is to have; the campaign's votes per galaxy when left out.

        Raises
        ------
        NotFound
            No such campaign, catalogue or selection.
        BadInput
            The reason cannot stand in the audit, or the votes are out of range or none of the campaign's tiers.
        """
        row = self.campaigns.get(campaign)
        check_reason(reason)
        wanted_votes = _votes(row.settings, votes)
        _, galaxy_ids = self.selections.get(row.id, name)
        wanted, refused = self._judged(row, galaxy_ids, wanted_votes)
        why = Why(selection=name, reason=reason, actor=actor)
        return self.requests.send(row.id, wanted, why, budget=row.settings.acquisition.requested_votes, refused=refused)

    def withdraw(self, campaign: str, name: str, *, reason: str, actor: str) -> int:
        """Take back what no cycle has settled yet of a selection; return how many galaxies."""
        row = self.campaigns.get(campaign)
        check_reason(reason)
        return self.requests.withdraw(row.id, name, reason=reason, actor=actor)

    def _catalogue(self, row: CampaignRow) -> int:
        catalogue = self.catalogues.newest(row.id)
        if catalogue is None:
            raise NotFound(f"campaign {row.settings.name} has no catalogue yet", campaign=row.settings.name)
        return catalogue.id

    def _judged(self, row: CampaignRow, galaxy_ids: Sequence[str], votes: int) -> tuple[Sequence[Wanted], Counter[str]]:
        """Return which galaxies volunteers may be asked about at what cost, and how many others by reason."""
        members = {g.galaxy_id: g.evaluation for g in self.catalogues.present(self._catalogue(row), galaxy_ids)}
        known = {subject.galaxy_id: subject for subject in self.ledger.of_galaxies(row.id, galaxy_ids)}
        stopped = {galaxy_id: stop.votes for galaxy_id, stop in self.stops.stopped(row.id).items()}
        wanted: list[Wanted] = []
        refused: Counter[str] = Counter()
        for galaxy_id in galaxy_ids:
            if galaxy_id not in members or members[galaxy_id]:
                refused[MEMBER if galaxy_id in members else ABSENT] += 1
                continue
            cost = _cost(row.settings, known.get(galaxy_id), stopped.get(galaxy_id), votes)
            if isinstance(cost, str):
                refused[cost] += 1
            else:
                wanted.append(Wanted(galaxy_id=galaxy_id, votes=votes, cost=cost))
        return wanted, refused


def _cost(campaign: Campaign, subject: Subject | None, stopped: int | None, votes: int) -> int | str:
    """Return how many more votes a galaxy takes, or why it cannot be asked for.

    Parameters
    ----------
    stopped
        Votes that it had when asking stopped early; None where it did not.
    """
    reason = None if subject is None else exclusion_reason(subject)
    if subject is None or reason is None:
        return votes
    if subject.state not in SHOWN:
        return reason
    if not campaign.zooniverse.retires:
        return NOT_OURS
    asked = subject.n_votes if stopped is None else min(stopped, subject.n_votes)
    if stopped is None and subject.n_votes >= votes:
        return HAS_VOTES
    return max(0, votes - asked)


def _votes(campaign: Campaign, votes: int | None) -> int:
    """Return the votes to ask of each galaxy; raises `BadInput` where the campaign cannot ask for so many."""
    usual = campaign.acquisition.votes_per_galaxy
    if votes is None or votes == usual:
        return usual
    if not 1 <= votes <= MAX_VOTES:
        raise BadInput(f"votes must be 1 to {MAX_VOTES}, not {votes}", field="votes")
    tiers = {tier.votes for tier in campaign.zooniverse.tiers}
    if tiers and votes not in tiers:
        raise BadInput(f"votes must be one of the tiers {sorted(tiers)}, not {votes}", field="votes")
    if not tiers and not campaign.zooniverse.retires:
        raise BadInput(f"campaign {campaign.name} asks {usual} votes of every galaxy: {ASK_VOTES_FIRST}", field="votes")
    return votes


def _check_name(name: str) -> None:
    if re.fullmatch(NAME, name) is None or name.endswith((" ", "\n")):
        raise BadInput(
            "a selection is named by 1 to 80 of A-Z, a-z, 0-9, space, '.', '_' and '-', a letter or digit first",
            field="name",
        )


def _check_size(n: int) -> None:
    if not 1 <= n <= MAX_SELECTED:
        raise BadInput(f"a selection has 1 to {MAX_SELECTED:,} galaxies, not {n:,}", field="galaxies")


def check_same(name: str, before: Sequence[str], now: Sequence[str]) -> None:
    """Raise `Conflict` unless a name stands for the same galaxies as before."""
    if list(before) != list(now):
        raise Conflict(f"selection {name!r} has {len(before)} other galaxies: choose another name", name=name)


def check_room(n: int) -> None:
    """Raise `BadInput` unless a campaign that keeps n selections may keep another one."""
    if n >= MAX_SELECTIONS:
        raise BadInput(f"{n} selections are as many as a campaign keeps: delete some", field="name")


def unknown(name: str) -> NotFound:
    """Return the error of a selection that is not there."""
    return NotFound(f"there is no selection {name[:80]!r}", name=name[:80])


def saved_event(selection: Selection) -> Event:
    """Return the line of the audit about a selection that was saved."""
    return _event(selection, "selection.saved", selection.actor, selection.created_at, {"source": selection.source})


def deleted_event(selection: Selection, *, actor: str, at: datetime) -> Event:
    """Return the line of the audit about a selection that is no more."""
    return _event(selection, "selection.deleted", actor, at, {})


def _event(selection: Selection, kind: str, actor: str, at: datetime, detail: Mapping[str, Any]) -> Event:
    return Event(
        campaign_id=selection.campaign_id,
        cycle_id=None,
        at=at,
        actor=actor,
        kind=kind,
        detail={"name": selection.name, "n": selection.n, **detail},
    )
