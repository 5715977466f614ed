"""Exports as wholes: what each held, and whether it can be the newest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from alservice.votes.classification import RawClassification
from alservice.votes.exports_core import ExportReceipt, suspicions
from alservice.votes.ingest import ExportBatch, ExportStore
from alservice.votes.service import IngestReport


@dataclass(kw_only=True, slots=True)
class ExportWatch:
    """Counts the rows of one file as they pass."""

    batches: Iterator[ExportBatch]
    _n_rows: int = field(default=0, init=False)
    _newest: RawClassification | None = field(default=None, init=False)

    def __iter__(self) -> Iterator[ExportBatch]:
        """Yield the batches."""
        for batch in self.batches:
            self._n_rows += len(batch.rows) + len(batch.faults)
            rows = batch.rows if self._newest is None else (*batch.rows, self._newest)
            self._newest = max(rows, key=_id_of, default=None)
            yield batch

    def receipt(self, name: str, digest: str) -> ExportReceipt:
        """Return what the file held, once it was read to its end."""
        newest = self._newest
        return ExportReceipt(
            name=name,
            digest=digest,
            n_rows=self._n_rows,
            newest_id=None if newest is None else newest.classification_id,
            newest_at=None if newest is None else newest.created_at,
        )


@dataclass(frozen=True, kw_only=True)
class JudgeExport:
    """Say whether a file that was read can be the newest, and remember it."""

    exports: ExportStore

    def run(self, campaign_id: int, export: ExportReceipt, report: IngestReport) -> IngestReport:
        """Return the report with what is suspicious about the file; its rows are in, and old rows do no harm."""
        newer = 0 if export.newest_id is None else self.exports.newer(campaign_id, export.newest_id)
        warnings = suspicions(export, self.exports.list(campaign_id), newer)
        self.exports.save(campaign_id, export)
        return replace(report, warnings=(*report.warnings, *warnings))


def _id_of(row: RawClassification) -> int:
    return row.classification_id
