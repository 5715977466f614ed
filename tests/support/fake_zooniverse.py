"""Zooniverse in memory, and the weather in which calls to it are made."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from alservice.errors import AllowanceExhausted, NotFound, OutcomeUnknown, ZooniverseRefused, ZooniverseUnavailable
from alservice.zooniverse.accounts import Account, Rights
from alservice.zooniverse.records import (
    KEY_FIELD,
    CreatedSubject,
    RawClassification,
    RemoteSubject,
    SubjectDraft,
    SubjectStatus,
)
from alservice.zooniverse.workflow import RetirementRule, Workflow


class Crash(BaseException):
    """The process died; nothing catches this but the test."""


class Mishap(Enum):
    """What befalls one call."""

    BEFORE = auto()  # fails, and nothing was done
    AFTER = auto()  # fails, and was done
    LATE = auto()  # a create fails, and is done some time later
    LOST = auto()  # an upload is accepted, and not stored
    CRASH_BEFORE = auto()
    CRASH_AFTER = auto()


Forecast = Callable[[int, str], Mishap | None]


class Weather:
    """Counts the calls of all fakes of one world and lets mishaps befall them; after a crash every call dies."""

    def __init__(self, forecast: Forecast = lambda _n, _name: None) -> None:
        self.forecast = forecast
        self.calls: list[str] = []
        self._dead = False
        self._lock = threading.RLock()

    def restart(self, forecast: Forecast = lambda _n, _name: None) -> None:
        """Start the process again."""
        self.forecast, self._dead = forecast, False

    @contextmanager
    def call(self, name: str, failure: type[Exception] = ZooniverseUnavailable) -> Iterator[Mishap | None]:
        """Run one call; what it does stands inside."""
        with self._lock:
            if self._dead:
                raise Crash
            mishap = self.forecast(len(self.calls), name)
            self.calls.append(name)
            if mishap is Mishap.CRASH_BEFORE:
                self._die(name)
            if mishap is Mishap.BEFORE:
                raise failure(f"{name}: not done")
            yield mishap
            if mishap is Mishap.CRASH_AFTER:
                self._die(name)
            if mishap in {Mishap.AFTER, Mishap.LATE}:
                raise failure(f"{name}: no answer")

    def _die(self, name: str) -> None:
        self._dead = True
        raise Crash(name)


@dataclass
class FakeSubject:
    """A subject on the fake Zooniverse."""

    metadata: Mapping[str, str]
    media_type: str
    image: bytes | None = None


class FakeZooniverse:
    """A `Zooniverse` port that keeps its state in attributes tests may read and bend."""

    def __init__(self, weather: Weather | None = None, *, allowance: int = 10_000) -> None:
        self.weather = weather or Weather()
        self.subjects: dict[int, FakeSubject] = {}
        self.sets: dict[str, int] = {}
        self.members: dict[int, set[int]] = {}
        self.tasks: dict[str, Any] = {}
        self.rule = RetirementRule(count=15)
        self.rows: list[RawClassification] = []
        self.allowance = allowance
        self.uploaded = 0
        self.link_sizes: list[int] = []
        self.unlink_sizes: list[int] = []
        self.status: dict[int, SubjectStatus] = {}
        self.lags = False
        self._asked: list[tuple[int, bool, str | None]] = []
        self.late_calls = 1_000_000  # calls after which a late create is done; or see `carry_out_late`
        self._late: list[tuple[int, SubjectDraft, str]] = []

    def account(self) -> Account:
        """Return who is logged in."""
        with self.weather.call("zooniverse.account"):
            return Account(user_id=1, login="surveyor", uploaded=self.uploaded, allowance=self.allowance)

    def rights(self, user_id: int) -> Rights:
        """Return those of an owner."""
        with self.weather.call("zooniverse.rights"):
            roles = frozenset({"owner"} if user_id == 1 else ())
            return Rights(project_id=1, roles=roles, workflow_id=10, workflow_project_id=1)

    def workflow(self) -> Workflow:
        """Return the workflow; its version counts changes."""
        with self.weather.call("zooniverse.workflow"):
            return Workflow(workflow_id=10, version=f"{len(self.tasks)}.0", tasks=dict(self.tasks))

    def retirement(self) -> RetirementRule:
        """Return the rule; 15 classifications at first."""
        with self.weather.call("zooniverse.retirement"):
            return self.rule

    def define_workflow(self, tasks: Mapping[str, Any], first_task: str, rule: RetirementRule) -> Workflow:
        """Give an empty workflow tasks and a rule."""
        with self.weather.call("zooniverse.define_workflow"):
            if first_task not in tasks or (self.tasks and self.tasks != tasks):
                raise ZooniverseRefused("the workflow has other tasks already")
            if not self.tasks:
                self.rule = rule
            self.tasks = dict(tasks)
        return self.workflow()

    def ensure_subject_set(self, name: str) -> int:
        """Return the id of a set by its name."""
        with self.weather.call("zooniverse.ensure_subject_set"):
            set_id = self.sets.setdefault(name, 1001 + len(self.sets))
            self.members.setdefault(set_id, set())
            return set_id

    def find_subject_set(self, name: str) -> int:
        """Return the id of a set that is there."""
        with self.weather.call("zooniverse.find_subject_set"):
            if name not in self.sets:
                raise NotFound(f"no subject set {name!r}")
            return self.sets[name]

    def create_subject(self, draft: SubjectDraft, media_type: str) -> CreatedSubject:
        """Create a subject; the same draft again is another subject."""
        with self.weather.call("zooniverse.create_subject", OutcomeUnknown) as mishap:
            if self.uploaded >= self.allowance:
                raise AllowanceExhausted(f"User has uploaded {self.uploaded} subjects of {self.allowance} maximum")
            if mishap is Mishap.LATE:
                self._late.append((len(self.weather.calls) + self.late_calls, draft, media_type))
                identity = 0
            else:
                identity = self.add(draft.metadata, media_type)
        return CreatedSubject(zooniverse_id=identity, upload_url=f"put:{identity}")

    def add(self, metadata: Mapping[str, str], media_type: str = "image/png", image: bytes | None = None) -> int:
        """Put a subject there, as a create does."""
        identity = 100_000_001 + self.uploaded
        self.uploaded += 1
        self.subjects[identity] = FakeSubject(dict(metadata), media_type, image)
        return identity

    def carry_out_late(self, *, up_to: int | None = None) -> None:
        """Carry out the late creates; all of them unless told a call number."""
        due = [late for late in self._late if up_to is None or late[0] <= up_to]
        self._late = [late for late in self._late if late not in due]
        for _, draft, media_type in due:
            self.add(draft.metadata, media_type)

    def upload_image(self, upload_url: str, data: bytes, media_type: str) -> None:
        """Store an image behind its signed URL."""
        with self.weather.call("zooniverse.upload_image") as mishap:
            subject = self.subjects[int(upload_url.removeprefix("put:"))]
            assert subject.media_type == media_type
            if mishap is not Mishap.LOST:
                subject.image = data

    def image_url(self, zooniverse_id: int) -> str:
        """Return where a subject's image is."""
        with self.weather.call("zooniverse.image_url"):
            if zooniverse_id not in self.subjects:
                raise NotFound(f"Zooniverse has no subject {zooniverse_id}")
            return f"get:{zooniverse_id}"

    def fetch_image(self, url: str) -> bytes | None:
        """Return an image, or None."""
        with self.weather.call("zooniverse.fetch_image"):
            subject = self.subjects.get(int(url.removeprefix("get:")))
            return subject.image if subject else None

    def subjects_above(self, zooniverse_id: int) -> Iterator[RemoteSubject]:
        """Yield subjects with a higher id, highest first."""
        with self.weather.call("zooniverse.subjects_above"):
            self.carry_out_late(up_to=len(self.weather.calls))
            found = [
                RemoteSubject(zooniverse_id=i, key=s.metadata.get(KEY_FIELD), image_url=f"get:{i}")
                for i, s in sorted(self.subjects.items(), reverse=True)
                if i > zooniverse_id
            ]
        yield from found

    def delete_subject(self, zooniverse_id: int) -> None:
        """Delete a subject and its memberships."""
        with self.weather.call("zooniverse.delete_subject"):
            self.subjects.pop(zooniverse_id, None)
            for members in self.members.values():
                members.discard(zooniverse_id)

    def link(self, set_id: int, zooniverse_ids: Sequence[int]) -> None:
        """Link subjects, all or none."""
        with self.weather.call("zooniverse.link"):
            if len(set(zooniverse_ids)) != len(zooniverse_ids) or not self.subjects.keys() >= set(zooniverse_ids):
                raise ZooniverseRefused("Error: check the subject set and all the subjects exist.")
            self.link_sizes.append(len(zooniverse_ids))
            self.members[set_id].update(zooniverse_ids)

    def unlink(self, set_id: int, zooniverse_ids: Sequence[int]) -> None:
        """Take subjects out of a set."""
        with self.weather.call("zooniverse.unlink"):
            self.unlink_sizes.append(len(zooniverse_ids))
            self.members[set_id].difference_update(zooniverse_ids)

    def linked(self, set_id: int, *, above: int = 0) -> frozenset[int]:
        """Return the members of a set with a higher id."""
        with self.weather.call("zooniverse.linked"):
            return frozenset(identity for identity in self.members[set_id] if identity > above)

    def survey_ids(self, set_id: int, field: str) -> Iterator[tuple[int, str]]:
        """Yield the named subjects of a set."""
        with self.weather.call("zooniverse.survey_ids"):
            found = [(i, self.subjects[i].metadata.get(field)) for i in sorted(self.members[set_id])]
        yield from ((identity, name) for identity, name in found if name is not None)

    def retire(self, zooniverse_ids: Sequence[int], reason: str) -> None:
        """Retire subjects, at once or when `work_off` is called."""
        with self.weather.call("zooniverse.retire"):
            self._asked += [(i, True, reason) for i in zooniverse_ids]
        if not self.lags:
            self.work_off()

    def unretire(self, zooniverse_ids: Sequence[int]) -> None:
        """Bring subjects back, at once or when `work_off` is called."""
        with self.weather.call("zooniverse.unretire"):
            self._asked += [(i, False, None) for i in zooniverse_ids]
        if not self.lags:
            self.work_off()

    def work_off(self) -> None:
        """Do what was asked of the workers behind the API."""
        for identity, is_retired, reason in self._asked:
            counted = self.status[identity].classifications if identity in self.status else 0
            self.status[identity] = SubjectStatus(classifications=counted, is_retired=is_retired, reason=reason)
        self._asked.clear()

    def statuses(self, zooniverse_ids: Sequence[int]) -> Mapping[int, SubjectStatus]:
        """Return what the counters say of subjects that have any."""
        with self.weather.call("zooniverse.statuses"):
            return {i: self.status[i] for i in zooniverse_ids if i in self.status}

    def gold_standard(self) -> Iterator[Sequence[int]]:
        """Yield the ids of gold-standard rows."""
        with self.weather.call("zooniverse.gold_standard"):
            yield [row.classification_id for row in self.rows if row.gold_standard]

    def classifications(self, last_id: int) -> Iterator[Sequence[RawClassification]]:
        """Yield pages of two rows."""
        with self.weather.call("zooniverse.classifications"):
            rows = sorted((r for r in self.rows if r.classification_id > last_id), key=lambda r: r.classification_id)
        for first in range(0, len(rows), 2):
            yield rows[first : first + 2]
