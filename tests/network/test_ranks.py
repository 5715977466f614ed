"""Processes that train one network together, by `torchrun` and gloo: the same numbers, checkpoints, deaths."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from alservice.cli import app
from alservice.errors import BadConfig
from alservice.network.files import tensors_from_bytes
from alservice.network.ranks import Ranks, joined_ranks
from tests.support.files import write_galaxies
from tests.support.shared import ROOT

TRAIN = (
    "--tree",
    "gz2",
    "--network",
    "small",
    "--px",
    "16",
    "--batch",
    "7",
    "--device",
    "cpu",
    "--threads",
    "2",
    "--precision",
    "float32",
)
BIN = Path(sys.executable).parent


def environment() -> dict[str, str]:
    """Return an environment in which ranks find each other here, and `alservice` is this one."""
    return {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1",
    }


def command(data: Path, out: Path, steps: int, *, ranks: int, options: tuple[str, ...] = ()) -> list[str]:
    """Return a training as a person starts it by so many ranks, or, by one, its words without the program's name."""
    train = ["alservice", "train", "--data", str(data), "--out", str(out), "--steps", str(steps), *TRAIN, *options]
    if ranks == 1:
        return train[1:]
    launch = ["--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", str(ranks), "--no-python"]
    return [str(BIN / "torchrun"), *launch, *train]


def run(
    *given: object, ranks: int, options: tuple[str, ...] = (), timeout: float = 240
) -> subprocess.CompletedProcess[str]:
    """Run a training to its end; by one rank in this process, which has loaded all that it needs."""
    if ranks == 1:
        words = command(*given, ranks=1, options=options)
        ran = CliRunner().invoke(app, words)
        return subprocess.CompletedProcess(words, ran.exit_code, ran.stdout, ran.stderr)
    return subprocess.run(
        command(*given, ranks=ranks, options=options),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def curve(folder: Path) -> list[float]:
    """Return the losses of a finished training, of steps and of the hold-out."""
    history = json.loads((folder / "card.json").read_text())["history"]
    return [look[name] for look in history for name in ("train", "hold_out")]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of galaxies; the batch of 7 is odd, so that two ranks have unequal parts."""
    return write_galaxies(tmp_path_factory.mktemp("data") / "galaxies.parquet", 60)


def test_parts_of_a_batch_are_in_order_and_whole() -> None:
    """Every row is one rank's, in the order of ranks, and no rank has two more than another."""
    for n in range(3, 20):
        parts = [range(n)[Ranks(rank=rank, size=3).part(n)] for rank in range(3)]
        assert [row for part in parts for row in part] == list(range(n))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_one_process_joins_nobody() -> None:
    """Without `torchrun` there is one rank, which is the first."""
    with joined_ranks("cpu") as ranks:
        assert (ranks.size, ranks.is_first, ranks.share("x")) == (1, True, "x")


def test_ranks_that_torchrun_did_not_start_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that names no number, and a device that all ranks would share, are named."""
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(BadConfig, match="WORLD_SIZE"), joined_ranks("cpu"):
        pass
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(BadConfig, match="each has its own"), joined_ranks("cuda:0"):
        pass


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_ranks_train_the_network_that_one_trains(data: Path, tmp_path: Path) -> None:
    """Losses agree within rounding: those of steps, and those of the hold-out, which sees the statistics of batch norms."""
    one = run(data, tmp_path / "one", 10, ranks=1)
    assert one.returncode == 0, one.stderr
    two = run(data, tmp_path / "two", 10, ranks=2)
    assert two.returncode == 0, two.stderr
    assert two.stdout.count("small trained on") == 1, "the first rank alone talks"
    theirs, ours = curve(tmp_path / "one"), curve(tmp_path / "two")
    # The first step is the same but for rounding; later ones less so, as the optimiser's first steps follow signs.
    assert ours[:2] == pytest.approx(theirs[:2], rel=5e-6)
    assert ours[:8] == pytest.approx(theirs[:8], rel=2e-4)
    assert ours == pytest.approx(theirs, rel=5e-3)
    assert not (tmp_path / "two" / "checkpoint.safetensors").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_rank_ends_the_run_and_one_process_goes_on(data: Path, tmp_path: Path) -> None:
    """Kill -9 of a rank: the other says that it lost it, all end soon; one process goes on from their checkpoint."""
    out = tmp_path / "killed"
    started = subprocess.Popen(
        command(data, out, 100, ranks=2),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + 200
        while not (out / "checkpoint.safetensors").exists():
            assert started.poll() is None, started.communicate()
            assert time.monotonic() < until, "no checkpoint came"
            time.sleep(0.05)
        ranks = {p.environ().get("RANK"): p for p in psutil.Process(started.pid).children(recursive=True)}
        ranks["1"].kill()
        said, _ = started.communicate(timeout=90)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()
    assert started.returncode != 0
    assert "[rank-lost]" in said, said
    _, left = tensors_from_bytes((out / "checkpoint.safetensors").read_bytes(), what="a checkpoint")
    assert 0 < left["step"] < 100
    again = run(data, out, 100, ranks=1)
    assert again.returncode == 0, again.stderr
    history = json.loads((out / "card.json").read_text())["history"]
    assert history[: len(left["history"])] == left["history"], "it began anew"
    assert history[-1]["step"] == 100
