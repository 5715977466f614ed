"""Commands of votes: classifications in, tallies out, volunteers forgotten, subjects compared and asked again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from alservice.cli.shell import (
    EXIT_ERROR,
    AsJson,
    CampaignName,
    Workdir,
    opened,
    print_json,
    print_table,
    use,
)
from alservice.documents import document_of

if TYPE_CHECKING:
    from alservice.votes.counting import FeedComparison
    from alservice.votes.ingest import IngestReport
    from alservice.votes.service import TallyColumns


ingest = typer.Typer(help="Classifications in, and what their answers mean.", no_args_is_help=True)
quarantine = typer.Typer(help="What cannot be read yet.", no_args_is_help=True)
tallies = typer.Typer(help="Counted votes.", no_args_is_help=True)


@ingest.command("api")
def ingest_api(campaign: CampaignName, workdir: Workdir = None, as_json: AsJson = False) -> None:
    """Read the classifications that Zooniverse lists, from where the last reading ended."""
    use(workdir)
    with opened() as factory:
        _show_ingest(factory.votes.ingest_api(campaign), as_json)


@ingest.command("export")
def ingest_export(
    file: Annotated[Path, typer.Argument(help="Classification export (CSV, gzip or not).")],
    campaign: CampaignName,
    workdir: Workdir = None,
    as_json: AsJson = False,
) -> None:
    """Read an export file; every row lands, waits in quarantine or is excluded by name."""
    use(workdir)
    with opened() as factory:
        _show_ingest(factory.votes.ingest_export(campaign, file), as_json)


@ingest.command("workflows")
def ingest_workflows(
    file: Annotated[Path, typer.Argument(help="Workflows export (CSV) or workflow versions (JSON).")],
    campaign: CampaignName,
    workdir: Workdir = None,
) -> None:
    """Learn what each workflow version asked, and read the rows that waited for it."""
    use(workdir)
    with opened() as factory:
        versions, new, freed = factory.votes.ingest_workflows(campaign, file)
    typer.echo(f"{versions} workflow versions, {new} new; {freed} rows left quarantine")


@quarantine.command("list")
def list_quarantine(
    campaign: CampaignName,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Rows to list.")] = 20,
    workdir: Workdir = None,
    as_json: AsJson = False,
) -> None:
    """Show how many rows and reductions wait for which reason, and the first rows."""
    use(workdir)

    with opened() as factory:
        waiting = factory.votes.quarantined(campaign, limit=limit)
    if as_json:
        print_json([document_of(waiting)])
        return
    print_table((f"{n:>8}", reason) for reason, n in waiting.reasons.items())
    for row in waiting.rows:
        place = f"{row.source} row {row.row}" if row.row else row.source
        typer.echo(f"  classification {row.classification_id or '?'} ({place}): {row.reason}")
    print_table((f"{n:>8}", f"reduction: {reason}") for reason, n in waiting.reductions.items())
    if not waiting.reasons and not waiting.reductions:
        typer.echo("quarantine is empty")


@quarantine.command("replay")
def replay_quarantine(campaign: CampaignName, workdir: Workdir = None) -> None:
    """Read again what waited, with the versions and rules of now; every ingest does the same first.

    Reductions need no replay: they are read anew whenever they are counted or listed.
    """
    use(workdir)
    with opened() as factory:
        freed = factory.votes.replay_quarantine(campaign)
    typer.echo(f"{freed} rows left quarantine")


@tallies.command("export")
def export_tallies(
    campaign: CampaignName,
    out: Annotated[Path, typer.Option("--out", help="Table to write: .csv or .parquet.")],
    columns: Annotated[
        str, typer.Option("--columns", help="Names of columns: tree, or zoobot for those of galaxy-datasets.")
    ] = "tree",
    images: Annotated[
        str | None, typer.Option("--images", help="With zoobot: folder of the images ID.jpg, for column file_loc.")
    ] = None,
    workdir: Workdir = None,
) -> None:
    """Write votes per galaxy, question and answer."""
    use(workdir)
    with opened() as factory:
        galaxies, inconsistent = factory.votes.export_tallies(
            campaign, out, columns=cast("TallyColumns", columns), images=images
        )
    typer.echo(f"{out}: {galaxies} galaxies")
    if inconsistent:
        typer.echo(f"  {inconsistent} galaxies have more answers to a question than volunteers led to it", err=True)


@tallies.command("weights")
def weigh_votes(
    campaign: CampaignName,
    out: Annotated[Path, typer.Option("--out", help="Table to write: .csv or .parquet.")],
    workdir: Workdir = None,
    as_json: AsJson = False,
) -> None:
    """Write raw votes and votes weighted by volunteers' agreement, and say what depends on it.

    Training uses the raw votes.
    """
    use(workdir)

    with opened() as factory:
        found = factory.votes.export_weighted_tallies(campaign, out)
    if as_json:
        print_json([document_of(found)])
    else:
        typer.echo(f"{out}\n{found.text()}")


@tallies.command("recount")
def recount_tallies(campaign: CampaignName, workdir: Workdir = None) -> None:
    """Read, judge and count all classifications anew, under the campaign's rules of now."""
    use(workdir)
    with opened() as factory:
        typer.echo(f"{factory.votes.recount_tallies(campaign)} galaxies counted anew")


@tallies.command("compare")
def compare_tallies(campaign: CampaignName, workdir: Workdir = None, as_json: AsJson = False) -> None:
    """Compare the tallies of classifications with those of Caesar's reductions; fail when they differ."""
    use(workdir)

    with opened() as factory:
        found = factory.votes.compare_feeds(campaign)
    if as_json:
        print_json([found.document()])
    else:
        _show_comparison(found)
    if not found.is_equal:
        raise typer.Exit(EXIT_ERROR)


@tallies.command("faults")
def list_tally_faults(campaign: CampaignName, workdir: Workdir = None, as_json: AsJson = False) -> None:
    """List galaxies whose votes no walks through the tree give, and the questions at fault."""
    use(workdir)

    with opened() as factory:
        found = factory.votes.tally_faults(campaign)
    if as_json:
        print_json({"galaxy_id": galaxy, "questions": list(questions)} for galaxy, questions in found.items())
        return
    for galaxy, questions in found.items():
        typer.echo(f"{galaxy}: {', '.join(questions)}")
    if not found:
        typer.echo("every galaxy's votes fit the tree")


def _show_comparison(found: FeedComparison) -> None:
    for each in found.differences:
        both = f"classifications {_votes(each.classifications)}, reductions {_votes(each.reductions)}"
        typer.echo(f"{each.galaxy_id} {each.question}: {both}")
    for question, (ours, theirs) in found.totals.items():
        typer.echo(f"total {question}: {ours} by classifications, {theirs} by reductions")
    for reason, n in found.unread.items():
        typer.echo(f"{n} reductions not counted: {reason}")
    typer.echo(f"{len(found.differences)} differences in {found.galaxies} galaxies; {found.counts_from} count")


def _votes(counts: Sequence[int]) -> str:
    return f"{'+'.join(map(str, counts))}={sum(counts)}"


def _show_ingest(report: IngestReport, as_json: bool) -> None:
    if as_json:
        print_json([document_of(report)])
    else:
        typer.echo(report.text())


Everywhere = Annotated[bool, typer.Option("--all", help="Every campaign.")]
SomeCampaign = Annotated[str | None, typer.Option("--campaign", help="Name of the campaign.")]


def forget_user(
    campaign: SomeCampaign = None,
    everywhere: Everywhere = False,
    user_id: Annotated[int | None, typer.Option("--user-id", min=1, help="Zooniverse user id.")] = None,
    user_hash: Annotated[str | None, typer.Option("--user-hash", help="Pseudonym, where the id is not known.")] = None,
    workdir: Workdir = None,
) -> None:
    """Make a person's classifications anonymous; votes and verdicts stay."""
    _one_of(campaign, everywhere)
    if (user_id is None) == (user_hash is None):
        raise typer.BadParameter("give either --user-id or --user-hash")
    use(workdir)

    with opened() as factory:
        known = user_hash if user_id is None else factory.votes.hash_of_user(user_id)
        _show_forgotten(factory.votes.forget_user(campaign, str(known), actor="alservice forget-user"))


def forget_expired(campaign: SomeCampaign = None, everywhere: Everywhere = False, workdir: Workdir = None) -> None:
    """Make classifications anonymous that are older than `ingest.retention_days` of their campaign."""
    _one_of(campaign, everywhere)
    use(workdir)

    with opened() as factory:
        _show_forgotten(factory.votes.forget_expired(campaign, actor="alservice forget-expired"))


def _one_of(campaign: str | None, everywhere: bool) -> None:
    if (campaign is None) != everywhere:
        raise typer.BadParameter("give either --campaign or --all")


def _show_forgotten(forgotten: Mapping[str, int]) -> None:
    for name, n in forgotten.items():
        typer.echo(f"{name}: {n} classifications are anonymous now")


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

    with opened() as factory, factory.sites.opened(campaign):
        outcomes = factory.subjects.reconcile(campaign, repair=repair, actor="alservice reconcile")
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
        changed = factory.subjects.ask_votes(campaign, galaxies, votes, reason=reason, actor="alservice subject ask")
    typer.echo(f"{len(changed)} of {len(galaxies)} galaxies are asked for {votes} votes now")
