"""Another model goes live by a person's word: promoted by name, or brought back; its weights are checked first."""

from __future__ import annotations

from dataclasses import dataclass

from alservice.campaigns.cycle_store import ModelStore
from alservice.campaigns.records import CampaignRow, Model, PromotionKind
from alservice.errors import NotFound
from alservice.registry.load_model import LoadModel
from alservice.registry.promotions import rollback_target
from alservice.science.tree import load_tree
from alservice.texts import check_actor, check_reason


@dataclass(frozen=True, kw_only=True)
class ChangeChampion:
    """Change the live model; the next predictions use it."""

    models: ModelStore
    load_model: LoadModel

    def promote(self, campaign: CampaignRow, model_id: int, *, actor: str, reason: str) -> Model:
        """Make a model the champion; the champion stays what it is.

        Raises
        ------
        NotFound, DigestMismatch
            The campaign has no such model, or its weights are gone or damaged.
        BadInput
            Reason or actor cannot stand in the audit, or the model follows another tree than the campaign's.
        Conflict
            The model's own cycle is open.
        """
        model = self.models.get(model_id)
        if model.campaign_id != campaign.id:
            raise NotFound(f"campaign {campaign.campaign.name} has no model {model_id}", model=model_id)
        return self._change(campaign, model, "person", actor=actor, reason=reason)

    def roll_back(self, campaign: CampaignRow, *, actor: str, reason: str) -> Model:
        """Bring back the model that the live one replaced; a second time, the one before that.

        Raises what `promote` does, `NotFound` when the live model replaced none.
        """
        target = self.models.get(rollback_target(self.models.promotions(campaign.id)))
        return self._change(campaign, target, "rollback", actor=actor, reason=reason)

    def _change(self, campaign: CampaignRow, model: Model, kind: PromotionKind, *, actor: str, reason: str) -> Model:
        check_reason(reason)
        check_actor(actor)
        champion = self.models.champion(campaign.id)
        if champion is not None and champion.id == model.id:
            return champion
        self.load_model.run(model, load_tree(campaign.campaign.tree))
        over = None if champion is None else champion.id
        return self.models.promote(model, over=over, actor=actor, reason=reason.strip(), kind=kind)
