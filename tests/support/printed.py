"""Commands as the documents print them: found, spelled out, and checked against the real command line."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

import typer
from typer.core import TyperCommand, TyperGroup

from alservice.cli import app
from tests.support.shared import ROOT

WRAPPER = "deploy/with-venv"
"""What documents put before a command on a machine where nothing is set up; here everything is."""

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHELLS = {"bash", "sh", "shell", "console", ""}
_PLACEHOLDER = re.compile(r"[A-Z]+(?:[./:][A-Za-z]+)?")


def documents() -> dict[str, str]:
    """Return the text of every document that prints commands for people, by its path in the repository."""
    folders = (ROOT / "deploy" / "docs", ROOT / "deploy" / "decisions")
    paths = [
        ROOT / "README.md",
        *(ROOT / "alservice").glob("*/README.md"),
        *(ROOT / "deploy").glob("*.md"),
        *(p for folder in folders for p in folder.glob("*.md")),
    ]
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in sorted(paths)}


def block_commands(document: str) -> Iterator[str]:
    """Yield each command of a document's shell blocks on one line, without comment, wrapper and the `&` at its end."""
    for language, block in _FENCE.findall(document):
        if language not in _SHELLS:
            continue
        for line in re.sub(r"\\\n\s*", "", block).splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0] == WRAPPER:
                words = words[1:]
            if words and words[-1] == "&":
                words = words[:-1]
            if words:
                yield shlex.join(words)


def table_commands(document: str) -> Iterator[str]:
    """Yield each command of the tables whose first column is `command`, in the notation of the table."""
    for table in re.findall(r"^\| command \|.*\n\|[-| ]+\n((?:\|.*\n)+)", document, re.MULTILINE):
        for row in table.splitlines():
            first = re.split(r"(?<!\\)\|", row)[1].replace("\\|", "|")
            yield from re.findall(r"`([^`]+)`", first)


def mentions(document: str) -> Iterator[str]:
    """Yield each command of this program that a document's running text names, whole or in part."""
    for span in re.findall(r"`([^`\n]+)`", _FENCE.sub("", document)):
        if span.startswith("alservice "):
            yield span.replace("\\|", "|")


def spelled_out(printed: str, values: Mapping[str, str]) -> list[list[str]]:
    """Return the command lines that a printed one stands for: ``a|b`` one by one, ``[...]`` left out and taken.

    Raises
    ------
    KeyError
        A placeholder, a word in capitals, has no value.
    """
    found: list[list[str]] = []
    for text in (re.sub(r"\s*\[[^\]]*\]", "", printed), re.sub(r"[\[\]]", "", printed)):
        choices = [word.split("|") for word in shlex.split(text)]
        for words in itertools.product(*choices):
            line = [_valued(word.removesuffix("...").rstrip(","), values) for word in words]
            if line not in found:
                found.append(line)
    return found


def _valued(word: str, values: Mapping[str, str]) -> str:
    return values[word] if _PLACEHOLDER.fullmatch(word) else word


def command_of(words: Sequence[str], *, part: bool = False) -> TyperCommand | TyperGroup:
    """Return the command that words lead to, or, where a part is enough, a group of commands.

    Raises
    ------
    LookupError
        There is no such command.
    """
    command, rest = _reached(words)
    is_own = bool(rest) and set(rest) <= options_of(command)  # of the program itself, such as --version
    if isinstance(command, TyperGroup) and not is_own and (rest or not part):
        raise LookupError(f"no command is called {' '.join(words)}")
    return command


@cache
def _program() -> TyperCommand | TyperGroup:
    """Return the whole program, which takes a tenth of a second to put together."""
    return typer.main.get_command(app)


def _reached(words: Sequence[str]) -> tuple[TyperCommand | TyperGroup, list[str]]:
    command = _program()
    rest = list(words)
    while isinstance(command, TyperGroup) and rest and rest[0] in command.commands:
        command = command.commands[rest.pop(0)]
    return command, rest


def parse(words: Sequence[str]) -> None:
    """Check a command line, without the program's name, as the program does before anything else.

    It raises typer's error for an unknown option, a value of the wrong kind, and something needed that is missing.
    """
    command_of(words).make_context("alservice", _reached(words)[1])


def options_of(command: TyperCommand | TyperGroup) -> frozenset[str]:
    """Return every option that a command takes, as typed."""
    return frozenset(name for each in command.params for name in (*each.opts, *each.secondary_opts))
