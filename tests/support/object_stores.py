"""Stores under test: memory, a local folder, and a bucket on a real S3 server."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from alservice.storage import ObjectStore
from alservice.storage.objects import open_objects
from alservice.testing import MemoryObjects
from tests.support.s3 import S3Server, moto_server, rclone_server


@pytest.fixture(scope="session")
def rclone() -> Iterator[S3Server]:
    """One S3 server that checks signatures, for the whole session."""
    with rclone_server() as server:
        yield server


@pytest.fixture(scope="session")
def moto() -> Iterator[S3Server]:
    """One S3 server with the error answers of AWS, for the whole session."""
    with moto_server() as server:
        yield server


@pytest.fixture(scope="session")
def prefixes() -> Iterator[str]:
    """Prefixes nobody used before, so that tests share a bucket without meeting."""
    return (f"run/{number}" for number in count())


@pytest.fixture
def credentials(rclone: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The AWS environment of the rclone server."""
    for name, value in rclone.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(params=["memory", "local", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """An empty store of each kind."""
    if request.param == "memory":
        return MemoryObjects()
    if request.param == "local":
        return open_objects(str(tmp_path / "objects"))
    request.getfixturevalue("credentials")
    prefix = next(request.getfixturevalue("prefixes"))
    return open_objects(request.getfixturevalue("rclone").url(prefix))
