"""Parts that all commands share: options, settings of the process, tables, errors as one line with a remedy."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING
from functools import wraps
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from alservice.checks import MAX_ID, is_storable
from alservice.errors import AlserviceError, BadInput
from alservice.options import OptionField, option_fields

if TYPE_CHECKING:
    from alservice.app import App
    from alservice.catalogue.files import ReadAs
    from alservice.catalogue.understood import Understood


EXIT_ERROR = 1
EXIT_INTERRUPTED = 130

ENDLESS = 100_000
"""Columns of a line that nothing wraps: what reads a pipe wants rows."""


Column = Annotated[
    list[str] | None,
    typer.Option("--column", help="What a column of another name is: id=, image=, ra= or dec=NAME; may be repeated."),
]
Images = Annotated[
    Path | None, typer.Option("--images", help="Folder of images: files named ID.jpg, or as FOLDER/{id}.png says.")
]
VotesAre = Annotated[
    Literal["counts", "fractions"] | None,
    typer.Option("--votes-are", help="What votes are; told by the numbers if not given."),
]


def read_as(column: list[str] | None, votes_are: Literal["counts", "fractions"] | None = None) -> ReadAs:
    """Return what was said of a table."""
    from alservice.catalogue.files import ReadAs

    return ReadAs.of([name for names in column or () for name in names.split(",")], votes_are)


def say_understood(understood: Understood) -> None:
    """Tell how a table was read."""
    for line in understood.lines():
        typer.echo(line, err=True)


class OneLineErrors(TyperGroup):
    """Shows errors raised on purpose as one line with a remedy; anything else is a bug and keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; turn typed errors and Ctrl-C into exit codes."""
        try:
            _bound_numbers(self)
            _refuse_bytes(sys.argv[1:])
            return super().invoke(ctx)
        except AlserviceError as error:
            typer.echo(f"error: {error}", err=True)
            if error.remedy != AlserviceError.remedy:
                typer.echo(f"       {error.remedy}", err=True)
            raise typer.Exit(EXIT_ERROR) from None
        except BaseException as error:
            if not _was_interrupted(error):
                raise
            typer.echo("interrupted: nothing is lost; the same command goes on from here", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None


def _refuse_bytes(arguments: Iterable[str]) -> None:
    """Raise `BadInput` for an argument that is not UTF-8: names and paths are recorded, and bytes cannot be."""
    for place, argument in enumerate(arguments, start=1):
        if not is_storable(argument):
            shown = argument[:40].encode("utf-8", "backslashreplace").decode()
            raise BadInput(f"argument {place}, '{shown}', is not UTF-8")


def _bound_numbers(command: Any) -> None:
    """Let every number of a command, and of those below it, be one that can be stored: 63 bits, and finite."""
    for option in command.params:
        option.callback = _bounded(option.callback)
    for below in getattr(command, "commands", {}).values():
        _bound_numbers(below)


def _bounded(callback: Callable[..., Any] | None) -> Callable[..., Any]:
    """Return what an option's value goes through: the check first."""

    def check(ctx: Any, option: Any, value: Any) -> Any:
        for number in value if isinstance(value, list | tuple) else (value,):
            if isinstance(number, int | float) and not abs(number) <= MAX_ID:
                raise BadInput(f"{option.opts[0]}: {str(number)[:40]} is no number that can be used")
        return value if callback is None else callback(ctx, option, value)

    return check


def _was_interrupted(error: BaseException | None) -> bool:
    """Tell whether Ctrl-C or SIGTERM began it: on the way out, Prefect's dying server adds errors of its own."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "TerminationSignal":
            return True
        error = error.__context__
    return False


Workdir = Annotated[
    Path | None,
    typer.Option("--workdir", help="Folder of everything that is kept [ALSERVICE_WORKDIR; default alservice-work]."),
]
CampaignName = Annotated[str, typer.Option("--campaign", help="Name of the campaign.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON lines on standard output, and nothing else there.")]


def use(workdir: Path | None, *, prefect: bool = False, count_repeats: bool = False) -> None:
    """Fix the settings of this process before anything reads them; one that serves counts warnings that repeat."""
    from alservice.settings import load_settings
    from alservice.telemetry import configure_logging

    configure_logging(form=load_settings().log_format, count_repeats=count_repeats)
    if workdir is not None:
        os.environ["ALSERVICE_WORKDIR"] = str(workdir.expanduser().resolve())
    if prefect:
        from alservice.ops.machine import prefect_environment

        for name, value in prefect_environment().items():
            os.environ.setdefault(name, value)


@contextmanager
def opened() -> Iterator[App]:
    """Open what the settings name, for as long as a command runs."""
    from alservice.app import open_app

    with open_app() as factory:
        yield factory


def print_table(
    rows: Iterable[Sequence[str]], *, head: Sequence[str] = (), title: str = "", right: Container[int] = ()
) -> None:
    """Print a table: ruled and within the width at a terminal; elsewhere plain lines, columns two spaces apart.

    Parameters
    ----------
    right
        Places of the columns whose cells stand to the right, such as numbers.
    """
    from rich.box import SIMPLE_HEAD, Box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [list(map(Text, row)) for row in rows]
    if not cells:
        return
    at_terminal = sys.stdout.isatty()
    plain = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
    table = Table(
        box=SIMPLE_HEAD if at_terminal else plain,
        show_header=bool(head),
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for place, name in enumerate(head or ("",) * len(cells[0])):
        justify: Literal["left", "right"] = "right" if place in right else "left"
        table.add_column(Text(name), justify=justify, no_wrap=not at_terminal, overflow="fold")
    for row in cells:
        table.add_row(*row)
    if title:
        typer.echo(title)
    if at_terminal:
        Console().print(table)
        return
    written = StringIO()
    Console(file=written, width=ENDLESS, color_system=None).print(table)
    for line in written.getvalue().splitlines():
        typer.echo(line.rstrip())


def print_json(documents: Iterable[dict[str, Any]]) -> None:
    """Print documents as JSON lines."""
    import json

    for document in documents:
        typer.echo(json.dumps(document, allow_nan=False))


def with_options(kind: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return what gives a command the options of a record: the command's first argument is the record, filled in.

    A field of several texts is one option, whose value has commas, and which may be repeated.
    """
    fields = list(option_fields(kind))

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(**given: Any) -> None:
            values = {field.name: _value(field, given.pop(field.name)) for field in fields}
            command(kind(**values), **given)

        _, *others = inspect.signature(command, eval_str=True).parameters.values()
        made = [_parameter(field) for field in fields] + [p.replace(kind=p.KEYWORD_ONLY) for p in others]
        filled: Any = run
        filled.__annotations__ = {parameter.name: parameter.annotation for parameter in made} | {"return": None}
        filled.__signature__ = inspect.Signature(made)
        return run

    return decorate


def _parameter(field: OptionField) -> inspect.Parameter:
    least, largest = field.option.range
    option = typer.Option(f"--{field.name.replace('_', '-')}", help=field.option.help, min=least, max=largest)
    several = field.type == tuple[str, ...]
    default = field.default
    if default is MISSING:
        default = inspect.Parameter.empty
    elif several:
        default = list(default)
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[list[str] if several else field.type, option],
    )


def _value(field: OptionField, given: Any) -> Any:
    if field.type != tuple[str, ...]:
        return given
    several = [given] if isinstance(given, str) else given
    return tuple(name.strip() for names in several for name in names.split(",") if name.strip())
