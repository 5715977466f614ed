"""What the records of a campaign's decisions share: no unknown fields, and a legal range or no record."""

from __future__ import annotations

from typing import Any, Final

from alservice.errors import BadConfig

STRICT: Final[dict[str, Any]] = {"extra": "forbid"}
"""Configuration of validation at the edge: a field that no record knows is a mistake, not a remark."""


def require(ok: bool, message: str) -> None:
    """Raise `BadConfig` with a message that names the field, unless all is well."""
    if not ok:
        raise BadConfig(message)
