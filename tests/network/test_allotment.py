"""Who is held out and who trains which head: by the galaxy, not by its place."""

import numpy as np
import pytest

from alservice.network.training import head_weights, held_out, image_keys

KEYS = tuple(f"galaxy {i}" for i in range(400))


def test_keys_follow_from_pixels():
    """Equal images have equal keys, wherever they stand; others have others."""
    images = np.random.default_rng(0).integers(0, 256, (4, 1, 8, 8)).astype(np.uint8)
    images[3] = images[0]
    keys = image_keys(images)
    assert keys[0] == keys[3]
    assert len(set(keys)) == 3
    assert image_keys(images[::-1]) == keys[::-1]


def test_the_same_galaxies_are_held_out_in_any_order():
    """Membership does not depend on the order, and hardly on who joins."""
    held = {key for key, out in zip(KEYS, held_out(KEYS, 0.1), strict=True) if out}
    backwards = KEYS[::-1]
    assert held == {key for key, out in zip(backwards, held_out(backwards, 0.1), strict=True) if out}
    more = KEYS + tuple(f"newcomer {i}" for i in range(400))
    later = {key for key, out in zip(more, held_out(more, 0.1), strict=True) if out}
    assert len(held & later) > 0.7 * len(held)


@pytest.mark.parametrize(("n", "fraction", "expected"), [(400, 0.1, 40), (2, 0.1, 1), (30, 0.5, 15)])
def test_the_share_is_exact_and_never_empty(n, fraction, expected):
    """The number held out is the fraction, rounded, and at least one."""
    assert held_out(KEYS[:n], fraction).sum() == expected


@pytest.mark.parametrize(("heads", "left_out"), [(5, 2), (8, 3), (2, 0), (1, 0)])
def test_every_galaxy_weighs_the_same_on_the_trunk(heads, left_out):
    """Each galaxy misses two heads in five and counts for as much more in the others."""
    weights = head_weights(KEYS, heads=heads, seed=0)
    assert weights.shape == (400, heads)
    assert ((weights == 0).sum(1) == left_out).all()
    np.testing.assert_allclose(weights.mean(1), 1, rtol=1e-6)


def test_heads_see_different_galaxies():
    """Every head misses about two galaxies in five, and no two heads the same ones; the seed reshuffles them."""
    misses = head_weights(KEYS, heads=5, seed=0) == 0
    np.testing.assert_allclose(misses.mean(0), 0.4, atol=0.08)
    assert len({tuple(column) for column in misses.T}) == 5
    assert not np.array_equal(misses, head_weights(KEYS, heads=5, seed=1) == 0)


def test_a_galaxys_heads_do_not_depend_on_the_others():
    """Its weights are the same alone as among others."""
    np.testing.assert_array_equal(head_weights(KEYS, heads=5, seed=0)[7:8], head_weights(KEYS[7:8], heads=5, seed=0))
