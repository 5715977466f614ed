"""Run the command line, and end the process with SIGKILL at the n-th call of a method: ``kill -9`` where it hurts.

python -m tests.e2e.killed MODULE:CLASS.METHOD N before|after ARGUMENTS...
python -m tests.e2e.killed '[["MODULE:CLASS.METHOD", N, "before|after"], ...]' ARGUMENTS...

The second form runs the command once for each place, in a process of its own each time, and prints how each ended. The
processes are forks of one that has loaded the modules and has done nothing else.
"""

import functools
import importlib
import json
import os
import signal
import sys
import threading
from itertools import count
from typing import Any

from alservice.cli import main
from alservice.cli.shell import use


def arm(target: str, calls: int, when: str) -> None:
    """Replace a method or function by one that kills this process around its n-th call."""
    module_name, _, path = target.partition(":")
    owner: Any = importlib.import_module(module_name)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    method = getattr(owner, name)
    numbers = count(1)

    @functools.wraps(method)
    def deadly(*args: Any, **kwargs: Any) -> Any:
        last = next(numbers) == calls
        if last and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = method(*args, **kwargs)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, deadly)


def run_each(points: list[tuple[str, int, str]], arguments: list[str]) -> None:
    """Run a rehearsal until each place in turn, and print its exit code; stop at the first that does not end by SIGKILL."""
    use(None, prefect=True)  # Prefect reads the environment when it is loaded
    for name in ("flows.rehearse", "torch._dynamo", *(target.partition(":")[0] for target, *_ in points)):
        importlib.import_module(name)
    assert threading.active_count() == 1, "a fork would lack the others"
    for target, calls, when in points:
        child = os.fork()
        if child == 0:
            arm(target, calls, when)
            sys.argv = ["alservice", *arguments]
            sys.exit(main())
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps([target, code]), flush=True)  # noqa: T201
        if code != -signal.SIGKILL:
            return


if __name__ == "__main__":
    if sys.argv[1].startswith("["):
        run_each(json.loads(sys.argv[1]), sys.argv[2:])
    else:
        arm(sys.argv[1], int(sys.argv[2]), sys.argv[3])
        sys.argv = ["alservice", *sys.argv[4:]]
        main()
