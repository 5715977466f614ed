"""Train a tiny model with kept checkpoints, and die by SIGKILL at the n-th write or delete of an object.

python -m tests.learning.killed_training FOLDER put|delete N
"""

import os
import signal
import sys
from pathlib import Path

from alservice.storage.objects import LocalObjects
from tests.learning.test_keep_checkpoints import train


class Deadly(LocalObjects):
    """Objects whose n-th call of a method is the last thing this process does."""

    def __init__(self, root: Path, method: str, calls: int) -> None:
        super().__init__(root)
        self._method, self._left = method, calls

    def put(self, data, *, kind, suffix):
        """Store, and perhaps die."""
        stored = super().put(data, kind=kind, suffix=suffix)
        self._count("put")
        return stored

    def delete(self, key):
        """Die perhaps, or delete."""
        self._count("delete")
        super().delete(key)

    def _count(self, method):
        self._left -= method == self._method
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    train(Deadly(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
