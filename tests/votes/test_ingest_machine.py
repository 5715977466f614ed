"""Any history of ingest, told step by step: sources, crashes and restarts never change what the votes add up to.

A machine plays volunteers, Zooniverse's listing and export files against the real database. After every step, also one
that died half way, the stored tallies are those of the stored rows; at the end, those of all that was ever sent, by a
count of a few lines that knows nothing of how ingest works.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import Engine, text

from alservice.app import App
from alservice.ids import hash_user
from alservice.storage.postgres import transaction
from alservice.votes import ingest
from alservice.votes.store import Landing
from alservice.zooniverse.records import RawClassification
from alservice.zooniverse.workflow import Workflow
from tests.support.exports import export_cells, write_export
from tests.support.worlds import TREE
from tests.votes.test_classification import raw
from tests.votes.test_collect_classifications import START
from tests.votes.test_ingest import KEY, TASKS, FileWorld

PEOPLE = {hash_user(user, KEY): user for user in ("1", "2")}
HASHES = (None, *PEOPLE)
STRANGE = "9.9"
OVERLAP = 6
CALLS = (
    "insert",
    "rows_of",
    "tallies_of",
    "verdicts_of",
    "save_verdicts",
    "save_tallies",
    "save_readings",
    "move_cursor",
    "waiting",
    "check_judged",
)


class Killed(BaseException):
    """The process dies here."""


@contextmanager
def dying(call: int | None, *, after: bool) -> Iterator[None]:
    """Die at the n-th call to an open transaction, before or after the call; never if None."""
    left = call

    def deadly(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def called(*given: Any, **named: Any) -> Any:
            nonlocal left
            if left is not None:
                left -= 1
                if left == 0 and not after:
                    raise Killed
            result = method(*given, **named)
            if left == 0 and after:
                raise Killed
            return result

        return called

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(Landing, name, deadly(getattr(Landing, name)))
        try:
            yield
        except Killed:
            return


def verdicts(rows: list[dict[str, Any]]) -> dict[int, str]:
    """Say by hand what counts among the rows of one galaxy."""
    people: set[str] = set()
    sends: set[tuple[str, str]] = set()
    found = {}
    for row in sorted(rows, key=lambda row: row["id"]):
        verdict = next(
            (name for name in ("quarantined", "not-live", "gold-standard", "incomplete", "seen-before") if row[name]),
            None,
        )
        if verdict is None and row["send"] in sends:
            verdict = "duplicate-send"
        if verdict is None and row["person"] in people:
            verdict = "repeat"
        if verdict is None:
            sends.add(row["send"])
            people |= {row["person"]} - {None}
        found[row["id"]] = verdict or "counted"
    return found


class Ingesting(RuleBasedStateMachine):
    """One history."""

    world: FileWorld
    engine: Engine

    @initialize()
    def begin(self) -> None:
        """Empty the tables; nobody has classified anything."""
        with transaction(self.engine) as connection:
            connection.execute(text("TRUNCATE classifications, tallies, ingest_cursors, quarantined_rows"))
            connection.execute(text("DELETE FROM workflow_versions WHERE version = :v"), {"v": STRANGE})
        self.sent: dict[int, RawClassification] = {}
        self.hidden: set[int] = set()
        self.world.listing.rows = []

    @rule(picks=st.lists(st.integers(0, 500), min_size=1, max_size=5), visible=st.booleans())
    def classify(self, picks: list[int], visible: bool) -> None:
        """Volunteers send; a read replica may show some of it later than what came after."""
        for pick in picks:
            number = START + len(self.sent)
            self.sent[number] = raw(
                number,
                workflow_version=STRANGE if pick % 13 == 0 else "1.1",
                zooniverse_subject_id=100 + pick % 3 if pick % 17 else 999,
                user_hash=HASHES[pick % 3],
                session=f"s{pick % 4}",
                started_at=f"t{pick % 5}",
                finished_at=None if pick % 7 == 0 else "later",
                live_project=pick % 11 != 0,
                annotations=({"task": "T0", "value": pick % 2}, {"task": "T5", "value": pick % 2}),
            )
            if not visible:
                self.hidden.add(number)

    @rule()
    def appear(self) -> None:
        """What was hidden is visible by now."""
        self.hidden.clear()

    @rule(place=st.integers(0, 40), what=st.sampled_from(["seen_before", "gold_standard"]))
    def mark(self, place: int, what: str) -> None:
        """Panoptes' worker, or an expert, marks an old classification."""
        if self.sent:
            number = START + place % len(self.sent)
            self.sent[number] = self.sent[number]._replace(**{what: True})

    @rule(dies=st.none() | st.integers(1, 12), after=st.booleans())
    def poll(self, dies: int | None, after: bool) -> None:
        """Read the listing, which hides gold standard; a new process each time."""
        shown = [row._replace(gold_standard=False) for i, row in self.sent.items() if i not in self.hidden]
        self.world.listing.rows = shown
        with dying(dies, after=after):
            self.world.run()

    @rule(
        places=st.lists(st.integers(0, 40), max_size=12),
        batch=st.integers(1, 5),
        dies=st.none() | st.integers(1, 12),
        after=st.booleans(),
    )
    def export(self, places: list[int], batch: int, dies: int | None, after: bool) -> None:
        """Read a file of some rows, in any order, some of them twice."""
        numbers = [START + place for place in places if START + place in self.sent]
        if numbers:
            with dying(dies, after=after):
                self.world.ingest(self._file(numbers), batch=batch)

    @rule(dies=st.none() | st.integers(1, 6), after=st.booleans())
    def learn(self, dies: int | None, after: bool) -> None:
        """The strange version becomes known."""
        with dying(dies, after=after):
            self._learn()

    @rule(dies=st.none() | st.integers(1, 6), after=st.booleans())
    def recount(self, dies: int | None, after: bool) -> None:
        """Judge and count everything anew."""
        with dying(dies, after=after):
            self.world.factory.votes.ingest.recount(self.world.campaign, TREE)

    @invariant()
    def tallies_are_those_of_the_stored_rows(self) -> None:
        """Whatever has landed, every row has its verdict and every vote is counted once."""
        with transaction(self.engine) as connection:
            stored = connection.execute(text("SELECT * FROM classifications")).mappings().all()
        rows = [
            {
                "id": row["classification_id"],
                "galaxy": row["galaxy_id"],
                "columns": row["answers"],
                "verdict": row["verdict"],
                "quarantined": row["fault"] is not None,
                "not-live": not row["live_project"],
                "gold-standard": row["gold_standard"],
                "incomplete": not row["completed"] and row["finished_at"] is None,
                "seen-before": row["seen_before"],
                "send": (row["session"], row["started_at"]),
                "person": row["user_hash"],
            }
            for row in stored
        ]
        votes, found = self._count(rows)
        assert {row["id"]: row["verdict"] for row in rows} == found
        assert self._tallies() == votes

    def teardown(self) -> None:
        """In the end all sources have told all they know: the tallies are those of what was sent."""
        if not getattr(self, "sent", None):
            return
        self._learn()
        self.hidden.clear()
        self.poll(dies=None, after=False)
        self.world.ingest(self._file(list(self.sent)))
        rows = [
            {
                "id": number,
                "galaxy": None if row.zooniverse_subject_id == 999 else f"g{row.zooniverse_subject_id - 100:02}",
                "columns": [_column(answer) for answer in row.annotations],
                "quarantined": False,
                "not-live": not row.live_project,
                "gold-standard": row.gold_standard,
                "incomplete": False,  # an export has complete rows only
                "seen-before": row.seen_before,
                "send": (row.session, row.started_at),
                "person": row.user_hash,
            }
            for number, row in self.sent.items()
        ]
        votes, found = self._count(rows)
        assert self._tallies() == votes
        assert self.world.verdicts == dict(Counter(found.values()))

    def _count(self, rows: list[dict[str, Any]]) -> tuple[dict[str, list[int]], dict[int, str]]:
        found = {row["id"]: "unknown-subject" for row in rows if row["galaxy"] is None}
        votes: dict[str, list[int]] = {}
        for galaxy in sorted({row["galaxy"] for row in rows} - {None}):
            mine = [row for row in rows if row["galaxy"] == galaxy]
            judged = verdicts(mine)
            found |= judged
            counted = Counter(column for row in mine if judged[row["id"]] == "counted" for column in row["columns"])
            if counted:
                votes[galaxy] = [counted[column] for column in range(TREE.n_answers)]
        return votes, found

    def _tallies(self) -> dict[str, list[int]]:
        stored = self.world.factory.classifications.tallies(self.world.campaign.id, TREE.n_answers)
        return dict(zip(stored.galaxy_ids, stored.counts.tolist(), strict=True))

    def _learn(self) -> None:
        version = Workflow(workflow_id=10, version=STRANGE, tasks=TASKS).plain()
        self.world.factory.votes.ingest.learn(self.world.campaign, TREE, [version], source="versions.json")

    def _file(self, numbers: list[int]) -> Path:
        rows = [self.sent[number] for number in numbers]
        cells = [export_cells(row, TASKS, user_id=PEOPLE.get(row.user_hash or "", "")) for row in rows]
        return write_export(self.world.folder / "export.csv", cells)


def _column(answer: Any) -> int:
    question = next(question for question in TREE.questions if question.task == answer["task"])
    return TREE.column(f"{question.name}_{question.task_answers[answer['value']]}")


def test_no_history_changes_what_the_votes_add_up_to(
    factory: App, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages and files interleaved, doubled, reordered, overlapping; crashes at every store call; late marks."""
    monkeypatch.setattr(ingest, "INGEST_OVERLAP", OVERLAP)
    world = FileWorld(factory, tmp_path)

    class Here(Ingesting):
        pass

    Here.world, Here.engine = world, engine
    run_state_machine_as_test(
        Here,
        settings=settings(max_examples=15, stateful_step_count=14, suppress_health_check=list(HealthCheck)),
    )
