"""Models of a campaign: listed, loaded, and made live by a person: promoted by name, or brought back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alservice.campaigns.store import CampaignRow, CampaignStore
from alservice.errors import NotFound
from alservice.network.architectures import Network, restored_network
from alservice.network.files import ModelCard, from_bytes
from alservice.registry.records import Model, Promotion, PromotionKind
from alservice.registry.store import ModelStore
from alservice.science.tree import Tree, load_tree
from alservice.storage import ObjectStore
from alservice.texts import check_actor, check_reason


def rollback_target(history: Sequence[Promotion]) -> int:
    """Return the model that the live one replaced when it was promoted, not when it was brought back.

    So a second rollback goes one further back, not forth again.

    Parameters
    ----------
    history
        Every change of the live model, oldest first.

    Raises
    ------
    NotFound
        No model is live, or the live one was the first.
    """
    live = history[-1].model_id if history else None
    replaced = [p.replaced_id for p in history if p.model_id == live and p.kind != "rollback"]
    target = replaced[-1] if replaced else None
    if target is None:
        raise NotFound("there is no earlier champion to go back to", live=live)
    return target


def load_model(objects: ObjectStore, model: Model, tree: Tree) -> tuple[Network, ModelCard]:
    """Return the network of a registered model, and its card.

    Raises
    ------
    NotFound, DigestMismatch
        The weights are gone, or are not the ones that were registered.
    BadInput
        They were trained on another tree, or are not those of the card's network.
    """
    state, card = from_bytes(objects.get(model.key), tree=tree)
    return restored_network(card.network, tree, state).eval(), card


@dataclass(frozen=True, kw_only=True)
class RegistryService:
    """Models by a campaign's name; whichever is live makes the next predictions."""

    campaigns: CampaignStore
    models: ModelStore
    objects: ObjectStore

    def history(self, name: str) -> tuple[Sequence[Model], Sequence[Promotion]]:
        """Return a campaign's models and the changes of the live one, oldest first."""
        campaign = self.campaigns.get(name)
        return self.models.list(campaign.id), self.models.promotions(campaign.id)

    def promote(self, name: str, model_id: int, *, actor: str, reason: str) -> Model:
        """Make a model the champion, its weights checked first; the champion stays what it is.

        Raises
        ------
        NotFound, DigestMismatch
            The campaign has no such model, or its weights are gone or damaged.
        BadInput
            Reason or actor cannot stand in the audit, or the model follows another tree than the campaign's.
        Conflict
            The model's own cycle is open.
        """
        campaign, model = self.campaigns.get(name), self.models.get(model_id)
        if model.campaign_id != campaign.id:
            raise NotFound(f"campaign {name} has no model {model_id}", model=model_id)
        return self._change(campaign, model, "person", actor=actor, reason=reason)

    def roll_back(self, name: str, *, actor: str, reason: str) -> Model:
        """Bring back the model that the live one replaced; a second time, the one before that.

        Raises what `promote` does, `NotFound` when the live model replaced none.
        """
        campaign = self.campaigns.get(name)
        target = self.models.get(rollback_target(self.models.promotions(campaign.id)))
        return self._change(campaign, target, "rollback", actor=actor, reason=reason)

    def _change(self, campaign: CampaignRow, model: Model, kind: PromotionKind, *, actor: str, reason: str) -> Model:
        check_reason(reason)
        check_actor(actor)
        champion = self.models.champion(campaign.id)
        if champion is not None and champion.id == model.id:
            return champion
        load_model(self.objects, model, load_tree(campaign.settings.tree))
        over = None if champion is None else champion.id
        return self.models.promote(model, over=over, actor=actor, reason=reason.strip(), kind=kind)
