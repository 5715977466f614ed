"""How simulated volunteers send: one classification per sitting, written as Zooniverse's front end writes it.

What the browser knows goes into metadata, one annotation per task in the order it was met, and answers
are indexes into the tasks of the live workflow.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from alservice.errors import BadInput
from alservice.ids import seed_of
from alservice.science.tree import Tree
from alservice.science.votes import NOT_ASKED
from alservice.zooniverse.workflow import Boxes, Workflow, map_answers

SITTING_S = (5.0, 30.0)
"""Shortest and longest sitting (s)."""

IDLE_S = 60.0
"""A sitting ended at most this long before it is sent (s)."""

_SCREENS = ((1366, 657), (1920, 969), (1440, 789), (1536, 730))
"""Viewports of the browsers that volunteers use (px, width and height)."""

_BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
_MOBILE = "Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"
_SHOWN_PX = 424
"""Width and height at which a galaxy is shown (px)."""

_DRAWS = (
    "idle",
    "duration",
    "screen",
    "offset",
    "logged_in",
    "duplicate",
    "repeat",
    "mobile",
    "null",
    "null_at",
)
"""Uniform draws of one sitting; the same number for each, so that no sitting shifts the draws of the next."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Manners:
    """How often volunteers do what an ingester must be ready for; shares in [0, 1].

    Parameters
    ----------
    duplicate_share
        Sittings sent twice by the browser: same session, start and subject. Harmless to a correct count.
    logged_in_share
        Sittings of somebody logged in, as long as somebody is left who has not had this galaxy.
    repeat_share
        Logged-in sittings after which the same person classifies the same galaxy again.
    null_share
        Sittings that skip a question (value null), which ends the walk.
    mobile_share
        Sittings whose metadata has only what Panoptes requires, and the session.
    """

    duplicate_share: float = 0.005
    logged_in_share: float = 0.5
    repeat_share: float = 0.0
    null_share: float = 0.0
    mobile_share: float = 0.0

    def __post_init__(self) -> None:
        for name in ("duplicate_share", "logged_in_share", "repeat_share", "null_share", "mobile_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadInput(f"{name} of the volunteers must be in [0, 1], not {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sending:
    """One POST.

    Parameters
    ----------
    session
        64 hex digits that name the sitting.
    classification
        Body under ``classifications``.
    user
        Position of the logged-in person; None for an anonymous one.
    extra
        Whether it is a duplicate or a repeat, and not the sitting that was asked for.
    """

    session: str
    classification: Mapping[str, Any]
    user: int | None
    extra: bool


class Sittings:
    """Turns answers into the classifications that a survey's front end would send.

    Parameters
    ----------
    tree, workflow
        The questions, and the live workflow that asks them; `WorkflowMismatch` if it does not.
    project_id
        Of the workflow.
    seed
        Of everything here.
    manners
        How volunteers behave.
    n_users
        Number of people who can be logged in.

    Raises
    ------
    BadInput
        If there are to be repeats but nobody can be logged in: only a known person can be seen to repeat.
    """

    def __init__(
        self, tree: Tree, workflow: Workflow, *, project_id: int, seed: int, manners: Manners, n_users: int
    ) -> None:
        if manners.repeat_share and not n_users:
            raise BadInput("repeat_share of the volunteers needs people who can log in")
        self._seed = seed
        self._manners = manners
        self._n_users = n_users
        self._links = {"project": str(project_id), "workflow": str(workflow.workflow_id)}
        self._version = workflow.version
        answers = map_answers(tree, workflow)
        columns, boxes = answers.columns, answers.boxes
        self._tasks = [question.task for question in tree.questions]
        # Of a question that is a box: its place in the task.
        self._boxes = [
            boxes[question.task].yes.index(part.start) if part.start in _ticked(boxes.get(question.task)) else None
            for question, part in zip(tree.questions, tree.slices, strict=True)
        ]
        # None: a superseded question that this workflow does not ask.
        self._values = [
            [columns[question.task].index(column) for column in range(part.start, part.stop)]
            if part.start in columns.get(question.task, ())
            else None
            for question, part in zip(tree.questions, tree.slices, strict=True)
        ]

    def session(self, galaxy_id: str, cycle: int, place: int, *, repeat: bool = False) -> str:
        """Return the name of a sitting: sha256 (hex) of seed, cycle, galaxy and the place in line."""
        name = f"{self._seed}:{cycle}:{galaxy_id}:{place}{':repeat' if repeat else ''}"
        return hashlib.sha256(f"alservice:volunteer:{name}".encode()).hexdigest()

    def of_galaxy(
        self, galaxy_id: str, subject_id: int, answers: npt.NDArray[np.int8], *, cycle: int, now: datetime
    ) -> Iterator[Sending]:
        """Yield what volunteers send about one galaxy, in the order in which it must arrive.

        Parameters
        ----------
        subject_id
            The galaxy on Zooniverse.
        answers
            (n, Q) answer index within each question, -1 where not asked.
        now
            When the sittings are over (UTC).
        """
        rng = np.random.default_rng(seed_of(self._seed, "sittings", cycle, galaxy_id))
        users = iter(rng.permutation(self._n_users).tolist())
        for place, (row, draws) in enumerate(zip(answers, rng.random((len(answers), len(_DRAWS))), strict=True)):
            draw = dict(zip(_DRAWS, draws.tolist(), strict=True))
            user = next(users, None) if draw["logged_in"] < self._manners.logged_in_share else None
            annotations = self._annotations(row, draw)
            session = self.session(galaxy_id, cycle, place)
            body = self._body(subject_id, annotations, session, draw, now)
            yield Sending(session=session, classification=body, user=user, extra=False)
            if draw["duplicate"] < self._manners.duplicate_share:
                yield Sending(session=session, classification=body, user=user, extra=True)
            if user is not None and draw["repeat"] < self._manners.repeat_share:
                session = self.session(galaxy_id, cycle, place, repeat=True)
                body = self._body(subject_id, annotations, session, draw, now)
                yield Sending(session=session, classification=body, user=user, extra=True)

    def _annotations(self, row: npt.NDArray[np.int8], draw: Mapping[str, float]) -> list[dict[str, Any]]:
        annotations: list[dict[str, Any]] = []
        ticked: dict[str, list[int]] = {}
        for question, answer in enumerate(row.tolist()):
            task, box, values = self._tasks[question], self._boxes[question], self._values[question]
            if answer == NOT_ASKED:
                continue
            if box is not None:
                if task not in ticked:
                    ticked[task] = []
                    annotations.append({"task": task, "taskType": "multiple", "value": ticked[task]})
                if answer == 0:  # yes, the first answer of every box
                    ticked[task].append(box)
            elif values is not None:
                annotations.append({"task": task, "taskType": "single", "value": values[answer]})
        if draw["null"] < self._manners.null_share:
            last = int(draw["null_at"] * len(annotations))
            return [*annotations[:last], {**annotations[last], "value": None}]
        return annotations

    def _body(
        self,
        subject_id: int,
        annotations: list[dict[str, Any]],
        session: str,
        draw: Mapping[str, float],
        now: datetime,
    ) -> dict[str, Any]:
        finished = now - timedelta(seconds=IDLE_S * draw["idle"])
        shortest, longest = SITTING_S
        started = finished - timedelta(seconds=shortest + (longest - shortest) * draw["duration"])
        metadata = {
            "finished_at": _stamp(finished),
            "session": session,
            "started_at": _stamp(started),
            "user_agent": _MOBILE,
            "user_language": "en",
            "utc_offset": str(3600 * int(24 * draw["offset"] - 12)),
            "workflow_version": self._version,
        }
        if draw["mobile"] >= self._manners.mobile_share:
            metadata |= _browser_metadata(draw, selected_at=_stamp(started))
        return {
            "annotations": annotations,
            "completed": True,
            "links": {**self._links, "subjects": [str(subject_id)]},
            "metadata": metadata,
        }


def _ticked(boxes: Boxes | None) -> tuple[int, ...]:
    """Return the columns of a task's boxes; none where it has no boxes, or is not asked."""
    return () if boxes is None else boxes.yes


def _browser_metadata(draw: Mapping[str, float], *, selected_at: str) -> dict[str, Any]:
    """Return what only a browser adds."""
    width, height = _SCREENS[int(draw["screen"] * len(_SCREENS))]
    sides = ("clientHeight", "clientWidth", "naturalHeight", "naturalWidth")
    return {
        "classifier_version": "2.0",
        "feedback": {},
        "source": "api",
        "subject_dimensions": [dict.fromkeys(sides, _SHOWN_PX)],
        "subject_flagged": False,
        "subject_selection_state": {
            "already_seen": False,
            "finished_workflow": False,
            "retired": False,
            "selected_at": selected_at,
            "selection_state": "normal",
            "user_has_finished_workflow": False,
        },
        "user_agent": _BROWSER,
        "viewport": {"height": height, "width": width},
    }


def _stamp(moment: datetime) -> str:
    """Return a moment as browsers write it: UTC, milliseconds, Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
