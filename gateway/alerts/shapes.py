"""Alerts as they stand on the wire: in `GET /v1/account`, and in the event that is sent. Conversions only."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from billing.money import to_wire_decimal
from gateway.alerts.tables import BudgetAlert

EVENT_TYPE = "budget.threshold_reached"


def to_wire_alert(row: BudgetAlert) -> dict[str, Any]:
    """One alert; `month` is null for a prepaid balance, `key_id` for what concerns the whole account."""
    kind, _, key_id = row.scope.partition(":")
    return {
        "id": row.id,
        "scope": kind,
        "key_id": key_id or None,
        "month": None if kind == "prepaid" else row.period,
        "threshold": row.threshold_percent,
        "reason": row.reason,
        "budget": to_wire_decimal(row.budget),
        "spent": to_wire_decimal(row.spent),
        "currency": row.currency,
        "at": _instant(row.at),
        "delivered_at": _instant(row.delivered_at),
    }


def to_wire_event(row: BudgetAlert) -> dict[str, Any]:
    """What is sent; the same bytes at every attempt, so that the receiver can tell a repetition by its id."""
    shown = {name: value for name, value in to_wire_alert(row).items() if name not in ("id", "delivered_at")}
    return {
        "id": row.id,
        "type": EVENT_TYPE,
        "created_at": _instant(row.at),
        "data": {"account_id": row.account_id, **shown},
    }


def _instant(instant: datetime | None) -> str | None:
    return None if instant is None else instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
