"""Commands of explorers: building an index, galaxies like others, and interesting ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alservice.cli.shell import AsJson, CampaignName, Workdir, opened, print_json, print_table, use

if TYPE_CHECKING:
    from collections.abc import Mapping

    from alservice.explore import AnomalyService

explore = typer.Typer(help="A campaign's catalogue by choice, by likeness and by interest.", no_args_is_help=True)


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
        typer.echo(_older(campaign, found.index.model_id), err=True)
    if as_json:
        print_json(dict(item) for item in found.items)
    else:
        head = ("galaxy", "distance", "ra [deg]", "dec [deg]", "votes")
        print_table(map(_shown, found.items), head=head, right={1, 2, 3, 4})


@explore.command("anomalies")
def search_anomalies(
    campaign: CampaignName,
    search: Annotated[str, typer.Option("--search", help="Name of the search; a new one is begun.")],
    rate: Annotated[
        Path | None, typer.Option("--rate", help="CSV of galaxy_id and rating (0 to 5): ratings to keep.")
    ] = None,
    simulate: Annotated[
        Path | None,
        typer.Option("--simulate", help="CSV of every galaxy's rating: rates what is proposed."),
    ] = None,
    until: Annotated[int, typer.Option("--until", min=1, max=1000, help="Ratings that --simulate goes up to.")] = 200,
    top: Annotated[
        int | None,
        typer.Option("--top", min=1, max=1000, help="List the most interesting, not a batch to rate."),
    ] = None,
    rater: Annotated[str, typer.Option("--rater", help="Whose ratings these are.")] = "command line",
    shared: Annotated[bool, typer.Option("--shared", help="Others may rate in a new search too.")] = False,
    forests: Annotated[bool, typer.Option("--forests", help="A new search learns by the baseline.")] = False,
    workdir: Workdir = None,
    as_json: AsJson = False,
) -> None:
    """Search for interesting galaxies: keep ratings, and list ten galaxies to rate or the best found.

    The same search goes on in a browser, at /campaigns/NAME/anomalies.
    """
    use(workdir)
    from alservice.explore.ratings import read_ratings
    from alservice.texts import check_actor

    check_actor(rater)
    given = None if rate is None else read_ratings(rate)
    truth = None if simulate is None else read_ratings(simulate)
    with opened() as factory:
        anomalies = factory.anomalies
        _begin_if_new(anomalies, campaign, search, rater=rater, shared=shared, forests=forests)
        if given is not None:
            anomalies.rate(campaign, search, given, rater=rater)
        if truth is not None:
            anomalies.simulate(campaign, search, truth, rater=rater, n=until)
        if top is None:
            found = anomalies.batch(campaign, search, rater=rater)
        else:
            found = anomalies.top(campaign, search, rater=rater, n=top)
    typer.echo(f"{found.n_rated} galaxies are rated, {found.n_mine} of them by {rater}", err=True)
    if not found.is_current:
        typer.echo(_older(campaign, found.index.model_id), err=True)
    if as_json:
        print_json(dict(item) for item in found.items)
    else:
        head = ("galaxy", "expected", "rated", "ra [deg]", "dec [deg]")
        print_table(map(_interesting, found.items), head=head, right={1, 2, 3, 4})


def _begin_if_new(
    anomalies: AnomalyService, campaign: str, name: str, *, rater: str, shared: bool, forests: bool
) -> None:
    from alservice.errors import NotFound
    from alservice.explore.ratings import Method

    try:
        anomalies.get(campaign, name)
    except NotFound:
        method = Method.FORESTS if forests else Method.GAUSSIAN_PROCESS
        anomalies.begin(campaign, name, owner=rater, is_shared=shared, method=method)


def _older(campaign: str, model_id: int) -> str:
    return (
        f"the index is of model {model_id} and older than champion or catalogue: "
        f"alservice explore build --campaign {campaign}"
    )


def _interesting(item: Mapping[str, Any]) -> tuple[str, ...]:
    numbers = ("-" if item[name] is None else f"{item[name]:.2f}" for name in ("interest", "rating"))
    return item["galaxy_id"], *numbers, *_place(item)


def _place(item: Mapping[str, Any]) -> tuple[str, str]:
    ra, dec = item["ra_deg"], item["dec_deg"]
    return ("-", "-") if ra is None or dec is None else (f"{ra:.5f}", f"{dec:.5f}")


def _shown(item: Mapping[str, Any]) -> tuple[str, ...]:
    return item["galaxy_id"], f"{item['distance']:.4f}", *_place(item), str(item["n_votes"])
