"""What a campaign may ask of its volunteers, proposed from what they gave."""

from __future__ import annotations

from datetime import timedelta

from alservice.acquisition.votes import MIN_DAYS, BudgetProposal, days_until, forecast_votes
from alservice.app.jobs import Factory
from alservice.errors import NotFound


def propose_budget(factory: Factory, name: str, days: float | None) -> BudgetProposal:
    """Return a budget and a deadline for a campaign's cycles, seen from now.

    Parameters
    ----------
    days
        Days to forecast; the campaign's own deadline when left out.

    Raises
    ------
    NotFound
        If the campaign is unknown, or its votes go back less than a week.
    """
    row = factory.campaigns.get(name)
    policy = row.campaign.acquisition
    daily = factory.forecast().history(row.id, at=factory.clock())
    if len(daily) < MIN_DAYS:
        raise NotFound(f"campaign {name} has {len(daily)} whole days of votes, a forecast needs {MIN_DAYS}")
    horizon = timedelta(hours=row.campaign.collecting.deadline_hours) / timedelta(days=1) if days is None else days
    forecast = forecast_votes(daily, horizon)
    asked = policy.batch_galaxies * policy.votes_per_galaxy
    if policy.allocated is not None and policy.allocated.budget is not None:
        asked = policy.allocated.budget
    return BudgetProposal(
        forecast=forecast,
        galaxies=int(forecast.low // policy.votes_per_galaxy),
        asked=asked,
        days_needed=days_until(daily, asked),
    )
