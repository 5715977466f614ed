"""Thinned batches: no near-copies, and inclusion probabilities that still undo the selection."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alservice.acquisition.batch import BatchDrawer, BatchPolicy, draw_batch, survey_distance, thin
from alservice.errors import BadConfig, BadInput
from alservice.ids import stable_fraction


def walk(keys, points, size, min_distance):
    """Return the places that a plain greedy walk takes."""
    taken = []
    for place in np.argsort(-keys).tolist():
        near = any(np.linalg.norm(points[place] - points[other]) <= min_distance for other in taken)
        if len(taken) < size and not near:
            taken.append(place)
    return taken


def reference_threshold(keys, points, size, min_distance, i):
    """Return what galaxy i's key must exceed: from a walk without it."""
    others = np.delete(np.arange(len(keys)), i)
    taken = others[walk(keys[others], points[others], size, min_distance)]
    near = [keys[j] for j in taken if np.linalg.norm(points[j] - points[i]) <= min_distance]
    full = [keys[taken[-1]]] if len(taken) == size else []
    return max([*near, *full], default=-np.inf)


@given(seed=st.integers(0, 10_000), n=st.integers(1, 25), size=st.integers(1, 8), distance=st.floats(0, 1.5))
def test_thinning_and_its_thresholds_are_those_of_repeated_walks(seed, n, size, distance):
    """One walk gives what n walks, each without one galaxy, would tell."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, 2)).astype(np.float32).round(1)
    keys = np.sort(rng.normal(size=n))[::-1]
    places, thresholds = thin(np.append(keys, -np.inf), points, size=size, min_distance=distance)
    assert places.tolist() == walk(keys, points, size, distance)
    expected = [reference_threshold(keys, points, size, distance, i) for i in places]
    np.testing.assert_array_equal(thresholds, expected)


def test_candidates_that_run_out_end_at_the_best_key_outside():
    """Fewer than wanted are taken, and each would not have been a candidate below the key that was left out."""
    points = np.zeros((3, 2), dtype=np.float16)
    places, thresholds = thin(np.array([3.0, 2.0, 1.0, 0.5]), points, size=2, min_distance=0.1)
    assert places.tolist() == [0]
    assert thresholds.tolist() == [2.0]
    places, thresholds = thin(np.array([3.0, 0.5]), points[:1], size=2, min_distance=0.1)
    assert thresholds.tolist() == [0.5]


def test_copies_far_from_the_origin_are_found():
    """Digits lost in the quick distance do not hide a copy, nor make one."""
    rng = np.random.default_rng(0)
    points = (1000 + rng.normal(size=(50, 64))).astype(np.float16)
    points[25:] = points[:25]
    places, _ = thin(np.append(-np.arange(50.0), -np.inf), points, size=50, min_distance=0.0)
    assert places.tolist() == list(range(25))


def pool(n_clusters=6, copies=3):
    """Return galaxies in clusters of near-copies, whose scores fall within each."""
    names = [f"g{i:02}" for i in range(n_clusters * copies)]
    cluster = np.arange(len(names)) % n_clusters
    rng = np.random.default_rng(1)
    points = (10 * np.eye(n_clusters)[cluster] + 0.1 * rng.normal(size=(len(names), n_clusters))).astype(np.float16)
    return names, cluster, np.linspace(0.05, 1, len(names)), points


def test_a_thinned_batch_has_no_near_copies():
    """Every cluster is drawn once at most, and the batch fills while there are clusters."""
    names, cluster, scores, points = pool()
    of = dict(zip(names, cluster, strict=True))
    policy = BatchPolicy(rule="power", informative=5, random=2, min_distance=2.0)
    for seed in range(30):
        batch = draw_batch(names, scores, policy=policy, seed=seed, vectors=points)
        drawn = [of[g.galaxy_id] for g in batch.galaxies if g.arm == "informative"]
        assert len(set(drawn)) == len(drawn) == 5
    policy = BatchPolicy(rule="top", informative=8, random=0, min_distance=2.0)
    crowded = draw_batch(names, scores, policy=policy, seed=0, vectors=points)
    assert (len(crowded.galaxies), crowded.policy.requested) == (6, 8)


@pytest.mark.parametrize(("candidates", "rule"), [(10, "power"), (2, "power"), (2, "softmax")])
def test_inclusion_probabilities_undo_the_selection_of_a_thinned_batch(candidates, rule):
    """Weighted by the inverse of their probabilities, galaxies of every arm sum to what it draws from."""
    names, _, scores, points = pool(n_clusters=4, copies=3)
    truth = np.arange(12.0) ** 2 + 1
    value = dict(zip(names, truth, strict=True))
    easy = np.arange(12) % 2 == 0
    policy = BatchPolicy(
        rule=rule, informative=3, random=2, easy=2, min_distance=2.0, candidates=candidates, members_in_random=True
    )
    sums = {"informative": [], "random": [], "easy": []}
    n_runs = 4000
    for seed in range(n_runs):
        batch = draw_batch(names, scores, policy=policy, seed=seed, vectors=points, easy=easy)
        for arm, totals in sums.items():
            of_arm = [g for g in batch.galaxies if g.arm == arm]
            totals.append(sum(value[g.galaxy_id] / g.inclusion_probability for g in of_arm))
    expected = {"informative": truth.sum(), "random": truth.sum(), "easy": truth[easy].sum()}
    for arm, totals in sums.items():
        assert abs(np.mean(totals) - expected[arm]) < 4.5 * np.std(totals) / math.sqrt(n_runs)


@given(cuts=st.lists(st.integers(0, 18), max_size=4), seed=st.integers(0, 100))
def test_a_thinned_batch_does_not_depend_on_shards(cuts, seed):
    """Streaming gives the batch of the whole pool, embeddings and all."""
    names, _, scores, points = pool()
    easy = np.arange(18) % 3 == 0
    policy = BatchPolicy(rule="power", informative=3, random=2, easy=2, min_distance=2.0, candidates=2)
    whole = draw_batch(names, scores, policy=policy, seed=seed, vectors=points, easy=easy)
    drawer = BatchDrawer(policy, seed=seed)
    for part in np.split(np.random.default_rng(seed).permutation(18), sorted(cuts)):
        drawer.offer([names[i] for i in part], scores[part], vectors=points[part], easy=easy[part])
    assert drawer.draw() == whole


def test_the_easy_arm_draws_easy_galaxies_only():
    """As many as asked for, no member among them, each with its share of the easy ones left by the random arm."""
    names, _, scores, _ = pool()
    easy, members = np.arange(18) % 2 == 0, np.arange(18) < 4
    policy = BatchPolicy(rule="power", informative=3, random=3, easy=2)
    for seed in range(30):
        batch = draw_batch(names, scores, policy=policy, seed=seed, easy=easy, members=members)
        drawn = [g for g in batch.galaxies if g.arm == "easy"]
        assert len(drawn) == 2
        assert all(easy[names.index(g.galaxy_id)] and not members[names.index(g.galaxy_id)] for g in drawn)
        in_random = [names.index(g.galaxy_id) for g in batch.galaxies if g.arm == "random"]
        left = 7 - sum(easy[i] and not members[i] for i in in_random)
        assert drawn[0].inclusion_probability == pytest.approx((1 - 3 / 18) * 2 / left)
        assert drawn[0].score_nats is None


def test_the_survey_distance_is_a_quantile_of_its_pairs():
    """About a share of the pairs of a sample lie within it."""
    points = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float16)
    pairs = [np.linalg.norm(a.astype(float) - b) for i, a in enumerate(points) for b in points[i + 1 :]]
    assert np.mean(np.array(pairs) <= survey_distance(points, 0.1)) == pytest.approx(0.1, abs=0.002)
    with pytest.raises(BadInput, match="1 galaxies"):
        survey_distance(points[:1], 0.1)


def test_what_a_distance_needs_is_asked_for():
    """Embeddings must come, one per galaxy; a distance is finite and not negative."""
    names, _, scores, points = pool()
    policy = BatchPolicy(rule="power", informative=2, random=0, min_distance=1.0)
    with pytest.raises(BadInput, match="vectors"):
        draw_batch(names, scores, policy=policy, seed=0)
    with pytest.raises(BadInput, match="came with"):
        draw_batch(names, scores, policy=policy, seed=0, vectors=points[:-1])
    for wrong in ({"min_distance": -1.0}, {"min_distance": math.nan}, {"candidates": 0}, {"easy": -1}):
        with pytest.raises(BadConfig):
            BatchPolicy(rule="power", informative=2, random=0, **wrong)


def test_memory_is_bounded_by_the_batch():
    """Of a long stream only the candidates' embeddings are kept."""
    policy = BatchPolicy(rule="power", informative=3, random=2, easy=1, min_distance=0.1, candidates=4)
    drawer = BatchDrawer(policy, seed=0)
    for start in range(0, 2000, 100):
        names = [f"g{i}" for i in range(start, start + 100)]
        scores = np.array([stable_fraction("scores", name) for name in names])
        drawer.offer(names, scores, vectors=np.zeros((100, 2), dtype=np.float16), easy=scores < 0.5)
    assert len(drawer._informative._vectors) == 3 * 4 + 2 + 1 + 1
