"""Run the command line, and end the process with SIGKILL at the n-th call of a method: ``kill -9`` where it hurts.

python -m tests.e2e.killed MODULE:CLASS.METHOD N before|after ARGUMENTS...
"""

import functools
import importlib
import os
import signal
import sys
from itertools import count
from typing import Any

from alservice.cli import main


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


if __name__ == "__main__":
    arm(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    sys.argv = ["alservice", *sys.argv[4:]]
    main()
