"""Rounds of a backfill in its folder: a file each, written last, so that a round is whole or not there."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np

from alservice.backfill.plan import Round
from alservice.errors import BadInput, NotFound
from alservice.storage.run_folder import write_whole


class RoundFolder:
    """Keeps rounds as ``POLICY-SEED-ROUND.npz`` and the models that still choose beside them.

    Parameters
    ----------
    path
        A folder that is there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, policy: str, seed: int, number: int) -> Round | None:
        """Return a finished round; `BadInput` names a damaged file."""
        path = self._path / f"{_name(policy, seed, number)}.npz"
        try:
            with np.load(path, allow_pickle=False) as file:
                return Round.from_document(json.loads(file["document"].tobytes()), file["terms"])
        except FileNotFoundError:
            return None
        except (KeyError, ValueError, TypeError, OSError) as error:
            raise BadInput(
                f"{path}: no round of a backfill; remove it to do the round again", path=str(path)
            ) from error

    def save(self, done: Round, model: bytes) -> None:
        """Keep a round; of models only the one that chooses next is kept."""
        write_whole(self._model(done.policy, done.seed, done.number), model)
        buffer = io.BytesIO()
        document = np.frombuffer(json.dumps(done.document(), allow_nan=False).encode(), dtype=np.uint8)
        np.savez_compressed(buffer, document=document, terms=done.terms)
        write_whole(self._path / f"{_name(done.policy, done.seed, done.number)}.npz", buffer.getvalue())
        for number in range(done.number + 1):
            if number != done.champion_round:
                self._model(done.policy, done.seed, number).unlink(missing_ok=True)

    def model(self, policy: str, seed: int, number: int) -> bytes:
        """Return the model of a round that may still choose; raises `NotFound`."""
        path = self._model(policy, seed, number)
        try:
            return path.read_bytes()
        except FileNotFoundError as error:
            raise NotFound(f"{path}: the model of round {number} is not there", path=str(path)) from error

    def count(self) -> int:
        """Return how many rounds are finished."""
        return sum(1 for _ in self._path.glob("*.npz"))

    def _model(self, policy: str, seed: int, number: int) -> Path:
        return self._path / f"{_name(policy, seed, number)}.safetensors"


def _name(policy: str, seed: int, number: int) -> str:
    return f"{policy}-{seed:03}-{number:03}"
