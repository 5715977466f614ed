"""Engines: one process and a Ray cluster give the same results, whatever dies; wrong addresses end in bounded time."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from alservice.engines import LocalEngine, RayEngine, engine_of
from alservice.errors import BadConfig, RayUnavailable
from alservice.settings import Settings
from tests.support.files import write_galaxies
from tests.support.processes import free_port
from tests.support.ray_nodes import Nodes, environment, names, ray_nodes, start_run
from tests.support.shared import ROOT

pytestmark = pytest.mark.timeout(400)
N = 16


def wait_until(is_so: Callable[[], bool], *, seconds: float = 120) -> None:
    """Wait for something that other processes do."""
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """A head and two nodes of one CPU each."""
    pytest.importorskip("ray", reason="the extra ray is not installed")
    with ray_nodes(tmp_path_factory.mktemp("cluster")) as running:
        yield running


def test_one_process_prepares_once_and_yields_in_order() -> None:
    """Work is prepared for the first item, and not at all without one; items are taken one at a time."""
    begun, taken = [], []

    def begin() -> Callable[[int], int]:
        begun.append(1)
        return lambda item: item * item

    def items() -> Iterator[int]:
        for item in range(3):
            taken.append(item)
            yield item

    results = LocalEngine().map(begin, items())
    assert (next(results), taken) == (0, [0])
    assert [*results] == [1, 4]
    assert [*LocalEngine().map(begin, [])] == []
    assert begun == [1]


def test_the_settings_choose_the_engine() -> None:
    """Without an address one process; an address that is none is refused before anything is connected."""
    assert isinstance(engine_of(Settings(ray_address=None)), LocalEngine)
    assert isinstance(engine_of(Settings(ray_address="head:6379")), RayEngine)
    for wrong in ("head", "head:0", "head:99999", "http://head:6379", "user:secret@head:6379", ""):
        with pytest.raises(BadConfig) as refused:
            engine_of(Settings(ray_address=wrong))
        assert "secret" not in str(refused.value)


def test_an_address_where_nothing_answers_is_an_error_by_name() -> None:
    """Nobody listens there: no Ray is even loaded in this process."""
    pytest.importorskip("ray", reason="the extra ray is not installed")
    engine = engine_of(Settings(ray_address=f"127.0.0.1:{free_port()}"))
    with pytest.raises(RayUnavailable, match="nothing answers"):
        next(engine.map(lambda: abs, [1]))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ensembles_and_backfills_are_those_of_one_process(nodes: Nodes, tmp_path: Path) -> None:
    """Members of an ensemble, and seeds of a backfill, by the commands: the same bytes by workers of a cluster."""
    data = write_galaxies(tmp_path / "galaxies.parquet", 40)
    small = ["--px", "16", "--field", "1", "--steps", "3", "--device", "cpu"]
    train = ["train", "--data", str(data), "--tree", "gz2", "--ensemble", "2", "--batch", "4", "--threads", "1", *small]
    replay = ["backfill", "--galaxies", "120", "--rounds", "1", "--seeds", "2", "--initial", "16", "--batch", "8"]
    replay += ["--passes", "1", "--policies", "power_bald", "--test", "20", *small]
    said = {}
    for place in ("here", "there"):
        folder = tmp_path / place
        cluster = {} if place == "here" else {"ALSERVICE_RAY_ADDRESS": nodes.address, "RAY_TMPDIR": str(nodes.folder)}
        env = environment(nodes.mark, ALSERVICE_WORKDIR=str(folder / "work"), **cluster)
        for command in (train, replay):
            line = [sys.executable, "-m", "alservice.cli", *command, "--out", str(folder / command[0])]
            ran = subprocess.run(line, env=env, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)
            assert ran.returncode == 0, ran.stderr[-3000:]
            said[place, command[0]] = ran.stderr
    for name in ("train/ensemble.json", "backfill/curves.csv"):
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes(), name
    assert ["train members" in said[place, "train"] for place in ("here", "there")] == [False, True]


@pytest.mark.slow
def test_nodes_workers_and_drivers_die_and_nothing_recorded_is_done_again(nodes: Nodes, tmp_path: Path) -> None:
    """Kill -9 of the driver, then of a worker and of a node: the runs end with every item recorded, none made twice."""
    folder = tmp_path / "run"
    driver = start_run(folder, N, nodes.mark, nodes.address)
    wait_until(lambda: names(folder)["recorded"] >= 2 or driver.poll() is not None)
    assert driver.poll() is None, driver.communicate()[0]
    driver.kill()
    driver.communicate()
    before = names(folder)
    assert before["recorded"] < N
    pids = {int(path.name) for path in (folder / "workers").iterdir()}
    assert pids  # the second may still be starting
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))  # Ray ends them with their driver

    driver = start_run(folder, N, nodes.mark, nodes.address)
    wait_until(lambda: names(folder)["recorded"] > before["recorded"] + 1 or driver.poll() is not None)
    assert driver.poll() is None, driver.communicate()[0]
    os.kill(next(int(p.name) for p in (folder / "workers").iterdir() if int(p.name) not in pids), signal.SIGKILL)
    after_worker = names(folder)["recorded"]
    wait_until(lambda: names(folder)["recorded"] > after_worker or driver.poll() is not None)
    nodes.kill_a_node()
    said, _ = driver.communicate(timeout=200)
    assert driver.returncode == 0, said
    done = names(folder)
    assert (done["recorded"], done["twice"]) == (N, 0)
    # Two in hand died with the driver, at most one with the worker, and two with the node.
    assert N < done["started"] <= N + 5


@pytest.mark.slow
def test_an_item_that_kills_its_workers_ends_the_run(nodes: Nodes, tmp_path: Path) -> None:
    """The third worker that dies over it is the last; what others recorded stays."""
    folder = tmp_path / "run"
    (folder / "deadly").mkdir(parents=True)
    (folder / "deadly" / "1").touch()
    driver = start_run(folder, 3, nodes.mark, nodes.address)
    said, _ = driver.communicate(timeout=200)
    assert driver.returncode == 1
    assert "[ray-workers-lost]" in said, said
    assert sum(1 for path in (folder / "started").iterdir() if path.name.startswith("1-")) == 3
    assert (folder / "recorded" / "0").exists()
