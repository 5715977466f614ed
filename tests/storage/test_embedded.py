"""The embedded server outlives crashes, is shared, and stops with its last user."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from alservice.errors import DatabaseUnavailable, StorageFull
from alservice.storage import embedded_postgres as cluster_module
from alservice.storage.embedded_postgres import (
    SUPERUSER,
    Cluster,
    EmbeddedPostgres,
    EmbeddedPostgresFailed,
    Programs,
    newest,
    of_version,
)
from alservice.storage.postgres import make_engine, transaction
from tests.support.postgres import scratch_folder
from tests.support.shared import ROOT

OWNER = """
import signal
import sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # as at a terminal, whoever runs the tests
from alservice.storage.embedded_postgres import EmbeddedPostgres
with EmbeddedPostgres(Path(sys.argv[1])) as url:
    print(url, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A work folder; whatever still serves it is stopped at the end."""
    with scratch_folder() as root:
        yield root / "postgres"
        for data in root.rglob("data"):
            Cluster(data=data).stop()


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A folder that was served before, to copy: making one takes most of a start."""
    with scratch_folder() as root:
        with EmbeddedPostgres(root / "postgres"):
            pass
        yield root / "postgres"


@pytest.fixture
def served(folder: Path, made: Path) -> Path:
    """A work folder that was served before."""
    subprocess.run(["cp", "-a", made, folder], check=True)
    return folder


def ask(url: str, *statements: str) -> object:
    """Run statements and return the last one's answer."""
    engine = make_engine(url)
    with transaction(engine) as connection:
        answers = [connection.execute(text(statement)) for statement in statements]
        answer = answers[-1].scalar() if answers[-1].returns_rows else None
    engine.dispose()
    return answer


def is_served(folder: Path) -> bool:
    """Return whether a server runs on the folder."""
    return (folder / "data" / "postmaster.pid").exists()


def server_pid(folder: Path) -> int:
    """Return the process id of the server."""
    return int((folder / "data" / "postmaster.pid").read_text().split()[0])


def start_owner(folder: Path) -> subprocess.Popen[str]:
    """Start a process that uses the folder until its input ends, in a session as a terminal makes one."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, folder],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert owner.stdout is not None
    assert owner.stdout.readline().startswith("postgresql+psycopg2://")
    return owner


def finish(owner: subprocess.Popen[str]) -> int:
    """Let an owner end and return its status."""
    owner.communicate()
    return owner.returncode


def test_first_start_makes_an_empty_database(folder: Path) -> None:
    """Nothing is needed but a folder; the server is closed to the network and to other users, and stops at the end."""
    with EmbeddedPostgres(folder) as url:
        assert ask(url, "SELECT current_database()") == "alservice"
        assert ask(url, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == 0
        assert ask(url, "SHOW listen_addresses") == ""
        assert ask(url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
        assert ask(url, "SELECT upper('é') || ('Z' < 'a')") == "Étrue"
        assert (folder / "data").stat().st_mode & 0o777 == 0o700
    assert not is_served(folder)


def test_data_stays(served: Path) -> None:
    """What was written is there at the next start."""
    with EmbeddedPostgres(served) as url:
        ask(url, "CREATE TABLE kept AS SELECT 7 AS a")
    with EmbeddedPostgres(served) as url:
        assert ask(url, "SELECT a FROM kept") == 7


def test_a_database_of_an_earlier_version_is_given_to_the_ordinary_role(served: Path) -> None:
    """It was the superuser's, with all in it; whoever uses it now may alter, write and count as its owner."""
    with EmbeddedPostgres(served) as url:
        superuser = make_url(url).set(username="postgres").render_as_string()
        ask(
            superuser,
            "ALTER DATABASE alservice OWNER TO postgres",
            "CREATE TABLE kept (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int)",
            "CREATE SEQUENCE own_sequence",
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
            "CREATE TRIGGER f BEFORE INSERT ON kept FOR EACH ROW EXECUTE FUNCTION f()",
            "CREATE TYPE mood AS ENUM ('calm')",
        )
    with EmbeddedPostgres(served) as url:
        added = "INSERT INTO kept (a) VALUES (7) RETURNING id"
        assert ask(url, "ALTER TABLE kept ADD COLUMN b int", "ALTER TYPE mood ADD VALUE 'merry'", added) == 1
        assert ask(url, "DROP FUNCTION f() CASCADE", "CREATE TABLE new (a int)", "SELECT nextval('own_sequence')") == 1


def test_nested_users_share_a_server(served: Path) -> None:
    """Inner users leave it running for the outer one."""
    with EmbeddedPostgres(served) as outer:
        with EmbeddedPostgres(served) as inner:
            assert inner == outer
        assert ask(outer, "SELECT 1") == 1
    assert not is_served(served)


def test_simultaneous_first_users_start_one_server(folder: Path) -> None:
    """Users that arrive together at an empty folder get the same server; it stops when all have left."""
    barrier = Barrier(4)

    def use(_: int) -> int:
        barrier.wait()
        with EmbeddedPostgres(folder) as url:
            ask(url, "SELECT 1")
            pid = server_pid(folder)
            barrier.wait()
        return pid

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(use, range(4)))) == 1
    assert not is_served(folder)


def test_processes_share_a_server(served: Path) -> None:
    """It runs until the last process leaves, whoever started it."""
    owner = start_owner(served)
    with EmbeddedPostgres(served) as url:
        assert finish(owner) == 0
        assert ask(url, "SELECT 1") == 1
    assert not is_served(served)


def test_a_killed_owner_is_not_waited_for(served: Path) -> None:
    """After kill -9 of its only user the server is found by the next one, with its data, and stops with that one."""
    owner = start_owner(served)
    with EmbeddedPostgres(served) as url:
        ask(url, "CREATE TABLE kept AS SELECT 7 AS a")
    owner.kill()
    finish(owner)
    pid = server_pid(served)
    with EmbeddedPostgres(served) as url:
        assert server_pid(served) == pid
        assert ask(url, "SELECT a FROM kept") == 7
    assert not is_served(served)


def test_a_killed_server_recovers(served: Path) -> None:
    """After kill -9 of server and user, what was committed is there at the next start."""
    owner = start_owner(served)
    with EmbeddedPostgres(served) as url:
        ask(url, "CREATE TABLE kept AS SELECT 7 AS a")
    os.kill(server_pid(served), signal.SIGKILL)
    owner.kill()
    finish(owner)
    assert is_served(served)  # its file says so
    with EmbeddedPostgres(served) as url:
        assert ask(url, "SELECT a FROM kept") == 7


def test_control_c_reaches_the_owner_alone(served: Path) -> None:
    """The server is in a session of its own; the owner that is interrupted stops it in order."""
    owner = start_owner(served)
    pid = server_pid(served)
    assert os.getsid(pid) == os.getpgid(pid) == pid
    os.killpg(owner.pid, signal.SIGINT)
    assert finish(owner) != 0
    assert not is_served(served)
    control = newest().run("pg_controldata", "-D", served / "data", folder=served / "data")
    assert "shut down" in next(line for line in control.splitlines() if "cluster state" in line)


def test_a_stale_file_that_names_another_program(served: Path) -> None:
    """After a reboot the old process id may be anyone's: it is neither waited for nor signalled.

    Kind: what a killed server leaves; its socket has a lock of its own, on which the next start failed for good.
    """
    owner = newest().owner  # of servers: Postgres overlooks what it may not signal
    other = subprocess.Popen(["cat"], stdin=subprocess.PIPE, user=None if owner is None else owner.pw_uid)
    lines = [other.pid, served / "data", 1_700_000_000, 5432, served / "data", "", "1 2", "ready   "]
    cluster = Cluster(data=served / "data")
    try:
        for does in (cluster.stop, cluster.ensure_running):
            for name, n in (("postmaster.pid", 8), (".s.PGSQL.5432.lock", 5)):
                (served / "data" / name).write_text("".join(f"{line}\n" for line in lines[:n]))
            does()
        assert server_pid(served) != other.pid
        assert other.poll() is None
    finally:
        cluster.stop()
        other.communicate()
    assert not is_served(served)


def test_a_server_that_is_slow_is_not_taken_for_another_program(served: Path) -> None:
    """Stopped by a debugger or a busy machine, it keeps its folder: the next one waits, says so, and removes nothing."""
    owner = start_owner(served)
    pid = server_pid(served)
    os.kill(pid, signal.SIGSTOP)
    try:
        file = served / "data" / "postmaster.pid"
        file.write_text(file.read_text().replace("ready   ", "stopping"))
        with pytest.raises(DatabaseUnavailable, match="not ready"):
            Cluster(data=served / "data", settle_s=0.2).ensure_running()
        assert server_pid(served) == pid
        file.write_text(file.read_text().replace("stopping", "ready   "))
    finally:
        os.kill(pid, signal.SIGCONT)
    owner.send_signal(signal.SIGINT)
    finish(owner)
    assert not is_served(served)


def test_a_killed_first_start_is_begun_again(folder: Path) -> None:
    """A half-made data folder is never taken for a whole one."""
    (folder / "data.new" / "base").mkdir(parents=True)
    (folder / "data.new" / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(folder) as url:
        assert ask(url, "SELECT 1") == 1
    assert not (folder / "data.new").exists()


def test_a_long_path_still_has_a_socket(folder: Path, made: Path) -> None:
    """Where a socket's path would be too long for the kernel, it lies in a closed folder of its own."""
    deep = folder / ("deep-" * 20) / "a folder, with a comma"
    deep.parent.mkdir(parents=True)
    subprocess.run(["cp", "-a", made, deep], check=True)
    with EmbeddedPostgres(deep) as url:
        assert ask(url, "SELECT 1") == 1
        above = make_url(url).set(username=SUPERUSER, database=SUPERUSER).render_as_string()  # who may know the folder
        sockets = Path(str(ask(above, "SHOW unix_socket_directories")))
        assert sockets.stat().st_mode & 0o777 == 0o700
    sockets.rmdir()


@pytest.mark.parametrize("kind", ["link", "file", "stranger"])
def test_a_socket_folder_that_somebody_prepared_is_refused_untouched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Its name can be known: a link there once had the folder that it names given to the server's user.

    The kind: a change of a file's owner before it is known whose file it is.
    """
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    data = tmp_path / ("deep-" * 20) / "data"
    programs = newest()
    made = cluster_module._socket_folder(data, programs)
    assert cluster_module._socket_folder(data, programs) == made
    made.rmdir()
    victim = tmp_path / "victim"
    victim.mkdir()
    if kind == "link":
        made.symlink_to(victim)
    elif kind == "file":
        made.touch()
    elif os.geteuid() == 0:
        made.mkdir()
        os.chown(made, 12345, 12345)
    else:
        pytest.skip("only root can make a folder of somebody else")
    before = made.lstat(), victim.stat()
    with pytest.raises(EmbeddedPostgresFailed, match="belongs to someone else"):
        cluster_module._socket_folder(data, programs)
    assert (made.lstat(), victim.stat()) == before


@pytest.fixture
def older(folder: Path) -> Path:
    """A work folder that an older release made, with a table in it."""
    programs = of_version(16)
    data = folder / "data"
    data.mkdir(parents=True, mode=0o700)
    programs.own(data)
    programs.run("initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8", "-D", data, folder=data)
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setattr(cluster_module, "newest", lambda: programs)
        url = stack.enter_context(EmbeddedPostgres(folder))
        ask(url, "CREATE TABLE kept AS SELECT 7 AS a")
    return folder


def test_an_older_major_version_is_upgraded(older: Path) -> None:
    """Data of an older wheel is carried over; the old folder is kept beside it."""
    with EmbeddedPostgres(older) as url:
        assert ask(url, "SELECT a FROM kept") == 7
        assert str(ask(url, "SHOW server_version")).startswith(f"{newest().version}.")
    assert (older / "data.16" / "PG_VERSION").read_text() == "16\n"
    # Killed between the two renames that end an upgrade: the new data is complete, and is taken.
    (older / "data").rename(older / "data.new")
    with EmbeddedPostgres(older) as url:
        assert ask(url, "SELECT a FROM kept") == 7


@pytest.mark.parametrize(("version", "says"), [("99", "made by Postgres 99"), ("9", "not 9")])
def test_a_version_that_the_wheel_lacks_is_refused(served: Path, version: str, says: str) -> None:
    """Data of an unknown major version is left alone, and the message names it."""
    (served / "data" / "PG_VERSION").write_text(version)
    with pytest.raises(EmbeddedPostgresFailed, match=says), EmbeddedPostgres(served):
        pass
    assert (served / "data" / "PG_VERSION").read_text() == version


def test_a_server_that_does_not_start_says_why(served: Path) -> None:
    """The server's own words are in the message, not only that a program failed."""
    with (served / "data" / "postgresql.conf").open("a") as config:
        config.write("shared_buffers = nonsense\n")
    with pytest.raises(EmbeddedPostgresFailed, match=r"FATAL.*contains errors") as failure, EmbeddedPostgres(served):
        pass
    assert "nonsense" in failure.value.evidence["log"]
    assert "ALSERVICE_DATABASE_URL" in failure.value.remedy


def test_a_folder_that_cannot_be_one_is_named(folder: Path) -> None:
    """A file in the way is a typed error with its path."""
    folder.write_text("in the way")
    with pytest.raises(EmbeddedPostgresFailed, match=str(folder)), EmbeddedPostgres(folder):
        pass


def test_a_full_disk_is_told_as_one(folder: Path) -> None:
    """What a program of Postgres says of a full disk becomes the error that a person can act on."""
    script = folder / "initdb"
    folder.mkdir()
    script.write_text("#!/bin/sh\necho 'could not write to file: No space left on device'\nexit 1\n")
    script.chmod(0o755)
    programs = Programs(version=18, folder=folder, owner=newest().owner)
    programs.own(folder)
    with pytest.raises(StorageFull, match="no space left"):
        programs.run("initdb", folder=folder)
