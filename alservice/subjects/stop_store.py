"""Decisions about subjects that may stop early, in Postgres."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import ColumnElement, Engine, Select, select
from sqlalchemy.dialects.postgresql import insert as upsert

from alservice.campaigns.store import Event, append
from alservice.documents import document_of, record_of
from alservice.progress import Clock
from alservice.states import AskingState, SubjectState
from alservice.storage.postgres import among, incoming, transaction
from alservice.subjects import schema
from alservice.subjects.stops import FusedModel, Stop

_TABLE, _SUBJECTS, _FUSED = schema.stops, schema.subjects, schema.fused_models
_NAMES = (
    "subject_id",
    "cycle_id",
    "state",
    "reason",
    "votes",
    "stopped_votes",
    "mark",
    "model_id",
    "detail",
    "decided_at",
)


class SqlStopStore:
    """Decisions in Postgres."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def stopped(self, campaign_id: int) -> Mapping[str, Stop]:
        """Return the galaxies about which asking has stopped, of those that are in front of volunteers or were."""
        shown = _SUBJECTS.c.state.in_([SubjectState.LIVE, SubjectState.RETIRED])
        return self._read(_of(campaign_id).where(_TABLE.c.state == AskingState.STOPPED, shown))

    def of_galaxies(self, campaign_id: int, galaxy_ids: Collection[str]) -> Mapping[str, Stop]:
        """Return what was last decided in the cycle that asks now, by galaxy id."""
        return self._read(_of(campaign_id).where(among(_SUBJECTS.c.galaxy_id, galaxy_ids)))

    def of_cycle(self, cycle_id: int) -> Sequence[Stop]:
        """Return the decisions of a cycle, by galaxy id."""
        wanted = _stops().where(_TABLE.c.cycle_id == cycle_id).order_by(_SUBJECTS.c.galaxy_id)
        return list(self._read(wanted).values())

    def save(self, stops: Sequence[Stop], events: Sequence[Event]) -> None:
        """Replace decisions, and tell of them, in one transaction."""
        rows = [
            {**{name: getattr(stop, name) for name in _NAMES}, "decided_at": stop.decided_at.isoformat()}
            for stop in stops
        ]
        new = upsert(_TABLE).from_select(_NAMES, select(incoming(_TABLE, _NAMES, rows)))
        replaced = {name: new.excluded[name] for name in _NAMES[1:]}
        with transaction(self._engine) as connection:
            if rows:
                connection.execute(new.on_conflict_do_update(index_elements=["subject_id"], set_=replaced))
            for event in events:
                append(connection, event)

    def fused(self, cycle_id: int) -> FusedModel | None:
        """Return the model that a cycle's votes are fused with, None before the first decision."""
        with transaction(self._engine) as connection:
            document = connection.scalar(select(_FUSED.c.document).where(_FUSED.c.cycle_id == cycle_id))
        return None if document is None else record_of(FusedModel, document)

    def save_fused(self, fused: FusedModel, event: Event) -> None:
        """Record the model of a cycle with its event, in place of another one."""
        values = {"model_id": fused.model_id, "document": document_of(fused), "at": self._clock()}
        new = upsert(_FUSED).values(cycle_id=fused.cycle_id, **values)
        with transaction(self._engine) as connection:
            connection.execute(new.on_conflict_do_update(index_elements=["cycle_id"], set_=values))
            append(connection, event)

    def _read(self, wanted: Select[tuple[object, ...]]) -> Mapping[str, Stop]:
        with transaction(self._engine) as connection:
            return {row["galaxy_id"]: Stop(**row) for row in connection.execute(wanted).mappings()}


def _stops() -> Select[tuple[object, ...]]:
    columns: list[ColumnElement[object]] = [_TABLE.c[name] for name in _NAMES]
    return select(*columns, _SUBJECTS.c.galaxy_id).join_from(_TABLE, _SUBJECTS)


def _of(campaign_id: int) -> Select[tuple[object, ...]]:
    """Return the decisions of a campaign's subjects, but those of a cycle before the one that asks now."""
    return _stops().where(_SUBJECTS.c.campaign_id == campaign_id, _SUBJECTS.c.cycle_id == _TABLE.c.cycle_id)
