"""Exports beside the API: every row lands, waits or is excluded by name, and the order of sources does not matter."""

import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from alservice.app import App
from alservice.campaigns.policies import CountingPolicy, LabelRule
from alservice.constants import CLOCK_SLACK
from alservice.ids import hash_user
from alservice.storage.postgres import transaction
from alservice.votes.counting import judge_of
from alservice.votes.decoding import read_workflows
from alservice.votes.exports import BATCH_ROWS, ExportFile
from alservice.votes.ingest import ForeignExport, IngestReport
from alservice.votes.store import Landing
from alservice.zooniverse.records import RawClassification
from alservice.zooniverse.workflow import Workflow, tasks_of
from tests.support.exports import export_cells, write_export
from tests.support.worlds import NOON, TREE
from tests.votes.test_classification import raw
from tests.votes.test_collect_classifications import START, World

TASKS = tasks_of(TREE)
KEY = b"key"


class FileWorld(World):
    """A world whose classifications also come in files."""

    def __init__(self, factory: App, folder: Path) -> None:
        super().__init__(factory)
        self.folder = folder
        self.collect.workflows.save(self.campaign.id, [self.listing.workflow().plain()], source="test")

    def ingest(self, path: Path, batch: int = BATCH_ROWS) -> IngestReport:
        """Ingest a file."""
        file = ExportFile(path=path, workflow_ids=frozenset({10}), user_hash_key=KEY, latest=NOON + CLOCK_SLACK)
        return self.factory.votes.ingest.export(self.campaign, TREE, file.batches(batch), name=path.name)

    def file(self, rows: list[list[str]], **options: bool) -> Path:
        """Write a file."""
        return write_export(self.folder / "export.csv", rows, **options)

    def decide(self, **changes: object) -> None:
        """Change the campaign's decisions."""
        self.campaign = self.factory.campaigns.save(replace(self.campaign.settings, **changes))

    @property
    def verdicts(self) -> dict[str, int]:
        """Rows per verdict."""
        return dict(self.factory.classifications.by_verdict(self.campaign.id))


@pytest.fixture
def world(factory: App, tmp_path: Path) -> FileWorld:
    """Four live galaxies, subjects 100 to 103."""
    return FileWorld(factory, tmp_path)


def cells(number: int, subject: int = 100, **changes: object) -> list[str]:
    """Return the export row of a good classification."""
    return export_cells(raw(START + number, zooniverse_subject_id=subject, **changes), TASKS)


def put(row: list[str], place: int, value: str) -> list[str]:
    """Return the row with another cell."""
    return [*row[:place], value, *row[place + 1 :]]


@pytest.mark.parametrize("zipped", [False, True])
def test_an_export_becomes_tallies(world: FileWorld, zipped: bool) -> None:
    """Labels, embedded line ends, quotes and a user called Åsa are no obstacle; again changes nothing."""
    path = world.file([cells(n, 100 + n % 2) for n in range(7)], zipped=zipped)
    report = world.ingest(path, batch=3)
    assert (report.requested, report.landed, report.quarantined, report.excluded, report.new) == (7, 7, 0, {}, 7)
    assert world.votes() == {"g00": 4, "g01": 3}
    again = world.ingest(path)
    assert (again.landed, again.new) == (7, 0)
    assert world.votes() == {"g00": 4, "g01": 3}


BROKEN: dict[str, tuple[Callable[[list[str]], list[str]], str]] = {
    "id as float": (lambda row: put(row, 0, "500000001.0"), "classification_id"),
    "user id as float": (lambda row: put(row, 2, "1.5e3"), "user_id"),
    "metadata cut": (lambda row: put(row, 10, row[10][:-3]), "metadata"),
    "annotations cut": (lambda row: put(row, 11, "["), "annotations"),
    "annotations of text": (lambda row: put(row, 11, '["T0"]'), "annotations"),
    "future": (lambda row: put(row, 7, "2099-01-01 00:00:00 UTC"), "created_at"),
    "no zone": (lambda row: put(row, 7, "2026-01-01 00:00:00"), "created_at"),
    "too few cells": (lambda row: row[:9], "row"),
    "huge cell": (lambda row: put(row, 12, "x" * 3_000_000), "row"),
    "big cell": (lambda row: put(row, 12, "x" * 200_000), "row"),
    "deep": (lambda row: put(row, 11, "[" * 50_000), "annotations"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_row_is_told_and_the_rest_lands(world: FileWorld, name: str) -> None:
    """One bad row of three waits with its number and field; the sum is that of the file."""
    spoil, field = BROKEN[name]
    report = world.ingest(world.file([cells(1), spoil(cells(2)), cells(3)]))
    assert (report.requested, report.landed, report.quarantined) == (3, 2, 1)
    waiting = world.factory.classifications.quarantined(world.campaign.id, limit=10)
    assert waiting.reasons == {f"row of a file: {field}": 1}
    assert waiting.rows[0].row == 2
    assert world.votes() == {"g00": 2}


def test_a_cell_of_a_hundred_megabytes_stays_out_of_memory(world: FileWorld) -> None:
    """It is one bad row of three, read past in pieces; quotes and line ends in it change nothing."""
    path = world.file([cells(1), put(cells(2), 12, "HUGE"), cells(3)])
    before, after = path.read_bytes().split(b"HUGE")
    piece = b"x" * (1 << 20) + b'""\n'
    with path.open("wb") as file:
        file.write(before)
        # The cell is quoted only where it must be: open a quote, so that what follows may hold anything.
        file.write(b'"')
        for _ in range(100):
            file.write(piece)
        file.write(b'"')
        file.write(after)
    tracemalloc.start()
    report = world.ingest(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (report.requested, report.landed, report.quarantined) == (3, 2, 1)
    assert peak < 32 << 20


def test_bytes_that_are_not_utf8_are_one_bad_row(world: FileWorld) -> None:
    """Latin-1 in one row neither stops nor garbles the others."""
    path = world.file([cells(1), cells(2), cells(3)])
    lines = path.read_bytes().replace("Åsa".encode(), b"Asa", 1).replace("Åsa".encode(), b"\xc5sa", 1)
    path.write_bytes(lines)
    report = world.ingest(path)
    assert (report.landed, report.quarantined) == (2, 1)


@pytest.mark.parametrize("zipped", [False, True])
def test_a_file_cut_off_says_so(world: FileWorld, zipped: bool) -> None:
    """What came whole lands; the rest of the last row is a fault."""
    path = world.file([cells(n) for n in range(40)], zipped=zipped)
    path.write_bytes(path.read_bytes()[:-30])
    report = world.ingest(path)
    assert report.quarantined == 1
    assert report.requested == report.landed + 1


def test_a_subject_cut_short_is_not_another_one(world: FileWorld) -> None:
    """The last cell of a file that ends within it reads well, and wrongly; whole but for its line end it is right."""
    path = world.file([cells(1), cells(2, subject=101)])
    whole = path.read_bytes()
    path.write_bytes(whole[:-2])
    report = world.ingest(path)
    assert (report.requested, report.landed, report.quarantined, report.excluded) == (2, 1, 1, {})
    path.write_bytes(whole[:-1])
    assert world.ingest(path).landed == 2


def test_a_broken_row_leaves_quarantine_when_it_comes_whole(world: FileWorld) -> None:
    """The next export heals it; the same broken row again is one fault."""
    for _ in range(2):
        world.ingest(world.file([put(cells(1), 10, "{"), cells(2)]))
    assert world.factory.classifications.quarantined(world.campaign.id, limit=9).reasons == {
        "row of a file: metadata": 1
    }
    world.ingest(world.file([cells(1), cells(2)]))
    assert world.factory.classifications.quarantined(world.campaign.id, limit=9).reasons == {}


def test_another_projects_export_is_refused(world: FileWorld) -> None:
    """A file without a row of ours names the workflows it holds; beside ours such rows are excluded."""
    with pytest.raises(ForeignExport, match="workflow 77, none of workflow 10"):
        world.ingest(world.file([cells(1, workflow_id=77)]))
    report = world.ingest(world.file([cells(1, workflow_id=77), cells(2)]))
    assert (report.requested, report.landed, report.excluded) == (2, 1, {"wrong-workflow": 1})


def test_versions_of_another_project_are_refused(world: FileWorld) -> None:
    """They would be stored and never used; nothing is."""
    known = len(world.factory.workflows.list(world.campaign.id))
    other = Workflow(workflow_id=77, version="1.1", tasks=TASKS).plain()
    with pytest.raises(ForeignExport, match="2 versions of workflow 77, none of workflow 10"):
        world.factory.votes.ingest.learn(world.campaign, TREE, [other, other], source="versions.json")
    assert len(world.factory.workflows.list(world.campaign.id)) == known


def test_a_later_export_corrects_what_the_api_hides(world: FileWorld) -> None:
    """Completeness is inferred until an export tells, gold standard unknown until then, in either order."""
    api = [raw(START + 1, finished_at=None), raw(START + 2)]
    file = [cells(1, finished_at=None), cells(2, gold_standard=True)]
    world.listing.rows = api
    world.run()
    assert world.verdicts == {"incomplete": 1, "counted": 1}
    world.ingest(world.file(file))
    assert world.verdicts == {"counted": 1, "gold-standard": 1}
    world.run()
    assert world.verdicts == {"counted": 1, "gold-standard": 1}


def test_campaigns_say_which_rows_count(world: FileWorld) -> None:
    """Too fast, before launch and after retirement are the campaign's to choose; a recount applies them."""
    clock = {"started_at": "2026-01-01T00:00:00.000Z", "finished_at": "2026-01-01T00:00:01.000Z"}
    world.ingest(world.file([cells(1, **clock), cells(2, after_retirement=True), cells(3)]))
    assert world.verdicts == {"counted": 3}
    world.decide(counting=CountingPolicy(min_seconds=2, after_retirement="excluded"))
    assert world.factory.votes.ingest.recount(world.campaign, TREE) == 1
    assert world.verdicts == {"too-fast": 1, "after-retirement": 1, "counted": 1}
    world.decide(counting=CountingPolicy(launched_at="2026-01-01T00:00:01Z"))
    world.factory.votes.ingest.recount(world.campaign, TREE)
    assert world.verdicts == {"before-launch": 3}
    assert world.votes() == {}


def test_a_version_learnt_later_frees_what_waited(world: FileWorld, tmp_path: Path) -> None:
    """Rows of an unknown version wait with it as their reason, and count once a file defines it."""
    report = world.ingest(world.file([cells(1, workflow_version="28.30"), cells(2)]))
    assert (report.landed, report.quarantined) == (1, 1)
    waiting = world.factory.classifications.quarantined(world.campaign.id, limit=9)
    assert waiting.reasons == {"workflow version 28.30 is not known": 1}
    definition = {"id": "10", "version": "28.30", "tasks": TASKS}
    path = tmp_path / "versions.json"
    path.write_text(json.dumps({"workflows": [definition]}))
    learnt = world.factory.votes.ingest.learn(world.campaign, TREE, read_workflows(path), source="versions.json")
    assert learnt == (1, 1)
    assert world.verdicts == {"counted": 2}


def test_a_rule_learnt_later_frees_what_waited(world: FileWorld) -> None:
    """A label that is not the tree's waits for the campaign to say what it means."""
    tasks = json.loads(json.dumps(TASKS))
    tasks["T0"]["answers"][0]["label"] = "Silky"
    world.factory.workflows.save(
        world.campaign.id, [Workflow(workflow_id=10, version="2.2", tasks=tasks).plain()], source="test"
    )
    path = write_export(world.folder / "drift.csv", [export_cells(raw(START, workflow_version="2.2"), tasks)])
    assert world.ingest(path).quarantined == 1
    world.decide(decoding=(LabelRule(task="T0", versions="2.0..2.2", labels={"Silky": TREE.columns[0]}),))
    assert world.factory.votes.ingest.replay(world.campaign, TREE) == 1
    assert world.votes() == {"g00": 1}


def _sitting(number: int, pick: int) -> RawClassification:
    user = ["1", "2", None][pick % 3]
    return raw(
        START + number,
        zooniverse_subject_id=100 + number % 3,
        user_hash=None if user is None else hash_user(user, KEY),
        session=f"s{pick % 4}",
        started_at=f"t{pick % 5}",
        finished_at=None if pick % 7 == 0 else "later",
        live_project=pick % 11 != 0,
        annotations=({"task": "T0", "value": pick % 2}, {"task": "T5", "value": pick % 2}),
    )


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    picks=st.lists(st.integers(0, 100), min_size=4, max_size=16),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["api", "export", "seen", "crash"]),
            st.lists(st.integers(0, 15), min_size=1, max_size=8),
            st.integers(1, 4),
        ),
        min_size=1,
        max_size=8,
    ),
)
def test_any_interleaving_equals_a_brute_force_recount(
    world: FileWorld,
    engine: Engine,
    picks: list[int],
    steps: list[tuple[str, list[int], int]],
) -> None:
    """Pages and files in any order, with duplicates, crashes and late marks: the tallies of the distinct rows."""
    with transaction(engine) as connection:
        connection.execute(text("TRUNCATE classifications, tallies, ingest_cursors, quarantined_rows"))
    sittings = {i: _sitting(i, pick) for i, pick in enumerate(picks)}
    told: set[int] = set()
    world.listing.rows = []
    for kind, numbers, size in steps:
        chosen = [i for i in numbers if i in sittings]
        if kind == "seen":
            for i in chosen:
                sittings[i] = sittings[i]._replace(seen_before=True)
        elif kind == "export":
            rows = [_cells(sittings[i]) for i in chosen]
            if rows:
                world.ingest(write_export(world.folder / "export.csv", rows), batch=size)
            told |= set(chosen)
        else:
            world.listing.rows = [sittings[i] for i in chosen]
            _run(world, crash_at=size if kind == "crash" else None)
    # The last words of every source: what crashed is read again.
    world.listing.rows = list(sittings.values())
    world.run()
    final = [row._replace(completed=True if i in told else None) for i, row in sittings.items()]
    assert _state(world) == _brute_force(world, final)
    before = _state(world)
    world.factory.votes.ingest.recount(world.campaign, TREE)
    assert _state(world) == before


def _cells(row: RawClassification) -> list[str]:
    users = {hash_user(user, KEY): user for user in ("1", "2")}
    return export_cells(row, TASKS, user_id=users.get(row.user_hash or "", ""))


def _run(world: FileWorld, *, crash_at: int | None) -> None:
    if crash_at is None:
        world.run()
        return
    original = Landing.save_tallies
    calls = 0

    def crash(self: Landing, tallies: object) -> None:
        nonlocal calls
        calls += 1
        if calls >= crash_at:
            raise KeyboardInterrupt
        original(self, tallies)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Landing, "save_tallies", crash)
        try:
            world.run()
        except KeyboardInterrupt:
            return


def _state(world: FileWorld) -> tuple[dict[str, list[int]], dict[str, int], int]:
    store = world.factory.classifications
    tallies = store.tallies(world.campaign.id, TREE.n_answers)
    counts = dict(zip(tallies.galaxy_ids, tallies.counts.tolist(), strict=True))
    return counts, dict(store.by_verdict(world.campaign.id)), store.counted(world.campaign.id)


def _brute_force(world: FileWorld, rows: list[RawClassification]) -> tuple[dict[str, list[int]], dict[str, int], int]:
    codebook = world.factory.votes.ingest.codebook(world.campaign, TREE)
    judge = judge_of(world.campaign.settings, TREE)
    counts: dict[str, list[int]] = {}
    verdicts: dict[str, int] = {}
    for subject in range(100, 104):
        galaxy = f"g{subject - 100:02}"
        decoded = [codebook.decode(row, galaxy) for row in rows if row.zooniverse_subject_id == subject]
        judged, tally = judge.of_galaxy(decoded)
        for verdict in judged.values():
            verdicts[str(verdict)] = verdicts.get(str(verdict), 0) + 1
        if np.any(tally.votes):
            counts[galaxy] = tally.votes.tolist()
    return counts, verdicts, verdicts.get("counted", 0)
