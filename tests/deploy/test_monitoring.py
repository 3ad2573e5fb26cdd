"""Alerts and dashboards ask for series that exist, and each alert has its page in the runbook. A renamed series fails here."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import typer
from prometheus_client import REGISTRY

from gateway import metrics
from gateway.cli import app
from tests.deploy.files import DEPLOY, kubernetes_documents, yaml_documents

_SERIES = re.compile(r"\b(?:solar|gateway)_[a-z_]+\b")
_NEVER_MISSED = {
    "solar_stripe_tasks_total",
    "solar_stripe_events_total",
    "solar_reconciliations_total",
    "solar_upstream_pending_nano_usd_total",
    "solar_unreadable_records_total",
    "solar_unreadable_waiting_records",
    "solar_late_records_total",
    "solar_journal_records",
    "solar_owed_records",
    "solar_absorbed_nano_usd_total",
    "gateway_money_at_risk_usd",
}
"""Money that is not where it should be."""
_FAMILY = ("_bucket", "_sum", "_count")


def exported() -> set[str]:
    """Every series that the gateway's processes export."""
    assert metrics.OUTCOMES
    names = set()
    for family in REGISTRY.collect():
        suffixes = {"counter": ("_total",), "histogram": _FAMILY, "gauge": ("",)}.get(family.type, ())
        names |= {family.name + suffix for suffix in suffixes}
    return names


def rules() -> list[dict[str, Any]]:
    [alerts] = yaml_documents(DEPLOY / "alerts.yaml")
    return [rule for group in alerts["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return list(json.loads((DEPLOY / "dashboards" / "solar.json").read_text())["panels"])


def expressions() -> list[str]:
    return [rule["expr"] for rule in rules()] + [t["expr"] for panel in panels() for t in panel["targets"]]


def test_every_series_that_is_asked_for_is_exported() -> None:
    asked = {name for expression in expressions() for name in _SERIES.findall(expression)}
    assert len(asked) > 12
    assert asked - exported() == set()


def test_every_series_that_is_exported_is_shown_on_the_board() -> None:
    shown = {name for panel in panels() for t in panel["targets"] for name in _SERIES.findall(t["expr"])}
    shown = {re.sub(r"(_bucket|_sum|_count)$", "", name) for name in shown}
    ours = {name for name in exported() if _SERIES.fullmatch(name) and not name.endswith(_FAMILY)}
    families = {re.sub(r"_bucket$", "", name) for name in exported() if name.endswith("_bucket")}
    assert len(ours | families) > 30
    assert (ours | families) - shown == set()


def test_what_nobody_may_miss_has_an_alert() -> None:
    asked = {name for rule in rules() for name in _SERIES.findall(rule["expr"])}
    assert asked >= _NEVER_MISSED


def test_a_series_that_does_not_exist_would_be_found() -> None:
    assert "solar_calls_renamed_total" not in exported()
    assert {"solar_calls_total", "solar_call_seconds_bucket", "gateway_money_at_risk_usd"} <= exported()


def test_the_autoscaler_asks_for_a_series_that_exists() -> None:
    [scaler] = [document for _, document in kubernetes_documents() if document["kind"] == "HorizontalPodAutoscaler"]
    asked = {metric["pods"]["metric"]["name"] for metric in scaler["spec"]["metrics"]}
    assert asked == {"solar_calls_in_flight"}
    assert asked <= exported()


def test_each_alert_has_its_page_in_the_runbook_and_no_page_is_without_alert() -> None:
    pages = re.findall(r"^## (\w+)$", (DEPLOY / "runbook.md").read_text(), re.M)
    assert pages == [rule["alert"] for rule in rules()]


def test_each_alert_that_pages_has_a_unit_test_for_promtool() -> None:
    [tests] = yaml_documents(DEPLOY / "alerts.test.yaml")
    asked = [case for test in tests["tests"] for case in test["alert_rule_test"]]
    known = {rule["alert"] for rule in rules()}
    rings = {case["alertname"] for case in asked if case["exp_alerts"]}
    assert rings <= known
    assert {rule["alert"] for rule in rules() if rule["labels"]["severity"] == "page"} - rings == set()
    assert {case["alertname"] for case in asked if not case["exp_alerts"]} <= known


def test_each_rule_says_how_urgent_it_is_and_what_it_means() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"].endswith(".")


def command_named(words: list[str]) -> bool:
    """Does the command line have this command? What follows a command are its arguments."""
    found: Any = typer.main.get_command(app)
    for word in words:
        below = getattr(found, "commands", None)
        if below is None:
            return True
        if word not in below:
            return False
        found = below[word]
    return not hasattr(found, "commands")


@pytest.mark.parametrize("page", ["runbook.md", "security.md"])
def test_each_command_that_a_page_names_exists(page: str) -> None:
    named = re.findall(r"`(?:Next: )?solar-gateway ([^`]+)`", (DEPLOY / page).read_text())
    assert named
    assert [line for line in named if not command_named(line.split())] == []


def test_a_command_that_does_not_exist_would_be_found() -> None:
    assert not command_named(["ledger", "detatch"])
    assert not command_named(["ledger"])
    assert command_named(["ledger", "detach", "2026-10"])
