"""Imports in Postgres: galaxies that wait until their file is read, then become a catalogue or a version of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import Connection, Engine, Integer, Select, case, cast, delete, func, literal, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.sql.elements import ColumnElement

from alservice.campaigns.schema import campaigns
from alservice.catalogue import schema
from alservice.catalogue.galaxies import Catalogue, CatalogueFault, Galaxy, Import, catalogue_digest
from alservice.catalogue.store import newest_of
from alservice.progress import Clock
from alservice.storage.postgres import columns_of, insert_rows, transaction

_IMPORTS: Final = select(*columns_of(schema.imports, Import))
_CONTENT: Final = ("ra_deg", "dec_deg", "image_key", "unbiased")
_FIELDS: Final = ("galaxy_id", *_CONTENT, "evaluation")


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """A galaxy on its way into a catalogue.

    Parameters
    ----------
    row
        Its row in the source.
    place
        What it is ordered by, before its id.
    galaxy
        Its own `row` is not known yet.
    """

    row: int
    place: int
    galaxy: Galaxy


@dataclass(frozen=True, kw_only=True, slots=True)
class Quarantined:
    """A row that did not become a galaxy, and the file it stands in."""

    source: str
    fault: CatalogueFault


def other_content(galaxy: Galaxy, there: Galaxy) -> str | None:
    """Return the first field in which a galaxy differs from the one of its id that is there; None if in none."""
    return next((name for name in _CONTENT if getattr(galaxy, name) != getattr(there, name)), None)


def refusal(*, row: int, galaxy_id: str, field: str) -> CatalogueFault:
    """Return the fault of a row whose galaxy is there with other content."""
    reason = f"the catalogue has this galaxy with another {field}; --replace takes this row's"
    return CatalogueFault(row=row, galaxy_id=galaxy_id, field=field, reason=reason)


class ImportStore:
    """Imports: what is read waits beside the catalogue and becomes part of it in one transaction."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def begin(self, campaign_id: int, *, source: str, key: str | None, stretch: str | None = None) -> Import:
        """Return a new import, or the one of this key that was begun and never finished."""
        table = schema.imports
        counted = dict.fromkeys(("rows_done", "n_added", "n_replaced", "n_known", "n_failed"), 0)
        row = {"campaign_id": campaign_id, "source": source, "key": key, "started_at": self._clock(), **counted}
        row["stretch"] = stretch
        with transaction(self._engine) as connection:
            new = connection.scalar(upsert(table).values(row).on_conflict_do_nothing().returning(table.c.id))
            mine = (
                table.c.id == new
                if new is not None
                else (table.c.campaign_id == campaign_id) & (table.c.key == key) & table.c.finished_at.is_(None)
            )
            return Import(**connection.execute(_IMPORTS.where(mine)).mappings().one())

    def add(
        self,
        import_id: int,
        *,
        rows_done: int,
        waiting: Sequence[Waiting],
        faults: Sequence[CatalogueFault],
        n_known: int,
        votes_key: str | None,
    ) -> None:
        """Keep what the rows after those done became, up to a row; rows that another process did are left alone."""
        table = schema.imports
        with transaction(self._engine) as connection:
            mine = table.c.id == import_id, table.c.rows_done < rows_done, table.c.finished_at.is_(None)
            counted = {"n_known": table.c.n_known + n_known, "n_failed": table.c.n_failed + len(faults)}
            done = table.update().where(*mine).values(rows_done=rows_done, **counted)
            if not connection.execute(done).rowcount:
                return
            insert_rows(connection, schema.waiting_galaxies, (_row(import_id, galaxy) for galaxy in waiting))
            insert_rows(connection, schema.catalogue_faults, ({"import_id": import_id, **asdict(f)} for f in faults))
            if votes_key is not None:
                votes = {"import_id": import_id, "row": rows_done, "key": votes_key}
                connection.execute(schema.waiting_votes.insert().values(votes))

    def finish(
        self, import_id: int, *, replace: bool, join_votes: Callable[[str | None, Sequence[str]], str | None]
    ) -> Import:
        """Make what waits the campaign's next catalogue, in one transaction; one that is finished stays as it is.

        Parameters
        ----------
        replace
            Whether a galaxy that is there with other content becomes what waits, or is refused.
        join_votes
            Returns the key of all recorded votes by that of the version before and those that wait.
        """
        table = schema.imports
        with transaction(self._engine) as connection:
            mine = connection.execute(select(table).where(table.c.id == import_id).with_for_update()).mappings().one()
            if mine["finished_at"] is None:
                campaign_id = mine["campaign_id"]
                one_by_one = select(campaigns.c.id).where(campaigns.c.id == campaign_id)
                connection.execute(one_by_one.with_for_update(key_share=True))
                growth = _Growth(connection, import_id, newest_of(connection, campaign_id))
                counted = growth.settle(replace=replace, failed=mine["n_failed"], known=mine["n_known"])
                catalogue_id = None if growth.parent is None else growth.parent.id
                if counted["n_added"] or counted["n_replaced"]:
                    catalogue_id = growth.save(
                        campaign_id, mine["source"], counted, join_votes=join_votes, at=self._clock()
                    )
                done = {**counted, "catalogue_id": catalogue_id, "finished_at": self._clock()}
                connection.execute(table.update().where(table.c.id == import_id).values(done))
                for waiting in (schema.waiting_galaxies, schema.waiting_votes):
                    connection.execute(delete(waiting).where(waiting.c.import_id == import_id))
            return Import(**connection.execute(_IMPORTS.where(table.c.id == import_id)).mappings().one())

    def of_campaign(self, campaign_id: int) -> Sequence[Import]:
        """Return the imports of a campaign, oldest first; of one that runs, or was killed, `catalogue_id` is None."""
        wanted = _IMPORTS.where(schema.imports.c.campaign_id == campaign_id).order_by(schema.imports.c.id)
        with transaction(self._engine) as connection:
            return [Import(**row) for row in connection.execute(wanted).mappings()]

    def faults(self, import_id: int, *, limit: int | None = None) -> Sequence[CatalogueFault]:
        """Return the rows that an import put into quarantine, in order."""
        table = schema.catalogue_faults
        wanted = select(*columns_of(table, CatalogueFault)).where(table.c.import_id == import_id)
        with transaction(self._engine) as connection:
            rows = connection.execute(wanted.order_by(table.c.row, table.c.id).limit(limit)).mappings()
            return [CatalogueFault(**row) for row in rows]

    def quarantine(self, campaign_id: int) -> Iterator[Quarantined]:
        """Yield the rows of all files that did not become galaxies of a campaign, oldest import first."""
        for done in self.of_campaign(campaign_id):
            for fault in self.faults(done.id):
                yield Quarantined(source=done.source, fault=fault)


def _row(import_id: int, waiting: Waiting) -> dict[str, Any]:
    shown = {name: getattr(waiting.galaxy, name) for name in _FIELDS}
    return {"import_id": import_id, "row": waiting.row, "place": waiting.place, **shown}


class _Growth:
    """A catalogue's next version, made from the galaxies of an import inside a transaction."""

    def __init__(self, connection: Connection, import_id: int, parent: Catalogue | None) -> None:
        self.parent = parent
        self._connection = connection
        self._import_id = import_id
        self._waiting = schema.waiting_galaxies
        self._own: ColumnElement[bool] = self._waiting.c.import_id == import_id

    def settle(self, *, replace: bool, failed: int, known: int) -> dict[str, int]:
        """Take out what the catalogue has by now, refuse what differs from it, and return what each row became."""
        n_replaced = 0
        if self.parent is not None:
            known += self._take_out(self._there(self.parent, same=True))
            there = self._there(self.parent)
            if replace:
                n_replaced = self._count(there)
            else:
                failed += self._refuse(there)
        n_added = self._count(self._own) - n_replaced
        return {"n_added": n_added, "n_replaced": n_replaced, "n_known": known, "n_failed": failed}

    def _there(self, parent: Catalogue, *, same: bool = False) -> ColumnElement[bool]:
        """Return the condition that a waiting galaxy is in a catalogue by its id, or with the same content."""
        known = schema.galaxies.c.galaxy_id == self._waiting.c.galaxy_id
        equal = [schema.galaxies.c[name].is_not_distinct_from(self._waiting.c[name]) for name in _CONTENT if same]
        return self._own & select(schema.galaxies.c.row).where(schema.galaxies_of(parent.id), known, *equal).exists()

    def _count(self, which: ColumnElement[bool]) -> int:
        return int(self._connection.execute(select(func.count()).select_from(self._waiting).where(which)).scalar_one())

    def _take_out(self, which: ColumnElement[bool]) -> int:
        return self._connection.execute(delete(self._waiting).where(which)).rowcount

    def _refuse(self, there: ColumnElement[bool]) -> int:
        """Refuse galaxies that another import has added with other content since their rows were read."""
        found = select(self._waiting.c.row, self._waiting.c.galaxy_id).where(there)
        faults = [
            {"import_id": self._import_id, **asdict(refusal(row=row, galaxy_id=galaxy_id, field="content"))}
            for row, galaxy_id in self._connection.execute(found)
        ]
        insert_rows(self._connection, schema.catalogue_faults, faults)
        return self._take_out(there)

    def save(
        self,
        campaign_id: int,
        source: str,
        counted: dict[str, int],
        *,
        join_votes: Callable[[str | None, Sequence[str]], str | None],
        at: object,
    ) -> int:
        """Store the version and return its id: it shares its galaxies with those before unless some are replaced."""
        parent, table = self.parent, schema.catalogues
        keys = select(schema.waiting_votes.c.key).where(schema.waiting_votes.c.import_id == self._import_id)
        votes = self._connection.scalars(keys.order_by(schema.waiting_votes.c.row)).all()
        base = None
        if parent is not None and not counted["n_replaced"]:
            wanted = select(func.coalesce(table.c.base_id, table.c.id)).where(table.c.id == parent.id)
            base = self._connection.execute(wanted).scalar_one()
        row = {
            "campaign_id": campaign_id,
            "source": source,
            "digest": catalogue_digest(self._stream(), after=None if parent is None else parent.digest),
            "n_galaxies": counted["n_added"] + (0 if parent is None else parent.n_galaxies),
            "n_failed": counted["n_failed"] + (0 if parent is None else parent.n_failed),
            "votes_key": join_votes(None if parent is None else parent.votes_key, votes),
            "created_at": at,
            "base_id": base,
        }
        new: int = self._connection.execute(table.insert().values(row).returning(table.c.id)).scalar_one()
        if parent is not None and base is None:
            self._replace(parent, new)
        self._append(new if base is None else base)
        return new

    def _stream(self) -> Iterator[Galaxy]:
        """Yield what waits in the order it will have, in flat memory."""
        columns = [self._waiting.c[name] for name in _FIELDS]
        wanted = select(literal(-1).label("row"), *columns).where(self._own).order_by(*self._order)
        options = {"yield_per": 10_000}
        for row in self._connection.execute(wanted, execution_options=options).mappings():
            yield Galaxy(**row)

    @property
    def _order(self) -> tuple[ColumnElement[int], ColumnElement[str]]:
        return self._waiting.c.place, self._waiting.c.galaxy_id

    def _append(self, base: int) -> None:
        first = 0 if self.parent is None else self.parent.n_galaxies
        place = cast(func.row_number().over(order_by=self._order) - 1 + first, Integer)
        columns = [self._waiting.c[name] for name in _FIELDS]
        self._insert(select(literal(base), place, *columns).where(self._own))

    def _insert(self, rows: Select[Any]) -> None:
        names = ["catalogue_id", "row", *_FIELDS]
        self._connection.execute(schema.galaxies.insert().from_select(names, rows))

    def _replace(self, parent: Catalogue, new: int) -> None:
        """Copy the galaxies before, with those that are replaced in their places, and list the shards without any."""
        old, waiting, shards = schema.galaxies, self._waiting, schema.image_shards
        changed = waiting.c.galaxy_id.is_not(None)
        content = [case((changed, waiting.c[name]), else_=old.c[name]) for name in _CONTENT]
        kept = changed & (waiting.c.unbiased != old.c.unbiased)
        member = case((kept, waiting.c.evaluation), else_=old.c.evaluation)
        joined = old.outerjoin(waiting, self._own & (waiting.c.galaxy_id == old.c.galaxy_id))
        self._insert(
            select(literal(new), old.c.row, old.c.galaxy_id, *content, member)
            .select_from(joined)
            .where(schema.galaxies_of(parent.id))
        )
        last = shards.alias()
        end = select(func.max(last.c.index)).where(last.c.catalogue_id == parent.id, last.c.pack == shards.c.pack)
        inside = (
            select(old.c.row)
            .join(waiting, self._own & (waiting.c.galaxy_id == old.c.galaxy_id))
            .where(
                schema.galaxies_of(parent.id),
                old.c.row >= shards.c.index * (shards.c.n_galaxies + shards.c.n_failed),
                old.c.row < (shards.c.index + 1) * (shards.c.n_galaxies + shards.c.n_failed),
            )
        )
        names = [column.key for column in shards.c if column.key != "catalogue_id"]
        untouched = select(literal(new), *(shards.c[name] for name in names)).where(
            shards.c.catalogue_id == parent.id, shards.c.index < end.scalar_subquery(), ~inside.exists()
        )
        self._connection.execute(shards.insert().from_select(["catalogue_id", *names], untouched))
        self._take_out(self._there(parent))
