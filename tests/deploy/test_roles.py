"""Who is given which secret, in compose and in the manifests: what the code of the role needs, and no more."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ProgrammingError
from typer.testing import CliRunner

from alservice.cli import app
from alservice.errors import AlserviceError
from alservice.settings import Settings
from alservice.storage.embedded_postgres import newest
from alservice.storage.postgres import make_engine, transaction
from tests.deploy.test_containers import COMPOSE, containers, manifests
from tests.support.dashboards import populate
from tests.support.postgres import SUPERUSER, run_sql, scratch_server
from tests.support.shared import ROOT

DATABASE, OWNER, KEY = "the app's database", "the owner's database", "ALSERVICE_USER_HASH_KEY"
OBJECTS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
ZOONIVERSE, PREFECT = "Zooniverse", "PREFECT_API_AUTH_STRING"

NEEDS: Mapping[str, set[str]] = {
    "migrations": {OWNER},  # CREATE, ALTER and DROP, nothing else
    "register": {PREFECT},  # pools, deployments, automations: on the Prefect server alone
    "service": {DATABASE, *OBJECTS},  # pages, API and webhook; images and posteriors; nobody is named
    "worker-cpu": {DATABASE, KEY, ZOONIVERSE, PREFECT, *OBJECTS},  # publish, ingest, reconcile
    "worker-gpu": {DATABASE, PREFECT, *OBJECTS},  # predict and train: nobody is asked, nobody named
    "backup": {DATABASE},  # pg_dump
    "prefect": {"Prefect's database", PREFECT},
    "postgres": {"superuser", "passwords of roles"},
    "grafana": {"Grafana"},
}
"""Role to what its code needs."""

IN_COMPOSE = {"migrate": "migrations", "deploy": "register", "worker-gpu-on-cpu": "worker-gpu"}
IN_PODS = {
    "alservice-migrate/schema": "migrations",
    "alservice-migrate/register": "register",
    "alservice-service/service": "service",
    "alservice-worker-cpu/worker": "worker-cpu",
    "alservice-worker-gpu/worker": "worker-gpu",
    "alservice-backup/backup": "backup",
}


def meaning(name: str, value: str) -> str | None:
    """Return what an environment variable opens; None for what is no secret."""
    if name == "ALSERVICE_DATABASE_URL":
        return OWNER if "alservice_owner" in value else DATABASE
    if name.startswith("ALSERVICE_ZOONIVERSE_"):
        return ZOONIVERSE
    known = {
        "PREFECT_SERVER_API_AUTH_STRING": PREFECT,
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": "Prefect's database",
        "POSTGRES_PASSWORD": "superuser",
        "GF_SECURITY_ADMIN_PASSWORD": "Grafana",
    }
    if name in known:
        return known[name]
    if name in {"OWNER_PASSWORD", "APP_PASSWORD", "PREFECT_DATABASE_PASSWORD"}:
        return "passwords of roles"
    is_secret = name in {KEY, PREFECT, *OBJECTS} or "${" in value
    return None if name == "ALSERVICE_DASHBOARD_URL" or not is_secret else name


def in_compose() -> Iterator[tuple[str, set[str]]]:
    """Yield every service of the compose file that is given a secret, with what it is given."""
    for name, service in COMPOSE["services"].items():
        given = {meaning(key, str(value)) for key, value in service.get("environment", {}).items()} - {None}
        if given:
            yield IN_COMPOSE.get(name, name), {what for what in given if what is not None}


def in_pods() -> Iterator[tuple[str, set[str]]]:
    """Yield every container of the manifests, with what it is given."""
    texts = yaml.safe_load_all((ROOT / "deploy" / "kubernetes" / "secret.example.yaml").read_text())
    secrets = {secret["metadata"]["name"]: secret["stringData"] for secret in texts}
    for name, container in containers():
        refs = [source["secretRef"]["name"] for source in container["envFrom"] if "secretRef" in source]
        role = "alservice_owner" if refs == ["alservice-owner"] else ""
        given = {meaning(key, role) for ref in refs for key in secrets[ref]} - {None}
        yield IN_PODS[name], {what for what in given if what is not None}


@pytest.mark.parametrize(("role", "given"), [*in_compose(), *in_pods()], ids=lambda v: v if isinstance(v, str) else "")
def test_a_role_gets_its_own_secrets_and_no_others(role: str, given: set[str]) -> None:
    """The kind: whoever breaks into one container has the keys of all."""
    assert given == NEEDS[role]


def test_every_role_and_every_secret_setting_is_judged() -> None:
    """A new container or a new secret of ours must be put into the table."""
    assert {role for role, _ in (*in_compose(), *in_pods())} == set(NEEDS)
    secret = {f"ALSERVICE_{name.upper()}" for name, field in Settings.model_fields.items() if "Secret" in str(field)}
    assert {name for name in secret if meaning(name, "x") is None} == set()
    proxies = next(d for _, d in manifests() if d["metadata"]["name"] == "alservice-proxies")
    assert set(proxies["data"]) == {"ALSERVICE_TRUSTED_PROXIES"}


@pytest.fixture(scope="module")
def roles() -> Iterator[Mapping[str, str]]:
    """Make roles and databases as compose does; yield role to its URL."""
    with scratch_server() as url:
        server = make_url(url).set(username=SUPERUSER, database=SUPERUSER)
        role = make_url(url).username  # the embedded server's own role and database have the names of compose's
        run_sql(
            server.render_as_string(hide_password=False),
            "DROP DATABASE IF EXISTS alservice",
            f"DROP OWNED BY {role}",
            f"DROP ROLE {role}",
        )
        at = {"PGHOST": server.host or server.query["host"], "PGPORT": server.port, "PGUSER": server.username}
        passwords = {
            "OWNER_PASSWORD": "o",
            "APP_PASSWORD": "a'\"\\",
            "PREFECT_DATABASE_PASSWORD": "p",
        }
        # The wheel has no contrib modules; Prefect's own database is not looked at here.
        script = (
            (ROOT / "docker" / "postgres-roles.sql").read_text().replace("CREATE EXTENSION IF NOT EXISTS pg_trgm;", "")
        )
        made = subprocess.run(
            [newest().folder / "psql", "--no-psqlrc", "--dbname", "postgres", "--file", "-"],
            env={"PATH": os.environ["PATH"], **passwords, **{k: str(v) for k, v in at.items() if v is not None}},
            input=script,
            check=False,
            capture_output=True,
            text=True,
        )
        assert made.returncode == 0, made.stderr
        yield {
            role: server.set(username=role, password=password, database=database).render_as_string(hide_password=False)
            for role, password, database in (
                ("alservice_owner", "o", "alservice"),
                ("alservice", passwords["APP_PASSWORD"], "alservice"),
                ("prefect", "p", "prefect"),
            )
        }


def test_the_owner_migrates_and_the_app_works(
    roles: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Migrations run as the owner; three cycles, their votes and models are written by a role that owns nothing."""
    monkeypatch.setenv("ALSERVICE_WORKDIR", str(tmp_path))
    monkeypatch.setenv("ALSERVICE_DATABASE_URL", roles["alservice"])
    refused = CliRunner().invoke(app, ["db", "upgrade"])
    assert refused.exit_code != 0
    monkeypatch.setenv("ALSERVICE_DATABASE_URL", roles["alservice_owner"])
    done = CliRunner().invoke(app, ["db", "upgrade"])
    assert done.exit_code == 0, done.output
    engine = make_engine(roles["alservice"])
    world = populate(engine, tmp_path / "world", cycles=3)
    assert world.factory.campaigns.list()
    for statement in (
        "CREATE TABLE mine (id int)",
        "DROP TABLE tallies",
        "ALTER TABLE events DISABLE TRIGGER ALL",
        "CREATE EXTENSION vector",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT pg_read_file('/etc/passwd')",
    ):
        with pytest.raises((ProgrammingError, AlserviceError)), transaction(engine) as connection:
            connection.execute(text(statement))
    with transaction(engine) as connection:
        powers = connection.execute(
            text("SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND (rolsuper OR rolcreaterole OR rolcreatedb)")
        ).scalars()
        assert not {"alservice", "alservice_owner", "prefect"} & set(powers)
    engine.dispose()


def test_prefect_and_the_app_do_not_see_each_other(roles: Mapping[str, str]) -> None:
    """Each role connects to its own database alone."""
    for role, other in (("prefect", "alservice"), ("alservice", "prefect")):
        engine = make_engine(make_url(roles[role]).set(database=other).render_as_string(hide_password=False))
        with pytest.raises(AlserviceError), transaction(engine) as connection:
            connection.execute(text("SELECT 1"))
        engine.dispose()
