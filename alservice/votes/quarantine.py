"""What waits to be understood: broken rows of files, and answers and reductions without a meaning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class RowFault:
    """A row of a file that cannot become a classification; nothing of what it says is kept, names may be in it.

    Parameters
    ----------
    row
        Number of the row in its file, 1 after the header.
    digest
        Digest of the row's bytes.
    classification_id
        Where it could be read.
    """

    row: int
    digest: str
    classification_id: int | None
    field: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class QuarantinedRow:
    """One row in quarantine: a classification with a reason, or a row of a file."""

    classification_id: int | None
    source: str
    row: int | None
    reason: str

    def document(self) -> dict[str, Any]:
        """Return the record as a JSON document."""
        return {
            "classification_id": self.classification_id,
            "source": self.source,
            "row": self.row,
            "reason": self.reason,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Quarantine:
    """Counts by reason, most frequent first, and the first rows.

    Parameters
    ----------
    reductions
        Reductions of Caesar's that cannot be counted, by reason; they are read anew whenever they are asked for.
    """

    reasons: Mapping[str, int]
    rows: Sequence[QuarantinedRow]
    reductions: Mapping[str, int] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return the record as a JSON document."""
        return {
            "reasons": dict(self.reasons),
            "reductions": dict(self.reductions),
            "rows": [row.document() for row in self.rows],
        }
