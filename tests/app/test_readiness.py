"""A run is checked against a real stand-in before it begins: everything that is wrong is told at once, nothing changes."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from pydantic import SecretStr
from sqlalchemy import Engine

from alservice.app import App
from alservice.campaigns.campaign import ZooniverseTarget
from alservice.campaigns.cycle import CycleKind, CycleState
from alservice.cycle.check_readiness import check_ground, check_replay
from alservice.cycle.readiness import NEEDS, Finding, Flight, NotReady, NotReadyYet, require_ready
from alservice.cycle.steps import Need
from alservice.settings import Settings
from alservice.standin.config import StandinConfig
from alservice.standin.server import Standin
from alservice.subjects import site
from tests.support.dashboards import populate
from tests.support.worlds import import_rows, make_campaign, make_factory, make_row

ASKING = (CycleState.PLANNED, CycleState.PREDICTING, CycleState.ACQUIRING, CycleState.PUBLISHING)
WEEK = Flight(name="weekly-cycle", legs=(ASKING,), starts=CycleKind.FULL)
TICK = Flight(name="ingest", legs=((CycleState.COLLECTING,),))
QUESTION = {"T0": {"type": "single", "question": "Cat?", "answers": [{"label": "Yes"}, {"label": "No"}]}}
LOGIN = {"zooniverse_username": "surveyor", "zooniverse_password": SecretStr("secret")}


class Ground:
    """A live campaign of twelve galaxies on a stand-in, and a factory with settings to bend."""

    def __init__(self, engine: Engine, folder: Path, standin: Standin) -> None:
        self.endpoint = standin.endpoint
        self.folder = folder
        self._factory = make_factory(engine, folder)
        target = ZooniverseTarget(endpoint=self.endpoint)
        import_rows(self._factory, make_campaign(zooniverse=target), [make_row(i) for i in range(12)])

    def factory(self, **settings: Any) -> App:
        """Return the factory under settings; by default the owner is logged in."""
        return replace(self._factory, settings=Settings(workdir=self.folder, **{**LOGIN, **settings}))

    def find(self, flight: Flight = WEEK, **settings: Any) -> dict[str, Finding]:
        """Return what is found before a flight, by part."""
        return {finding.part: finding for finding in self.factory(**settings).cycle.check("test", flight)}

    def target(self, **changes: Any) -> None:
        """Give the campaign another target."""
        self._factory.campaigns.save(make_campaign(zooniverse=ZooniverseTarget(endpoint=self.endpoint, **changes)))

    def faults(self, **rule: Any) -> None:
        """Put a fault in force."""
        requests.post(f"{self.endpoint}/standin/faults", json=[rule], timeout=5).raise_for_status()

    def state(self) -> Any:
        """Return what the stand-in holds."""
        return requests.get(f"{self.endpoint}/standin/state", timeout=5).json()


Start = Callable[..., Ground]


@pytest.fixture
def start(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a stand-in with two accounts, of which the second owns nothing; nobody waits between attempts."""
    monkeypatch.setattr(site, "time", SimpleNamespace(sleep=lambda _: None))
    running: list[Standin] = []

    def started(**settings: Any) -> Ground:
        users = (("surveyor", "secret"), ("other", "secret2"))
        running.append(Standin(StandinConfig(state=tmp_path / "standin", users=users, seed=1, **settings)))
        return Ground(engine, tmp_path / "work", running[-1].__enter__())

    yield started
    for standin in running:
        requests.delete(f"{standin.endpoint}/standin/faults", timeout=5)
        standin.__exit__(None, None, None)


def broken(findings: dict[str, Finding]) -> dict[str, str]:
    """Return the parts that do not work, with the codes of their errors."""
    return {part: finding.code for part, finding in findings.items() if not finding.ok}


def test_a_week_that_may_begin_is_told_so_and_nothing_changes(start: Start) -> None:
    """Every need of the first half is tried; the empty workflow stays empty, and nothing is created anywhere."""
    ground = start()
    before = ground.state()
    found = ground.find()
    assert set(found) == set(Need) - {Need.POOL, Need.CHAMPION}
    assert not broken(found)
    assert found[Need.ALLOWANCE].message == "9 uploads are due at most, 10,000 left"
    assert found[Need.RIGHTS].message.startswith("owner of project 1")
    assert re.search("is empty.*; a galaxy gets 3 votes, by the workflow's rule", found[Need.WORKFLOW].message)
    assert ground.state() == before


def test_all_that_is_missing_is_told_at_once(start: Start) -> None:
    """Kind: a run that learns of its second fault after the first was mended. Credentials and a store that refuses."""
    ground = start()
    (ground.folder / "taken").write_text("a file where the store's folder should be")
    none = dict.fromkeys(LOGIN)
    found = ground.find(object_store=str(ground.folder / "taken" / "objects"), device="abacus", **none)
    with pytest.raises(NotReady) as told:
        require_ready(list(found.values()), "weekly-cycle of test")
    for word in ("ALSERVICE_ZOONIVERSE_USERNAME", "object store:", "'abacus'", "weekly-cycle of test cannot begin"):
        assert word in told.value.message
    assert set(broken(found)) == {Need.OBJECTS, Need.DEVICE, Need.LOGIN}


def test_a_login_that_is_refused_is_told(start: Start) -> None:
    """A wrong password is a person's business."""
    found = start().find(zooniverse_password=SecretStr("wrong"))
    assert broken(found) == {Need.LOGIN: "zooniverse-refused"}
    assert not found[Need.LOGIN].may_pass


def test_missing_rights_are_told(start: Start) -> None:
    """Kind: what Zooniverse answers with nothing or 404. An account without a role; a workflow of another project."""
    ground = start()
    other = {"zooniverse_username": "other", "zooniverse_password": SecretStr("secret2")}
    found = ground.find(**other)
    assert broken(found) == {Need.RIGHTS: "rights-missing"}
    assert "other is nobody of project 1 and must be owner or collaborator" in found[Need.RIGHTS].message
    ground.target(project_id=2)
    assert "workflow 10 belongs to project 1, not 2" in ground.find()[Need.RIGHTS].message
    ground.target(workflow_id=99)
    assert broken(ground.find()) == dict.fromkeys((Need.RIGHTS, Need.WORKFLOW), "zooniverse-refused")


def test_an_allowance_too_small_for_the_batch_is_told(start: Start) -> None:
    """Nine are drawn at most: six to train on, and all three members to judge with."""
    found = start(subject_limit=8).find()
    assert broken(found) == {Need.ALLOWANCE: "allowance-exhausted"}
    assert "9 uploads are due and 8 are left to the account surveyor" in found[Need.ALLOWANCE].message


def test_the_bound_of_the_evaluation_arm_is_its_members(start: Start) -> None:
    """Kind: a check that refuses what would go well. A campaign may ask for all members, however few there are."""
    ground = start(subject_limit=12)
    policy = replace(make_campaign().acquisition, initial_evaluation_galaxies=5_000)
    target = ZooniverseTarget(endpoint=ground.endpoint)
    ground.factory().campaigns.save(make_campaign(zooniverse=target, acquisition=policy))
    assert not broken(ground.find())


def test_a_workflow_that_asks_something_else_is_told(start: Start) -> None:
    """The live workflow is compared with the tree before the first image is packed."""
    ground = start()
    campaign = ground.factory().campaigns.get("test").settings
    adapter = ground.factory().sites.zooniverse(campaign)
    adapter.define_workflow(QUESTION, "T0", adapter.retirement())
    found = ground.find()
    assert broken(found) == {Need.WORKFLOW: "workflow-mismatch"}
    assert "T0" in found[Need.WORKFLOW].message


def test_a_pool_that_is_not_there_is_told(start: Start) -> None:
    """Subjects are moved, not uploaded: no allowance is asked for."""
    ground = start()
    ground.target(mode="move", pool_subject_set="survey pool")
    found = ground.find()
    assert broken(found) == {Need.POOL: "not-found"}
    assert Need.ALLOWANCE not in found


def test_an_outage_may_pass(start: Start) -> None:
    """Kind: a minute's outage must not cost a week. With a fault that needs a person beside it, it is that person's."""
    ground = start()
    ground.faults(path="/api/me", kind="status", status=503)
    found = ground.find()
    assert broken(found) == {Need.LOGIN: "zooniverse-unavailable"}
    with pytest.raises(NotReadyYet, match="zooniverse login"):
        require_ready(list(found.values()), "weekly-cycle of test")
    with pytest.raises(NotReady):
        require_ready(list(ground.find(device="abacus").values()), "weekly-cycle of test")


def test_a_check_that_hangs_is_bounded_and_the_others_are_told(start: Start) -> None:
    """Kind: whoever waits has a bound. Zooniverse holds the call; disk, store and what came before it are told."""
    ground = start()
    ground.faults(path="/api/project_roles", kind="hang", seconds=120)
    factory = ground.factory()
    checks = replace(factory.cycle.readiness, seconds=5.0)
    needs = frozenset({Need.DISK, Need.OBJECTS, Need.LOGIN, Need.RIGHTS})
    found = {f.part: f for f in checks.run(factory.campaigns.get("test"), None, needs)}
    assert broken(found) == {"zooniverse": "no-answer"}
    assert found["zooniverse"].may_pass
    assert found[Need.LOGIN].ok


def test_a_champion_whose_weights_are_gone_or_changed_is_told(engine: Engine, tmp_path: Path) -> None:
    """What predicts is loaded before anything is packed; of a step that is another's, or of a first cycle, nothing."""
    world = populate(engine, tmp_path, cycles=2, name="test")
    factory, champion = world.factory, world.factory.models.champion(world.campaign.id)
    assert champion is not None
    flight = Flight(name="predict-only", always=frozenset({Need.CHAMPION}))

    def found() -> dict[str, str]:
        return broken({f.part: f for f in factory.cycle.check("test", flight)})

    assert found() == {}
    path = tmp_path / "objects" / champion.key
    path.chmod(0o600)
    path.write_bytes(b"other bytes")
    assert found() == {Need.CHAMPION: "digest-mismatch"}
    path.unlink()
    assert found() == {Need.CHAMPION: "not-found"}


def test_a_tick_without_a_cycle_asks_nobody(start: Start) -> None:
    """No login, no object, not one call: most ticks find nothing open. A cycle that waits needs little."""
    ground = start()
    factory = ground.factory()
    assert not factory.cycle.has_needs("test", TICK)
    assert ground.find(TICK) == {}
    assert ground.find(WEEK)
    row = factory.campaigns.get("test")
    cycle = factory.cycle.start(row.settings.name, actor="test")
    for state in (CycleState.ACQUIRING, CycleState.PUBLISHING, CycleState.COLLECTING):
        cycle = factory.cycles.move(cycle, state, actor="test", detail={})
    assert set(ground.find(TICK)) == NEEDS[CycleState.COLLECTING]


def test_what_needs_no_campaign_is_told_together(empty_database_url: str, tmp_path: Path) -> None:
    """Kind: a fault that hides others. Without its schema nobody knows the step; the store is told all the same."""
    (tmp_path / "taken").write_text("")
    url = SecretStr(empty_database_url)
    settings = Settings(workdir=tmp_path, database_url=url, object_store=str(tmp_path / "taken" / "objects"))
    found = {finding.part: finding for finding in check_ground(settings)}
    assert set(broken(found)) == {"schema", Need.OBJECTS}
    assert set(found) == {"database", "schema", Need.DISK, Need.OBJECTS, Need.DEVICE}


def test_a_backfill_is_checked_before_its_hours(tmp_path: Path) -> None:
    """Folder, file, trunk and device, together; it has no campaign and no Zooniverse."""
    (tmp_path / "taken").write_text("")
    missing = tmp_path / "none.csv"
    bad = check_replay(out=tmp_path / "taken" / "out", tree="gz2", data=missing, encoder=missing, device="abacus")
    assert {f.part for f in bad if not f.ok} == {"folder", "device", "data", "encoder"}
    good = check_replay(out=tmp_path / "out", tree="gz2", data=None, encoder=None, device="cpu")
    assert all(f.ok for f in good)
