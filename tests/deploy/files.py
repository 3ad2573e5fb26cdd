"""The deploy files as data, for the tests that hold them against schemas and against the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
_SETTING = re.compile(r"GATEWAY_[A-Z0-9_]+")


def yaml_documents(path: Path) -> list[dict[str, Any]]:
    """The documents of a YAML file."""
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def kubernetes_documents() -> list[tuple[str, dict[str, Any]]]:
    """(file, document) of each Kubernetes object."""
    files = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    return [(path.name, document) for path in files for document in yaml_documents(path)]


def settings_named() -> dict[str, set[str]]:
    """File → the `GATEWAY_…` variables that it names."""
    files = [path for path in DEPLOY.rglob("*") if path.is_file() and "migrations" not in path.parts]
    named = {path.relative_to(DEPLOY).as_posix(): set(_SETTING.findall(path.read_text())) for path in files}
    return {path: names for path, names in named.items() if names}
