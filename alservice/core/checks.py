"""What can be recorded at all, and what the records of a campaign's decisions share: a legal range or no record."""

from __future__ import annotations

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


def require(ok: bool, message: str) -> None:
    """Raise `BadConfig` with a message that names the field, unless all is well."""
    if not ok:
        raise BadConfig(message)
