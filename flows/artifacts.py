"""What the Prefect UI shows of a run beside its log."""

from __future__ import annotations

from collections.abc import Sequence

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from alservice.app import open_app
from alservice.cycle.brief import page_url
from alservice.cycle.readiness import Finding
from flows.naming import run_url
from flows.tasks import CycleSummary


def cycle_artifact(cycle: CycleSummary) -> None:
    """Publish where the cycle stands, under keys of campaign and cycle: report, gallery, history, and its page.

    Each leads to the run that made it and to the cycle's page in the dashboard, where there are such addresses.
    """
    with open_app() as factory:
        brief, dashboard = factory.cycle.brief(cycle.campaign), factory.settings.dashboard_url
    key, run = f"{cycle.campaign}-cycle-{brief.number}", run_url()
    page = None if dashboard is None else page_url(dashboard, cycle.campaign, brief.number)
    links = [f"[{text}]({url})" for text, url in (("run", run), ("page", page)) if url is not None]

    def about(more: str = "") -> str:
        return " · ".join([f"Cycle {brief.number} of {cycle.campaign} is {brief.state}{more}", *links])

    create_markdown_artifact(brief.report, key=f"{key}-report", description=about())
    create_table_artifact(list(brief.history), key=f"{key}-history", description=about(": what happened"))
    if brief.gallery is not None:
        create_markdown_artifact(brief.gallery, key=f"{key}-gallery", description=about(": what is asked about"))
    if page is not None:
        text = f"{cycle.campaign} cycle {brief.number}"
        create_link_artifact(page, link_text=text, key=f"{key}-page", description=about())


def reconcile_artifact(campaign: str, texts: Sequence[str]) -> None:
    """Publish how ledger and Zooniverse compare, subject set by subject set."""
    report = "\n\n".join(f"```\n{text}\n```" for text in texts)
    create_markdown_artifact(
        report, key=f"reconcile-{campaign}", description=f"Ledger of {campaign} against Zooniverse"
    )


def findings_artifact(findings: Sequence[Finding], *, key: str = "flight-check") -> None:
    """Publish what was seen of each part, and what to do about those that fail."""
    rows = [
        {"part": f.part, "works": "yes" if f.ok else "NO", "seen": f.message, "what to do": f.remedy} for f in findings
    ]
    create_table_artifact(rows, key=key, description="Every part, tried through its adapter")
