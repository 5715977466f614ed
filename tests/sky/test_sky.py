"""The synthetic sky: same galaxies in any part, survey-like shares, and images that show what is true."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from alservice.errors import BadInput
from alservice.science.tree import Tree, load_tree
from alservice.sky.galaxies import SMALLEST_PX, SyntheticGalaxy, synthetic_galaxy, synthetic_sky
from alservice.sky.rendering import KIND_SHARES, Kind, draw_morphology

SEED = 11


@pytest.fixture(scope="module")
def tree() -> Tree:
    """Return the tree that the sky answers."""
    return load_tree("gz2")


@pytest.fixture(scope="module")
def sky(tree: Tree) -> list[SyntheticGalaxy]:
    """Return a sky of 800 galaxies."""
    return list(synthetic_sky(tree, n=800, seed=SEED))


def pixels(galaxy: SyntheticGalaxy) -> np.ndarray:
    """Return the image as grey levels (H, W)."""
    return np.asarray(Image.open(io.BytesIO(galaxy.image)).convert("L"), dtype=float)


def same(a: SyntheticGalaxy, b: SyntheticGalaxy) -> bool:
    """Tell whether two galaxies are equal to the last bit."""
    return (
        (a.galaxy_id, a.ra_deg, a.dec_deg, a.image) == (b.galaxy_id, b.ra_deg, b.dec_deg, b.image)
        and np.array_equal(a.probabilities, b.probabilities)
        and a.properties == b.properties
    )


def test_any_galaxy_alone_equals_the_one_in_the_whole_sky(tree, sky):
    """A galaxy depends on seed and index, not on which others were made or in what order."""
    for index in (799, 0, 402):
        assert same(sky[index], synthetic_galaxy(tree, index, seed=SEED))


def test_a_shorter_sky_begins_a_longer_one(tree, sky):
    """Asking for fewer galaxies changes none of them."""
    assert all(same(a, b) for a, b in zip(synthetic_sky(tree, n=20, seed=SEED), sky, strict=False))


def test_skies_of_different_seeds_share_nothing(tree, sky):
    """Another seed gives other ids, images and truths."""
    other = list(synthetic_sky(tree, n=50, seed=SEED + 1))
    assert not {galaxy.galaxy_id for galaxy in other} & {galaxy.galaxy_id for galaxy in sky}
    assert not {galaxy.image for galaxy in other} & {galaxy.image for galaxy in sky}


def test_galaxies_are_made_one_by_one_as_they_are_asked_for(tree):
    """A huge sky costs nothing until it is read."""
    assert next(synthetic_sky(tree, n=10**12, seed=SEED)).galaxy_id.endswith("-0000000")


def test_images_are_rgb_jpegs_of_the_size_asked_for(tree, sky):
    """Volunteers and codecs get ordinary small JPEG files."""
    for galaxy, size_px in ((sky[0], 96), (synthetic_galaxy(tree, 0, seed=SEED, size_px=64), 64)):
        image = Image.open(io.BytesIO(galaxy.image))
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (size_px, size_px))
    assert max(len(galaxy.image) for galaxy in sky) < 20_000


def test_the_truth_does_not_depend_on_the_sampling(tree, sky):
    """Another image size is the same sky: probabilities, positions and signal-to-noise are equal."""
    for large, small in zip(sky[:40], synthetic_sky(tree, n=40, seed=SEED, size_px=SMALLEST_PX), strict=True):
        np.testing.assert_allclose(small.probabilities, large.probabilities, rtol=1e-9)
        assert small.properties["signal_to_noise"] == large.properties["signal_to_noise"]
        assert small.properties["half_light_px"] == pytest.approx(large.properties["half_light_px"] / 3)


def test_every_question_has_a_proper_truth_for_every_galaxy(tree, sky):
    """Conditional probabilities are strictly inside (0, 1) and sum to one within each question."""
    truth_NA = np.stack([galaxy.probabilities for galaxy in sky])
    assert truth_NA.shape == (len(sky), tree.n_answers)
    assert truth_NA.dtype == np.float64
    assert np.all((truth_NA > 0) & (truth_NA < 1))
    for part in tree.slices:
        np.testing.assert_allclose(truth_NA[:, part].sum(axis=1), 1, atol=1e-12)


def test_kinds_have_their_stated_shares():
    """The shares that the module documents are those that are drawn."""
    rng = np.random.default_rng(3)
    kinds = [draw_morphology(rng, 96).kind for _ in range(8_000)]
    for kind, share in KIND_SHARES.items():
        assert kinds.count(kind) / len(kinds) == pytest.approx(share, abs=5 * np.sqrt(share / len(kinds)))
    assert sum(KIND_SHARES.values()) == pytest.approx(1)


def test_most_galaxies_are_smooth_and_bars_and_spirals_are_rare(tree, sky):
    """The votes of the whole sky look like a survey's, so that there is something to search for."""
    truth_NA = np.stack([galaxy.probabilities for galaxy in sky])
    votes_A = (truth_NA * tree.asked_probability(truth_NA)[:, tree.question_of_answer]).mean(axis=0)
    share = dict(zip(tree.columns, votes_A.tolist(), strict=True))
    assert 0.5 < share["smooth-or-featured_smooth"] < 0.75
    assert 0.2 < share["smooth-or-featured_featured-or-disk"] < 0.45
    assert 0.01 < share["smooth-or-featured_artifact"] < 0.08
    assert 0.03 < share["bar_yes"] < 0.12
    assert 0.04 < share["has-spiral-arms_yes"] < 0.15
    assert 0.04 < share["disk-edge-on_yes"] < 0.15


def test_some_galaxies_are_ambiguous_and_most_are_not(tree, sky):
    """Volunteers disagree about a fair part of the sky, which is where votes teach most."""
    smooth = np.array([galaxy.probabilities[tree.column("smooth-or-featured_smooth")] for galaxy in sky])
    assert 0.1 < np.mean((smooth > 0.3) & (smooth < 0.7)) < 0.4


def test_images_show_the_outline_that_the_truth_states(sky):
    """The axis ratio measured on bright elliptical images follows the true one."""
    chosen = [
        galaxy
        for galaxy in sky
        if galaxy.properties["kind"] == Kind.ELLIPTICAL
        and galaxy.properties["signal_to_noise"] > 200
        and not galaxy.properties["star_strength"]
    ]
    assert len(chosen) > 50
    measured = [axis_ratio(pixels(galaxy)) for galaxy in chosen]
    true = [galaxy.properties["axis_ratio"] for galaxy in chosen]
    assert np.corrcoef(measured, true)[0, 1] > 0.9


def test_edge_on_discs_look_thinner_than_everything_else(tree, sky):
    """What most would call edge-on is elongated in its image, and nearly nothing else is that much."""
    column = tree.column("disk-edge-on_yes")
    bright = [galaxy for galaxy in sky if galaxy.properties["outline"] > 0.9 and galaxy.properties["kind"] <= Kind.DISC]
    thin = [axis_ratio(pixels(galaxy)) for galaxy in bright if galaxy.probabilities[column] > 0.7]
    thick = [axis_ratio(pixels(galaxy)) for galaxy in bright if galaxy.probabilities[column] < 0.3]
    assert min(len(thin), len(thick)) > 20
    assert np.quantile(thin, 0.8) < np.quantile(thick, 0.1)


def test_positions_cover_the_sphere_uniformly(sky):
    """Right ascension and the sine of declination are uniform."""
    ra_deg = np.array([galaxy.ra_deg for galaxy in sky])
    dec_deg = np.array([galaxy.dec_deg for galaxy in sky])
    assert np.all((ra_deg >= 0) & (ra_deg < 360))
    assert np.mean(ra_deg) == pytest.approx(180, abs=15)
    assert np.std(np.sin(np.radians(dec_deg))) == pytest.approx(1 / np.sqrt(3), abs=0.05)


def test_galaxies_are_immutable(sky):
    """A truth cannot be changed by whoever reads it."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        sky[0].ra_deg = 0.0
    with pytest.raises(TypeError):
        sky[0].properties["bar_strength"] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        sky[0].probabilities[0] = 1.0


@pytest.mark.parametrize("name", ["gz-decals-dr5", "gz-rings", "gz-euclid"])
def test_any_tree_is_answered(name):
    """Shares of 0 to 1 that sum to one per question; questions unknown to the sky part it evenly, and by its images.

    Kind: a rehearsal of one's own question that has nothing to learn.
    """
    tree = load_tree(name)
    galaxies = list(synthetic_sky(tree, n=60, seed=SEED, size_px=SMALLEST_PX))
    shares = np.array([galaxy.probabilities for galaxy in galaxies])
    assert ((shares > 0) & (shares < 1)).all()
    for part in tree.slices:
        np.testing.assert_allclose(shares[:, part].sum(axis=1), 1)
    if name == "gz-rings":
        assert 0.3 < shares[:, 0].mean() < 0.7
        assert shares[:, 0].std() > 0.2


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({"n": -1}, "n "), ({"seed": -1}, "seed"), ({"size_px": SMALLEST_PX - 1}, "size_px")],
)
def test_arguments_out_of_range_are_refused_by_name(tree, arguments, named):
    """A negative count or seed, or an image too small to show anything, is bad input."""
    with pytest.raises(BadInput, match=named):
        synthetic_sky(tree, **{"n": 1, "seed": SEED, "size_px": 96} | arguments)


def axis_ratio(image: np.ndarray) -> float:
    """Return minor over major axis from Gaussian-weighted second moments, which ignore field stars."""
    half = image.shape[0] // 2
    y, x = np.mgrid[-half:half, -half:half] + 0.5
    light = np.clip(image - np.median(image) - 12, 0, None) * np.exp(-(x * x + y * y) / (2 * 12**2))
    xx, yy, xy = ((light * a).sum() for a in (x * x, y * y, x * y))
    low, high = np.linalg.eigvalsh([[xx, xy], [xy, yy]])
    return float(np.sqrt(low / high))
