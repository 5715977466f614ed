"""Drawing a batch: which galaxies go to volunteers this cycle, each with the probability that it would.

A batch has up to three arms, drawn in this order:

``evaluation``
    uniform among members of the evaluation stream;
``random``
    uniform among all eligible galaxies, members included unless the policy says otherwise;
``informative``
    by score among eligible galaxies that are no members and not in the random arm.

Every galaxy has one key per arm, made from the seed, the arm and its id alone, and an arm takes the largest
keys. So a batch does not depend on the order or the sharding of the pool, and a bounded heap per arm is all
the memory it takes. Uniform keys give a simple random sample. Keys ln w + Gumbel noise sample without
replacement in proportion to w (Gumbel top-k; Kirsch et al., arXiv:2106.12059): w = score^beta for ``power``,
w = exp(beta score) for ``softmax``. ``top`` takes the best scores, without noise.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from alservice.core.batch_records import Acquired, AcquisitionBatch, Arm, BatchPolicy, Rule
from alservice.core.ids import stable_fraction
from alservice.errors import BadInput, NumericalFault
from alservice.shapes import BoolArray, FloatArray

__all__ = ["Acquired", "AcquisitionBatch", "Arm", "BatchDrawer", "BatchPolicy", "Rule", "draw_batch"]

_Candidate: TypeAlias = tuple[float, float, str, float]
"""Key, noise that breaks ties, galaxy id, score (NaN where the arm has none)."""


class _Best:
    """The `size` candidates with the largest keys so far."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._heap: list[_Candidate] = []

    def offer(self, keys: FloatArray, noise: FloatArray, galaxy_ids: Sequence[str], scores: FloatArray) -> None:
        """Keep what is among the best; a key of -inf never is."""
        if self._size == 0:
            return
        floor = self._heap[0][0] if len(self._heap) == self._size else -math.inf
        for i in np.flatnonzero((keys >= floor) & (keys > -np.inf)).tolist():
            candidate = (float(keys[i]), float(noise[i]), galaxy_ids[i], float(scores[i]))
            if len(self._heap) < self._size:
                heapq.heappush(self._heap, candidate)
            else:
                heapq.heappushpop(self._heap, candidate)

    def ranked(self) -> list[_Candidate]:
        """Return what was kept, best first."""
        return sorted(self._heap, reverse=True)


class BatchDrawer:
    """Draws one batch from shards that are offered one by one, in memory bounded by the batch.

    Parameters
    ----------
    policy
        Arms and rule.
    seed
        Of all arms; the same seed and pool give the same batch.
    """

    def __init__(self, policy: BatchPolicy, *, seed: int) -> None:
        self._policy = policy
        self._seed = seed
        self._excluded: Counter[str] = Counter()
        self._eligible = 0
        self._eligible_members = 0
        self._evaluation = _Best(policy.evaluation)
        self._random = _Best(policy.random)
        # The random arm may take any of the best away; one more gives kappa.
        self._informative = _Best(policy.informative + policy.random + 1 if policy.informative else 0)

    def offer(
        self,
        galaxy_ids: Sequence[str],
        scores_nats: FloatArray | None,
        *,
        members: BoolArray | None = None,
        excluded: Mapping[str, str] | None = None,
    ) -> None:
        """Take one shard of the pool; each galaxy is offered once.

        Parameters
        ----------
        galaxy_ids
            n ids.
        scores_nats
            (n,) finite scores, not negative; members and excluded galaxies need none (NaN). None only without
            an informative arm.
        members
            (n,) whether each is a member of the evaluation stream; none is by default.
        excluded
            Reason per galaxy id that must not be drawn: labelled, in flight, retired, failed image.

        Raises
        ------
        BadInput
            If shapes do not fit, or scores are missing for an informative arm.
        NumericalFault
            If a score that is needed is negative or not finite; the galaxy is named.
        """
        shape = (len(galaxy_ids),)
        if scores_nats is None and self._policy.informative:
            raise BadInput("the informative arm needs scores")
        scores = np.full(shape, np.nan) if scores_nats is None else np.asarray(scores_nats, dtype=np.float64)
        is_member = np.zeros(shape, dtype=bool) if members is None else np.asarray(members, dtype=bool)
        if scores.shape != shape or is_member.shape != shape:
            raise BadInput(f"{shape[0]} galaxies came with {scores.shape} scores and {is_member.shape} memberships")
        reasons = excluded or {}
        self._excluded.update(reasons[galaxy_id] for galaxy_id in galaxy_ids if galaxy_id in reasons)
        eligible = np.array([galaxy_id not in reasons for galaxy_id in galaxy_ids], dtype=bool)
        self._eligible += int(eligible.sum())
        self._eligible_members += int((eligible & is_member).sum())
        in_random = eligible if self._policy.members_in_random else eligible & ~is_member
        self._offer_uniform(self._evaluation, "evaluation", galaxy_ids, eligible & is_member)
        self._offer_uniform(self._random, "random", galaxy_ids, in_random)
        if self._policy.informative:
            self._offer_informative(galaxy_ids, scores, eligible & ~is_member)

    def draw(self) -> AcquisitionBatch:
        """Return the batch of everything offered so far.

        Raises
        ------
        BadInput
            If a drawn galaxy was offered twice.
        """
        policy = self._policy
        in_random = self._eligible if policy.members_in_random else self._eligible - self._eligible_members
        by_random = _share(policy.random, in_random)
        evaluation = self._evaluation.ranked()
        random = self._random.ranked()
        taken = {galaxy_id for _, _, galaxy_id, _ in random}
        best = [candidate for candidate in self._informative.ranked() if candidate[2] not in taken]
        informative, missed = best[: policy.informative], best[policy.informative :]
        kappa = missed[0][0] if missed else -math.inf
        chances = self._chances(np.array([score for *_, score in informative]), kappa)
        galaxies = (
            *_acquired(
                "evaluation",
                evaluation,
                [_share(policy.evaluation, self._eligible_members)] * len(evaluation),
            ),
            *_acquired("random", random, [by_random] * len(random)),
            *_acquired("informative", informative, ((1 - by_random) * chances).tolist()),
        )
        repeated = [name for name, times in Counter(g.galaxy_id for g in galaxies).items() if times > 1]
        if repeated:
            raise BadInput(f"galaxy {repeated[0]!r} was offered twice", galaxies=repeated[:20])
        return AcquisitionBatch(
            galaxies=galaxies,
            policy=policy,
            seed=self._seed,
            offered=self._eligible + self._excluded.total(),
            eligible=self._eligible,
            eligible_members=self._eligible_members,
            excluded=dict(sorted(self._excluded.items())),
        )

    def _offer_uniform(self, best: _Best, arm: Arm, galaxy_ids: Sequence[str], eligible: BoolArray) -> None:
        keys = self._noise(arm, galaxy_ids, eligible)
        best.offer(keys, keys, galaxy_ids, np.full(len(galaxy_ids), np.nan))

    def _offer_informative(self, galaxy_ids: Sequence[str], scores: FloatArray, eligible: BoolArray) -> None:
        # NaN fails the comparison.
        bad = eligible & ~((scores >= 0) & (scores < np.inf))
        if bad.any():
            galaxies = [galaxy_ids[i] for i in np.flatnonzero(bad)[:20].tolist()]
            raise NumericalFault(f"galaxy {galaxies[0]!r} has an impossible score", galaxies=galaxies)
        noise = self._noise("informative", galaxy_ids, eligible)
        keys = np.full(len(galaxy_ids), -np.inf)
        if self._policy.rule == "top":
            keys[eligible] = scores[eligible]
        else:
            keys[eligible] = self._policy.log_weights(scores[eligible]) - np.log(-np.log(noise[eligible]))
        self._informative.offer(keys, noise, galaxy_ids, scores)

    def _noise(self, arm: Arm, galaxy_ids: Sequence[str], eligible: BoolArray) -> FloatArray:
        """Return uniform noise strictly inside (0, 1) for eligible galaxies, -inf for the rest."""
        noise = np.full(len(galaxy_ids), -np.inf)
        for i in np.flatnonzero(eligible).tolist():
            # The middle of one of 2^52 cells: 0 and 1, whose Gumbel noise is infinite, cannot occur.
            cell = math.floor(stable_fraction(f"{self._seed}:{arm}", galaxy_ids[i]) * (2**52 - 1))
            noise[i] = (cell + 0.5) / 2**52
        return noise

    def _chances(self, scores: FloatArray, kappa: float) -> FloatArray:
        """Return P(ln w + Gumbel noise > kappa), 1 for the rule without noise."""
        if self._policy.rule == "top":
            return np.ones(scores.shape)
        # Beyond e^10 the probability is 1 in float64, and the exponential would overflow.
        excess = np.minimum(self._policy.log_weights(scores) - kappa, 10)
        chances: FloatArray = -np.expm1(-np.exp(excess))
        return chances


def draw_batch(
    galaxy_ids: Sequence[str],
    scores_nats: FloatArray | None,
    *,
    policy: BatchPolicy,
    seed: int,
    members: BoolArray | None = None,
    excluded: Mapping[str, str] | None = None,
) -> AcquisitionBatch:
    """Draw a batch from a pool that is at hand as a whole; see `BatchDrawer.offer` for the arguments."""
    drawer = BatchDrawer(policy, seed=seed)
    drawer.offer(galaxy_ids, scores_nats, members=members, excluded=excluded)
    return drawer.draw()


def _share(drawn: int, eligible: int) -> float:
    return min(1.0, drawn / eligible) if eligible else 0.0


def _acquired(arm: Arm, candidates: Sequence[_Candidate], probabilities: Sequence[float]) -> list[Acquired]:
    return [
        Acquired(
            galaxy_id=galaxy_id,
            arm=arm,
            score_nats=score if arm == "informative" else None,
            inclusion_probability=probability,
            rank=rank,
        )
        for rank, ((_, _, galaxy_id, score), probability) in enumerate(
            zip(candidates, probabilities, strict=True), start=1
        )
    ]
