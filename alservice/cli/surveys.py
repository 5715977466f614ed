"""Campaigns and their galaxies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alservice.cli.shell import CampaignName, Workdir, opened, use

campaigns = typer.Typer(help="Surveys and their decisions.", no_args_is_help=True)
catalogues = typer.Typer(help="Galaxies of a campaign.", no_args_is_help=True)


@campaigns.command("create")
def create_campaign(
    config: Annotated[Path, typer.Option("--config", help="YAML file; see deploy/campaigns.")], workdir: Workdir = None
) -> None:
    """Create a campaign, or add a version to it when its decisions changed."""
    use(workdir)
    from alservice.campaigns import load_campaign_file

    campaign = load_campaign_file(config)
    with opened() as factory:
        row = factory.campaigns.save(campaign)
    typer.echo(f"campaign {campaign.name} is at version {row.version}")


@campaigns.command("validate")
def validate_campaign(campaign: CampaignName, workdir: Workdir = None) -> None:
    """Compare the live workflow with the campaign's tree; fail on a mismatch."""
    use(workdir)
    from alservice.factory.rehearsal import open_zooniverse

    with opened() as factory, open_zooniverse(factory, campaign):
        answer_map = factory.validate_campaign(campaign)
    typer.echo(f"workflow version {answer_map.version} asks the tree's {len(answer_map.columns)} questions")


@campaigns.command("webhook")
def open_webhook(
    campaign: CampaignName,
    key: Annotated[str | None, typer.Option("--key", help="Name in the address; the campaign's by default.")] = None,
    workdir: Workdir = None,
) -> None:
    """Issue the login of the campaign's Caesar webhook; it is shown once, and an earlier one ends."""
    use(workdir)
    from alservice.factory.feeds import issue_webhook

    with opened() as factory:
        login = issue_webhook(factory, campaign, key=key, actor="alservice campaign webhook")
    typer.echo(f"path      {login.path}_<task>, such as {login.path}_t0")
    typer.echo(f"user      {login.user}")
    typer.echo(f"password  {login.password}")


@catalogues.command("import")
def import_catalogue(
    file: Annotated[Path, typer.Argument(help="Parquet or CSV: images or image paths, and votes if there are any.")],
    campaign: CampaignName,
    galaxies: Annotated[int | None, typer.Option("--galaxies", min=1, help="Use a seeded subset.")] = None,
    workdir: Workdir = None,
) -> None:
    """Import galaxies and their images; every row becomes a galaxy or a recorded fault."""
    use(workdir)
    with opened() as factory:
        catalogue = factory.import_file(campaign, file, galaxies)
        faults = factory.catalogues.faults(catalogue.id)
    typer.echo(
        f"catalogue {catalogue.id}: {catalogue.n_galaxies} galaxies, {catalogue.n_failed} rows failed "
        f"of {catalogue.n_requested}"
    )
    for fault in faults[:20]:
        typer.echo(f"  row {fault.row} ({fault.galaxy_id or 'no id'}): {fault.field}: {fault.reason}", err=True)
