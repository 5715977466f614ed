"""The local Zooniverse: a work folder's own, started for whoever needs it, and ``alservice standin``.

A stand-in that serves a folder holds a lock on it and leaves its address there, so that every process and thread
finds it, and none finds one that is gone: the kernel frees the lock when its process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from alservice.errors import BadConfig, ZooniverseUnavailable
from alservice.standin.config import StandinConfig, generate_credentials
from alservice.standin.server import Standin, known_logins

STANDIN_USER = "surveyor"
"""Login of the rehearsal project's owner."""


@contextmanager
def open_standin(folder: Path, password: str) -> Iterator[str]:
    """Yield the endpoint of a folder's local Zooniverse, started unless it is served already."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        with _door(folder):
            endpoint = _served_at(folder)
            if endpoint is None:
                config = StandinConfig(
                    state=folder,
                    users=((STANDIN_USER, password),),
                    subject_limit=1_000_000,  # a rehearsal may be larger than a new account's allowance
                )
                endpoint = stack.enter_context(_announced(Standin(config), folder))
        yield endpoint


def standin_endpoint(folder: Path) -> str:
    """Return the endpoint of a folder's stand-in, which some process serves; raises `ZooniverseUnavailable`."""
    endpoint = None
    if folder.is_dir():
        with _door(folder):
            endpoint = _served_at(folder)
    if endpoint is None:
        raise ZooniverseUnavailable(f"the stand-in of {folder} is not running")
    return endpoint


@contextmanager
def _door(folder: Path) -> Iterator[None]:
    """Let one process at a time start or look for a folder's stand-in."""
    with (folder / "door.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _served_at(folder: Path) -> str | None:
    """Return where a folder is served, None if it is not; behind the door."""
    with (folder / "serving.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return (folder / "endpoint").read_text(encoding="ascii")
    return None


@contextmanager
def _announced(standin: Standin, folder: Path) -> Iterator[str]:
    """Serve, and leave the address in the folder; to be entered behind the door."""
    with (folder / "serving.lock").open("a") as lock, standin:
        fcntl.flock(lock, fcntl.LOCK_EX)
        part = folder / f"endpoint.{os.getpid()}"
        part.write_text(standin.endpoint, encoding="ascii")
        part.replace(folder / "endpoint")
        yield standin.endpoint


def serve_standin(
    state: Path,
    *,
    host: str,
    port: int,
    users: Sequence[str],
    live_project: bool,
    project_id: int,
    workflow_id: int,
    subject_limit: int,
    settle_s: float,
    say: Callable[[str], None],
) -> None:
    """Serve until interrupted; say the address and, when they had to be invented, the credentials.

    Raises
    ------
    BadConfig
        A user is not given as NAME:PASSWORD, or folder or address cannot be used.
    Conflict
        Another stand-in uses the folder.
    PortInUse
        The port is taken.
    """
    pairs = tuple(_pair(user) for user in users)
    invented = () if pairs or known_logins(state) else (generate_credentials(),)
    config = StandinConfig(
        state=state,
        host=host,
        port=port,
        users=pairs or invented,
        live_project=live_project,
        project_id=project_id,
        workflow_id=workflow_id,
        subject_limit=subject_limit,
        settle_s=settle_s,
    )
    standin = Standin(config)
    for login, password in invented:
        say(f"login {login} password {password}")
    with ExitStack() as stack:
        with _door(state):
            stack.enter_context(_announced(standin, state))
        say(f"serving project {config.project_id}, workflow {config.workflow_id} at {standin.endpoint}")
        standin.wait()


def _pair(user: str) -> tuple[str, str]:
    name, colon, password = user.partition(":")
    if not (name and colon and password):
        raise BadConfig("--user needs NAME:PASSWORD")
    return name, password
