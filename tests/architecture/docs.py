"""What documents take from the code: commands, campaign files, settings, alarms, the loop's diagram, the import layers.

``python -m tests.architecture.docs`` names the documents that differ from the code; with ``--write`` it writes them. What
stands outside the marks is written by hand and stays.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import tomllib
import types
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import typer
from pydantic import SecretStr
from typer.core import TyperGroup

from alservice.campaigns.campaign import Campaign
from alservice.campaigns.cycle import CycleState
from alservice.cli import app
from alservice.cycle.steps import STEPS, cycle_diagram
from alservice.ops.alarms import ALARMS, TARGETS
from alservice.ops.metrics import FAILED_LONGEST, PERSON_LONGEST
from alservice.science.tree import Tree
from alservice.settings import Settings
from tests.support.shared import ROOT

BEGIN: Final = "<!-- made from the code: python -m tests.architecture.docs --write -->\n"
END: Final = "<!-- end -->\n"


def commands() -> str:
    """Return every command with its arguments and options."""
    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)
    return "\n\n".join(_command(path, command) for path, command in leaves(root, ("alservice",)))


def leaves(group: TyperGroup, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each command below a group with the words that lead to it, in the order of ``--help``."""
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name), command


def _command(path: tuple[str, ...], command: Any) -> str:
    words = " ".join(path)
    context = typer.Context(command, info_name=words)
    taken = [p for p in command.get_params(context) if "--help" not in p.opts]
    records = {p: _shown(p.get_help_record(context)) for p in taken}
    needed = [shown for p, (shown, _) in records.items() if p.required]
    optional = ["[options]"] if len(needed) < len(taken) else []
    rows = [f"| `{_cell(shown)}` | {_cell(meaning)} |" for shown, meaning in records.values()]
    table = ["", "| option | meaning |", "|---|---|", *rows] if rows else []
    paragraphs = [" ".join(part.split()) for part in inspect.cleandoc(command.help or "").split("\n\n")]
    usage = " ".join([words, *needed, *optional])
    return "\n".join([f"### {words}", "", f"`{usage}`", "", "\n\n".join(map(_plain, paragraphs)), *table])


VALUES: Final = {
    "int range": "N",
    "int": "N",
    "float range": "X",
    "float": "X",
    "path": "PATH",
    "file": "PATH",
    "str": "TEXT",
}
"""What stands for a value of each kind that help names."""


def _shown(record: tuple[str, str]) -> tuple[str, str]:
    """Return an option or argument as it is typed, with what stands for its value, and its meaning."""
    typed, meaning = record
    name, _, kind = typed.partition(" ")
    kind = kind.strip("<>")
    inner = re.fullmatch(r"list\[(.*)\]", kind)
    kind = kind if inner is None else inner[1].lower()
    if not name.startswith("-"):
        return name.upper(), meaning
    return f"{name} {VALUES.get(kind, kind)}".strip(), meaning


def campaign() -> str:
    """Return every field of a campaign file, section by section."""
    return "\n\n".join(_section(name, record) for name, record in sections(Campaign, ""))


def sections(record: type, path: str) -> Iterator[tuple[str, type]]:
    """Yield a record and the records of its fields, each with the path of its fields in the file."""
    yield path, record
    hints = get_type_hints(record)
    for each in dataclasses.fields(record):
        for part in _parts(hints[each.name]):
            if dataclasses.is_dataclass(part) and part is not Tree:  # which has a file of its own
                yield from sections(part, f"{path}.{each.name}".strip("."))


def _parts(hint: Any) -> Iterator[type]:
    """Yield a type and the types inside it."""
    for inner in get_args(hint):
        yield from _parts(inner)
    if isinstance(hint, type):
        yield hint


def _section(path: str, record: type) -> str:
    text, meanings = documented(record)
    hints = get_type_hints(record)
    rows = [
        f"| `{each.name}` | {_cell(_type(hints[each.name]))} | {_cell(_default(each))} "
        f"| {_cell(' '.join([_plain(meanings[each.name]), *_leads_to(path, each.name, hints[each.name])]))} |"
        for each in dataclasses.fields(record)
    ]
    title = f"## `{path}:`" if path else "## Top of the file"
    return "\n".join([title, "", _plain(text), "", "| field | value | default | meaning |", "|---|---|---|---|", *rows])


def documented(record: type) -> tuple[str, dict[str, str]]:
    """Return what a record's docstring says of it, and of each of its fields."""
    head, _, rest = inspect.cleandoc(record.__doc__ or "").partition("\nParameters\n----------\n")
    meanings: dict[str, str] = {}
    for names, lines in re.findall(r"^(\w[\w, ]*)\n((?:[ ]+.*\n?|\n)+)", rest, re.MULTILINE):
        for name in names.split(", "):
            meanings[name] = " ".join(lines.split())
    return " ".join(head.split()), meanings


def _leads_to(path: str, name: str, hint: Any) -> list[str]:
    """Return the link of a field that is a section of its own, or a list of such; none for another."""
    if not any(dataclasses.is_dataclass(part) and part is not Tree for part in _parts(hint)):
        return []
    full = f"{path}.{name}".strip(".")
    return [f"[More](#{full.replace('.', '')})"]


def _type(hint: Any) -> str:
    """Return what may stand in a file for a type."""
    origin, inner = get_origin(hint), get_args(hint)
    if Tree in inner:
        return "text"
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin in {Union, types.UnionType}:
        return " or ".join(_type(each) for each in inner if each is not type(None))
    if origin is tuple:
        return f"list of {_type(inner[0])}" + ("s" if dataclasses.is_dataclass(inner[0]) else "")
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"mapping of {_type(inner[0])} to {_type(inner[1])}"
    if dataclasses.is_dataclass(hint):
        return "section"
    return {str: "text", int: "whole number", float: "number", bool: "true or false"}[hint]


def _default(each: dataclasses.Field[Any]) -> str:
    if each.default is not dataclasses.MISSING:
        return "-" if each.default in (None, ()) else f"`{_written(each.default)}`"
    return "needed" if each.default_factory is dataclasses.MISSING else "-"


def _written(value: object) -> str:
    """Return a value as YAML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_written, value)) + "]"
    return f'"{value}"' if " " in str(value) else str(value)


def settings() -> str:
    """Return every environment variable that the program reads."""
    rows = [
        f"| `ALSERVICE_{name.upper()}` | {_cell(_setting(each))} | {_cell(each.description or '')} |"
        for name, each in Settings.model_fields.items()
    ]
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows])


def _setting(each: Any) -> str:
    if each.default in (None, "", ()):
        return "-" if SecretStr not in get_args(each.annotation) else "- (secret)"
    return f"`{each.default}`"


def _plain(text: str) -> str:
    """Return a docstring's text as Markdown."""
    return text.replace("``", "`")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("  ", " ")


def loop() -> str:
    """Return the diagram of a cycle, made from its table of steps."""
    return f"```mermaid\n{cycle_diagram()}\n```"


def alarms() -> str:
    """Return every alarm under a heading of its own, and how long each state of a cycle may last."""
    shown = {TARGETS: "Prometheus' targets"}
    sections = [
        f"### {alarm.name}\n\n`{alarm.severity}`, shown on {shown.get(alarm.page) or _page(alarm.page)}. {alarm.means}\n\n"
        f"**Costs.** {alarm.costs}\n\n**Do.** {alarm.do}"
        for alarm in ALARMS.values()
    ]
    waits = {CycleState.COLLECTING: " after its deadline", CycleState.HELD: " after `hold_hours`"}
    bounds = {str(step.state): f"{_hours(step.longest)}{waits.get(step.state, '')}" for step in STEPS}
    bounds |= {"failed": _hours(FAILED_LONGEST), "cancelled": _hours(PERSON_LONGEST), "paused": _hours(PERSON_LONGEST)}
    rows = [f"| {state} | {bound} |" for state, bound in bounds.items()]
    table = "\n".join(["| state | longest before `Stuck` |", "|---|---|", *rows])
    return "\n\n".join([*sections, "### How long a state may last", table])


def _page(path: str) -> str:
    name = {"": "the campaign's first page"}.get(path) or f"the campaign's page `{path}`"
    return f"the dashboard's `{path}`" if path.startswith("/") else name


def _hours(span: timedelta) -> str:
    hours = int(span.total_seconds() // 3600)
    return f"{hours} h" if hours < 72 else f"{hours // 24} days"


def layers() -> str:
    """Return the packages in the order of imports, each above all that it may import."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = project["tool"]["importlinter"]["contracts"][0]
    return "\n".join(["```text", *contract["layers"], "```"])


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "README.md": loop,
    "deploy/runbook.md": alarms,
    "deploy/docs/architecture.md": layers,
    "deploy/docs/campaign.md": campaign,
    "deploy/docs/commands.md": commands,
    "deploy/docs/settings.md": settings,
}


def written(path: str) -> str:
    """Return a document as the code would have it: its own words, and what is made between the marks.

    Raises
    ------
    LookupError
        The document has no such marks.
    """
    head, begins, rest = (ROOT / path).read_text(encoding="utf-8").partition(BEGIN)
    _, ends, tail = rest.partition(END)
    if not begins or not ends:
        raise LookupError(f"{path} lacks the lines {BEGIN.strip()!r} and {END.strip()!r}")
    return f"{head}{BEGIN}\n{PAGES[path]()}\n\n{END}{tail}"


def stale() -> list[str]:
    """Return the documents that differ from the code."""
    return [path for path in PAGES if (ROOT / path).read_text(encoding="utf-8") != written(path)]


def main() -> None:
    """Name the documents that differ from the code, or write them."""
    paths = stale()
    if "--write" in sys.argv[1:]:
        for path in paths:
            (ROOT / path).write_text(written(path), encoding="utf-8")
    sys.stdout.write("".join(f"{path}\n" for path in paths))
    sys.exit(1 if paths and "--write" not in sys.argv[1:] else 0)


if __name__ == "__main__":
    main()
