"""Which feed a campaign's tallies come from, and how long it is kept who gave which vote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from alservice.checks import MAX_HOURS
from alservice.errors import BadConfig
from alservice.votes.decoding import version_key


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestPolicy:
    """Where tallies come from, and how long it is kept who gave which vote.

    Parameters
    ----------
    tallies_from
        ``classifications``, or ``reductions`` that Caesar sends; the other feed is compared and never added.
    reducers
        Caesar reducer keys that count; empty for all.
    reductions_since
        First workflow version whose classifications the reducers see; None for every known one.
    retention_days
        Days after which user hash and session of a classification are forgotten; None keeps them.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    tallies_from: Literal["classifications", "reductions"] = "classifications"
    reducers: tuple[str, ...] = ()
    reductions_since: str | None = None
    retention_days: float | None = None

    def __post_init__(self) -> None:
        since = self.reductions_since
        if since is not None and version_key(since) is None:
            raise BadConfig(f"ingest.reductions_since {since!r} is no workflow version")
        days = self.retention_days
        if days is not None and not 0 < days <= MAX_HOURS / 24:
            raise BadConfig(f"ingest.retention_days must be positive, at most {MAX_HOURS / 24:.0f}, not {days}")
