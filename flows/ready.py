"""Runs are checked before they begin: one message names all that is missing, and no cycle is touched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from prefect import task

from alservice.app import App, open_app
from alservice.cycle.check_readiness import check_ground as check_machine
from alservice.cycle.readiness import Finding, Flight, NotReady, require_ready
from alservice.errors import AlserviceError
from flows.artifacts import findings_artifact
from flows.tasks import RETRIES, RETRY_DELAYS_S, actor, if_retriable


@contextmanager
def opened() -> Iterator[App]:
    """Open the factory; where that fails, all that can be checked without it is, and tried again while it may pass."""
    with ExitStack() as stack:
        try:
            factory = stack.enter_context(open_app())
        except AlserviceError:
            check_ground()
            factory = stack.enter_context(open_app())
        yield factory


@task(
    task_run_name="check this machine",
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_S,
    retry_condition_fn=if_retriable,
)
def check_ground() -> None:
    """Raise one error that names all that does not work of what every run needs."""
    _require(check_machine(), "a run", key="not-ready")


@task(
    task_run_name="{campaign}: check what is needed",
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_S,
    retry_condition_fn=if_retriable,
)
def check_ready(campaign: str, flight: Flight) -> None:
    """Raise one error that names all that a run of a campaign misses; an event keeps what a person must mend."""
    with open_app() as factory, factory.sites.opened(campaign):
        findings = factory.cycle.check(campaign, flight)
        try:
            _require(findings, f"{flight.name} of {campaign}", key=f"{campaign}-not-ready")
        except NotReady:
            factory.cycle.record_refusal(campaign, flight, findings, actor=actor())
            raise


def check_work(factory: App, campaign: str, flight: Flight) -> None:
    """Check what a run needs, if it has any work: most ticks have none, and ask nobody anything."""
    if factory.cycle.has_needs(campaign, flight):
        check_ready(campaign, flight)


def _require(findings: Sequence[Finding], what: str, *, key: str) -> None:
    if not all(finding.ok for finding in findings):
        findings_artifact(findings, key=key)
    require_ready(findings, what)
