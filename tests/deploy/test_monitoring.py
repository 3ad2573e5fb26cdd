"""Alerts and dashboards ask for series that exist, and each alert has its page in the runbook. A renamed series fails here."""

from __future__ import annotations

import json
import re
from typing import Any

from prometheus_client import REGISTRY

from gateway import metrics
from tests.deploy.files import DEPLOY, kubernetes_documents, yaml_documents

_SERIES = re.compile(r"\b(?:solar|gateway)_[a-z_]+\b")
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


def expressions() -> list[str]:
    board = json.loads((DEPLOY / "dashboards" / "solar.json").read_text())
    return [rule["expr"] for rule in rules()] + [t["expr"] for panel in board["panels"] for t in panel["targets"]]


def test_every_series_that_is_asked_for_is_exported() -> None:
    asked = {name for expression in expressions() for name in _SERIES.findall(expression)}
    assert len(asked) > 12
    assert asked - exported() == set()


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


def test_each_rule_says_how_urgent_it_is_and_what_it_means() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"].endswith(".")
