"""A Ray cluster of a head and two nodes on this machine, and runs on it; each in processes of their own."""

import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from alservice.catalogue.galaxies import Shard
from alservice.engines import Engine
from alservice.prediction.shard import ShardTask
from tests.support.shared import ROOT

MARK = "ALSERVICE_TEST_CLUSTER"
"""Variable that every process of a cluster inherits: what is left of it is found by that."""


def environment(mark: str, **more: str) -> dict[str, str]:
    """Return the environment of a cluster's processes: loopback alone, nothing told to anybody."""
    return {
        **os.environ,
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        MARK: mark,
        **more,
    }


class Nodes:
    """A cluster that runs."""

    def __init__(self, host: "subprocess.Popen[str]", mark: str, folder: Path) -> None:
        self._host = host
        self.mark = mark
        self.folder = folder
        self.address = str(self._ask("address"))

    def kill_a_node(self) -> None:
        """Kill -9 one node with all that runs on it; another takes its place only if asked for."""
        self._ask("kill")

    def add_a_node(self) -> None:
        """Have one more."""
        self._ask("add")

    def _ask(self, what: str) -> object:
        self._host.stdin.write(what + "\n")
        self._host.stdin.flush()
        for line in self._host.stdout:
            if line.startswith("{"):
                return json.loads(line)["answer"]
        raise AssertionError("the cluster's host ended")


@contextmanager
def ray_nodes(tmp: Path) -> Iterator[Nodes]:
    """Run a cluster; whatever happens, none of its processes is left."""
    mark = uuid.uuid4().hex
    # A short path: sockets are in it.
    with (
        tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder,
        (tmp / "cluster.log").open("w") as log,
    ):
        host = subprocess.Popen(
            [sys.executable, "-m", "tests.support.ray_nodes"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment(mark, RAY_TMPDIR=folder),
            cwd=ROOT,
        )
        try:
            yield Nodes(host, mark, Path(folder))
        finally:
            host.kill()
            host.communicate()
            end_marked(mark)


def end_marked(mark: str) -> None:
    """Kill every process that a cluster, or a run on it, left."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARK) == mark:
                process.kill()


def host() -> None:
    """Run a cluster and obey lines of standard input."""
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": 80 << 20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=80 << 20) for _ in range(2)]
    cluster.wait_for_nodes()
    for line in sys.stdin:
        what, answer = line.strip(), None
        if what == "address":
            answer = cluster.address
        elif what == "kill":
            cluster.remove_node(nodes.pop(0), allow_graceful=False)
        elif what == "add":
            nodes.append(cluster.add_node(num_cpus=1, object_store_memory=80 << 20))
            cluster.wait_for_nodes()
        sys.stdout.write(json.dumps({"answer": answer}) + "\n")
        sys.stdout.flush()


def begin(folder: Path) -> Callable[[int], int]:
    """Prepare work that leaves a trace in a folder, and counts what is done again after it was recorded."""
    (folder / "workers" / str(os.getpid())).touch()
    return partial(work, folder)


def work(folder: Path, item: int) -> int:
    """Return the square of an item, after a while; one recorded before is a second time."""
    (folder / "started" / f"{item}-{uuid.uuid4().hex}").touch()
    if (folder / "recorded" / str(item)).exists():
        (folder / "twice" / str(item)).touch()
    if (folder / "deadly" / str(item)).exists():
        os.kill(os.getpid(), 9)
    time.sleep(0.4)
    return item * item


def run(folder: Path, n: int) -> None:
    """Do what is left of n items on the engine of the settings, recording each."""
    from alservice.engines import engine_of
    from alservice.settings import load_settings

    todo = [item for item in range(n) if not (folder / "recorded" / str(item)).exists()]
    roots = {square: item for item, square in enumerate(item * item for item in range(n))}
    for square in engine_of(load_settings()).map(partial(begin, folder), todo):
        (folder / "recorded" / str(roots[square])).touch()


def slowed(folder: Path, begin_work: Callable[[], Callable[[ShardTask], Shard]]) -> Callable[[ShardTask], Shard]:
    """Prepare the work of a prediction, which then takes its time and leaves traces."""
    work_on = begin_work()
    (folder / "workers" / str(os.getpid())).touch()

    def predict(task: ShardTask) -> Shard:
        work(folder, task.pack.index)
        return work_on(task)

    return predict


@dataclass(frozen=True)
class Traced:
    """An engine whose work is slowed, and whose results are noted where a run takes them."""

    engine: Engine
    folder: Path

    def map(self, begin: Any, items: Any, **options: Any) -> Iterator[Any]:
        """Yield results."""
        for shard in self.engine.map(partial(slowed, self.folder, begin), items, **options):
            yield shard
            (self.folder / "recorded" / str(shard.index)).touch()


def predict_newest(folder: Path, campaign: str) -> None:
    """Predict a campaign's newest catalogue as a flow does, with the settings of the environment."""
    from alservice.app import open_app

    with open_app() as app:
        service, elsewhere = app.prediction, app.prediction.elsewhere
        assert elsewhere is not None
        traced = replace(elsewhere, engine=Traced(elsewhere.engine, folder))
        done = replace(service, elsewhere=traced).newest(campaign)
    sys.stdout.write(f"predicted {done}\n")


def make_folder(folder: Path) -> None:
    """Make the folders of traces."""
    for name in ("workers", "started", "recorded", "twice", "deadly"):
        (folder / name).mkdir(parents=True, exist_ok=True)


def start_run(folder: Path, n: int, mark: str, address: str, **more: str) -> "subprocess.Popen[str]":
    """Start a run in a process of its own."""
    make_folder(folder)
    return start_python(
        f"from tests.support.ray_nodes import *; run(Path({str(folder)!r}), {n})", mark, address, **more
    )


def start_python(program: str, mark: str, address: str, **more: str) -> "subprocess.Popen[str]":
    """Start a program with the settings of a run on a cluster."""
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env=environment(mark, ALSERVICE_RAY_ADDRESS=address, **more),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def names(folder: Path) -> Mapping[str, int]:
    """Return how many files each kind of trace has."""
    return {kind.name: sum(1 for _ in kind.iterdir()) for kind in folder.iterdir() if kind.is_dir()}


if __name__ == "__main__":
    host()
