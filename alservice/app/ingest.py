"""Files of classifications in, by a campaign's name: all that millions of rows need, and nothing that they do not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from alservice.app.stores import Stores
from alservice.constants import CLOCK_SLACK
from alservice.science.tree import load_tree
from alservice.votes.decoding import read_workflows
from alservice.votes.exports import ExportFile, read_export
from alservice.votes.service import ExportWatch, Ingest, IngestReport, JudgeExport


@dataclass(frozen=True, kw_only=True)
class IngestFactory(Stores):
    """The stores, with the jobs that read files; a test holds that they load neither torch nor pages."""

    def ingest(self) -> Ingest:
        """Files -> tallies."""
        return Ingest(
            classifications=self.classifications,
            workflows=self.workflows,
            ledger=self.ledger,
            clock=self.clock,
            progress=self.progress,
        )

    def ingest_export(self, name: str, path: Path) -> IngestReport:
        """Read an export file into a campaign."""
        row = self.campaigns.get(name)
        export = ExportFile(
            path=path,
            workflow_ids=row.campaign.zooniverse.workflow_ids,
            user_hash_key=self.user_hash_key(),
            latest=self.clock() + CLOCK_SLACK,
        )
        watch = ExportWatch(batches=read_export(export))
        with ThreadPoolExecutor(1) as pool:
            digest = pool.submit(export.digest)  # beside the landing, which leaves time: it waits for Postgres
            report = self.ingest().export(row, load_tree(row.campaign.tree), watch, name=path.name)
        return JudgeExport(exports=self.exports).run(row.id, watch.receipt(path.name, digest.result()), report)

    def ingest_workflows(self, name: str, path: Path) -> tuple[int, int, int]:
        """Learn the workflow versions of a file; return those in it, new ones, and rows that waited for them."""
        row = self.campaigns.get(name)
        versions = read_workflows(path)
        new, freed = self.ingest().learn(row, load_tree(row.campaign.tree), versions, source=path.name)
        return len(versions), new, freed

    def replay_quarantine(self, name: str) -> int:
        """Read again what waited for a meaning; return how many rows have one now."""
        row = self.campaigns.get(name)
        return self.ingest().replay(row, load_tree(row.campaign.tree))

    def recount_tallies(self, name: str) -> int:
        """Judge and count every galaxy of a campaign anew; return how many."""
        row = self.campaigns.get(name)
        return self.ingest().recount(row, load_tree(row.campaign.tree))
