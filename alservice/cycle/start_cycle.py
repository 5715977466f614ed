"""Open the next cycle of a campaign, or say which one is open."""

from __future__ import annotations

from dataclasses import dataclass

from alservice.campaigns.cycle import Cycle, CycleKind
from alservice.campaigns.cycle_store import CatalogueStore, CycleStore, ModelStore
from alservice.campaigns.records import CampaignRow
from alservice.errors import NotFound


@dataclass(frozen=True, kw_only=True)
class StartCycle:
    """Start a cycle on the newest catalogue, with the champion of the moment."""

    catalogues: CatalogueStore
    cycles: CycleStore
    models: ModelStore

    def run(self, campaign: CampaignRow, *, actor: str, kind: CycleKind = CycleKind.FULL) -> Cycle:
        """Open the next cycle.

        Raises
        ------
        NotFound
            The campaign has no catalogue yet.
        Conflict
            A cycle is open; it must be advanced or resumed, never doubled.
        """
        catalogue = self.catalogues.newest(campaign.id)
        if catalogue is None:
            raise NotFound(
                f"campaign {campaign.campaign.name} has no catalogue: run "
                f"`alservice catalogue import FILE --campaign {campaign.campaign.name}`"
            )
        champion = self.models.champion(campaign.id)
        return self.cycles.start(campaign, catalogue.id, champion.id if champion else None, actor, kind=kind)
