"""Science: trees, votes, posteriors, information and evaluation; numpy alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alservice.lazy import lazily

if TYPE_CHECKING:
    from alservice.science.evaluation import Evaluation, evaluate
    from alservice.science.information import fast_binomial_mutual_information, joint_information
    from alservice.science.posterior import Posterior
    from alservice.science.tree import Tree, load_tree
    from alservice.science.votes import TallySet
else:
    __getattr__ = lazily(
        __name__,
        {
            "Evaluation": "alservice.science.evaluation",
            "Posterior": "alservice.science.posterior",
            "TallySet": "alservice.science.votes",
            "Tree": "alservice.science.tree",
            "evaluate": "alservice.science.evaluation",
            "fast_binomial_mutual_information": "alservice.science.information",
            "load_tree": "alservice.science.tree",
            "joint_information": "alservice.science.information",
        },
    )

__all__ = [
    "Evaluation",
    "Posterior",
    "TallySet",
    "Tree",
    "evaluate",
    "fast_binomial_mutual_information",
    "joint_information",
    "load_tree",
]
