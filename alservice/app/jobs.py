"""What a person or a flow asks for by a campaign's name: each finds the campaign and calls one service."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alservice.app.wiring import Wiring
from alservice.campaigns.cycle import Cycle
from alservice.cycle.report import GatherReport, render_report
from alservice.cycle.table import CycleTable, CycleView, ViewCycle
from alservice.science.tree import load_tree
from alservice.science.votes import inconsistent
from alservice.storage import images
from alservice.votes.tables import write_tallies


@dataclass(frozen=True, kw_only=True)
class Factory(Wiring):
    """The wiring, with the jobs that the command line and flows run by name."""

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
        return ViewCycle(events=self.events, summarise=self.summarise()).run(self.campaigns.get(name), number)

    def write_report(self, name: str) -> Path:
        """Write a campaign's report into the work folder; return its path."""
        row = self.campaigns.get(name)
        data = GatherReport(
            summarise=self.summarise(),
            models=self.models,
            catalogues=self.catalogues,
            acquisitions=self.acquisitions,
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
