"""Operator routes for accounts, under /operator/v1. Each change is in the audit log.

Errors: `OperatorRefused`, `NotFound`, `InvalidRequest`, `Unprocessable`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from litestar import Controller, get, patch, post
from msgspec import UNSET

from billing.accounts import store as accounts
from billing.money import MINOR_UNIT
from billing.terms import usd_per_unit_of
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

ACTOR = "operator"
_KINDS = ("standard", "club")
_BILLING = ("invoice", "prepaid", "stripe_meter")
_STATUSES = ("active", "suspended", "closed")
_LIMIT_MAX = 1_000_000_000


def one_of(value: str, allowed: tuple[str, ...], field: str) -> str:
    if value not in allowed:
        raise InvalidRequest(f"{field}: must be one of {', '.join(allowed)}.", param=field)
    return value


def checked_limits(limits: dict[str, int | None]) -> dict[str, int | None]:
    for name, value in limits.items():
        if value is not None and not 1 <= value <= _LIMIT_MAX:
            raise InvalidRequest(
                f"limits.{name}: must be from 1 to {_LIMIT_MAX}, or null for none.", param=f"limits.{name}"
            )
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
            **checked_limits(columns_of_limits(data.limits)),
        }
        async with desk.sessions.begin() as session:
            return to_wire_account(await accounts.create(session, values, ACTOR, desk.now()))

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
            row = await accounts.change(session, account_id, _changes(data, worth), ACTOR, desk.now())
        await desk.admission.outdate(row.id, row.epoch)
        return to_wire_account(row)


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
    if data.limits is not UNSET:
        values |= checked_limits(columns_of_limits(data.limits))
    if data.tax is not UNSET:
        values |= columns_of_tax(data.tax)
    return values
