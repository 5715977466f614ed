"""A tick that dies anywhere, between decision, Zooniverse and ledger: the next one ends where it would have ended."""

from collections import Counter
from collections.abc import Sequence

import pytest

from alservice.campaigns.store import Event
from alservice.errors import DatabaseUnavailable
from alservice.states import SubjectState
from alservice.subjects.publish import zooniverse_id_of
from alservice.subjects.retire import RetireSubjects
from alservice.subjects.stops import FusedModel, Stop
from alservice.testing.stores import MemoryStops
from tests.support.fake_ledger import FakeLedger
from tests.support.fake_zooniverse import Crash, FakeZooniverse, Mishap, Weather
from tests.support.stopping import World, votes
from tests.support.worlds import NOON

FIRST_VOTES = {"g04": votes(5), "g08": votes(5), "g20": votes(4), "g05": votes(1, 1), "g12": votes(5)}
LATER_VOTES = {"g04": votes(5, 12), "g08": votes(6)}


class FakeStops(MemoryStops):
    """Decisions whose writes may fail, before or after they are done."""

    weather = Weather()

    def save(self, stops: Sequence[Stop], events: Sequence[Event]) -> None:
        """Replace decisions, and tell of them."""
        with self.weather.call("stops.save", DatabaseUnavailable):
            super().save(stops, events)

    def save_fused(self, fused: FusedModel, event: Event) -> None:
        """Keep the model of a cycle."""
        with self.weather.call("stops.save_fused", DatabaseUnavailable):
            super().save_fused(fused, event)


class Zooniverse(FakeZooniverse):
    """A fake that counts how often each subject was retired and brought back."""

    def __init__(self, weather: Weather) -> None:
        super().__init__(weather)
        self.done: Counter[tuple[int, bool]] = Counter()

    def work_off(self) -> None:
        """Do what was asked, and count it."""
        self.done.update((identity, is_retired) for identity, is_retired, _ in self._asked)
        super().work_off()


class Mortal:
    """A cycle, a Zooniverse and one process after the other that ticks."""

    def __init__(self) -> None:
        self.weather = Weather()
        self.world = World()
        ledger = FakeLedger(self.weather)
        rows = self.world.memory.ledger.rows.values()
        ledger.rows = {row.id: row for row in rows}
        self.world.memory.ledger = ledger
        for galaxy in self.world.memory.galaxies:
            self.world.identify(galaxy.galaxy_id)
        self.world.stops = FakeStops(ledger)
        self.world.stops.weather = self.weather
        self.zooniverse = Zooniverse(self.weather)

    def tick(self) -> None:
        """Decide, retire and bring back, as each ingest does."""
        world = self.world
        world.tick()
        RetireSubjects(
            world.memory.ledger,
            self.zooniverse,
            world.tallies,
            world,
            lambda: NOON,
            settle_s=0.0,
            sleep=lambda _seconds: None,
            actor="test",
            stopped=world.stops.stopped(1),
        ).run(1)

    def tick_until_death(self, call: int, mishap: Mishap) -> bool:
        """Tick with a mishap at a call; return whether it came so far."""
        self.weather.calls.clear()
        self.weather.restart(lambda n, _name: mishap if n == call else None)
        try:
            self.tick()
        except Crash:
            self.weather.restart()
            self.zooniverse.work_off()  # what the site was told it does, whoever has died
            return True
        self.weather.restart()
        return False

    def retired(self) -> set[str]:
        """Return the galaxies that the ledger has retired; the site must say the same."""
        rows = list(self.world.memory.ledger.of_campaign(1))
        seen = {i for i, status in self.zooniverse.status.items() if status.is_retired}
        retired = {row.galaxy_id for row in rows if row.state is SubjectState.RETIRED}
        assert {row.galaxy_id for row in rows if zooniverse_id_of(row) in seen} == retired
        return retired

    def told(self, kind: str) -> Counter[str]:
        """Return how often each galaxy is named in events of a kind."""
        return Counter(subject["galaxy"] for detail in self.world.told(kind) for subject in detail["subjects"])


@pytest.mark.parametrize("mishap", [Mishap.CRASH_BEFORE, Mishap.CRASH_AFTER])
def test_a_tick_that_dies_at_any_call_is_made_good_by_the_next(mishap: Mishap) -> None:
    """Nobody is retired twice, forgotten, or brought back by the death; every decision is told once."""
    call = 0
    while True:
        mortal = Mortal()
        mortal.world.vote(**FIRST_VOTES)
        died = mortal.tick_until_death(call, mishap)
        mortal.tick()
        assert mortal.retired() == {"g04", "g08", "g20"}, call
        assert mortal.told("subjects.stopped") == dict.fromkeys(("g04", "g08", "g20"), 1)
        assert set(mortal.zooniverse.done.values()) == {1}
        if not died:
            break
        call += 1
    assert call > 5


@pytest.mark.parametrize("mishap", [Mishap.CRASH_BEFORE, Mishap.CRASH_AFTER])
def test_bringing_back_survives_a_death_at_any_call(mishap: Mishap) -> None:
    """Later votes contradict one of three: it is asked about again, once, and the others stay retired."""
    call = 0
    while True:
        mortal = Mortal()
        mortal.world.vote(**FIRST_VOTES)
        mortal.tick()
        mortal.world.vote(**LATER_VOTES)
        died = mortal.tick_until_death(call, mishap)
        mortal.tick()
        assert mortal.retired() == {"g08", "g20"}, call
        assert mortal.told("subjects.asked-again") == {"g04": 1}
        assert mortal.told("subjects.stopped") == dict.fromkeys(("g04", "g08", "g20"), 1)
        assert max(mortal.zooniverse.done.values()) == 1
        if not died:
            break
        call += 1
    assert call > 3


def test_a_tick_with_nothing_new_changes_nothing() -> None:
    """Ticks are idempotent."""
    mortal = Mortal()
    mortal.world.vote(**FIRST_VOTES)
    mortal.tick()
    rows, events = dict(mortal.world.memory.ledger.rows), len(mortal.world.stops.events)
    mortal.tick()
    assert (mortal.world.memory.ledger.rows, len(mortal.world.stops.events)) == (rows, events)
    assert set(mortal.zooniverse.done.values()) == {1}
