"""A factory on a database of the test's own."""

from pathlib import Path

import pytest
from sqlalchemy import Engine

from alservice.app import App
from tests.support.worlds import make_factory


@pytest.fixture
def factory(engine: Engine, tmp_path: Path) -> App:
    """Real stores, local objects, a clock that stands still."""
    return make_factory(engine, tmp_path)
