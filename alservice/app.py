"""The application: what one process opens, its stores, and one service per stage; the only place that wires them.

Services are imported when they are first asked for: who only reads a file of votes does not load the models as well.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from sqlalchemy import Engine

from alservice.acquisition.request_store import SqlRequestStore
from alservice.acquisition.store import AcquisitionStore
from alservice.campaigns.cycle_store import CycleStore
from alservice.campaigns.store import CampaignStore, EventLog
from alservice.catalogue.import_store import ImportStore
from alservice.catalogue.store import CatalogueStore
from alservice.cycle.runs import SqlRunLog
from alservice.engines import LOCAL, engine_of
from alservice.files import folder_secret, make_folder
from alservice.ops.metrics import write_calls
from alservice.progress import Clock, Progress, process_progress, utc_now
from alservice.registry.store import ModelStore, SnapshotStore
from alservice.settings import Settings, load_settings
from alservice.storage import ObjectStore
from alservice.storage.embedded_postgres import database_url
from alservice.storage.objects import MeasuredObjects, open_objects
from alservice.storage.postgres import Fence, check_schema, fenced, make_engine, upgrade
from alservice.storage.remote_images import RemoteImages
from alservice.subjects.ledger import SqlSubjectLedger
from alservice.subjects.stop_store import SqlStopStore
from alservice.tracing import start_tracing
from alservice.votes.caesar import ReductionStore, WebhookStore
from alservice.votes.export_store import ExportStore
from alservice.votes.store import ClassificationStore, WorkflowStore
from alservice.zooniverse.endpoint import fence_client

if TYPE_CHECKING:
    from alservice.acquisition.service import AcquisitionService
    from alservice.acquisition.stopping import StoppingService
    from alservice.catalogue.service import CatalogueService
    from alservice.cycle.readiness import Finding
    from alservice.cycle.service import CycleService
    from alservice.explore.anomalies import AnomalyService
    from alservice.explore.map_service import MapService
    from alservice.explore.selections import SelectionService
    from alservice.explore.service import ExploreService
    from alservice.learning.service import LearningService
    from alservice.ops.access import AccessService
    from alservice.ops.service import OpsService
    from alservice.prediction.elsewhere import Elsewhere
    from alservice.prediction.service import PredictionService
    from alservice.registry.service import RegistryService
    from alservice.release.service import ReleaseService
    from alservice.subjects.service import SubjectService
    from alservice.subjects.site import Sites
    from alservice.votes.service import VoteService

PRIVATE: Final = 0o077
"""Rights that a new file does not give: any to the group or to others."""


@dataclass(frozen=True, kw_only=True)
class App:
    """One process of the service.

    Stores are named after their records (`campaigns`, `cycles`, `models`), services after the package of their stage
    (`catalogue`, `votes`, `learning`, `cycle`).

    Parameters
    ----------
    secret
        Returns a named secret of the work folder, made at first use.
    """

    settings: Settings
    engine: Engine
    objects: ObjectStore
    clock: Clock
    progress: Progress
    secret: Callable[[str], str]

    @cached_property
    def campaigns(self) -> CampaignStore:
        """Campaigns and their versions."""
        return CampaignStore(self.engine, self.clock)

    @cached_property
    def catalogues(self) -> CatalogueStore:
        """Catalogues, galaxies and image shards."""
        return CatalogueStore(self.engine, self.clock)

    @cached_property
    def imports(self) -> ImportStore:
        """Imports of catalogues, running and finished."""
        return ImportStore(self.engine, self.clock)

    @cached_property
    def cycles(self) -> CycleStore:
        """Cycles and their transitions."""
        return CycleStore(self.engine, self.clock)

    @cached_property
    def models(self) -> ModelStore:
        """Models, their posteriors, and the gate's decisions."""
        return ModelStore(self.engine, self.clock)

    @cached_property
    def snapshots(self) -> SnapshotStore:
        """Tally snapshots and evaluations."""
        return SnapshotStore(self.engine, self.clock)

    @cached_property
    def acquisitions(self) -> AcquisitionStore:
        """Batches drawn."""
        return AcquisitionStore(self.engine, self.clock)

    @cached_property
    def requests(self) -> SqlRequestStore:
        """Galaxies that people asked for."""
        return SqlRequestStore(self.engine, self.clock)

    @cached_property
    def ledger(self) -> SqlSubjectLedger:
        """The upload ledger."""
        return SqlSubjectLedger(self.engine, self.clock)

    @cached_property
    def stops(self) -> SqlStopStore:
        """What was decided about subjects that may stop early."""
        return SqlStopStore(self.engine, self.clock)

    @cached_property
    def classifications(self) -> ClassificationStore:
        """Classifications and tallies."""
        return ClassificationStore(self.engine, self.clock)

    @cached_property
    def workflows(self) -> WorkflowStore:
        """Known workflow versions."""
        return WorkflowStore(self.engine, self.clock)

    @cached_property
    def webhooks(self) -> WebhookStore:
        """Keys under which Caesar's effects come in."""
        return WebhookStore(self.engine, self.clock)

    @cached_property
    def reductions(self) -> ReductionStore:
        """What Caesar sent."""
        return ReductionStore(self.engine)

    @cached_property
    def exports(self) -> ExportStore:
        """Export files that were read."""
        return ExportStore(self.engine, self.clock)

    @cached_property
    def runs(self) -> SqlRunLog:
        """Runs that worked on a cycle."""
        return SqlRunLog(self.engine)

    @cached_property
    def events(self) -> EventLog:
        """The audit."""
        return EventLog(self.engine)

    def user_hash_key(self) -> bytes:
        """Return the secret that turns user ids into pseudonyms."""
        key = self.settings.user_hash_key
        return (key.get_secret_value() if key else self.secret("user-hash-key")).encode()

    @cached_property
    def sites(self) -> Sites:
        """Where campaigns' volunteers are."""
        from alservice.subjects.site import Sites

        return Sites(
            campaigns=self.campaigns, settings=self.settings, secret=self.secret, user_hash_key=self.user_hash_key
        )

    @cached_property
    def catalogue(self) -> CatalogueService:
        """Catalogues imported, packed and measured."""
        from alservice.catalogue.service import CatalogueService

        return CatalogueService(
            campaigns=self.campaigns,
            catalogues=self.catalogues,
            imports=self.imports,
            objects=self.objects,
            progress=self.progress,
            image_folders=self.settings.image_folders,
            remote_images=RemoteImages.of(self.settings),
        )

    @cached_property
    def registry(self) -> RegistryService:
        """Which model is live."""
        from alservice.registry.service import RegistryService

        return RegistryService(campaigns=self.campaigns, models=self.models, objects=self.objects)

    @cached_property
    def subjects(self) -> SubjectService:
        """What volunteers are shown."""
        from alservice.subjects.service import SubjectService

        return SubjectService(
            campaigns=self.campaigns,
            ledger=self.ledger,
            stops=self.stops,
            objects=self.objects,
            events=self.events,
            sites=self.sites,
            votes=self.votes.source,
            clock=self.clock,
            progress=self.progress,
        )

    @cached_property
    def votes(self) -> VoteService:
        """What volunteers said."""
        from alservice.votes.service import VoteService

        return VoteService(
            campaigns=self.campaigns,
            classifications=self.classifications,
            workflows=self.workflows,
            webhooks=self.webhooks,
            reductions=self.reductions,
            exports=self.exports,
            ledger=self.ledger,
            stops=self.stops,
            events=self.events,
            sites=lambda: self.sites,
            user_hash_key=self.user_hash_key,
            clock=self.clock,
            progress=self.progress,
        )

    @cached_property
    def device(self) -> str:
        """The torch device that the settings ask for first: one network trains on one."""
        return self.devices[0]

    @cached_property
    def devices(self) -> tuple[str, ...]:
        """All torch devices that the settings ask for: catalogues are predicted on them side by side."""
        from alservice.network.config import resolve_devices

        return resolve_devices(self.settings.device)

    @cached_property
    def prediction(self) -> PredictionService:
        """Posteriors of catalogues."""
        from alservice.prediction.service import PredictionService

        elsewhere = self._elsewhere()
        return PredictionService(
            campaigns=self.campaigns,
            catalogue=self.catalogue,
            catalogues=self.catalogues,
            models=self.models,
            objects=self.objects,
            devices=self.devices if elsewhere is None else (),
            elsewhere=elsewhere,
            progress=self.progress,
        )

    def _elsewhere(self) -> Elsewhere | None:
        """Return what predicts in the Ray cluster that the settings name, if they do."""
        from alservice.prediction.elsewhere import Elsewhere

        engine = engine_of(self.settings)
        if engine is LOCAL:
            return None
        return Elsewhere(engine=engine, objects=self.settings.objects, device=self.settings.device)

    @cached_property
    def acquisition(self) -> AcquisitionService:
        """Batches by expected information, and budgets."""
        from alservice.acquisition.service import AcquisitionService
        from alservice.prediction.stored import Predictions

        return AcquisitionService(
            campaigns=self.campaigns,
            catalogues=self.catalogues,
            models=self.models,
            acquisitions=self.acquisitions,
            requests=self.requests,
            ledger=self.ledger,
            classifications=self.classifications,
            stored=Predictions(objects=self.objects),
            clock=self.clock,
            progress=self.progress,
        )

    @cached_property
    def stopping(self) -> StoppingService:
        """Galaxies that volunteers need not be asked about any more."""
        from alservice.acquisition.stopping import StoppingService

        return StoppingService(
            campaigns=self.campaigns,
            catalogues=self.catalogues,
            cycles=self.cycles,
            models=self.models,
            snapshots=self.snapshots,
            acquisitions=self.acquisitions,
            ledger=self.ledger,
            stops=self.stops,
            objects=self.objects,
            votes=self.votes.source,
            clock=self.clock,
        )

    @cached_property
    def learning(self) -> LearningService:
        """Candidates trained, evaluated and decided on."""
        from alservice.learning.service import LearningService

        return LearningService(
            campaigns=self.campaigns,
            catalogues=self.catalogues,
            cycles=self.cycles,
            models=self.models,
            snapshots=self.snapshots,
            acquisitions=self.acquisitions,
            classifications=self.classifications,
            events=self.events,
            stops=self.stops,
            objects=self.objects,
            catalogue=self.catalogue,
            prediction=self.prediction,
            votes=self.votes.source,
            device=self.device,
            clock=self.clock,
            progress=self.progress,
        )

    @cached_property
    def releases(self) -> ReleaseService:
        """Catalogues released to researchers."""
        from alservice.release.service import ReleaseService

        return ReleaseService(
            campaigns=self.campaigns,
            catalogues=self.catalogues,
            models=self.models,
            snapshots=self.snapshots,
            ledger=self.ledger,
            stops=self.stops,
            objects=self.objects,
            prediction=self.prediction,
            votes=self.votes,
            progress=self.progress,
        )

    @cached_property
    def explore(self) -> ExploreService:
        """Catalogues explored by choice and by likeness."""
        from alservice.explore.service import ExploreService

        return ExploreService(
            campaigns=self.campaigns,
            catalogues=self.catalogues,
            models=self.models,
            snapshots=self.snapshots,
            objects=self.objects,
            prediction=self.prediction,
            votes=self.votes,
            folder=self.settings.folder / "explore",
            device=lambda: self.device,
            clock=self.clock,
            progress=self.progress,
        )

    @cached_property
    def anomalies(self) -> AnomalyService:
        """Searches for galaxies that somebody finds interesting."""
        from alservice.explore.anomalies import AnomalyService
        from alservice.explore.rating_store import SqlRatingStore

        store = SqlRatingStore(self.engine, self.clock)
        return AnomalyService(campaigns=self.campaigns, explore=self.explore, store=store)

    @cached_property
    def selections(self) -> SelectionService:
        """Galaxies that people found, kept by name and asked for."""
        from alservice.explore.selection_store import SqlSelectionStore
        from alservice.explore.selections import SelectionService

        return SelectionService(
            campaigns=self.campaigns,
            catalogues=self.catalogues,
            selections=SqlSelectionStore(self.engine, self.clock),
            requests=self.requests,
            ledger=self.ledger,
            stops=self.stops,
            explore=lambda: self.explore,
        )

    @cached_property
    def maps(self) -> MapService:
        """Maps of catalogues."""
        from alservice.explore.map_service import MapService

        return MapService(explore=self.explore)

    @cached_property
    def cycle(self) -> CycleService:
        """Turns of the loop, step by step."""
        from alservice.cycle.service import CycleService

        return CycleService(self)

    @cached_property
    def ops(self) -> OpsService:
        """What people who run campaigns ask."""
        from alservice.ops.service import OpsService

        return OpsService(self)

    @cached_property
    def access(self) -> AccessService:
        """Tokens, and sessions opened with them."""
        from alservice.ops.access import AccessService
        from alservice.ops.sessions import SqlSessionStore
        from alservice.ops.tokens import SqlTokenStore

        return AccessService(
            campaigns=self.campaigns,
            webhooks=self.webhooks,
            events=self.events,
            tokens=SqlTokenStore(self.engine, self.clock),
            sessions=SqlSessionStore(self.engine, self.clock),
            clock=self.clock,
        )


@contextmanager
def open_app(
    settings: Settings | None = None, *, progress: Progress | None = None, fence: Fence | None = None
) -> Iterator[App]:
    """Open what the settings name, and close it at the end; may be nested in one process.

    The embedded database is started when no URL is set, and given its schema when it is new; another database must
    be at this release's schema already.

    Parameters
    ----------
    settings
        Where the parts are; those of the environment when left out.
    fence
        Under what the process works: its writes are refused once that is another's.

    Raises
    ------
    DatabaseUnavailable, SchemaMismatch, StorageFull, BadConfig
        A part cannot be opened; the message says which and what to do.
    """
    settings = settings or load_settings()
    fence_client()
    start_tracing(settings.traces_url)
    keep_private()
    folder = make_folder(settings.folder)
    with ExitStack() as stack:
        engine = make_engine(stack.enter_context(database_url(settings)))
        stack.callback(engine.dispose)
        if settings.database_url is None:
            upgrade(engine)  # ends at this release's schema, or raises: nothing is left to check
        else:
            check_schema(engine)
        stack.callback(write_calls, engine)
        yield App(
            settings=settings,
            engine=engine if fence is None else fenced(engine, fence),
            objects=MeasuredObjects(open_objects(settings.objects)),
            clock=utc_now,
            progress=progress or process_progress(),
            secret=lambda name: folder_secret(folder, name),
        )


def keep_private() -> None:
    """Let files that this process makes be its user's alone: they hold secrets, and what volunteers said."""
    os.umask(os.umask(PRIVATE) | PRIVATE)


def diagnose() -> Iterator[Finding]:
    """Yield a finding per part of this process; of campaigns that are not paused, what the next batch needs.

    Each finding says what to do when its part fails.
    """
    from alservice.cycle.check_readiness import check_ground, seen
    from alservice.ops.doctor import DATABASE, check_campaigns, check_prefect

    settings = load_settings()
    ground = check_ground(settings)
    yield from ground
    yield seen("prefect", check_prefect)
    if all(finding.ok for finding in ground if finding.part in DATABASE):
        with open_app(settings) as app:
            yield from check_campaigns(app)
