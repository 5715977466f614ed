"""Whether what a run needs is there: each part tried through its adapter, all of them told, nothing changed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import Engine

from alservice.acquisition.service import batch_policy
from alservice.acquisition.store import AcquisitionStore
from alservice.campaigns.campaign import Campaign
from alservice.campaigns.cycle import Cycle
from alservice.campaigns.store import CampaignRow
from alservice.catalogue.files import AS_TOLD, CatalogueFile, ReadAs, open_catalogue
from alservice.catalogue.store import CatalogueStore
from alservice.cycle.readiness import Finding, RightsMissing
from alservice.cycle.steps import Need
from alservice.errors import AllowanceExhausted, AlserviceError, BadConfig, NotFound, Retriable, StorageFull
from alservice.files import make_folder
from alservice.registry.records import Model
from alservice.registry.store import ModelStore
from alservice.science.tree import Tree, load_tree
from alservice.settings import Settings, load_settings
from alservice.storage import ObjectStore
from alservice.storage.embedded_postgres import database_url
from alservice.storage.objects import open_objects
from alservice.storage.postgres import check_schema, make_engine, schema_state, upgrade
from alservice.subjects.publish import EXISTING
from alservice.subjects.site import Sites
from alservice.subjects.subject import SubjectLedger
from alservice.subjects.validate import ValidateCampaign
from alservice.zooniverse import Zooniverse
from alservice.zooniverse.accounts import Account

MIN_FREE_BYTES = 2 * 1024**3
"""Room for the database, image packs and posteriors of a rehearsal on real galaxies."""

CHECK_S = 120.0
"""Longest wait (s) for all checks together; a part that has not answered then is told as one that does not."""

Part = Callable[[], str]
"""Tries one part: returns what was seen, or raises what is wrong."""


def seen(part: str, check: Part) -> Finding:
    """Return what a check saw of a part, or what is wrong with it."""
    try:
        message = check()
    except AlserviceError as error:
        return failed(part, error)
    return Finding(part=part, ok=True, message=message)


def failed(part: str, error: AlserviceError) -> Finding:
    """Return a part that does not work."""
    return Finding(
        part=part,
        ok=False,
        message=error.message,
        remedy=error.remedy,
        code=error.code,
        may_pass=isinstance(error, Retriable),
    )


Group = Callable[[], Iterable[Finding]]
"""Checks that go one after the other, for each needs what the one before found."""


def within(seconds: float, groups: Mapping[str, Group]) -> list[Finding]:
    """Return what groups of checks find, side by side; a group that takes longer is told, and not waited for."""
    found: Mapping[str, list[Finding]] = {part: [] for part in groups}
    pool = ThreadPoolExecutor(max(len(groups), 1), thread_name_prefix="check")
    try:
        futures = {
            part: pool.submit(copy_context().run, _collect, checks, found[part]) for part, checks in groups.items()
        }
        waiting = wait(futures.values(), timeout=seconds).not_done
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    findings: list[Finding] = []
    for part, future in futures.items():
        findings += found[part]
        if future in waiting:
            findings.append(_silent(part, seconds))
        else:
            future.result()  # raises what is no error of a part
    return findings


def side_by_side(parts: Mapping[str, Part]) -> dict[str, Group]:
    """Return parts as groups of one check each."""
    return {part: partial(_alone, part, check) for part, check in parts.items()}


def _alone(part: str, check: Part) -> Sequence[Finding]:
    return [seen(part, check)]


def _collect(checks: Group, found: list[Finding]) -> None:
    found.extend(checks())  # one by one: what was found before a check hangs is told


def _silent(part: str, seconds: float) -> Finding:
    remedy = "See whether it is overloaded or cut off from this machine; the check is tried again."
    message = f"no answer within {seconds:g} s"
    return Finding(part=part, ok=False, message=message, remedy=remedy, code="no-answer", may_pass=True)


@dataclass(frozen=True, kw_only=True)
class CheckReadiness:
    """Try what a campaign's run needs.

    Parameters
    ----------
    machine
        How parts are tried that belong to no campaign: disk, object store, device.
    sites
        Where campaigns' volunteers are.
    """

    catalogues: CatalogueStore
    models: ModelStore
    acquisitions: AcquisitionStore
    ledger: SubjectLedger
    objects: ObjectStore
    machine: Mapping[str, Part]
    sites: Sites
    seconds: float = CHECK_S

    def run(self, row: CampaignRow, cycle: Cycle | None, needs: Collection[Need]) -> Sequence[Finding]:
        """Return a finding per need, in their order; those of Zooniverse after a failed login are left out.

        Parameters
        ----------
        cycle
            The open one, None where the run would start one.
        """
        alone: dict[str, Part] = {
            **self.machine,
            Need.CATALOGUE: lambda: self._catalogue(row),
            Need.CHAMPION: lambda: self._champion(row, cycle),
        }
        groups = side_by_side({part: check for part, check in alone.items() if part in needs})
        if Need.LOGIN in needs:
            groups["zooniverse"] = lambda: self._zooniverse(row, cycle, needs)
        return within(self.seconds, groups)

    def _catalogue(self, row: CampaignRow) -> str:
        catalogue = self.catalogues.newest(row.id)
        if catalogue is None:
            raise NotFound(f"campaign {row.settings.name} has no catalogue: run `alservice catalogue import`")
        return f"{catalogue.n_galaxies:,} galaxies"

    def _model(self, row: CampaignRow, cycle: Cycle | None) -> Model | None:
        if cycle is None:
            return self.models.champion(row.id)
        return None if cycle.champion_id is None else self.models.get(cycle.champion_id)

    def _champion(self, row: CampaignRow, cycle: Cycle | None) -> str:
        model = self._model(row, cycle)
        if model is None:
            raise NotFound(f"campaign {row.settings.name} has no champion yet")
        from alservice.registry.service import load_model  # and torch, which most ticks do without

        load_model(self.objects, model, load_tree(row.settings.tree))
        return f"weights of model {model.id} are loaded"

    def _zooniverse(self, row: CampaignRow, cycle: Cycle | None, needs: Collection[Need]) -> Iterator[Finding]:
        campaign = row.settings
        try:
            sites = [(tier, self.sites.zooniverse(tier)) for tier in campaign.by_tier().values()]
            account = sites[0][1].account()
        except AlserviceError as error:
            yield failed(Need.LOGIN, error)
            return
        yield Finding(part=Need.LOGIN, ok=True, message=f"logged in as {account.login}")
        if Need.ALLOWANCE in needs:
            yield seen(Need.ALLOWANCE, lambda: self._allowance(row, cycle, account))
        pool = campaign.zooniverse.pool_subject_set
        if Need.POOL in needs and pool is not None:
            yield seen(Need.POOL, lambda: f"subject set {sites[0][1].find_subject_set(pool)}")
        for tier, site in sites:
            if Need.RIGHTS in needs:
                yield seen(Need.RIGHTS, partial(_rights, site, account))
            if Need.WORKFLOW in needs:
                asking = asking_text(tier, has_champion=self._model(row, cycle) is not None)
                yield seen(Need.WORKFLOW, partial(_workflow, tier, site, asking))

    def _allowance(self, row: CampaignRow, cycle: Cycle | None, account: Account) -> str:
        due, own = self._due(row, cycle), self.sites.connection(row.settings).publish.allowance
        used = self.ledger.creates(row.id)
        bounds = {f"the account {account.login}, which uploaded {account.uploaded:,}": account.left}
        if own is not None:
            bounds[f"the campaign, which created {used:,} of {own:,}"] = own - used
        for whose, left in bounds.items():
            if left is not None and due > left:
                raise AllowanceExhausted(
                    f"{due:,} uploads are due and {left:,} are left to {whose}", due=due, left=left
                )
        least = min((left for left in bounds.values() if left is not None), default=None)
        return f"{due:,} uploads are due at most, {'any number' if least is None else f'{least:,}'} left"

    def _due(self, row: CampaignRow, cycle: Cycle | None) -> int:
        """Return how many subjects the cycle has yet to create: of its batch, or of the largest it may draw."""
        acquired = None if cycle is None else self.acquisitions.get(cycle.id)
        if acquired is not None:
            there = {s.galaxy_id for s in self.ledger.of_campaign(row.id) if s.state in EXISTING}
            return len({galaxy.galaxy_id for galaxy in acquired} - there)
        policy = batch_policy(row.settings.acquisition, first=self._model(row, cycle) is None)
        catalogue = self.catalogues.newest(row.id)
        if catalogue is None:
            return policy.requested
        members = self.catalogues.n_members(catalogue.id)
        wanted = policy.requested - policy.evaluation + min(policy.evaluation, members)
        return min(wanted, catalogue.n_galaxies)


def _rights(site: Zooniverse, account: Account) -> str:
    rights = site.rights(account.user_id)
    missing = rights.missing(account.login)
    if missing:
        raise RightsMissing("; ".join(missing.values()), project=rights.project_id, workflow=rights.workflow_id)
    return f"{', '.join(sorted(rights.roles))} of project {rights.project_id}, whose workflow {rights.workflow_id} is"


def _workflow(campaign: Campaign, site: Zooniverse, asking: str) -> str:
    found = ValidateCampaign(zooniverse=site).look(campaign, load_tree(campaign.tree))
    if found is None:
        return (
            f"workflow {campaign.zooniverse.workflow_id} is empty: publishing gives it the tree's questions; {asking}"
        )
    return f"version {found.version} asks the tree's {len(found.columns)} questions; {asking}"


def asking_text(campaign: Campaign, *, has_champion: bool) -> str:
    """Return in a few words when a campaign stops asking about a galaxy."""
    policy, rule = campaign.acquisition, campaign.zooniverse.rule
    full = f"{policy.votes_per_galaxy} votes"
    if policy.judging_votes != policy.votes_per_galaxy:
        full = f"{full} ({policy.judging_votes} where models are judged)"
    if not campaign.zooniverse.retires:
        return f"a galaxy gets {full}, by the workflow's rule"
    if policy.allocated is not None:
        full = f"{full}, or {', '.join(map(str, policy.allocated.tiers))} by information"
    if rule is None:
        return f"a galaxy gets {full}, counted here"
    stops = rule.policy(policy.votes_per_galaxy)
    asking = (
        f"a galaxy gets {full}, fewer where rule {stops.rule!r} is met at {stops.target:g}, {stops.min_votes} at least"
    )
    return asking if has_champion else f"{asking}; never fewer before there is a champion"


def machine_parts(settings: Settings) -> Mapping[str, Part]:
    """Return how the parts of a machine are tried that belong to no campaign."""
    return {
        Need.DISK: lambda: _disk(settings),
        Need.OBJECTS: lambda: _objects(settings),
        Need.DEVICE: lambda: _devices(settings.device),
    }


def _devices(asked: str) -> str:
    from alservice.network.config import resolve_devices

    return f"device {', '.join(resolve_devices(asked))}, asked for {asked}"


def _device(asked: str) -> str:
    from alservice.network.config import resolve_device

    return f"device {resolve_device(asked)}, asked for {asked}"


def check_ground(settings: Settings | None = None) -> Sequence[Finding]:
    """Return what is found of all that needs no campaign: disk, database, schema, object store, device."""
    settings = settings or load_settings()
    groups = side_by_side(machine_parts(settings))
    return within(CHECK_S, {"database": partial(_database, settings), **groups})


def check_replay(
    *, out: Path, tree: str | Tree, data: Path | None, encoder: Path | None, device: str, read_as: ReadAs = AS_TOLD
) -> Sequence[Finding]:
    """Return what is found of all that a backfill needs: no database, no Zooniverse."""
    parts: dict[str, Part] = {
        "folder": lambda: _writable(out),
        Need.DEVICE: lambda: _device(device),
    }
    if data is not None:
        parts["data"] = lambda: f"{_recorded(data, load_tree(tree), read_as).n_rows:,} rows in {data}"
    if encoder is not None:
        parts["encoder"] = lambda: _there(encoder)
    return within(CHECK_S, side_by_side(parts))


def _recorded(data: Path, tree: Tree, read_as: ReadAs) -> CatalogueFile:
    return open_catalogue(data, tree, read_as=read_as, with_images=False)


def _disk(settings: Settings) -> str:
    store = settings.object_store
    places = [make_folder(settings.folder)]
    if store is not None and "://" not in store and Path(store).is_dir():
        places.append(Path(store))
    for place in places:
        _room(place)
    return ", ".join(f"{shutil.disk_usage(place).free / 1024**3:.0f} GiB free at {place}" for place in places)


def _room(place: Path) -> None:
    free = shutil.disk_usage(place).free
    if free < MIN_FREE_BYTES:
        needed = f"{MIN_FREE_BYTES / 1024**3:.0f} GiB are needed"
        raise StorageFull(f"{free / 1024**3:.1f} GiB free at {place}, and {needed}")


def _writable(folder: Path) -> str:
    make_folder(folder)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise BadConfig(f"nothing can be written in {folder}: {error.strerror}") from error
    _room(folder)
    return f"{shutil.disk_usage(folder).free / 1024**3:.0f} GiB free at {folder}"


def _there(path: Path) -> str:
    if not path.exists():
        raise BadConfig(f"there is no {path}")
    return f"{path} is there"


def _objects(settings: Settings) -> str:
    open_objects(settings.object_store or str(settings.folder / "objects")).check()
    return "an object was written, read back and deleted"


def _database(settings: Settings) -> Iterator[Finding]:
    """Yield what is found of the database, and of its schema where it answers."""
    try:
        with database_url(settings) as url, _engine(url) as engine:
            schema_state(engine)
            own = settings.database_url is None
            message = "embedded Postgres starts and answers" if own else "Postgres answers"
            yield Finding(part="database", ok=True, message=message)
            yield seen("schema", lambda: _schema(engine, own=own))
    except AlserviceError as error:
        yield failed("database", error)


def _schema(engine: Engine, *, own: bool) -> str:
    if own:
        upgrade(engine)  # the embedded one belongs to this release
    check_schema(engine)
    return f"at revision {schema_state(engine)[1]}"


@contextmanager
def _engine(url: str) -> Iterator[Engine]:
    """Yield an engine on a database, and close its connections at the end."""
    engine = make_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()
