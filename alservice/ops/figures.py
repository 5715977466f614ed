"""Reads of the ops pages: each bounded by an index or a limit, whatever the size of the campaign."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Engine, Float, Select, and_, cast, func, select

from alservice.acquisition.batch_records import Arm
from alservice.campaigns.cycle import Cycle, CycleState
from alservice.campaigns.records import Event, Model
from alservice.catalogue.galaxies import Galaxy
from alservice.learning.drift import CycleDrift, DriftFigure
from alservice.ops.campaign_figures import campaign_figures
from alservice.ops.ingest_figures import ingest_figures
from alservice.ops.operations import CampaignFigures, CandidateFigures, IngestFigures
from alservice.process import Clock
from alservice.states import ModelState, SubjectState
from alservice.storage import schema
from alservice.storage.postgres import transaction
from alservice.storage.rows import among, columns_of
from alservice.subjects.subject import Subject

RECENT_EVENTS: Final = 2_000
"""Newest events among which one of a kind is looked for."""

ARM_GALAXIES: Final = 500
"""Galaxies of one arm and cycle that are compared: its first by rank."""


class SqlFigures:
    """Figures of campaigns in Postgres."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def newest_cycles(
        self, campaign_id: int, *, before: int | None = None, state: CycleState | None = None, limit: int
    ) -> Sequence[Cycle]:
        """Return the newest cycles, newest first, below a number and in a state when one is given."""
        table = schema.cycles
        wanted = select(*columns_of(table, Cycle)).where(table.c.campaign_id == campaign_id)
        if before is not None:
            wanted = wanted.where(table.c.number < before)
        if state is not None:
            wanted = wanted.where(table.c.state == state)
        return [Cycle(**row) for row in self._rows(wanted.order_by(table.c.number.desc()).limit(limit))]

    def cycle(self, campaign_id: int, number: int) -> Cycle | None:
        """Return one cycle by number."""
        table = schema.cycles
        wanted = select(*columns_of(table, Cycle)).where(table.c.campaign_id == campaign_id, table.c.number == number)
        return next((Cycle(**row) for row in self._rows(wanted)), None)

    def events(self, cycle_id: int, *, limit: int = 500) -> Sequence[Event]:
        """Return the newest events of a cycle, oldest of them first."""
        table = schema.events
        wanted = select(*columns_of(table, Event)).where(table.c.cycle_id == cycle_id)
        return [Event(**row) for row in reversed(self._rows(wanted.order_by(table.c.id.desc()).limit(limit)))]

    def models(
        self, campaign_id: int, *, before: int | None = None, state: ModelState | None = None, limit: int
    ) -> Sequence[Model]:
        """Return the newest models, newest first, below an id and in a state when one is given."""
        table, cycles = schema.models, schema.cycles
        wanted = select(table, cycles.c.number.label("cycle_number")).join(cycles, table.c.cycle_id == cycles.c.id)
        wanted = wanted.where(table.c.campaign_id == campaign_id)
        if before is not None:
            wanted = wanted.where(table.c.id < before)
        if state is not None:
            wanted = wanted.where(table.c.state == state)
        return [Model(**row) for row in self._rows(wanted.order_by(table.c.id.desc()).limit(limit))]

    def verdicts(self, cycle_ids: Sequence[int]) -> Mapping[int, str]:
        """Return cycle to the gate's verdict, for those that have one."""
        table = schema.gate_decisions
        rows = self._rows(select(table.c.cycle_id, table.c.verdict).where(table.c.cycle_id.in_(cycle_ids)))
        return {row["cycle_id"]: row["verdict"] for row in rows}

    def decided(self, cycle_id: int) -> tuple[str, datetime] | None:
        """Return who decided at the gate of a cycle, and when (UTC)."""
        table = schema.gate_decisions
        rows = self._rows(select(table.c.actor, table.c.decided_at).where(table.c.cycle_id == cycle_id))
        return next(((row["actor"], row["decided_at"]) for row in rows), None)

    def campaigns(self, campaign_ids: Sequence[int]) -> Mapping[int, CampaignFigures]:
        """Return campaign to where it stands."""
        with transaction(self._engine) as connection:
            return campaign_figures(connection, campaign_ids, self._clock())

    def ledger(self, cycle_id: int) -> Mapping[SubjectState, int]:
        """Return the ledger rows of a cycle per state, zeros included."""
        table = schema.subjects
        wanted = select(table.c.state, func.count().label("n")).where(table.c.cycle_id == cycle_id)
        found = {row["state"]: row["n"] for row in self._rows(wanted.group_by(table.c.state))}
        return dict.fromkeys(SubjectState, 0) | found

    def asked(self, cycle_id: int) -> int:
        """Return the classifications that a cycle's subjects are asked for: of those that are or were shown."""
        table = schema.subjects
        shown = SubjectState.LIVE, SubjectState.RETIRED
        wanted = select(func.coalesce(func.sum(table.c.n_votes), 0).label("n"))
        return int(self._rows(wanted.where(table.c.cycle_id == cycle_id, table.c.state.in_(shown)))[0]["n"])

    def unsettled(self, campaign_id: int, *, limit: int) -> Sequence[Subject]:
        """Return subjects that need a look, oldest change first: a create without an answer, or failed for good."""
        table = schema.subjects
        states = SubjectState.CREATING, SubjectState.FAILED
        wanted = select(*columns_of(table, Subject)).where(
            table.c.campaign_id == campaign_id, table.c.state.in_(states)
        )
        return [Subject(**row) for row in self._rows(wanted.order_by(table.c.updated_at).limit(limit))]

    def subjects(
        self, campaign_id: int, *, state: SubjectState | None, after: str, limit: int
    ) -> Sequence[Mapping[str, Any]]:
        """Return ledger rows by galaxy id, after one."""
        table = schema.subjects
        names = "galaxy_id", "cycle_id", "state", "zooniverse_id", "n_votes", "attempts", "error", "updated_at"
        wanted = select(*(table.c[name] for name in names)).where(
            table.c.campaign_id == campaign_id, table.c.galaxy_id > after
        )
        if state is not None:
            wanted = wanted.where(table.c.state == state)
        return self._rows(wanted.order_by(table.c.galaxy_id).limit(limit))

    def tallies(self, campaign_id: int, *, after: str, limit: int) -> Sequence[Mapping[str, Any]]:
        """Return tallies by galaxy id, after one."""
        table = schema.tallies
        wanted = select(table.c.galaxy_id, table.c.classifications, table.c.votes)
        wanted = wanted.where(table.c.campaign_id == campaign_id, table.c.galaxy_id > after)
        return self._rows(wanted.order_by(table.c.galaxy_id).limit(limit))

    def votes(self, campaign_id: int, galaxy_ids: Sequence[str]) -> Mapping[str, Sequence[int]]:
        """Return galaxy to its counted votes in tree order, for named galaxies that have any."""
        table = schema.tallies
        wanted = select(table.c.galaxy_id, table.c.votes)
        wanted = wanted.where(table.c.campaign_id == campaign_id, among(table.c.galaxy_id, galaxy_ids))
        return {row["galaxy_id"]: row["votes"] for row in self._rows(wanted)}

    def galaxies(
        self, catalogue_id: int, *, after: str, limit: int, evaluation: bool | None = None
    ) -> Sequence[Galaxy]:
        """Return galaxies by id, after one; only members of the evaluation stream, or only others, when asked."""
        table = schema.galaxies
        wanted = select(*columns_of(table, Galaxy)).where(
            table.c.catalogue_id == catalogue_id, table.c.galaxy_id > after
        )
        if evaluation is not None:
            wanted = wanted.where(table.c.evaluation.is_(evaluation))
        return [Galaxy(**row) for row in self._rows(wanted.order_by(table.c.galaxy_id).limit(limit))]

    def ingest(self, campaign_id: int) -> IngestFigures:
        """Return what came in: by hour, by source, what waits, and the verdicts of the newest rows."""
        with transaction(self._engine) as connection:
            return ingest_figures(connection, campaign_id, self._clock())

    def candidates(self, campaign_id: int, *, limit: int) -> Sequence[CandidateFigures]:
        """Return candidates' NLL per vote of the newest evaluated cycles, oldest first."""
        mine, theirs, cycles = schema.evaluations, schema.evaluations.alias(), schema.cycles
        snapshots = schema.training_snapshots
        nll, other = mine.c.metrics["nll_per_vote"], theirs.c.metrics["nll_per_vote"]
        wanted = (
            select(
                cycles.c.number.label("cycle"),
                snapshots.c.n_votes,
                *(cast(nll[name].astext, Float).label(name) for name in ("value", "low", "high")),
                cast(other["value"].astext, Float).label("champion"),
            )
            .select_from(cycles)
            .join(mine, and_(mine.c.cycle_id == cycles.c.id, mine.c.model_id == cycles.c.candidate_id))
            .join(snapshots, snapshots.c.cycle_id == cycles.c.id)
            .outerjoin(theirs, and_(theirs.c.cycle_id == cycles.c.id, theirs.c.model_id == cycles.c.champion_id))
            .where(cycles.c.campaign_id == campaign_id)
            .order_by(cycles.c.number.desc())
            .limit(limit)
        )
        return [CandidateFigures(**row) for row in reversed(self._rows(wanted))]

    def newest_event(self, campaign_id: int, kind: str) -> Event | None:
        """Return the newest event of a kind among a campaign's last thousands."""
        table = schema.events
        last = select(*columns_of(table, Event)).where(table.c.campaign_id == campaign_id)
        recent = last.order_by(table.c.id.desc()).limit(RECENT_EVENTS).subquery()
        wanted = select(recent).where(recent.c.kind == kind).order_by(recent.c.at.desc()).limit(1)
        return next((Event(**row) for row in self._rows(wanted)), None)

    def metrics(self, cycle_id: int) -> Mapping[int, Mapping[str, Any]]:
        """Return model to its metrics document in one cycle."""
        table = schema.evaluations
        rows = self._rows(select(table.c.model_id, table.c.metrics).where(table.c.cycle_id == cycle_id))
        return {row["model_id"]: row["metrics"] for row in rows}

    def drift(self, campaign_id: int, *, number: int | None = None, limit: int) -> Sequence[CycleDrift]:
        """Return the drift of the newest cycles that measured it, or of one by number, oldest first."""
        table, cycles = schema.cycle_statistics, schema.cycles
        wanted = select(cycles.c.number, table.c.document["figures"].label("figures")).join_from(cycles, table)
        wanted = wanted.where(cycles.c.campaign_id == campaign_id, table.c.kind == "drift")
        if number is not None:
            wanted = wanted.where(cycles.c.number == number)
        rows = self._rows(wanted.order_by(cycles.c.number.desc()).limit(limit))
        return [
            CycleDrift(cycle=row["number"], figures=tuple(DriftFigure(**figure) for figure in row["figures"]))
            for row in reversed(rows)
        ]

    def arm_votes(self, cycles: Sequence[Cycle], n_answers: int) -> Sequence[Mapping[str, Any]]:
        """Return votes on the first `n_answers` columns of each arm's first galaxies in some cycles of a campaign."""
        acquired, tallies = schema.acquired, schema.tallies
        numbers = {cycle.id: cycle.number for cycle in cycles}
        if not cycles:
            return ()
        votes = func.array_to_json(tallies.c.votes[1:n_answers]).label("votes")
        wanted = select(acquired.c.cycle_id, acquired.c.arm, votes).join(
            tallies,
            and_(tallies.c.campaign_id == cycles[0].campaign_id, tallies.c.galaxy_id == acquired.c.galaxy_id),
        )
        wanted = wanted.where(acquired.c.cycle_id.in_(numbers), acquired.c.rank <= ARM_GALAXIES)
        rows = self._rows(wanted.order_by(acquired.c.cycle_id, acquired.c.arm, acquired.c.rank))
        return [{"cycle": numbers[row["cycle_id"]], "arm": row["arm"], "votes": row["votes"]} for row in rows]

    def acquired(self, cycle_id: int, *, limit: int) -> Sequence[Mapping[str, Any]]:
        """Return galaxies of a batch: by expected information, then by arm, the random one before the others."""
        table = schema.acquired
        names = "galaxy_id", "arm", "score_nats", "inclusion_probability", "rank", "n_votes"
        order = table.c.score_nats.desc().nulls_last(), table.c.arm != Arm.RANDOM, table.c.arm, table.c.rank
        wanted = select(*(table.c[name] for name in names)).where(table.c.cycle_id == cycle_id)
        return self._rows(wanted.order_by(*order).limit(limit))

    def batch(self, cycle_id: int) -> Mapping[str, Any] | None:
        """Return how a cycle's batch was drawn: sizes of the pool, policy and seed, and votes asked in all."""
        table, drawn = schema.acquisitions, schema.acquired
        names = "policy", "seed", "offered", "eligible", "eligible_members", "excluded"
        asked = select(func.sum(drawn.c.n_votes)).where(drawn.c.cycle_id == cycle_id).scalar_subquery()
        columns = (*(table.c[name] for name in names), asked.label("n_votes"))
        rows = self._rows(select(*columns).where(table.c.cycle_id == cycle_id))
        return next(iter(rows), None)

    def snapshot_votes(self, cycle_ids: Sequence[int]) -> Mapping[int, int]:
        """Return cycle to votes frozen at the end of its collecting."""
        table = schema.training_snapshots
        rows = self._rows(select(table.c.cycle_id, table.c.n_votes).where(table.c.cycle_id.in_(cycle_ids)))
        return {row["cycle_id"]: row["n_votes"] for row in rows}

    def _rows(self, wanted: Select[Any]) -> list[Any]:
        with transaction(self._engine) as connection:
            return list(connection.execute(wanted).mappings())
