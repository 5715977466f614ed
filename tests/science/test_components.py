"""Principal components: those of the whole at once, whatever the batches, and distances that they keep."""

import numpy as np
import pytest

from alservice.errors import BadInput, NumericalFault
from alservice.science.components import MAX_WIDTH, Moments


def embeddings(n: int = 400, width: int = 12, offset: float = 100.0) -> np.ndarray:
    """Return embeddings of three strong directions and little noise, far from the origin."""
    rng = np.random.default_rng(5)
    strong = rng.normal(size=(n, 3)) @ rng.normal(size=(3, width))
    return strong + 0.01 * rng.normal(size=(n, width)) + offset


@pytest.mark.parametrize("cuts", [[400], [1, 9, 390], [200, 200]])
def test_batches_do_not_matter_and_the_axes_are_those_of_a_decomposition(cuts: list[int]) -> None:
    """As the singular vectors of all embeddings at once, up to signs that are fixed."""
    values, moments, first = embeddings(), Moments(12), 0
    for n in cuts:
        moments.add(values[first : first + n])
        first += n
    found = moments.components(3)
    _, singular, wanted = np.linalg.svd(values - values.mean(axis=0), full_matrices=False)
    assert np.allclose(np.abs(found.axes @ wanted[:3].T), np.eye(3), atol=1e-4)
    assert np.allclose(found.mean, values.mean(axis=0), atol=1e-4)
    assert found.explained == pytest.approx((singular[:3] ** 2).sum() / (singular**2).sum(), abs=1e-6)
    assert found.explained > 0.999
    largest = found.axes[np.arange(3), np.abs(found.axes).argmax(axis=1)]
    assert (largest > 0).all()


def test_distances_are_kept_as_far_as_the_components_go() -> None:
    """All components keep every distance; fewer never make one longer."""
    values, moments = embeddings(), Moments(12)
    moments.add(values)
    before = np.linalg.norm(values[:50] - values[50:100], axis=1)
    whole, few = (moments.components(k).project(values) for k in (12, 2))
    assert np.allclose(np.linalg.norm(whole[:50] - whole[50:100], axis=1), before, rtol=1e-3)
    assert (np.linalg.norm(few[:50] - few[50:100], axis=1) <= before + 1e-3).all()
    assert few.shape == (400, 2)
    assert few.dtype == np.float32


def test_what_has_no_variance_has_components_all_the_same() -> None:
    """One galaxy, or many that look alike: vectors are zero, and nothing is divided by it."""
    moments = Moments(4)
    moments.add(np.ones((5, 4)))
    found = moments.components(64)
    assert found.axes.shape == (4, 4)
    assert found.explained == 1.0
    assert np.array_equal(found.project(np.ones((2, 4))), np.zeros((2, 4)))


def test_what_cannot_be_added_is_refused() -> None:
    """No width, too much of it, values that are none, and no embedding at all."""
    for width in (0, MAX_WIDTH + 1):
        with pytest.raises(BadInput, match="components"):
            Moments(width)
    moments = Moments(2)
    with pytest.raises(NumericalFault, match="finite"):
        moments.add(np.array([[0.0, np.nan]]))
    moments.add(np.empty((0, 2)))
    with pytest.raises(BadInput, match="no embedding"):
        moments.components(1)
