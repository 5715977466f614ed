"""Made-up requests from the OpenAPI document: every answer is one that the document allows, none is a crash."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi import checks

from alservice.core.access import Scope
from alservice.web.application import create_app
from alservice.web.limits import Limits
from tests.support.dashboards import World
from tests.support.web_server import served
from tests.web.conftest import secret_of

CHECKS = (
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
)
EXAMPLES = 12
"""Per endpoint: all of them take some 20 s."""


@pytest.mark.filterwarnings("default")  # of the generator's own parts
def test_no_made_up_request_breaks_the_contract(world: World) -> None:
    """Paths, queries, headers and bodies of any shape get an answer that the document lists."""
    secret = secret_of(world.factory, Scope.OPERATE)
    headers = {"Authorization": f"Bearer {secret}"}
    app = create_app(world.factory, limits=Limits(requests_per_minute=1_000_000))
    with served(app) as url, httpx.Client() as client:
        document = schemathesis.openapi.from_dict(client.get(f"{url}/openapi.json").json())
        document.config.update(base_url=url)
        seen = 0
        for operation in document.get_all_operations():
            seen += _ask(operation.ok(), headers)
    assert seen >= 22


def _ask(operation: Any, headers: dict[str, str]) -> int:
    @settings(
        max_examples=EXAMPLES,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy())
    def check(case: Any) -> None:
        case.call_and_validate(headers=headers, checks=CHECKS)

    check()
    return 1
