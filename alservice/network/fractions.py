"""Vote fractions down the tree: rectified outputs, normalised per question, times their parents; and their error.

What Dieleman 2015 (MNRAS 450, 1441, section 5.4) does instead of a likelihood. Fractions are cumulative: the answers of
a question add up to the share of volunteers who were asked.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from alservice.science.tree import Tree

_EPSILON: Final = 1e-12
"""Added to the sum of a question's outputs, as in the paper: where all are rectified away, nothing is divided by 0."""

_SLACK: Final = 0.01
"""Share of an answer's probability that is spread evenly before votes are scored: a rectifier says exactly 0, and one
vote against that would be impossible rather than unlikely."""


def conditional_fractions(outputs: Tensor, tree: Tree) -> Tensor:
    """Return the share of each answer among those asked: rectified outputs (..., A) over the sum of their question."""
    rectified = torch.relu(outputs)
    question = torch.tensor(tree.question_of_answer, device=outputs.device)
    member = torch.nn.functional.one_hot(question, tree.n_questions).to(outputs.dtype)
    return rectified / ((rectified @ member + _EPSILON) @ member.T)


def cumulative_fractions(conditional: Tensor, tree: Tree) -> Tensor:
    """Return shares of all volunteers (..., A): those among the asked, times the share that was asked."""
    known: list[Tensor] = []
    for answers, parents in zip(tree.slices, tree.parents_of, strict=True):
        asked = sum(known[parent] for parent in parents) if parents else torch.ones_like(conditional[..., 0])
        known += (conditional[..., answers] * torch.as_tensor(asked).unsqueeze(-1)).unbind(-1)
    return torch.stack(known, dim=-1)


def recorded_fractions(counts: Tensor, tree: Tree) -> tuple[Tensor, Tensor]:
    """Return the cumulative fractions of votes (..., A), and which are known.

    A question that nobody was asked is known to have none where its parents have none, else not known; so are the
    questions below it.
    """
    question = torch.tensor(tree.question_of_answer, device=counts.device)
    member = torch.nn.functional.one_hot(question, tree.n_questions).to(counts.dtype)
    asked = counts @ member
    conditional = counts / asked.clamp(min=_EPSILON)[..., question]
    fractions = cumulative_fractions(conditional, tree)
    known: list[Tensor] = []
    for i, (answers, parents) in enumerate(zip(tree.slices, tree.parents_of, strict=True)):
        is_known = asked[..., i] > 0
        if parents:
            reached = torch.stack([fractions[..., parent] for parent in parents]).sum(0)
            parents_known = torch.stack([known[parent] for parent in parents]).all(0)
            is_known = parents_known & (is_known | (reached == 0))
        known += [is_known] * (answers.stop - answers.start)
    return fractions, torch.stack(known, dim=-1)


def squared_errors(outputs: Tensor, counts: Tensor, tree: Tree) -> Tensor:
    """Return the mean squared error (...,) of a galaxy's known cumulative fractions; 0 where none is known."""
    predicted = cumulative_fractions(conditional_fractions(outputs, tree), tree)
    recorded, known = recorded_fractions(counts, tree)
    errors = (predicted - recorded).square() * known
    return errors.sum(-1) / known.sum(-1).clamp(min=1)


def concentrations_of(outputs: Tensor, tree: Tree, *, precision: float, temperature: Tensor | None) -> Tensor:
    """Return Dirichlet concentrations (..., A) whose means are the fractions: one precision for every galaxy.

    A network of point estimates has no opinion on how far votes scatter about them: the precision is a constant, and
    the temperature of each question, fitted on held-out galaxies, is all that is known of it.
    """
    sizes = torch.tensor([answers.stop - answers.start for answers in tree.slices], device=outputs.device)
    question = torch.tensor(tree.question_of_answer, device=outputs.device)
    even = 1 / sizes.to(outputs.dtype)[question]
    scale = precision if temperature is None else precision * temperature[question]
    return scale * ((1 - _SLACK) * conditional_fractions(outputs, tree) + _SLACK * even)
