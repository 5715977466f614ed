"""One cycle with its figures, the gate's checks and its history."""

from __future__ import annotations

from dataclasses import dataclass

from alservice.campaigns.cycle_store import CycleStore, EventLog, ModelStore
from alservice.campaigns.records import CampaignRow
from alservice.cycle.summarise_campaign import SummariseCampaign
from alservice.cycle.table import CycleView
from alservice.errors import NotFound


@dataclass(frozen=True, kw_only=True)
class ViewCycle:
    """Look one cycle up."""

    cycles: CycleStore
    models: ModelStore
    events: EventLog
    summarise: SummariseCampaign

    def run(self, campaign: CampaignRow, number: int | None) -> CycleView:
        """Return a cycle by number, the newest without one; raises `NotFound`."""
        cycles = self.cycles.list(campaign.id)
        found = [cycle for cycle in cycles if number is None or cycle.number == number]
        if not found:
            which = "no cycle yet" if number is None else f"no cycle {number}"
            raise NotFound(f"campaign {campaign.campaign.name} has {which}")
        cycle = found[-1]
        table = self.summarise.run(campaign)
        return CycleView(
            campaign=table.campaign,
            line=next(line for line in table.lines if line.cycle == cycle.number),
            decision=self.models.decision(cycle.id),
            statistics=tuple(s for s in self.summarise.snapshots.statistics(campaign.id) if s.cycle_id == cycle.id),
            events=tuple(e for e in reversed(self.events.list(campaign.id, limit=10_000)) if e.cycle_id == cycle.id),
        )
