"""A database made by the first released schema comes forward with its data in place."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from alembic import command
from sqlalchemy import Engine, inspect, text
from typer.testing import CliRunner

from alservice.access import digest_of_secret
from alservice.campaigns.cycle import CycleKind, CycleState
from alservice.campaigns.cycle_store import CycleStore
from alservice.campaigns.store import CampaignStore, EventLog
from alservice.errors import SchemaMismatch
from alservice.ops.tables import metadata
from alservice.ops.tokens import SqlTokenStore
from alservice.registry.store import ModelStore, SnapshotStore
from alservice.science.tree import load_tree
from alservice.storage.postgres import alembic_config, check_schema, make_engine, schema_state, transaction, upgrade
from alservice.subjects.ledger import SqlSubjectLedger
from alservice.votes.store import ClassificationStore
from tests.support.shared import ROOT
from tests.support.worlds import NOON

DUMP = ROOT / "tests" / "data" / "schema-0001.sql"

RESHAPED = {"tallies", "tally_totals", "alembic_version"}
"""Tables whose rows a revision rewrites; the votes in them are compared as numbers."""

BEFORE_SESSIONS = "0010"
"""The revision before sessions were kept in rows."""

Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture
def old(empty_database_url: str) -> Iterator[Engine]:
    """A database as the first release left it."""
    engine = make_engine(empty_database_url)
    with transaction(engine) as connection:
        connection.exec_driver_sql(DUMP.read_text(encoding="utf-8").replace("%", "%%"))
    yield engine
    engine.dispose()


def rows_of(engine: Engine) -> Rows:
    """Return every row of every table, in a fixed order."""
    with transaction(engine) as connection:
        tables = inspect(connection).get_table_names()
        found = {t: [dict(r) for r in connection.execute(text(f"SELECT * FROM {t}")).mappings()] for t in tables}
    return {table: sorted(rows, key=repr) for table, rows in found.items()}


def test_every_row_of_the_first_schema_survives(old: Engine) -> None:
    """Each table has rows; after the upgrade each is there with the same values."""
    before = rows_of(old)
    assert all(before.values()), "a table without rows proves nothing"
    for row in before["campaign_versions"]:
        assert row["document"]["acquisition"]["policy"] == "power"
        row["document"]["acquisition"]["policy"] = "power_bald"  # what the same decision is called now
    upgrade(old)
    check_schema(old)
    after = rows_of(old)
    assert set(metadata.tables) <= set(after)
    for table in set(before) - RESHAPED:
        kept = [name for name in before[table][0] if name in after[table][0]]
        assert kept, table

        def values(rows: list[dict[str, Any]], names: list[str]) -> list[str]:
            return sorted(repr([row[name] for name in names]) for row in rows)

        assert values(after[table], kept) == values(before[table], kept), table


def test_what_came_forward_is_read_and_worked_with(old: Engine) -> None:
    """Stores read every record of it, votes are the same numbers, and the next cycle starts."""
    votes = {(r["galaxy_id"], r["column_index"]): r["votes"] for r in rows_of(old)["tallies"]}
    upgrade(old)
    campaigns, cycles, models = (make(old, lambda: NOON) for make in (CampaignStore, CycleStore, ModelStore))
    row = campaigns.get("rehearsal")
    done = cycles.list(row.id)
    assert [(c.state, c.kind) for c in done] == [(CycleState.DONE, CycleKind.FULL)] * 2
    champion = models.champion(row.id)
    assert champion is not None
    decision = models.decision(done[0].id)
    assert decision is not None
    assert decision.verdict == "promote"
    assert [e.model_id for e in SnapshotStore(old, lambda: NOON).evaluations(row.id)] == [champion.id]
    assert len(list(SqlSubjectLedger(old, lambda: NOON).of_campaign(row.id))) > 10
    assert EventLog(old).list(row.id)[-1].kind == "cycle.started"

    tree = load_tree(row.settings.tree)
    classifications = ClassificationStore(old, lambda: NOON)
    tallies = classifications.tallies(row.id, tree.n_answers)
    found = {
        (tallies.galaxy_ids[i], int(j)): int(tallies.counts[i, j])
        for i, j in zip(*np.nonzero(tallies.counts), strict=True)
    }
    assert found == votes
    assert sum(classifications.quarantined(row.id, limit=10).reasons.values()) == 1
    assert cycles.start(row, done[-1].catalogue_id, champion.id, "test").number == 2


def test_an_old_schema_is_refused_with_what_to_do(old: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a process nor a command works on it; one command brings it forward."""
    from alservice.cli import app

    needed = schema_state(old)[1]
    with pytest.raises(SchemaMismatch, match=f"at revision 0001; this release needs revision {needed}"):
        check_schema(old)
    monkeypatch.setenv("ALSERVICE_DATABASE_URL", old.url.render_as_string(hide_password=False))
    refused = CliRunner().invoke(app, ["cycle", "list", "--campaign", "rehearsal"])
    assert refused.exit_code == 1
    assert "[schema-mismatch]" in refused.output
    assert "alservice db upgrade" in refused.output
    assert CliRunner().invoke(app, ["db", "upgrade"]).exit_code == 0
    check_schema(old)


def test_a_newer_schema_is_refused_by_every_command(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """An old release never works on, or upgrades, what a newer one made."""
    from alservice.cli import app

    with transaction(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    monkeypatch.setenv("ALSERVICE_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    for words in (["cycle", "list", "--campaign", "x"], ["db", "upgrade"]):
        refused = CliRunner().invoke(app, words)
        assert refused.exit_code == 1
        assert "9999" in refused.output


def test_tokens_and_webhooks_of_the_revision_before_go_on(empty_database_url: str) -> None:
    """A token made before sessions were rows still opens; a webhook keeps its address, and its login is gone."""
    engine = make_engine(empty_database_url)
    with transaction(engine) as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, BEFORE_SESSIONS)
        campaign = "INSERT INTO campaigns (name) VALUES ('old') RETURNING id"
        campaign_id = connection.execute(text(campaign)).scalar_one()
        values = {"digest": digest_of_secret("als_old"), "campaign": campaign_id}
        for statement in (
            "INSERT INTO tokens (name, scope, digest, created_at) VALUES ('anna', 'operate', :digest, now())",
            "INSERT INTO webhooks (campaign_id, key, digest, created_at) VALUES (:campaign, 'galaxy_zoo', 'x', now())",
        ):
            connection.execute(text(statement), values)
    upgrade(engine)
    check_schema(engine)
    token = SqlTokenStore(engine, lambda: NOON).find(values["digest"])
    assert token is not None
    assert (token.name, token.state(NOON), token.campaign_id, token.previous_until) == ("anna", "valid", None, None)
    with transaction(engine) as connection:
        webhook = dict(connection.execute(text("SELECT * FROM webhooks")).mappings().one())
    assert (webhook["campaign_id"], webhook["key"], "digest" in webhook) == (campaign_id, "galaxy_zoo", False)
    engine.dispose()
