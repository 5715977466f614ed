"""The history of the live model, and where a rollback leads."""

from __future__ import annotations

from collections.abc import Sequence

from alservice.campaigns.records import Promotion
from alservice.errors import NotFound


def rollback_target(history: Sequence[Promotion]) -> int:
    """Return the model that the live one replaced when it was promoted, not when it was brought back.

    So a second rollback goes one further back, not forth again.

    Parameters
    ----------
    history
        Every change of the live model, oldest first.

    Raises
    ------
    NotFound
        No model is live, or the live one was the first.
    """
    live = history[-1].model_id if history else None
    replaced = [p.replaced_id for p in history if p.model_id == live and p.kind != "rollback"]
    target = replaced[-1] if replaced else None
    if target is None:
        raise NotFound("there is no earlier champion to go back to", live=live)
    return target
