"""Acquisition policies by name: how galaxies are scored, and how scores become chances.

==============  ======================================================================  =======
policy          score                                                                   rule
==============  ======================================================================  =======
`bald`          information of the expected votes and the weights (`tree_information`)  top
`power_bald`    the same                                                                power
`softmax_bald`  the same                                                                softmax
`epig`          information on the survey's votes (`predictive_information`)            power
`entropy`       entropy of one predicted classification                                 top
`threshold`     1 where P(fraction of an answer > 0.2) >= 0.8, as KaDE; else 0          power
`random`        none                                                                    none
==============  ======================================================================  =======

`entropy`, `threshold` and `random` are what simpler systems do, kept to compare with. Among equal scores of 1 the
power rule draws uniformly, so `threshold` is KaDE's rule under a budget.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import numpy as np

from alservice.acquisition.batch_records import Rule
from alservice.errors import BadInput
from alservice.science.information import threshold_probability
from alservice.science.pmf import entropy
from alservice.science.posterior import answer_probabilities
from alservice.science.predictive_information import tree_predictive_information
from alservice.science.scoring import check_concentrations, check_weights
from alservice.science.tree import Tree
from alservice.science.tree_information import tree_information
from alservice.shapes import BoolArray, FloatArray

PolicyName: TypeAlias = Literal["bald", "epig", "power_bald", "softmax_bald", "random", "entropy", "threshold"]

RULES: Final[dict[PolicyName, Rule]] = {
    "bald": "top",
    "power_bald": "power",
    "softmax_bald": "softmax",
    "epig": "power",
    "entropy": "top",
    "threshold": "power",
    "random": "top",
}
"""How each policy's scores become chances; `random` has no informative arm to use it."""

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
        (M, T, A) draws of a uniform sample of the survey, which `epig` needs.

    Returns
    -------
    FloatArray
        (N,) float64 nats, or 0 and 1 for `threshold`.

    Raises
    ------
    BadInput
        If `epig` comes without a target, or for `random`, which scores nothing.
    NumericalFault, BadVotes
        As the functions of each score.
    """
    match policy:
        case "bald" | "power_bald" | "softmax_bald":
            return tree_information(tree, concentrations, votes, weights)
        case "epig" if target is not None:
            return tree_predictive_information(tree, concentrations, target, weights)
        case "entropy":
            return classification_entropy(tree, concentrations, weights)
        case "threshold":
            column = tree.column(answer)
            answers = tree.slices[tree.question_of_answer[column]]
            own = threshold_probability(concentrations[..., answers], column - answers.start)
            return (own >= CERTAINTY).astype(np.float64)
        case _:
            raise BadInput(f"policy {policy!r} has no scores" + (" without a target" if policy == "epig" else ""))


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


def easy_galaxies(tree: Tree, concentrations: FloatArray) -> BoolArray:
    """Tell which galaxies (N,) volunteers should find easy: at least 0.8 of them are expected to agree.

    Judged on the questions that everybody is asked, by the mean of the draws (N, T, A).
    """
    mean = answer_probabilities(tree, np.asarray(concentrations, dtype=np.float64)).mean(axis=1)
    roots = [answers for answers, parents in zip(tree.slices, tree.parents_of, strict=True) if not parents]
    agreement = np.stack([mean[:, answers].max(axis=-1) for answers in roots], axis=-1)
    easy: BoolArray = agreement.min(axis=-1) >= CERTAINTY
    return easy
