"""The registry of models: at most one champion per campaign, changed together with the reasons for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Engine, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from alservice.campaigns.cycle import Cycle, CycleState
from alservice.campaigns.cycles import lock_cycle, move_cycle
from alservice.campaigns.events import write_event
from alservice.campaigns.records import Model, Promotion, PromotionKind
from alservice.catalogue.galaxies import Shard
from alservice.catalogue.shards import list_shards, save_shard
from alservice.errors import Conflict, IllegalTransition, NotFound
from alservice.learning.gate import GateDecision, Verdict
from alservice.process import Clock
from alservice.registry.promotions_adapters import Act, crown, list_promotions, live_model, lock_registry, move_model
from alservice.states import ModelState
from alservice.storage import schema
from alservice.storage.postgres import transaction

_TABLE = schema.models
_MODELS = select(_TABLE, schema.cycles.c.number.label("cycle_number")).join_from(
    _TABLE, schema.cycles, _TABLE.c.cycle_id == schema.cycles.c.id
)
_AFTER: Final[Mapping[Verdict, CycleState]] = {
    "promote": CycleState.PROMOTED,
    "reject": CycleState.KEPT,
    "hold": CycleState.HELD,
}


class SqlModelStore:
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
                of_cycle = update(schema.cycles).where(schema.cycles.c.id == cycle.id)
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
            own = connection.scalars(select(schema.cycles.c.state).where(schema.cycles.c.id == model.cycle_id)).one()
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
        return None if document is None else GateDecision.from_document(document)

    def posterior_shards(self, model_id: int, catalogue_id: int, scope: str) -> Sequence[Shard]:
        """Return finished posterior shards, in order; `scope` is ``catalogue`` or ``evaluation``."""
        with transaction(self._engine) as connection:
            return list_shards(
                connection, schema.posterior_shards, model_id=model_id, catalogue_id=catalogue_id, scope=scope
            )

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
        cycle_id=cycle.id, verdict=decision.verdict, document=decision.document(), actor=by.actor, decided_at=by.at
    )
    replaced = {name: new.excluded[name] for name in ("verdict", "document", "actor", "decided_at")}
    connection.execute(new.on_conflict_do_update(index_elements=["cycle_id"], set_=replaced))
    write_event(connection, cycle, at=by.at, actor=by.actor, kind="gate.decided", detail=decision.document())


def _candidate(cycle: Cycle) -> int:
    if cycle.candidate_id is None:
        raise Conflict(f"cycle {cycle.number} has no candidate to decide on", cycle=cycle.number)
    return cycle.candidate_id


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
