"""The live workflow against the campaign's tree, before a single subject is sent."""

from __future__ import annotations

from dataclasses import dataclass

from alservice.core.tree import Tree
from alservice.core.workflows import AnswerMap, map_answers, tasks_of
from alservice.ports import Zooniverse


@dataclass(frozen=True, kw_only=True)
class ValidateCampaign:
    """Refuse to run on a workflow that asks something else than the tree."""

    zooniverse: Zooniverse

    def run(self, tree: Tree) -> AnswerMap:
        """Return how the workflow's answers map to the tree; an empty workflow is given the tree's tasks first.

        Raises
        ------
        WorkflowMismatch
            A task or answer is missing or differs; the message names it.
        """
        workflow = self.zooniverse.workflow()
        if not workflow.tasks:
            workflow = self.zooniverse.define_workflow(tasks_of(tree), tree.questions[0].task)
        return map_answers(tree, workflow)
