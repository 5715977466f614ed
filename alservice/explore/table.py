"""The explorer's table: columns in one Parquet file, asked by DuckDB within bounds of time and memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import Any, Final

import numpy as np

from alservice.errors import AnswerTooSlow, BadConfig, BadInput, NotFound
from alservice.explore.choice import Choice, column_of, names
from alservice.explore.columns import CONFIDENCE, MEASURES, NOVELTY, PLACE, SCORE, VOTES, explore_columns
from alservice.release.columns import DEC, ID, RA
from alservice.release.rows import Rows
from alservice.science.tree import Tree

MAX_ITEMS: Final = 100
"""Galaxies of one page."""

MAX_FIRST: Final = 100_000
"""Place of the last page's first galaxy: who wants more downloads it."""

TIMEOUT_S: Final = 10.0
"""Seconds after which a question is given up."""

_SETTINGS: Final[Mapping[str, Any]] = {
    "memory_limit": "512MB",
    "threads": 2,
    "temp_directory": "",
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}

SHOWN: Final = (PLACE, ID, RA, DEC, VOTES, SCORE, CONFIDENCE, NOVELTY)
"""Columns of every galaxy that is listed."""

_SEPARATION: Final = f"""2 * degrees(asin(least(1, sqrt(
    pow(sin(radians({DEC} - $dec) / 2), 2)
    + cos(radians({DEC})) * cos(radians($dec)) * pow(sin(radians({RA} - $ra) / 2), 2)))))"""
"""Angle (deg) between a galaxy and a position, by haversines, which are exact for small ones."""


def missing(error: ImportError) -> BadConfig:
    """Return the error of an installation without the extra."""
    package = error.name or "duckdb"
    return BadConfig(f"exploring needs {package}: pip install 'alservice[explore]'", package=package)


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """Galaxies that a choice holds.

    Parameters
    ----------
    n, of
        How many hold, of how many in the table.
    items
        Some of them in order: ``place``, id, position, measures and what was chosen by; None where there is no value.
    """

    n: int
    of: int
    items: tuple[Mapping[str, Any], ...]


class Table:
    """Galaxies as one model sees them, on disk; a process reads of the columns that are asked for.

    Parameters
    ----------
    path
        Parquet file that `alservice.explore.build` made.
    tree
        Whose answers are its columns.
    timeout_s
        Bound on each question.

    Raises
    ------
    BadConfig
        DuckDB is not installed.
    """

    def __init__(self, path: Path, tree: Tree, *, timeout_s: float = TIMEOUT_S) -> None:
        try:
            import duckdb
        except ImportError as error:
            raise missing(error) from None
        self._timeout_s = timeout_s
        self._interrupted: type[Exception] = duckdb.InterruptException
        self._connection = duckdb.connect(config=dict(_SETTINGS))
        quoted = str(path).replace("'", "''")
        # Nothing else of this machine, or of any other, can be opened from here on.
        self._connection.execute(f"SET allowed_paths = ['{quoted}']")
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute(f"CREATE VIEW galaxies AS SELECT * FROM read_parquet('{quoted}')")  # noqa: S608
        self._connection.execute("SET lock_configuration = true")
        there = {row[0] for row in self.ask("DESCRIBE galaxies", {})}  # an earlier release's has no map
        self.columns = tuple(column for column in explore_columns(tree) if column.name in there)
        self.names = {name: column for name, column in names(tree).items() if column in there}
        most = ", ".join(f"max({name})" for name in MEASURES)
        ((n, longest, *tops),) = self.ask(f"SELECT count(*), max(strlen({ID})), {most} FROM galaxies", {})  # noqa: S608
        self.n, self.id_bytes = int(n), max(1, int(longest or 0))
        self.largest: Mapping[str, float] = {name: float(top or 0) for name, top in zip(MEASURES, tops, strict=True)}
        """Largest value of each measure, 0 where there is none."""

    def count(self, choice: Choice) -> int:
        """Return how many galaxies a choice holds; raises as `page`."""
        where, values = self.where(choice)
        return int(self.ask(f"SELECT count(*) FROM galaxies{where}", values)[0][0])  # noqa: S608 - columns are ours

    def page(self, choice: Choice, *, first: int = 0, limit: int = 24) -> Found:
        """Return some galaxies of a choice, in its order.

        Parameters
        ----------
        first
            Place in that order, from 0.

        Raises
        ------
        BadInput
            A column is unknown, or the page too far or too long.
        AnswerTooSlow
            It took too long.
        """
        if not (0 <= first <= MAX_FIRST and 1 <= limit <= MAX_ITEMS):
            raise BadInput(f"a page begins at 0 to {MAX_FIRST:,} and has 1 to {MAX_ITEMS} galaxies", field="limit")
        where, values = self.where(choice)
        columns = dict.fromkeys((*SHOWN, *map(self._column, self._named(choice))))
        rows = self.ask(
            f"SELECT {quoted(columns)} FROM galaxies{where}{self._order(choice)} LIMIT {limit:d} OFFSET {first:d}",  # noqa: S608
            values,
        )
        return Found(n=self.count(choice), of=self.n, items=tuple(dict(zip(columns, row, strict=True)) for row in rows))

    def place_of(self, galaxy_ids: Sequence[str]) -> list[int]:
        """Return the places of galaxies; raises `NotFound` naming the first that was not predicted."""
        known = self.known_places(galaxy_ids)
        absent = next((name for name in galaxy_ids if name not in known), None)
        if absent is not None:
            raise NotFound(f"the index has no galaxy {absent[:200]!r}", galaxy=absent[:200])
        return [known[name] for name in galaxy_ids]

    def known_places(self, galaxy_ids: Sequence[str]) -> Mapping[str, int]:
        """Return the places of those of some galaxies that were predicted."""
        rows = self.ask(f"SELECT {ID}, {PLACE} FROM galaxies WHERE {ID} IN $ids", {"ids": list(galaxy_ids)})  # noqa: S608
        return {name: int(place) for name, place in rows}

    def ids(self, choice: Choice) -> list[str]:
        """Return the ids of all galaxies of a choice, in its order; raises as `page`."""
        where, values = self.where(choice)
        rows = self.ask(f"SELECT {ID} FROM galaxies{where}{self._order(choice)}", values)  # noqa: S608
        return [row[0] for row in rows]

    def named(self, galaxy_ids: Sequence[str]) -> list[Mapping[str, Any]]:
        """Return those of some galaxies that were predicted, by place."""
        rows = self.ask(
            f"SELECT {quoted(SHOWN)} FROM galaxies WHERE {ID} IN $ids ORDER BY {PLACE}",  # noqa: S608
            {"ids": list(galaxy_ids)},
        )
        return [dict(zip(SHOWN, row, strict=True)) for row in rows]

    def at(self, places: Sequence[int]) -> list[Mapping[str, Any]]:
        """Return galaxies by their places, in the order of these."""
        rows = self.ask(
            f"SELECT {quoted(SHOWN)} FROM galaxies WHERE {PLACE} IN $places",  # noqa: S608
            {"places": [int(place) for place in places]},
        )
        known = {row[0]: dict(zip(SHOWN, row, strict=True)) for row in rows}
        return [known[int(place)] for place in places]

    def near(self, ra_deg: float, dec_deg: float, *, radius_deg: float, n: int) -> list[Mapping[str, Any]]:
        """Return the galaxies nearest to a position, within a radius, each with its ``separation_deg``.

        Raises
        ------
        BadInput
            The position is not on the sky, or the radius none.
        """
        check_position(ra_deg, dec_deg)
        if not 0 < radius_deg <= 180:
            raise BadInput(f"a radius is above 0 and at most 180 deg, not {radius_deg:g}", field="radius")
        rows = self.ask(
            f"SELECT {quoted(SHOWN)}, {_SEPARATION} AS separation FROM galaxies"  # noqa: S608
            f" WHERE {DEC} BETWEEN $dec - $radius AND $dec + $radius AND separation <= $radius"
            f" ORDER BY separation, {PLACE} LIMIT {n:d}",
            {"ra": ra_deg, "dec": dec_deg, "radius": radius_deg},
        )
        return [dict(zip((*SHOWN, "separation_deg"), row, strict=True)) for row in rows]

    def rows(self, choice: Choice, *, group: int) -> Iterator[Rows]:
        """Yield all rows of a choice in its order, all columns, so many at a time; as `page` for errors."""
        where, values = self.where(choice)
        return self.stream(f"{where}{self._order(choice)}", values, group=group)

    def rows_named(self, galaxy_ids: Sequence[str], *, group: int) -> Iterator[Rows]:
        """Yield the rows of those of some galaxies that were predicted, by place, all columns, so many at a time."""
        return self.stream(f" WHERE {ID} IN $ids ORDER BY {PLACE}", {"ids": list(galaxy_ids)}, group=group)

    def stream(self, clause: str, values: Mapping[str, Any], *, group: int) -> Iterator[Rows]:
        """Yield all columns of the rows that a clause holds, so many at a time; nothing of it is text from outside."""
        columns = [column.name for column in self.columns]
        cursor = self._connection.cursor()
        with self._bounded(cursor.interrupt, 10 * self._timeout_s):
            cursor.execute(f"SELECT {quoted(columns)} FROM galaxies{clause}", dict(values))  # noqa: S608
            while rows := cursor.fetchmany(group):
                by_column = dict(zip(columns, zip(*rows, strict=True), strict=True))
                yield {c.name: np.array(by_column[c.name], dtype=_dtype(c.kind, c.dtype)) for c in self.columns}

    def _named(self, choice: Choice) -> Sequence[str]:
        return [*(condition.name for condition in choice.conditions), choice.sort]

    def _column(self, name: str) -> str:
        return column_of(self.names, name)

    def where(self, choice: Choice) -> tuple[str, dict[str, Any]]:
        """Return the clause of a choice, whose values are parameters, and these; raises `BadInput`."""
        parts: list[str] = []
        values: dict[str, Any] = {}
        for place, condition in enumerate(choice.conditions):
            parts.append(f"{identifier(self._column(condition.name))} BETWEEN $low{place} AND $high{place}")
            values[f"low{place}"], values[f"high{place}"] = condition.low, condition.high
        return (f" WHERE {' AND '.join(parts)}" if parts else ""), values

    def _order(self, choice: Choice) -> str:
        direction = "DESC" if choice.descending else "ASC"
        return f" ORDER BY {identifier(self._column(choice.sort))} {direction} NULLS LAST, {PLACE}"

    def ask(self, query: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Return the rows of a query, nothing of which is text from outside; `AnswerTooSlow` where it took too long."""
        cursor = self._connection.cursor()
        with self._bounded(cursor.interrupt, self._timeout_s):
            found: list[tuple[Any, ...]] = cursor.execute(query, dict(values)).fetchall()
            return found

    def arrays(self, query: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what `ask` does by column, each an array (N,); for many rows, none of whose values is null."""
        cursor = self._connection.cursor()
        with self._bounded(cursor.interrupt, self._timeout_s):
            found: Mapping[str, Any] = cursor.execute(query, dict(values)).fetchnumpy()
            return found

    @contextmanager
    def _bounded(self, interrupt: Callable[[], None], timeout_s: float) -> Iterator[None]:
        timer = Timer(timeout_s, interrupt)
        timer.daemon = True
        timer.start()
        try:
            yield
        except self._interrupted:
            raise AnswerTooSlow(f"the table did not answer within {timeout_s:g} s") from None
        finally:
            timer.cancel()


def check_position(ra_deg: float, dec_deg: float) -> None:
    """Raise `BadInput` unless a position (deg) is on the sky."""
    if not (0 <= ra_deg <= 360 and -90 <= dec_deg <= 90):
        raise BadInput(
            f"({ra_deg:g}, {dec_deg:g}) deg is not on the sky: ra is 0 to 360, dec -90 to 90", field="position"
        )


def quoted(columns: Sequence[str] | Mapping[str, Any]) -> str:
    """Return columns as a query lists them."""
    return ", ".join(map(identifier, columns))


def identifier(column: str) -> str:
    """Return a column as a query names it."""
    return '"' + column.replace('"', '""') + '"'


def _dtype(kind: str, dtype: str) -> Any:
    return object if kind == "text" else np.dtype(dtype)
