"""Lists of finished shards: image shards of a catalogue and posterior shards of a model are kept alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Connection, Table, select
from sqlalchemy.dialects.postgresql import insert as upsert

from alservice.catalogue.galaxies import Shard
from alservice.storage.rows import columns_of


def list_shards(connection: Connection, table: Table, **owner: int | str) -> Sequence[Shard]:
    """Return the shards of one owner, in order."""
    wanted = select(*columns_of(table, Shard)).filter_by(**owner).order_by(table.c.index)
    return [Shard(**row) for row in connection.execute(wanted).mappings()]


def save_shard(connection: Connection, table: Table, shard: Shard, **owner: int | str) -> None:
    """List a finished shard; of two executors that made the same one, the first is kept."""
    connection.execute(upsert(table).values(**owner, **asdict(shard)).on_conflict_do_nothing())
