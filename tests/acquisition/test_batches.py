"""Drawing batches: arms, exclusions, inclusion probabilities, and independence of order and sharding."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alservice.acquisition.batch import BatchDrawer, BatchPolicy, draw_batch
from alservice.campaigns.policies import Arm
from alservice.errors import BadConfig, BadInput, NumericalFault
from alservice.science.batches import greedy_batch

IDS = [f"g{i:03d}" for i in range(60)]
SCORES = np.linspace(0.01, 0.6, 60)
MEMBERS = np.arange(60) % 5 == 0
POLICY = BatchPolicy(rule="power", informative=10, random=5)


def ids(batch, arm):
    """Return the ids of one arm by rank."""
    return [galaxy.galaxy_id for galaxy in batch.galaxies if galaxy.arm == arm]


def test_each_arm_draws_its_number_and_no_galaxy_twice():
    """Ten by information, five at random, ranks from 1, all different."""
    batch = draw_batch(IDS, SCORES, policy=POLICY, seed=1, members=MEMBERS)
    assert len(ids(batch, "informative")) == 10
    assert len(ids(batch, "random")) == 5
    assert len({galaxy.galaxy_id for galaxy in batch.galaxies}) == 15
    assert [g.rank for g in batch.galaxies if g.arm == "informative"] == list(range(1, 11))
    assert len(batch.galaxies) == batch.policy.requested


@given(
    seed=st.integers(0, 2**62),
    order=st.permutations(range(60)),
    cuts=st.lists(st.integers(0, 60), max_size=5),
    rule=st.sampled_from(["top", "power", "softmax"]),
)
def test_streaming_shards_in_any_order_draws_the_same_batch(seed, order, cuts, rule):
    """A batch follows from seed, policy and pool: not from the order or the sharding."""
    policy = BatchPolicy(rule=rule, beta=2.0, informative=10, random=5)
    excluded = {"g003": "labelled", "g011": "failed image"}
    whole = draw_batch(IDS, SCORES, policy=policy, seed=seed, members=MEMBERS, excluded=excluded)
    drawer = BatchDrawer(policy, seed=seed)
    for part in np.split(np.array(order), sorted(cuts)):
        drawer.offer([IDS[i] for i in part], SCORES[part], members=MEMBERS[part], excluded=excluded)
    assert drawer.draw() == whole


@given(seed=st.integers(0, 2**62), order=st.permutations(range(60)), cuts=st.lists(st.integers(0, 60), max_size=5))
def test_a_batch_chosen_together_does_not_depend_on_shards(seed, order, cuts):
    """Nor on the order; every chance is 1, and the arm is the greedy one of the best candidates."""
    policy = BatchPolicy(rule="joint", informative=4, random=5, candidates=3)
    vectors = np.random.default_rng(1).normal(size=(60, 6, 3))
    target = np.cov(np.random.default_rng(2).normal(size=(6, 20)))
    whole = draw_batch(IDS, SCORES, policy=policy, seed=seed, members=MEMBERS, vectors=vectors, target=target)
    drawer = BatchDrawer(policy, seed=seed, target=target)
    for part in np.split(np.array(order), sorted(cuts)):
        drawer.offer([IDS[i] for i in part], SCORES[part], members=MEMBERS[part], vectors=vectors[part])
    assert drawer.draw() == whole
    taken = {galaxy.galaxy_id for galaxy in whole.galaxies if galaxy.arm == Arm.RANDOM}
    best = [i for i in np.argsort(-SCORES, kind="stable") if IDS[i] not in taken and not MEMBERS[i]][:12]
    expected = [IDS[best[place]] for place in greedy_batch(vectors[best], 4, target=target)]
    assert [galaxy.galaxy_id for galaxy in whole.galaxies if galaxy.arm == Arm.INFORMATIVE] == expected


def test_another_seed_draws_another_batch():
    """The seed drives both arms."""
    first, second = (draw_batch(IDS, SCORES, policy=POLICY, seed=seed) for seed in (1, 2))
    assert ids(first, "random") != ids(second, "random")
    assert ids(first, "informative") != ids(second, "informative")


def test_a_galaxys_noise_does_not_depend_on_the_pool():
    """Removing galaxies that were not drawn leaves the batch as it is."""
    batch = draw_batch(IDS, SCORES, policy=POLICY, seed=5)
    drawn = {galaxy.galaxy_id for galaxy in batch.galaxies}
    kept = [i for i, name in enumerate(IDS) if name in drawn or i % 3]
    smaller = draw_batch([IDS[i] for i in kept], SCORES[kept], policy=POLICY, seed=5)
    assert [g.galaxy_id for g in smaller.galaxies] == [g.galaxy_id for g in batch.galaxies]


def test_members_are_never_drawn_for_information():
    """Whatever their score, evaluation-stream members come by the random arm only."""
    scores = np.where(MEMBERS, 1e6, SCORES)
    for seed in range(30):
        batch = draw_batch(IDS, scores, policy=POLICY, seed=seed, members=MEMBERS)
        assert not set(ids(batch, "informative")) & set(np.array(IDS)[MEMBERS])


def test_the_random_arm_draws_members_only_where_told():
    """Members are in the random arm by default, and out of it on request."""
    inside, outside = Counter(), Counter()
    for seed in range(60):
        for counter, allowed in ((inside, True), (outside, False)):
            policy = BatchPolicy(rule="top", informative=0, random=8, members_in_random=allowed)
            counter.update(ids(draw_batch(IDS, None, policy=policy, seed=seed, members=MEMBERS), "random"))
    members = set(np.array(IDS)[MEMBERS])
    assert set(inside) & members
    assert not set(outside) & members


def test_the_evaluation_arm_draws_members_only():
    """A first cycle asks for members by name of their arm, and trains on none of them."""
    policy = BatchPolicy(rule="top", informative=0, random=6, evaluation=4, members_in_random=False)
    batch = draw_batch(IDS, None, policy=policy, seed=3, members=MEMBERS)
    members = set(np.array(IDS)[MEMBERS])
    assert len(ids(batch, "evaluation")) == 4
    assert set(ids(batch, "evaluation")) <= members
    assert not set(ids(batch, "random")) & members
    assert {g.inclusion_probability for g in batch.galaxies if g.arm == "evaluation"} == {4 / 12}
    assert {g.inclusion_probability for g in batch.galaxies if g.arm == "random"} == {6 / 48}


def test_top_takes_the_best_scores_that_the_random_arm_left():
    """Without noise the informative arm is the sorted rest."""
    policy = BatchPolicy(rule="top", informative=4, random=3)
    for seed in range(20):
        batch = draw_batch(IDS, SCORES, policy=policy, seed=seed)
        taken = set(ids(batch, "random"))
        assert ids(batch, "informative") == [name for name in reversed(IDS) if name not in taken][:4]
        chances = {g.inclusion_probability for g in batch.galaxies if g.arm == "informative"}
        assert chances == {1 - 3 / 60}


def test_only_the_informative_arm_carries_scores():
    """A score is recorded as offered, and never NaN: the random arm has none."""
    batch = draw_batch(IDS, SCORES, policy=POLICY, seed=1)
    by_id = dict(zip(IDS, SCORES, strict=True))
    for galaxy in batch.galaxies:
        assert galaxy.score_nats == (by_id[galaxy.galaxy_id] if galaxy.arm == "informative" else None)


def test_exclusions_are_counted_by_reason_and_never_drawn():
    """Offered = eligible + excluded, and an excluded galaxy needs no score."""
    scores = SCORES.copy()
    scores[[58, 59]] = np.nan
    excluded = {"g059": "failed image", "g058": "failed image", "g057": "labelled", "elsewhere": "retired"}
    batch = draw_batch(IDS, scores, policy=POLICY, seed=1, members=MEMBERS, excluded=excluded)
    assert batch.excluded == {"failed image": 2, "labelled": 1}
    assert (batch.offered, batch.eligible, batch.eligible_members) == (60, 57, 12)
    assert not {g.galaxy_id for g in batch.galaxies} & set(excluded)


def test_a_pool_that_runs_out_leaves_the_batch_short():
    """What could not be drawn is counted, not made up, and certainty is recorded as such."""
    batch = draw_batch(IDS[:7], SCORES[:7], policy=POLICY, seed=1)
    assert len(batch.galaxies) == 7
    assert batch.policy.requested - len(batch.galaxies) == 8
    assert {g.inclusion_probability for g in batch.galaxies if g.arm == "random"} == {5 / 7}
    assert {g.inclusion_probability for g in batch.galaxies if g.arm == "informative"} == {1 - 5 / 7}
    everyone = draw_batch(IDS[:4], SCORES[:4], policy=POLICY, seed=1)
    assert [(g.arm, g.inclusion_probability) for g in everyone.galaxies] == [("random", 1.0)] * 4


def test_a_score_of_zero_is_never_drawn_by_power():
    """Zero information has zero chance, even where the arm then runs short."""
    batch = draw_batch(
        ["a", "b"], np.array([0.0, 0.1]), policy=BatchPolicy(rule="power", informative=2, random=0), seed=0
    )
    assert ids(batch, "informative") == ["b"]
    assert batch.galaxies[0].inclusion_probability == 1


@pytest.mark.parametrize(("rule", "beta"), [("power", 1.0), ("power", 0.5), ("softmax", 3.0)])
def test_first_draws_follow_the_rules_weights(rule, beta):
    """Rank 1 goes to a galaxy in proportion to score^beta, or exp(beta score)."""
    scores = np.array([0.1, 0.2, 0.4, 0.8])
    names = list("abcd")
    policy = BatchPolicy(rule=rule, beta=beta, informative=1, random=0)
    n_runs = 3000
    first = Counter(draw_batch(names, scores, policy=policy, seed=s).galaxies[0].galaxy_id for s in range(n_runs))
    weights = scores**beta if rule == "power" else np.exp(beta * scores)
    expected = weights / weights.sum()
    observed = np.array([first[name] for name in names]) / n_runs
    assert (np.abs(observed - expected) < 4.5 * np.sqrt(expected * (1 - expected) / n_runs)).all()


@pytest.mark.parametrize("n_random", [3, 1, 0])
def test_inclusion_probabilities_undo_the_selection(n_random):
    """Weighted by the inverse of their probabilities, drawn galaxies sum to the pool, arm by arm."""
    names = IDS[:12]
    scores = np.array([0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8])
    truth = np.arange(12.0) ** 2
    values = dict(zip(names, truth, strict=True))
    policy = BatchPolicy(rule="power", informative=4, random=n_random)
    sums = {"informative": [], "random": []} if n_random else {"informative": []}
    drawn = Counter()
    n_runs = 3000
    for seed in range(n_runs):
        batch = draw_batch(names, scores, policy=policy, seed=seed)
        for arm, totals in sums.items():
            of_arm = [g for g in batch.galaxies if g.arm == arm]
            totals.append(sum(values[g.galaxy_id] / g.inclusion_probability for g in of_arm))
        drawn.update(ids(batch, "random"))
    for totals in sums.values():
        error = np.mean(totals) - truth.sum()
        assert abs(error) < 4.5 * np.std(totals) / math.sqrt(n_runs)
    shares = np.array([drawn[name] for name in names]) / n_runs
    share = n_random / 12
    assert (np.abs(shares - share) <= 4.5 * math.sqrt(share * (1 - share) / n_runs)).all()


def test_certain_galaxies_have_probability_one_without_overflow():
    """A score far above all others is drawn for certain; softmax of large scores stays finite."""
    policy = BatchPolicy(rule="softmax", beta=1000.0, informative=1, random=0)
    batch = draw_batch(["a", "b"], np.array([1.0, 5.0]), policy=policy, seed=0)
    assert (batch.galaxies[0].galaxy_id, batch.galaxies[0].inclusion_probability) == ("b", 1.0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1])
def test_impossible_scores_name_the_galaxy(value):
    """A score that is negative or not finite raises unless the galaxy cannot be drawn by it."""
    scores = SCORES.copy()
    scores[7] = value
    with pytest.raises(NumericalFault, match="'g007'"):
        draw_batch(IDS, scores, policy=POLICY, seed=0)
    draw_batch(IDS, scores, policy=POLICY, seed=0, members=np.arange(60) == 7)


def test_misshapen_shards_and_missing_scores_are_refused():
    """Scores and memberships are one per galaxy; an informative arm needs scores."""
    with pytest.raises(BadInput, match="needs scores"):
        draw_batch(IDS, None, policy=POLICY, seed=0)
    with pytest.raises(BadInput, match="came with"):
        draw_batch(IDS, SCORES[:-1], policy=POLICY, seed=0)
    with pytest.raises(BadInput, match="came with"):
        draw_batch(IDS, SCORES, policy=POLICY, seed=0, members=MEMBERS[:-1])


def test_a_galaxy_offered_twice_is_refused():
    """The same galaxy from two shards would be drawn twice."""
    drawer = BatchDrawer(BatchPolicy(rule="top", informative=3, random=0), seed=0)
    drawer.offer(["a", "b"], np.array([0.5, 0.1]))
    drawer.offer(["a"], np.array([0.5]))
    with pytest.raises(BadInput, match="'a' was offered twice"):
        drawer.draw()


@pytest.mark.parametrize(
    "sizes",
    [
        {"informative": 0, "random": 0},
        {"informative": -1, "random": 4},
        {"informative": 1, "random": 1, "beta": 0.0},
        {"informative": 1, "random": 1, "beta": math.inf},
        {"informative": 1, "random": 1, "evaluation": 1},
        {"rule": "joint", "informative": 1, "random": 1, "min_distance": 1.0},
    ],
)
def test_impossible_policies_are_refused(sizes):
    """Empty batches, negative arms, no sharpness, two chances for members, and two ways to keep copies out raise."""
    with pytest.raises(BadConfig):
        BatchPolicy(**{"rule": "power"} | sizes)
