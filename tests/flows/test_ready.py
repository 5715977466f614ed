"""A run that lacks something does not begin: no cycle is started, moved or failed, and one message says what is missing."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from sqlalchemy import Engine

from alservice.app import App
from alservice.campaigns.campaign import ZooniverseTarget
from alservice.campaigns.cycle import CycleState
from alservice.cycle.readiness import NotReady
from alservice.cycle.service import REFUSED
from alservice.standin.config import StandinConfig
from alservice.standin.server import Standin
from alservice.states import SubjectState
from alservice.subjects import site
from flows import ready
from flows.cycle import ingest, weekly_cycle
from flows.unattended import predict_only, reconcile
from tests.support.worlds import import_rows, make_campaign, make_factory, make_row

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_here"), pytest.mark.timeout(600)]


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[Standin]:
    """A Zooniverse with the project's owner."""
    with Standin(StandinConfig(state=tmp_path / "standin", users=(("surveyor", "secret"),), seed=1)) as standin:
        yield standin


@pytest.fixture
def factory(
    engine: Engine, database_url: str, tmp_path: Path, standin: Standin, monkeypatch: pytest.MonkeyPatch
) -> App:
    """A live campaign on it, where flows find it; nobody is logged in, and nobody waits between attempts."""
    monkeypatch.setenv("ALSERVICE_DATABASE_URL", database_url)
    monkeypatch.setenv("ALSERVICE_WORKDIR", str(tmp_path / "work"))
    monkeypatch.setattr(site, "time", SimpleNamespace(sleep=lambda _: None))
    monkeypatch.setattr(ready, "check_ready", ready.check_ready.with_options(retry_delay_seconds=0))
    monkeypatch.setattr(ready, "check_ground", ready.check_ground.with_options(retries=0))
    made = make_factory(engine, tmp_path / "work")
    target = ZooniverseTarget(endpoint=standin.endpoint)
    import_rows(made, make_campaign(zooniverse=target), [make_row(i) for i in range(12)])
    return made


@pytest.fixture
def logged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner's login, in the environment."""
    monkeypatch.setenv("ALSERVICE_ZOONIVERSE_USERNAME", "surveyor")
    monkeypatch.setenv("ALSERVICE_ZOONIVERSE_PASSWORD", "secret")


def artifacts(key: str) -> int:
    """Return how many artifacts of a key there are."""
    with get_client(sync_client=True) as client:
        return len(client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key]))))


def test_a_week_without_credentials_fails_before_it_packs(
    factory: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kind: what a run needs is looked for when it is needed. It packed and acquired, and failed at publishing.

    Now one message names the login and the store that refuses; the audit says so once, however often it is tried.
    """
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv("ALSERVICE_OBJECT_STORE", str(tmp_path / "taken" / "objects"))
    for _ in range(2):
        with pytest.raises(NotReady, match=r"ALSERVICE_ZOONIVERSE_USERNAME") as told:
            weekly_cycle("test")
    assert told.value.message.startswith("weekly-cycle of test cannot begin, 2 of ")
    assert "object store:" in told.value.message
    row = factory.campaigns.get("test")
    assert factory.cycles.list(row.id) == []
    catalogue = factory.catalogues.newest(row.id)
    assert catalogue is not None
    (refused,) = factory.events.list(row.id)
    assert (refused.kind, refused.detail["run"]) == (REFUSED, "weekly-cycle")
    assert {f["part"] for f in refused.detail["failed"]} == {"object store", "zooniverse login"}
    assert artifacts("test-not-ready") == 2


@pytest.mark.usefixtures("logged_in")
def test_an_outage_before_the_week_is_waited_for(factory: App, standin: Standin) -> None:
    """Kind: a minute's outage must not cost a week. The check is tried again; then the week goes its way.

    A run that finds the open cycle failing a need touches it as little: it stays where it is.
    """
    outage = {"path": "/api/me", "kind": "status", "status": 503, "count": 5}
    requests.post(f"{standin.endpoint}/standin/faults", json=[outage], timeout=5).raise_for_status()
    state = weekly_cycle("test", return_state=True)
    assert state.is_completed(), state
    (cycle,) = factory.cycles.list(factory.campaigns.get("test").id)
    assert cycle.state is CycleState.COLLECTING
    assert len(factory.ledger.of_cycle(cycle.id, (SubjectState.LIVE,))) == 9
    requests.post(
        f"{standin.endpoint}/standin/faults", json=[{"path": "/users/sign_in", "kind": "status", "status": 401}]
    ).raise_for_status()
    with pytest.raises(NotReady, match="zooniverse login"):
        ingest("test")
    assert factory.cycles.get(cycle.id) == cycle, "neither failed nor moved"


def test_a_tick_without_a_cycle_needs_nobody(factory: App, standin: Standin) -> None:
    """Nothing is open: it ends well without credentials, and Zooniverse is not asked."""
    requests.post(f"{standin.endpoint}/standin/faults", json=[{"path": ".", "kind": "reset"}]).raise_for_status()
    state = ingest("test", return_state=True)
    assert (state.is_completed(), state.name) == (True, "NothingToDo")
    (rule,) = requests.get(f"{standin.endpoint}/standin/faults", timeout=5).json()
    assert rule["met"] == 0
    assert factory.events.list(factory.campaigns.get("test").id) == []


def test_runs_beside_the_cycle_are_checked_as_well(factory: App) -> None:
    """Kind: every flow. Predicting out of turn wants a champion, reconciling a login."""
    with pytest.raises(NotReady, match=r"predict-only of test cannot begin.*no champion yet"):
        predict_only("test")
    with pytest.raises(NotReady, match=r"reconcile of test cannot begin.*ALSERVICE_ZOONIVERSE_USERNAME"):
        reconcile("test")
    assert len(factory.events.list(factory.campaigns.get("test").id)) == 2


def test_without_its_schema_all_else_is_told_too(
    empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kind: a fault that hides others. The run cannot know its cycle, and still names the store."""
    monkeypatch.setattr(ready, "check_ground", ready.check_ground.with_options(retries=0))
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv("ALSERVICE_WORKDIR", str(tmp_path / "work"))
    monkeypatch.setenv("ALSERVICE_DATABASE_URL", empty_database_url)
    monkeypatch.setenv("ALSERVICE_OBJECT_STORE", str(tmp_path / "taken" / "objects"))
    with pytest.raises(NotReady, match=r"schema:.*object store:"):
        weekly_cycle("test")
