"""Models as the registry lists them."""

from datetime import UTC, datetime

from alservice.ids import digest_of_key
from alservice.registry.records import Model
from alservice.states import ModelState


def registered(key: str) -> Model:
    """Return the row of a model whose weights are an object, of a campaign's first cycle."""
    return Model(
        id=1,
        campaign_id=1,
        cycle_id=1,
        cycle_number=0,
        snapshot_id=1,
        key=key,
        digest=digest_of_key(key),
        state=ModelState.CANDIDATE,
        card={},
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
