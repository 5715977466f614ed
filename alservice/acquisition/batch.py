"""Drawing a batch: which galaxies go to volunteers this cycle, each with the probability that it would.

A batch has up to five arms, drawn in this order:

``evaluation``
    uniform among members of the evaluation stream;
``random``
    uniform among all eligible galaxies, members included unless the policy says otherwise;
``requested``
    eligible galaxies that people asked for, first come first served, that are no members and not in the random arm;
    each takes a place of the informative arm;
``easy``
    uniform among easy eligible galaxies that are no members and in neither arm before: a floor, so that
    volunteers do not see hard ones only;
``informative``
    by score among eligible galaxies that are no members and in no other arm.

Every galaxy has one key per arm, made from the seed, the arm and its id alone, and an arm takes the largest
keys. So a batch does not depend on the order or the sharding of the pool, and a bounded heap per arm is all
the memory it takes. Uniform keys give a simple random sample. Keys ln w + Gumbel noise sample without
replacement in proportion to w (Gumbel top-k; Kirsch et al., arXiv:2106.12059): w = score^beta for ``power``,
w = exp(beta score) for ``softmax``. ``top`` takes the best scores, without noise; ``joint`` takes of so many best
candidates one after the other, each the one that adds most to those before it (`greedy_batch`). Where the policy asks
for a distance, near-copies of what the informative arm took are passed over (`alservice.acquisition.batch`).
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np

from alservice.campaigns.policies import Arm
from alservice.errors import BadConfig, BadInput, NotFound, NumericalFault
from alservice.ids import stable_digests
from alservice.science.batches import greedy_batch
from alservice.science.posterior import Posterior, concat, take
from alservice.shapes import BoolArray, FloatArray, IntArray

Rule: TypeAlias = Literal["top", "power", "softmax", "joint"]

MEMBER: Final = "evaluation stream"
"""Why a galaxy that people ask for is not drawn: it judges the models, and is drawn for that alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchPolicy:
    """How many galaxies to draw, and how.

    Parameters
    ----------
    rule
        How scores become chances in the informative arm.
    beta
        Sharpness: dimensionless for ``power``, per nat for ``softmax``, unused for ``top`` and ``joint``.
    informative, random, evaluation, easy
        Galaxies per arm.
    from_requests
        Galaxies of the informative arm's that people may ask for instead, at most.
    members_in_random
        Whether the random arm may draw members of the evaluation stream, which adds votes to them.
    min_distance
        Two galaxies of the informative arm lie further apart than this (Euclidean, embedding units of the model);
        None lets them be copies.
    candidates
        Best candidates kept per informative galaxy, for the distance or ``joint`` to choose from.
    """

    rule: Rule
    beta: float = 1.0
    informative: int
    random: int
    evaluation: int = 0
    easy: int = 0
    from_requests: int = 0
    members_in_random: bool = True
    min_distance: float | None = None
    candidates: int = 10

    def __post_init__(self) -> None:
        """Refuse sizes and sharpness that no draw can have."""
        if min(self.informative, self.random, self.evaluation, self.easy) < 0 or self.requested == 0:
            raise BadConfig(f"a batch needs at least one galaxy and no negative arm, not {self}")
        if not 0 <= self.from_requests <= self.informative:
            raise BadConfig(f"requests take places of the informative arm, at most all of them, not {self}")
        if not 0 < self.beta < math.inf:
            raise BadConfig(f"beta must be positive and finite, not {self.beta}")
        if self.candidates < 1 or (self.min_distance is not None and not 0 <= self.min_distance < math.inf):
            raise BadConfig(f"a distance must be finite and not negative, and candidates at least 1, not {self}")
        if self.rule == "joint" and self.min_distance is not None:
            raise BadConfig("a batch that is chosen together keeps near-copies apart by itself: ask for no distance")
        if self.evaluation and self.members_in_random:
            raise BadConfig("with an evaluation arm, the random arm must leave members out: else they have two chances")

    @property
    def requested(self) -> int:
        """Galaxies of all arms together."""
        return self.informative + self.random + self.evaluation + self.easy

    @property
    def has_vectors(self) -> bool:
        """Whether galaxies of the informative arm are compared with each other, by embeddings or deviations."""
        return self.min_distance is not None or self.rule == "joint"

    def n_candidates(self, size: int) -> int:
        """Return how many galaxies compete for so many places by information: more only where they are compared."""
        return size * (self.candidates if self.has_vectors else 1)

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
        Its score in the informative arm (nats, where its policy scores information, at most ln T); None in the others,
        which do not look at scores.
    inclusion_probability
        Probability that this arm draws this galaxy. Exact in the evaluation and random arms: arm size over
        eligible galaxies. In the easy arm (1 - p) q, with p the random arm's probability and q the arm's size
        over the easy galaxies that the arms before it left. In the requested arm 1 - p. In the informative arm
        (1 - p) (1 - q) (1 - exp(-exp(ln w - kappa))), q counting for easy galaxies only, with kappa the best
        key that was not drawn: given all other galaxies' keys, the galaxy is drawn if and only if its own
        exceeds kappa, so weighting by the inverse is unbiased (priority sampling). With a distance kappa is the
        galaxy's own threshold, see `alservice.acquisition.batch`. For ``top`` and ``joint`` the last factor is 1.
        The chance to be in the batch at all is the sum over arms, since a galaxy enters by one arm only.
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
        Drawn galaxies: evaluation, random, requested, easy, informative arm, each by rank.
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


class BatchDrawer:
    """Draws one batch from shards that are offered one by one, in memory bounded by the batch.

    Parameters
    ----------
    policy
        Arms and rule.
    seed
        Of all arms; the same seed and pool give the same batch.
    target
        (T, T) `survey_covariance` that a batch chosen together is to take away; None: it tells most of the networks.
    requested
        Ids that people asked for, first come first.
    """

    def __init__(
        self, policy: BatchPolicy, *, seed: int, target: FloatArray | None = None, requested: Sequence[str] = ()
    ) -> None:
        self._policy = policy
        self._target = target
        self._requested = dict.fromkeys(requested)
        self._drawable: dict[str, Candidate] = {}
        self._refused: dict[str, str] = {}
        self._seed = seed
        self._excluded: Counter[str] = Counter()
        self._eligible = 0
        self._eligible_members = 0
        self._eligible_easy = 0
        self._evaluation = Reservoir(policy.evaluation)
        self._random = Reservoir(policy.random)
        # Earlier arms may take any of the best away; one more gives kappa.
        self._easy = Reservoir(policy.easy + policy.random + policy.from_requests if policy.easy else 0)
        earlier = policy.random + policy.from_requests + policy.easy
        most = policy.n_candidates(policy.informative)
        self._informative = Reservoir(most + earlier + 1 if policy.informative else 0)

    @property
    def refused(self) -> Mapping[str, str]:
        """Why galaxies that people asked for could not be drawn, by id; of those offered so far."""
        return self._refused

    @property
    def unseen(self) -> Sequence[str]:
        """Galaxies that people asked for and nobody offered so far."""
        return [name for name in self._requested if name not in self._drawable and name not in self._refused]

    def offer(
        self,
        galaxy_ids: Sequence[str],
        scores_nats: FloatArray | None,
        *,
        members: BoolArray | None = None,
        easy: BoolArray | None = None,
        vectors: FloatArray | None = None,
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
        vectors
            What galaxies of the informative arm are compared by, where they are: embeddings (n, E) for a distance,
            `vote_deviations` (n, T, A) for ``joint``.
        excluded
            Reason per galaxy id that must not be drawn: labelled, in flight, retired, failed image.

        Raises
        ------
        BadInput
            If shapes do not fit, or an informative arm lacks scores, or vectors that it needs.
        NumericalFault
            If a score that is needed is negative or not finite; the galaxy is named.
        """
        needs_vectors = self._policy.informative > 0 and self._policy.has_vectors
        if (scores_nats is None and self._policy.informative) or (vectors is None and needs_vectors):
            raise BadInput(f"the informative arm needs {'scores' if scores_nats is None else 'vectors'}")
        shape = (len(galaxy_ids),)
        scores = np.full(shape, np.nan) if scores_nats is None else np.asarray(scores_nats, dtype=np.float64)
        is_member = np.zeros(shape, dtype=bool) if members is None else np.asarray(members, dtype=bool)
        is_easy = np.zeros(shape, dtype=bool) if easy is None else np.asarray(easy, dtype=bool)
        shapes = {scores.shape, is_member.shape, is_easy.shape, shape if vectors is None else vectors.shape[:1]}
        if shapes != {shape}:
            raise BadInput(f"{shape[0]} galaxies came with scores, flags or vectors of {sorted(shapes)}")
        eligible = self._exclude(galaxy_ids, excluded or {})
        is_easy = is_easy & ~is_member
        self._note_requested(galaxy_ids, is_member, is_easy, excluded or {})
        self._eligible += int(eligible.sum())
        self._eligible_members += int((eligible & is_member).sum())
        self._eligible_easy += int((eligible & is_easy).sum())
        in_random = eligible if self._policy.members_in_random else eligible & ~is_member
        uniform: tuple[tuple[Arm, Reservoir, BoolArray], ...] = (
            (Arm.EVALUATION, self._evaluation, eligible & is_member),
            (Arm.RANDOM, self._random, in_random),
            (Arm.EASY, self._easy, eligible & is_easy),
        )
        noise_of = self._noise(galaxy_ids)
        for arm, reservoir, drawable in uniform:
            if reservoir.size == 0:
                continue
            keys = np.where(drawable, noise_of[arm], -np.inf)
            reservoir.offer(keys, keys, galaxy_ids, np.full(shape, np.nan), is_easy)
        if self._policy.informative:
            noise = np.where(eligible & ~is_member, noise_of[Arm.INFORMATIVE], -np.inf)
            keys = self._informative_keys(galaxy_ids, scores, noise)
            kept = vectors if needs_vectors else None
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
        in_order = [self._drawable[name] for name in self._requested if name in self._drawable]
        requested = _without(in_order, random)[: policy.from_requests]
        earlier = [*random, *requested]
        easy = _without(self._easy.ranked(), earlier)[: policy.easy]
        by_easy = _share(policy.easy, self._eligible_easy - sum(candidate.is_easy for candidate in earlier))
        left_over = _without(self._informative.ranked(), [*earlier, *easy])
        informative, kappas = self._choose(left_over, policy.informative - len(requested))
        left = np.array([(1 - by_random) * (1 - by_easy if candidate.is_easy else 1) for candidate in informative])
        chances = left * self._chances(np.array([candidate.score_nats for candidate in informative]), kappas)
        galaxies = (
            *_acquired(Arm.EVALUATION, evaluation, [by_evaluation] * len(evaluation)),
            *_acquired(Arm.RANDOM, random, [by_random] * len(random)),
            *_acquired(Arm.REQUESTED, requested, [1 - by_random] * len(requested)),
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

    def _choose(self, best: Sequence[Candidate], size: int) -> tuple[Sequence[Candidate], FloatArray]:
        """Return the informative arm, and the threshold (n,) that each one's key had to exceed."""
        policy = self._policy
        n_candidates = policy.n_candidates(size)
        keys = np.array([candidate.key for candidate in best[: n_candidates + 1]])
        if len(keys) <= n_candidates:
            keys = np.append(keys, -np.inf)
        if policy.rule == "joint" and len(keys) > 1:
            vectors = self._informative.vectors_of(best[: len(keys) - 1])
            places = greedy_batch(vectors, size, target=self._target)
            return [best[place] for place in places.tolist()], np.full(len(places), -math.inf)
        if policy.min_distance is None or len(keys) == 1:
            chosen = best[:size]
            return chosen, np.full(len(chosen), keys[-1])
        candidates = best[: len(keys) - 1]
        vectors = self._informative.vectors_of(candidates)
        places, kappas = thin(keys, vectors, size=size, min_distance=policy.min_distance)
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
        if self._policy.rule in {"top", "joint"}:
            keys[drawable] = scores[drawable]
        else:
            keys[drawable] = self._policy.log_weights(scores[drawable]) - np.log(-np.log(noise[drawable]))
        return keys

    def _exclude(self, galaxy_ids: Sequence[str], reasons: Mapping[str, str]) -> BoolArray:
        """Count who must not be drawn, by reason; return who may be (n,)."""
        out = [place for place, galaxy_id in enumerate(galaxy_ids) if galaxy_id in reasons] if reasons else []
        self._excluded.update(reasons[galaxy_ids[place]] for place in out)
        eligible = np.ones(len(galaxy_ids), dtype=bool)
        eligible[out] = False
        return eligible

    def _note_requested(
        self, galaxy_ids: Sequence[str], members: BoolArray, easy: BoolArray, reasons: Mapping[str, str]
    ) -> None:
        """Keep which requested galaxies may be drawn, and why the others may not."""
        for place, name in enumerate(galaxy_ids) if self._requested else ():
            if name not in self._requested:
                continue
            if name in reasons:
                self._refused[name] = reasons[name]
            elif members[place]:
                self._refused[name] = MEMBER
            else:
                self._drawable[name] = Candidate(0.0, 0.0, name, math.nan, bool(easy[place]))

    def _noise(self, galaxy_ids: Sequence[str]) -> Mapping[Arm, FloatArray]:
        """Return uniform noise (n,) strictly inside (0, 1) for every arm: parts of one digest of seed and id."""
        fractions = _fractions(self._seed, galaxy_ids)
        # The middle of one of 2^52 cells: 0 and 1, whose Gumbel noise is infinite, cannot occur.
        noise = (np.floor(fractions * (2**52 - 1)) + 0.5) / 2**52
        return dict(zip(_ARMS, noise.T, strict=True))

    def _chances(self, scores: FloatArray, kappas: FloatArray) -> FloatArray:
        """Return P(ln w + Gumbel noise > kappa), 1 for the rule without noise."""
        if self._policy.rule in {"top", "joint"}:
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
    vectors: FloatArray | None = None,
    excluded: Mapping[str, str] | None = None,
    target: FloatArray | None = None,
    requested: Sequence[str] = (),
) -> AcquisitionBatch:
    """Draw a batch from a pool that is at hand as a whole; see `BatchDrawer.offer` for the arguments."""
    drawer = BatchDrawer(policy, seed=seed, target=target, requested=requested)
    drawer.offer(galaxy_ids, scores_nats, members=members, easy=easy, vectors=vectors, excluded=excluded)
    return drawer.draw()


_ARMS: Final = (Arm.EVALUATION, Arm.RANDOM, Arm.EASY, Arm.INFORMATIVE)
"""In the order in which they take their noise from a digest."""


def _fractions(seed: int | str, galaxy_ids: Iterable[str]) -> FloatArray:
    """Return four numbers in [0, 1) for every id (n, 4), the first its `alservice.ids.stable_fraction`."""
    words = np.frombuffer(stable_digests(seed, galaxy_ids), dtype=">u8").reshape(-1, 4)
    fractions: FloatArray = words.astype(np.float64) / 2.0**64
    return fractions


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


_NOBODY, _SEVERAL = -1, -2


def thin(keys: FloatArray, embeddings: FloatArray, *, size: int, min_distance: float) -> tuple[IntArray, FloatArray]:
    """Walk candidates by falling key and take up to `size` of which no two are near.

    Parameters
    ----------
    keys
        (M + 1,) keys, falling; the last is of the best galaxy that is no candidate, or -inf if there is none.
    embeddings
        (M, E) of the candidates.
    size
        Galaxies wanted.
    min_distance
        Two taken galaxies lie further apart than this (Euclidean, embedding units).

    Returns
    -------
    tuple
        Places (n,) of the galaxies taken, in order, and the threshold (n,) that each one's key had to exceed; n is
        smaller than `size` where the candidates run out.
    """
    vectors = np.asarray(embeddings, dtype=np.float32)
    squares = np.vecdot(vectors, vectors)
    keeper = np.full(len(vectors), _NOBODY)
    taken: list[int] = []
    thresholds: list[float] = []
    floor = float(keys[len(vectors)])
    for place in range(len(vectors)):
        if keeper[place] >= 0:
            alone = int(keeper[place])
            thresholds[alone] = max(thresholds[alone], float(keys[place]))
        if keeper[place] != _NOBODY:
            continue
        if len(taken) == size:
            floor = float(keys[place])
            break
        below = slice(place + 1, None)
        near = _is_near(vectors[below], squares[below], vectors[place], squares[place], min_distance)
        view = keeper[below]
        view[near] = np.where(view[near] == _NOBODY, len(taken), _SEVERAL)
        taken.append(place)
        thresholds.append(-math.inf)
    return np.array(taken, dtype=np.int64), np.maximum(np.array(thresholds), floor)


def survey_distance(embeddings: FloatArray, share: float) -> float:
    """Return the distance within which a galaxy has about this share of the survey.

    It depends on a sample of the survey alone and not on the draw, which inclusion probabilities rest on.

    Parameters
    ----------
    embeddings
        (M, E) of a uniform sample of the survey, M >= 2.
    share
        Quantile of the distances between its galaxies, within (0, 1).

    Raises
    ------
    BadInput
        If the sample has fewer than two galaxies.
    """
    if len(embeddings) < 2:
        raise BadInput(f"a sample of {len(embeddings)} galaxies has no distances")
    vectors = np.asarray(embeddings, dtype=np.float64)
    pairs = [np.linalg.norm(vectors[i + 1 :] - vector, axis=1) for i, vector in enumerate(vectors)]
    return float(np.quantile(np.concatenate(pairs), share))


def _is_near(
    vectors: FloatArray, squares: FloatArray, centre: FloatArray, square: FloatArray, min_distance: float
) -> IntArray:
    """Return the rows within the distance of a centre.

    The quick form of the distance loses digits to cancellation: rows that it puts near or close to near are looked
    at again, so that copies are at distance 0 exactly.
    """
    quick = squares + square - 2 * (vectors @ centre)
    rows = np.flatnonzero(quick <= min_distance**2 + 1e-4 * (squares + square))
    near: IntArray = rows[np.linalg.norm(vectors[rows] - centre, axis=1) <= min_distance]
    return near


class Candidate(NamedTuple):
    """A galaxy in the running for one arm of a batch.

    Parameters
    ----------
    key, noise
        What it competes with, and what breaks ties.
    score_nats
        NaN where the arm has none.
    is_easy
        Whether the easy arm could draw it.
    """

    key: float
    noise: float
    galaxy_id: str
    score_nats: float
    is_easy: bool


class Reservoir:
    """The `size` candidates with the largest keys so far, with their vectors where there are any."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._heap: list[Candidate] = []
        self._vectors: dict[str, FloatArray] = {}

    def offer(
        self,
        keys: FloatArray,
        noise: FloatArray,
        galaxy_ids: Sequence[str],
        scores_nats: FloatArray,
        easy: BoolArray,
        vectors: FloatArray | None = None,
    ) -> None:
        """Keep what is among the best; a key of -inf never is."""
        if self.size == 0:
            return
        floor = self._heap[0].key if len(self._heap) == self.size else -math.inf
        for i in np.flatnonzero((keys >= floor) & (keys > -np.inf)).tolist():
            new = Candidate(float(keys[i]), float(noise[i]), galaxy_ids[i], float(scores_nats[i]), bool(easy[i]))
            if vectors is not None:
                self._vectors[new.galaxy_id] = vectors[i].copy()  # a view would keep its shard in memory
            if len(self._heap) < self.size:
                heapq.heappush(self._heap, new)
            else:
                self._vectors.pop(heapq.heappushpop(self._heap, new).galaxy_id, None)

    def ranked(self) -> list[Candidate]:
        """Return what was kept, best first."""
        return sorted(self._heap, reverse=True)

    def vectors_of(self, candidates: Sequence[Candidate]) -> FloatArray:
        """Return the vectors (n, ...) of candidates that were kept."""
        return np.stack([self._vectors[candidate.galaxy_id] for candidate in candidates])


class SurveySample:
    """Draws the same galaxies whatever the order and the shards they are offered in.

    Parameters
    ----------
    size
        Galaxies wanted; memory is bounded by them.
    seed
        Of the sample.
    """

    def __init__(self, size: int, *, seed: int) -> None:
        self._size = size
        self._seed = seed
        self._kept: Posterior | None = None

    def offer(self, posterior: Posterior, unbiased: BoolArray) -> None:
        """Take one shard, of which only the unbiased galaxies (n,) can be drawn; each galaxy is offered once."""
        rows = np.flatnonzero(unbiased)
        if len(rows):
            # Of this shard first: only what can still win is joined to what is kept.
            best = self._best(take(posterior, rows))
            self._kept = best if self._kept is None else self._best(concat([self._kept, best]))

    def draw(self) -> Posterior:
        """Return the sample, fewer galaxies than wanted where the survey has no more; raises `NotFound` for none."""
        if self._kept is None:
            raise NotFound("no unbiased galaxy of the survey has a posterior to sample")
        return self._kept

    def _best(self, posterior: Posterior) -> Posterior:
        keys = survey_keys(posterior.galaxy_ids, seed=self._seed)
        return take(posterior, np.argsort(keys, kind="stable")[: self._size])


def survey_keys(galaxy_ids: Iterable[str], *, seed: int) -> FloatArray:
    """Return what galaxies (n,) compete with to be in a sample of the survey: the smallest are."""
    fractions: FloatArray = _fractions(f"{seed}:survey", galaxy_ids)[:, 0]
    return fractions
