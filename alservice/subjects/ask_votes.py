"""More votes, or fewer, of galaxies that volunteers see or saw; the next ingest retires and brings back accordingly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

from alservice.campaigns.cycle_store import EventLog, SubjectLedger
from alservice.campaigns.records import CampaignRow, Event
from alservice.errors import BadConfig, BadInput
from alservice.ids import check_galaxy_id
from alservice.process import Clock
from alservice.states import SubjectState
from alservice.subjects.subject import Subject
from alservice.texts import check_reason

_SHOWN = (SubjectState.LIVE, SubjectState.RETIRED)


@dataclass(frozen=True)
class AskVotes:
    """Change the votes asked for; it takes a campaign whose own tallies retire."""

    ledger: SubjectLedger
    events: EventLog
    clock: Clock
    _: KW_ONLY
    actor: str

    def run(self, campaign: CampaignRow, galaxy_ids: Sequence[str], votes: int, *, reason: str) -> Sequence[Subject]:
        """Ask for so many votes of each galaxy, all or none; return the rows that changed.

        Raises
        ------
        BadConfig
            Panoptes' rule decides here: one number for all subjects of a workflow.
        BadInput
            The reason cannot stand in the audit, votes are out of range, an id is no galaxy's, or a galaxy was never
            shown to anyone; the message names the first ones.
        """
        check_reason(reason)
        if campaign.campaign.zooniverse.retirement != "own":
            text = f"campaign {campaign.campaign.name}: votes per galaxy need zooniverse.retirement 'own'"
            raise BadConfig(text, campaign=campaign.campaign.name)
        if not 1 <= votes <= 1000:
            raise BadInput(f"votes must be 1 to 1000, not {votes}", votes=votes)
        wanted = {check_galaxy_id(galaxy_id, where="galaxies") for galaxy_id in galaxy_ids}
        rows = [row for row in self.ledger.of_campaign(campaign.id) if row.galaxy_id in wanted]
        absent = sorted(wanted - {row.galaxy_id for row in rows if row.state in _SHOWN})
        if absent:
            named = ", ".join(absent[:5])
            raise BadInput(f"{len(absent)} galaxies are neither live nor retired: {named}", galaxies=absent[:5])
        changed = [row for row in rows if row.n_votes != votes]
        for cycle_id in sorted({row.cycle_id for row in changed}):
            self._ask(campaign.id, cycle_id, [row for row in changed if row.cycle_id == cycle_id], votes, reason)
        return changed

    def _ask(self, campaign_id: int, cycle_id: int, rows: Sequence[Subject], votes: int, reason: str) -> None:
        before = {row.galaxy_id: row.n_votes for row in rows}
        self.events.record(
            Event(
                campaign_id=campaign_id,
                cycle_id=cycle_id,
                at=self.clock(),
                actor=self.actor,
                kind="subjects.asked",
                detail={"votes": votes, "before": before, "reason": reason},
            )
        )
        self.ledger.ask(rows, cycle_id=cycle_id, n_votes=votes)
