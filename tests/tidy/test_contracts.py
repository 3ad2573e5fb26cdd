"""The import contracts hold on the repository, and each of them catches what it is there for.

The planted tree has every module that pyproject.toml names, and nothing in them but the planted imports.
"""

import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.tidy import rules
from tests.tidy.checks import contracts
from tests.tidy.conftest import Plant
from tests.tidy.report import none_of

PROJECT = (rules.ROOT / "pyproject.toml").read_text(encoding="utf-8")
CONTRACTS: list[dict[str, Any]] = tomllib.loads(PROJECT)["tool"]["importlinter"]["contracts"]
LAYER_NAME = re.compile(r"[\w.]+")

# For each contract at least one import that breaks it: contract, importer, imported.
VIOLATIONS = [
    ("gateway runs one way", "gateway.journey", "gateway.edge"),
    ("gateway runs one way", "gateway.keys", "gateway.admission"),
    ("gateway runs one way", "gateway.call", "gateway.meter"),
    ("rooms get plain values, not settings", "gateway.upstream", "gateway.settings"),
    ("billing runs one way", "billing.ledger", "billing.rating"),
    ("billing runs one way", "billing.money", "billing.prices"),
    ("billing never knows HTTP", "billing.invoice", "gateway.call"),
    ("billing never knows HTTP", "billing.share", "httpx"),
    ("the call path sees the counter, not the office", "gateway.admission", "billing.rating"),
    ("the SDK stands alone", "solar_sdk", "billing.usage"),
    ("only the demo calls through the SDK", "gateway.edge", "solar_sdk"),
    ("only edge speaks HTTP", "gateway.meter", "litestar"),
    ("only upstream calls Solar", "gateway.journey", "tenacity"),
    ("only its webhook file sends alerts", "gateway.alerts.store", "httpx"),
    ("alerts know neither Redis nor the web framework", "gateway.alerts.job", "redis"),
    ("only admission, keys and the drain touch Redis", "gateway.upstream", "redis"),
    ("only stripe_client touches Stripe", "billing.invoice", "stripe"),
    ("only metrics and health name Prometheus", "gateway.doors.inference", "prometheus_client"),
    ("only storage files speak SQL", "gateway.keys.secret", "sqlmodel"),
    ("pure arithmetic has no hands", "billing.prices", "asyncio"),
]


def named_modules() -> Iterator[str]:
    """Every module of ours that a contract needs to exist, or places as a layer."""
    for contract in CONTRACTS:
        for field in ("source_modules", "forbidden_modules", "protected_modules", "allowed_importers"):
            yield from (name for name in contract.get(field, []) if name.partition(".")[0] in ("gateway", "billing"))
        for container in contract.get("containers", []):
            for layer in contract["layers"]:
                yield from (f"{container}.{name}" for name in LAYER_NAME.findall(layer))


def file_of(module: str) -> str:
    """Each stub is a package, so that it can hold others."""
    return ("sdk/" if module == "solar_sdk" else "") + module.replace(".", "/") + "/__init__.py"


@pytest.fixture
def stub(plant: Plant) -> Plant:
    plant("pyproject.toml", PROJECT)
    for module in {*named_modules(), "gateway", "billing", "solar_sdk", "gateway.edge.health"}:
        plant(file_of(module), "")
    return plant


def test_the_import_contracts_hold_on_the_repository() -> None:
    done = contracts.lint_imports(rules.ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_import_contracts_hold_on_a_clean_stub_tree(stub: Plant) -> None:
    root = stub("gateway/edge/health/__init__.py", "import prometheus_client\n")
    stub("billing/stripe_client/__init__.py", "import httpx\nimport stripe\n")
    stub("gateway/app/__init__.py", "import gateway.settings\nimport gateway.edge\nimport redis\n")
    done = contracts.lint_imports(root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken." in done.stdout


def test_every_contract_catches_the_import_that_was_planted_against_it(stub: Plant) -> None:
    planted: dict[str, str] = {}
    for _, importer, imported in VIOLATIONS:
        planted[importer] = planted.get(importer, "") + f"import {imported}\n"
    for importer, lines in planted.items():
        stub(file_of(importer), lines)

    done = contracts.lint_imports(stub("README.md", ""))

    assert done.returncode == 1, done.stdout + done.stderr
    assert f"Contracts: 0 kept, {len(CONTRACTS)} broken." in done.stdout
    details = done.stdout.partition("Broken contracts")[2]
    for name, importer, imported in VIOLATIONS:
        chapter = re.search(rf"\n{re.escape(name)}\n-+\n(.*?)(?=\n\n[^\n]+\n-{{3,}}\n|\Z)", details, re.DOTALL)
        assert chapter, f"{name} was not broken:\n{details}"
        assert f"{importer} -> {imported} (l." in chapter[1], f"{name} did not catch it:\n{chapter[1]}"


def test_every_contract_has_a_violation_planted_against_it() -> None:
    assert {contract["name"] for contract in CONTRACTS} == {name for name, _, _ in VIOLATIONS}


def test_a_room_that_no_layer_places_is_caught(stub: Plant) -> None:
    done = contracts.lint_imports(stub("billing/attic/__init__.py", ""))
    assert done.returncode == 1
    assert "billing.attic" in done.stdout


def test_no_module_that_exists_is_still_waiting_for_its_contract() -> None:
    none_of(contracts.waiting_modules(rules.ROOT))


def test_a_module_that_has_come_to_exist_is_found(plant: Plant) -> None:
    plant("pyproject.toml", 'x = [\n  "a",\n]  # later: billing.jobs, gateway.replay, billing.attic\n')
    plant("gateway/replay/__init__.py", "")
    assert contracts.waiting_modules(plant("billing/jobs.py", "")) == [
        f"pyproject.toml:3: {module} exists now: move it out of the comment into the contract"
        for module in ("billing.jobs", "gateway.replay")
    ]
