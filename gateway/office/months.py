"""A month as finance takes it away: how far its close is, its journal, its tax invoices; and how it would look under other prices.

Errors: `InvalidRequest`, `NotFound`, `NotAcceptable`, `Conflict` (party_incomplete, month_open).
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from litestar import Request, Response, get, post
from msgspec import UNSET, Struct, UnsetType, to_builtins

from billing.accounts import store as accounts
from billing.accounts.tables import Account
from billing.database import Session
from billing.exports.accounting import journal, journal_csv
from billing.exports.hometax import ROWS_MAX, PartyIncomplete, Skipped, TaxInvoice, tax_invoices, workbooks
from billing.invoice.parties import Party, from_row_party, payer_of
from billing.invoice.read import IssuedCredit, invoices_of, page_credits
from billing.ledger.read import closed_months
from billing.money import add, subtract, to_wire_decimal
from billing.periods import Month
from billing.prices import RateCard
from billing.rate_cards import from_wire_models
from billing.rating.adjust import Difference, Terms, adjust, total
from billing.rating.read import booked_accounts, booked_month
from billing.share.read import accounts_named, share_month
from gateway.edge.desk import LIST_MAX, Desk
from gateway.edge.finance import month_of
from gateway.edge.shapes import ModelPrices, Text
from gateway.edge.wire import from_wire_amount
from gateway.errors import Conflict, InvalidRequest, NotFound
from gateway.office.files import CSV, JSON, XLSX, file_answer, wanted_form


class OtherCard(Struct):
    """A rate card in the contract's shape; what it has beside its prices does not matter here."""

    models: dict[Text, ModelPrices]
    club_discount: bool | UnsetType = UNSET


class Replay(Struct, forbid_unknown_fields=True):
    """Under what a month is to be seen: another card, another discount, or both; of one account or of all."""

    card: OtherCard | None = None
    discount: Text | None = None
    account_id: Text | None = None


@get("/months/{month:str}", tags=["finance"])
async def month_state(month: str, desk: Desk) -> dict[str, Any]:
    """How far the close of a month is: accounts that used something, invoices issued, shares computed."""
    of = str(month_of(month))
    async with desk.sessions() as session:
        closed = of in await closed_months(session)
        wanted = len(await booked_accounts(session, of))
        issued = len(await invoices_of(session, of))
        shared = await share_month(session, of) is not None
    state = "open" if not closed else "closed" if shared else "closing"
    return {"month": of, "state": state, "accounts": wanted, "invoices": issued, "shared": shared}


@get("/months/{month:str}/journal", tags=["finance"])
async def month_journal(month: str, desk: Desk) -> Response[bytes | str]:
    """The month's invoices, and the credit notes booked into it, as double entries for an ERP; CSV."""
    of = month_of(month)
    async with desk.sessions() as session:
        await _must_be_closed(session, of)
        invoices = [each.invoice for each in await invoices_of(session, str(of))]
        credits = await _credits(session, of)
    postings = journal(sorted(invoices, key=lambda invoice: invoice.number), credits, desk.chart)
    return file_answer(journal_csv(postings, desk.chart), CSV, f"journal-{of}.csv")


@get("/months/{month:str}/hometax", tags=["finance"])
async def hometax(
    request: Request[Any, Any, Any], month: str, desk: Desk, part: int = 1, leave_out_incomplete: bool = False
) -> Response[Any]:
    """The month's tax invoices for Hometax's bulk upload: a file of at most 100 (`part` says which), or as JSON what is in them.

    What an invoice did not know of its parties when it was issued is taken from how they are registered now; a customer that cannot
    be named even so stops the export, or (`leave_out_incomplete`) is left out and told.
    """
    of = month_of(month)
    form = wanted_form(request, JSON, XLSX)
    async with desk.sessions() as session:
        await _must_be_closed(session, of)
        issued = sorted(await invoices_of(session, str(of)), key=lambda each: each.invoice.number)
        credits = await _credits(session, of)
        customers = await accounts_named(session, {each.invoice.account_id for each in issued})
    registered = {account_id: _registered(account) for account_id, account in customers.items()}
    seller = from_row_party(desk.seller)
    try:
        rows, skipped = tax_invoices(of, issued, registered, seller, leave_out_incomplete=leave_out_incomplete)
    except PartyIncomplete as error:
        raise Conflict("party_incomplete", f"Tax invoices name both parties; nothing was written: {error}.") from None
    skipped += [
        Skipped(note.note.number, note.note.account_id, "a credit note: issue an amended tax invoice")
        for note in credits
    ]
    if form == JSON:
        return Response(_to_wire_tax_invoices(of, rows, skipped))
    files = await asyncio.to_thread(workbooks, rows)
    if not 1 <= part <= len(files):
        raise NotFound(f"part: this month has {len(files)} file(s) of tax invoices.")
    return file_answer(files[part - 1], XLSX, f"hometax-{of}-{part}.xlsx")


@post("/months/{month:str}/replay", status_code=200, tags=["finance"])
async def replay(month: str, data: Replay, desk: Desk) -> dict[str, Any]:
    """What a month would have come to under another card or discount, line by line. Writes nothing."""
    of = month_of(month)
    card, discount = _terms(data, of, desk)
    async with desk.sessions() as session:
        if data.account_id is not None:
            await accounts.get(session, data.account_id)
        booked = await booked_month(session, str(of), data.account_id)
    by_account = [
        (account_id, adjust(found.groups, card=card, discount=discount)) for account_id, found in booked.items()
    ]
    sums = [total(lines) for _, lines in by_account]
    before, after = add(one[0] for one in sums), add(one[1] for one in sums)
    return {
        "month": str(of),
        "currency": "USD",
        "accounts": [_to_wire_replayed(account_id, lines) for account_id, lines in by_account],
        "before": to_wire_decimal(before),
        "after": to_wire_decimal(after),
        "difference": to_wire_decimal(subtract(after, before)),
    }


def _registered(account: Account) -> Party:
    """How a customer is registered now."""
    name = "" if account.name == accounts.ERASED else account.name
    number, country, details = account.tax_registration_number, account.tax_country, account.tax_details
    return replace(payer_of(name, number, country, details, account.id), name=name)


async def _must_be_closed(session: Session, month: Month) -> None:
    if await share_month(session, str(month)) is None:
        raise Conflict("month_open", f"{month} is not closed, or its close is not finished: close it first.")


async def _credits(session: Session, month: Month) -> list[IssuedCredit]:
    """All credit notes booked into a month, a page at a time."""
    found, after = await page_credits(session, month=str(month), count_max=LIST_MAX)
    while after is not None:
        more, after = await page_credits(session, month=str(month), after=after, count_max=LIST_MAX)
        found += more
    return found


def _terms(data: Replay, month: Month, desk: Desk) -> tuple[RateCard | None, Any]:
    if data.card is None and data.discount is None:
        raise InvalidRequest("Name a card, a discount, or both.", param="card")
    discount = None if data.discount is None else from_wire_amount(data.discount, "discount")
    if discount is not None and discount > 1:
        raise InvalidRequest('discount: must be a ratio from 0 to 1, such as "0.20".', param="discount")
    if data.card is None:
        return None, discount
    try:
        models, aliases = from_wire_models(to_builtins(data.card.models))
    except ValueError as error:
        raise InvalidRequest(f"card.{error}.", param="card") from None
    keeps = data.card.club_discount is UNSET or bool(data.card.club_discount)
    return RateCard("replayed", month.bounds("UTC")[0], models, aliases, None, keeps), discount


def _to_wire_replayed(account_id: str, lines: list[Difference]) -> dict[str, Any]:
    before, after, difference = total(lines)
    return {
        "account_id": account_id,
        "before": to_wire_decimal(before),
        "after": to_wire_decimal(after),
        "difference": to_wire_decimal(difference),
        "lines": [
            {
                "billing_month": line.billing_month,
                "model": line.model,
                "kind": line.kind,
                "quantity": line.quantity,
                "before": _to_wire_terms(line.before, to_wire_decimal(line.before_usd)),
                "after": _to_wire_terms(line.after, to_wire_decimal(line.after_usd)),
                "difference": to_wire_decimal(line.difference_usd),
            }
            for line in lines
        ],
    }


def _to_wire_terms(terms: Terms, amount: str) -> dict[str, str]:
    return {
        "card_id": terms.card_id,
        "unit_price": to_wire_decimal(terms.unit_price),
        "discount": to_wire_decimal(terms.discount),
        "amount": amount,
    }


def _to_wire_tax_invoices(month: Month, rows: list[TaxInvoice], skipped: list[Skipped]) -> dict[str, Any]:
    return {
        "month": str(month),
        "files": -(-len(rows) // ROWS_MAX),
        "tax_invoices": [
            {
                "number": row.note,
                "day": row.day.isoformat(),
                "customer": row.buyer.name,
                "supply": to_wire_decimal(row.supply),
                "tax": to_wire_decimal(row.tax),
                "items": [
                    {"name": item.name, "supply": to_wire_decimal(item.supply), "tax": to_wire_decimal(item.tax)}
                    for item in row.items
                ],
            }
            for row in rows
        ],
        "skipped": [one._asdict() for one in skipped],
    }


MONTHS: list[Any] = [month_state, month_journal, hometax, replay]
