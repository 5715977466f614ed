"""What a command takes while it runs: memory at the worst moment and CPU seconds, by kind of process."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from subprocess import Popen

import psutil

LOOK_S = 0.2
LANDING, READING, POSTGRES = "landing", "reading", "Postgres"


@dataclass
class Watched:
    """Figures by kind of process.

    Parameters
    ----------
    memory
        Most memory at one moment (MiB); pages that processes share are counted once (PSS).
    ours
        Most memory of landing and reading together.
    cpu
        CPU seconds; the last fifth of a second of a process is missed.
    """

    memory: dict[str, float] = field(default_factory=dict)
    ours: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)


def watch(command: Popen[str], postmaster: int) -> Watched:
    """Watch a command, its children and a Postgres server until the command ends."""
    found = Watched()
    main, server = psutil.Process(command.pid), psutil.Process(postmaster)
    begun = {process.pid: _cpu(process) for process in _family(server)}
    spent: dict[tuple[str, int], float] = {}
    while command.poll() is None:
        held = dict.fromkeys((LANDING, READING, POSTGRES), 0.0)
        with suppress(psutil.NoSuchProcess):
            kinds = {LANDING: [main], READING: main.children(recursive=True), POSTGRES: _family(server)}
            for kind, process in ((kind, process) for kind, several in kinds.items() for process in several):
                with suppress(psutil.NoSuchProcess):
                    held[kind] += process.memory_full_info().pss / 2**20
                    spent[kind, process.pid] = _cpu(process) - begun.get(process.pid, 0.0)
        found.memory = {kind: max(mib, found.memory.get(kind, 0.0)) for kind, mib in held.items()}
        found.ours = max(found.ours, held[LANDING] + held[READING])
        time.sleep(LOOK_S)
    for (kind, _), seconds in spent.items():
        found.cpu[kind] = found.cpu.get(kind, 0.0) + seconds
    return found


def _family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system
