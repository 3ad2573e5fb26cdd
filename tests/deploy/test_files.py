"""The deploy files: valid by the schemas of those who read them, and in step with the code that they start.

No engine runs here: neither Docker nor a cluster. What they would start is started as plain processes in test_stack.py.
"""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from gateway.settings import Settings
from tests.deploy.files import DEPLOY, ROOT, kubernetes_documents, settings_named, yaml_documents

FOREIGN_KINDS = {
    "Kustomization",
    "ServiceMonitor",
}  # read by kustomize and the Prometheus operator, not by the API server
_KUBERNETES = "1.34"


def compose_errors(path: Path) -> str:
    """What the Compose Specification's schema says against a file; empty where it is valid."""
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_the_compose_file_is_valid_and_a_planted_error_is_caught(tmp_path: Path) -> None:
    assert compose_errors(DEPLOY / "compose.yaml") == ""
    broken = yaml_documents(DEPLOY / "compose.yaml")[0]
    broken["services"]["jobs"]["helthcheck"] = {"disable": True}
    planted = tmp_path / "compose.yaml"
    planted.write_text(yaml.safe_dump(broken))
    assert "helthcheck" in compose_errors(planted)


@pytest.mark.parametrize(("name", "document"), kubernetes_documents())
def test_each_kubernetes_object_is_valid(name: str, document: dict[str, Any]) -> None:
    if document["kind"] in FOREIGN_KINDS:
        assert document["apiVersion"].split("/")[0] in {"kustomize.config.k8s.io", "monitoring.coreos.com"}
        return
    kubernetes_validate.validate(document, _KUBERNETES, strict=True)


def test_a_planted_error_in_a_kubernetes_object_is_caught() -> None:
    [gateway] = [document for _, document in kubernetes_documents() if document["kind"] == "StatefulSet"]
    gateway["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(gateway, _KUBERNETES, strict=True)


def test_kustomize_takes_every_file_of_its_folder() -> None:
    [kustomization] = yaml_documents(DEPLOY / "kubernetes" / "kustomization.yaml")
    files = {path.name for path in (DEPLOY / "kubernetes").glob("*.yaml")} - {"kustomization.yaml"}
    assert set(kustomization["resources"]) == files


@pytest.mark.parametrize("kind", ["StatefulSet", "Deployment", "Job"])
def test_every_pod_is_non_root_and_read_only(kind: str) -> None:
    pods = [d["spec"]["template"]["spec"] for _, d in kubernetes_documents() if d["kind"] == kind]
    assert pods
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]


def test_each_setting_that_a_deploy_file_names_exists() -> None:
    known = {f"GATEWAY_{name.upper()}" for name in Settings.model_fields} | {"GATEWAY_SECRETS_DIR"}
    unknown = {path: names - known for path, names in settings_named().items() if names - known}
    assert unknown == {}


def test_each_secret_file_is_a_setting() -> None:
    [compose] = yaml_documents(DEPLOY / "compose.yaml")
    ours = {name for name in compose["secrets"] if name.startswith("gateway_")}
    assert ours
    assert {name.removeprefix("gateway_") for name in ours} <= set(Settings.model_fields)
    for name in ("gateway-a", "gateway-b", "jobs"):
        assert set(compose["services"][name]["secrets"]) == ours


def test_the_dockerfile_copies_what_exists_and_installs_the_lock_of_the_product_alone() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    sources = [word for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.M) for word in line.split()[:-1]]
    assert [source for source in sources if not (ROOT / source).exists()] == []
    ignored = (ROOT / ".dockerignore").read_text()
    assert [source for source in sources if f"!{source}\n" not in ignored] == []
    assert re.search(r"^USER 10001", text, re.M)
    locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements-deploy.lock").read_text(), re.M))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = {_name(line) for line in project["project"]["dependencies"]}
    testing = {_name(line) for line in project["dependency-groups"]["dev"]}
    assert needed - locked == set()
    assert {"pytest", "hypothesis", "mypy"} <= testing
    assert locked & {"pytest", "hypothesis", "mypy", "ruff", "coverage"} == set()


def _name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9-]+", requirement)
    assert found, requirement
    return found[0].lower()


def versions(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ]+)", path.read_text(), re.M))


def test_the_image_gets_the_versions_that_were_tested() -> None:
    tested, shipped = versions(ROOT / "requirements.lock"), versions(ROOT / "requirements-deploy.lock")
    assert {name: version for name, version in shipped.items() if tested.get(name) != version} == {}


@pytest.mark.parametrize("unit", sorted((DEPLOY / "systemd").glob("*.service")), ids=lambda path: path.name)
def test_each_systemd_unit_starts_a_command_that_exists(unit: Path) -> None:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = _as_written  # type: ignore[assignment,method-assign]
    parser.read(unit)
    command = parser["Service"]["ExecStart"].split()
    assert command[0] == "/opt/solar/bin/solar-gateway"
    done = subprocess.run(
        [str(Path(sys.executable).parent / "solar-gateway"), command[1], "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stderr
    options = [word for word in command[2:] if word.startswith("--")]
    assert [option for option in options if option not in done.stdout] == []
    assert parser["Service"]["NoNewPrivileges"] == "yes"


_as_written: Callable[[str], str] = str
