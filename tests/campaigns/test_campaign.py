"""Campaigns: one set of rules, whatever document they came from."""

from pathlib import Path

import pytest

from alservice.campaigns.campaign import (
    AcquisitionPolicy,
    Campaign,
    StoppingRule,
    Tier,
    ZooniverseTarget,
    load_campaign_file,
    parse_campaign,
)
from alservice.campaigns.policies import Arm
from alservice.documents import document_of
from alservice.errors import BadConfig, BadTree
from tests.support.shared import ROOT

GOOD = {"name": "gz2", "tree": "gz2"}
OWN = {"zooniverse": {"retirement": "own"}}


def stopping(**rule: object) -> dict[str, object]:
    """Return a document of a campaign that stops asking by a rule."""
    return {"zooniverse": {"retirement": "posterior", "stopping": rule}}


@pytest.mark.parametrize("path", sorted((ROOT / "deploy" / "campaigns").glob("*.yaml")), ids=lambda p: p.name)
def test_every_example_is_a_legal_campaign(path: Path) -> None:
    """What the README points at can be created."""
    assert load_campaign_file(path).name == path.stem


def test_a_document_round_trips() -> None:
    """What SQL stores is what was decided."""
    acquisition = {"question_weights": {"bar": 2}, "policy": "epig", "allocated": {"tiers": [3, 9]}}
    campaign = parse_campaign({**GOOD, **OWN, "acquisition": acquisition}, source="test")
    again = parse_campaign(document_of(campaign), source="row")
    assert again == campaign
    assert again.digest == campaign.digest


def test_a_stopping_rule_has_defaults_and_keeps_within_the_votes_asked_for() -> None:
    """The rule may be left out; what a galaxy is asked bounds it, and what a person asks may be less than its least."""
    campaign = parse_campaign({**GOOD, "zooniverse": {"retirement": "posterior"}}, source="test")
    rule = campaign.zooniverse.rule
    assert rule == StoppingRule()
    assert (rule.policy(40).max_votes, rule.policy(40).min_votes) == (40, 3)
    assert (rule.policy(2).max_votes, rule.policy(2).min_votes) == (2, 2)
    assert StoppingRule(max_votes=20).policy(40).max_votes == 20
    assert campaign.zooniverse.retires
    assert parse_campaign({**GOOD, **OWN}, source="test").zooniverse.rule is None
    again = parse_campaign({**GOOD, **stopping(questions=["bar"])}, source="test")
    assert parse_campaign(document_of(again), source="row") == again


def test_who_judges_may_be_asked_more():
    """The random and the evaluation arm have a number of their own; a tier has one for all."""
    policy = AcquisitionPolicy(
        batch_galaxies=100, random_share=0.2, easy_share=0.1, votes_per_galaxy=5, reference_votes=40
    )
    assert {arm: policy.votes_of(arm) for arm in Arm} == {
        Arm.EVALUATION: 40,
        Arm.RANDOM: 40,
        Arm.EASY: 5,
        Arm.REQUESTED: 5,
        Arm.INFORMATIVE: 5,
    }
    assert (policy.other_votes, policy.fixed_votes) == (20 * 40 + 10 * 5, 20 * 40 + 80 * 5)
    tiers = tuple(Tier(votes=votes, subject_set=str(votes), workflow_id=votes) for votes in (5, 40))
    campaign = Campaign(**GOOD, acquisition=policy, zooniverse=ZooniverseTarget(tiers=tiers))
    assert {votes: tier.acquisition.judging_votes for votes, tier in campaign.by_tier().items()} == {5: 5, 40: 40}


def test_every_decision_changes_the_digest() -> None:
    """A cycle can tell which decisions it ran under."""
    assert Campaign(**GOOD).digest != Campaign(**GOOD, hold_hours=1).digest


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"acquisition": {"batch_galaxies": 0}}, "acquisition"),
        ({"acquisition": {"batch_galaxie": 5}}, "acquisition.batch_galaxie"),
        ({"acquisition": {"random_share": "most"}}, "acquisition.random_share"),
        ({"acquisition": {"question_weights": {"bars": 1}}}, "bars"),
        ({"evaluation": {"fraction": 1.5}}, "evaluation"),
        ({"evaluation": {"answer": "smooth"}}, "evaluation.answer"),
        (
            {"acquisition": {"policy": "badge"}},
            r"acquisition\.policy: .*'bald', 'epig', 'power_bald', 'softmax_bald', 'batch_bald', 'batch_epig', 'random'",
        ),
        ({"acquisition": {"random_share": 0.6, "easy_share": 0.5}}, "easy_share"),
        ({"acquisition": {"policy": "threshold", "threshold_answer": "fuzzy"}}, "threshold_answer.*fuzzy"),
        ({"acquisition": {"allocated": {"tiers": [10, 5]}}, **OWN}, "tiers"),
        ({"acquisition": {"allocated": {"budget": 100}}, **OWN}, "budget is below the 1515 votes"),
        ({"acquisition": {"allocated": {}}}, r"acquisition\.allocated needs .*retirement"),
        ({"acquisition": {"reference_votes": 20}}, r"acquisition\.reference_votes needs .*retirement"),
        ({"acquisition": {"reference_votes": 0}, **OWN}, r"acquisition\.reference_votes must be 1 to 1000, not 0"),
        ({**stopping(min_votes=8), "acquisition": {"votes_per_galaxy": 5, "reference_votes": 40}}, "asks for 5 votes"),
        ({"images": {"channels": 2}}, "images.channels"),
        ({"zooniverse": {"endpoint": "ftp://x"}}, "zooniverse"),
        ({"zooniverse": {"endpoint": "http://x/"}}, "zooniverse"),
        ({"zooniverse": {"endpoint": "https://x/path"}}, r"zooniverse\.endpoint must be"),
        ({"zooniverse": {"endpoint": "https://x?a=b"}}, r"zooniverse\.endpoint must be"),
        ({"zooniverse": {"endpoint": "https://www.zooniverse.org\\.example.org"}}, r"zooniverse\.endpoint must be"),
        (stopping(confidence=0.5), r"zooniverse\.stopping\.confidence must lie in \(0\.5, 1\), not 0\.5"),
        (stopping(confidence=1), r"zooniverse\.stopping\.confidence"),
        (stopping(min_votes=12, max_votes=10), r"zooniverse\.stopping\.min_votes \(12\) is above .*max_votes \(10\)"),
        (stopping(min_votes=-1), r"zooniverse\.stopping\.min_votes"),
        (stopping(min_votes=41), r"zooniverse\.stopping\.min_votes is 41, and acquisition asks for 40"),
        (stopping(max_votes=0), r"zooniverse\.stopping\.max_votes"),
        (stopping(target_sd=0.0), r"zooniverse\.stopping\.target_sd must lie in \(0, 0\.5\)"),
        (stopping(target_sd=0.5), r"zooniverse\.stopping\.target_sd"),
        (stopping(min_information=0), r"zooniverse\.stopping\.min_information"),
        (stopping(min_gain=0), r"zooniverse\.stopping\.min_gain"),
        (stopping(min_asked=1.5), r"zooniverse\.stopping\.min_asked"),
        (stopping(min_weight=-1), r"zooniverse\.stopping\.min_weight"),
        (stopping(rule="entropy"), r"zooniverse\.stopping\.rule: .*'label', 'precision'"),
        (stopping(questions=["rings"]), r"zooniverse\.stopping\.questions: tree gz2 has no question rings"),
        (
            {"zooniverse": {"retirement": "own", "stopping": {}}},
            r"zooniverse\.stopping goes with retirement 'posterior'",
        ),
        ({"zooniverse": {"stopping": {"rule": "label"}}}, r"zooniverse\.stopping goes with retirement 'posterior'"),
        ({**stopping(), "counting": {"after_retirement": "excluded"}}, r"counting\.after_retirement must be 'counted'"),
        ({"name": "My Survey"}, "name"),
        ({"seeds": 3}, "seeds"),
    ],
)
def test_a_bad_field_is_named(change: dict[str, object], named: str) -> None:
    """The message leads to the field, and to the source."""
    with pytest.raises(BadConfig, match=rf"test\.yaml.*{named}"):
        parse_campaign({**GOOD, **change}, source="test.yaml")


def test_an_unknown_tree_is_refused() -> None:
    """The message lists the trees there are."""
    with pytest.raises(BadTree, match="gz-decals-dr5"):
        parse_campaign({**GOOD, "tree": "gz3"}, source="test")


@pytest.mark.parametrize("text", ["- a\n- b\n", "name: [", ""])
def test_a_file_that_is_no_mapping_is_named(tmp_path: Path, text: str) -> None:
    """Not YAML, or not a campaign: the file is named."""
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(BadConfig, match=r"bad\.yaml"):
        load_campaign_file(path)


def test_a_path_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A folder in place of a file is no accident of Python's, and neither is a file that is not there."""
    with pytest.raises(BadConfig, match=f"{tmp_path}: cannot be read"):
        load_campaign_file(tmp_path)
    with pytest.raises(BadConfig, match="no such file"):
        load_campaign_file(tmp_path / "absent.yaml")


@pytest.mark.parametrize("change", [{"name": "a b"}, {"acquisition": {"batch_galaxies": 0}}])
def test_a_rule_of_ours_is_said_once(change: dict[str, object]) -> None:
    """The message has our sentence, without the words that pydantic and a nested error put before it."""
    with pytest.raises(BadConfig) as caught:
        parse_campaign({**GOOD, **change}, source="test")
    assert "Value error" not in str(caught.value)
    assert str(caught.value).count("[bad-config]") == 1


def test_a_whole_number_for_a_fraction_is_the_same_decision() -> None:
    """A campaign read back from SQL has the digest it was stored under, however its numbers were spelled."""
    spelled = Campaign(**GOOD, hold_hours=0)
    assert parse_campaign(document_of(spelled), source="row").digest == spelled.digest


@pytest.mark.parametrize(
    "endpoint",
    ["https://me:mine@www.zooniverse.org", "https://www.zooniverse.org@example.org", "http://:mine@[::1]:80"],
)
def test_a_login_in_an_endpoint_is_refused_and_not_repeated(endpoint: str) -> None:
    """An address is stored, shown and logged; the kind: a secret where no secret belongs."""
    with pytest.raises(BadConfig, match="must not contain a login") as refusal:
        parse_campaign({**GOOD, "zooniverse": {"endpoint": endpoint}}, source="test.yaml")
    assert "mine" not in str(refusal.value)


@pytest.mark.parametrize(
    ("endpoint", "needs"),
    [
        ("standin", False),
        ("https://www.zooniverse.org", False),
        ("https://panoptes-staging.zooniverse.org", False),
        ("http://127.0.0.1:8100", False),
        ("http://[::1]:8100", False),
        ("http://localhost:8100", False),
        ("http://www.zooniverse.org", True),
        ("https://www.zooniverse.org:8443", True),
        ("https://www.zooniverse.org.example.org", True),
        ("https://panoptes.example.org", True),
        ("http://127.0.0.1.example.org", True),
        ("http://0.0.0.0:8100", True),
        ("http://10.0.0.1", True),
    ],
)
def test_which_endpoints_need_a_permission(endpoint: str, needs: bool) -> None:
    """Zooniverse's two sites, as they are written, and this machine do not; whatever else looks like them does."""
    campaign = parse_campaign({**GOOD, "zooniverse": {"endpoint": endpoint}}, source="test.yaml")
    assert campaign.zooniverse.needs_permission is needs
