"""Steps that run in another work pool: Prefect's runs as the service that sends them sees them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, cast
from uuid import UUID

from httpx import HTTPError
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_REQUEST_TIMEOUT, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Crashed

from alservice.campaigns.cycle import CycleState
from alservice.cycle.sent_steps import RunState
from alservice.errors import PrefectUnavailable
from flows.leases import held_lease, open_leased
from flows.naming import run_name, tags_of
from flows.tasks import CycleSummary

DEPLOYMENTS: Final = {CycleState.PREDICTING: "predict/predict", CycleState.TRAINING: "train/train"}
"""Steps that want a GPU to the deployments that run them there."""

ANSWER_S: Final = 20.0
"""Seconds for one answer of the server; who asks has more patience than that, and asks again."""

_SERVER_ERROR: Final = 500

_STATES: Final = {
    StateType.SCHEDULED: RunState.WAITING,
    StateType.PENDING: RunState.STARTING,
    StateType.RUNNING: RunState.RUNNING,
    StateType.CANCELLING: RunState.RUNNING,
    StateType.PAUSED: RunState.RUNNING,
    StateType.COMPLETED: RunState.COMPLETED,
    StateType.FAILED: RunState.FAILED,
    StateType.CRASHED: RunState.CRASHED,
    StateType.CANCELLED: RunState.CANCELLED,
}


def send_step(cycle: CycleSummary) -> None:
    """Have a heavy step run in the pool of its deployment, and wait within bounds until the cycle has left it."""
    with open_leased() as factory:
        factory.cycle.run_elsewhere(held_lease(), cycle.cycle_id, PrefectRuns(cycle))


@dataclass(frozen=True)
class PrefectRuns:
    """Runs of a cycle's steps as deployments on the server that the environment names."""

    cycle: CycleSummary

    def start(self, step: CycleState, token: str) -> str:
        """Start the run of a step and return its id; the same token again starts no second one."""
        campaign, number = self.cycle.campaign, self.cycle.number
        with _answers():
            run = run_deployment(
                DEPLOYMENTS[step],
                parameters={"campaign": campaign, "lease": token},
                flow_run_name=run_name(campaign, number, DEPLOYMENTS[step].partition("/")[0]),
                tags=tags_of(campaign, number),
                timeout=0,
                idempotency_key=token,
            )
        return str(cast("FlowRun", run).id)

    def state(self, run: str) -> RunState:
        """Return where a run stands; unknown without an answer, and one that was deleted is over unless it reports."""
        try:
            with _client() as client:
                state = client.read_flow_run(UUID(run)).state
        except PrefectUnavailable:
            return RunState.UNKNOWN
        except ObjectNotFound:
            return RunState.CRASHED
        return RunState.WAITING if state is None else _STATES[state.type]

    def name(self, run: str) -> str:
        """Return a run's name; its id where the server does not answer or does not know it."""
        try:
            with _client() as client:
                return client.read_flow_run(UUID(run)).name
        except (PrefectUnavailable, ObjectNotFound):
            return run

    def give_up(self, run: str, reason: str) -> bool:
        """Mark a run as crashed, whatever it says itself; return whether the server heard it."""
        crashed: State[None] = Crashed(message=f"given up by its sender: {reason}")
        try:
            with _client() as client:
                client.set_flow_run_state(UUID(run), crashed, force=True)
        except (PrefectUnavailable, ObjectNotFound):
            return False
        return True


@contextmanager
def _client() -> Iterator[SyncPrefectClient]:
    """Yield a client."""
    with _answers(), get_client({"timeout": ANSWER_S}, sync_client=True) as client:
        yield client


@contextmanager
def _answers() -> Iterator[None]:
    """Ask once: raise `PrefectUnavailable` where no answer comes, or one that says that the server is not well.

    Patience is the caller's, whose bound on it holds.
    """
    try:
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_API_REQUEST_TIMEOUT: ANSWER_S}):
            yield
    except PrefectHTTPStatusError as error:
        if error.response.status_code < _SERVER_ERROR:
            raise
        raise PrefectUnavailable(f"the Prefect server answers {error.response.status_code}") from error
    except HTTPError as error:
        raise PrefectUnavailable(f"the Prefect server does not answer: {error}") from error
