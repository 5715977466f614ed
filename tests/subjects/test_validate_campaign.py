"""The live workflow: what it asks, and how long it shows a subject."""

from dataclasses import replace

import pytest

from alservice.campaigns.campaign import Tier, ZooniverseTarget
from alservice.science.tree import load_tree
from alservice.subjects.validate import ValidateCampaign
from alservice.zooniverse.workflow import RetirementRule, WorkflowMismatch, tasks_of
from tests.support.fake_zooniverse import FakeZooniverse, Weather
from tests.support.worlds import make_campaign

TREE = load_tree("gz2")
NEVER = RetirementRule(count=None)


@pytest.fixture
def zooniverse():
    """A project with an empty workflow."""
    return FakeZooniverse(Weather(lambda _n, _name: None))


@pytest.mark.parametrize(("retirement", "rule"), [("own", NEVER), ("panoptes", RetirementRule(count=3))])
def test_an_empty_workflow_is_given_questions_and_the_rule_that_fits(zooniverse, retirement, rule) -> None:
    """Subjects live until they have their votes, whoever retires them."""
    campaign = make_campaign(zooniverse=ZooniverseTarget(retirement=retirement))
    answers = ValidateCampaign(zooniverse=zooniverse).run(campaign, TREE)
    assert len(answers.columns) == len(TREE.questions)
    assert zooniverse.retirement() == rule


@pytest.mark.parametrize(
    ("retirement", "found"),
    [("own", RetirementRule(count=1000)), ("panoptes", RetirementRule(count=2))],
)
def test_a_rule_that_retires_too_early_is_refused(zooniverse, retirement, found) -> None:
    """Galaxies would lack votes and nobody would know why."""
    zooniverse.define_workflow(tasks_of(TREE), TREE.questions[0].task, found)
    campaign = make_campaign(zooniverse=ZooniverseTarget(retirement=retirement))
    with pytest.raises(WorkflowMismatch, match=f"workflow 10 retires by {found}"):
        ValidateCampaign(zooniverse=zooniverse).run(campaign, TREE)


@pytest.mark.parametrize("found", [NEVER, RetirementRule(count=3), RetirementRule(count=99)])
def test_a_workflow_that_asks_longer_is_left_alone(zooniverse, found) -> None:
    """More votes than were asked for are no fault of a live workflow."""
    zooniverse.define_workflow(tasks_of(TREE), TREE.questions[0].task, found)
    ValidateCampaign(zooniverse=zooniverse).run(make_campaign(), TREE)
    assert zooniverse.retirement() == found


def test_each_tier_is_a_campaign_of_its_own() -> None:
    """A tier's workflow, set and votes take the place of the campaign's."""
    tiers = (Tier(votes=3, subject_set="few", workflow_id=11), Tier(votes=40, subject_set="many", workflow_id=12))
    campaign = make_campaign(zooniverse=ZooniverseTarget(tiers=tiers))
    few, many = campaign.by_tier()[3], campaign.by_tier()[40]
    assert (few.zooniverse.subject_set, few.zooniverse.workflow_id, few.zooniverse.tiers) == ("few", 11, ())
    assert (many.zooniverse.subject_set, many.acquisition.votes_per_galaxy) == ("many", 40)
    assert campaign.zooniverse.workflow_ids == {11, 12}
    plain = replace(campaign, zooniverse=ZooniverseTarget())
    assert plain.by_tier() == {3: plain}
    assert plain.zooniverse.workflow_ids == {10}
