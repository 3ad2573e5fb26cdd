"""Single invoices and their credit notes.

Errors: `NotFound`, `InvalidRequest` (a credit that cannot be), `Conflict` (credit_exceeds_invoice), `NotAcceptable`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from litestar import Request, Response, get, post
from litestar.response import Stream
from msgspec import Struct

from billing.exports.calls import calls_csv, calls_csv_head, line_positions
from billing.exports.credits import credit_csv, credit_json
from billing.exports.papers import credit_pdf, invoice_pdf
from billing.exports.statement import invoice_csv, invoice_json
from billing.invoice.credit import Asked, CreditExceeds, CreditRefused
from billing.invoice.issue import credit
from billing.invoice.read import IssuedCredit, IssuedInvoice, get_credit, get_invoice, page_credits
from billing.ledger.sources import must_hold
from billing.rating.read import booked_entries
from gateway.edge.desk import LIST_MAX, Desk
from gateway.edge.finance import month_of
from gateway.edge.shapes import Count, Text
from gateway.edge.wire import from_wire_amount
from gateway.errors import Conflict, InvalidRequest
from gateway.office.files import CSV, JSON, PDF, file_answer, wanted_form

CREDIT_LINES_MAX = 10_000
CALLS_PAGE = 2_000
"""Entries that are read and written at a time."""


class CreditOf(Struct, forbid_unknown_fields=True):
    """How much of one line, without tax."""

    line: Count
    amount: Text


class NewCreditNote(Struct, forbid_unknown_fields=True):
    """What is to be taken back of an invoice."""

    reason: Text
    lines: list[CreditOf]


@get("/invoices/{invoice_id:str}", tags=["finance"])
async def invoice(request: Request[Any, Any, Any], invoice_id: str, desk: Desk) -> Response[Any]:
    """One invoice as JSON, CSV or PDF, by the request's Accept header."""
    form = wanted_form(request, JSON, CSV, PDF)
    async with desk.sessions() as session:
        found = await get_invoice(session, invoice_id)
    name = f"invoice-{found.invoice.number}"
    if form == PDF:
        return file_answer(await asyncio.to_thread(invoice_pdf, found), PDF, f"{name}.pdf")
    if form == CSV:
        return file_answer(invoice_csv(found.invoice, found.lines, found.credits), CSV, f"{name}.csv")
    return Response(invoice_json(found.invoice, found.lines, found.credits))


@get("/invoices/{invoice_id:str}/calls", tags=["finance"])
async def calls(invoice_id: str, desk: Desk) -> Stream:
    """Every call of an invoice, with the line that it is on: the quantities of a line's rows sum to the line. CSV."""
    async with desk.sessions() as session:
        found = await get_invoice(session, invoice_id)
        await must_hold(session, found.invoice.month)  # before the answer begins: later it could only break off
    name = f"calls-{found.invoice.number}.csv"
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Stream(_call_pages(desk, found), media_type=CSV, headers=headers)


async def _call_pages(desk: Desk, found: IssuedInvoice) -> AsyncIterator[str]:
    """A page of entries at a time, so that memory does not grow with the number of calls."""
    yield calls_csv_head()
    positions, after = line_positions(found.lines), None
    while True:
        async with desk.sessions() as session:
            page = await booked_entries(session, found.invoice.account_id, found.invoice.month, after, CALLS_PAGE)
        if not page:
            return
        yield calls_csv(page, positions)
        after = (page[-1].accepted_at, page[-1].entry_id)


@post("/invoices/{invoice_id:str}/credit-notes", tags=["finance"])
async def add_credit_note(invoice_id: str, data: NewCreditNote, desk: Desk) -> dict[str, Any]:
    """Take back a part of an issued invoice: amounts without tax, which is worked out. The sum never passes the invoice."""
    if len(data.lines) > CREDIT_LINES_MAX:
        raise InvalidRequest(f"lines: at most {CREDIT_LINES_MAX}.", param="lines")
    asked = [Asked(one.line, from_wire_amount(one.amount, f"lines[{one.line}].amount")) for one in data.lines]
    try:
        async with desk.sessions.begin() as session:
            return credit_json(await credit(session, invoice_id, data.reason, asked, desk.actor, desk.now()))
    except CreditExceeds as error:
        raise Conflict(error.code, f"{error}.") from None
    except CreditRefused as error:
        raise InvalidRequest(f"{error}.", param=str(error).partition(":")[0]) from None


@get("/invoices/{invoice_id:str}/credit-notes", tags=["finance"])
async def credit_notes_of(invoice_id: str, desk: Desk, after: str | None = None, limit: int = 100) -> dict[str, Any]:
    """The credit notes of an invoice, by number."""
    async with desk.sessions() as session:
        await get_invoice(session, invoice_id)
        rows, cursor = await page_credits(session, invoice_id=invoice_id, after=after, count_max=bounded(limit))
    return credit_page(rows, cursor)


@get("/credit-notes", tags=["finance"])
async def credit_notes(
    desk: Desk, month: str | None = None, account: str | None = None, after: str | None = None, limit: int = 100
) -> dict[str, Any]:
    """Credit notes by number: of an account, or of the month whose revenue they lessen."""
    of = str(month_of(month)) if month else None
    async with desk.sessions() as session:
        rows, cursor = await page_credits(session, month=of, account_id=account, after=after, count_max=bounded(limit))
    return credit_page(rows, cursor)


@get("/credit-notes/{note_id:str}", tags=["finance"])
async def credit_note(request: Request[Any, Any, Any], note_id: str, desk: Desk) -> Response[Any]:
    """One credit note as JSON, CSV or PDF, by the request's Accept header."""
    form = wanted_form(request, JSON, CSV, PDF)
    async with desk.sessions() as session:
        found = await get_credit(session, note_id)
        of = await get_invoice(session, found.note.invoice_id)
    name = f"credit-note-{found.note.number}"
    if form == PDF:
        return file_answer(await asyncio.to_thread(credit_pdf, found, of), PDF, f"{name}.pdf")
    if form == CSV:
        return file_answer(credit_csv(found), CSV, f"{name}.csv")
    return Response(credit_json(found))


def bounded(limit: int) -> int:
    return max(1, min(limit, LIST_MAX))


def credit_page(rows: list[IssuedCredit], cursor: str | None) -> dict[str, Any]:
    return {"data": [credit_json(row) for row in rows], "next": cursor}


INVOICES: list[Any] = [invoice, calls, add_credit_note, credit_notes_of, credit_notes, credit_note]
