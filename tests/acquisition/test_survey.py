"""The survey's sample: uniform, unbiased galaxies only, and the same however it is offered."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alservice.acquisition.batch import SurveySample
from alservice.errors import NotFound
from alservice.science.posterior import Posterior, take

N = 30


def posterior():
    """Return thirty galaxies whose numbers are their own."""
    numbers = np.arange(1, N + 1, dtype=np.float32)
    return Posterior(
        galaxy_ids=tuple(f"g{i}" for i in range(N)),
        concentrations=np.broadcast_to(numbers[:, None, None], (N, 2, 3)).copy(),
        embeddings=numbers[:, None].astype(np.float16),
        tree_hash="t",
        model="m",
    )


def sample(size, unbiased, seed=0, parts=None):
    """Return the ids drawn from parts of the survey."""
    survey, whole = SurveySample(size, seed=seed), posterior()
    for part in parts or [np.arange(N)]:
        survey.offer(take(whole, part), unbiased[part])
    return survey.draw()


@given(cuts=st.lists(st.integers(0, N), max_size=4), seed=st.integers(0, 100))
def test_the_sample_does_not_depend_on_shards(cuts, seed):
    """Offered in any order and pieces, the same galaxies come with their own rows."""
    unbiased = np.arange(N) % 3 > 0
    parts = [p for p in np.split(np.random.default_rng(seed).permutation(N), sorted(cuts)) if len(p)]
    drawn = sample(6, unbiased, seed=seed, parts=parts)
    assert drawn.galaxy_ids == sample(6, unbiased, seed=seed).galaxy_ids
    assert all(unbiased[int(name[1:])] for name in drawn.galaxy_ids)
    assert [f"g{int(e) - 1}" for e in drawn.embeddings[:, 0]] == list(drawn.galaxy_ids)
    assert (drawn.concentrations[:, 0, 0] == drawn.embeddings[:, 0]).all()


def test_every_unbiased_galaxy_has_the_same_chance():
    """Over seeds, each is drawn as often as the others."""
    unbiased = np.arange(N) < 20
    drawn = Counter(name for seed in range(600) for name in sample(5, unbiased, seed=seed).galaxy_ids)
    assert len(drawn) == 20
    assert max(abs(n / 600 - 0.25) for n in drawn.values()) < 4.5 * (0.25 * 0.75 / 600) ** 0.5


def test_a_small_survey_gives_all_it_has_and_none_is_an_error():
    """Fewer galaxies than wanted are all drawn; without any there is nothing to aim at."""
    assert len(sample(9, np.arange(N) < 4).galaxy_ids) == 4
    with pytest.raises(NotFound, match="unbiased"):
        sample(9, np.zeros(N, dtype=bool))
