"""Operator routes for keys: create, list, change, rotate, revoke. Each change is in the audit log.

A key's scopes: `models` (names or snapshots), `endpoints` (names as in usage, or paths such as `/v1/chat/completions`), `ip_ranges`
(CIDR, IPv4 and IPv6). A scope that is left out allows all.
Errors: `OperatorRefused`, `NotFound`, `InvalidRequest`, `Unprocessable` (a cap too large), `Conflict` (`key_revoked`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from litestar import Controller, delete, get, patch, post
from msgspec import UNSET

from billing.accounts import store as accounts
from billing.database import Session
from billing.terms import usd_per_unit_of
from gateway.edge.desk import Desk
from gateway.edge.operator import checked_limits
from gateway.edge.shapes import KeyChange, NewKey, Rotation, columns_of_limits, to_wire_key
from gateway.edge.wire import from_wire_cap, from_wire_instant
from gateway.errors import InvalidRequest
from gateway.keys import lifecycle
from gateway.keys.address import from_wire_network
from gateway.meter.endpoint import ENDPOINTS

_OVERLAP_MAX_S = 30 * 86400
_SCOPE_VALUES_MAX = 256
_NAME_OF = {endpoint.upstream_path.strip("/"): endpoint.name for endpoint in ENDPOINTS}


class AccountKeys(Controller):
    """The keys of an account."""

    path = "/accounts/{account_id:str}/keys"
    tags = ("operator",)

    @post()
    async def create(self, account_id: str, data: NewKey, desk: Desk) -> dict[str, Any]:
        """Create a key. The secret is in this answer only."""
        async with desk.sessions.begin() as session:
            values = {
                "name": data.name,
                "monthly_cap": from_wire_cap(data.monthly_cap, "monthly_cap", await _worth(session, account_id, desk)),
                "expires_at": data.expires_at and from_wire_instant(data.expires_at, "expires_at"),
                "scopes": from_wire_scopes(data.scopes),
                **checked_limits(columns_of_limits(data.limits)),
            }
            key, secret, epoch = await lifecycle.create_key(session, account_id, values, desk.actor, desk.now())
        await desk.admission.outdate(account_id, epoch)
        return to_wire_key(key, secret)

    @get()
    async def listed(self, account_id: str, desk: Desk) -> dict[str, Any]:
        """All keys of an account, without their secrets; dead ones too."""
        async with desk.sessions() as session:
            await accounts.get(session, account_id)
            return {"data": [to_wire_key(row) for row in await lifecycle.keys_of(session, account_id)], "next": None}


class Keys(Controller):
    """Keys after their creation."""

    path = "/keys"
    tags = ("operator",)

    @get("/{key_id:str}")
    async def one(self, key_id: str, desk: Desk) -> dict[str, Any]:
        async with desk.sessions() as session:
            return to_wire_key(await lifecycle.get_key(session, key_id))

    @patch("/{key_id:str}")
    async def change(self, key_id: str, data: KeyChange, desk: Desk) -> dict[str, Any]:
        """Change what is given, from the next call on; `expires_at` ends a key at an instant."""
        async with desk.sessions.begin() as session:
            worth = await _worth(session, (await lifecycle.get_key(session, key_id)).account_id, desk)
            key, epoch = await lifecycle.change_key(session, key_id, _changes(data, worth), desk.actor, desk.now())
        await desk.admission.outdate(key.account_id, epoch)
        return to_wire_key(key)

    @post("/{key_id:str}/rotate")
    async def rotate(self, key_id: str, desk: Desk, data: Rotation | None = None) -> dict[str, Any]:
        """A successor with the same terms; the old key lives on for `overlap_s` seconds."""
        overlap_s = data.overlap_s if data is not None else 0
        if not 0 <= overlap_s <= _OVERLAP_MAX_S:
            raise InvalidRequest(f"overlap_s: must be from 0 to {_OVERLAP_MAX_S}.", param="overlap_s")
        async with desk.sessions.begin() as session:
            key, secret, epoch = await lifecycle.rotate_key(session, key_id, overlap_s, desk.actor, desk.now())
        await desk.admission.outdate(key.account_id, epoch)
        return to_wire_key(key, secret)

    @delete("/{key_id:str}", status_code=200)
    async def revoke(self, key_id: str, desk: Desk) -> dict[str, Any]:
        """End a key at once."""
        async with desk.sessions.begin() as session:
            key, epoch = await lifecycle.revoke_key(session, key_id, desk.actor, desk.now())
        await desk.admission.outdate(key.account_id, epoch)
        return to_wire_key(key)


def from_wire_scopes(scopes: dict[str, list[str]] | None) -> dict[str, list[str]]:
    """Scopes as they are kept: endpoints by name, ranges as networks; an unknown one is refused rather than never matched."""
    kept: dict[str, list[str]] = {}
    for name, values in (scopes or {}).items():
        if name not in _READS:
            raise InvalidRequest(f"scopes: only {', '.join(_READS)} can be named.", param="scopes")
        if len(values) > _SCOPE_VALUES_MAX:
            raise InvalidRequest(f"scopes.{name}: at most {_SCOPE_VALUES_MAX} can be named.", param=f"scopes.{name}")
        kept[name] = [_READS[name](value) for value in values]
    return kept


def _endpoint_name(text: str) -> str:
    path = text.strip("/").removeprefix("v1/").removeprefix("solar/")
    name = _NAME_OF.get(path, text)
    if name not in _NAME_OF.values():
        names = ", ".join(_NAME_OF.values())
        raise InvalidRequest(f"scopes.endpoints: must be among {names}, or their paths.", param="scopes.endpoints")
    return name


def _range(text: str) -> str:
    try:
        return str(from_wire_network(text))
    except ValueError:
        raise InvalidRequest(
            "scopes.ip_ranges: must be ranges such as 192.0.2.0/24 or 2001:db8::/32 (no bits set behind the prefix).",
            param="scopes.ip_ranges",
        ) from None


_READS: Mapping[str, Callable[[str], str]] = {"models": str, "endpoints": _endpoint_name, "ip_ranges": _range}


async def _worth(session: Session, account_id: str, desk: Desk) -> Decimal | None:
    account = await accounts.get(session, account_id)
    return await usd_per_unit_of(session, account.currency, account.timezone, desk.now())


def _changes(data: KeyChange, worth: Decimal | None) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if data.name is not UNSET:
        values["name"] = data.name
    if data.limits is not UNSET:
        values |= checked_limits(columns_of_limits(data.limits))
    if data.monthly_cap is not UNSET:
        values["monthly_cap"] = from_wire_cap(data.monthly_cap, "monthly_cap", worth)
    if data.expires_at is not UNSET:
        values["expires_at"] = data.expires_at and from_wire_instant(data.expires_at, "expires_at")
    if data.scopes is not UNSET:
        values["scopes"] = from_wire_scopes(data.scopes)
    return values
