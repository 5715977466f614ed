"""``kill -9`` anywhere, the same command again, and the tables end as if nothing had happened."""

import json
import signal
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.rehearsals import SMALL, content_of, lines_of, run_alservice, run_killed_each

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1500)]

MOVE = "alservice.campaigns.cycle_store:CycleStore.move"

POINTS = [
    ("alservice.storage.objects:LocalGroup.put", 20, "after"),  # inside the import
    ("alservice.campaigns.cycle_store:CycleStore.start", 1, "after"),
    (MOVE, 1, "after"),  # planned -> acquiring
    ("alservice.acquisition.store:AcquisitionStore.save", 1, "after"),
    (
        "alservice.zooniverse.client:PanoptesZooniverse.create_subject",
        5,
        "after",
    ),  # inside upload, answer unrecorded
    ("alservice.zooniverse.client:PanoptesZooniverse.link", 1, "after"),
    ("alservice.rehearsal.volunteers:VolunteerClient.classify", 100, "after"),
    ("alservice.votes.store:Landing.move_cursor", 1, "before"),  # inside ingest, inside a transaction
    ("alservice.network.training:Trainer.advance", 20, "before"),  # inside training
    ("alservice.registry.store:ModelStore.save", 1, "after"),
    ("alservice.registry.store:ModelStore.settle", 1, "before"),
    ("alservice.registry.store:ModelStore.settle", 1, "after"),
    ("alservice.registry.store:ModelStore.save_posterior_shard", 1, "before"),  # cycle 1: inside prediction
    (MOVE, 3, "after"),
]
"""Where each run dies, in the order in which one rehearsal meets them."""


OWN_SERVERS = 3
"""Runs that start a Prefect server of their own, and find one whose process was killed; the later ones share one."""


def test_a_rehearsal_killed_everywhere_ends_as_an_unkilled_one(
    rehearsed: tuple[Path, list[dict[str, Any]]], prefect_url: str
) -> None:
    """Same seed: the same batches, votes, models and decisions; ids, times and attempts aside."""
    unkilled, lines = rehearsed
    with tempfile.TemporaryDirectory(prefix="alservice-killed-") as folder:
        workdir = Path(folder)
        shared = {"PREFECT_API_URL": prefect_url}
        for points, server in ((POINTS[:OWN_SERVERS], {}), (POINTS[OWN_SERVERS:], shared)):
            died = run_killed_each(workdir, points, *SMALL, **server)
            ends = [json.loads(line) for line in died.stdout.splitlines()]
            assert ends == [[target, -signal.SIGKILL] for target, *_ in points], died.stderr[-3000:]
        assert lines_of(run_alservice(workdir, *SMALL, **shared)) == lines
        left, expected = content_of(workdir), content_of(unkilled)
        for name, rows in expected.items():
            assert left[name] == rows, name
