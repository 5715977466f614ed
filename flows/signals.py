"""Events on Prefect's bus when a cycle moves: what automations wait for, or miss."""

from __future__ import annotations

from prefect.events import emit_event

from flows.tasks import CycleSummary


def tell(cycle: CycleSummary) -> None:
    """Emit ``alservice.cycle.<state>`` about the campaign, such as ``alservice.cycle.held``."""
    emit_event(
        event=f"alservice.cycle.{cycle.state}",
        resource={
            "prefect.resource.id": f"alservice.campaign.{cycle.campaign}",
            "prefect.resource.name": cycle.campaign,
            "alservice.cycle.number": str(cycle.number),
        },
        payload=cycle.model_dump(mode="json"),
    )
