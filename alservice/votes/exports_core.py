"""Export files as wholes: one that Zooniverse throttled looks like a good one, and is an old one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportReceipt:
    """One export file that was read to its end.

    Parameters
    ----------
    digest
        sha256 of the file's bytes.
    n_rows
        Rows of the campaign's workflow, broken ones included.
    newest_id, newest_at
        The highest classification id among them, and when it was created; None for a file without any.
    """

    name: str
    digest: str
    n_rows: int
    newest_id: int | None
    newest_at: datetime | None


def suspicions(export: ExportReceipt, earlier: Sequence[ExportReceipt], n_newer: int) -> tuple[str, ...]:
    """Return what is wrong with an export as a whole, each with its name first: repeat, stale or shrunk.

    A request within a day of the last is cancelled after it was accepted, and the old file is served again.

    Parameters
    ----------
    earlier
        Exports read before, in any order.
    n_newer
        Classifications known from elsewhere with ids above the export's newest.
    """
    found = []
    same = next((other for other in earlier if other.digest == export.digest), None)
    if same is not None:
        found.append(f"repeat: {export.name} has the bytes of {same.name}, which was read before")
    if n_newer and export.newest_at is not None:
        found.append(
            f"stale: {export.name} ends with classification {export.newest_id} of {export.newest_at:%Y-%m-%d %H:%M} "
            f"UTC; {n_newer} later ones are known already"
        )
    largest = max(earlier, key=lambda other: other.n_rows, default=None)
    if largest is not None and largest.n_rows > export.n_rows:
        found.append(f"shrunk: {export.name} has {export.n_rows} rows, {largest.name} had {largest.n_rows}")
    return tuple(found)
