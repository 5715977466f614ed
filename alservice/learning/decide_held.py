"""A person's word on a held candidate: approve or reject, once, with a reason."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from alservice.campaigns.campaign import Campaign
from alservice.campaigns.cycle import Cycle, CycleState
from alservice.campaigns.cycle_store import CampaignStore, CycleStore, ModelStore
from alservice.campaigns.records import CampaignRow
from alservice.errors import Conflict, NotFound
from alservice.learning.gate import GateDecision, Verdict, Word
from alservice.process import Clock
from alservice.texts import check_actor, check_reason

_VERDICTS: Final[dict[Word, Verdict]] = {"approve": "promote", "reject": "reject"}
_WORDS: Final[dict[Verdict, str]] = {"promote": "approved", "reject": "rejected", "hold": "held"}


@dataclass(frozen=True, kw_only=True)
class DecideHeld:
    """Settle a held cycle by a person's decision, which replaces the hold; the audit keeps both."""

    campaigns: CampaignStore
    cycles: CycleStore
    models: ModelStore
    clock: Clock

    def run(self, campaign: CampaignRow, word: Word, *, actor: str, reason: str, number: int | None = None) -> Cycle:
        """Return the cycle after the decision; the same word again, also from someone else, changes nothing.

        Parameters
        ----------
        number
            The cycle that the person means; the newest when left out.

        Raises
        ------
        NotFound
            There is no such cycle.
        BadInput
            Reason or actor cannot stand in the audit.
        Conflict
            The cycle is not held, was decided the other way, or its deadline has passed.
        """
        check_reason(reason)
        check_actor(actor)
        cycle = self._cycle(campaign, number)
        decision = self.models.decision(cycle.id)
        verdict = _VERDICTS[word]
        if cycle.state is not CycleState.HELD or decision is None:
            return self._decided_before(cycle, decision, verdict)
        deadline = hold_deadline(self.campaigns.get_version(cycle.campaign_id, cycle.campaign_version), cycle)
        if self.clock() >= deadline:
            raise Conflict(
                f"nobody decided on cycle {cycle.number} by {deadline:%Y-%m-%d %H:%M} UTC: the champion is kept",
                cycle=cycle.number,
            )
        made = decision.by_person(verdict, actor=actor, reason=reason)
        try:
            return self.models.settle(cycle, made, actor=actor)
        except Conflict:
            now = self.cycles.get(cycle.id)
            if now.state is CycleState.HELD:  # not a race: the champion changed since the comparison
                raise
            return self._decided_before(now, self.models.decision(cycle.id), verdict)

    def _cycle(self, campaign: CampaignRow, number: int | None) -> Cycle:
        found = [cycle for cycle in self.cycles.list(campaign.id) if number in {None, cycle.number}]
        if not found:
            which = "no cycle yet" if number is None else f"no cycle {number}"
            raise NotFound(f"campaign {campaign.campaign.name} has {which}")
        return found[-1]

    def _decided_before(self, cycle: Cycle, decision: GateDecision | None, verdict: Verdict) -> Cycle:
        person = None if decision is None else decision.person
        if decision is None or person is None:
            raise Conflict(
                f"cycle {cycle.number} is {cycle.state}, not held: there is nothing to decide",
                cycle=cycle.number,
                state=cycle.state,
            )
        if decision.verdict != verdict:
            raise Conflict(
                f"cycle {cycle.number} was {_WORDS.get(decision.verdict, decision.verdict)} already ({person.detail})",
                cycle=cycle.number,
                verdict=decision.verdict,
            )
        return cycle


def hold_deadline(campaign: Campaign, cycle: Cycle) -> datetime:
    """Return until when (UTC) a held cycle waits for a person."""
    return cycle.updated_at + timedelta(hours=campaign.hold_hours)
