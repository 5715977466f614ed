"""Migrations build what the tables say, on the database engine of production."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, text

from alservice.errors import SchemaMismatch
from alservice.ops.tables import metadata
from alservice.storage.postgres import alembic_config, check_schema, make_engine, schema_state, transaction, upgrade

CATALOG = """
SELECT 'column', format('%s.%s', table_name, column_name),
       format('%s %s %s %s %s %s', data_type, udt_name, is_nullable, collation_name, column_default, is_identity)
FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL
SELECT 'constraint', format('%s.%s', conrelid::regclass, conname), pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL
SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL
SELECT 'trigger', tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL
SELECT 'function', proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""


@pytest.fixture
def empty_engine(empty_database_url: str) -> Iterator[Engine]:
    """Engine on a database without tables."""
    engine = make_engine(empty_database_url)
    yield engine
    engine.dispose()


def catalog(engine: Engine) -> dict[tuple[str, str], str]:
    """Return everything that Postgres knows of our tables, but Alembic's own."""
    with transaction(engine) as connection:
        rows = connection.execute(text(CATALOG)).all()
    return {(kind, name): definition for kind, name, definition in rows if "alembic_version" not in name}


def test_models_and_migrations_agree(engine: Engine) -> None:
    """After an upgrade to head, Alembic finds nothing that the tables would change."""
    with transaction(engine) as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_migrations_build_every_constraint(engine: Engine, empty_engine: Engine) -> None:
    """Checks, partial indexes, collations and triggers, which Alembic does not compare, are the tables' too."""
    metadata.create_all(empty_engine)
    assert catalog(engine) == catalog(empty_engine)


def test_upgrade_is_repeatable(empty_engine: Engine) -> None:
    """A first upgrade builds the schema; another changes nothing."""
    assert schema_state(empty_engine)[0] is None
    upgrade(empty_engine)
    first = catalog(empty_engine)
    upgrade(empty_engine)
    check_schema(empty_engine)
    assert catalog(empty_engine) == first


def test_simultaneous_upgrades_are_one(empty_engine: Engine) -> None:
    """Processes that open a new database together wait for whoever upgrades it."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(upgrade, [empty_engine] * 4))
    check_schema(empty_engine)


def test_downgrade_leaves_nothing(engine: Engine) -> None:
    """Every table, index and function of the service is gone after a downgrade to base."""
    with transaction(engine) as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert catalog(engine) == {}


def test_empty_database_is_refused(empty_engine: Engine) -> None:
    """A database without the schema is refused with what to do."""
    with pytest.raises(SchemaMismatch, match="is empty") as refusal:
        check_schema(empty_engine)
    assert "alservice db upgrade" in refusal.value.remedy


def test_newer_schema_is_refused(engine: Engine) -> None:
    """A database that a newer release upgraded is neither used nor touched."""
    with transaction(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'ffff'"))
    with pytest.raises(SchemaMismatch, match="at revision ffff"):
        check_schema(engine)
    with pytest.raises(SchemaMismatch, match="newer release"):
        upgrade(engine)
    assert schema_state(engine)[0] == "ffff"


def test_promotions_of_before_are_taken_from_the_audit(empty_engine: Engine) -> None:
    """A registry that has had champions keeps their order: a rollback finds the one before."""
    with transaction(empty_engine) as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        connection.execute(text("SET LOCAL session_replication_role = replica"))  # without the rows it refers to
        for campaign, model, to in ((1, 4, "champion"), (2, 5, "champion"), (1, 4, "retired"), (1, 6, "champion")):
            connection.execute(
                text(
                    "INSERT INTO events (campaign_id, at, actor, kind, detail) VALUES (:campaign, now(), 'gate', "
                    "'model.moved', jsonb_build_object('model', CAST(:model AS bigint), 'to', CAST(:to AS text)))"
                ),
                {"campaign": campaign, "model": model, "to": to},
            )
        command.upgrade(config, "0004")
        found = connection.execute(text("SELECT campaign_id, model_id, replaced_id FROM promotions ORDER BY id")).all()
    assert [tuple(row) for row in found] == [(1, 4, None), (2, 5, None), (1, 6, 4)]
