"""Drafts -> live subjects, exactly once, whatever dies and when.

Each row of the ledger walks ``planned -> creating -> created -> verified -> live`` and is written before and
after every step that Zooniverse could take twice, so that running again continues from any point:

- A row found ``creating`` may or may not exist there. After a settling delay one listing tells: the subject
  that carries its key is adopted, or the row is planned again. No batch starts while a create is in doubt.
- The first create of a batch is sent alone, and the others only once its id is recorded. Ids grow, so what
  the others leave behind lies above it: a run that died is reconciled from its lowest recorded id up.
- An upload URL dies within minutes and cannot be had again. So a subject whose image is not there when it is
  fetched back, as with every adopted one, is deleted and its row planned again.
- Subjects are linked last, in hundreds, by one thread. What was never linked was never shown to anyone.
- A batch goes in waves, one settled before the next begins, so each of these rules holds wave by wave.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alservice.campaigns.campaign import Campaign
from alservice.campaigns.cycle import Cycle
from alservice.subjects.one_subject import EXISTING
from alservice.subjects.publish import Wave
from alservice.subjects.publishing import Publishing, PublishReport, total
from alservice.subjects.subject import SubjectDraft, VotesAsked
from alservice.workers import Workers


@dataclass(frozen=True)
class PublishSubjects(Publishing):
    """Upload a batch; calling it again with the same drafts finishes what is unfinished."""

    def publish(
        self, cycle: Cycle, campaign: Campaign, drafts: Sequence[SubjectDraft], n_votes: VotesAsked
    ) -> PublishReport:
        """Make every draft a live subject, or record why it cannot be one.

        Raises
        ------
        ZooniverseUnavailable, ObjectStoreUnavailable
            The outside failed too often; rows keep their place and the same call continues.
        AllowanceExhausted, ZooniverseRefused
            A person must act first; then the same call continues.
        """
        self.ledger.intend(cycle, drafts, n_votes=n_votes)  # all are intended before the first is sent
        self._check_allowance(cycle.campaign_id, drafts)
        set_id = self.zooniverse.ensure_subject_set(campaign.zooniverse.subject_set)
        reports = []
        self.progress.start("publish subjects", len(drafts))
        try:
            with Workers(self.policy.connections - 1) as workers:
                for first in range(0, len(drafts), self.policy.wave):
                    wave = drafts[first : first + self.policy.wave]
                    run = Wave(self, wave, self.ledger.plan(cycle, wave, n_votes=n_votes), workers)
                    run.create(cycle.campaign_id, set_id)
                    run.confirm(set_id)
                    reports.append(run.report())
        finally:
            self.progress.finish()
        return total(reports)

    def _check_allowance(self, campaign_id: int, drafts: Sequence[SubjectDraft]) -> None:
        """Refuse a batch that cannot be finished before its first create is sent."""
        due = {draft.galaxy_id for draft in drafts}
        due -= {row.galaxy_id for row in self.ledger.of_campaign(campaign_id) if row.state in EXISTING}
        self.spend(campaign_id, len(due))
