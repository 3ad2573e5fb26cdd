"""Finance's routes: closing a month, invoices, share plans, shares, and what could not be booked.

Errors: `OperatorRefused`, `NotFound`, `InvalidRequest`, `Conflict` (month_not_over, earlier_month_open, …).
"""

from __future__ import annotations

from typing import Any

from litestar import get, post
from msgspec import structs

from billing.close import EarlierMonthOpen, LaterMonthClosed, MonthClosed, MonthNotOver, MonthRefused, close_month
from billing.exports.shares import share_json
from billing.exports.statement import invoice_json
from billing.invoice.read import page_invoices
from billing.money import to_wire_decimal
from billing.periods import Month
from billing.share import store as plans
from billing.share.check import PlanUnsafe
from billing.share.read import page_shares
from billing.share.tables import SharePlan
from gateway.edge.desk import LIST_MAX, Desk
from gateway.edge.shapes import CloseOrder, NewSharePlan
from gateway.edge.wire import YEAR_MAX, YEAR_MIN
from gateway.errors import Conflict, GatewayError, InvalidRequest

_REFUSALS: dict[type[Exception], str] = {
    MonthNotOver: "month_not_over",
    EarlierMonthOpen: "earlier_month_open",
    LaterMonthClosed: "later_month_closed",
    PlanUnsafe: "share_plan_unsafe",
}


class NotAcceptable(GatewayError):
    """None of the forms in which this can be had was asked for."""

    status, code, type = 406, "not_acceptable", "invalid_request_error"


def month_of(text: str) -> Month:
    try:
        month = Month.parse(text)
    except ValueError as error:
        raise InvalidRequest(f"month: {error}.", param="month") from None
    if not YEAR_MIN <= month.year <= YEAR_MAX:
        raise InvalidRequest(f"month: must lie in the years {YEAR_MIN} to {YEAR_MAX}.", param="month")
    return month


@post("/months/{month:str}/close", status_code=200, tags=["finance"])
async def close(month: str, desk: Desk, data: CloseOrder | None = None) -> dict[str, Any]:
    """Issue the month's invoices and compute its shares; a draft writes nothing. Repeating it changes nothing."""
    draft = data is not None and data.draft
    closing = month_of(month)
    if not await desk.flushed() and not draft:
        raise Conflict(
            "ledger_behind", "The ledger does not hold every settled call yet. Try again when the drain has caught up."
        )
    try:
        closed = await close_month(
            desk.sessions,
            closing,
            desk.now(),
            draft=draft,
            grace_s=desk.month_grace_s,
            actor=desk.actor,
            progress=lambda done, total: None,
            seller=desk.seller,
        )
    except (MonthRefused, PlanUnsafe) as error:
        raise Conflict(_REFUSALS[type(error)], f"{error}.") from None
    return to_wire_closed(closed)


@get("/invoices", tags=["finance"])
async def invoices(
    desk: Desk, month: str | None = None, account: str | None = None, after: str | None = None, limit: int = 100
) -> dict[str, Any]:
    """Invoices by number, of a month or an account."""
    return await invoice_page(desk, month, account, after, limit)


@post("/share-plans", tags=["finance"])
async def add_share_plan(data: NewSharePlan, desk: Desk) -> dict[str, Any]:
    """How much of each payer's revenue is shared, from a month on."""
    values = structs.asdict(data)
    try:
        async with desk.sessions.begin() as session:
            return to_wire_plan(await plans.add_plan(session, values, desk.actor, desk.now()))
    except ValueError as error:
        raise InvalidRequest(f"{error}.", param=str(error).partition(":")[0]) from None


@get("/share-plans", tags=["finance"])
async def share_plans(desk: Desk) -> dict[str, Any]:
    async with desk.sessions() as session:
        return {"data": [to_wire_plan(row) for row in await plans.all_plans(session)], "next": None}


@get("/shares", tags=["finance"])
async def shares(
    desk: Desk, month: str | None = None, account: str | None = None, after: str | None = None, limit: int = 100
) -> dict[str, Any]:
    """What partners earned, by month and account."""
    return await share_page(desk, month, account, after, limit)


@get("/unreadable-records", tags=["operator"])
async def unreadable_records(desk: Desk, limit: int = 100) -> dict[str, Any]:
    """Usage records that could not be read or stored: of calls that were served and are in no bill yet."""
    return {"data": await desk.unreadable(max(1, min(limit, LIST_MAX))), "next": None}


async def invoice_page(
    desk: Desk, month: str | None, account: str | None, after: str | None, limit: int
) -> dict[str, Any]:
    of = str(month_of(month)) if month else None
    async with desk.sessions() as session:
        rows, cursor = await page_invoices(
            session, month=of, account_id=account, after=after, count_max=max(1, min(limit, LIST_MAX))
        )
    return {"data": [invoice_json(row.invoice, row.lines, row.credits) for row in rows], "next": cursor}


async def share_page(
    desk: Desk, month: str | None, account: str | None, after: str | None, limit: int
) -> dict[str, Any]:
    of = str(month_of(month)) if month else None
    try:
        async with desk.sessions() as session:
            rows, cursor = await page_shares(
                session, month=of, account_id=account, after=after, count_max=max(1, min(limit, LIST_MAX))
            )
    except ValueError as error:
        raise InvalidRequest(f"after: {error}.", param="after") from None
    return {"data": [share_json(row) for row in rows], "next": cursor}


def to_wire_closed(closed: MonthClosed) -> dict[str, Any]:
    """The month's invoices by name, and its shares in full."""
    named = [
        {
            "id": row.id,
            "number": row.number,
            "account_id": row.account_id,
            "currency": row.currency,
            "total": to_wire_decimal(row.total),
            "status": row.status,
        }
        for row in closed.invoices
    ]
    shape = {
        "month": str(closed.month),
        "draft": closed.draft,
        "invoices": named,
        "shares": [share_json(row) for row in closed.shares],
    }
    return shape | ({"drafts": [invoice_json(draft, draft.lines) for draft in closed.drafts]} if closed.draft else {})


def to_wire_plan(row: SharePlan) -> dict[str, Any]:
    return {
        "id": row.id,
        "effective_month": row.effective_month,
        "pool_rate": to_wire_decimal(row.pool_rate),
        "rule": row.rule,
        "minimum_payout": to_wire_decimal(row.minimum_payout),
        "payer_cap": None if row.payer_cap is None else to_wire_decimal(row.payer_cap),
    }


FINANCE: list[Any] = [close, invoices, add_share_plan, share_plans, shares, unreadable_records]
