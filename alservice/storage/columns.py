"""Kinds of columns and constraints that the tables share."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Identity,
    Integer,
    Text,
    TypeDecorator,
)

from alservice.states import named


class UtcDateTime(TypeDecorator[datetime]):
    """A moment, read back in UTC whatever the session's zone; a time without a zone is refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _: Dialect) -> datetime | None:
        """Refuse a naive time, whose zone Postgres would guess."""
        if value is not None and value.tzinfo is None:
            raise ValueError(f"time {value} has no zone")
        return value

    def process_result_value(self, value: datetime | None, _: Dialect) -> datetime | None:
        """Return the moment in UTC."""
        return None if value is None else value.astimezone(UTC)


class EnumText(TypeDecorator[StrEnum]):
    """A member of an enum, stored as its text; `one_of` adds the check that keeps others out.

    A newer version may have stored a name that this one does not know: it is read as `named` reads it.
    """

    impl = Text
    cache_ok = True

    def __init__(self, enum: type[StrEnum]) -> None:
        super().__init__()
        self.enum = enum

    def process_result_value(self, value: str | None, _: Dialect) -> StrEnum | None:
        """Return the member."""
        return None if value is None else named(self.enum, value)


ByteText = Text(collation="C")
"""Text ordered by code point, as Python orders it, on every server: galaxy ids."""


def identity() -> Column[int]:
    """Return the column ``id``, numbered by Postgres."""
    return Column("id", BigInteger, Identity(always=True), primary_key=True)


def references(target: str, *, primary_key: bool = False, unique: bool = False, index: bool = False) -> Column[int]:
    """Return a column such as ``cycle_id`` that names a row of another table."""
    return Column(
        f"{target.removesuffix('s')}_id",
        ForeignKey(f"{target}.id"),
        primary_key=primary_key,
        unique=unique,
        index=index,
        nullable=False,
    )


def quoted(names: Iterable[str]) -> str:
    """Return names as the inside of an SQL list."""
    return ", ".join(f"'{name}'" for name in sorted(names))


def one_of(column: str, names: Iterable[str]) -> CheckConstraint:
    """Return the check that a column holds one of some names, such as the states of an enum."""
    return CheckConstraint(f"{column} IN ({quoted(names)})", name=column)


def counts(*columns: str) -> CheckConstraint:
    """Return the check that columns count something."""
    return CheckConstraint(" AND ".join(f"{column} >= 0" for column in columns), name="counts")


def shard_columns() -> tuple[Column[int] | Column[str] | CheckConstraint, ...]:
    """Return the columns of a table that lists the shards of an object."""
    return (
        Column("index", Integer, primary_key=True),
        Column("key", Text, nullable=False),
        Column("n_galaxies", Integer, nullable=False),
        Column("n_failed", Integer, nullable=False),
        counts("index", "n_galaxies", "n_failed"),
    )
