"""The caller's own view, with the gateway key: models, usage, account.

Errors: `InvalidApiKey`, `AccountSuspended`, `InvalidRequest`.
"""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, get
from litestar.params import QueryParameter

from billing.accounts import store as accounts
from billing.money import NANO_USD_PER_USD, to_wire_decimal
from billing.periods import Month
from billing.prices import Price
from billing.usage import PAGE_KINDS, TOKEN_KINDS
from gateway.alerts import store as alert_store
from gateway.alerts.shapes import to_wire_alert
from gateway.edge.calls import own_calls
from gateway.edge.desk import Desk
from gateway.edge.finance import invoice_page, share_page
from gateway.edge.operator import one_of
from gateway.edge.period import interval_of
from gateway.edge.pricing import usage_shape
from gateway.edge.shapes import to_wire_account
from gateway.meter.sizes import SIZES

_NANO_PLACES = 9


@get(["/v1/models", "/v1/solar/models"], tags=["inference"])
async def models(request: Request[Any, Any, Any], desk: Desk) -> dict[str, Any]:
    """The models that this caller can ask for: only those with a price, with their context and our price."""
    caller = await desk.caller(request)
    offered = await desk.prices.offered(caller, desk.now())
    if caller.models is not None:
        offered = {name: price for name, price in offered.items() if caller.models & {name, price.model}}
    return {"object": "list", "data": [_to_wire_model(name, price) for name, price in offered.items()]}


@get("/v1/usage", tags=["account"])
async def own_usage(
    request: Request[Any, Any, Any],
    desk: Desk,
    start: Annotated[str | None, QueryParameter(name="from")] = None,
    to: str | None = None,
    group_by: str = "day",
) -> dict[str, Any]:
    """Usage of the own account; dates are days of the account's zone, half-open."""
    caller = await desk.caller(request)
    group_by = one_of(group_by, ("day", "model", "key"), "group_by")
    begins, ends = interval_of(start, to, caller.zone, desk.now())
    return await usage_shape(desk, begins, ends, caller.account_id, group_by, caller.zone)


@get("/v1/account", tags=["account"])
async def own_account(request: Request[Any, Any, Any], desk: Desk) -> dict[str, Any]:
    """Tier, discount, limits, grant tokens left, month to date, alerts of its budgets."""
    caller = await desk.caller(request)
    now = desk.now()
    month = str(Month.of(now, caller.zone))
    await desk.admission.sync(caller, month)
    [(counted, pending, held)], known = await desk.admission.in_hand(caller.account_id, [f"m:{month}"])
    now_ms = int(now.timestamp() * 1000)
    grants = [grant for grant in known if grant[1] <= now_ms < grant[2]]
    async with desk.sessions() as session:
        row = await accounts.get(session, caller.account_id)
        alerts = await alert_store.alerts_of(session, row.id, [month, to_wire_decimal(row.prepaid_balance)])
        account = to_wire_account(row)
    discount, tier, reason = caller.discount_at(now)
    return {
        **account,
        "tier": tier,
        "discount": str(discount),
        "discount_reason": reason,
        "grant_tokens_left": sum(grant[3] for grant in grants),
        "alerts": [to_wire_alert(alert) for alert in alerts],
        "month": month,
        "month_to_date": {"cost": _usd(counted + pending), "held": _usd(held), "currency": "USD"},
    }


@get("/v1/invoices", tags=["account"])
async def own_invoices(
    request: Request[Any, Any, Any], desk: Desk, month: str | None = None, after: str | None = None, limit: int = 100
) -> dict[str, Any]:
    """The own account's issued invoices."""
    caller = await desk.caller(request)
    return await invoice_page(desk, month, caller.account_id, after, limit)


@get("/v1/shares", tags=["account"])
async def own_shares(
    request: Request[Any, Any, Any], desk: Desk, month: str | None = None, after: str | None = None, limit: int = 100
) -> dict[str, Any]:
    """The own account's part of the revenue, and each step of why."""
    caller = await desk.caller(request)
    return await share_page(desk, month, caller.account_id, after, limit)


def _usd(nano: int) -> str:
    return f"{nano // NANO_USD_PER_USD}.{nano % NANO_USD_PER_USD:0{_NANO_PLACES}d}"


def _to_wire_model(name: str, price: Price) -> dict[str, Any]:
    size = SIZES.get(price.model)
    kinds = {
        kind: to_wire_decimal(price.prices.of(kind)) for kind in (*TOKEN_KINDS, *PAGE_KINDS) if price.prices.of(kind)
    }
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "upstage",
        "model": price.model,
        "context_length": size.context_tokens if size else None,
        "max_output_tokens": size.output_tokens_max if size else None,
        "price": {**kinds, "discount": str(price.discount), "currency": "USD"},
    }


ACCOUNT: list[Any] = [models, own_usage, own_calls, own_account, own_invoices, own_shares]
