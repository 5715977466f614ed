"""Commands of explorers: building an index, and galaxies like others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alservice.cli.shell import AsJson, CampaignName, Workdir, opened, print_json, print_table, use

if TYPE_CHECKING:
    from collections.abc import Mapping

explore = typer.Typer(help="A campaign's catalogue by choice and by likeness.", no_args_is_help=True)


@explore.command("build")
def build_index(campaign: CampaignName, workdir: Workdir = None) -> None:
    """Build the index that pages, API and `explore similar` ask, from what the champion predicted.

    What it has not predicted yet is predicted first. The index before answers until this one is whole; run it again
    when the model has changed, galaxies were added or votes came in. Needs the extra explore.
    """
    use(workdir)
    with opened() as factory:
        index = factory.explore.build(campaign)
    typer.echo(
        f"{index.n} galaxies as model {index.model_id} sees them; embeddings in {index.dimensions} components "
        f"with {100 * index.explained:.1f} % of their variance"
    )


@explore.command("similar")
def find_similar(
    campaign: CampaignName,
    galaxy: Annotated[
        list[str] | None, typer.Option("--galaxy", help="Id of an example; may be repeated, their mean is taken.")
    ] = None,
    position: Annotated[
        tuple[float, float] | None, typer.Option("--position", help="RA and Dec (deg, ICRS) of a galaxy.")
    ] = None,
    radius_arcsec: Annotated[
        float, typer.Option("--radius-arcsec", min=0.001, max=3600, help="How far from the position it may lie.")
    ] = 30.0,
    image: Annotated[Path | None, typer.Option("--image", help="JPEG, PNG or GIF of a galaxy.")] = None,
    n: Annotated[int, typer.Option("--n", min=1, max=1000, help="Galaxies to list.")] = 20,
    exact: Annotated[bool, typer.Option("--exact", help="Compare every galaxy, in place of asking the graph.")] = False,
    workdir: Workdir = None,
    as_json: AsJson = False,
) -> None:
    """List the galaxies nearest in the embedding to galaxies, to a position's galaxy, or to an image."""
    use(workdir)
    from alservice.constants import MAX_IMAGE_BYTES
    from alservice.explore import Likeness
    from alservice.files import read_regular

    data = None if image is None else read_regular(image, max_bytes=MAX_IMAGE_BYTES)
    wanted = Likeness(galaxy_ids=tuple(galaxy or ()), position=position, image=data)
    with opened() as factory:
        found = factory.explore.similar(campaign, replace(wanted, radius_arcsec=radius_arcsec), n=n, exact=exact)
    if not found.is_current:
        typer.echo(
            f"the index is of model {found.index.model_id} and older than champion or catalogue: "
            f"alservice explore build --campaign {campaign}",
            err=True,
        )
    if as_json:
        print_json(dict(item) for item in found.items)
    else:
        head = ("galaxy", "distance", "ra [deg]", "dec [deg]", "votes")
        print_table(map(_shown, found.items), head=head, right={1, 2, 3, 4})


def _shown(item: Mapping[str, Any]) -> tuple[str, ...]:
    ra, dec = item["ra_deg"], item["dec_deg"]
    places = ("-", "-") if ra is None or dec is None else (f"{ra:.5f}", f"{dec:.5f}")
    return item["galaxy_id"], f"{item['distance']:.4f}", *places, str(item["n_votes"])
