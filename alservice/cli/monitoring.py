"""Figures for monitoring, where no service is scraped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alservice.cli.shell import Workdir, opened, use


def metrics(
    out: Annotated[
        Path | None,
        typer.Option("--out", help="File for a textfile collector; replaced in one go. Else standard output."),
    ] = None,
    workdir: Workdir = None,
) -> None:
    """Print the metrics that the database holds, in Prometheus' text format."""
    use(workdir)
    from alservice.app.meters import metrics_text

    with opened() as factory:
        text = metrics_text(factory)
    if out is None:
        typer.echo(text.decode(), nl=False)
        return
    part = out.with_name(f"{out.name}.part")
    part.write_bytes(text)
    part.chmod(0o644)  # the collector is another user, and these are counts
    part.replace(out)
