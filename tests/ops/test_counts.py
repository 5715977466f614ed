"""Counts that are kept where rows are written are what a recount finds, whoever writes at the same time."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Connection, Engine, delete, func, select, text

from alservice.errors import Conflict, IllegalTransition
from alservice.ops import schema as ops_schema
from alservice.ops.figures import SqlFigures
from alservice.states import SUBJECTS, SubjectState
from alservice.storage.postgres import alembic_config, transaction, upgrade
from alservice.subjects import schema as subjects_schema
from alservice.subjects.subject import Subject
from alservice.votes import schema as votes_schema
from tests.support.dashboards import World, populate
from tests.support.stores import Stores, make_drafts
from tests.support.worlds import import_rows, make_campaign, make_row

S = SubjectState

Ledger = Mapping[tuple[int, str], int]


@pytest.fixture
def world(engine: Engine, tmp_path: Path) -> World:
    """A campaign with subjects in every state, votes and quarantine."""
    return populate(engine, tmp_path, cycles=2)


def both_ledgers(connection: Connection) -> tuple[Ledger, Ledger]:
    """Return rows by campaign and state: as counted, and as kept."""
    rows, kept = subjects_schema.subjects, ops_schema.subject_counts
    counted = select(rows.c.campaign_id, rows.c.state, func.count()).group_by(rows.c.campaign_id, rows.c.state)
    summed = select(kept.c.campaign_id, kept.c.state, func.sum(kept.c.subjects))
    summed = summed.group_by(kept.c.campaign_id, kept.c.state).having(func.sum(kept.c.subjects) != 0)
    first, second = ({(a, b): int(n) for a, b, n in connection.execute(wanted)} for wanted in (counted, summed))
    return first, second


def walk(engine: Engine, stores: Stores, rows: Sequence[Subject], seed: int) -> None:
    """Take some rows at random through their table, some of them along steps that it refuses."""
    rng = random.Random(seed)
    for _ in range(25):
        some = rng.sample(rows, k=rng.randint(1, len(rows)))
        to = rng.choice(sorted(S))
        told = {row.id: 1000 + row.id for row in some}
        try:
            stores.subjects.mark(some, to, zooniverse_ids=told)
        except (IllegalTransition, Conflict):
            reset = "UPDATE subjects SET state = 'verified' WHERE id = :id AND state = 'failed'"
            with transaction(engine) as connection:
                connection.execute(text(reset), {"id": some[0].id})


def test_a_ledger_that_many_move_is_counted_right(engine: Engine, stores: Stores, cycle) -> None:
    """Threads move rows, are refused and roll back; at any moment a reader finds what it would count itself."""
    rows = stores.subjects.plan(cycle, make_drafts(cycle, 48), n_votes=40)
    done = threading.Event()

    def look() -> int:
        looks = 0
        while not done.is_set() or not looks:
            with transaction(engine.execution_options(isolation_level="REPEATABLE READ")) as connection:
                counted, kept = both_ledgers(connection)
            assert kept == counted
            looks += 1
        return looks

    with ThreadPoolExecutor(9) as pool:
        looking = pool.submit(look)
        try:
            list(pool.map(lambda n: walk(engine, stores, rows[n * 6 : n * 6 + 6], n), range(8)))
        finally:
            done.set()
        assert looking.result() > 0
    with transaction(engine) as connection:
        counted, kept = both_ledgers(connection)
    assert kept == counted
    assert sum(counted.values()) == len(rows)
    assert len(counted) > 3, "the walks went somewhere"


def test_the_ledger_keeps_its_rows(engine: Engine, stores: Stores, cycle) -> None:
    """A row that is gone could be asked for twice."""
    stores.subjects.plan(cycle, make_drafts(cycle, 2), n_votes=40)
    for statement in (delete(subjects_schema.subjects), text("TRUNCATE subjects CASCADE")):
        with pytest.raises(Conflict, match="the upload ledger keeps its rows"), transaction(engine) as connection:
            connection.execute(statement)


def test_figures_are_what_a_recount_finds(world: World) -> None:
    """Subjects, arrivals and what waits, of one campaign among others; one that has nothing has zeros."""
    factory, hands = world.factory, world.hands
    import_rows(factory, make_campaign(name="fresh"), [make_row(1)])
    fresh = factory.campaigns.get("fresh").id
    mine = world.campaign.id
    found = SqlFigures(factory.engine, hands).campaigns([mine, fresh])
    rows, files = votes_schema.classifications, votes_schema.quarantined_rows
    waits = rows.c.verdict.in_(("quarantined", "unknown-subject"))
    hour = hands.now.replace(minute=0, second=0, microsecond=0)
    day = rows.c.received_at >= hour - timedelta(hours=23)
    with transaction(factory.engine) as connection:
        counted, _ = both_ledgers(connection)

        def n(*conditions) -> int:
            return int(connection.scalar(select(func.count()).select_from(rows).where(*conditions)) or 0)

        broken = int(connection.scalar(select(func.count()).select_from(files)) or 0)
        assert (found[mine].arrived, found[mine].day) == (n(), n(day))
        assert found[mine].waiting == n(waits) + broken > 0
    assert found[mine].subjects == {state: counted.get((mine, state), 0) for state in S}
    assert found[mine].arrived > found[mine].day > 0
    assert found[mine].cycle == factory.cycles.get(world.held.id)
    assert found[mine].champion == factory.models.champion(mine)
    assert set(found[mine].cursors) == {"api"}
    assert found[fresh].subjects == dict.fromkeys(S, 0)
    nothing = found[fresh]
    assert (nothing.cycle, nothing.champion, nothing.pause) == (None, None, None)
    assert (nothing.arrived, nothing.day, nothing.waiting, nothing.cursors) == (0, 0, 0, {})
    assert set(SUBJECTS.transitions) == set(nothing.subjects)


def test_rows_of_before_are_counted_by_the_migration(world: World) -> None:
    """A database with rows comes forward with their counts, and goes on from them."""
    engine = world.factory.engine
    before = SqlFigures(engine, world.hands).campaigns([world.campaign.id])
    with transaction(engine) as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0007")
    upgrade(engine)
    assert SqlFigures(engine, world.hands).campaigns([world.campaign.id]) == before
    live = world.factory.ledger.of_cycle(world.held.id, (S.LIVE,))
    world.factory.ledger.mark(live, S.RETIRED)
    with transaction(engine) as connection:
        counted, kept = both_ledgers(connection)
    assert kept == counted
