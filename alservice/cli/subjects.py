"""The upload ledger."""

from __future__ import annotations

from typing import Annotated

import typer

from alservice.cli.shell import EXIT_ERROR, AsJson, CampaignName, Workdir, opened, print_json, use

subjects = typer.Typer(help="Galaxies in front of volunteers.", no_args_is_help=True)
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the audit.")]


def reconcile(
    campaign: CampaignName,
    repair: Annotated[bool, typer.Option("--repair", help="Set right what a machine may.")] = False,
    workdir: Workdir = None,
    as_json: AsJson = False,
) -> None:
    """Compare the upload ledger with Zooniverse; fail if anything is off and stays so. Safe at any time."""
    use(workdir)
    from alservice.app.standin import open_zooniverse

    with opened() as factory, open_zooniverse(factory, campaign):
        outcomes = factory.reconcile_campaign(campaign, repair=repair, actor="alservice reconcile")
    if as_json:
        print_json(outcome.document() for outcome in outcomes)
    else:
        for outcome in outcomes:
            typer.echo(outcome.text())
    if not all(outcome.is_clean for outcome in outcomes):
        raise typer.Exit(EXIT_ERROR)


@subjects.command("ask")
def ask_votes(
    galaxies: Annotated[list[str], typer.Argument(help="Survey ids of galaxies that are live or retired.")],
    campaign: CampaignName,
    votes: Annotated[int, typer.Option("--votes", min=1, max=1000, help="Votes each is to have.")],
    reason: Reason,
    workdir: Workdir = None,
) -> None:
    """Ask for more votes, or fewer; the next ingest brings back or retires accordingly."""
    use(workdir)
    with opened() as factory:
        row = factory.campaigns.get(campaign)
        changed = factory.ask_votes("alservice subject ask").run(row, galaxies, votes, reason=reason)
    typer.echo(f"{len(changed)} of {len(galaxies)} galaxies are asked for {votes} votes now")
