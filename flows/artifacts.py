"""What the Prefect UI shows of a run beside its log."""

from __future__ import annotations

from collections.abc import Sequence

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from alservice.factory import Finding, open_factory
from alservice.factory.briefing import brief_cycle
from flows.tasks import CycleSummary


def cycle_artifact(cycle: CycleSummary) -> None:
    """Publish where the cycle stands, under keys of the campaign: report, gallery, history, and a link to its page."""
    campaign = cycle.campaign
    with open_factory() as factory:
        brief, dashboard = brief_cycle(factory, campaign), factory.settings.dashboard_url
    about = f"Cycle {brief.number} of {campaign} is {brief.state}"
    create_markdown_artifact(brief.report, key=f"cycles-{campaign}", description=about)
    create_table_artifact(list(brief.history), key=f"history-{campaign}", description=f"{about}: what happened")
    if brief.gallery is not None:
        create_markdown_artifact(brief.gallery, key=f"gallery-{campaign}", description=f"{about}: what is asked about")
    if dashboard is not None:
        create_link_artifact(
            f"{dashboard.rstrip('/')}/campaigns/{campaign}",
            link_text=campaign,
            key=f"page-{campaign}",
            description=about,
        )


def reconcile_artifact(campaign: str, texts: Sequence[str]) -> None:
    """Publish how ledger and Zooniverse compare, subject set by subject set."""
    report = "\n\n".join(f"```\n{text}\n```" for text in texts)
    create_markdown_artifact(
        report, key=f"reconcile-{campaign}", description=f"Ledger of {campaign} against Zooniverse"
    )


def findings_artifact(findings: Sequence[Finding]) -> None:
    """Publish what was seen of each part, and what to do about those that fail."""
    rows = [
        {"part": f.part, "works": "yes" if f.ok else "NO", "seen": f.message, "what to do": f.remedy} for f in findings
    ]
    create_table_artifact(rows, key="flight-check", description="Every part, tried through its adapter")
