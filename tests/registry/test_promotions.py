"""Where a rollback leads, on histories small enough to read."""

from datetime import UTC, datetime

import pytest

from alservice.errors import NotFound
from alservice.registry.records import Promotion
from alservice.registry.service import rollback_target

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def history(*changes: tuple[int, int | None, str]) -> list[Promotion]:
    """Return changes of the live model: the new one, the one it replaced, and how."""
    return [
        Promotion(model_id=new, replaced_id=old, kind=kind, actor="ann", reason="", at=NOON)
        for new, old, kind in changes
    ]


ONE = (1, None, "gate")
TWO = (2, 1, "gate")
THREE = (3, 2, "person")


@pytest.mark.parametrize(
    ("changes", "target"),
    [
        ((ONE, TWO), 1),
        ((ONE, TWO, THREE), 2),
        ((ONE, TWO, THREE, (2, 3, "rollback")), 1),
        ((ONE, TWO, (1, 2, "rollback"), (2, 1, "person")), 1),
        ((ONE, TWO, THREE, (2, 3, "rollback"), (4, 2, "gate")), 2),
    ],
)
def test_a_rollback_undoes_the_last_promotion(changes, target) -> None:
    """Back through promotions, never forth through rollbacks."""
    assert rollback_target(history(*changes)) == target


@pytest.mark.parametrize("changes", [(), (ONE,), (ONE, TWO, (1, 2, "rollback"))])
def test_before_the_first_there_is_nothing(changes) -> None:
    """No model, the first one, or the first one again."""
    with pytest.raises(NotFound, match="no earlier champion"):
        rollback_target(history(*changes))
