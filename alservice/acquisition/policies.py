"""Acquisition policies by name: how galaxies are scored, and how scores become chances.

==============  ======================================================================  =======
policy          score                                                                   rule
==============  ======================================================================  =======
`bald`          information of all expected votes on the weights (`joint_information`)  top
`power_bald`    the same                                                                power
`softmax_bald`  the same                                                                softmax
`epig`          information on the survey's votes (`predictive_information`)            power
`batch_bald`    information of the votes on the weights, normal approximation           joint
`batch_epig`    variance of the survey's fractions that the votes take away             joint
`entropy`       entropy of one predicted classification                                 top
`threshold`     1 where P(fraction of an answer > 0.2) >= 0.8, as KaDE; else 0          power
`random`        none                                                                    none
==============  ======================================================================  =======

`entropy`, `threshold` and `random` are what simpler systems do, kept to compare with. Among equal scores of 1 the
power rule draws uniformly, so `threshold` is KaDE's rule under a budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from alservice.acquisition.batch import Rule
from alservice.campaigns.policies import PolicyName
from alservice.errors import BadInput, NumericalFault
from alservice.science.batches import batch_gains, survey_covariance, vote_deviations
from alservice.science.information import joint_information, threshold_probability, tree_predictive_information
from alservice.science.pmf import entropy
from alservice.science.posterior import answer_probabilities, check_concentrations, check_weights
from alservice.science.tree import Tree
from alservice.shapes import BoolArray, FloatArray

RULES: Final[dict[PolicyName, Rule]] = {
    "bald": "top",
    "power_bald": "power",
    "softmax_bald": "softmax",
    "epig": "power",
    "batch_bald": "joint",
    "batch_epig": "joint",
    "entropy": "top",
    "threshold": "power",
    "random": "top",
}
"""How each policy's scores become chances; `random` has no informative arm to use it."""

BALD: Final = frozenset[PolicyName]({"bald", "power_bald", "softmax_bald"})
"""Policies whose score is the joint information, which a prediction holds already."""

SURVEYED: Final = frozenset[PolicyName]({"epig", "batch_epig"})
"""Policies that need a uniform sample of the survey."""

CERTAINTY: Final = 0.8
"""Probability from which KaDE shows a galaxy, and agreement from which one is easy for volunteers."""


def policy_scores(
    policy: PolicyName,
    tree: Tree,
    concentrations: FloatArray,
    *,
    votes: float,
    weights: FloatArray,
    answer: str,
    target: FloatArray | None,
) -> FloatArray:
    """Return the scores of one policy.

    Parameters
    ----------
    tree
        The tree of the Q questions and A answers.
    concentrations
        (N, T, A) posterior draws.
    votes
        Expected classifications of a galaxy, for the policies of BALD.
    weights
        (Q,) science weight of each question, for all but `threshold`.
    answer
        Answer column that `threshold` looks for.
    target
        (M, T, A) draws of a uniform sample of the survey, which those of `SURVEYED` need.

    Returns
    -------
    FloatArray
        (N,) float64 nats, or 0 and 1 for `threshold`.

    Raises
    ------
    BadInput
        If one of `SURVEYED` comes without a target, or for `random`, which scores nothing.
    NumericalFault, BadVotes
        As the functions of each score.
    """
    match policy:
        case "bald" | "power_bald" | "softmax_bald":
            return joint_information(tree, concentrations, votes, question_weights=weights)
        case "epig" if target is not None:
            return tree_predictive_information(tree, concentrations, target, weights)
        case "batch_bald":
            return batch_gains(vote_deviations(tree, concentrations, votes, weights))
        case "batch_epig" if target is not None:
            deviations = vote_deviations(tree, concentrations, votes, weights)
            return batch_gains(deviations, target=survey_covariance(tree, target, weights))
        case "entropy":
            return classification_entropy(tree, concentrations, weights)
        case "threshold":
            column = tree.column(answer)
            answers = tree.slices[tree.question_of_answer[column]]
            own = threshold_probability(concentrations[..., answers], column - answers.start)
            return (own >= CERTAINTY).astype(np.float64)
        case _:
            raise BadInput(f"policy {policy!r} has no scores" + (" without a target" if policy in SURVEYED else ""))


def classification_entropy(tree: Tree, concentrations: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the entropy of one predicted classification: sum_q w_q P(asked_q) H(mean answer), (N,) nats."""
    concentrations = np.asarray(concentrations, dtype=np.float64)
    check_concentrations(concentrations)
    weights = check_weights(tree, weights)
    probabilities = answer_probabilities(tree, concentrations)
    asked = tree.asked_probability(probabilities).mean(axis=1)
    mean = probabilities.mean(axis=1)
    of_question = np.stack([entropy(mean[:, answers]) for answers in tree.slices], axis=-1)
    nats: FloatArray = (asked * of_question) @ weights
    return nats


def easy_galaxies(tree: Tree, mean: FloatArray) -> BoolArray:
    """Tell which galaxies (N,) volunteers should find easy: at least 0.8 of them are expected to agree.

    Judged on the questions that everybody is asked, by the mean (N, A) of each answer's fraction.
    """
    roots = [answers for answers, parents in zip(tree.slices, tree.parents_of, strict=True) if not parents]
    agreement = np.stack([mean[:, answers].max(axis=-1) for answers in roots], axis=-1)
    easy: BoolArray = agreement.min(axis=-1) >= CERTAINTY
    return easy


@dataclass(frozen=True, kw_only=True, slots=True)
class SelectionOverlap:
    """The agreement of two rankings of the same galaxies.

    Parameters
    ----------
    n_galaxies
        Galaxies that both scored.
    top
        Size of the two selections, the best by score of each.
    common
        Share of one selection that is in the other; `chance` of it is expected of unrelated rankings.
    rank_correlation
        Spearman's, ties sharing their mean rank; None where one of the two scores all galaxies the same.
    """

    n_galaxies: int
    top: int
    common: float
    chance: float
    rank_correlation: float | None

    def text(self) -> str:
        """Return one sentence."""
        ranks = "undefined" if self.rank_correlation is None else f"{self.rank_correlation:+.3f}"
        return (
            f"{self.common:.1%} of the best {self.top} of {self.n_galaxies:,} galaxies in common "
            f"({self.chance:.1%} by chance), rank correlation {ranks}"
        )


def compare_selections(first: FloatArray, second: FloatArray, top: int) -> SelectionOverlap:
    """Compare the scores (nats) that two models give the same galaxies.

    Parameters
    ----------
    first, second
        (N,) scores in the same order.
    top
        Galaxies that a cycle asks about; more than there are means all.

    Raises
    ------
    BadInput
        Shapes do not fit, there is no galaxy, or `top` is not positive.
    NumericalFault
        A score is not finite.
    """
    if first.ndim != 1 or first.shape != second.shape or len(first) == 0 or top < 1:
        raise BadInput(f"{first.shape} and {second.shape} scores, best {top}: no two rankings of the same galaxies")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise NumericalFault("a score of a selection is not finite")
    top = min(top, len(first))
    best = [set(np.argsort(-scores, kind="stable")[:top].tolist()) for scores in (first, second)]
    return SelectionOverlap(
        n_galaxies=len(first),
        top=top,
        common=len(best[0] & best[1]) / top,
        chance=top / len(first),
        rank_correlation=_spearman(first, second),
    )


def _spearman(first: FloatArray, second: FloatArray) -> float | None:
    ranks = [_ranks(scores) - (len(scores) - 1) / 2 for scores in (first, second)]
    norms = [float(np.sqrt((r**2).sum())) for r in ranks]
    return float((ranks[0] @ ranks[1]) / (norms[0] * norms[1])) if all(norms) else None


def _ranks(values: FloatArray) -> FloatArray:
    """Return ranks from 0, equal values sharing the mean of theirs."""
    _, index, times = np.unique(values, return_inverse=True, return_counts=True)
    middle: FloatArray = (np.cumsum(times) - times + (times - 1) / 2)[index]
    return middle
