"""Operator routes for accounts and keys, under /operator/v1. Each change is in the audit log.

Errors: `OperatorRefused`, `NotFound`, `InvalidRequest`, `Unprocessable`.
"""

from __future__ import annotations

from typing import Any

from litestar import Controller, delete, get, patch, post
from msgspec import UNSET

from billing.accounts import store as accounts
from billing.money import MINOR_UNIT
from gateway.edge.desk import LIST_MAX, Desk
from gateway.edge.period import checked_zone
from gateway.edge.shapes import (
    AccountChange,
    NewAccount,
    NewKey,
    Rotation,
    columns_of_limits,
    columns_of_tax,
    to_wire_account,
    to_wire_key,
    to_wire_page,
)
from gateway.edge.wire import from_wire_cap, from_wire_instant
from gateway.errors import InvalidRequest
from gateway.keys import lifecycle

ACTOR = "operator"
_KINDS = ("standard", "club")
_BILLING = ("invoice", "prepaid", "stripe_meter")
_STATUSES = ("active", "suspended", "closed")
_OVERLAP_MAX_S = 30 * 86400
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
        values = {
            "name": data.name,
            "kind": one_of(data.kind, _KINDS, "kind"),
            "currency": currency,
            "timezone": checked_zone(data.timezone, "timezone"),
            "billing": one_of(data.billing, _BILLING, "billing"),
            "monthly_cap": from_wire_cap(data.monthly_cap, "monthly_cap", currency),
            "prepaid_balance": from_wire_cap(data.prepaid_balance or "0", "prepaid_balance", currency),
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
            currency = (await accounts.get(session, account_id)).currency
            row = await accounts.change(session, account_id, _changes(data, currency), ACTOR, desk.now())
        await desk.admission.outdate(row.id, row.epoch)
        return to_wire_account(row)

    @post("/{account_id:str}/keys")
    async def create_key(self, account_id: str, data: NewKey, desk: Desk) -> dict[str, Any]:
        """Create a key. The secret is in this answer only."""
        if set(data.scopes or {}) - {"models", "endpoints"}:
            raise InvalidRequest("scopes: only models and endpoints can be named.", param="scopes")
        async with desk.sessions.begin() as session:
            currency = (await accounts.get(session, account_id)).currency
            values = {
                "name": data.name,
                "monthly_cap": from_wire_cap(data.monthly_cap, "monthly_cap", currency),
                "expires_at": data.expires_at and from_wire_instant(data.expires_at, "expires_at"),
                "scopes": data.scopes or {},
                **checked_limits(columns_of_limits(data.limits)),
            }
            key, secret, epoch = await lifecycle.create_key(session, account_id, values, ACTOR, desk.now())
        await desk.admission.outdate(account_id, epoch)
        return to_wire_key(key, secret)

    @get("/{account_id:str}/keys")
    async def keys(self, account_id: str, desk: Desk) -> dict[str, Any]:
        """All keys of an account, without their secrets."""
        async with desk.sessions() as session:
            await accounts.get(session, account_id)
            return {"data": [to_wire_key(row) for row in await lifecycle.keys_of(session, account_id)], "next": None}


class Keys(Controller):
    """Keys after their creation."""

    path = "/keys"
    tags = ("operator",)

    @post("/{key_id:str}/rotate")
    async def rotate(self, key_id: str, desk: Desk, data: Rotation | None = None) -> dict[str, Any]:
        """A successor with the same terms; the old key lives on for `overlap_s` seconds."""
        overlap_s = data.overlap_s if data is not None else 0
        if not 0 <= overlap_s <= _OVERLAP_MAX_S:
            raise InvalidRequest(f"overlap_s: must be from 0 to {_OVERLAP_MAX_S}.", param="overlap_s")
        async with desk.sessions.begin() as session:
            key, secret, epoch = await lifecycle.rotate_key(session, key_id, overlap_s, ACTOR, desk.now())
        await desk.admission.outdate(key.account_id, epoch)
        return to_wire_key(key, secret)

    @delete("/{key_id:str}", status_code=200)
    async def revoke(self, key_id: str, desk: Desk) -> dict[str, Any]:
        """End a key at once."""
        async with desk.sessions.begin() as session:
            key, epoch = await lifecycle.revoke_key(session, key_id, ACTOR, desk.now())
        await desk.admission.outdate(key.account_id, epoch)
        return to_wire_key(key)


def _changes(data: AccountChange, currency: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in ("name", "owner_group"):
        if getattr(data, name) is not UNSET:
            values[name] = getattr(data, name)
    if data.status is not UNSET:
        values["status"] = one_of(data.status, _STATUSES, "status")
    if data.monthly_cap is not UNSET:
        values["monthly_cap"] = from_wire_cap(data.monthly_cap, "monthly_cap", currency)
    if data.prepaid_balance is not UNSET:
        values["prepaid_balance"] = from_wire_cap(data.prepaid_balance, "prepaid_balance", currency)
    if data.limits is not UNSET:
        values |= checked_limits(columns_of_limits(data.limits))
    if data.tax is not UNSET:
        values |= columns_of_tax(data.tax)
    return values
