"""Documents of records: the JSON that was always written, and errors that name the field when it is read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from alservice.access import Scope, Token, WebSession
from alservice.backfill.plan import BackfillPlan
from alservice.campaigns.campaign import Campaign
from alservice.campaigns.policies import GatePolicy
from alservice.documents import BadDocument, document_of, record_of
from alservice.learning.drift import DriftSample
from alservice.learning.lineage import GalaxyLineage, Lineage, ModelLineage
from alservice.network.architectures import NetworkConfig
from alservice.network.config import FitConfig
from alservice.network.files import ModelCard
from alservice.registry.records import Check, GateDecision, Promotion
from alservice.states import ModelState
from alservice.votes.classification import Quarantine, QuarantinedRow
from alservice.votes.counting import FeedComparison, FeedDifference
from alservice.votes.ingest import IngestReport
from alservice.votes.weights import QuestionChange, Sensitivity
from tests.support.backfills import a_round

AT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
CHECK = Check(name="nll-per-vote", value=0.1, low=-0.2, high=0.3, margin=0.002, passed=True, detail="On 120 galaxies.")
NOTE = Check(name="rmse bar", value=None, low=None, high=None, margin=None, passed=True, detail="Skipped.")
DECISION = GateDecision(
    verdict="hold", n_galaxies=120, n_votes=4800, checks=(CHECK, NOTE), policy=GatePolicy(min_galaxies=50)
)
NETWORK = NetworkConfig(name="small", image_px=16)
TRAINING = FitConfig(network=NETWORK, steps=20)
LINEAGE = ModelLineage(
    model_id=3,
    digest="d" * 64,
    state=ModelState.CHAMPION,
    cycle=2,
    snapshot_key="tallies/aa/k",
    snapshot_digest="s" * 64,
    snapshot_votes=400,
    data_digest="e" * 64,
    n_galaxies=10,
    n_votes=380,
    seed=7,
    code_revision="r",
    network="small",
    tree_hash="t" * 64,
    parent_digest=None,
    decision=DECISION,
    promotions=(Promotion(model_id=3, replaced_id=None, kind="gate", actor="loop", reason="the gate", at=AT),),
)
GALAXY = GalaxyLineage(
    galaxy_id="g1",
    catalogue_id=1,
    catalogue_source="sky",
    catalogue_digest="c" * 64,
    image_key="images/aa/k",
    posterior_key=None,
    role="trained on",
    votes=40,
)
ROW = QuarantinedRow(classification_id=None, source="file", row=7, reason="no metadata")
RECORDS = {
    "token": Token(
        id=1, name="ops", scope=Scope.OPERATE, created_at=AT, expires_at=None, revoked_at=AT, last_used_at=None
    ),
    "session": WebSession(
        id=1,
        token_id=2,
        token_name="ops",
        created_at=AT,
        last_seen_at=AT,
        expires_at=AT,
        address="127.0.0.1",
        user_agent="é",
    ),
    "fit": TRAINING,
    "card": ModelCard(
        network=NETWORK,
        training={"steps": 20},
        tree="gz2",
        tree_hash="t" * 64,
        data_digest="0" * 64,
        n_galaxies=4,
        n_votes=40,
        seed=1,
        code_revision="r",
        history=({"step": 10, "train": 1.5, "hold_out": 1.25},),
    ),
    "plan": BackfillPlan(question="bar", initial=8, batch=4, rounds=2, pool=100),
    "round": a_round(),
    "decision": DECISION,
    "drift": DriftSample(samples={"size": (0.5, 1.0)}, votes_per_hour=12.5, labels={"bar": (3, 4)}),
    "model lineage": LINEAGE,
    "lineage": Lineage(galaxy=GALAXY, models=(LINEAGE,)),
    "campaign": Campaign(name="test", tree="gz2"),
    "quarantine": Quarantine(reasons={"no metadata": 1}, rows=[ROW]),
    "ingest": IngestReport(requested=3, landed=2, quarantined=0, excluded={"too-fast": 1}, new=2, warnings=("gap",)),
    "feeds": FeedComparison(
        counts_from="classifications",
        galaxies=2,
        differences=(FeedDifference(galaxy_id="g1", question="bar", classifications=(1, 2), reductions=(1, 3)),),
        totals={"bar": (3, 4)},
        unread={},
    ),
    "weights": Sensitivity(
        galaxies=2,
        volunteers=3,
        votes=40,
        changed=1,
        rounds=4,
        settled=True,
        histogram=(0, 3),
        questions=(QuestionChange(question="bar", galaxies=2, changed=1, mean_shift=0.1, largest_shift=0.2),),
    ),
}
GOLDEN = json.loads((Path(__file__).parent / "data" / "documents.json").read_text(encoding="utf-8"))


def document(record):
    """Return a record's document."""
    return record.document() if hasattr(record, "document") else document_of(record)


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_documents_are_written_as_they_always_were(name: str) -> None:
    """Letter by letter, order of names included: digests are of it, and older readers know it."""
    assert json.dumps(document(RECORDS[name]), allow_nan=False) == GOLDEN[name]


def test_every_golden_document_is_of_a_record() -> None:
    """None is left over."""
    assert set(GOLDEN) == set(RECORDS)


@pytest.mark.parametrize("name", sorted(n for n, r in RECORDS.items() if not hasattr(r, "document")))
def test_records_come_back(name: str) -> None:
    """By the types of their fields: tuples, enums and times are what they were."""
    record = RECORDS[name]
    found = record_of(type(record), json.loads(GOLDEN[name]))
    assert json.dumps(document_of(found)) == GOLDEN[name]
    if name not in {"card", "quarantine"}:  # which were made with other kinds of sequences
        assert found == record


class Kind(StrEnum):
    """One of two."""

    ONE = "one"
    TWO = "two"


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A record inside another."""

    kind: Kind
    at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Whole:
    """One field of every sort."""

    number: float
    count: int = 0
    flag: bool = False
    word: Literal["a", "b"] = "a"
    path: Path | None = None
    pair: tuple[int, str] = (1, "x")
    parts: tuple[Part, ...] = ()
    by_name: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    either: Part | float | None = None
    anything: Any = None


WHOLE = Whole(
    number=0.5,
    count=3,
    flag=True,
    word="b",
    path=Path("a/b"),
    pair=(2, "y"),
    parts=(Part(kind=Kind.TWO, at=AT), Part(kind=Kind.ONE)),
    by_name={"size": (1.0, 2.5)},
    either=Part(kind=Kind.ONE),
    anything={"n": [1]},
)


def test_every_sort_of_field_comes_back() -> None:
    """Also from JSON, which knows no tuples; a float may be written as a whole number."""
    assert record_of(Whole, json.loads(json.dumps(document_of(WHOLE)))) == WHOLE
    assert record_of(Whole, {"number": 1, "either": 2.5}) == Whole(number=1, either=2.5)


def test_numbers_of_numpy_are_plain() -> None:
    """JSON has no others."""
    whole = Whole(number=np.float64(0.5), count=np.int64(3), flag=np.bool_(True))
    assert json.dumps(document_of(whole)) == json.dumps(document_of(Whole(number=0.5, count=3, flag=True)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"numbr": 1.0}, r"Whole\.numbr is unknown"),
        ({"number": "1"}, r"Whole\.number is str '1'"),
        ({"number": True}, r"Whole\.number is bool"),
        ({"number": None}, r"Whole\.number is NoneType"),
        ({"count": 1.5}, r"Whole\.count is float"),
        ({"flag": 1}, r"Whole\.flag is int"),
        ({"word": "c"}, r"Whole\.word is str 'c'"),
        ({"word": []}, r"Whole\.word is list"),
        ({"pair": [1]}, r"Whole\.pair has 1 values, not 2"),
        ({"pair": "1x"}, r"Whole\.pair is no list but str"),
        ({"parts": [{"kind": "one"}, {"kind": "three"}]}, r"Whole\.parts\[1\]\.kind is str 'three'"),
        ({"parts": [{}]}, r"Whole\.parts\[0\]\.kind is missing"),
        ({"parts": [3]}, r"Whole\.parts\[0\] is no object but int"),
        ({"parts": [{"kind": "one", "at": "noon"}]}, r"Whole\.parts\[0\]\.at is str 'noon'"),
        ({"by_name": {"size": [1.0, "x"]}}, r"Whole\.by_name\.size\[1\] is str 'x'"),
        ({"by_name": []}, r"Whole\.by_name is no object but list"),
        ({"path": 3}, r"Whole\.path is int"),
        ({"either": "x"}, r"Whole\.either is str 'x'"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, object], said: str) -> None:
    """The error has a code of its own, and says where in the document it is."""
    with pytest.raises(BadDocument, match=said):
        record_of(Whole, document_of(WHOLE) | changes)
    with pytest.raises(BadDocument, match=r"Whole\.number is missing"):
        record_of(Whole, {})
    with pytest.raises(BadDocument, match="Whole is no object but list"):
        record_of(Whole, [])


def test_what_json_has_not_is_refused() -> None:
    """An array in a record, or no record at all, is a mistake of ours and not of a document."""
    with pytest.raises(TypeError, match=r"Whole\.anything\[0\] is ndarray"):
        document_of(Whole(number=1.0, anything=[np.zeros(2)]))
    with pytest.raises(TypeError, match="dict is no record"):
        document_of({})
