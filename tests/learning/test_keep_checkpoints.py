"""Checkpoints in the object store: a training killed by SIGKILL ends in the weights of one that was not."""

import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from alservice.learning.training import KeepCheckpoints, due_every
from alservice.network.architectures import NetworkConfig
from alservice.network.config import FitConfig
from alservice.network.files import tensors_to_bytes
from alservice.network.training import fit, origin_of, run_digest
from alservice.science.tree import load_tree
from alservice.storage.objects import LocalObjects
from tests.support.shared import ROOT

TREE = load_tree("gz-rings")
CONFIG = FitConfig(network=NetworkConfig(image_px=16, heads=2), steps=24, batch=4, looks=3, threads=1, seed=5)


def galaxies():
    """Return noise with votes."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (20, 1, 16, 16)).astype(np.uint8), rng.multinomial(20, [0.3, 0.7], 20)


def train(objects, steps=None):
    """Train, or go on, with a checkpoint every third step; return all of the result as bytes."""
    images, counts = galaxies()
    checkpoints = KeepCheckpoints(objects=objects, run="test-1")
    steps = [] if steps is None else steps
    result = fit(
        images,
        counts,
        TREE,
        CONFIG,
        device="cpu",
        progress=steps.append,
        checkpoint=checkpoints.newest(),
        on_checkpoint=checkpoints.keep,
        is_due=lambda step: step % 3 == 0,
    )
    return tensors_to_bytes(result.state, {"history": result.history, "best": result.best_step})


@pytest.mark.parametrize(("method", "calls", "left"), [("put", 5, 12), ("delete", 1, 18)])
def test_a_killed_training_goes_on_and_gives_the_same_bits(tmp_path, method, calls, left):
    """Killed right after a checkpoint is published, or before the older one is deleted, it loses nothing."""
    command = [sys.executable, "-m", "tests.learning.killed_training", str(tmp_path / "killed"), method, str(calls)]
    assert subprocess.run(command, check=False, cwd=ROOT).returncode == -signal.SIGKILL
    steps = []
    assert train(LocalObjects(tmp_path / "killed"), steps) == train(LocalObjects(tmp_path / "whole"))
    assert len(steps) == left


def test_the_newest_is_the_one_that_is_left(tmp_path):
    """After a whole run one checkpoint is there, the last; forgotten, none is."""
    objects = LocalObjects(tmp_path)
    train(objects)
    checkpoints = KeepCheckpoints(objects=objects, run="test-1")
    assert len(list(objects.keys())) == 1
    newest = checkpoints.newest()
    assert origin_of(newest) == (CONFIG.steps, run_digest(*galaxies(), TREE, CONFIG))
    checkpoints.forget()
    assert checkpoints.newest() is None


def test_runs_do_not_see_each_others_checkpoints(tmp_path):
    """Run test-1 is not run test-10."""
    objects = LocalObjects(tmp_path)
    train(objects)
    other = KeepCheckpoints(objects=objects, run="test-10")
    assert other.newest() is None
    assert KeepCheckpoints(objects=objects, run="test").newest() is None
    other.forget()
    assert KeepCheckpoints(objects=objects, run="test-1").newest() is not None


def test_checkpoints_are_due_by_the_clock():
    """One is due when the interval has passed since the last, not at every step."""
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    is_due = due_every(timedelta(seconds=10), lambda: now[0])
    said = []
    for step in range(1, 7):
        now[0] += timedelta(seconds=5)
        said.append(is_due(step))
    assert said == [False, True, False, True, False, True]
