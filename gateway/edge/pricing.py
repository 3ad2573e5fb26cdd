"""Operator routes for prices and what they rest on: rate cards, exchange rates, training manifests; and usage over all accounts.

Errors: `OperatorRefused`, `InvalidRequest`, `Conflict` (rate_card_in_use, rate_card_overlaps, fx_rate_exists).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from litestar import Controller, Request, get, post
from litestar.params import QueryParameter
from msgspec import UNSET, to_builtins

from billing import fx, rate_cards
from billing.accounts import store as accounts
from billing.accounts.store import audit
from billing.club import store as club
from billing.ledger.read import calls_since
from billing.ledger.usage import UsageSum, usage
from billing.money import ZERO, to_wire_decimal
from gateway.edge.calls import all_calls
from gateway.edge.desk import LIST_MAX, Desk
from gateway.edge.operator import one_of
from gateway.edge.period import interval_of
from gateway.edge.shapes import (
    NewFxRate,
    NewManifest,
    NewRateCard,
    to_wire_house_usage,
    to_wire_page,
    to_wire_rate_card,
    to_wire_usage,
)
from gateway.edge.wire import from_wire_amount, from_wire_day, from_wire_instant
from gateway.errors import Conflict, InvalidRequest


class RateCards(Controller):
    """Prices that hold from an instant on."""

    path = "/rate-cards"
    tags = ("operator",)

    @post()
    async def add(self, data: NewRateCard, desk: Desk) -> dict[str, Any]:
        """Post a card. Backdating is refused where the ledger has calls that it would reprice."""
        values: dict[str, Any] = {
            "effective_at": from_wire_instant(data.effective_at, "effective_at"),
            "account_id": data.account_id,
            "models": to_builtins(data.models),
        }
        if data.club_discount is not UNSET:
            values["club_discount"] = data.club_discount
        try:
            async with desk.sessions.begin() as session:
                if data.account_id is not None:
                    await accounts.get(session, data.account_id)
                row = await rate_cards.add_card(session, values, calls_since, desk.now())
                audit(session, desk.actor, "rate_card.add", row.id, {"account": row.account_id}, desk.now())
                card = rate_cards.from_row_card(row)
        except rate_cards.RateCardOverlaps as error:
            raise Conflict("rate_card_overlaps", f"{error}.") from None
        except rate_cards.RateCardInUse as error:
            raise Conflict("rate_card_in_use", f"{error}.") from None
        except ValueError as error:
            raise InvalidRequest(f"{error}.", param="models") from None
        await desk.admission.new_prices(rate_cards.version_of([card]))
        return to_wire_rate_card(row)

    @get()
    async def listed(self, desk: Desk, after: str | None = None, limit: int = 100) -> dict[str, Any]:
        limit = max(1, min(limit, LIST_MAX))
        async with desk.sessions() as session:
            rows = await rate_cards.page(session, after, limit + 1)
        return to_wire_page([to_wire_rate_card(row) for row in rows], limit)


@post("/fx-rates", tags=["operator"])
async def add_fx_rate(data: NewFxRate, desk: Desk) -> dict[str, Any]:
    """State a day's rate, once: an invoice may rest on it."""
    one_of(data.pair, ("USD/KRW",), "pair")
    day = from_wire_day(data.date, "date")
    rate = from_wire_amount(data.rate, "rate")
    if rate == ZERO:
        raise InvalidRequest("rate: must be above zero.", param="rate")
    async with desk.sessions.begin() as session:
        if not await fx.set_rate(session, day, data.pair, rate):
            raise Conflict(
                "fx_rate_exists", f"another {data.pair} rate is known for {day}; a stated rate is not changed."
            )
        audit(session, desk.actor, "fx_rate.add", data.pair, {"date": data.date, "rate": data.rate}, desk.now())
    return {"date": data.date, "pair": data.pair, "rate": to_wire_decimal(rate)}


@post("/fx-rates/import", status_code=200, tags=["operator"])
async def import_fx_rates(request: Request[Any, Any, Any], desk: Desk) -> dict[str, Any]:
    """State many rates from a CSV (`date,pair,rate`), all or none. Repeating it changes nothing."""
    try:
        quotes = fx.from_wire_rates((await request.body()).decode("utf-8-sig"))
        async with desk.sessions.begin() as session:
            new = await fx.import_rates(session, quotes)
            audit(session, desk.actor, "fx_rate.import", "USD/KRW", {"rates": len(quotes), "new": new}, desk.now())
    except fx.WrongRates as error:
        raise InvalidRequest(f"{error}.", param=f"line {error.line}") from None
    except fx.RateDiffers as error:
        raise Conflict("fx_rate_exists", f"{error}; nothing was imported.") from None
    days = sorted(quote.day for quote in quotes)
    return {"rates": len(quotes), "new": new, "from": days[0].isoformat(), "to": days[-1].isoformat()}


@get("/fx-rates", tags=["operator"])
async def fx_rates(desk: Desk) -> dict[str, Any]:
    async with desk.sessions() as session:
        rows = await fx.all_rates(session)
    data = [{"date": row.day.isoformat(), "pair": row.pair, "rate": to_wire_decimal(row.rate)} for row in rows]
    return {"data": data, "next": None}


@post("/training-manifests", tags=["operator"])
async def set_manifest(data: NewManifest, desk: Desk) -> dict[str, Any]:
    """State which datasets trained a model; the newest statement counts."""
    async with desk.sessions.begin() as session:
        row = await club.set_manifest(session, data.model, data.datasets, desk.actor, desk.now())
    return {"id": row.id, "model": row.model, "datasets": row.datasets}


@get("/training-manifests", tags=["operator"])
async def manifests(desk: Desk) -> dict[str, Any]:
    async with desk.sessions() as session:
        known = await club.manifests(session)
    return {"data": [{"model": m, "datasets": sorted(d)} for m, d in sorted(known.items())], "next": None}


@get("/usage", tags=["operator"])
async def all_usage(
    desk: Desk,
    start: Annotated[str | None, QueryParameter(name="from")] = None,
    to: str | None = None,
    group_by: str = "account",
    account: str | None = None,
    zone: str = "Asia/Seoul",
) -> dict[str, Any]:
    """Usage over all accounts, or of one."""
    group_by = one_of(group_by, ("day", "model", "key", "account"), "group_by")
    begins, ends = interval_of(start, to, zone, desk.now())
    if account is not None:
        async with desk.sessions() as session:
            await accounts.get(session, account)
    return await usage_shape(desk, begins, ends, account, group_by, zone, to_wire_house_usage)


async def usage_shape(
    desk: Desk,
    start: datetime,
    end: datetime,
    account_id: str | None,
    group_by: str | None,
    zone: str,
    to_wire: Callable[[UsageSum], dict[str, Any]] = to_wire_usage,
) -> dict[str, Any]:
    """The contract's usage object: right to the call once `complete`."""
    complete = await desk.flushed(account_id)
    async with desk.sessions() as session:
        groups, total = await usage(session, start, end, account_id=account_id, group_by=group_by, zone=zone)
    data = [to_wire(group) for group in groups]
    return {"data": data, "total": to_wire(total), "currency": "USD", "complete": complete}


PRICING: list[Any] = [
    RateCards,
    add_fx_rate,
    import_fx_rates,
    fx_rates,
    set_manifest,
    manifests,
    all_usage,
    all_calls,
]
