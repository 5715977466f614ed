"""What the web service reads beside plain stores: bounded figures, posteriors of named galaxies, exports, readiness."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from alservice.app.jobs import Factory
from alservice.campaigns.cycle import Cycle
from alservice.campaigns.store import CampaignRow
from alservice.catalogue.galaxies import Galaxy
from alservice.cycle.report import AnswerBar, answer_bars
from alservice.errors import AlserviceError, BadInput
from alservice.ops.figures import ArmFigures, SqlFigures, arm_figures
from alservice.ops.tokens import SqlAnswers
from alservice.prediction.service import Scope
from alservice.registry.records import Model
from alservice.science.posterior import Posterior, concat, take
from alservice.science.tree import Tree, load_tree
from alservice.science.votes import conditional_fractions
from alservice.shapes import FloatArray
from alservice.storage import images
from alservice.storage.csv import csv_lines
from alservice.storage.postgres import check_schema, schema_state

EXPORTS = ("tallies", "subjects")
"""Tables that can be downloaded."""

PAGE_ROWS = 5_000
"""Rows of an export read at a time, each page by primary key."""

OK = "ok"
"""What a part says that answers."""


def figures(factory: Factory) -> SqlFigures:
    """Return the bounded reads of the ops pages."""
    return SqlFigures(factory.engine, factory.clock)


def answers(factory: Factory) -> SqlAnswers:
    """Return the answers by idempotency key."""
    return SqlAnswers(factory.engine, factory.clock)


def check_parts(factory: Factory) -> Mapping[str, str]:
    """Return part to ``ok`` or an error's code: database, schema, objects."""
    checks: tuple[tuple[str, Callable[[], object]], ...] = (
        ("database", lambda: schema_state(factory.engine)),
        ("schema", lambda: check_schema(factory.engine)),
        ("objects", factory.objects.check),
    )
    return {part: _code(check) for part, check in checks}


def predicted(factory: Factory, campaign: CampaignRow) -> tuple[Model, int] | None:
    """Return the newest champion that predicted a catalogue, with the catalogue; None before the first."""
    for cycle in figures(factory).newest_cycles(campaign.id, limit=20):
        found = predicted_in(factory, cycle)
        if found is not None:
            return found, cycle.catalogue_id
    return None


def predicted_in(factory: Factory, cycle: Cycle) -> Model | None:
    """Return the champion that predicted for a cycle, once it has."""
    if cycle.champion_id is None:
        return None
    shards = factory.models.posterior_shards(cycle.champion_id, cycle.catalogue_id, Scope.CATALOGUE)
    return factory.models.get(cycle.champion_id) if shards else None


def posteriors(
    factory: Factory, campaign: CampaignRow, model: Model, catalogue_id: int, galaxies: Sequence[Galaxy]
) -> Posterior | None:
    """Return the posterior of some galaxies of a catalogue, read from the shards they lie in; None without any."""
    indices = {galaxy.row // campaign.campaign.images.shard_galaxies for galaxy in galaxies}
    listed = factory.models.posterior_shards(model.id, catalogue_id, Scope.CATALOGUE)
    wanted = {galaxy.galaxy_id for galaxy in galaxies}
    parts = []
    for posterior in factory.predict().posteriors([shard for shard in listed if shard.index in indices]):
        rows = np.array([i for i, name in enumerate(posterior.galaxy_ids) if name in wanted], dtype=np.int64)
        if len(rows):
            parts.append(take(posterior, rows))
    return concat(parts) if parts else None


def bars_of(
    factory: Factory, campaign: CampaignRow, model: Model, catalogue_id: int, galaxies: Sequence[Galaxy]
) -> Mapping[str, Mapping[str, Sequence[AnswerBar]]]:
    """Return galaxy to question to its answers' posteriors, beside what volunteers said so far."""
    tree = load_tree(campaign.campaign.tree)
    posterior = posteriors(factory, campaign, model, catalogue_id, galaxies)
    if posterior is None:
        return {}
    votes = figures(factory).votes(campaign.id, posterior.galaxy_ids)
    return {
        name: answer_bars(tree, take(posterior, np.array([row])), _fractions(tree, votes.get(name)))
        for row, name in enumerate(posterior.galaxy_ids)
    }


def compare_arms(factory: Factory, campaign: CampaignRow, cycles: Sequence[Cycle]) -> Sequence[ArmFigures]:
    """Return how volunteers split on the first question, by cycle and arm."""
    n_answers = load_tree(campaign.campaign.tree).slices[0].stop
    return arm_figures(figures(factory).arm_votes(cycles, n_answers))


def image_of(factory: Factory, catalogue_id: int, galaxy_id: str) -> tuple[bytes, str]:
    """Return a galaxy's image as volunteers see it, and its media type; raises `NotFound`."""
    (galaxy,) = factory.catalogues.by_id(catalogue_id, [galaxy_id])
    data = factory.objects.get(galaxy.image_key)
    return data, images.sniff(data)


def export_lines(factory: Factory, campaign: CampaignRow, table: str) -> Iterator[str]:
    """Yield a table of a campaign as lines of CSV, in flat memory; raises `BadInput` for an unknown table."""
    if table not in EXPORTS:
        raise BadInput(f"there is no export {table!r}; there are {', '.join(EXPORTS)}", table=table)
    rows = _subject_rows if table == "subjects" else _tally_rows
    return csv_lines(rows(factory, campaign))


def _tally_rows(factory: Factory, campaign: CampaignRow) -> Iterator[Sequence[object]]:
    columns = load_tree(campaign.campaign.tree).columns
    yield ("galaxy_id", "classifications", *columns)
    read = figures(factory)
    after = ""
    while page := read.tallies(campaign.id, after=after, limit=PAGE_ROWS):
        for row in page:
            votes = row["votes"][: len(columns)]
            yield (row["galaxy_id"], row["classifications"], *votes, *[0] * (len(columns) - len(votes)))
        after = page[-1]["galaxy_id"]


def _subject_rows(factory: Factory, campaign: CampaignRow) -> Iterator[Sequence[object]]:
    read = figures(factory)
    page = read.subjects(campaign.id, state=None, after="", limit=PAGE_ROWS)
    names = "galaxy_id", "cycle_id", "state", "zooniverse_id", "n_votes", "attempts", "error", "updated_at"
    yield names
    while page:
        yield from (tuple(row[name] for name in names) for row in page)
        page = read.subjects(campaign.id, state=None, after=page[-1]["galaxy_id"], limit=PAGE_ROWS)


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
