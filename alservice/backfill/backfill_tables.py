"""A backfill's findings as tables: savings, the last round, time, and what it means for a survey."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from alservice.acquisition.costs import CostModel
from alservice.backfill.plan import Round
from alservice.backfill.savings import Saving
from alservice.science.bootstrap import Estimate
from alservice.science.scorecard_table import TextTable

SURVEYS: Final = ((240_000, "GZ2"), (10_000_000, "DESI"), (1_000_000_000, "Rubin and Euclid"))
"""Galaxies of the surveys whose costs are tabled."""

CLASSIFICATIONS_PER_DAY: Final = 30_000.0
"""Assumed where no ledger has measured it: the order of Galaxy Zoo's quiet weeks."""

Runs = Sequence[Sequence[Round]]
"""The rounds of a policy, seed by seed."""


def savings_table(found: Sequence[Saving]) -> TextTable:
    """Return labels saved at equal error, both ways of counting, with 95 % intervals."""
    metric = found[0].metric if found else "-"
    return TextTable(
        title=f"Labels saved against random at equal {metric}, averaged over the curve; 95 % intervals over seeds and "
        "galaxies",
        head=("policy", "new labels", "with the initial set", "best point", "at the end", "mean gain", "seeds better"),
        rows=tuple(
            (
                s.policy,
                _percent(s.new_labels),
                _percent(s.all_labels),
                f"{100 * s.best:+.0f} %",
                f"{100 * s.at_end:+.0f} %",
                f"{s.gain.value:+.4f} [{s.gain.low:+.4f}, {s.gain.high:+.4f}]",
                f"{s.seeds_better} of {s.seeds}",
            )
            for s in found
        ),
    )


def rounds_table(policies: Sequence[tuple[str, Runs]]) -> TextTable:
    """Return the first and last round of every policy, means over seeds."""
    rows = []
    for policy, runs in policies:
        for place in (0, -1):
            rounds = [run[place] for run in runs]
            rows.append(
                (
                    policy,
                    f"{rounds[0].labels:,}",
                    f"{np.mean([r.votes for r in rounds]):,.0f}",
                    f"{np.mean([r.nll_per_vote for r in rounds]):.4f}",
                    _mean([r.rmse for r in rounds], "{:.4f}"),
                    _mean([r.coverage_error for r in rounds], "{:+.1%}"),
                )
            )
    return TextTable(
        title="First and last round, means over seeds; the votes are those of the labelled galaxies",
        head=("policy", "labels", "votes", "NLL/vote [nats]", "RMSE", "coverage error .10"),
        rows=tuple(rows),
    )


def floor_table(policies: Sequence[tuple[str, Runs]], *, noise: float | None, nll: float) -> TextTable:
    """Return how far first and last rounds are above what a perfect prediction would have, means over seeds.

    Parameters
    ----------
    noise, nll
        RMSE from the noise of the votes (None: not judged), and a lower bound of the NLL per vote (nats). The model's
        part of an RMSE is what is left of its square, as the two errors are independent.
    """
    rows = []
    for policy, runs in policies:
        for place in (0, -1):
            rounds = [run[place] for run in runs]
            found = np.mean([r.nll_per_vote for r in rounds])
            rows.append(
                (policy, f"{rounds[0].labels:,}", f"{found - nll:.4f}", _above([r.rmse for r in rounds], noise))
            )
    error = "" if noise is None else f", and an RMSE of {noise:.4f}"
    return TextTable(
        title=f"A perfect prediction would have an NLL of at least {nll:.4f} nats per vote{error}; what is above it",
        head=("policy", "labels", "NLL/vote above it [nats]", "RMSE without the noise"),
        rows=tuple(rows),
    )


def gate_table(policies: Sequence[tuple[str, Runs]]) -> TextTable:
    """Return how often the gate promoted, held and rejected, after first models."""
    kinds = ("promote", "hold", "reject")
    rows = []
    for policy, runs in policies:
        verdicts = [done.verdict for run in runs for done in run[1:]]
        rows.append((policy, *(str(verdicts.count(kind)) for kind in kinds)))
    return TextTable(
        title="The gate's verdicts on candidates after the first; a candidate that is not promoted does not choose",
        head=("policy", *kinds),
        rows=tuple(rows),
    )


def time_table(policies: Sequence[tuple[str, Runs]]) -> TextTable:
    """Return seconds per round by what they were spent on, means over seeds and rounds."""
    kinds = ("predict", "train", "evaluate")
    rows = []
    for policy, runs in policies:
        rounds = [done for run in runs for done in run[1:]]
        mean = [np.mean([r.seconds.get(kind, 0.0) for r in rounds]) if rounds else 0.0 for kind in kinds]
        whole = np.mean([sum(sum(r.seconds.values()) for r in run) for run in runs])
        rows.append((policy, *(f"{value:.1f}" for value in mean), f"{whole:.0f}"))
    return TextTable(
        title="Wall time in seconds per round, and per run; runs share the machine",
        head=("policy", *kinds, "whole run"),
        rows=tuple(rows),
    )


def cost_table(model: CostModel, saving: Saving, labels: int) -> TextTable:
    """Return what labelling costs, at random and as the policy chooses, for surveys of some sizes.

    Parameters
    ----------
    labels
        New labels that random drawing needs for the error that is compared.
    """
    rows = []
    for survey, name in SURVEYS:
        for kind, share in (("random", 0.0), (saving.policy, saving.new_labels.value)):
            cost = model.cost(labels=labels * (1 - share), survey=survey)
            rows.append(
                (
                    f"{name} ({survey:,})",
                    kind,
                    f"{labels * (1 - share):,.0f}",
                    f"{cost.votes:,.0f}",
                    f"{cost.volunteer_days:,.1f}",
                    f"{cost.machine_hours:,.1f}",
                )
            )
    return TextTable(
        title=f"At {model.votes_per_galaxy:.0f} votes a galaxy, {model.classifications_per_day:,.0f} classifications a "
        f"day (assumed); machine hours of {model.trainings} trainings and predictions of the survey as measured here",
        head=("survey", "choice", "new labels", "votes", "volunteer days", "machine hours"),
        rows=tuple(rows),
    )


def _above(rmse: Sequence[float | None], noise: float | None) -> str:
    """Return what is left of a mean square error without its noise, as a root."""
    squares = [value**2 for value in rmse if value is not None]
    if noise is None or not squares:
        return "-"
    left = np.mean(squares) - noise**2
    return f"{np.sqrt(left):.4f}" if left >= 0 else "none"


def _percent(estimate: Estimate) -> str:
    return f"{100 * estimate.value:+.0f} % [{100 * estimate.low:+.0f}, {100 * estimate.high:+.0f}]"


def _mean(values: Sequence[float | None], form: str) -> str:
    known = [value for value in values if value is not None]
    return form.format(np.mean(known)) if known else "-"
