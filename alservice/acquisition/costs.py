"""What a survey of a given size costs in votes, days of volunteers and GPU hours, and what fewer labels save."""

from __future__ import annotations

from dataclasses import dataclass

from alservice.errors import BadConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class CostModel:
    """Rates that turn labels into time.

    Parameters
    ----------
    votes_per_galaxy
        Classifications asked for each labelled galaxy.
    classifications_per_day
        What volunteers give the project; measured from the ledger, or assumed and said so.
    training_s, predicted_per_s
        Seconds of one training, and galaxies predicted per second, on the machine that did the measuring.
    trainings
        Trainings in all.
    """

    votes_per_galaxy: float
    classifications_per_day: float
    training_s: float
    predicted_per_s: float
    trainings: int

    def __post_init__(self) -> None:
        rates = (self.votes_per_galaxy, self.classifications_per_day, self.training_s, self.predicted_per_s)
        if min(rates) <= 0 or self.trainings < 1:
            raise BadConfig(f"a cost needs positive rates and at least one training: {self}")

    def cost(self, *, labels: float, survey: int) -> Cost:
        """Return the cost of labelling so many galaxies of a survey and predicting all of it after each training."""
        votes = labels * self.votes_per_galaxy
        machine_s = self.trainings * (self.training_s + survey / self.predicted_per_s)
        return Cost(votes=votes, volunteer_days=votes / self.classifications_per_day, machine_hours=machine_s / 3600)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Votes (classifications), days of all volunteers together, and hours of the machine."""

    votes: float
    volunteer_days: float
    machine_hours: float
