"""The upload ledger."""

from __future__ import annotations

from typing import Annotated

import typer

from alservice.cli.shell import EXIT_ERROR, AsJson, CampaignName, Workdir, opened, print_json, use


def reconcile(
    campaign: CampaignName,
    repair: Annotated[bool, typer.Option("--repair", help="Set right what a machine may.")] = False,
    workdir: Workdir = None,
    as_json: AsJson = False,
) -> None:
    """Compare the upload ledger with Zooniverse; fail if anything is off and stays so. Safe at any time."""
    use(workdir)
    from alservice.factory.rehearsal import open_zooniverse

    with opened() as factory, open_zooniverse(factory, campaign):
        outcome = factory.reconcile_campaign(campaign, repair=repair, actor="alservice reconcile")
    if as_json:
        print_json([outcome.document()])
    else:
        typer.echo(outcome.text())
    if not outcome.is_clean:
        raise typer.Exit(EXIT_ERROR)
