"""What people who run campaigns ask: acts with a reason, health of the parts, figures, posteriors and exports."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, TypeAlias

import numpy as np

from alservice.campaigns.cycle import Cycle, Pause
from alservice.campaigns.store import CampaignRow, SqlOperations
from alservice.catalogue.galaxies import Galaxy
from alservice.cycle.report import AnswerBar, answer_bars
from alservice.cycle.service import trace_key
from alservice.cycle.stages import Stages
from alservice.errors import AlserviceError, BadInput, IllegalTransition
from alservice.ops.card import GalaxyCard, galaxy_card
from alservice.ops.figures import ArmFigures, CampaignFigures, SqlFigures, arm_figures
from alservice.ops.history import HistoryLine, galaxy_history
from alservice.ops.metrics import Measures, SqlMeasures, metrics_text
from alservice.ops.tokens import SqlAnswers
from alservice.ops.troubles import Trouble, troubles
from alservice.prediction.scope import Scope
from alservice.registry.records import Model
from alservice.science.posterior import Posterior, concat, take
from alservice.science.tree import Tree, load_tree
from alservice.science.votes import conditional_fractions
from alservice.shapes import FloatArray
from alservice.states import ModelState
from alservice.storage import images
from alservice.storage.csv import csv_lines
from alservice.storage.postgres import check_schema, schema_state
from alservice.texts import check_reason
from alservice.tracing import cycle_span, is_tracing

Act: TypeAlias = Literal["approve", "reject", "roll-back", "pause", "resume"]

EXPORTS: Final = ("tallies", "subjects")
"""Tables that can be downloaded."""

PAGE_ROWS: Final = 5_000
"""Rows of an export read at a time, each page by primary key."""

OK: Final = "ok"
"""What a part says that answers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """What an act did, in one sentence for people."""

    act: Act
    campaign: str
    sentence: str


@dataclass(frozen=True)
class OpsService:
    """Campaigns run by people: each act leaves who, when and why in the events; reads are bounded."""

    stages: Stages

    @cached_property
    def figures(self) -> SqlFigures:
        """Bounded reads of the ops pages."""
        return SqlFigures(self.stages.engine, self.stages.clock)

    @cached_property
    def answers(self) -> SqlAnswers:
        """Answers by idempotency key."""
        return SqlAnswers(self.stages.engine, self.stages.clock)

    def approve(self, name: str, *, cycle: int, actor: str, reason: str) -> Done:
        """Promote the candidate of the held cycle; raises what `DecideHeld` does."""
        check_reason(reason)
        with self._traced(name, "approve", actor):
            moved = self.stages.learning.decide_held(name, "approve", actor=actor, reason=reason, number=cycle)
        return Done(act="approve", campaign=name, sentence=f"The candidate of cycle {moved.number} is the champion.")

    def reject(self, name: str, *, cycle: int, actor: str, reason: str) -> Done:
        """Keep the champion of the held cycle; raises what `approve` does."""
        check_reason(reason)
        with self._traced(name, "reject", actor):
            moved = self.stages.learning.decide_held(name, "reject", actor=actor, reason=reason, number=cycle)
        return Done(act="reject", campaign=name, sentence=f"Cycle {moved.number} keeps its champion.")

    def roll_back(self, name: str, *, model: int, actor: str, reason: str) -> Done:
        """Make an earlier champion live again.

        Raises
        ------
        NotFound, DigestMismatch
            The campaign has no such model, or its weights are gone or damaged.
        IllegalTransition
            The model never was champion, or is it now.
        """
        check_reason(reason)
        campaign = self.stages.campaigns.get(name)
        found = self.stages.models.get(model)
        if found.campaign_id == campaign.id and found.state is not ModelState.RETIRED:
            raise IllegalTransition(f"model {model} is {found.state}: only an earlier champion can be brought back")
        self.stages.registry.promote(name, model, actor=actor, reason=reason)
        return Done(act="roll-back", campaign=name, sentence=f"Model {model} is the champion again.")

    def pause(self, name: str, *, actor: str, reason: str) -> Done:
        """Let nothing start or advance; a step at work finishes. Raises `Conflict` if it is paused already."""
        check_reason(reason)
        self._acts.pause(self.stages.campaigns.get(name).id, actor=actor, reason=reason)
        return Done(act="pause", campaign=name, sentence=f"{name} is paused: no cycle starts or advances.")

    def resume(self, name: str, *, actor: str, reason: str) -> Done:
        """End a pause, and bring a failed or cancelled cycle back to its step.

        Raises
        ------
        IllegalTransition
            The campaign is not paused and no cycle of it has stopped.
        """
        check_reason(reason)
        row = self.stages.campaigns.get(name)
        cycle = self.stages.cycles.open(row.id)
        stopped = cycle is not None and cycle.left_from is not None
        was_paused = self._acts.unpause(row.id, actor=actor, reason=reason)
        if not was_paused and not stopped:
            raise IllegalTransition(f"campaign {name} is not paused and no cycle of it has stopped", campaign=name)
        if cycle is None or cycle.left_from is None:
            return Done(act="resume", campaign=name, sentence=f"{name} goes on.")
        detail = {"resumed": True, "reason": reason}
        with self._traced(name, "resume", actor):
            self.stages.cycles.move(cycle, cycle.left_from, actor=actor, detail=detail, left_from=None)
        return Done(act="resume", campaign=name, sentence=f"Cycle {cycle.number} goes on with {cycle.left_from}.")

    def paused(self, campaign: CampaignRow) -> Pause | None:
        """Return the pause of a campaign, if it is paused."""
        return self._acts.paused(campaign.id)

    def metrics_text(self) -> bytes:
        """Return all metrics that the database holds in Prometheus' text format."""
        return metrics_text(self.stages.engine)

    def measures(self) -> Measures:
        """Return what monitoring reads from the database, as of now by this process's clock."""
        return SqlMeasures(self.stages.engine).read(self.stages.clock())

    def troubles(self, measures: Measures, figures: Mapping[str, CampaignFigures]) -> Sequence[Trouble]:
        """Return what was wrong at the moment of some measures: of the campaigns whose figures are given."""
        return [found for found in troubles(measures, figures) if found.campaign in figures]

    def check_parts(self) -> Mapping[str, str]:
        """Return part to ``ok`` or an error's code: database, schema, objects."""
        checks: tuple[tuple[str, Callable[[], object]], ...] = (
            ("database", lambda: schema_state(self.stages.engine)),
            ("schema", lambda: check_schema(self.stages.engine)),
            ("objects", self.stages.objects.check),
        )
        return {part: _code(check) for part, check in checks}

    def predicted(self, campaign: CampaignRow) -> tuple[Model, int] | None:
        """Return the newest champion that predicted a catalogue, with the catalogue; None before the first."""
        for cycle in self.figures.newest_cycles(campaign.id, limit=20):
            found = self.predicted_in(cycle)
            if found is not None:
                return found, cycle.catalogue_id
        return None

    def predicted_in(self, cycle: Cycle) -> Model | None:
        """Return the champion that predicted for a cycle, once it has."""
        if cycle.champion_id is None:
            return None
        shards = self.stages.models.posterior_shards(cycle.champion_id, cycle.catalogue_id, Scope.CATALOGUE)
        return self.stages.models.get(cycle.champion_id) if shards else None

    def posteriors(
        self, campaign: CampaignRow, model: Model, catalogue_id: int, galaxies: Sequence[Galaxy]
    ) -> Posterior | None:
        """Return the posterior of some galaxies of a catalogue, read from the shards they lie in; None without any."""
        indices = {galaxy.row // campaign.settings.images.shard_galaxies for galaxy in galaxies}
        listed = self.stages.models.posterior_shards(model.id, catalogue_id, Scope.CATALOGUE)
        wanted = {galaxy.galaxy_id for galaxy in galaxies}
        shards = [shard for shard in listed if shard.index in indices]
        parts = list(self.stages.prediction.draws(campaign.settings, shards, wanted))
        return concat(parts) if parts else None

    def bars_of(
        self, campaign: CampaignRow, model: Model, catalogue_id: int, galaxies: Sequence[Galaxy]
    ) -> Mapping[str, Mapping[str, Sequence[AnswerBar]]]:
        """Return galaxy to question to its answers' posteriors, beside what volunteers said so far."""
        tree = load_tree(campaign.settings.tree)
        posterior = self.posteriors(campaign, model, catalogue_id, galaxies)
        if posterior is None:
            return {}
        votes = self.figures.votes(campaign.id, posterior.galaxy_ids)
        return {
            name: answer_bars(tree, take(posterior, np.array([row])), _fractions(tree, votes.get(name)))
            for row, name in enumerate(posterior.galaxy_ids)
        }

    def card_of(self, campaign: CampaignRow, catalogue_id: int, galaxy_id: str) -> GalaxyCard:
        """Return what is known of one galaxy of a catalogue, and whether volunteers are still asked about it.

        Raises
        ------
        NotFound
            The catalogue has no such galaxy.
        """
        tree, decisions = load_tree(campaign.settings.tree), campaign.settings
        galaxies = self.stages.catalogues.by_id(catalogue_id, [galaxy_id])
        asking = self.stages.stopping.galaxy(decisions.name, galaxy_id)
        if asking is not None and asking.model_id is not None:
            model: Model | None = self.stages.models.get(asking.model_id)
        else:
            predicted = self.predicted(campaign)
            model = predicted[0] if predicted is not None and predicted[1] == catalogue_id else None
        tallies = self.stages.votes.source(decisions).tallies_of(campaign.id, [galaxy_id], tree.n_answers)
        return galaxy_card(
            tree,
            tallies.counts[0] if tallies.galaxy_ids else np.zeros(tree.n_answers, dtype=np.int64),
            None if model is None else self.posteriors(campaign, model, catalogue_id, galaxies),
            galaxy_id=galaxy_id,
            catalogue_id=catalogue_id,
            asking=asking,
            model=model,
        )

    def history_of(self, campaign: CampaignRow, galaxy_id: str) -> Sequence[HistoryLine]:
        """Return what happened to a galaxy in the loop, oldest first."""
        return galaxy_history(self.stages.engine, campaign.id, galaxy_id)

    def compare_arms(self, campaign: CampaignRow, cycles: Sequence[Cycle]) -> Sequence[ArmFigures]:
        """Return how volunteers split on the first question, by cycle and arm."""
        n_answers = load_tree(campaign.settings.tree).slices[0].stop
        return arm_figures(self.figures.arm_votes(cycles, n_answers))

    def image_of(self, catalogue_id: int, galaxy_id: str) -> tuple[bytes, str]:
        """Return a galaxy's image as volunteers see it, and its media type; raises `NotFound`."""
        (galaxy,) = self.stages.catalogues.by_id(catalogue_id, [galaxy_id])
        data = self.stages.objects.get(galaxy.image_key)
        return data, images.sniff(data)

    def export_lines(self, campaign: CampaignRow, table: str) -> Iterator[str]:
        """Yield a table of a campaign as lines of CSV, in flat memory; raises `BadInput` for an unknown table."""
        if table not in EXPORTS:
            raise BadInput(f"there is no export {table!r}; there are {', '.join(EXPORTS)}", table=table)
        rows = self._subject_rows if table == "subjects" else self._tally_rows
        return csv_lines(rows(campaign))

    def _tally_rows(self, campaign: CampaignRow) -> Iterator[Sequence[object]]:
        columns = load_tree(campaign.settings.tree).columns
        yield ("galaxy_id", "classifications", *columns)
        read = self.figures
        after = ""
        while page := read.tallies(campaign.id, after=after, limit=PAGE_ROWS):
            for row in page:
                votes = row["votes"][: len(columns)]
                yield (row["galaxy_id"], row["classifications"], *votes, *[0] * (len(columns) - len(votes)))
            after = page[-1]["galaxy_id"]

    def _subject_rows(self, campaign: CampaignRow) -> Iterator[Sequence[object]]:
        read = self.figures
        page = read.subjects(campaign.id, state=None, after="", limit=PAGE_ROWS)
        names = "galaxy_id", "cycle_id", "state", "zooniverse_id", "n_votes", "attempts", "error", "updated_at"
        yield names
        while page:
            yield from (tuple(row[name] for name in names) for row in page)
            page = read.subjects(campaign.id, state=None, after=page[-1]["galaxy_id"], limit=PAGE_ROWS)

    @contextmanager
    def _traced(self, name: str, act: Act, actor: str) -> Iterator[None]:
        """Trace an act in the trace of the open cycle that it is about."""
        cycle = self.stages.cycles.open(self.stages.campaigns.get(name).id) if is_tracing() else None
        if cycle is None:
            yield
            return
        with cycle_span(trace_key(cycle), f"act {act}", actor=actor):
            yield

    @property
    def _acts(self) -> SqlOperations:
        return SqlOperations(self.stages.engine, self.stages.clock)


def _fractions(tree: Tree, votes: Sequence[int] | None) -> FloatArray | None:
    if votes is None:
        return None
    counts = np.zeros(tree.n_answers, dtype=np.int64)
    counts[: len(votes)] = votes
    fractions: FloatArray = conditional_fractions(tree, counts[None])[0]
    return fractions


def _code(check: Callable[[], object]) -> str:
    try:
        check()
    except AlserviceError as error:
        return error.code
    return OK
