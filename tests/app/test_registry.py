"""Jobs of the registry: what is said where there is nothing to show."""

from types import SimpleNamespace
from typing import Any

import pytest

from alservice.errors import NotFound
from alservice.learning.service import LearningService


@pytest.mark.parametrize(
    ("number", "said"),
    [(None, "decided nothing yet in campaign gz2"), (2, "not judged cycle 2"), (7, "campaign gz2 has no cycle 7")],
)
def test_a_cycle_that_is_not_there_is_told_from_one_that_was_not_judged(number: int | None, said: str) -> None:
    """The number that was asked for is in the message."""
    learning: Any = SimpleNamespace(
        campaigns=SimpleNamespace(get=lambda name: SimpleNamespace(id=1)),
        cycles=SimpleNamespace(list=lambda campaign_id: [SimpleNamespace(id=n, number=n) for n in range(3)]),
        models=SimpleNamespace(decision=lambda cycle_id: None),
    )
    with pytest.raises(NotFound, match=said):
        LearningService.newest_decision(learning, "gz2", number)
