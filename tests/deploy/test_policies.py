"""Rules that manifests must keep, as kube-linter has them: one function a rule, each shown to find its fault."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.deploy.test_containers import BASE, KUBERNETES, manifests
from tests.support.shared import ROOT

Document = dict[str, Any]
Rule = Callable[[list[Document]], Iterator[str]]

POOL = ROOT / "deploy" / "kubernetes" / "work-pool.json"


def workloads(documents: list[Document]) -> Iterator[tuple[str, Document, Document]]:
    """Yield every workload's name, document and pod template."""
    for document in documents:
        spec = document.get("spec", {})
        if document["kind"] == "CronJob":
            spec = spec["jobTemplate"]["spec"]
        if "template" in spec:
            yield document["metadata"]["name"], document, spec["template"]


def containers(documents: list[Document]) -> Iterator[tuple[str, Document, Document]]:
    """Yield every container's name, itself and its pod."""
    for name, _, template in workloads(documents):
        pod = template["spec"]
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            yield f"{name}/{container['name']}", container, pod


def run_as_non_root(documents: list[Document]) -> Iterator[str]:
    """The user is named, is not root, and may not become it."""
    for name, container, pod in containers(documents):
        security = {**pod["securityContext"], **container["securityContext"]}
        if (
            not security.get("runAsNonRoot")
            or security.get("runAsUser", 0) == 0
            or security.get("allowPrivilegeEscalation", True)
        ):
            yield name


def no_privileges(documents: list[Document]) -> Iterator[str]:
    """No capability, no namespace, path or device of the host, a profile for system calls."""
    for name, container, pod in containers(documents):
        security = container["securityContext"]
        shares = any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC"))
        paths = any("hostPath" in volume for volume in pod.get("volumes", ()))
        profile = pod["securityContext"].get("seccompProfile", {}).get("type")
        dropped = security.get("capabilities", {}).get("drop") == ["ALL"] and "add" not in security["capabilities"]
        if security.get("privileged") or shares or paths or not dropped or profile != "RuntimeDefault":
            yield name


def read_only_root(documents: list[Document]) -> Iterator[str]:
    """What is written goes to volumes, and those on the node's disk are bounded."""
    for name, container, pod in containers(documents):
        bounded = all(volume["emptyDir"].get("sizeLimit") for volume in pod["volumes"] if "emptyDir" in volume)
        if not container["securityContext"].get("readOnlyRootFilesystem") or not bounded:
            yield name


def requests_and_limits(documents: list[Document]) -> Iterator[str]:
    """Processor and memory are asked for and bounded, and no more is asked for than allowed."""
    for name, container, _ in containers(documents):
        resources = container.get("resources", {})
        if any({"cpu", "memory"} - set(resources.get(kind, ())) for kind in ("requests", "limits")):
            yield name


def probes(documents: list[Document]) -> Iterator[str]:
    """What runs on is watched; what takes requests says when it can."""
    served = {port["targetPort"] for d in documents if d["kind"] == "Service" for port in d["spec"]["ports"]}
    for name, document, template in workloads(documents):
        for container in template["spec"]["containers"] if document["kind"] == "Deployment" else ():
            takes = served & {port["name"] for port in container.get("ports", ())}
            if "livenessProbe" not in container or (takes and "readinessProbe" not in container):
                yield f"{name}/{container['name']}"


def no_secret_in_the_open(documents: list[Document]) -> Iterator[str]:
    """Secrets come by reference; no environment, argument or map holds one."""
    word = re.compile(r"PASSWORD|SECRET|TOKEN|KEY|AUTH", re.IGNORECASE)
    for name, container, _ in containers(documents):
        if any("value" in given and word.search(given["name"]) for given in container.get("env", ())):
            yield name
    for document in documents:
        data = document["data"] if document["kind"] == "ConfigMap" else {}
        if any(word.search(key) or re.search(r"://[^/]*@", value) for key, value in data.items()):
            yield document["metadata"]["name"]


def no_token_of_the_cluster(documents: list[Document]) -> Iterator[str]:
    """No pod can ask the cluster anything; who must (the worker of a pool of jobs) has an account of its own."""
    for name, _, template in workloads(documents):
        if (
            template["spec"].get("automountServiceAccountToken", True)
            or template["spec"].get("serviceAccountName", "default") == "default"
        ):
            yield name


def selected(labels: Mapping[str, str], selector: Mapping[str, Any]) -> bool:
    """Return whether a selector of labels, empty for all, takes a pod."""
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def network_policies(documents: list[Document]) -> Iterator[str]:
    """Every pod is under a policy for both directions, and no policy lets everybody in."""
    policies = [d for d in documents if d["kind"] == "NetworkPolicy"]
    for name, _, template in workloads(documents):
        labels = template["metadata"]["labels"]
        kinds = {k for p in policies if selected(labels, p["spec"]["podSelector"]) for k in p["spec"]["policyTypes"]}
        if kinds != {"Ingress", "Egress"}:
            yield name
    for policy in policies:
        if any(not rule.get("from") or not rule.get("ports") for rule in policy["spec"].get("ingress", ())):
            yield policy["metadata"]["name"]


def selectors_match(documents: list[Document]) -> Iterator[str]:
    """Services, budgets and deployments select pods that there are."""
    labels = [template["metadata"]["labels"] for _, _, template in workloads(documents)]
    for document in documents:
        spec = document.get("spec", {})
        selector = {"matchLabels": spec.get("selector")} if document["kind"] == "Service" else spec.get("selector")
        if selector and not any(selected(each, selector) for each in labels):
            yield f"{document['kind']} {document['metadata']['name']}"


def rollouts(documents: list[Document]) -> Iterator[str]:
    """Replicas are replaced without a gap and may be evicted but one; a single worker is stopped before the next starts."""
    budgets = [d["spec"]["selector"] for d in documents if d["kind"] == "PodDisruptionBudget"]
    for name, document, template in workloads(documents):
        if document["kind"] != "Deployment":
            continue
        spec, labels = document["spec"], template["metadata"]["labels"]
        if spec["replicas"] > 1:
            strategy = spec.get("strategy", {}).get("rollingUpdate", {})
            if strategy.get("maxUnavailable") != 0 or not any(selected(labels, budget) for budget in budgets):
                yield name
        elif spec.get("strategy", {}).get("type") != "Recreate":
            yield name


def bounded_jobs(documents: list[Document]) -> Iterator[str]:
    """A job ends: by a deadline, after some tries."""
    for document in documents:
        spec = document["spec"]["jobTemplate"]["spec"] if document["kind"] == "CronJob" else document.get("spec", {})
        if document["kind"] in {"Job", "CronJob"} and not {"backoffLimit", "activeDeadlineSeconds"} <= set(spec):
            yield document["metadata"]["name"]


RULES: tuple[Rule, ...] = (
    run_as_non_root, no_privileges, read_only_root, requests_and_limits, probes, no_secret_in_the_open,
    no_token_of_the_cluster, network_policies, selectors_match, rollouts, bounded_jobs,
)  # fmt: skip

FAULTS: Mapping[str, tuple[str, str, Any]] = {
    "run_as_non_root": ("Deployment", "spec.template.spec.containers.0.securityContext.allowPrivilegeEscalation", True),
    "no_privileges": ("Deployment", "spec.template.spec.hostNetwork", True),
    "read_only_root": ("Job", "spec.template.spec.containers.0.securityContext.readOnlyRootFilesystem", False),
    "requests_and_limits": ("Deployment", "spec.template.spec.containers.0.resources.limits", {"cpu": "1"}),
    "probes": ("Deployment", "spec.template.spec.containers.0.livenessProbe", None),
    "no_secret_in_the_open": ("ConfigMap", "data.PREFECT_API_AUTH_STRING", "admin:x"),
    "no_token_of_the_cluster": ("CronJob", "spec.jobTemplate.spec.template.spec.automountServiceAccountToken", True),
    "network_policies": ("NetworkPolicy", "spec.policyTypes", ["Ingress"]),
    "selectors_match": ("Service", "spec.selector", {"app.kubernetes.io/name": "alservice-servce"}),
    "rollouts": ("PodDisruptionBudget", "spec.selector.matchLabels", {"app.kubernetes.io/name": "another"}),
    "bounded_jobs": ("Job", "spec.activeDeadlineSeconds", None),
}
"""Rule to a fault that it must find: in the first manifest of a kind, a path, a value; None takes the field away."""


def documents_of_the_base() -> list[Document]:
    """Return the manifests, whose parts may be changed."""
    return [document for _, document in manifests()]


def put(document: Any, path: str, value: object) -> None:
    """Set or take away a field."""
    *way, last = path.split(".")
    for step in way:
        document = document[int(step) if step.isdigit() else step]
    if value is None:
        del document[last]
    else:
        document[last] = value


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_manifests_keep_the_rule(rule: Rule) -> None:
    """Every workload of the base."""
    assert [*rule(documents_of_the_base())] == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_rule_finds_its_fault(rule: Rule) -> None:
    """A rule that finds nothing proves nothing."""
    documents = documents_of_the_base()
    kind, path, value = FAULTS[rule.__name__]
    put(next(document for document in documents if document["kind"] == kind), path, value)
    assert [*rule(documents)]


def job_of_the_pool(**values: Any) -> tuple[Document, set[str]]:
    """Return the job that a run of the pool becomes, as Prefect fills it in, and the variables that it may set."""
    template = json.loads(POOL.read_text(encoding="utf-8"))
    properties = template["variables"]["properties"]
    given = {name: values.get(name, field.get("default")) for name, field in properties.items()}

    def filled(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: filled(value) for key, value in part.items()}
        if isinstance(part, list):
            return [filled(value) for value in part]
        whole = re.fullmatch(r"\{\{ (\w+) \}\}", part) if isinstance(part, str) else None
        return given[whole[1]] if whole else part

    return filled(template["job_configuration"]["job_manifest"]), set(properties)


def test_a_run_of_the_pool_of_jobs_keeps_the_rules() -> None:
    """The template of the work pool `kubernetes`: valid by the schema, and under every rule that pods are under."""
    job, _ = job_of_the_pool(
        command=["prefect", "flow-run", "execute"], name="run", namespace="alservice", env=[], labels={}
    )
    job["metadata"] = {"name": "run", **{k: v for k, v in job["metadata"].items() if k == "labels" and v}}
    kubernetes_validate.validate(job, KUBERNETES, strict=True)
    documents = [*documents_of_the_base(), job]
    for rule in RULES:
        assert [*rule(documents)] == [], rule.__name__


def test_the_pool_takes_what_deployments_set() -> None:
    """Job variables of prefect.yaml are variables of the template; secrets are named, not given."""
    _, variables = job_of_the_pool()
    deployments = yaml.safe_load((ROOT / "deploy" / "prefect.yaml").read_text(encoding="utf-8"))["definitions"]
    for pool in ("cpu", "gpu"):
        assert set(deployments[pool]["job_variables"]) <= variables
    secrets = yaml.safe_load_all((BASE.parent / "secret.example.yaml").read_text(encoding="utf-8"))
    named = {
        source["secretRef"]["name"]
        for source in job_of_the_pool()[0]["spec"]["template"]["spec"]["containers"][0]["envFrom"]
        if "secretRef" in source
    }
    assert named <= {secret["metadata"]["name"] for secret in secrets}
