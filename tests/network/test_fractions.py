"""Fractions down the tree: normalised, cumulative, and known only where votes tell."""

import numpy as np
import pytest
import torch

from alservice.network.architectures import (
    concentrations_of,
    conditional_fractions,
    cumulative_fractions,
    recorded_fractions,
    squared_errors,
)
from alservice.science.tree import load_tree
from alservice.science.votes import walk

TREE = load_tree("gz2")


def outputs(n=5):
    """Return outputs of both signs."""
    return torch.randn(n, TREE.n_answers, generator=torch.Generator().manual_seed(0))


def test_answers_of_a_question_share_one_whole():
    """Rectified, then divided by their sum; what is below 0 has no share."""
    z = outputs()
    shares = conditional_fractions(z, TREE)
    for answers in TREE.slices:
        rectified = z[:, answers].clamp(min=0)
        some = rectified.sum(1) > 0
        torch.testing.assert_close(shares[some, answers], (rectified / rectified.sum(1, keepdim=True))[some])
        assert (shares[~some, answers] == 0).all()


def test_children_add_up_to_their_parents():
    """The answers of a question add up to the share of volunteers who are asked it."""
    fractions = cumulative_fractions(conditional_fractions(outputs().abs(), TREE), TREE)
    for answers, parents in zip(TREE.slices, TREE.parents_of, strict=True):
        asked = fractions[:, list(parents)].sum(1) if parents else torch.ones(5)
        torch.testing.assert_close(fractions[:, answers].sum(1), asked)


def test_fractions_of_walks_are_their_counts():
    """Where volunteers walk the tree the cumulative fractions are counts over volunteers, all of them known."""
    rng = np.random.default_rng(0)
    probabilities = np.concatenate([rng.dirichlet(np.ones(len(q.answers))) for q in TREE.questions])
    counts = torch.zeros(TREE.n_answers)
    for answers in walk(TREE, probabilities, 44, rng):
        for part, answer in zip(TREE.slices, answers, strict=True):
            if answer >= 0:
                counts[part.start + answer] += 1
    fractions, known = recorded_fractions(counts, TREE)
    torch.testing.assert_close(fractions, counts / 44)
    assert known.all()


def test_a_question_left_unasked_is_not_known_to_be_zero():
    """Featured votes without any on what comes after: neither that question nor those below it count."""
    counts = torch.zeros(1, TREE.n_answers)
    counts[0, TREE.slices[0]] = torch.tensor([2.0, 8.0, 0.0])
    _, known = recorded_fractions(counts, TREE)
    edge_on = TREE.slices[TREE.index(TREE.questions[1].name)]
    assert known[0, TREE.slices[0]].all()
    assert not known[0, edge_on].any()
    assert squared_errors(outputs(1), torch.zeros(1, TREE.n_answers), TREE).item() == 0


def test_the_error_of_the_recorded_fractions_is_none():
    """Outputs in the recorded proportions have no error; others have the mean square over known answers."""
    counts = torch.zeros(1, TREE.n_answers)
    counts[0, TREE.slices[0]] = torch.tensor([3.0, 6.0, 1.0])
    right, wrong = counts / 10, torch.zeros_like(counts)
    wrong[0, 0] = 1
    assert squared_errors(right, counts, TREE).item() == pytest.approx(0, abs=1e-12)
    _, known = recorded_fractions(counts, TREE)
    expected = (0.7**2 + 0.6**2 + 0.1**2) / known.sum().item()
    top_only = known.nonzero()[:, 1].max().item() < 3
    assert top_only
    assert squared_errors(wrong, counts, TREE).item() == pytest.approx(expected, rel=1e-5)


def test_concentrations_have_the_fractions_as_means():
    """The temperature of a question is its precision; an answer that is rectified away stays possible."""
    z, tau = outputs(), torch.linspace(0.5, 2, TREE.n_questions)
    alpha = concentrations_of(z, TREE, precision=10.0, temperature=tau)
    assert (alpha > 0).all()
    shares = conditional_fractions(z, TREE)
    for question, answers in enumerate(TREE.slices):
        some = shares[:, answers].sum(1) > 0
        total = alpha[some, answers].sum(1)
        torch.testing.assert_close(total, torch.full_like(total, 10 * tau[question].item()))
        torch.testing.assert_close(alpha[some, answers] / total[:, None], shares[some, answers], atol=0.01, rtol=0)
