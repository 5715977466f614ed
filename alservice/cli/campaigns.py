"""Campaigns and their galaxies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from alservice.cli.shell import CampaignName, Workdir, opened, use

LayoutName = Literal["kaggle", "gz2", "zoobot", "paths"]

campaigns = typer.Typer(help="Surveys and their decisions.", no_args_is_help=True)
catalogues = typer.Typer(help="Galaxies of a campaign.", no_args_is_help=True)


@campaigns.command("create")
def create_campaign(
    config: Annotated[Path, typer.Option("--config", help="YAML file; see deploy/campaigns.")], workdir: Workdir = None
) -> None:
    """Create a campaign, or add a version to it when its decisions changed."""
    use(workdir)
    from alservice.campaigns.campaign import load_campaign_file

    campaign = load_campaign_file(config)
    with opened() as factory:
        row = factory.save_campaign(campaign)
    typer.echo(f"campaign {campaign.name} is at version {row.version}")


@campaigns.command("validate")
def validate_campaign(campaign: CampaignName, workdir: Workdir = None) -> None:
    """Compare the live workflow with the campaign's tree; fail on a mismatch."""
    use(workdir)
    from alservice.app.standin import open_zooniverse

    with opened() as factory, open_zooniverse(factory, campaign):
        answer_maps = factory.validate_campaign(campaign)
    for answer_map in answer_maps:
        typer.echo(f"workflow version {answer_map.version} asks the tree's {len(answer_map.columns)} questions")


@campaigns.command("webhook")
def open_webhook(
    campaign: CampaignName,
    key: Annotated[str | None, typer.Option("--key", help="Name in the address; the campaign's by default.")] = None,
    expires_days: Annotated[int, typer.Option("--expires-days", help="Days until its token ends; 0 for never.")] = 90,
    workdir: Workdir = None,
) -> None:
    """Open the campaign's Caesar webhook with a token of scope ingest, shown once; earlier ones of the campaign end."""
    use(workdir)
    from alservice.app.feeds import issue_webhook

    with opened() as factory:
        login = issue_webhook(factory, campaign, key=key, expires_days=expires_days, actor="alservice campaign webhook")
    end = login.token.expires_at
    typer.echo(f"path      {login.path}_<task>, such as {login.path}_t0")
    typer.echo(f"user      {login.user}")
    typer.echo(f"password  {login.password}")
    typer.echo(f"token {login.token.name}, {f'until {end:%Y-%m-%d %H:%M} UTC' if end else 'without end'}", err=True)


@catalogues.command("import")
def import_catalogue(
    file: Annotated[
        Path, typer.Argument(help="Parquet, or CSV, gzip or not: images or image paths, and votes if there are any.")
    ],
    campaign: CampaignName,
    galaxies: Annotated[int | None, typer.Option("--galaxies", min=1, help="Use a seeded subset.")] = None,
    layout: Annotated[
        LayoutName | None, typer.Option("--layout", help="How votes are written; told by the columns if not given.")
    ] = None,
    images: Annotated[Path | None, typer.Option("--images", help="Folder of images named after galaxies.")] = None,
    image_name: Annotated[
        str, typer.Option("--image-name", help="File name in that folder, such as '{id:.4}/{id}.png'.")
    ] = "{id}.jpg",
    workdir: Workdir = None,
) -> None:
    """Import galaxies and their images; every row becomes a galaxy or a recorded fault.

    Published vote tables are known: Galaxy Zoo 2, DECaLS, the Kaggle challenge, and those of galaxy-datasets.
    """
    use(workdir)
    from alservice.app.catalogues import ImageFiles, import_file

    files = None if images is None else ImageFiles(folder=images, pattern=image_name)
    with opened() as factory:
        imported = import_file(factory, campaign, file, galaxies=galaxies, layout=layout, images=files)
        catalogue = imported.catalogue
        faults = factory.catalogues.faults(catalogue.id)
    typer.echo(
        f"catalogue {catalogue.id} (layout {imported.layout}): {catalogue.n_galaxies} galaxies, "
        f"{catalogue.n_failed} rows failed of {catalogue.n_requested}"
    )
    if imported.inconsistent:
        typer.echo(
            f"  {len(imported.inconsistent)} galaxies have more answers to a question than volunteers led to it, "
            f"the first is {imported.inconsistent[0]}",
            err=True,
        )
    if imported.stripped:
        typer.echo(
            f"  {len(imported.stripped)} image files hold more than pixels, such as metadata or bytes after the end, "
            f"which is not kept; the first is of {imported.stripped[0]}",
            err=True,
        )
    for fault in faults[:20]:
        typer.echo(f"  row {fault.row} ({fault.galaxy_id or 'no id'}): {fault.field}: {fault.reason}", err=True)
