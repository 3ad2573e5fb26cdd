"""The revenue share after a month's end: single statements, who feeds whose share, whom partners are paid to, and payment runs.

Errors: `NotFound`, `InvalidRequest`, `Conflict` (payout_reversed), `NotAcceptable`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from litestar import Request, Response, get, post
from msgspec import Struct, structs

from billing.accounts import store as accounts
from billing.exports.payouts import hold_json, left_out_json, payee_json, payout_json, payouts_csv
from billing.exports.reviews import review_json
from billing.exports.shares import share_for_finance, share_json, share_pdf, steps_csv
from billing.payouts import read, store
from billing.payouts.review import review
from billing.share.read import find_share, share_month
from gateway.edge.desk import LIST_MAX, Desk
from gateway.edge.finance import month_of
from gateway.edge.shapes import Text
from gateway.errors import Conflict, InvalidRequest, NotFound
from gateway.office.files import CSV, JSON, PDF, file_answer, wanted_form

HOUSE = "SOLAR gateway"
FILE_ROWS_MAX = 50_000


class NewPayee(Struct, forbid_unknown_fields=True):
    """Whom an account's shares are paid to."""

    kind: Text
    country: Text
    legal_name: Text
    currency: Text
    destination: dict[Text, Text]
    registration_number: Text | None = None


class Why(Struct, forbid_unknown_fields=True):
    """The reason of a hold, its release, or a reversal."""

    reason: Text


class PayOrder(Struct, forbid_unknown_fields=True):
    """Everything that is due up to this month's statements."""

    month: Text


@get("/shares/{month:str}/{account_id:str}", tags=["finance"])
async def statement(request: Request[Any, Any, Any], month: str, account_id: str, desk: Desk) -> Response[Any]:
    """A partner's statement of a month with each step, as JSON, CSV or PDF by the request's Accept header."""
    return await statement_answer(request, desk, month, account_id, for_finance=True)


@get("/shares/{month:str}/pools", tags=["finance"])
async def pools(month: str, desk: Desk) -> dict[str, Any]:
    """How a month was shared out: every pool with its payer and invoice, and what stayed with the house."""
    async with desk.sessions() as session:
        row = await share_month(session, str(month_of(month)))
    if row is None:
        raise NotFound(f"{month} is not shared out; close it first.")
    return {
        "month": row.month,
        "pool": f"{row.pool}",
        "house": f"{row.house}",
        "plan_id": row.plan_id,
        "data": row.pools,
        "next": None,
    }


@get("/shares/{month:str}/review", tags=["finance"])
async def reviewed(month: str, desk: Desk) -> dict[str, Any]:
    """Who feeds whose share, the most suspicious first, and accounts that seem to belong to one owner."""
    async with desk.sessions() as session:
        return review_json(await review(session, str(month_of(month))))


@post("/accounts/{account_id:str}/payee", tags=["finance"])
async def set_payee(account_id: str, data: NewPayee, desk: Desk) -> dict[str, Any]:
    """State whom the account's shares are paid to from now on, and for the tax papers, who that is."""
    try:
        async with desk.sessions.begin() as session:
            return payee_json(await store.set_payee(session, account_id, structs.asdict(data), desk.actor, desk.now()))
    except ValueError as error:
        raise _invalid(error) from None


@get("/accounts/{account_id:str}/payee", tags=["finance"])
async def payee(account_id: str, desk: Desk) -> dict[str, Any]:
    """Whom the account's shares are paid to."""
    async with desk.sessions() as session:
        await accounts.get(session, account_id)
        found = (await read.payees(session)).get(account_id)
    if found is None:
        raise NotFound(f"{account_id} has no payee yet.")
    return payee_json(found)


@post("/accounts/{account_id:str}/payout-holds", tags=["finance"])
async def hold(account_id: str, data: Why, desk: Desk) -> dict[str, Any]:
    """Stop the account's payouts; its shares go on, and nothing is lost."""
    try:
        async with desk.sessions.begin() as session:
            return hold_json(await store.place_hold(session, account_id, data.reason, desk.actor, desk.now()))
    except ValueError as error:
        raise _invalid(error) from None


@get("/payout-holds", tags=["finance"])
async def holds(desk: Desk, standing: bool = False) -> dict[str, Any]:
    """All holds, or those that stand."""
    async with desk.sessions() as session:
        return {"data": [hold_json(row) for row in await read.holds(session, standing=standing)], "next": None}


@post("/payout-holds/{hold_id:str}/release", tags=["finance"])
async def release(hold_id: str, data: Why, desk: Desk) -> dict[str, Any]:
    """Let the account's payouts go on."""
    try:
        async with desk.sessions.begin() as session:
            return hold_json(await store.release_hold(session, hold_id, data.reason, desk.actor, desk.now()))
    except ValueError as error:
        raise _invalid(error) from None


@post("/payouts", tags=["finance"])
async def pay(data: PayOrder, desk: Desk) -> dict[str, Any]:
    """Make a payout of everything that is due up to a month; repeating it pays nothing twice."""
    month = month_of(data.month)
    async with desk.sessions.begin() as session:
        made, left = await store.pay_until(session, month, desk.actor, desk.now())
        named = await read.payees_named(session, {row.payee_id for row in made})
    return {
        "data": [payout_json(row, named[row.payee_id]) for row in made],
        "left_out": [left_out_json(row) for row in left],
        "next": None,
    }


@get("/payouts", tags=["finance"])
async def payouts(
    request: Request[Any, Any, Any],
    desk: Desk,
    month: str | None = None,
    account: str | None = None,
    after: str | None = None,
    limit: int = 100,
) -> Response[Any]:
    """Payouts, oldest first, as JSON or as finance's payout file (CSV) by the request's Accept header."""
    form = wanted_form(request, JSON, CSV)
    of = str(month_of(month)) if month else None
    # The file is whole: it goes to a bank.
    count_max = FILE_ROWS_MAX if form == CSV else max(1, min(limit, LIST_MAX))
    async with desk.sessions() as session:
        rows, cursor = await read.page_payouts(session, month=of, account_id=account, after=after, count_max=count_max)
        if form == CSV and cursor is not None:
            raise InvalidRequest(f"month: more than {FILE_ROWS_MAX} payouts; name a month.", param="month")
        named = await read.payees_named(session, {row.payee_id for row in rows})
    if form == CSV:
        return file_answer(payouts_csv(rows, named), CSV, f"payouts-{of or 'all'}.csv")
    return Response({"data": [payout_json(row, named[row.payee_id]) for row in rows], "next": cursor})


@post("/payouts/{payout_id:str}/reverse", tags=["finance"])
async def reverse(payout_id: str, data: Why, desk: Desk) -> dict[str, Any]:
    """Undo a payout that came back, by a linked one with the other sign: what it paid is due again."""
    try:
        async with desk.sessions.begin() as session:
            row = await store.reverse(session, payout_id, data.reason, desk.actor, desk.now())
            named = await read.payees_named(session, {row.payee_id})
    except store.AlreadyReversed as error:
        raise Conflict("payout_reversed", f"{error}.") from None
    except ValueError as error:
        raise _invalid(error) from None
    return payout_json(row, named[row.payee_id])


@get("/v1/shares/{month:str}", tags=["account"])
async def own_statement(request: Request[Any, Any, Any], month: str, desk: Desk) -> Response[Any]:
    """The own statement of a month with each step, as JSON, CSV or PDF; payers are numbers, never names."""
    caller = await desk.caller(request)
    return await statement_answer(request, desk, month, caller.account_id)


async def statement_answer(
    request: Request[Any, Any, Any], desk: Desk, month: str, account_id: str, *, for_finance: bool = False
) -> Response[Any]:
    form, of = wanted_form(request, JSON, CSV, PDF), str(month_of(month))
    async with desk.sessions() as session:
        account = await accounts.get(session, account_id)
        share, row = await find_share(session, of, account_id), await share_month(session, of)
    if share is None or row is None:
        raise NotFound(f"{account_id} has no share of {of}.")
    name = f"share-{of}-{account_id}"
    if form == PDF:
        content = await asyncio.to_thread(
            share_pdf, share, account.name, desk.seller.get("name") or HOUSE, row.computed_at
        )
        return file_answer(content, PDF, f"{name}.pdf")
    if form == CSV:
        return file_answer(steps_csv(share), CSV, f"{name}.csv")
    return Response(share_for_finance(share, row.pools) if for_finance else share_json(share))


def _invalid(error: ValueError) -> InvalidRequest:
    return InvalidRequest(f"{error}.", param=str(error).partition(":")[0])


SHARES: list[Any] = [
    statement,
    pools,
    reviewed,
    set_payee,
    payee,
    hold,
    holds,
    release,
    pay,
    payouts,
    reverse,
]
OWN_SHARES: list[Any] = [own_statement]
