"""Ingest on a real database: nothing lost, nothing counted twice, whatever order and however often."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from alservice.app import App
from alservice.campaigns.cycle import Cycle
from alservice.campaigns.store import CampaignRow
from alservice.states import SubjectState
from alservice.subjects.subject import draft_subject
from alservice.votes.ingest import CollectClassifications
from alservice.votes.store import Landing
from alservice.zooniverse.records import RawClassification
from alservice.zooniverse.workflow import Workflow, tasks_of
from tests.support.worlds import NOON, TREE, import_rows, make_campaign, make_row
from tests.votes.test_classification import raw

START = 500_000_000


class Listing:
    """The part of Zooniverse that ingest reads; rows may be added and changed behind its back."""

    def __init__(self) -> None:
        self.rows: list[RawClassification] = []
        self.gold: set[int] = set()

    def workflow(self) -> Workflow:
        """Return the tree's own workflow."""
        return Workflow(workflow_id=10, version="1.1", tasks=tasks_of(TREE))

    def gold_standard(self) -> Iterator[Sequence[int]]:
        """Yield the ids of gold-standard rows."""
        yield [row.classification_id for row in self.rows if row.classification_id in self.gold]

    def classifications(self, last_id: int) -> Iterator[Sequence[RawClassification]]:
        """Yield pages of three, ascending."""
        later = sorted((r for r in self.rows if r.classification_id > last_id), key=lambda r: r.classification_id)
        for first in range(0, len(later), 3):
            yield later[first : first + 3]


class World:
    """A cycle whose galaxies are live, and the listing their classifications come from."""

    def __init__(self, factory: App) -> None:
        self.factory = factory
        self.campaign: CampaignRow = import_rows(factory, make_campaign(), [make_row(i) for i in range(4)])
        self.cycle: Cycle = factory.cycle.start(self.campaign.settings.name, actor="test")
        galaxies = factory.catalogues.galaxies(self.cycle.catalogue_id)
        drafts = [draft_subject("test", 0, galaxy) for galaxy in galaxies]
        subjects = factory.ledger.plan(self.cycle, drafts, n_votes=3)
        ids = {subject.id: 100 + i for i, subject in enumerate(subjects)}
        for state in (SubjectState.CREATING, SubjectState.CREATED, SubjectState.VERIFIED, SubjectState.LIVE):
            given = ids if state is SubjectState.CREATED else None
            subjects = factory.ledger.mark(subjects, state, zooniverse_ids=given)
        self.listing = Listing()
        self.collect = CollectClassifications(
            classifications=factory.classifications,
            votes=factory.votes.source,
            workflows=factory.workflows,
            ledger=factory.ledger,
            stops=factory.stops,
            zooniverse=self.listing,
            clock=lambda: NOON,
            progress=factory.progress,
        )

    def send(self, number: int, subject: int = 100, **changes: object) -> None:
        """Let a volunteer classify."""
        self.listing.rows.append(raw(START + number, zooniverse_subject_id=subject, **changes))

    def run(self) -> object:
        """Ingest."""
        return self.collect.run(self.campaign, self.cycle, TREE)

    def votes(self) -> dict[str, int]:
        """Return first-question votes by galaxy."""
        tallies = self.factory.classifications.tallies(self.campaign.id, TREE.n_answers)
        return dict(zip(tallies.galaxy_ids, tallies.counts[:, TREE.slices[0]].sum(axis=1).tolist(), strict=True))


@pytest.fixture
def world(factory: App) -> World:
    """Four live galaxies that want three votes each."""
    return World(factory)


def test_votes_become_tallies_of_their_galaxy(world: World) -> None:
    """Each counted classification adds one vote per answer, to the galaxy of its subject."""
    for number in range(7):
        world.send(number, 100 + number % 2)
    report = world.run()
    assert world.votes() == {"g00": 4, "g01": 3}
    assert (report.read, report.new, report.requested, report.counted) == (7, 7, 12, 7)
    assert not report.is_over


def test_reading_again_counts_nothing_twice(world: World) -> None:
    """The overlap is read every time and is new only once."""
    for number in range(4):
        world.send(number)
    world.run()
    report = world.run()
    assert (report.read, report.new) == (4, 0)
    assert world.votes() == {"g00": 4}


def test_a_row_that_becomes_visible_late_is_found(world: World) -> None:
    """A smaller id that appears after a larger one was read is not lost."""
    world.send(1)
    world.send(3)
    world.run()
    world.send(2)
    world.run()
    assert world.votes() == {"g00": 3}


def test_a_late_seen_before_takes_the_vote_back(world: World) -> None:
    """Panoptes marks repeats after the fact; the next reading believes it."""
    world.send(1)
    world.send(2)
    world.run()
    world.listing.rows[1] = world.listing.rows[1]._replace(seen_before=True)
    world.run()
    assert world.votes() == {"g00": 1}
    assert world.factory.classifications.by_verdict(world.campaign.id) == {"counted": 1, "seen-before": 1}


def test_the_gold_standard_listing_takes_the_vote_back(world: World) -> None:
    """What the listing of all hides, the listing of examples tells; it stays so when the row is read again."""
    world.send(1)
    world.send(2)
    world.run()
    assert world.votes() == {"g00": 2}
    world.listing.gold = {START + 1, START + 77}
    for _ in range(2):
        world.run()
        assert world.votes() == {"g00": 1}
        assert world.factory.classifications.by_verdict(world.campaign.id) == {"counted": 1, "gold-standard": 1}


def test_a_repeat_of_a_gold_example_counts(world: World) -> None:
    """The example leaves the vote to the same person's later classification."""
    world.send(1, user_hash="u")
    world.send(2, user_hash="u")
    world.listing.gold = {START + 1}
    world.run()
    assert world.factory.classifications.by_verdict(world.campaign.id) == {"counted": 1, "gold-standard": 1}
    assert world.votes() == {"g00": 1}


def test_a_sitting_that_is_finished_later_counts_from_then_on(world: World) -> None:
    """No end, or no answer to the first question, is incomplete until a source says more."""
    world.send(1, finished_at=None)
    world.send(2, annotations=({"task": "T6", "value": 0},))
    world.run()
    assert world.votes() == {}
    world.listing.rows[0] = world.listing.rows[0]._replace(finished_at="later")
    world.run()
    assert world.factory.classifications.by_verdict(world.campaign.id) == {"counted": 1, "incomplete": 1}


def test_votes_that_fit_no_tree_are_flagged_and_unflagged(world: World) -> None:
    """An answer below one that nobody chose is told by galaxy and question, until the rest of the row comes."""
    world.send(1, annotations=({"task": "T0", "value": None}, {"task": "T6", "value": 0}))
    world.send(2, 101)
    report = world.collect.read(world.campaign, TREE)
    assert (report.landed, report.inconsistent) == (2, 1)
    assert "1 galaxies have votes that no walks through the tree give" in report.text()
    assert world.factory.votes.tally_faults("test") == {"g00": ("how-rounded",)}
    snapshot = world.factory.learning.frozen.freeze(world.campaign, world.cycle)
    assert (snapshot.n_inconsistent, snapshot.n_galaxies) == (1, 2)
    smooth_and_round = ({"task": "T0", "value": 0}, {"task": "T6", "value": 0})
    world.listing.rows[0] = world.listing.rows[0]._replace(annotations=smooth_and_round)
    assert world.collect.read(world.campaign, TREE).inconsistent == 0
    assert world.factory.votes.tally_faults("test") == {}


def test_what_cannot_be_read_waits_in_quarantine(world: World) -> None:
    """An unknown answer, version or subject is kept with its reason, and the rest lands."""
    world.send(1)
    world.send(2, workflow_version="9.9")
    world.send(3, annotations=({"task": "T0", "value": 44},))
    world.send(4, subject=999)
    world.run()
    verdicts = world.factory.classifications.by_verdict(world.campaign.id)
    assert verdicts == {"counted": 1, "quarantined": 2, "unknown-subject": 1}


def test_collecting_is_over_when_the_votes_are_in(world: World) -> None:
    """Three votes on each of four galaxies end it."""
    for number in range(12):
        world.send(number, 100 + number % 4)
    assert world.run().is_over


def test_collecting_is_over_at_the_deadline(world: World) -> None:
    """Whatever is in counts; late votes are the next cycle's."""
    world.cycle = replace(world.cycle, deadline=NOON)
    assert world.run().is_over


def test_a_crash_inside_a_page_leaves_no_half(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows, verdicts, tallies and cursor land together: after the crash all is as before, and then complete."""
    for number in range(5):
        world.send(number)
    original = Landing.move_cursor
    calls = iter([False, True])

    def crash_second(self: Landing, source: str, last_id: int) -> None:
        if next(calls, False):
            raise KeyboardInterrupt
        original(self, source, last_id)

    monkeypatch.setattr(Landing, "move_cursor", crash_second)
    with pytest.raises(KeyboardInterrupt):
        world.run()
    assert world.votes() == {"g00": 3}
    monkeypatch.undo()
    world.run()
    assert world.votes() == {"g00": 5}


def test_any_interleaving_equals_a_recount(world: World) -> None:
    """Chunks in random order, with users and double sends: the tallies are those of the distinct rows."""
    rng = np.random.default_rng(5)
    for number in range(40):
        world.send(
            number,
            int(rng.integers(100, 104)),
            user_hash=[None, "u", "v"][rng.integers(3)],
            session=f"s{rng.integers(12)}",
            started_at="t",
        )
    everything = list(world.listing.rows)
    world.listing.rows = []
    for chunk in np.array_split(rng.permutation(40), 7):
        world.listing.rows += [everything[i] for i in chunk]
        world.run()
    piecemeal = world.votes()
    world.listing.rows = everything
    world.run()
    assert world.votes() == piecemeal
    assert sum(piecemeal.values()) == world.factory.classifications.counted(world.campaign.id)
