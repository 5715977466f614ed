"""What the Prefect UI shows of a run beside its log."""

from __future__ import annotations

from prefect.artifacts import create_markdown_artifact

from alservice.factory import open_factory
from flows.tasks import CycleSummary


def cycle_artifact(cycle: CycleSummary) -> None:
    """Publish the table of cycles so far under the campaign's name."""
    with open_factory() as factory:
        table = factory.cycle_table(cycle.campaign).markdown()
    create_markdown_artifact(
        table,
        key=f"cycles-{cycle.campaign}",
        description=f"Cycle {cycle.number} of {cycle.campaign} is {cycle.state}",
    )
