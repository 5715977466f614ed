"""Drawing a batch: which galaxies go to volunteers this cycle, each with the probability that it would.

A batch has up to four arms, drawn in this order:

``evaluation``
    uniform among members of the evaluation stream;
``random``
    uniform among all eligible galaxies, members included unless the policy says otherwise;
``easy``
    uniform among easy eligible galaxies that are no members and not in the random arm: a floor, so that
    volunteers do not see hard ones only;
``informative``
    by score among eligible galaxies that are no members and in no other arm.

Every galaxy has one key per arm, made from the seed, the arm and its id alone, and an arm takes the largest
keys. So a batch does not depend on the order or the sharding of the pool, and a bounded heap per arm is all
the memory it takes. Uniform keys give a simple random sample. Keys ln w + Gumbel noise sample without
replacement in proportion to w (Gumbel top-k; Kirsch et al., arXiv:2106.12059): w = score^beta for ``power``,
w = exp(beta score) for ``softmax``. ``top`` takes the best scores, without noise. Where the policy asks for a
distance, near-copies of what the informative arm took are passed over (`alservice.acquisition.diversity`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from alservice.acquisition.batch_records import Acquired, AcquisitionBatch, Arm, BatchPolicy
from alservice.acquisition.diversity import thin
from alservice.acquisition.reservoir import Candidate, Reservoir
from alservice.errors import BadInput, NumericalFault
from alservice.ids import stable_fraction
from alservice.shapes import BoolArray, FloatArray


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
        self._eligible_easy = 0
        self._evaluation = Reservoir(policy.evaluation)
        self._random = Reservoir(policy.random)
        # Earlier arms may take any of the best away; one more gives kappa.
        self._easy = Reservoir(policy.easy + policy.random if policy.easy else 0)
        earlier = policy.random + policy.easy
        self._informative = Reservoir(policy.n_candidates + earlier + 1 if policy.informative else 0)

    def offer(
        self,
        galaxy_ids: Sequence[str],
        scores_nats: FloatArray | None,
        *,
        members: BoolArray | None = None,
        easy: BoolArray | None = None,
        embeddings: FloatArray | None = None,
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
        easy
            (n,) whether volunteers should find it easy; none is by default.
        embeddings
            (n, E), needed where the policy asks for a distance.
        excluded
            Reason per galaxy id that must not be drawn: labelled, in flight, retired, failed image.

        Raises
        ------
        BadInput
            If shapes do not fit, or an informative arm lacks scores, or embeddings that it needs.
        NumericalFault
            If a score that is needed is negative or not finite; the galaxy is named.
        """
        needs_embeddings = self._policy.informative > 0 and self._policy.min_distance is not None
        if (scores_nats is None and self._policy.informative) or (embeddings is None and needs_embeddings):
            raise BadInput(f"the informative arm needs {'scores' if scores_nats is None else 'embeddings'}")
        shape = (len(galaxy_ids),)
        scores = np.full(shape, np.nan) if scores_nats is None else np.asarray(scores_nats, dtype=np.float64)
        is_member = np.zeros(shape, dtype=bool) if members is None else np.asarray(members, dtype=bool)
        is_easy = np.zeros(shape, dtype=bool) if easy is None else np.asarray(easy, dtype=bool)
        shapes = {scores.shape, is_member.shape, is_easy.shape, shape if embeddings is None else embeddings.shape[:1]}
        if shapes != {shape}:
            raise BadInput(f"{shape[0]} galaxies came with scores, flags or embeddings of {sorted(shapes)}")
        reasons = excluded or {}
        self._excluded.update(reasons[galaxy_id] for galaxy_id in galaxy_ids if galaxy_id in reasons)
        eligible = np.array([galaxy_id not in reasons for galaxy_id in galaxy_ids], dtype=bool)
        is_easy = is_easy & ~is_member
        self._eligible += int(eligible.sum())
        self._eligible_members += int((eligible & is_member).sum())
        self._eligible_easy += int((eligible & is_easy).sum())
        in_random = eligible if self._policy.members_in_random else eligible & ~is_member
        uniform: tuple[tuple[Arm, Reservoir, BoolArray], ...] = (
            (Arm.EVALUATION, self._evaluation, eligible & is_member),
            (Arm.RANDOM, self._random, in_random),
            (Arm.EASY, self._easy, eligible & is_easy),
        )
        for arm, reservoir, drawable in uniform:
            if reservoir.size == 0:
                continue
            keys = self._noise(arm, galaxy_ids, drawable)
            reservoir.offer(keys, keys, galaxy_ids, np.full(shape, np.nan), is_easy)
        if self._policy.informative:
            noise = self._noise(Arm.INFORMATIVE, galaxy_ids, eligible & ~is_member)
            keys = self._informative_keys(galaxy_ids, scores, noise)
            kept = embeddings if needs_embeddings else None
            self._informative.offer(keys, noise, galaxy_ids, scores, is_easy, kept)

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
        by_evaluation = _share(policy.evaluation, self._eligible_members)
        evaluation = self._evaluation.ranked()
        random = self._random.ranked()
        easy = _without(self._easy.ranked(), random)[: policy.easy]
        by_easy = _share(policy.easy, self._eligible_easy - sum(candidate.is_easy for candidate in random))
        informative, kappas = self._choose(_without(self._informative.ranked(), [*random, *easy]))
        left = np.array([(1 - by_random) * (1 - by_easy if candidate.is_easy else 1) for candidate in informative])
        chances = left * self._chances(np.array([candidate.score_nats for candidate in informative]), kappas)
        galaxies = (
            *_acquired(Arm.EVALUATION, evaluation, [by_evaluation] * len(evaluation)),
            *_acquired(Arm.RANDOM, random, [by_random] * len(random)),
            *_acquired(Arm.EASY, easy, [(1 - by_random) * by_easy] * len(easy)),
            *_acquired(Arm.INFORMATIVE, informative, chances.tolist()),
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

    def _choose(self, best: Sequence[Candidate]) -> tuple[Sequence[Candidate], FloatArray]:
        """Return the informative arm, and the threshold (n,) that each one's key had to exceed."""
        policy = self._policy
        keys = np.array([candidate.key for candidate in best[: policy.n_candidates + 1]])
        if len(keys) <= policy.n_candidates:
            keys = np.append(keys, -np.inf)
        if policy.min_distance is None or len(keys) == 1:
            chosen = best[: policy.informative]
            return chosen, np.full(len(chosen), keys[-1])
        candidates = best[: len(keys) - 1]
        vectors = self._informative.embeddings_of(candidates)
        places, kappas = thin(keys, vectors, size=policy.informative, min_distance=policy.min_distance)
        return [candidates[place] for place in places.tolist()], kappas

    def _informative_keys(self, galaxy_ids: Sequence[str], scores: FloatArray, noise: FloatArray) -> FloatArray:
        """Return what galaxies compete with; -inf where the noise says that they do not."""
        drawable = noise > -np.inf
        # NaN fails the comparison.
        bad = drawable & ~((scores >= 0) & (scores < np.inf))
        if bad.any():
            galaxies = [galaxy_ids[i] for i in np.flatnonzero(bad)[:20].tolist()]
            raise NumericalFault(f"galaxy {galaxies[0]!r} has an impossible score", galaxies=galaxies)
        keys = np.full(scores.shape, -np.inf)
        if self._policy.rule == "top":
            keys[drawable] = scores[drawable]
        else:
            keys[drawable] = self._policy.log_weights(scores[drawable]) - np.log(-np.log(noise[drawable]))
        return keys

    def _noise(self, arm: Arm, galaxy_ids: Sequence[str], eligible: BoolArray) -> FloatArray:
        """Return uniform noise strictly inside (0, 1) for eligible galaxies, -inf for the rest."""
        noise = np.full(len(galaxy_ids), -np.inf)
        for i in np.flatnonzero(eligible).tolist():
            # The middle of one of 2^52 cells: 0 and 1, whose Gumbel noise is infinite, cannot occur.
            cell = math.floor(stable_fraction(f"{self._seed}:{arm}", galaxy_ids[i]) * (2**52 - 1))
            noise[i] = (cell + 0.5) / 2**52
        return noise

    def _chances(self, scores: FloatArray, kappas: FloatArray) -> FloatArray:
        """Return P(ln w + Gumbel noise > kappa), 1 for the rule without noise."""
        if self._policy.rule == "top":
            return np.ones(scores.shape)
        # Beyond e^10 the probability is 1 in float64, and the exponential would overflow.
        excess = np.minimum(self._policy.log_weights(scores) - kappas, 10)
        chances: FloatArray = -np.expm1(-np.exp(excess))
        return chances


def draw_batch(
    galaxy_ids: Sequence[str],
    scores_nats: FloatArray | None,
    *,
    policy: BatchPolicy,
    seed: int,
    members: BoolArray | None = None,
    easy: BoolArray | None = None,
    embeddings: FloatArray | None = None,
    excluded: Mapping[str, str] | None = None,
) -> AcquisitionBatch:
    """Draw a batch from a pool that is at hand as a whole; see `BatchDrawer.offer` for the arguments."""
    drawer = BatchDrawer(policy, seed=seed)
    drawer.offer(galaxy_ids, scores_nats, members=members, easy=easy, embeddings=embeddings, excluded=excluded)
    return drawer.draw()


def _share(drawn: int, eligible: int) -> float:
    return min(1.0, drawn / eligible) if eligible else 0.0


def _without(candidates: Sequence[Candidate], taken: Sequence[Candidate]) -> list[Candidate]:
    names = {candidate.galaxy_id for candidate in taken}
    return [candidate for candidate in candidates if candidate.galaxy_id not in names]


def _acquired(arm: Arm, candidates: Sequence[Candidate], probabilities: Sequence[float]) -> list[Acquired]:
    return [
        Acquired(
            galaxy_id=candidate.galaxy_id,
            arm=arm,
            score_nats=candidate.score_nats if arm is Arm.INFORMATIVE else None,
            inclusion_probability=probability,
            rank=rank,
        )
        for rank, (candidate, probability) in enumerate(zip(candidates, probabilities, strict=True), start=1)
    ]
