"""Which galaxies a prediction covers, and what each question of it is worth: nothing here loads a network."""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from alservice.campaigns.campaign import AcquisitionPolicy
from alservice.science.tree import Tree
from alservice.shapes import FloatArray


class Scope(StrEnum):
    """Which galaxies a posterior covers."""

    CATALOGUE = "catalogue"
    EVALUATION = "evaluation"


def question_weights(policy: AcquisitionPolicy, tree: Tree) -> FloatArray:
    """Return the science weight (Q,) of every question; nobody is asked a superseded one, so it weighs nothing."""
    weights = policy.question_weights
    return np.array([0.0 if q.superseded else weights.get(q.name, 1.0) for q in tree.questions])
