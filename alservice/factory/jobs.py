"""What a person or a flow asks for by a campaign's name: each finds the campaign and calls one service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from alservice.adapters import images
from alservice.adapters.export_files import ExportFile
from alservice.adapters.export_process import read_export
from alservice.adapters.report import render_report
from alservice.adapters.tally_files import write_tallies
from alservice.adapters.workflow_files import read_workflows
from alservice.constants import CLOCK_SLACK
from alservice.core.cycle_table import CycleTable, CycleView
from alservice.core.cycles import Cycle
from alservice.core.tree import load_tree
from alservice.core.votes import inconsistent
from alservice.core.workflows import AnswerMap
from alservice.factory.wiring import Wiring
from alservice.services.gather_report import GatherReport
from alservice.services.ingest import IngestReport
from alservice.services.reconcile_campaign import Reconciled
from alservice.services.view_cycle import ViewCycle
from alservice.services.watch_exports import ExportWatch, JudgeExport


@dataclass(frozen=True, kw_only=True)
class Factory(Wiring):
    """The wiring, with the jobs that the command line and flows run by name."""

    def reconcile_campaign(self, name: str, *, repair: bool, actor: str) -> Sequence[Reconciled]:
        """Compare a campaign's ledger with Zooniverse, tier by tier; repair what a machine may when asked to."""
        row = self.campaigns.get(name)
        is_tiered = bool(row.campaign.zooniverse.tiers)
        return [
            self.reconcile(tier, votes if is_tiered else None, actor).run(replace(row, campaign=tier), repair=repair)
            for votes, tier in row.campaign.by_tier().items()
        ]

    def validate_campaign(self, name: str) -> Sequence[AnswerMap]:
        """Compare a campaign's live workflows, one per tier, with its tree and its votes."""
        tiers = self.campaigns.get(name).campaign.by_tier().values()
        return [self.validate(tier).run(tier, load_tree(tier.tree)) for tier in tiers]

    def ingest_api(self, name: str) -> IngestReport:
        """Read the classifications of a campaign's project, from the cursor on."""
        row = self.campaigns.get(name)
        return self.collect(row.campaign).read(row, load_tree(row.campaign.tree))

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
        report = self.ingest().export(row, load_tree(row.campaign.tree), watch, name=path.name)
        return JudgeExport(exports=self.exports).run(row.id, watch.receipt(path.name, export.digest()), report)

    def ingest_workflows(self, name: str, path: Path) -> tuple[int, int, int]:
        """Learn the workflow versions of a file; return those in it, new ones, and rows that waited for them."""
        row = self.campaigns.get(name)
        versions = read_workflows(path)
        new, freed = self.ingest().learn(row, load_tree(row.campaign.tree), versions, source=path.name)
        return len(versions), new, freed

    def recount_tallies(self, name: str) -> int:
        """Judge and count every galaxy of a campaign anew; return how many."""
        row = self.campaigns.get(name)
        return self.ingest().recount(row, load_tree(row.campaign.tree))

    def export_tallies(self, name: str, path: Path) -> tuple[int, int]:
        """Write a campaign's tallies; return galaxies, and those whose votes no walks through the tree give."""
        row = self.campaigns.get(name)
        tree = load_tree(row.campaign.tree)
        tallies = self.votes(row.campaign).tallies(row.id, tree.n_answers)
        write_tallies(path, tree, tallies, self.ledger.subjects_of(row.id, tallies.galaxy_ids))
        return len(tallies.galaxy_ids), int(inconsistent(tree, tallies.counts).any(axis=-1).sum())

    def start_or_resume(self, name: str, *, actor: str) -> Cycle:
        """Return the open cycle, brought back to its step if it had stopped; without one, start the next."""
        return self.resume_open(name, actor=actor) or self.start_cycle().run(self.campaigns.get(name), actor=actor)

    def resume_open(self, name: str, *, actor: str) -> Cycle | None:
        """Return the open cycle, brought back to its step if it had stopped; None without one."""
        cycle = self.cycles.open(self.campaigns.get(name).id)
        return None if cycle is None else self.advance_cycle(actor).resume(cycle.id)

    def cycle_table(self, name: str) -> CycleTable:
        """Return the table of a campaign's cycles."""
        return self.summarise().run(self.campaigns.get(name))

    def cycle_view(self, name: str, number: int | None) -> CycleView:
        """Return one cycle of a campaign with its history; the newest when no number is given."""
        return ViewCycle(cycles=self.cycles, models=self.models, events=self.events, summarise=self.summarise()).run(
            self.campaigns.get(name), number
        )

    def write_report(self, name: str) -> Path:
        """Write a campaign's report into the work folder; return its path."""
        row = self.campaigns.get(name)
        data = GatherReport(
            summarise=self.summarise(),
            cycles=self.cycles,
            models=self.models,
            catalogues=self.catalogues,
            acquisitions=self.acquisitions,
            snapshots=self.snapshots,
            classifications=self.classifications,
            votes=self.votes,
            objects=self.objects,
            predict=self.predict(),
            media_type=images.sniff,
            clock=self.clock,
        ).run(row)
        path = self.settings.folder / f"report-{name}.html"
        part = path.with_suffix(".part")
        part.write_text(render_report(data), encoding="utf-8")
        part.replace(path)
        return path
