"""Operator routes for accounts, under /operator/v1. Each change is in the audit log.

Errors: `OperatorRefused`, `NotFound`, `InvalidRequest`, `Unprocessable`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from litestar import Controller, get, patch, post
from msgspec import UNSET

from billing.accounts import store as accounts
from billing.accounts.tables import Account
from billing.database import Session
from billing.money import MINOR_UNIT
from billing.terms import usd_per_unit_of
from gateway.alerts import store as alert_store
from gateway.alerts.shapes import to_wire_alert
from gateway.alerts.webhook import UnsafeUrl, checked_url
from gateway.edge.desk import LIST_MAX, Desk
from gateway.edge.period import checked_zone
from gateway.edge.shapes import (
    AccountChange,
    NewAccount,
    columns_of_limits,
    columns_of_tax,
    to_wire_account,
    to_wire_page,
)
from gateway.edge.wire import from_wire_cap
from gateway.errors import InvalidRequest

_KINDS = ("standard", "club")
_BILLING = ("invoice", "prepaid", "stripe_meter")
_STATUSES = ("active", "suspended", "closed")
_LIMIT_MAX = 1_000_000_000
_MODELS_MAX = 64


def one_of(value: str, allowed: tuple[str, ...], field: str) -> str:
    if value not in allowed:
        raise InvalidRequest(f"{field}: must be one of {', '.join(allowed)}.", param=field)
    return value


def checked_limits(limits: dict[str, Any]) -> dict[str, Any]:
    """The columns of limits; raises `InvalidRequest` for a limit that is none."""
    models = limits["model_limits"]
    if len(models) > _MODELS_MAX:
        raise InvalidRequest(f"limits.models: at most {_MODELS_MAX} models.", param="limits.models")
    named = {f"limits.{name}": value for name, value in limits.items() if name != "model_limits"}
    named |= {f"limits.models.{model}.{name}": value for model, own in models.items() for name, value in own.items()}
    for name, value in named.items():
        if value is not None and not 1 <= value <= _LIMIT_MAX:
            raise InvalidRequest(f"{name}: must be from 1 to {_LIMIT_MAX}, or null for none.", param=name)
    return limits


class Accounts(Controller):
    """Who pays."""

    path = "/accounts"
    tags = ("operator",)

    @post()
    async def create(self, data: NewAccount, desk: Desk) -> dict[str, Any]:
        """Create an account; only `name` is required."""
        currency = one_of(data.currency, tuple(MINOR_UNIT), "currency")
        zone = checked_zone(data.timezone, "timezone")
        async with desk.sessions() as session:
            worth = await usd_per_unit_of(session, currency, zone, desk.now())
        values = {
            "name": data.name,
            "kind": one_of(data.kind, _KINDS, "kind"),
            "currency": currency,
            "timezone": zone,
            "billing": one_of(data.billing, _BILLING, "billing"),
            "monthly_cap": from_wire_cap(data.monthly_cap, "monthly_cap", worth),
            "prepaid_balance": from_wire_cap(data.prepaid_balance or "0", "prepaid_balance", worth),
            "owner_group": data.owner_group,
            **columns_of_tax(data.tax),
            "alert_webhook_url": _checked_url(data.alert_webhook_url),
            **checked_limits(columns_of_limits(data.limits)),
        }
        async with desk.sessions.begin() as session:
            row = await accounts.create(session, values, desk.actor, desk.now())
            return to_wire_account(row) | await _new_secret(session, row, None, desk)

    @get()
    async def listed(self, desk: Desk, after: str | None = None, limit: int = 100) -> dict[str, Any]:
        """All accounts, a page at a time."""
        limit = max(1, min(limit, LIST_MAX))
        async with desk.sessions() as session:
            rows = await accounts.page(session, after, limit + 1)
        return to_wire_page([to_wire_account(row) for row in rows], limit)

    @get("/{account_id:str}")
    async def one(self, account_id: str, desk: Desk) -> dict[str, Any]:
        async with desk.sessions() as session:
            return to_wire_account(await accounts.get(session, account_id))

    @patch("/{account_id:str}")
    async def change(self, account_id: str, data: AccountChange, desk: Desk) -> dict[str, Any]:
        """Change what is given. Running calls go on; the next call sees the change."""
        async with desk.sessions.begin() as session:
            before = await accounts.get(session, account_id)
            worth = await usd_per_unit_of(session, before.currency, before.timezone, desk.now())
            url_before = before.alert_webhook_url
            row = await accounts.change(session, account_id, _changes(data, worth), desk.actor, desk.now())
            secret = await _new_secret(session, row, url_before, desk)
        await desk.admission.outdate(row.id, row.epoch)
        return to_wire_account(row) | secret

    @get("/{account_id:str}/alerts")
    async def alerts(self, account_id: str, desk: Desk) -> dict[str, Any]:
        """An account's newest alerts, and how far their delivery has come."""
        async with desk.sessions() as session:
            await accounts.get(session, account_id)
            rows = await alert_store.alerts_of(session, account_id)
        return {"data": [to_wire_alert(row) for row in rows], "next": None}


def _checked_url(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return checked_url(text)
    except UnsafeUrl as error:
        raise InvalidRequest(f"alert_webhook_url: {error}.", param="alert_webhook_url") from None


async def _new_secret(session: Session, row: Account, url_before: str | None, desk: Desk) -> dict[str, str]:
    """A URL that is new gets a secret of its own, which is in this answer only."""
    if row.alert_webhook_url is None or row.alert_webhook_url == url_before:
        return {}
    return {"alert_webhook_secret": await alert_store.new_secret(session, row.id, desk.now())}


def _changes(data: AccountChange, worth: Decimal | None) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in ("name", "owner_group"):
        if getattr(data, name) is not UNSET:
            values[name] = getattr(data, name)
    if data.status is not UNSET:
        values["status"] = one_of(data.status, _STATUSES, "status")
    if data.monthly_cap is not UNSET:
        values["monthly_cap"] = from_wire_cap(data.monthly_cap, "monthly_cap", worth)
    if data.prepaid_balance is not UNSET:
        values["prepaid_balance"] = from_wire_cap(data.prepaid_balance, "prepaid_balance", worth)
    if data.alert_webhook_url is not UNSET:
        values["alert_webhook_url"] = _checked_url(data.alert_webhook_url)
    if data.limits is not UNSET:
        values |= checked_limits(columns_of_limits(data.limits))
    if data.tax is not UNSET:
        values |= columns_of_tax(data.tax)
    return values
