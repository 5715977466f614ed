"""Commands of question trees: show one, validate a file, make one from a workflow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alservice.cli.shell import AsJson, Workdir, opened, print_json, print_table, use
from alservice.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alservice.campaigns.workflow_trees import WorkflowTree
    from alservice.science.tree import Tree
    from alservice.zooniverse.workflow import Workflow

trees = typer.Typer(help="Question trees.", no_args_is_help=True)

SHOWN = 20
"""Versions with faults that are printed."""


@trees.command("show")
def show(
    tree: Annotated[str, typer.Argument(help="Name of a packaged tree, or a file (.yaml, .json).")],
    as_json: AsJson = False,
) -> None:
    """Show a tree: its questions, after which answers each is asked, and its answers as columns of votes name them.

    With --json it is the document of a tree file, to begin one's own with.
    """
    use(None)
    from alservice.campaigns.trees import load_tree
    from alservice.science.tree import tree_document

    found = load_tree(tree)
    if as_json:
        print_json([tree_document(found)])
        return
    typer.echo(_line(found))
    print_table(
        [
            (
                question.task,
                question.name,
                ", ".join(question.parents) or "everyone",
                ", ".join(question.answers),
                question.text if question.choice is None else f"{question.text} [{question.choice}]",
            )
            for question in found.questions
        ],
        head=("task", "question", "asked after", "answers", "text"),
    )


@trees.command("validate")
def validate(file: Annotated[Path, typer.Argument(help="Tree file (.yaml, .json).")]) -> None:
    """Check a tree file, and whether a Zooniverse workflow can ask it."""
    use(None)
    from alservice.campaigns.trees import read_tree
    from alservice.zooniverse.workflow import WorkflowMismatch, tasks_of

    found = read_tree(file)
    typer.echo(f"{file}: {_line(found)}")
    try:
        tasks = tasks_of(found)
    except WorkflowMismatch as error:
        typer.echo(f"no workflow can ask it, only files can be learned from: {error.message}", err=True)
    else:
        typer.echo(f"a workflow of {len(tasks)} task{'s' if len(tasks) > 1 else ''} asks it")


@trees.command("from-workflow")
def from_workflow(
    out: Annotated[Path, typer.Option("--out", help="Tree file to write (.yaml); it must not be there.")],
    file: Annotated[
        Path | None, typer.Argument(help="Workflows export (CSV), or a workflow as Zooniverse's API serves it.")
    ] = None,
    campaign: Annotated[
        str | None, typer.Option("--campaign", help="In place of a file: ask the Zooniverse of this campaign.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the tree [that of the file].")] = None,
    workflow: Annotated[
        int | None, typer.Option("--workflow", min=1, help="Id [the only one; the campaign's].")
    ] = None,
    version: Annotated[str | None, typer.Option("--version", help="Such as 28.30 [the newest].")] = None,
    leave_out: Annotated[
        list[str] | None, typer.Option("--leave-out", help="Task that is no question; may be repeated.")
    ] = None,
    workdir: Workdir = None,
) -> None:
    """Make a tree file from a Zooniverse workflow: its tasks, their answers, and which task follows which answer.

    Tasks of one answer become questions, each box of a task with several answers a question of yes and no. Tasks in
    which people draw, write, slide or mark species are refused by name, or left out. Names are made of what volunteers
    read: change them in the file as you like.
    """
    use(workdir)
    from alservice.campaigns.trees import save_tree, slug
    from alservice.campaigns.workflow_trees import tree_of_workflow
    from alservice.votes.decoding import choose_workflow, read_definitions

    if campaign is not None and file is None:
        versions = choose_workflow([_live(campaign, workflow)], workflow, version, where=f"campaign {campaign}")
    elif campaign is None and file is not None:
        versions = choose_workflow(read_definitions(file), workflow, version, where=file.name)
    else:
        raise BadInput("name a file with the workflow, or with --campaign whose Zooniverse has it")
    made = tree_of_workflow(versions[0], name=name or slug(out.stem) or "tree", leave_out=leave_out or ())
    save_tree(made.tree, out, notes=made.notes)
    typer.echo(f"{out}: {_line(made.tree)}, of version {versions[0].version} of workflow {versions[0].workflow_id}")
    _say_left_out(made)
    _say_versions(made, versions[1:])


def _live(campaign: str, workflow: int | None) -> Workflow:
    """Return a workflow as it is now."""
    with opened() as factory, factory.sites.opened(campaign):
        return factory.subjects.workflow(factory.campaigns.get(campaign).settings, workflow)


def _say_left_out(made: WorkflowTree) -> None:
    for note in made.notes:
        typer.echo(f"  {note}")
    if made.left_out:
        typer.echo("a campaign's file then needs")
        typer.echo("  decoding:")
        for key in made.left_out:
            typer.echo(f"    - {{task: {key}, ignored: true}}")


def _say_versions(made: WorkflowTree, others: Sequence[Workflow]) -> None:
    """Say which other versions the tree reads as they are, and what stands in the way of the rest."""
    from alservice.campaigns.policies import LabelRule
    from alservice.votes.decoding import read_version

    rules = [LabelRule(task=key, ignored=True) for key in made.left_out]
    faults = {each.version: read_version(made.tree, each.plain(), rules).unread for each in others}
    if not others:
        return
    unread = {each: list(found.values()) for each, found in faults.items() if found}
    typer.echo(f"of {len(others)} other versions in the file {len(others) - len(unread)} are read with it as they are")
    for found in list(unread.values())[:SHOWN]:
        more = f", and {len(found) - 1} more of its tasks" if len(found) > 1 else ""
        typer.echo(f"  {found[0]}{more}")
    if unread:
        typer.echo("classifications of these wait in quarantine until `decoding` says what their labels mean")


def _line(tree: Tree) -> str:
    questions = "1 question" if tree.n_questions == 1 else f"{tree.n_questions} questions"
    return f"tree {tree.name}: {questions}, {tree.n_answers} answers, hash {tree.hash[:16]}"
