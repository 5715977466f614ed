"""The live workflow against the campaign's tree, before a single subject is sent."""

from __future__ import annotations

from dataclasses import dataclass

from alservice.core.campaign import Campaign
from alservice.core.tree import Tree
from alservice.core.workflows import AnswerMap, RetirementRule, map_answers, tasks_of
from alservice.ports import Zooniverse


@dataclass(frozen=True, kw_only=True)
class ValidateCampaign:
    """Refuse to run on a workflow that asks something else than the tree."""

    zooniverse: Zooniverse

    def run(self, campaign: Campaign, tree: Tree) -> AnswerMap:
        """Return how the workflow's answers map to the tree; an empty workflow is given the tree's tasks first.

        Raises
        ------
        WorkflowMismatch
            A task or answer is missing or differs, and the message names it; or subjects would retire before they
            have the votes that are asked for.
        """
        wanted = wanted_rule(campaign)
        workflow = self.zooniverse.workflow()
        if not workflow.tasks:
            workflow = self.zooniverse.define_workflow(tasks_of(tree), tree.questions[0].task, wanted)
        answer_map = map_answers(tree, workflow)
        self.zooniverse.retirement().require(wanted, workflow_id=workflow.workflow_id)
        return answer_map


def wanted_rule(campaign: Campaign) -> RetirementRule:
    """Return the rule that lets every subject have its votes."""
    own = campaign.zooniverse.retirement == "own"
    return RetirementRule(count=None if own else campaign.acquisition.votes_per_galaxy)
