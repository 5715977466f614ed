"""The loop on historical votes: runs of policies and seeds side by side, then one report."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import MISSING
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.futures import PrefectFuture, wait
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.task_runners import ProcessPoolTaskRunner
from pydantic import BaseModel, ConfigDict, Field, create_model

from alservice.backfill.options import BackfillOptions
from alservice.backfill.plan import Backfill, backfill_of
from alservice.backfill.report import write_report
from alservice.backfill.run import backfill_worker, begin_worker, open_backfill, run_backfill
from alservice.campaigns.trees import load_tree
from alservice.catalogue.files import ReadAs
from alservice.cycle.check_readiness import check_replay
from alservice.cycle.readiness import require_ready
from alservice.engines import LOCAL, engine_of
from alservice.options import option_fields
from alservice.progress import Progress, process_progress
from alservice.settings import load_settings
from flows.tasks import RETRIES, RETRY_DELAYS_S, if_retriable


def form_of(kind: type, *, name: str) -> type[BaseModel]:
    """Return a record of options as a model, of which Prefect makes a form and a check of what is sent."""
    fields: dict[str, Any] = {}
    for field in option_fields(kind):
        said: Any = {"description": field.option.form or field.option.help, **field.option.bounds}
        fields[field.name] = field.type, Field(default=... if field.default is MISSING else field.default, **said)
    return create_model(
        name, __config__=ConfigDict(frozen=True), __doc__="What a backfill replays.", __module__=__name__, **fields
    )


if TYPE_CHECKING:
    BackfillParameters: TypeAlias = BackfillOptions  # the form has the fields of the record
else:
    BackfillParameters = form_of(BackfillOptions, name="BackfillParameters")


def options_of(parameters: BackfillParameters) -> BackfillOptions:
    """Return the record of a form that was filled in."""
    return BackfillOptions(**{f.name: getattr(parameters, f.name) for f in option_fields(BackfillOptions)})


@task(
    task_run_name="check what is needed",
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_S,
    retry_condition_fn=if_retriable,
)
def check_parts(options: BackfillOptions) -> None:
    """Raise one error that names all that a backfill misses: before the first of many hours."""
    findings = check_replay(
        out=options.out,
        tree=load_tree(options.tree),
        data=options.data,
        encoder=options.encoder,
        device=options.device,
        read_as=ReadAs.of(options.column, options.votes_are),
    )
    require_ready(findings, f"backfill of {options.question}")


@task(
    task_run_name="{policy}, seed {seed}",
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_S,
    retry_condition_fn=if_retriable,
)
def replay(options: BackfillOptions, policy: str, seed: int) -> int:
    """Do all rounds of one policy and seed that are not done; ``initial`` does the first, which policies share."""
    return run_backfill(backfill_of(options), options.out, policy, seed)


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
    options = options_of(parameters)
    check_parts(options)
    asked = backfill_of(options)
    progress = process_progress()
    with open_backfill(asked, options.out, progress) as rounds:
        progress.start("backfill rounds", asked.n_rounds)
        seen = 0
        engine = engine_of(load_settings().model_copy(update={"device": asked.device}))
        for wave in _waves(asked):
            if engine is LOCAL:
                seen = _replay_here(options, wave, rounds.count, seen, progress)
            else:
                for _ in engine.map(partial(backfill_worker, asked, options.out.absolute()), wave):
                    progress.advance(rounds.count() - seen)
                    seen = rounds.count()
        progress.finish()
        table = write_report(asked, options.out, rounds)
    create_markdown_artifact(
        table,
        key=f"backfill-{options.question}",
        description=f"Labels saved, {options.seeds} seeds: {options.out}",
    )
    return options.out / "report.html"


def _server() -> str:
    """Return the address of the server that this run talks to: processes would each start one of their own."""
    with get_client(sync_client=True) as client:
        return str(client.api_url)


def _waves(asked: Backfill) -> tuple[list[tuple[str, int]], ...]:
    """Return policies and seeds in two waves: every policy of a seed goes on from the seed's first round."""
    seeds = range(asked.seeds)
    return [("initial", seed) for seed in seeds], [(policy, seed) for seed in seeds for policy in asked.policies]


def _replay_here(
    options: BackfillOptions,
    wave: Sequence[tuple[str, int]],
    count: Callable[[], int],
    seen: int,
    progress: Progress,
) -> int:
    """Do a wave as tasks in processes of this machine; return how many rounds are done then."""
    with temporary_settings({PREFECT_API_URL: _server()}):
        return _follow([replay.submit(options, policy, seed) for policy, seed in wave], count, seen, progress)


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


def run_here(options: BackfillOptions) -> Path:
    """Run the flow with as many processes as the options say."""
    runner: Any = ProcessPoolTaskRunner(options.workers or os.cpu_count() or 1, initializer=begin_worker)
    parameters = BackfillParameters(**{f.name: getattr(options, f.name) for f in option_fields(BackfillOptions)})
    return backfill.with_options(task_runner=runner)(parameters)
