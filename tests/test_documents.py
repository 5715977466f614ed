"""Documents of records: the JSON that was always written, and errors that name the field when it is read."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from alservice.access import Scope, Token, WebSession
from alservice.backfill.plan import BackfillPlan
from alservice.campaigns.campaign import Campaign
from alservice.campaigns.policies import GatePolicy
from alservice.learning.drift import DriftSample
from alservice.learning.lineage import GalaxyLineage, Lineage, ModelLineage
from alservice.network.architectures import NetworkConfig
from alservice.network.config import FitConfig
from alservice.network.files import ModelCard
from alservice.registry.records import Check, GateDecision, Promotion
from alservice.states import ModelState
from alservice.votes.classification import Quarantine, QuarantinedRow
from alservice.votes.counting import FeedComparison, FeedDifference
from alservice.votes.service import IngestReport
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
    return record.document()


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_documents_are_written_as_they_always_were(name: str) -> None:
    """Letter by letter, order of names included: digests are of it, and older readers know it."""
    assert json.dumps(document(RECORDS[name]), allow_nan=False) == GOLDEN[name]


def test_every_golden_document_is_of_a_record() -> None:
    """None is left over."""
    assert set(GOLDEN) == set(RECORDS)
