"""Backfills small enough to follow by hand."""

from typing import Any

import numpy as np

from alservice.backfill.plan import BackfillPlan, Choice, Round, Target
from alservice.errors import NotFound
from alservice.offline.galaxies import VotedGalaxies


def a_round(**changes: Any) -> Round:
    """Return a round of a run."""
    given: dict[str, Any] = {
        "policy": "random",
        "seed": 0,
        "number": 0,
        "labels": 10,
        "votes": 440,
        "chosen": (Choice(galaxy_id="g1", score=None), Choice(galaxy_id="g2", score=0.25)),
        "champion_round": 0,
        "verdict": "promote",
        "nll_per_vote": 0.2,
        "rmse": 0.1,
        "coverage_error": None,
        "terms": np.ones((2, 4), dtype=np.float32),
        "seconds": {"train": 1.5},
    }
    return Round(**{**given, **changes})


class Rounds:
    """Rounds in memory."""

    def __init__(self) -> None:
        self.done: dict[tuple[str, int, int], Round] = {}
        self.models: dict[tuple[str, int, int], bytes] = {}

    def get(self, policy: str, seed: int, number: int) -> Round | None:
        """Return a finished round."""
        return self.done.get((policy, seed, number))

    def save(self, done: Round, model: bytes) -> None:
        """Keep a round and its model."""
        self.done[done.policy, done.seed, done.number] = done
        self.models[done.policy, done.seed, done.number] = model

    def model(self, policy: str, seed: int, number: int) -> bytes:
        """Return a model."""
        if (policy, seed, number) not in self.models:
            raise NotFound(f"no model of {policy}, seed {seed}, round {number}")
        return self.models[policy, seed, number]


def galaxies_of(target: Target, n: int, *, seed: int, prefix: str) -> VotedGalaxies:
    """Return galaxies whose brightness says what the votes on the first question will be."""
    rng = np.random.default_rng(seed)
    share = rng.uniform(0.05, 0.95, size=n)
    noise = rng.integers(0, 30, size=(n, 1, 16, 16))
    counts = np.zeros((n, target.tree.n_answers), dtype=np.int64)
    first = target.tree.slices[0]
    counts[:, first.start] = rng.binomial(40, share)
    counts[:, first.start + 1] = 40 - counts[:, first.start]
    return VotedGalaxies(
        galaxy_ids=tuple(f"{prefix}{row:03}" for row in range(n)),
        images=(share[:, None, None, None] * 200 + noise).astype(np.uint8),
        counts=counts,
        fractions=np.full(counts.shape, np.nan),
        cumulative=None,
        unbiased=np.ones(n, dtype=bool),
        evaluation=np.zeros(n, dtype=bool),
    )


def a_plan(**changes: Any) -> BackfillPlan:
    """Return a plan of two rounds."""
    return BackfillPlan(**{"question": "smooth", "initial": 10, "batch": 4, "rounds": 2, "draws": 4, **changes})
