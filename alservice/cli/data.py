"""Published data to replay."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alservice.cli.shell import use

data = typer.Typer(help="Published data to replay.", no_args_is_help=True)


@data.command("fetch")
def fetch(
    release: Annotated[str, typer.Argument(help="Which release: gz2.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to fetch into; an interrupted fetch goes on.")],
    mirror: Annotated[
        str | None, typer.Option("--mirror", help="Base URL of a copy of the files, under the same names.")
    ] = None,
) -> None:
    """Download a data release, verify it, and write the table that `backfill --data` reads."""
    use(None)
    from alservice.app.data import fetch_release
    from alservice.progress import process_progress

    found, table, joined = fetch_release(release, out, process_progress(), mirror=mirror)
    typer.echo(
        f"{table}: {joined.galaxies:,} galaxies of {joined.rows:,} rows; left out: {joined.stripe82:,} of Stripe 82, "
        f"{joined.repeated:,} repeated, {joined.imageless:,} without an image"
    )
    typer.echo(f"cite {found.cite}")
