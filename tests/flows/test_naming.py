"""Runs are called by campaign, cycle and step, and lead to the cycle's page as it leads to them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_UI_URL, temporary_settings
from prefect.states import Completed
from sqlalchemy import Engine

from alservice.app import App
from alservice.campaigns.cycle import CycleState
from flows import cycle as flow
from flows import elsewhere
from flows.cycle import Dispatch, resume_cycle, run_steps, start_cycle
from flows.deployments import flow_at, read_deployments
from flows.elsewhere import DEPLOYMENTS
from flows.naming import run_name, tags_of
from flows.tasks import CycleSummary
from tests.support.worlds import import_rows, make_campaign, make_factory, make_row

UI = "http://prefect.example"
DASHBOARD = "http://survey.example/"


@pytest.fixture
def factory(engine: Engine, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> App:
    """A campaign with a catalogue, where flows find it; a run takes the first step only."""
    monkeypatch.setenv("ALSERVICE_DATABASE_URL", database_url)
    monkeypatch.setenv("ALSERVICE_WORKDIR", str(tmp_path))
    monkeypatch.setattr(flow, "turn", lambda cycle: run_steps(cycle, (CycleState.PLANNED,)))
    made = make_factory(engine, tmp_path)
    import_rows(made, make_campaign(), [make_row(i) for i in range(3)])
    return made


def read(run_id: str) -> tuple[FlowRun, list[Any], list[Any]]:
    """Return a run, its tasks' runs and its artifacts as Prefect keeps them."""
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(UUID(run_id))
        tasks = [task for task in client.read_task_runs() if task.flow_run_id == run.id]
        wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
        return run, tasks, client.read_artifacts(artifact_filter=wanted)


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_here")
def test_a_run_is_called_by_campaign_cycle_and_step(factory: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kind: what people look for later has a name that says what it was; a random one says nothing.

    The run, its tasks, its tags and its artifacts name campaign and cycle; each artifact leads to run and page, the
    cycle knows its runs. Without a dashboard's address nothing is linked to it.
    """
    with temporary_settings({PREFECT_UI_URL: UI}):
        start_cycle("test")
        monkeypatch.setenv("ALSERVICE_DASHBOARD_URL", DASHBOARD)
        resume_cycle("test")
    cycle = factory.cycles.list(factory.campaigns.get("test").id)[-1]
    resumed, started = factory.runs.newest(cycle.id, per_flow=5)
    assert (started.name, resumed.name) == ("test cycle 0: start-cycle", "test cycle 0: resume-cycle")
    for noted, linked in ((started, False), (resumed, True)):
        run, tasks, artifacts = read(noted.run_id)
        assert run.name == noted.name
        assert set(run.tags) == {"campaign:test", "cycle:0"}
        assert all(task.name.startswith("test") and "campaign:test" in task.tags for task in tasks), tasks
        report = {artifact.key: str(artifact.description) for artifact in artifacts}
        assert set(report) >= {"test-cycle-0-report", "test-cycle-0-history"}
        page = "http://survey.example/campaigns/test/cycles/0"
        for key, about in report.items():
            assert f"[run]({UI}/runs/flow-run/{noted.run_id})" in about, key
            assert (page in about) is linked, key
        assert ("test-cycle-0-page" in report) is linked
    (packed,) = (task for task in read(started.run_id)[1] if task.name.endswith("planned"))
    assert packed.name == "test cycle 0: planned"
    assert {"campaign:test", "cycle:0"} <= set(packed.tags)
    assert {e.actor for e in factory.events.list(cycle.campaign_id)} == {f"prefect:start-cycle {started.run_id[:8]}"}


@dataclass
class Sent:
    """Runs that were sent to another pool."""

    how: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, name: str, **how: Any) -> FlowRun:
        """Note it; it ends well."""
        self.how.append({"deployment": name, **how})
        return FlowRun(flow_id=UUID(int=1), name=how["flow_run_name"], state=Completed())


@pytest.mark.parametrize("state", DEPLOYMENTS)
def test_a_child_is_named_by_who_sends_it(state: CycleState, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kind: runs that others start. Whoever sends a step knows the cycle: its run has name and tags from the start."""
    sent = Sent()
    for sender in (elsewhere, flow):
        monkeypatch.setattr(sender, "run_deployment", sent)
    cycle = CycleSummary(campaign="gz2", cycle_id=1, number=7, state=state)
    elsewhere.PrefectRuns(cycle).start(state, "token")
    flow._advanced(Completed(data=cycle.model_copy(update={"state": CycleState.TRAINING})), Dispatch.DEPLOYMENTS)
    what = DEPLOYMENTS[state].partition("/")[0]
    assert [how["flow_run_name"] for how in sent.how] == [f"gz2 cycle 7: {what}", "gz2 cycle 7: advance"]
    assert [how["tags"] for how in sent.how] == [["campaign:gz2", "cycle:7"]] * 2


def test_no_deployment_is_left_to_a_random_name() -> None:
    """Kind: every flow, also one added later; and what it is called before its cycle is known."""
    flows = [flow_at(str(deployment.entrypoint)) for deployment in read_deployments()]
    assert flows
    assert not [each.name for each in (*flows, start_cycle, resume_cycle) if each.flow_run_name is None]
    assert run_name("gz2", None, "ingest") == "gz2: ingest"
    assert tags_of("gz2") == ["campaign:gz2"]
