"""What can be recorded at all, and what the records of a campaign's decisions share: a legal range or no record."""

from __future__ import annotations

import math
from typing import Any, Final

from alservice.errors import BadConfig

STRICT: Final[dict[str, Any]] = {"extra": "forbid"}
"""Configuration of validation at the edge: a field that no record knows is a mistake, not a remark."""


MAX_COUNT: Final = 2**31 - 1
"""Largest number of an integer column: votes, galaxies, rows."""

MAX_ID: Final = 2**63 - 1
"""Largest number of a bigint column: ids of other systems, seeds."""


def is_storable(text: str) -> bool:
    """Tell whether a database can hold a text: no NUL, and no half of a surrogate pair, which is no character."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def storable(text: str, *, max_chars: int) -> str:
    """Return a text for a record: what a database cannot hold is written as an escape, and a long one is cut."""
    cut = text if len(text) <= max_chars else f"{text[:max_chars]}..."
    return cut if is_storable(cut) else cut.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


MAX_DEPTH: Final = 32
"""Deepest document that is kept: answers to a question have three levels, and every reader of more needs a stack."""


def is_shallow(document: object, depth: int = MAX_DEPTH) -> bool:
    """Tell whether a JSON document is nested no deeper than it is read."""
    if isinstance(document, dict):
        return depth > 0 and all(is_shallow(inner, depth - 1) for inner in document.values())
    if isinstance(document, list | tuple):
        return depth > 0 and all(is_shallow(inner, depth - 1) for inner in document)
    return True


MAX_TEXT_CHARS: Final = 1000
"""Longest text of a campaign's decisions."""

MAX_HOURS: Final = 10 * 366 * 24.0
"""Longest that a decision can make anybody wait: ten years, which every calendar can add."""


def require_recordable(value: object, field: str = "") -> None:
    """Raise `BadConfig`, naming the field, unless a document can be recorded as it is.

    Numbers are finite and fit a bigint; texts, names of fields included, are short and hold no NUL.
    """
    if isinstance(value, dict):
        for name, inner in value.items():
            require_recordable(str(name), field or str(name)[:40])
            require_recordable(inner, f"{field}.{name}" if field else str(name))
    elif isinstance(value, list | tuple):
        for inner in value:
            require_recordable(inner, field)
    elif isinstance(value, str):
        require(len(value) <= MAX_TEXT_CHARS, f"{field} has more than {MAX_TEXT_CHARS} characters")
        require(is_storable(value), f"{field} holds a NUL, or half of a character")
    elif isinstance(value, int):
        require(-MAX_ID <= value <= MAX_ID, f"{field} is a number of more than 63 bits")
    elif isinstance(value, float):
        require(math.isfinite(value), f"{field} must be finite, not {value}")


def require(ok: bool, message: str) -> None:
    """Raise `BadConfig` with a message that names the field, unless all is well."""
    if not ok:
        raise BadConfig(message)
