"""The stand-in as a program of its own: ``alservice standin``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from alservice.errors import BadConfig
from alservice.rehearsal.standin import Standin, StandinConfig, generate_credentials, known_logins


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
    with standin:
        say(f"serving project {config.project_id}, workflow {config.workflow_id} at {standin.endpoint}")
        standin.wait()


def _pair(user: str) -> tuple[str, str]:
    name, colon, password = user.partition(":")
    if not (name and colon and password):
        raise BadConfig("--user needs NAME:PASSWORD")
    return name, password
