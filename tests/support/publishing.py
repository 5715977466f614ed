"""A batch of galaxies, the fakes it is published on, and what must hold afterwards."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from alservice.campaigns.campaign import Campaign
from alservice.catalogue.galaxies import Galaxy
from alservice.errors import Retriable
from alservice.ids import digest_of_bytes, digest_of_key
from alservice.progress import NoProgress
from alservice.states import SubjectState
from alservice.storage import ObjectStore
from alservice.storage.images import sniff
from alservice.subjects.publish import PublishPolicy, PublishReport, PublishSubjects, zooniverse_id_of
from alservice.subjects.reconcile import ReconcileReport, ReconcileSubjects
from alservice.subjects.subject import SubjectLedger, draft_subject
from alservice.zooniverse import Zooniverse
from alservice.zooniverse.records import SubjectDraft
from tests.support.fake_ledger import FakeLedger, a_cycle
from tests.support.fake_zooniverse import Crash, FakeZooniverse, Forecast, Mishap, Weather

CAMPAIGN = Campaign(name="rehearsal", tree="gz2")
SET_ID = 1001


def image_of(name: str, repeats: int = 20) -> bytes:
    """Return bytes that pass for a PNG and are like no other galaxy's."""
    return b"\x89PNG\r\n\x1a\n" + name.encode() * repeats


def drafts_of(
    objects: ObjectStore, n: int, *, cycle: int = 0, campaign: str = CAMPAIGN.name, repeats: int = 20
) -> list[SubjectDraft]:
    """Store n images and return a draft for each."""
    drafts = []
    for row in range(n):
        name = f"J{row:04d}"
        stored = objects.put(image_of(name, repeats), kind="images", suffix=".png")
        galaxy = Galaxy(
            galaxy_id=name,
            row=row,
            ra_deg=10.0 + row,
            dec_deg=-5.0,
            image_key=stored.key,
            unbiased=True,
            evaluation=False,
        )
        drafts.append(draft_subject(campaign, cycle, galaxy))
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


def run_to_the_end(world: World, limit: int = 200) -> PublishReport:
    """Start the process again until it ends well, as an orchestrator would."""
    for _ in range(limit):
        try:
            report = world.publish()
        except (Crash, Retriable):
            world.weather.restart(world.forecast)
        else:
            if report.failed == 0:
                return report
    raise AssertionError("never came to an end")


def storm_on_fakes(objects: ObjectStore, seed: int) -> None:
    """Publish through random mishaps and crashes, threads at work; require the same end as in fair weather."""
    rng = random.Random(seed)
    kinds = list(Mishap)
    rate = rng.choice([0.02, 0.1, 0.2])
    world = World(
        objects,
        drafts_of(objects, rng.choice([1, 4, 12])),
        lambda _n, _name: rng.choice(kinds) if rng.random() < rate else None,
        connections=rng.choice([2, 5]),
        policy={"wave": rng.choice([3, 1000])},
    )
    world.zooniverse.late_calls = 9
    run_to_the_end(world)
    world.check_live()
    world.zooniverse.carry_out_late()
    world.reconcile.repair(world.difference())
    world.check_only_live()
    assert world.difference().is_clean
    assert len({row.zooniverse_id for row in world.ledger.rows.values()}) == len(world.drafts)


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
