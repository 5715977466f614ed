"""Made-up requests from the OpenAPI document: every answer is one that the document allows, none is a crash."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi import checks

from alservice.access import Scope
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


def test_every_reference_of_the_document_leads_somewhere(client: httpx.Client) -> None:
    """A schema that is named and not there makes the document useless to generators of clients; so do double names."""
    document = client.get("/openapi.json").json()
    named = set(re.findall(r'"\$ref": ?"#/([^"]+)"', json.dumps(document)))
    assert len(named) > 20
    for path in named:
        found = document
        for part in path.split("/"):
            assert part in found, path
            found = found[part]
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    assert {"list_campaigns", "pause"} <= set(names), "short, as functions of a client"


@pytest.mark.filterwarnings("ignore:The `dict` method is deprecated")  # in what the generator writes
def test_a_generated_client_works(client: httpx.Client, world: World, tmp_path: Path) -> None:
    """A client made from the document by a generator, with nothing written by hand, reads, acts and is told errors."""
    made = generated_client(f"{client.base_url}/openapi.json", tmp_path / "galaxy_client")
    secret = secret_of(world.factory, Scope.OPERATE, name="anna")
    us = made.APIConfig(base_path=str(client.base_url), access_token=secret)
    reads, acts = made.services.read_service, made.services.operate_service

    campaign = next(found for found in reads.list_campaigns(us, limit=5).items if found.name == "gz-demo")
    assert campaign.state == made.CycleState.HELD
    page = reads.list_cycles(us, campaign="gz-demo", limit=2)
    assert [cycle.number for cycle in page.items] == [2, 1]
    assert [cycle.number for cycle in reads.list_cycles(us, campaign="gz-demo", before=page.next).items] == [0]
    done = acts.pause(us, campaign="gz-demo", data=made.Reason(reason="storage is moved"), Idempotency_Key="k-1")
    assert done.act == "pause"
    assert reads.get_campaign(us, campaign="gz-demo").paused.actor == "token:anna"
    with pytest.raises(made.api_config.HTTPException) as refused:
        reads.get_cycle(us, campaign="gz-demo", number=99)
    assert refused.value.status_code == 404
    answer = client.get("/api/v1/campaigns/gz-demo/cycles/99", headers={"Authorization": f"Bearer {secret}"})
    problem = made.Problem(**answer.json())
    assert (problem.status, problem.code) == (404, "not-found")


def generated_client(document: str, folder: Path) -> ModuleType:
    """Return the package that the generator writes from a document at an address."""
    command = [sys.executable, "-m", "openapi_python_generator", document, str(folder), "--library", "httpx"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    found = importlib.util.spec_from_file_location(
        folder.name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert found is not None
    assert found.loader is not None
    made = importlib.util.module_from_spec(found)
    sys.modules[folder.name] = made
    found.loader.exec_module(made)
    for name in ("services.read_service", "services.operate_service"):
        importlib.import_module(f"{folder.name}.{name}")
    return made
