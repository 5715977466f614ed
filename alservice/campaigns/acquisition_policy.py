"""How a cycle's votes are spent: which galaxies, and how many votes each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar

from alservice.acquisition.policies import PolicyName
from alservice.checks import STRICT, require

MAX_VOTES = 1000
"""Most votes asked of one galaxy: what scores are tested for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AllocatedVotes:
    """Votes per galaxy by what they would teach, for the informative arm; the other arms get `votes_per_galaxy`.

    Parameters
    ----------
    tiers
        Numbers of votes to choose from, growing. Zooniverse shows a few tiers more easily than any number.
    budget
        Classifications of a cycle, all arms together; None for what volunteers are forecast to give until the
        deadline (`alservice.acquisition.votes`), or, without a week of history, what fixed votes would cost.
        Every galaxy gets the first tier, whatever the forecast.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    tiers: tuple[int, ...] = (5, 10, 20, 40)
    budget: int | None = None

    def __post_init__(self) -> None:
        growing = all(a < b for a, b in pairwise(self.tiers))
        ok = bool(self.tiers) and growing and self.tiers[0] >= 1 and self.tiers[-1] <= MAX_VOTES
        require(ok, f"acquisition.allocated.tiers must grow from 1 to {MAX_VOTES} votes at most, not {self.tiers}")
        require(self.budget is None or self.budget >= 1, "acquisition.allocated.budget must be at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class AcquisitionPolicy:
    """How a cycle's votes are spent.

    Parameters
    ----------
    initial_galaxies, initial_evaluation_galaxies
        Galaxies drawn at random in cycle 0 to train on, and from the evaluation stream.
    batch_galaxies
        Galaxies per later cycle, all arms together.
    random_share
        Share of the batch drawn uniformly at random; it keeps the evaluation unbiased.
    easy_share
        Share of the batch drawn among galaxies that volunteers should find easy: a floor beside the random share.
    votes_per_galaxy
        Volunteers asked per galaxy.
    allocated
        Votes by information instead, in the informative arm.
    policy, beta
        How galaxies are scored and drawn (`alservice.acquisition.policies`), and the sharpness (per nat for softmax_bald).
    threshold_answer
        Answer column that policy ``threshold`` looks for.
    survey_galaxies
        Size of the uniform survey sample that ``epig`` predicts and that distances are measured on.
    diversity_share
        Share of the survey that a drawn galaxy keeps out of the informative arm as too like it; 0 for none.
    question_weights
        Science weight per question; 1 where not named.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    initial_galaxies: int = 256
    initial_evaluation_galaxies: int = 256
    batch_galaxies: int = 128
    random_share: float = 0.15
    easy_share: float = 0.05
    votes_per_galaxy: int = 40
    allocated: AllocatedVotes | None = None
    policy: PolicyName = "power_bald"
    beta: float = 1.0
    threshold_answer: str = "smooth-or-featured_featured-or-disk"
    survey_galaxies: int = 200
    diversity_share: float = 0.0
    question_weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(self.initial_galaxies >= 1, "acquisition.initial_galaxies must be at least 1")
        require(self.initial_evaluation_galaxies >= 0, "acquisition.initial_evaluation_galaxies is negative")
        require(self.batch_galaxies >= 1, "acquisition.batch_galaxies must be at least 1")
        for name in ("random_share", "easy_share"):
            share = getattr(self, name)
            require(0 <= share <= 1, f"acquisition.{name} must lie in [0, 1], not {share}")
        require(self.random_share + self.easy_share <= 1, "acquisition.random_share and easy_share exceed the batch")
        require(1 <= self.votes_per_galaxy <= MAX_VOTES, f"acquisition.votes_per_galaxy must be 1 to {MAX_VOTES}")
        require(0 < self.beta < float("inf"), "acquisition.beta must be positive and finite")
        require(self.survey_galaxies >= 2, "acquisition.survey_galaxies must be at least 2")
        require(0 <= self.diversity_share < 1, "acquisition.diversity_share must lie in [0, 1)")
        bad = sorted(q for q, w in self.question_weights.items() if not 0 <= w < float("inf"))
        require(not bad, f"acquisition.question_weights of {', '.join(bad)} must be finite and not negative")
        if self.allocated is not None and self.allocated.budget is not None:
            least = self.other_galaxies * self.votes_per_galaxy + self.informative_galaxies * self.allocated.tiers[0]
            require(
                self.allocated.budget >= least,
                f"acquisition.allocated.budget is below the {least} votes of the first tier",
            )

    @property
    def random_galaxies(self) -> int:
        """Size of the random arm."""
        return self.batch_galaxies if self.policy == "random" else round(self.random_share * self.batch_galaxies)

    @property
    def easy_galaxies(self) -> int:
        """Size of the easy arm."""
        wanted = round(self.easy_share * self.batch_galaxies)
        return min(wanted, self.batch_galaxies - self.random_galaxies)

    @property
    def other_galaxies(self) -> int:
        """Galaxies of the arms that look at no score."""
        return self.random_galaxies + self.easy_galaxies

    @property
    def informative_galaxies(self) -> int:
        """Size of the informative arm."""
        return self.batch_galaxies - self.other_galaxies
