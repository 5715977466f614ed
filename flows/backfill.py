"""The loop on historical votes: runs of policies and seeds side by side, then one report."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.futures import PrefectFuture, wait
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.task_runners import ProcessPoolTaskRunner
from pydantic import BaseModel, ConfigDict, Field

from alservice.app.readiness import check_replay
from alservice.backfill.plan import Backfill, make_backfill
from alservice.backfill.report import write_report
from alservice.backfill.run import begin_worker, open_backfill, run_backfill
from alservice.cycle.readiness import require_ready
from alservice.progress import Progress, process_progress
from flows.policies import RETRIES, RETRY_DELAYS_S, if_retriable


class BackfillParameters(BaseModel):
    """What a backfill replays."""

    model_config = ConfigDict(frozen=True)

    data: Path | None = Field(default=None, description="Catalogue with recorded votes; empty for the synthetic sky.")
    out: Path = Field(description="Folder of curves, savings and report; the same backfill there goes on.")
    tree: str = Field(default="gz2", description="Question tree of the votes.")
    question: str = Field(default="all", description="smooth, bar, a question of the tree, or all at once.")
    policies: tuple[str, ...] = Field(default=("random", "power_bald"), description="Policies side by side.")
    seeds: int = Field(default=5, ge=1, le=1000, description="Runs per policy.")
    rounds: int = Field(default=6, ge=1, le=1000, description="Rounds after the first model.")
    initial: int | None = Field(default=None, ge=2, description="Galaxies labelled at random first.")
    batch: int | None = Field(default=None, ge=1, description="Galaxies chosen in each round.")
    pool: int | None = Field(default=None, ge=2, description="Galaxies to choose from; empty for all.")
    test: int | None = Field(default=None, ge=2, description="Galaxies that only judge; empty for the whole stream.")
    galaxies: int | None = Field(default=None, ge=20, description="Galaxies of the catalogue to use; empty for all.")
    unbiased_pool: bool = Field(default=False, description="Choose from the unbiased part of the catalogue only.")
    encoder: Path | None = Field(default=None, description="Model whose trunk is kept; empty trains whole networks.")
    network: str = Field(default="small", description="Network by name.")
    px: int | None = Field(default=None, ge=16, le=1024, description="Side that images are scaled to (px).")
    field: float | None = Field(default=None, gt=0, le=1, description="Central share of the side that is seen.")
    steps: int | None = Field(default=None, ge=1, description="Least gradient steps of a training.")
    passes: float | None = Field(default=None, ge=0, description="Least times that a training sees each galaxy.")
    mean_precision: float | None = Field(default=None, gt=0, description="Precision at which means are learned.")
    device: str = Field(default="auto", description="torch device.")
    workers: int = Field(default=0, ge=0, description="Processes at a time; 0 takes one per core.")

    def asked(self) -> Backfill:
        """Return the record, with the question's sizes where none are given."""
        return make_backfill(**self.model_dump(exclude={"out", "workers"}))


@task(
    task_run_name="check what is needed",
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_S,
    retry_condition_fn=if_retriable,
)
def check_parts(parameters: BackfillParameters) -> None:
    """Raise one error that names all that a backfill misses: before the first of many hours."""
    p = parameters
    findings = check_replay(out=p.out, tree=p.tree, data=p.data, encoder=p.encoder, device=p.device)
    require_ready(findings, f"backfill of {p.question}")


@task(
    task_run_name="{policy}, seed {seed}",
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_S,
    retry_condition_fn=if_retriable,
)
def replay(parameters: BackfillParameters, policy: str, seed: int) -> int:
    """Do all rounds of one policy and seed that are not done; ``initial`` does the first, which policies share."""
    return run_backfill(parameters.asked(), parameters.out, policy, seed)


_RUNNER: Any = ProcessPoolTaskRunner(initializer=begin_worker)  # its futures do not fit the annotations of flows


def _name() -> str:
    """Return what a run is called: by what is replayed and the policies side by side."""
    parameters: BackfillParameters = flow_run.get_parameters()["parameters"]
    return f"backfill of {parameters.question}: {', '.join(parameters.policies)}"


@flow(name="backfill", flow_run_name=_name, task_runner=_RUNNER)
def backfill(parameters: BackfillParameters) -> Path:
    """Replay the loop over a historical catalogue; return the path of the report.

    Args:
        parameters: What to replay; a folder that holds the same backfill goes on, also with more policies or seeds.
    """
    check_parts(parameters)
    asked = parameters.asked()
    progress = process_progress()
    with open_backfill(asked, parameters.out, progress) as rounds:
        progress.start("backfill rounds", asked.n_rounds)
        seen = 0
        with temporary_settings({PREFECT_API_URL: _server()}):
            for futures in _submit(parameters, asked):
                seen = _follow(futures, rounds.count, seen, progress)
        progress.finish()
        table = write_report(asked, parameters.out, rounds)
    create_markdown_artifact(
        table,
        key=f"backfill-{parameters.question}",
        description=f"Labels saved, {parameters.seeds} seeds: {parameters.out}",
    )
    return parameters.out / "report.html"


def _server() -> str:
    """Return the address of the server that this run talks to: processes would each start one of their own."""
    with get_client(sync_client=True) as client:
        return str(client.api_url)


def _submit(parameters: BackfillParameters, asked: Backfill) -> Iterator[list[PrefectFuture[int]]]:
    """Yield the runs in two waves: every policy of a seed goes on from the seed's first round."""
    seeds = range(asked.seeds)
    yield [replay.submit(parameters, "initial", seed) for seed in seeds]
    yield [replay.submit(parameters, policy, seed) for seed in seeds for policy in asked.policies]


def _follow(futures: Sequence[PrefectFuture[int]], count: Callable[[], int], seen: int, progress: Progress) -> int:
    """Wait for runs, moving the bar by the rounds that are done; raise the first error."""
    pending = list(futures)
    while pending:
        pending = list(wait(pending, timeout=1).not_done)
        done = count()
        progress.advance(done - seen)
        seen = done
    for future in futures:
        future.result()
    return seen


def run_here(parameters: BackfillParameters) -> Path:
    """Run the flow with as many processes as the parameters say."""
    runner: Any = ProcessPoolTaskRunner(parameters.workers or os.cpu_count() or 1, initializer=begin_worker)
    return backfill.with_options(task_runner=runner)(parameters)
