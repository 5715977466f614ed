"""Runs beside the cycle: ledger and Zooniverse, parts tried, predictions out of turn, indices, people forgotten."""

from __future__ import annotations

from prefect import flow, task
from prefect.client.schemas.objects import State
from prefect.states import Completed

from alservice.app import diagnose, open_app
from alservice.campaigns.cycle import CycleState
from alservice.cycle.readiness import NEEDS, Finding, Flight
from alservice.cycle.steps import Need
from alservice.errors import Terminal
from flows.artifacts import findings_artifact, reconcile_artifact
from flows.naming import first_name, labelled
from flows.ready import check_ready
from flows.tasks import RETRIES, RETRY_DELAYS_S, CampaignName, actor, if_retriable

HOUR_S = 3600

PREDICTING = NEEDS[CycleState.PREDICTING] | {Need.CATALOGUE}
"""What predicting out of turn needs: what it needs in a cycle, and a catalogue."""


class LedgerDiffers(Terminal):
    """Ledger and Zooniverse differ; the run's artifact names every difference."""

    code = "ledger-differs"
    remedy = "Run `alservice reconcile --campaign C --repair`; the runbook says what is left to a person."


class FlightCheckFailed(Terminal):
    """A part that the service needs does not work; the run's artifact says which and what to do."""

    code = "flight-check-failed"
    remedy = "Do what the run's artifact says beside each part, or run `alservice doctor` where the worker runs."


@flow(name="reconcile", flow_run_name=first_name, timeout_seconds=12 * HOUR_S)
def reconcile(campaign: CampaignName, repair: bool = False) -> State[None]:
    """Compare the upload ledger with Zooniverse; fail while anything is off. Safe at any time.

    Args:
        campaign: Name of the campaign, as given to `alservice campaign create`.
        repair: Set right what a machine may; the rest is listed.
    """
    needs = frozenset({Need.LOGIN, Need.RIGHTS} if repair else {Need.LOGIN})
    with labelled(campaign):
        check_ready(campaign, Flight(name="reconcile", always=needs))
        agree = compare(campaign, repair)
    if not agree:
        raise LedgerDiffers(f"the ledger of {campaign} and Zooniverse differ: the report says in what")
    return Completed(message=f"the ledger of {campaign} and Zooniverse agree")


@task(
    task_run_name="{campaign}: compare ledger",
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_S,
    retry_condition_fn=if_retriable,
)
def compare(campaign: str, repair: bool) -> bool:
    """Compare tier by tier, publish the report; return whether nothing differs any more."""
    with open_app() as factory, factory.sites.opened(campaign):
        outcomes = factory.subjects.reconcile(campaign, repair=repair, actor=actor())
    reconcile_artifact(campaign, [outcome.text() for outcome in outcomes])
    return all(outcome.is_clean for outcome in outcomes)


@flow(name="flight-check", flow_run_name="flight-check", timeout_seconds=HOUR_S // 4)
def flight_check() -> State[None]:
    """Try every part through its adapter: disk, database, schema, object store, device, Prefect, Zooniverse."""
    findings = inspect_parts()
    findings_artifact(findings)
    broken = [finding.part for finding in findings if not finding.ok]
    if broken:
        raise FlightCheckFailed(f"{len(broken)} of {len(findings)} parts do not work: {', '.join(broken)}")
    return Completed(message=f"all {len(findings)} parts work")


@task(task_run_name="inspect parts")
def inspect_parts() -> list[Finding]:
    """Return what was seen of each part."""
    return list(diagnose())


@flow(name="predict-only", flow_run_name=first_name, timeout_seconds=48 * HOUR_S)
def predict_only(campaign: CampaignName) -> State[None]:
    """Predict every galaxy of the newest catalogue with the champion; no cycle is touched.

    Predictions that exist are kept, and the next cycle finds what this run made: a run ahead of time costs nothing.

    Args:
        campaign: Name of the campaign, as given to `alservice campaign create`.
    """
    with labelled(campaign):
        check_ready(campaign, Flight(name="predict-only", always=PREDICTING))
        done, failed = predict_out_of_turn(campaign)
    return Completed(message=f"{done:,} galaxies of {campaign} are predicted, {failed:,} images failed")


@task(
    task_run_name="{campaign}: predict",
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_S,
    retry_condition_fn=if_retriable,
)
def predict_out_of_turn(campaign: str) -> tuple[int, int]:
    """Predict with the champion; return how many galaxies were done, and failed."""
    with open_app() as factory:
        return factory.prediction.newest(campaign)


@flow(name="explore-build", flow_run_name=first_name, timeout_seconds=6 * HOUR_S)
def explore_build(campaign: CampaignName) -> State[None]:
    """Build the explorer's index where it is due: champion or catalogue are newer, or its votes a week old.

    The index before answers until the new one is whole; a run that was killed left nothing, and the next one builds.

    Args:
        campaign: Name of the campaign, as given to `alservice campaign create`.
    """
    with labelled(campaign):
        return Completed(message=build_where_due(campaign))


@task(
    task_run_name="{campaign}: build the index",
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_S,
    retry_condition_fn=if_retriable,
)
def build_where_due(campaign: str) -> str:
    """Build the index where it is due; return what was done."""
    with open_app() as factory:
        due = factory.explore.due(campaign)
        if due is None:
            return f"the index of {campaign} is as it should be, or there is no champion yet"
        index = factory.explore.build(campaign)
    return f"{index.n:,} galaxies of {campaign} are indexed as model {index.model_id} sees them: {due}"


@flow(name="forget-expired", flow_run_name="forget-expired", timeout_seconds=6 * HOUR_S)
def forget_expired() -> State[None]:
    """Make classifications anonymous that are older than their campaign keeps (`ingest.retention_days`).

    Votes and verdicts stay. A run that was stopped goes on with the next one.
    """
    forgotten = forget_in_every_campaign()
    n = sum(forgotten.values())
    return Completed(message=f"{n:,} classifications of {len(forgotten)} campaigns are anonymous now")


@task(
    task_run_name="forget in every campaign",
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_S,
    retry_condition_fn=if_retriable,
)
def forget_in_every_campaign() -> dict[str, int]:
    """Forget who gave what has expired; return classifications by campaign."""
    with open_app() as factory:
        return dict(factory.votes.forget_expired(None, actor=actor()))
