"""The live workflow against the campaign's tree, before a single subject is sent."""

from __future__ import annotations

from dataclasses import dataclass

from alservice.campaigns.campaign import Campaign
from alservice.science.tree import Tree
from alservice.zooniverse import Zooniverse
from alservice.zooniverse.workflow import AnswerMap, RetirementRule, Workflow, map_answers, tasks_of


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
        found = self.look(campaign, tree)
        if found is not None:
            return found
        workflow = self.zooniverse.define_workflow(tasks_of(tree), tree.questions[0].task, wanted_rule(campaign))
        return self._judge(campaign, tree, workflow)

    def look(self, campaign: Campaign, tree: Tree) -> AnswerMap | None:
        """Return the same and change nothing: None for an empty workflow; raises `WorkflowMismatch`."""
        workflow = self.zooniverse.workflow()
        return self._judge(campaign, tree, workflow) if workflow.tasks else None

    def _judge(self, campaign: Campaign, tree: Tree, workflow: Workflow) -> AnswerMap:
        answer_map = map_answers(tree, workflow)
        self.zooniverse.retirement().require(wanted_rule(campaign), workflow_id=workflow.workflow_id)
        return answer_map


def wanted_rule(campaign: Campaign) -> RetirementRule:
    """Return the rule that lets every subject have its votes."""
    return RetirementRule(count=None if campaign.zooniverse.retires else campaign.acquisition.votes_per_galaxy)
