"""Schemas of the REST API: one model per record, and pages of them; what a stage renames stays here."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field

from alservice.campaigns.cycle import CycleState
from alservice.ids import CAMPAIGN_NAME
from alservice.learning.gate import PersonVerdict
from alservice.registry.records import Verdict
from alservice.states import ModelState, SubjectState

Item = TypeVar("Item")

MAX_PAGE = 200
TEXT = r"^[^\x00]{1,200}$"
BIGINT = 2**63 - 1
INTEGER = 2**31 - 1

CampaignName = Annotated[str, Path(pattern=CAMPAIGN_NAME, description="Name of a campaign.")]
CycleNumber = Annotated[int, Path(ge=0, le=INTEGER, description="Number of a cycle, 0 for the first.")]
ModelId = Annotated[int, Path(ge=1, le=BIGINT)]
SessionNumber = Annotated[int, Path(ge=1, le=BIGINT)]
GalaxyId = Annotated[str, Path(pattern=TEXT, description="Survey id of a galaxy.")]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Items of a page.")]
After = Annotated[str, Query(pattern=r"^[^\x00]{0,200}$", description="`next` of the page before.")]
Before = Annotated[int | None, Query(ge=0, le=BIGINT, description="`next` of the page before.")]


class Record(BaseModel):
    """An answer made from a record's attributes."""

    model_config = ConfigDict(from_attributes=True)


class Page(BaseModel, Generic[Item]):
    """Some items, and where the next page begins; null at the end."""

    items: list[Item]
    next: str | int | None = None


class PauseOut(Record):
    """Who paused a campaign, when (UTC) and why."""

    reason: str
    actor: str
    at: datetime


class CampaignOut(BaseModel):
    """A campaign: its decisions of now, the newest cycle, and whether it is paused."""

    name: str
    version: int
    tree: str
    decisions: dict[str, Any]
    newest_cycle: int | None
    state: CycleState | None
    paused: PauseOut | None


class CycleOut(Record):
    """One cycle; times in UTC."""

    number: int
    state: CycleState
    left_from: CycleState | None
    catalogue_id: int
    champion_id: int | None
    candidate_id: int | None
    deadline: datetime | None
    created_at: datetime
    updated_at: datetime
    verdict: str | None = None


class StepOut(Record):
    """One step of a cycle; `seconds` in it, stops included."""

    step: CycleState
    state: str
    began: datetime | None
    ended: datetime | None
    seconds: float | None
    retries: int
    errors: list[str]


class CycleDetail(CycleOut):
    """One cycle with its steps and the subjects of its batch by state."""

    steps: list[StepOut]
    subjects: dict[SubjectState, int]


class ModelOut(Record):
    """One trained network; `card` is its lineage."""

    id: int
    cycle_number: int
    state: ModelState
    digest: str
    created_at: datetime
    card: dict[str, Any]


class CheckOut(Record):
    """One number the gate looked at, with its interval and margin."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    margin: float | None
    passed: bool
    detail: str


class DecisionOut(BaseModel):
    """The verdict of one cycle's gate, who gave it, and its evidence."""

    cycle: int
    verdict: Verdict | str
    actor: str
    decided_at: datetime
    n_galaxies: int
    n_votes: int
    checks: list[CheckOut]
    policy: dict[str, Any]


class GalaxyOut(Record):
    """One galaxy of the newest catalogue; position in deg, ICRS."""

    galaxy_id: str
    row: int
    ra_deg: float | None
    dec_deg: float | None
    unbiased: bool
    evaluation: bool


class HistoryOut(Record):
    """One thing that happened to a galaxy in the loop, in plain words; `cycle` is the number of the cycle."""

    at: datetime
    cycle: int | None
    what: str
    why: str


class GalaxyDetail(GalaxyOut):
    """One galaxy with its counted votes by answer column."""

    votes: dict[str, int]
    history: list[HistoryOut]


class SubjectOut(BaseModel):
    """One row of the upload ledger."""

    galaxy_id: str
    cycle_id: int
    state: SubjectState
    zooniverse_id: int | None
    n_votes: int
    attempts: int
    error: str | None
    updated_at: datetime


class AnswerOut(Record):
    """Posterior of one answer's vote fraction: mean, 5 % and 95 % quantile; `observed` is the volunteers'."""

    answer: str
    mean: float
    low: float
    high: float
    observed: float | None


class PredictionOut(BaseModel):
    """What a model expects of one galaxy; questions unlikely to be asked are left out."""

    galaxy_id: str
    model_id: int
    questions: dict[str, list[AnswerOut]]


class EventOut(Record):
    """One line of the audit."""

    at: datetime
    actor: str
    kind: str
    cycle_id: int | None
    detail: dict[str, Any]


class ExportOut(BaseModel):
    """A table that can be downloaded, and where."""

    name: str
    url: str


class Reason(BaseModel):
    """Why an operator acts; it stands in the audit."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=1000, pattern=r"^[^\x00]*\S[^\x00]*$")


class DecideIn(Reason):
    """An operator's answer to a held gate."""

    verdict: PersonVerdict


class RollBackIn(Reason):
    """Which earlier champion is to be live again."""

    model: int = Field(ge=1, le=BIGINT)


class ActOut(Record):
    """What an act did, in one sentence."""

    act: str
    campaign: str
    sentence: str
