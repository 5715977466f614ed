"""The weekly human-machine loop of a galaxy survey on Zooniverse.

In Python, functions that are loaded when they are first asked for: `train`, `predict` and `evaluate` on DataFrames or
files, `load_tree` for question trees, `posterior` and `score` for acquisition, and `open_app` for a running system.

``GalaxyId -> image -> Posterior -> AcquisitionBatch -> SubjectDraft -> Subject -> Classification -> Tally ->
TrainingSet -> Model -> Evaluation -> GateDecision -> (champion, next cycle)``: one record type per arrow, one pure
module that makes it, one store or client that touches the world, one service that joins the two. A stage of the loop is
a package, which owns its records, rules, tables, store and service.

Imports run down one list, checked by import-linter (``pyproject.toml``): ``cli``, ``web``, ``app``, what runs the loop
whole or on files, the stages from ``learning`` to ``campaigns``, ``zooniverse``, ``network``, ``storage``, ``science``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from alservice.constants import VERSION
from alservice.lazy import lazily

if TYPE_CHECKING:
    from alservice.app import open_app
    from alservice.campaigns.trees import load_tree
    from alservice.offline.frames import evaluate, posterior, predict, score, train

__all__ = ["__version__", "evaluate", "load_tree", "open_app", "posterior", "predict", "score", "train"]

__version__ = VERSION

_HOMES: Final = {
    "evaluate": "alservice.offline.frames",
    "load_tree": "alservice.campaigns.trees",
    "open_app": "alservice.app",
    "posterior": "alservice.offline.frames",
    "predict": "alservice.offline.frames",
    "score": "alservice.offline.frames",
    "train": "alservice.offline.frames",
}

if not TYPE_CHECKING:  # a checker sees the imports above, and that there are no others
    __getattr__ = lazily(__name__, _HOMES)


def __dir__() -> list[str]:
    """Return what there is, loaded or not."""
    return sorted({*globals(), *__all__})
