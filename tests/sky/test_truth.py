"""The truth of a synthetic galaxy: what it is decides, and what its image shows decides how many see it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alservice.science.tree import load_tree
from alservice.sky.galaxies import ANSWERS, LAPSE, true_probabilities, visibility
from alservice.sky.rendering import Kind, Morphology, draw_morphology

FACE_ON_DISC = Morphology(
    kind=Kind.DISC,
    signal_to_noise=800.0,
    half_light_px=16.0,
    psf_sigma_px=1.0,
    axis_ratio=0.9,
    position_angle_rad=0.3,
    bulge_fraction=0.2,
    pitch_rad=math.radians(20),
)
ELLIPTICAL = replace(FACE_ON_DISC, kind=Kind.ELLIPTICAL, bulge_fraction=1.0, sersic_index=4.0)
SPIRAL = replace(FACE_ON_DISC, arm_strength=0.9, n_arms=2)
BARRED = replace(FACE_ON_DISC, bar_strength=0.9)
EDGE_ON = replace(FACE_ON_DISC, axis_ratio=0.12)


def test_the_truth_answers_exactly_the_gz2_tree():
    """Every question and answer of the tree has a probability, and no other has."""
    tree = load_tree("gz2")
    assert {question.name: frozenset(question.answers) for question in tree.questions} == ANSWERS
    assert {name: frozenset(answers) for name, answers in true_probabilities(SPIRAL).items()} == ANSWERS


@given(seed=st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_probabilities_are_distributions_above_the_lapse_floor(seed):
    """Whatever galaxy is drawn, each question's answers sum to one and none is impossible."""
    truth = true_probabilities(draw_morphology(np.random.default_rng(seed), 96))
    for answers in truth.values():
        assert sum(answers.values()) == pytest.approx(1, abs=1e-12)
        assert min(answers.values()) >= LAPSE / len(answers) - 1e-12


@pytest.mark.parametrize(
    ("galaxy", "question", "answer"),
    [
        (ELLIPTICAL, "smooth-or-featured", "smooth"),
        (SPIRAL, "smooth-or-featured", "featured-or-disk"),
        (EDGE_ON, "smooth-or-featured", "featured-or-disk"),
        (replace(ELLIPTICAL, kind=Kind.STAR), "smooth-or-featured", "artifact"),
        (replace(ELLIPTICAL, kind=Kind.TRAIL), "smooth-or-featured", "artifact"),
        (EDGE_ON, "disk-edge-on", "yes"),
        (SPIRAL, "disk-edge-on", "no"),
        (BARRED, "bar", "yes"),
        (SPIRAL, "bar", "no"),
        (SPIRAL, "has-spiral-arms", "yes"),
        (BARRED, "has-spiral-arms", "no"),
        (replace(SPIRAL, bulge_fraction=0.0), "bulge-size", "no"),
        (replace(SPIRAL, bulge_fraction=0.15), "bulge-size", "just-noticeable"),
        (replace(SPIRAL, bulge_fraction=0.4), "bulge-size", "obvious"),
        (replace(SPIRAL, bulge_fraction=0.75), "bulge-size", "dominant"),
        (ELLIPTICAL, "something-odd", "no"),
        (replace(ELLIPTICAL, arc_strength=0.9), "something-odd", "yes"),
        (replace(ELLIPTICAL, axis_ratio=0.95), "how-rounded", "round"),
        (replace(ELLIPTICAL, axis_ratio=0.6), "how-rounded", "in-between"),
        (replace(ELLIPTICAL, axis_ratio=0.3), "how-rounded", "cigar-shaped"),
        (replace(SPIRAL, ring_strength=0.9), "odd-feature", "ring"),
        (replace(ELLIPTICAL, arc_strength=0.9), "odd-feature", "lens-or-arc"),
        (replace(ELLIPTICAL, tail_strength=0.9), "odd-feature", "disturbed"),
        (replace(FACE_ON_DISC, kind=Kind.IRREGULAR, clump_strength=0.9), "odd-feature", "irregular"),
        (replace(ELLIPTICAL, star_strength=0.9), "odd-feature", "other"),
        (replace(ELLIPTICAL, kind=Kind.MERGER, companion_fraction=0.8), "odd-feature", "merger"),
        (replace(EDGE_ON, dust_strength=0.9), "odd-feature", "dust-lane"),
        (replace(EDGE_ON, bulge_fraction=0.4), "edge-on-bulge", "rounded"),
        (replace(EDGE_ON, bulge_fraction=0.4, bulge_boxiness=1.0), "edge-on-bulge", "boxy"),
        (replace(EDGE_ON, bulge_fraction=0.01), "edge-on-bulge", "none"),
        (replace(SPIRAL, pitch_rad=math.radians(9)), "spiral-winding", "tight"),
        (replace(SPIRAL, pitch_rad=math.radians(-18)), "spiral-winding", "medium"),
        (replace(SPIRAL, pitch_rad=math.radians(30)), "spiral-winding", "loose"),
        (replace(SPIRAL, n_arms=1), "spiral-arm-count", "1"),
        (SPIRAL, "spiral-arm-count", "2"),
        (replace(SPIRAL, n_arms=3), "spiral-arm-count", "3"),
    ],
)
def test_a_clear_image_gets_the_answer_that_the_galaxy_is(galaxy, question, answer):
    """Where nothing hides the galaxy, the plurality of volunteers is right."""
    answers = true_probabilities(galaxy)[question]
    assert max(answers, key=answers.__getitem__) == answer


@pytest.mark.parametrize(
    ("galaxy", "question", "answer"),
    [
        (SPIRAL, "smooth-or-featured", "featured-or-disk"),
        (SPIRAL, "has-spiral-arms", "yes"),
        (BARRED, "bar", "yes"),
        (EDGE_ON, "disk-edge-on", "yes"),
        (replace(SPIRAL, ring_strength=0.9), "something-odd", "yes"),
    ],
)
@pytest.mark.parametrize(
    "worsened",
    [
        {"signal_to_noise": [800.0, 200.0, 80.0, 30.0, 10.0]},
        {"psf_sigma_px": [1.0, 3.0, 5.0, 8.0, 14.0]},
    ],
)
def test_fewer_volunteers_see_a_feature_the_fainter_or_more_blurred_it_is(galaxy, question, answer, worsened):
    """A feature fades with signal-to-noise and with the point-spread function, down to mere confusion."""
    ((name, values),) = worsened.items()
    seen = [true_probabilities(replace(galaxy, **{name: value}))[question][answer] for value in values]
    assert max(np.diff(seen)) < 0.01
    assert seen[0] > 0.7
    assert seen[-1] < 0.4


@pytest.mark.parametrize(("galaxy", "question"), [(SPIRAL, "has-spiral-arms"), (BARRED, "bar")])
def test_inclination_hides_what_lies_in_the_disc(galaxy, question):
    """Arms and bars of a disc seen from its side are not seen."""
    hidden = true_probabilities(replace(galaxy, axis_ratio=0.15))[question]["yes"]
    assert hidden < 0.35 < true_probabilities(galaxy)[question]["yes"]


def test_arms_closer_than_the_blur_are_not_seen():
    """Many tight arms merge into a smooth disc."""
    tight = replace(SPIRAL, n_arms=6, pitch_rad=math.radians(7), psf_sigma_px=2.0)
    assert true_probabilities(tight)["has-spiral-arms"]["yes"] < 0.2


def test_two_galaxies_that_look_the_same_in_a_blur_get_nearly_the_same_answers():
    """At the limit of no light, truth is the confusion of volunteers and not the galaxy."""
    dim = {"signal_to_noise": 2.0}
    a, b = (true_probabilities(replace(galaxy, **dim)) for galaxy in (SPIRAL, ELLIPTICAL))
    for question, answers in a.items():
        assert b[question] == pytest.approx(answers, abs=0.03), question


@given(seed=st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_visibility_is_ordered(seed):
    """Detail needs more than an outline, and detail in the plane of a disc more still."""
    seen = visibility(draw_morphology(np.random.default_rng(seed), 96))
    assert 0 <= seen.face_on <= seen.detail <= seen.outline <= 1
