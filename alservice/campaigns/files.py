"""Files that people write: YAML of bounded size, depth and number of values, in UTF-8 and without aliases."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

from alservice.checks import MAX_DEPTH
from alservice.errors import BadInput
from alservice.files import read_regular

MAX_FILE_BYTES: Final = 1 << 20
MAX_EVENTS: Final = 20_000
"""Bounds of a file: a hundred times of what the longest needs."""


class NotYaml(ValueError):
    """A file does not hold the YAML that it should; the message says where."""


def read_text(path: Path) -> str:
    """Return the text of a small file.

    Raises
    ------
    BadInput
        It cannot be read, is longer than `MAX_FILE_BYTES`, or is not UTF-8.
    """
    data = read_regular(path, max_bytes=MAX_FILE_BYTES)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 text: byte {error.start} is {data[error.start]:#04x}; save it as UTF-8"
        raise BadInput(f"{path}: {what}", path=str(path)) from error


def yaml_of(text: str, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> Any:
    """Return what a YAML text holds.

    Raises
    ------
    BadInput
        It is nested too deep, holds too many values, or has an alias; nothing was built yet.
    NotYaml
        It is no YAML.
    """
    try:
        _refuse_bombs(text)
        return yaml.load(text, Loader=loader)  # noqa: S506 every loader here is a safe one
    except BadInput:
        raise
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise NotYaml(" ".join(str(error).split())) from error


def _refuse_bombs(text: str) -> None:
    """Raise `BadInput` for YAML that takes more to read than it says; nothing is built yet, and nothing is nested."""
    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise BadInput(f"it is nested more than {MAX_DEPTH} deep")
        if number > MAX_EVENTS:
            raise BadInput(f"it holds more than {MAX_EVENTS:,} values")
        if isinstance(event, yaml.AliasEvent):
            raise BadInput("it has an alias; write out what that stands for")
