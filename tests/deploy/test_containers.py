"""Images, compose file and manifests: valid by their schemas, safe by rule, and made of commands that exist."""

import importlib.resources
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import check_jsonschema.builtin_schemas.vendor as vendored
import jsonschema
import kubernetes_validate
import pytest
import typer
import yaml

from alservice.cli import app
from alservice.settings import Settings
from tests.support.shared import ROOT

BASE = ROOT / "deploy" / "kubernetes" / "base"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
KUBERNETES = "1.33"
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()


CLI: Any = typer.main.get_command(app)


def manifests() -> list[tuple[str, dict[str, Any]]]:
    """Return every document of the base, by file."""
    files = sorted(path for path in BASE.glob("*.yaml") if path.name != "kustomization.yaml")
    return [(path.name, document) for path in files for document in yaml.safe_load_all(path.read_text())]


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the pod of every workload."""
    for _, document in manifests():
        spec = document.get("spec", {})
        if document["kind"] == "CronJob":
            spec = spec["jobTemplate"]["spec"]
        if "template" in spec:
            yield document["metadata"]["name"], spec["template"]["spec"]


def containers() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every container of every workload."""
    for name, pod in pods():
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            yield f"{name}/{container['name']}", container


def commands() -> set[tuple[str, ...]]:
    """Return every command that an image, a compose service or a pod runs."""
    found = {tuple(json.loads(line)) for line in re.findall(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)}
    found |= {tuple(s["command"]) for s in COMPOSE["services"].values() if "command" in s}
    found |= {tuple(container["command"]) for _, container in containers()}
    return {command for command in found if command[0] in {"alservice", "prefect"} or command[0].startswith("deploy/")}


def test_the_dockerfile_lints() -> None:
    """Pinned base, no root, no shell where none is needed."""
    hadolint = Path(sys.executable).with_name("hadolint")
    linted = subprocess.run([hadolint, ROOT / "docker" / "Dockerfile"], capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout


def test_images_run_as_nobody_in_particular_and_are_pinned() -> None:
    """Every stage that runs has the user, every base a full version, every stage with a port a health check."""
    assert "USER 10001:10001" in DOCKERFILE
    assert re.search(r"^ARG BASE=python:3\.\d+\.\d+-slim", DOCKERFILE, re.MULTILINE)
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
    assert all("HEALTHCHECK" in stage for stage in stages if "EXPOSE" in stage)
    for name, service in COMPOSE["services"].items():
        tag = service["image"].rpartition(":")[2]
        assert re.match(r"v?\d+\.\d+", tag), f"{name}: {tag} is not a version"


def test_the_compose_file_is_valid() -> None:
    """By the schema of the compose specification, once merge keys are applied."""
    schema = json.loads(importlib.resources.files(vendored).joinpath("compose-spec.json").read_text(encoding="utf-8"))
    jsonschema.validate(COMPOSE, schema)


def test_compose_has_no_default_secret_and_no_open_port() -> None:
    """Every secret must be given, is in the example, and what is published is published on this machine."""
    text = (ROOT / "docker" / "compose.yaml").read_text()
    example = (ROOT / "docker" / "example.env").read_text()
    for name, default in re.findall(r"\$\{(\w+):([?-])[^}]*\}", text):
        assert f"{name}=\n" in example, name
        assert default == "?" or name.startswith("ZOONIVERSE_"), f"{name} has a default"
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_compose_waits_for_what_it_needs() -> None:
    """Every dependency exists, one that must be healthy has a check, every named volume and file is there."""
    services = COMPOSE["services"]
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "test" in services[needed]["healthcheck"], f"{name} waits for {needed}"
            if how["condition"] == "service_completed_successfully":
                assert services[needed]["restart"] == "no"
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            is_there = (ROOT / "docker" / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]
            assert is_there, volume
        assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"]), name
    settings = {f"ALSERVICE_{field.upper()}" for field in Settings.model_fields}
    given = {key for service in services.values() for key in service.get("environment", ()) if "ALSERVICE_" in key}
    assert given <= settings


@pytest.mark.parametrize(("file", "document"), manifests(), ids=lambda v: v if isinstance(v, str) else v["kind"])
def test_a_manifest_is_valid(file: str, document: dict[str, Any]) -> None:
    """By the schema of Kubernetes, strictly: an unknown field is a mistake."""
    kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_kustomize_lists_every_file() -> None:
    """No manifest is forgotten, no image is without a version."""
    kustomization = yaml.safe_load((BASE / "kustomization.yaml").read_text())
    listed = set(kustomization["resources"])
    assert listed == {path.name for path in BASE.glob("*.yaml")} - {"kustomization.yaml"}
    images = {container["image"] for _, container in containers()}
    assert images == {image["name"] for image in kustomization["images"]}
    assert all(image["newTag"] for image in kustomization["images"])


def test_pods_are_restricted_and_bounded() -> None:
    """Not root, nothing to escalate with, a file system that is read only, limits on every container."""
    for name, pod in pods():
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault", name
        assert pod["automountServiceAccountToken"] is False, name
    for name, container in containers():
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False, name
        assert security["readOnlyRootFilesystem"] is True, name
        assert security["capabilities"]["drop"] == ["ALL"], name
        assert {"cpu", "memory"} <= set(container["resources"]["limits"]), name
        secrets = [source["secretRef"]["name"] for source in container["envFrom"] if "secretRef" in source]
        assert len(secrets) == 1, f"{name}: one role, one secret"
    for name, pod in pods():
        for container in pod["containers"]:
            assert ("ports" in container) == ("livenessProbe" in container), name


def test_settings_of_the_manifests_exist() -> None:
    """No value or secret bears a name that nothing reads."""
    secrets = list(yaml.safe_load_all((ROOT / "deploy" / "kubernetes" / "secret.example.yaml").read_text()))
    settings = [document for _, document in manifests() if document["kind"] == "ConfigMap"]
    known = {f"ALSERVICE_{field.upper()}" for field in Settings.model_fields}
    given = {name for secret in secrets for name in secret["stringData"]} | {n for m in settings for n in m["data"]}
    assert {name for name in given if name.startswith("ALSERVICE_")} <= known
    assert not any(value for secret in secrets for value in secret["stringData"].values()), "a secret in the repository"


def test_every_map_and_secret_that_a_pod_names_exists() -> None:
    """A pod that names another does not start."""
    secrets = yaml.safe_load_all((ROOT / "deploy" / "kubernetes" / "secret.example.yaml").read_text())
    there = {secret["metadata"]["name"] for secret in secrets}
    there |= {document["metadata"]["name"] for _, document in manifests() if document["kind"] == "ConfigMap"}
    named = {ref["name"] for _, container in containers() for source in container["envFrom"] for ref in source.values()}
    assert named <= there
    assert {name for name in there if name != "alservice-settings"} <= named


@pytest.mark.parametrize("command", sorted(commands()), ids=" ".join)
def test_an_entry_point_is_a_command_that_exists(command: tuple[str, ...]) -> None:
    """The same words, without a container: a command of ours with these options, of Prefect's, or a script."""
    program, *words = command
    if program.startswith("deploy/"):
        assert subprocess.run(["bash", "-n", ROOT / program], check=False).returncode == 0
        assert (ROOT / program).stat().st_mode & 0o111
        return
    options = [word for word in words if word.startswith("--")]
    if program == "prefect":
        names = words[: next(i for i, word in enumerate(words) if word.startswith("--"))]
        told = subprocess.run(
            [sys.executable, "-m", "prefect", *names, "--help"], capture_output=True, text=True, check=True, timeout=120
        ).stdout
        assert all(option in told for option in options)
        return
    found = CLI
    while words and not words[0].startswith("--"):
        found = found.commands[words.pop(0)]
    assert set(options) <= {option for parameter in found.params for option in parameter.opts}
