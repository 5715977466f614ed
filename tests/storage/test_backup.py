"""Backups of a real Postgres, restored into another database."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from alservice.campaigns.store import CampaignRow
from alservice.errors import BadInput, Conflict
from alservice.ops.tables import metadata
from alservice.storage.embedded_postgres import (
    SUPERUSER,
    BackupFailed,
    EmbeddedPostgres,
    SuperuserRefused,
    dump_database,
    restore_database,
)
from alservice.storage.postgres import check_schema, make_engine, transaction
from tests.support.postgres import scratch_folder
from tests.support.rehearsals import environment
from tests.support.shared import ROOT
from tests.support.stores import Stores


@pytest.fixture
def dump(database_url: str, stores: Stores, campaign: CampaignRow, tmp_path: Path) -> Iterator[Path]:
    """A backup of a database with a campaign in it."""
    path = tmp_path / "a.dump"
    assert dump_database(database_url, path) == path.stat().st_size > 1000
    yield path
    assert sorted(p.name for p in tmp_path.iterdir() if "part" in p.name) == []


def contents(url: str) -> dict[str, list[tuple[object, ...]]]:
    """Return every row of every table."""
    engine = make_engine(url)
    with transaction(engine) as connection:
        rows = {t: [tuple(r) for r in connection.execute(text(f"SELECT * FROM {t}"))] for t in metadata.tables}
    check_schema(engine)
    engine.dispose()
    return rows


def triggers(url: str) -> set[tuple[str, str]]:
    """Return the table and name of every trigger."""
    engine = make_engine(url)
    found = text("SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE NOT tgisinternal")
    with transaction(engine) as connection:
        names = {(table, name) for table, name in connection.execute(found)}
    engine.dispose()
    return names


def test_a_restored_database_is_the_one_that_was_backed_up(
    database_url: str, empty_database_url: str, dump: Path
) -> None:
    """Every row of every table, the schema's revision, and what guards and counts rows."""
    restore_database(empty_database_url, dump)
    assert contents(empty_database_url) == contents(database_url)
    assert triggers(empty_database_url) == triggers(database_url)
    assert ("events", "append_only") in triggers(empty_database_url)


def test_a_backup_never_goes_over_data(database_url: str, dump: Path) -> None:
    """A database with tables is refused as it is."""
    before = contents(database_url)
    with pytest.raises(Conflict, match="restore into an empty one"):
        restore_database(database_url, dump)
    assert contents(database_url) == before


def test_a_truncated_or_foreign_file_is_refused(empty_database_url: str, dump: Path, tmp_path: Path) -> None:
    """What is no backup is told by name, and the database stays empty."""
    whole = dump.read_bytes()
    for name, data in (("foreign", b"hello"), ("cut", whole[: len(whole) // 2])):
        bad = tmp_path / name
        bad.write_bytes(data)
        with pytest.raises((BadInput, BackupFailed)):
            restore_database(empty_database_url, bad)
    engine = make_engine(empty_database_url)
    with transaction(engine) as connection:
        assert connection.scalar(text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")) == 0
    engine.dispose()


def test_a_backup_is_its_owners_alone(dump: Path) -> None:
    """It has every vote and the hashes of tokens, and often lies where others look."""
    assert dump.stat().st_mode & 0o777 == 0o600


def test_what_a_backup_says_is_done_by_an_ordinary_role(empty_database_url: str, tmp_path: Path) -> None:
    """A dump that runs a program of the machine is stopped, at once and whenever its trigger would do so later.

    The kind: text from a file, carried out with more rights than its author has.
    """
    proof = tmp_path / "ran"
    tmp_path.chmod(0o777)
    steal = f"COPY (SELECT 1) TO PROGRAM $$touch {proof}$$"
    engine = make_engine(empty_database_url)
    with transaction(engine) as connection:
        assert not connection.scalar(text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"))
        connection.execute(text("CREATE TABLE bait (x int)"))
        body = f"BEGIN {steal}; RETURN NEW; END"
        connection.execute(text(f"CREATE FUNCTION sting() RETURNS trigger LANGUAGE plpgsql AS '{body}'"))
        connection.execute(text("CREATE TRIGGER sting BEFORE INSERT ON bait FOR EACH ROW EXECUTE FUNCTION sting()"))
    dump_database(empty_database_url, tmp_path / "evil.dump")
    with transaction(engine) as connection:
        connection.execute(text("DROP TABLE bait"))
        connection.execute(text("DROP FUNCTION sting"))
    restore_database(empty_database_url, tmp_path / "evil.dump")
    with pytest.raises(DBAPIError, match="permission denied"), transaction(engine) as connection:
        connection.execute(text("INSERT INTO bait VALUES (1)"))
    engine.dispose()
    assert not proof.exists()


def test_a_superuser_is_told_to_restore_as_somebody_else(tmp_path: Path) -> None:
    """Nothing of the file is carried out: it is refused before it is looked at."""
    with scratch_folder() as folder, EmbeddedPostgres(folder) as url:
        superuser = make_url(url).set(username=SUPERUSER).render_as_string()
        with pytest.raises(SuperuserRefused, match="postgres is a superuser"):
            restore_database(superuser, tmp_path / "whatever")


def test_a_failed_backup_leaves_nothing_and_tells_no_password(tmp_path: Path) -> None:
    """Nobody answers: the message has no secret, and no file bears the name."""
    with pytest.raises(BackupFailed) as refusal:
        dump_database("postgresql://someone:geheim@127.0.0.1:9/x", tmp_path / "b.dump")
    assert "geheim" not in f"{refusal.value} {refusal.value.evidence}"
    assert list(tmp_path.iterdir()) == []


def test_the_scripts_bring_a_deployment_back() -> None:
    """Database and objects of one work folder are backed up, twice, and restored into another one."""
    with tempfile.TemporaryDirectory(prefix="alservice-backup-") as folder:
        first, second, kept = (Path(folder) / name for name in ("first", "second", "kept"))

        def run(workdir: Path, *command: str) -> str:
            env = environment(workdir, ALSERVICE_COMMAND=f"{sys.executable} -m alservice.cli")
            done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)
            assert done.returncode == 0, done.stderr + done.stdout
            return done.stdout

        cli = (sys.executable, "-m", "alservice.cli")
        run(first, *cli, "campaign", "create", "--config", "deploy/campaigns/gz-decals-dr5.yaml")
        stored = first / "objects" / "images" / "ab" / "abc.jpg"
        unfinished = first / "objects" / ".tmp" / "half"
        for path in (stored, unfinished):
            path.parent.mkdir(parents=True)
            path.write_bytes(b"bytes")
        for old in ("20200101T000000Z", "20200102T000000Z"):
            kept.mkdir(exist_ok=True)
            (kept / f"alservice-{old}.dump").write_bytes(b"old")
        run(first, "deploy/backup", str(kept), "2")
        dumps = sorted(path.name for path in kept.glob("*.dump"))
        assert len(dumps) == 2
        assert dumps[0] == "alservice-20200102T000000Z.dump"
        assert not (kept / "objects" / ".tmp").exists()

        env = environment(second, ALSERVICE_COMMAND=" ".join(cli))
        said = subprocess.run(
            ["deploy/restore", str(kept)], env=env, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240
        )
        assert "restored at revision" in said.stdout, said.stderr
        assert (second / "objects" / "images" / "ab" / "abc.jpg").read_bytes() == b"bytes"
        assert "schema" in said.stdout
        assert os.access(ROOT / "deploy" / "restore", os.X_OK)
