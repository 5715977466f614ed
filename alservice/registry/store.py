"""The registry of models: at most one champion per campaign, changed together with the reasons for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Final, cast, get_args

from sqlalchemy import ColumnElement, Connection, Engine, and_, func, insert, literal, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from alservice.campaigns import schema as campaigns_schema
from alservice.campaigns.cycle import Cycle, CycleState
from alservice.campaigns.cycle_store import lock_cycle, move_cycle
from alservice.campaigns.store import Event, append, write_event
from alservice.catalogue import schema as catalogue_schema
from alservice.catalogue.galaxies import Shard
from alservice.catalogue.store import list_shards, save_shard
from alservice.documents import document_of, record_of
from alservice.errors import Conflict, IllegalTransition, NotFound
from alservice.progress import Clock
from alservice.registry import schema
from alservice.registry.records import (
    CycleStatistics,
    GateDecision,
    Model,
    ModelEvaluation,
    Promotion,
    PromotionKind,
    TrainingSnapshot,
    Verdict,
)
from alservice.science.evaluation import Evaluation
from alservice.science.votes import TallySet
from alservice.states import MODELS, ModelState
from alservice.storage.postgres import columns_of, transaction

_TABLE = schema.models
_PROMOTIONS = schema.promotions
_EVENTS: Final[dict[PromotionKind, str]] = {
    "gate": "model.promoted",
    "person": "model.promoted",
    "rollback": "model.rolled-back",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Act:
    """Who does something, when (UTC), and why."""

    at: datetime
    actor: str
    reason: str


def lock_registry(connection: Connection, campaign_id: int) -> None:
    """Wait for whoever changes the same campaign's champion."""
    campaigns = campaigns_schema.campaigns
    connection.execute(select(campaigns.c.id).where(campaigns.c.id == campaign_id).with_for_update(key_share=True))


def live_model(connection: Connection, campaign_id: int) -> int | None:
    """Return the champion's id, if there is one."""
    live = _TABLE.c.campaign_id == campaign_id, _TABLE.c.state == ModelState.CHAMPION
    return connection.scalar(select(_TABLE.c.id).where(*live))


def crown(connection: Connection, within: Cycle | Model, model_id: int, by: Act, *, kind: PromotionKind) -> None:
    """Retire the champion, make a model the champion, and let an open cycle go on with it.

    Parameters
    ----------
    within
        The cycle that decided, or the model itself: what the events belong to.
    """
    campaign_id = within.campaign_id
    champion = live_model(connection, campaign_id)
    if champion is not None:
        move_model(connection, within, champion, ModelState.RETIRED, by)
    move_model(connection, within, model_id, ModelState.CHAMPION, by)
    connection.execute(
        insert(_PROMOTIONS).values(
            campaign_id=campaign_id,
            model_id=model_id,
            replaced_id=champion,
            kind=kind,
            actor=by.actor,
            reason=by.reason,
            at=by.at,
        )
    )
    if kind != "gate":
        cycles = campaigns_schema.cycles
        running = func.coalesce(cycles.c.left_from, cycles.c.state).not_in([CycleState.HELD, CycleState.DONE])
        change = update(cycles).where(cycles.c.campaign_id == campaign_id, running)
        connection.execute(change.values(champion_id=model_id))
    detail = {"model": model_id, "replaced": champion, "reason": by.reason}
    _tell(connection, within, _EVENTS[kind], detail, by)


def move_model(connection: Connection, within: Cycle | Model, model_id: int, to: ModelState, by: Act) -> None:
    """Change a model's state, as the table of transitions allows, and write the event."""
    before = connection.scalars(select(_TABLE.c.state).where(_TABLE.c.id == model_id).with_for_update()).one()
    MODELS.check(before, to, what=str(model_id))
    connection.execute(update(_TABLE).where(_TABLE.c.id == model_id).values(state=to))
    _tell(connection, within, "model.moved", {"model": model_id, "from": before, "to": to}, by)


def list_promotions(connection: Connection, campaign_id: int) -> Sequence[Promotion]:
    """Return every change of the live model, oldest first."""
    wanted = select(*columns_of(_PROMOTIONS, Promotion)).where(_PROMOTIONS.c.campaign_id == campaign_id)
    return [Promotion(**row) for row in connection.execute(wanted.order_by(_PROMOTIONS.c.id)).mappings()]


def _tell(connection: Connection, within: Cycle | Model, kind: str, detail: Mapping[str, Any], by: Act) -> None:
    cycle_id = within.id if isinstance(within, Cycle) else None
    event = Event(campaign_id=within.campaign_id, cycle_id=cycle_id, at=by.at, actor=by.actor, kind=kind, detail=detail)
    append(connection, event)


_MODELS = select(_TABLE, campaigns_schema.cycles.c.number.label("cycle_number")).join_from(
    _TABLE, campaigns_schema.cycles, _TABLE.c.cycle_id == campaigns_schema.cycles.c.id
)
_AFTER: Final[Mapping[Verdict, CycleState]] = {
    "promote": CycleState.PROMOTED,
    "reject": CycleState.KEPT,
    "hold": CycleState.HELD,
}


class ModelStore:
    """Models, gate decisions and posterior shards in Postgres."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def save(self, cycle: Cycle, *, key: str, digest: str, snapshot_id: int, card: Mapping[str, Any]) -> Model:
        """Record a cycle's candidate, in its row too; the same cycle again returns the one there is."""
        now = self._clock()
        new = upsert(_TABLE).values(
            campaign_id=cycle.campaign_id,
            cycle_id=cycle.id,
            snapshot_id=snapshot_id,
            key=key,
            digest=digest,
            state=ModelState.CANDIDATE,
            card=card,
            created_at=now,
        )
        with transaction(self._engine) as connection:
            saved = connection.scalar(new.on_conflict_do_nothing().returning(_TABLE.c.id))
            if saved is not None:
                of_cycle = update(campaigns_schema.cycles).where(campaigns_schema.cycles.c.id == cycle.id)
                connection.execute(of_cycle.values(candidate_id=saved, updated_at=now))
            row = connection.execute(_MODELS.where(_TABLE.c.cycle_id == cycle.id)).mappings().one()
        return Model(**row)

    def get(self, model_id: int) -> Model:
        """Return one; raises `NotFound`."""
        with transaction(self._engine) as connection:
            row = connection.execute(_MODELS.where(_TABLE.c.id == model_id)).mappings().one_or_none()
        if row is None:
            raise NotFound(f"there is no model {model_id}", model=model_id)
        return Model(**row)

    def champion(self, campaign_id: int) -> Model | None:
        """Return the live model, if any."""
        live = _TABLE.c.campaign_id == campaign_id, _TABLE.c.state == ModelState.CHAMPION
        with transaction(self._engine) as connection:
            row = connection.execute(_MODELS.where(*live)).mappings().one_or_none()
        return None if row is None else Model(**row)

    def list(self, campaign_id: int) -> Sequence[Model]:
        """Return all models of a campaign, oldest first."""
        wanted = _MODELS.where(_TABLE.c.campaign_id == campaign_id).order_by(_TABLE.c.id)
        with transaction(self._engine) as connection:
            return [Model(**row) for row in connection.execute(wanted).mappings()]

    def settle(self, cycle: Cycle, decision: GateDecision, *, actor: str) -> Cycle:
        """Record the gate's decision, promote or not, move the cycle, write the events: in one transaction.

        A held cycle is settled once more, by a person, whose decision replaces the hold; events keep both.

        Raises
        ------
        Conflict
            The cycle has no candidate, was moved meanwhile, or its champion is no longer the live model.
        IllegalTransition
            The cycle is not at the gate.
        """
        by = Act(at=self._clock(), actor=actor, reason=decision.person.detail if decision.person else "the gate")
        to = _AFTER[decision.verdict]
        with transaction(self._engine) as connection:
            lock_registry(connection, cycle.campaign_id)
            current = lock_cycle(connection, cycle)
            moved = move_cycle(connection, current, to, at=by.at, actor=actor, detail={"verdict": decision.verdict})
            _record(connection, current, decision, by)
            candidate = _candidate(current)
            if decision.verdict == "reject":
                move_model(connection, current, candidate, ModelState.REJECTED, by)
            if decision.verdict == "promote":
                _check_compared(connection, cycle)
                crown(connection, current, candidate, by, kind="gate")
        return moved

    def keep(self, cycle: Cycle, *, actor: str, reason: str) -> Cycle:
        """Keep the champion of a held cycle and reject its candidate, in one transaction.

        Raises
        ------
        Conflict
            The cycle was moved meanwhile.
        IllegalTransition
            The cycle is not held.
        """
        by = Act(at=self._clock(), actor=actor, reason=reason)
        with transaction(self._engine) as connection:
            current = lock_cycle(connection, cycle)
            if current.state is not CycleState.HELD:
                raise IllegalTransition(f"cycle {cycle.number} is {current.state}, not held")
            write_event(connection, cycle, at=by.at, actor=actor, kind="gate.expired", detail={"reason": reason})
            moved = move_cycle(connection, current, CycleState.KEPT, at=by.at, actor=actor, detail={"reason": reason})
            move_model(connection, current, _candidate(current), ModelState.REJECTED, by)
        return moved

    def promote(
        self, model: Model, *, over: int | None, actor: str, reason: str, kind: PromotionKind = "person"
    ) -> Model:
        """Make a model the champion by a person's word, in one transaction with its event.

        The open cycle goes on with the new champion, unless it is held: what a person decides there was measured
        against the old one.

        Parameters
        ----------
        over
            The champion that the caller saw.

        Raises
        ------
        Conflict
            Another model is live by now, or the model's own cycle is open: there the gate decides.
        """
        by = Act(at=self._clock(), actor=actor, reason=reason)
        with transaction(self._engine) as connection:
            lock_registry(connection, model.campaign_id)
            live = live_model(connection, model.campaign_id)
            if live != over:
                raise Conflict(f"model {live} is live by now, not {over}: someone else changed it", live=live)
            own = connection.scalars(
                select(campaigns_schema.cycles.c.state).where(campaigns_schema.cycles.c.id == model.cycle_id)
            ).one()
            if own is not CycleState.DONE:
                raise Conflict(
                    f"model {model.id} is of cycle {model.cycle_number}, which is {own}: the gate decides",
                    model=model.id,
                    state=own,
                )
            crown(connection, model, model.id, by, kind=kind)
        return self.get(model.id)

    def promotions(self, campaign_id: int) -> Sequence[Promotion]:
        """Return every change of the live model, oldest first."""
        with transaction(self._engine) as connection:
            return list_promotions(connection, campaign_id)

    def decision(self, cycle_id: int) -> GateDecision | None:
        """Return the gate's decision of a cycle."""
        table = schema.gate_decisions
        with transaction(self._engine) as connection:
            document = connection.scalar(select(table.c.document).where(table.c.cycle_id == cycle_id))
        return None if document is None else _decision_of(document)

    def posterior_shards(self, model_id: int, catalogue_id: int, scope: str) -> Sequence[Shard]:
        """Return finished posterior shards, in order; `scope` is ``catalogue`` or ``evaluation``."""
        with transaction(self._engine) as connection:
            return list_shards(
                connection, schema.posterior_shards, model_id=model_id, catalogue_id=catalogue_id, scope=scope
            )

    def share_posterior_shards(self, model_id: int, catalogue_id: int, scope: str, pack: str) -> None:
        """List what a model has predicted of the same image shards in other versions of a catalogue.

        Parameters
        ----------
        pack
            Packing of the images; a shard is the same where its object is, and as many of its images failed.
        """
        own, images = schema.posterior_shards, catalogue_schema.image_shards
        here, there = images.alias("here"), images.alias("there")
        same = there.c.key == here.c.key, there.c.n_galaxies == here.c.n_galaxies, there.c.n_failed == here.c.n_failed
        packed = (here.c.index == there.c.index) & (here.c.pack == pack) & (there.c.pack == pack) & and_(*same)
        done = (own.c.catalogue_id == there.c.catalogue_id) & (own.c.index == there.c.index)
        columns = columns_of(own, Shard)
        shared = (
            select(literal(model_id), literal(catalogue_id), literal(scope), *columns)
            .distinct(own.c.index)
            .join(there, done)
            .join(here, packed)
            .where(own.c.model_id == model_id, own.c.scope == scope, here.c.catalogue_id == catalogue_id)
            .where(there.c.catalogue_id.in_(catalogue_schema.versions_of(catalogue_id)))
            .order_by(own.c.index, own.c.catalogue_id)
        )
        names = ["model_id", "catalogue_id", "scope", *(field.name for field in fields(Shard))]
        with transaction(self._engine) as connection:
            connection.execute(upsert(own).from_select(names, shared).on_conflict_do_nothing())

    def save_posterior_shard(self, model_id: int, catalogue_id: int, scope: str, shard: Shard) -> None:
        """List a posterior shard once it is complete; one that is listed stays as it is."""
        with transaction(self._engine) as connection:
            save_shard(
                connection,
                schema.posterior_shards,
                shard,
                model_id=model_id,
                catalogue_id=catalogue_id,
                scope=scope,
            )


def _record(connection: Connection, cycle: Cycle, decision: GateDecision, by: Act) -> None:
    new = upsert(schema.gate_decisions).values(
        cycle_id=cycle.id, verdict=decision.verdict, document=document_of(decision), actor=by.actor, decided_at=by.at
    )
    replaced = {name: new.excluded[name] for name in ("verdict", "document", "actor", "decided_at")}
    connection.execute(new.on_conflict_do_update(index_elements=["cycle_id"], set_=replaced))
    write_event(connection, cycle, at=by.at, actor=by.actor, kind="gate.decided", detail=document_of(decision))


def _candidate(cycle: Cycle) -> int:
    if cycle.candidate_id is None:
        raise Conflict(f"cycle {cycle.number} has no candidate to decide on", cycle=cycle.number)
    return cycle.candidate_id


def _decision_of(document: Mapping[str, Any]) -> GateDecision:
    """Return a gate decision; a verdict that only a newer version knows is kept by its name, as states are."""
    verdict = document.get("verdict")
    if not isinstance(verdict, str) or verdict in get_args(Verdict):
        return record_of(GateDecision, document)
    known = record_of(GateDecision, {**document, "verdict": get_args(Verdict)[0]})
    return replace(known, verdict=cast("Verdict", verdict))


def _check_compared(connection: Connection, cycle: Cycle) -> None:
    """Raise `Conflict` unless the champion that the caller compared with is the live one."""
    live = live_model(connection, cycle.campaign_id)
    if live != cycle.champion_id:
        raise Conflict(
            f"cycle {cycle.number} compared with model {cycle.champion_id}, but {live} is live",
            cycle=cycle.number,
            compared=cycle.champion_id,
            live=live,
        )


_ASSESSMENT: Final = "assessment"
"""In the column of an evaluation, beside its figures: the key of its assessment."""

_SNAPSHOTS = select(*columns_of(schema.training_snapshots, TrainingSnapshot))


class SnapshotStore:
    """Snapshots, evaluations and statistics of cycles in Postgres: written once."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def save(self, cycle: Cycle, *, key: str, tallies: TallySet, reducer: str, n_inconsistent: int) -> TrainingSnapshot:
        """Record a cycle's snapshot; the same cycle again returns the one there is."""
        table = schema.training_snapshots
        new = upsert(table).values(
            cycle_id=cycle.id,
            key=key,
            digest=tallies.digest,
            n_galaxies=len(tallies.galaxy_ids),
            n_votes=tallies.n_votes,
            reducer=reducer,
            n_inconsistent=n_inconsistent,
            created_at=self._clock(),
        )
        with transaction(self._engine) as connection:
            connection.execute(new.on_conflict_do_nothing())
            row = connection.execute(_SNAPSHOTS.where(table.c.cycle_id == cycle.id)).mappings().one()
        return TrainingSnapshot(**row)

    def of_cycle(self, cycle_id: int) -> TrainingSnapshot | None:
        """Return the snapshot a cycle trained on."""
        wanted = _SNAPSHOTS.where(schema.training_snapshots.c.cycle_id == cycle_id)
        with transaction(self._engine) as connection:
            row = connection.execute(wanted).mappings().one_or_none()
        return None if row is None else TrainingSnapshot(**row)

    def save_evaluation(self, found: ModelEvaluation) -> None:
        """Record the evaluation of one model in one cycle; the same again is fine."""
        new = upsert(schema.evaluations).values(
            cycle_id=found.cycle_id,
            model_id=found.model_id,
            metrics={**found.evaluation.document(), _ASSESSMENT: found.assessment},
            created_at=self._clock(),
        )
        with transaction(self._engine) as connection:
            connection.execute(new.on_conflict_do_nothing())

    def evaluations(self, campaign_id: int) -> Sequence[ModelEvaluation]:
        """Return all evaluations of a campaign by cycle."""
        return self._evaluations(campaigns_schema.cycles.c.campaign_id == campaign_id)

    def evaluations_in(self, cycle_id: int) -> Mapping[int, ModelEvaluation]:
        """Return the evaluations of one cycle by model."""
        return {e.model_id: e for e in self._evaluations(schema.evaluations.c.cycle_id == cycle_id)}

    def _evaluations(self, which: ColumnElement[bool]) -> Sequence[ModelEvaluation]:
        table, cycles = schema.evaluations, campaigns_schema.cycles
        wanted = (
            select(table.c.cycle_id, cycles.c.number, table.c.model_id, table.c.metrics)
            .join_from(table, cycles)
            .where(which)
            .order_by(cycles.c.number, table.c.model_id)
        )
        with transaction(self._engine) as connection:
            return [
                ModelEvaluation(
                    cycle_id=row.cycle_id,
                    cycle_number=row.number,
                    model_id=row.model_id,
                    evaluation=Evaluation.from_document({k: v for k, v in row.metrics.items() if k != _ASSESSMENT}),
                    assessment=row.metrics.get(_ASSESSMENT),
                )
                for row in connection.execute(wanted)
            ]

    def save_statistics(self, statistics: CycleStatistics, events: Sequence[Event]) -> None:
        """Record what was measured of a cycle, with the events it causes; one that has it keeps it and its events."""
        table = schema.cycle_statistics
        new = upsert(table).values(
            cycle_id=statistics.cycle_id,
            kind=statistics.kind,
            document=statistics.document,
            created_at=self._clock(),
        )
        with transaction(self._engine) as connection:
            if connection.scalar(new.on_conflict_do_nothing().returning(table.c.kind)) is not None:
                for event in events:
                    append(connection, event)

    def statistics(self, campaign_id: int) -> Sequence[CycleStatistics]:
        """Return what was measured of a campaign's cycles, by cycle and kind."""
        table, cycles = schema.cycle_statistics, campaigns_schema.cycles
        wanted = (
            select(table.c.cycle_id, cycles.c.number.label("cycle_number"), table.c.kind, table.c.document)
            .join_from(table, cycles)
            .where(cycles.c.campaign_id == campaign_id)
            .order_by(cycles.c.number, table.c.kind)
        )
        with transaction(self._engine) as connection:
            return [CycleStatistics(**row) for row in connection.execute(wanted).mappings()]
