"""How others recognise this process, and whether another one is gone."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path

import psutil

from alservice.cycle.leases import Holder

_SAME_START_S = 2.0
"""Start times nearer than this are one process's: the kernel counts in ticks, and its clock is set now and then."""


def this_process(actor: str) -> Holder:
    """Return this process as the holder of a new lease."""
    pid = os.getpid()
    return Holder(
        token=secrets.token_hex(16),
        actor=actor,
        place=place_of_processes(),
        pid=pid,
        started_s=psutil.Process(pid).create_time(),
    )


def is_gone(holder: Holder) -> bool:
    """Return whether a holder's process has certainly ended; False for one of another machine or container."""
    if holder.place != place_of_processes():
        return False
    try:
        process = psutil.Process(holder.pid)
        is_same = abs(process.create_time() - holder.started_s) < _SAME_START_S
        return not is_same or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def place_of_processes() -> str:
    """Return what a process id is unique in: host, boot, and the kernel's process table (a container's is its own)."""
    parts = [socket.gethostname()]
    boot, table = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    if boot.exists() and table.is_symlink():
        parts += [boot.read_text(encoding="ascii").strip(), str(table.readlink())]
    return "/".join(parts)
