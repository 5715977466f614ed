"""What a batch is asked for and what was drawn: the records of `alservice.acquisition.batch`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias

import numpy as np

from alservice.errors import BadConfig
from alservice.shapes import FloatArray

Rule: TypeAlias = Literal["top", "power", "softmax"]


class Arm(StrEnum):
    """Which part of a batch drew a galaxy. Tables, pages, plots and checks take their arms from here."""

    INFORMATIVE = "informative"  # the galaxies whose votes are expected to teach most
    RANDOM = "random"
    EVALUATION = "evaluation"  # members of the evaluation stream
    EASY = "easy"


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchPolicy:
    """How many galaxies to draw, and how.

    Parameters
    ----------
    rule
        How scores become chances in the informative arm.
    beta
        Sharpness: dimensionless for ``power``, per nat for ``softmax``, unused for ``top``.
    informative, random, evaluation, easy
        Galaxies per arm.
    members_in_random
        Whether the random arm may draw members of the evaluation stream, which adds votes to them.
    min_distance
        Two galaxies of the informative arm lie further apart than this (Euclidean, embedding units of the model);
        None lets them be copies.
    candidates
        Best candidates kept per informative galaxy, for the distance to choose from.
    """

    rule: Rule
    beta: float = 1.0
    informative: int
    random: int
    evaluation: int = 0
    easy: int = 0
    members_in_random: bool = True
    min_distance: float | None = None
    candidates: int = 10

    def __post_init__(self) -> None:
        """Refuse sizes and sharpness that no draw can have."""
        if min(self.informative, self.random, self.evaluation, self.easy) < 0 or self.requested == 0:
            raise BadConfig(f"a batch needs at least one galaxy and no negative arm, not {self}")
        if not 0 < self.beta < math.inf:
            raise BadConfig(f"beta must be positive and finite, not {self.beta}")
        if self.candidates < 1 or (self.min_distance is not None and not 0 <= self.min_distance < math.inf):
            raise BadConfig(f"a distance must be finite and not negative, and candidates at least 1, not {self}")
        if self.evaluation and self.members_in_random:
            raise BadConfig("with an evaluation arm, the random arm must leave members out: else they have two chances")

    @property
    def requested(self) -> int:
        """Galaxies of all arms together."""
        return self.informative + self.random + self.evaluation + self.easy

    @property
    def n_candidates(self) -> int:
        """Galaxies that compete for the informative arm: more than it draws only where distance matters."""
        return self.informative * (1 if self.min_distance is None else self.candidates)

    def log_weights(self, scores_nats: FloatArray) -> FloatArray:
        """Return ln w of scores; -inf, which is never drawn, for a score of 0 under ``power``."""
        if self.rule == "softmax":
            return self.beta * scores_nats
        log_scores = np.full(scores_nats.shape, -np.inf)
        return self.beta * np.log(scores_nats, out=log_scores, where=scores_nats > 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Acquired:
    """One drawn galaxy.

    Parameters
    ----------
    arm
        The arm that drew it.
    score_nats
        Its score in the informative arm (nats, where its policy scores information: a sum over questions, which may
        exceed ln T); None in the others, which do not look at scores.
    inclusion_probability
        Probability that this arm draws this galaxy. Exact in the evaluation and random arms: arm size over
        eligible galaxies. In the easy arm (1 - p) q, with p the random arm's probability and q the arm's size
        over the easy galaxies that the random arm left. In the informative arm
        (1 - p) (1 - q) (1 - exp(-exp(ln w - kappa))), q counting for easy galaxies only, with kappa the best
        key that was not drawn: given all other galaxies' keys, the galaxy is drawn if and only if its own
        exceeds kappa, so weighting by the inverse is unbiased (priority sampling). With a distance kappa is the
        galaxy's own threshold, see `alservice.acquisition.diversity`. For ``top`` the last factor is 1. The chance to
        be in the batch at all is the sum over arms, since a galaxy enters by one arm only.
    rank
        Place in its arm, from 1.
    """

    galaxy_id: str
    arm: Arm
    score_nats: float | None
    inclusion_probability: float
    rank: int


@dataclass(frozen=True, kw_only=True, slots=True)
class AcquisitionBatch:
    """A drawn batch with all that is needed to draw it again, or to weight it.

    Parameters
    ----------
    galaxies
        Drawn galaxies: evaluation, random, easy, informative arm, each by rank.
    policy, seed
        What drew them.
    offered
        Galaxies seen: eligible and excluded.
    eligible
        Not excluded, evaluation members included.
    eligible_members
        Members of the evaluation stream among the eligible.
    excluded
        Galaxies per reason of exclusion.
    """

    galaxies: tuple[Acquired, ...]
    policy: BatchPolicy
    seed: int
    offered: int
    eligible: int
    eligible_members: int
    excluded: Mapping[str, int]

    @property
    def short(self) -> int:
        """Galaxies requested but not drawn, because an arm ran out of eligible ones."""
        return self.policy.requested - len(self.galaxies)
