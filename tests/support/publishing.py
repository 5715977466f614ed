"""A batch of galaxies, the fakes it is published on, and what must hold afterwards."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from alservice.adapters.images import sniff
from alservice.adapters.progress import NoProgress
from alservice.core.campaign import Campaign
from alservice.core.catalogues import Galaxy
from alservice.core.ids import digest_of_bytes
from alservice.core.objects import digest_of_key
from alservice.core.states import SubjectState
from alservice.core.subjects import SubjectDraft, draft_subject
from alservice.ports import ObjectStore, SubjectLedger, Zooniverse
from alservice.services.one_subject import zooniverse_id_of
from alservice.services.publish_subjects import PublishPolicy, PublishReport, PublishSubjects
from alservice.services.reconcile_subjects import ReconcileReport, ReconcileSubjects
from tests.support.fake_ledger import FakeLedger, a_cycle
from tests.support.fake_zooniverse import FakeZooniverse, Forecast, Weather

CAMPAIGN = Campaign(name="rehearsal", tree="gz2")
SET_ID = 1001


def image_of(name: str) -> bytes:
    """Return bytes that pass for a PNG and are like no other galaxy's."""
    return b"\x89PNG\r\n\x1a\n" + name.encode() * 20


def drafts_of(objects: ObjectStore, n: int, *, cycle: int = 0) -> list[SubjectDraft]:
    """Store n images and return a draft for each."""
    drafts = []
    for row in range(n):
        name = f"J{row:04d}"
        stored = objects.put(image_of(name), kind="images", suffix=".png")
        galaxy = Galaxy(
            galaxy_id=name,
            row=row,
            ra_deg=10.0 + row,
            dec_deg=-5.0,
            image_key=stored.key,
            unbiased=True,
            evaluation=False,
        )
        drafts.append(draft_subject(CAMPAIGN.name, cycle, galaxy))
    return drafts


@dataclass
class World:
    """One campaign's publisher with everything it touches in memory."""

    objects: ObjectStore
    drafts: list[SubjectDraft]
    forecast: Forecast = lambda _n, _name: None
    connections: int = 2
    allowance: int = 10_000
    policy: dict[str, Any] = field(default_factory=dict)
    on_sleep: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.weather = Weather(self.forecast)
        self.ledger = FakeLedger(self.weather)
        self.zooniverse = FakeZooniverse(self.weather, allowance=self.allowance)
        self.slept: list[float] = []

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.on_sleep()

    def publish(self) -> PublishReport:
        """Publish the batch, as a process that starts now."""
        publisher = PublishSubjects(
            self.ledger,
            self.objects,
            self.zooniverse,
            policy=PublishPolicy(**{"connections": self.connections, "settle_s": 7.0, **self.policy}),
            media_type=sniff,
            sleep=self._sleep,
            progress=NoProgress(),
        )
        return publisher.publish(a_cycle(), CAMPAIGN, self.drafts, 40)

    @property
    def reconcile(self) -> ReconcileSubjects:
        """The reconciler of this world."""
        return ReconcileSubjects(self.ledger, self.zooniverse, connections=self.connections)

    def difference(self) -> ReconcileReport:
        """Compare ledger and Zooniverse."""
        return self.reconcile.report(1, SET_ID)

    def check_live(self) -> None:
        """Require that every galaxy is exactly one linked subject with its own image, as the ledger says."""
        self.weather.restart()
        check_live(self.ledger, self.zooniverse, len(self.drafts))

    def check_only_live(self) -> None:
        """Require also that nothing else was left behind."""
        self.check_live()
        assert set(self.zooniverse.subjects) == self.zooniverse.members[SET_ID]


def check_live(ledger: SubjectLedger, zooniverse: Zooniverse, n: int) -> None:
    """Require, through the ports alone, that n galaxies are exactly one linked and verified subject each."""
    rows = list(ledger.of_campaign(1))
    assert [row.state for row in rows] == [SubjectState.LIVE] * n
    subjects = {subject.zooniverse_id: subject for subject in zooniverse.subjects_above(0)}
    members = zooniverse.linked(SET_ID)
    assert members == {row.zooniverse_id for row in rows}
    assert len(members) == n
    for row in rows:
        subject = subjects[zooniverse_id_of(row)]
        assert subject.key == row.key
        image = zooniverse.fetch_image(subject.image_url)
        assert image is not None
        assert digest_of_bytes(image) == digest_of_key(row.image_key)
