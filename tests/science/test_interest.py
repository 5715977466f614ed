"""Interest as a Gaussian process: against its definition, against draws, and what it proposes."""

import math

import numpy as np
import pytest

from alservice.errors import BadInput, NumericalFault
from alservice.science import interest
from alservice.science.interest import Interest, Kernel, choose_kernel, expected_improvement, propose, scale_of

NOBODY = np.empty(0, dtype=np.int64)


@pytest.fixture(scope="module")
def sky() -> tuple[np.ndarray, np.ndarray]:
    """Four hundred galaxies in a plane, of which those around one point are interesting."""
    points = np.random.default_rng(1).normal(size=(400, 2)).astype(np.float32)
    return points, 5 * np.exp(-2 * ((points - [1.0, 0.5]) ** 2).sum(axis=1))


@pytest.fixture(scope="module")
def learned(sky: tuple[np.ndarray, np.ndarray]) -> Interest:
    """What thirty ratings teach."""
    return Interest.of(sky[0][:30], sky[1][:30])


def dense(found: Interest, rated: np.ndarray, values: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance by the textbook's formulas, with the kernel written out anew."""
    kernel = found.kernel

    def covariance(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        squares = ((left[:, None] - right[None]) ** 2).sum(axis=2)
        return kernel.variance * (1 + squares / (2 * kernel.shape * kernel.length**2)) ** -kernel.shape

    noisy = covariance(rated, rated) + kernel.noise * kernel.variance * np.eye(len(rated))
    cross = covariance(points, rated)
    mean = found.level + cross @ np.linalg.solve(noisy, values - found.level)
    return mean, kernel.variance - np.einsum("nm,mn->n", cross, np.linalg.solve(noisy, cross.T))


def test_mean_and_deviation_are_those_of_the_definition(sky, learned, monkeypatch) -> None:
    """Block by block in float32 as in one piece in float64."""
    monkeypatch.setattr(interest, "_BLOCK", 37)
    points, values = sky
    mean, variance = dense(learned, points[:30].astype(float), values[:30], points.astype(float))
    np.testing.assert_allclose(learned.mean(points), mean, atol=2e-3)
    np.testing.assert_allclose(learned.deviation(points) ** 2, np.maximum(variance, 0), atol=5e-3)


def test_the_kernel_is_of_the_largest_likelihood() -> None:
    """Values drawn from a kernel on the grid: none tried is likelier by the normal density itself."""
    rng = np.random.default_rng(2)
    points = rng.normal(size=(60, 3))
    squares = interest.squared_distances(points, points)
    true = Kernel(variance=4.0, length=1.5, shape=2.0, noise=0.01)
    noisy = true.variance * (true.correlations(squares) + true.noise * np.eye(60))
    values = np.linalg.cholesky(noisy) @ rng.normal(size=60)
    found = choose_kernel(points, values)

    def log_density(kernel: Kernel) -> float:
        matrix = kernel.variance * (kernel.correlations(squares) + kernel.noise * np.eye(60))
        sign, logdet = np.linalg.slogdet(matrix)
        assert sign > 0
        return -0.5 * (values @ np.linalg.solve(matrix, values) + logdet)

    assert 0.5 * true.length < found.length < 2 * true.length
    assert found.noise < 0.1
    for length in (0.4, 1.0, 2.5):
        for noise in (0.1, 1.0, 10.0):
            other = Kernel(variance=found.variance, length=length * found.length, shape=found.shape, noise=noise)
            assert log_density(found) > log_density(other) - 0.5


def test_ratings_that_are_all_alike_leave_something_to_learn() -> None:
    """Ten dull galaxies: the rest of the sky may still be of interest."""
    points = np.random.default_rng(0).normal(size=(10, 4))
    found = Interest.of(points, np.zeros(10))
    far = np.full((1, 4), 30.0)
    assert found.deviation(far)[0] > 0.1 > found.deviation(points[:1])[0] / found.deviation(far)[0] - 0.9
    assert found.mean(far)[0] == pytest.approx(0, abs=1e-3)


def test_expected_improvement_is_the_mean_of_what_exceeds() -> None:
    """Against draws of the rating; nothing is gained without doubt below the trade-off."""
    noise = np.random.default_rng(3).normal(size=200_000)
    for mean, deviation in ((3.0, 1.0), (4.8, 0.5), (1.0, 2.0)):
        drawn = np.maximum(mean + deviation * noise - 4.0 - 0.5, 0).mean()
        found = expected_improvement(np.array([mean]), np.array([deviation]), 4.0)
        assert found[0] == pytest.approx(drawn, rel=0.02)
    assert expected_improvement(np.array([4.4]), np.array([0.0]), 4.0)[0] == 0
    # Far below, where the difference of two tails is all that is left.
    far = expected_improvement(np.array([-6.0]), np.array([1.0]), 4.0, trade_off=0.0)[0]
    z = -10.0
    assert far == pytest.approx(math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi) / z**2, rel=0.1)


def test_a_batch_is_what_greedy_belief_gives(sky, learned) -> None:
    """Each galaxy after the first as if those before had been rated as expected: a process fitted anew says the same."""
    points, values = sky
    mean = learned.mean(points)
    open_to = np.ones(400, dtype=bool)
    open_to[:30] = False
    found = propose(learned, points, mean, 5, open_to=open_to, pending=NOBODY, rng=np.random.default_rng(0))
    rated, chosen = points[:30].astype(float), []
    for _ in range(5):
        _, variance = dense(learned, rated, np.zeros(len(rated)), points.astype(float))
        gains = expected_improvement(mean, np.sqrt(np.maximum(variance, 1e-12)), learned.best)
        gains[[*range(30), *chosen]] = -1
        chosen.append(int(gains.argmax()))
        rated = np.concatenate([rated, points[chosen[-1:]]])
    assert found.tolist() == chosen
    assert len(set(found.tolist())) == 5
    assert values[found].max() > 4, "it looks where interest is"


def test_what_another_person_rates_now_is_left_to_that_person(sky, learned) -> None:
    """Beside pending galaxies others are proposed, and not their neighbours."""
    points, _ = sky
    mean, open_to = learned.mean(points), np.ones(400, dtype=bool)
    open_to[:30] = False
    rng = np.random.default_rng
    first = propose(learned, points, mean, 5, open_to=open_to, pending=NOBODY, rng=rng(0))
    whole = propose(learned, points, mean, 10, open_to=open_to, pending=NOBODY, rng=rng(0))
    open_to[first] = False
    second = propose(learned, points, mean, 5, open_to=open_to, pending=first, rng=rng(0))
    assert second.tolist() == whole[5:].tolist(), "as the second half of a batch of ten"


def test_a_million_galaxies_are_not_all_looked_at(sky, learned, monkeypatch) -> None:
    """Where there are too many, the most promising and some others, the same for the same seed."""
    monkeypatch.setattr(interest, "_WORK", 0.0)
    monkeypatch.setattr(interest, "CANDIDATES", 20)
    points, _ = sky
    mean, open_to = learned.mean(points), np.ones(400, dtype=bool)
    found = [
        propose(learned, points, mean, 5, open_to=open_to, pending=NOBODY, rng=np.random.default_rng(4)).tolist()
        for _ in range(2)
    ]
    assert found[0] == found[1]
    assert len(set(found[0])) == 5


def test_a_pool_that_ran_out_gives_what_is_left(sky, learned) -> None:
    """Fewer than a batch, and then none."""
    points, _ = sky
    mean, open_to = learned.mean(points), np.zeros(400, dtype=bool)
    open_to[[50, 60]] = True
    rng = np.random.default_rng(0)
    assert sorted(propose(learned, points, mean, 5, open_to=open_to, pending=NOBODY, rng=rng)) == [50, 60]
    open_to[:] = False
    assert not len(propose(learned, points, mean, 5, open_to=open_to, pending=NOBODY, rng=rng))


def test_components_are_scaled_to_one() -> None:
    """One that never varies says nothing, and gets no weight."""
    sample = np.random.default_rng(0).normal(size=(500, 3)) * [10.0, 0.1, 0.0]
    scale = scale_of(sample)
    np.testing.assert_allclose((sample * scale).std(axis=0), [1, 1, 0], atol=1e-5)
    one = Interest.of(sample[:20], np.arange(20) / 4, scale=scale)
    np.testing.assert_allclose(
        one.mean(sample), Interest.of(sample[:20] * scale, np.arange(20) / 4).mean(sample * scale), rtol=1e-3
    )


def test_many_ratings_count_and_some_choose_the_kernel(sky, monkeypatch) -> None:
    """The kernel is chosen on a part; what is predicted is of all."""
    monkeypatch.setattr(interest, "FIT_MOST", 20)
    points, values = sky
    found = Interest.of(points[:100], values[:100])
    assert len(found.vectors) == 100
    assert np.abs(found.mean(points[:100]) - values[:100]).mean() < 0.3


@pytest.mark.parametrize("ratings", [[1, 6], [-1, 2], [math.nan, 1], [math.inf, 1], [1], []])
def test_what_is_no_rating_is_refused(ratings: list[float]) -> None:
    """Out of range, not finite, or not one for each vector."""
    with pytest.raises(BadInput):
        Interest.of(np.zeros((2, 3)), np.array(ratings, dtype=float))


def test_vectors_that_are_not_finite_are_refused() -> None:
    """As elsewhere."""
    with pytest.raises(NumericalFault):
        Interest.of(np.full((2, 3), math.nan), np.ones(2))
