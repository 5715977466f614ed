"""Commands of selections: galaxies that people found, kept by name, and asked for in the next cycle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alservice.cli.shell import AsJson, CampaignName, Workdir, opened, print_json, print_table, use
from alservice.documents import document_of

selections = typer.Typer(help="Galaxies that people found: kept by name, and asked for.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the selection.")]
Why = Annotated[str, typer.Option("--reason", help="Why; kept in the audit.")]
ACTOR = "alservice selection"


@selections.command("save")
def save_selection(
    name: Name,
    campaign: CampaignName,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", help="Condition NAME:LOW:HIGH on the index, such as bar_yes:0.6:1; all of them hold."),
    ] = None,
    sort: Annotated[str, typer.Option("--sort", help="Order of what conditions hold, largest first.")] = "novelty",
    galaxies: Annotated[
        Path | None, typer.Option("--galaxies", help="Text file with a galaxy id a line, in place of conditions.")
    ] = None,
    workdir: Workdir = None,
) -> None:
    """Keep galaxies under a name: those that conditions hold now, or those of a file. They do not change afterwards."""
    use(workdir)
    if bool(where) == (galaxies is not None):
        raise typer.BadParameter("give either --where or --galaxies")
    from alservice.explore.choice import choice_of
    from alservice.explore.selections import MAX_SELECTED
    from alservice.files import read_regular
    from alservice.ids import MAX_ID_CHARS

    with opened() as factory:
        if galaxies is None:
            saved = factory.selections.save_choice(campaign, name, choice_of(where or (), sort=sort), actor=ACTOR)
        else:
            lines = (
                read_regular(galaxies, max_bytes=MAX_SELECTED * MAX_ID_CHARS).decode("utf-8", "replace").splitlines()
            )
            ids = [line.strip() for line in lines if line.strip()]
            saved = factory.selections.save(campaign, name, ids, actor=ACTOR, source={"kind": "file"})
    typer.echo(f"selection {saved.name!r} has {saved.n} galaxies")


@selections.command("list")
def list_selections(campaign: CampaignName, workdir: Workdir = None, as_json: AsJson = False) -> None:
    """List selections, newest first, and what is left of the votes that may be asked for."""
    use(workdir)
    with opened() as factory:
        found, budget = factory.selections.list(campaign), factory.selections.budget(campaign)
    if as_json:
        print_json(document_of(each) for each in found)
        return
    head = ("name", "galaxies", "from", "who", "when")
    rows = ((s.name, str(s.n), str(s.source["kind"]), s.actor, f"{s.created_at:%Y-%m-%d %H:%M}") for s in found)
    print_table(rows, head=head, right={1})
    typer.echo(f"{budget.left} of {budget.votes} votes are left to ask for in the next cycle")


@selections.command("show")
def show_selection(name: Name, campaign: CampaignName, workdir: Workdir = None) -> None:
    """Print a selection's galaxies, an id a line, in order."""
    use(workdir)
    with opened() as factory:
        _, galaxy_ids = factory.selections.get(campaign, name)
    for galaxy_id in galaxy_ids:
        typer.echo(galaxy_id)


@selections.command("send")
def send_selection(
    name: Name,
    campaign: CampaignName,
    reason: Why,
    votes: Annotated[
        int | None,
        typer.Option("--votes", min=1, max=1000, help="Votes each is to have; the campaign's when left out."),
    ] = None,
    workdir: Workdir = None,
    as_json: AsJson = False,
) -> None:
    """Ask volunteers about a selection in the next cycle, as far as the operator's budget goes; says what was refused.

    The budget is acquisition.requested_share of a batch. Galaxies that volunteers know are asked for more votes, as by
    subject ask. Sent again, no galaxy is asked for twice.
    """
    use(workdir)
    with opened() as factory:
        sent = factory.selections.send(campaign, name, reason=reason, actor=f"{ACTOR} send", votes=votes)
    if as_json:
        print_json([{"requested": sent.requested, **document_of(sent)}])
    else:
        typer.echo(sent.text())


@selections.command("withdraw")
def withdraw_selection(name: Name, campaign: CampaignName, reason: Why, workdir: Workdir = None) -> None:
    """Take back what no cycle has drawn yet of a selection."""
    use(workdir)
    with opened() as factory:
        n = factory.selections.withdraw(campaign, name, reason=reason, actor=f"{ACTOR} withdraw")
    typer.echo(f"{n} requests were taken back")


@selections.command("delete")
def delete_selection(name: Name, campaign: CampaignName, workdir: Workdir = None) -> None:
    """Forget a selection; what was asked for stays so."""
    use(workdir)
    with opened() as factory:
        factory.selections.delete(campaign, name, actor=f"{ACTOR} delete")
    typer.echo(f"selection {name!r} is deleted")
