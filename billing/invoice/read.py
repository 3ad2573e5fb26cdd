"""Reading invoices and credit notes: one, those of a month or an account page by page, what a month brought in, and what its
credits took back.

Pages are ordered by number, whose cursor is the last number seen.
Errors: `InvoiceNotFound`, `CreditNoteNotFound`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, func, select

from billing.invoice.credit import Before
from billing.invoice.tables import CreditNote, CreditNoteLine, Invoice, InvoiceLine
from billing.money import add


class InvoiceNotFound(LookupError):
    """No invoice has this id (or not this account's)."""

    def __init__(self, invoice_id: str) -> None:
        super().__init__(f"no invoice {invoice_id!r}; list them with `solar-gateway invoices list`")
        self.invoice_id = invoice_id


class CreditNoteNotFound(LookupError):
    """No credit note has this id."""

    def __init__(self, note_id: str) -> None:
        super().__init__(f"no credit note {note_id!r}; list them with `solar-gateway invoices credits`")
        self.note_id = note_id


@dataclass(frozen=True, slots=True)
class IssuedInvoice:
    """An invoice with its lines, in their order, and its credit notes by number."""

    invoice: Invoice
    lines: Sequence[InvoiceLine]
    credits: Sequence[CreditNote] = ()


@dataclass(frozen=True, slots=True)
class IssuedCredit:
    """A credit note with its lines."""

    note: CreditNote
    lines: Sequence[CreditNoteLine]


class BilledRow(NamedTuple):
    """What a line of an issued invoice says of its revenue."""

    model: str
    kind: str
    quantity: int
    unit_price: Decimal
    exact_usd: Decimal


class Credited(NamedTuple):
    """Revenue that a credit note took back: of which account and model, exact USD, by which note of which invoice's month."""

    account_id: str
    model: str
    exact_usd: Decimal
    number: str
    invoice_month: str


async def get_invoice(session: AsyncSession, invoice_id: str, account_id: str | None = None) -> IssuedInvoice:
    """One invoice by id; with an account, only if it is that account's."""
    invoice = await session.get(Invoice, invoice_id)
    if invoice is None or account_id not in (None, invoice.account_id):
        raise InvoiceNotFound(invoice_id)
    return (await _with_lines(session, [invoice]))[0]


async def find_invoice(session: AsyncSession, account_id: str, month: str) -> Invoice | None:
    """The invoice of an account's month, if it is issued."""
    query = select(Invoice).where(col(Invoice.account_id) == account_id, col(Invoice.month) == month)
    return (await session.execute(query)).scalar_one_or_none()


async def find_invoices(session: AsyncSession, account_ids: Sequence[str], month: str) -> Sequence[Invoice]:
    """Those that are issued of some accounts' month."""
    query = select(Invoice).where(col(Invoice.account_id).in_(account_ids), col(Invoice.month) == month)
    return (await session.execute(query)).scalars().all()


async def page_invoices(
    session: AsyncSession,
    *,
    month: str | None = None,
    account_id: str | None = None,
    after: str | None = None,
    count_max: int = 100,
) -> tuple[list[IssuedInvoice], str | None]:
    """A page of invoices and the cursor of the next one, or None."""
    query = select(Invoice).order_by(col(Invoice.number)).limit(count_max + 1)
    if month is not None:
        query = query.where(col(Invoice.month) == month)
    if account_id is not None:
        query = query.where(col(Invoice.account_id) == account_id)
    if after is not None:
        query = query.where(col(Invoice.number) > after)
    found = (await session.execute(query)).scalars().all()
    shown = found[:count_max]
    return await _with_lines(session, shown), shown[-1].number if len(found) > count_max else None


async def invoices_of(session: AsyncSession, month: str) -> list[IssuedInvoice]:
    """All invoices of a month, in the order of their accounts."""
    query = select(Invoice).where(col(Invoice.month) == month).order_by(col(Invoice.account_id))
    return await _with_lines(session, (await session.execute(query)).scalars().all())


async def billed_in(session: AsyncSession, month: str) -> dict[str, tuple[str, list[BilledRow]]]:
    """What each account's invoice of a month says of models and amounts, and its number; without a row's other fields, which add up."""
    columns: list[Any] = [
        Invoice.account_id,
        Invoice.number,
        *(getattr(InvoiceLine, name) for name in BilledRow._fields),
    ]
    query = select(*columns).join(InvoiceLine, col(InvoiceLine.invoice_id) == col(Invoice.id))
    query = query.where(col(Invoice.month) == month).order_by(col(Invoice.account_id), col(InvoiceLine.position))
    billed: dict[str, tuple[str, list[BilledRow]]] = {}
    for account_id, number, *fields in await session.execute(query):
        billed.setdefault(account_id, (number, []))[1].append(BilledRow(*fields))
    return billed


async def _with_lines(session: AsyncSession, invoices: Sequence[Invoice]) -> list[IssuedInvoice]:
    ids = [invoice.id for invoice in invoices]
    query = select(InvoiceLine).where(col(InvoiceLine.invoice_id).in_(ids))
    lines: dict[str, list[InvoiceLine]] = defaultdict(list)
    for line in (await session.execute(query.order_by(col(InvoiceLine.position)))).scalars():
        lines[line.invoice_id].append(line)
    credits: dict[str, list[CreditNote]] = defaultdict(list)
    notes = select(CreditNote).where(col(CreditNote.invoice_id).in_(ids)).order_by(col(CreditNote.number))
    for note in (await session.execute(notes)).scalars():
        credits[note.invoice_id].append(note)
    return [IssuedInvoice(invoice, lines[invoice.id], credits[invoice.id]) for invoice in invoices]


async def get_credit(session: AsyncSession, note_id: str) -> IssuedCredit:
    """One credit note by id."""
    note = await session.get(CreditNote, note_id)
    if note is None:
        raise CreditNoteNotFound(note_id)
    return (await _credit_lines(session, [note]))[0]


async def page_credits(
    session: AsyncSession,
    *,
    invoice_id: str | None = None,
    month: str | None = None,
    account_id: str | None = None,
    after: str | None = None,
    count_max: int = 100,
) -> tuple[list[IssuedCredit], str | None]:
    """A page of credit notes by number: of an invoice, of an account, or of those that lessen a month's revenue."""
    query = select(CreditNote).order_by(col(CreditNote.number)).limit(count_max + 1)
    for column, wanted in (
        (CreditNote.invoice_id, invoice_id),
        (CreditNote.booked_month, month),
        (CreditNote.account_id, account_id),
    ):
        if wanted is not None:
            query = query.where(col(column) == wanted)
    if after is not None:
        query = query.where(col(CreditNote.number) > after)
    found = (await session.execute(query)).scalars().all()
    shown = found[:count_max]
    return await _credit_lines(session, shown), shown[-1].number if len(found) > count_max else None


async def credited_before(session: AsyncSession, invoice_id: str) -> tuple[dict[int, Before], Decimal]:
    """What an invoice's credit notes took back so far: by line, and as tax."""
    lines: dict[int, list[CreditNoteLine]] = defaultdict(list)
    of_invoice = col(CreditNote.invoice_id) == invoice_id
    query = select(CreditNoteLine).join(CreditNote, col(CreditNote.id) == col(CreditNoteLine.credit_note_id))
    for line in (await session.execute(query.where(of_invoice))).scalars():
        lines[line.line].append(line)
    taxes = (await session.execute(select(col(CreditNote.tax)).where(of_invoice))).scalars()
    before = {at: Before(add(x.amount for x in of), add(x.exact_usd for x in of)) for at, of in lines.items()}
    return before, add(taxes)


async def credited_in(session: AsyncSession, month: str) -> list[Credited]:
    """What credit notes took back from revenue that a month's share pool has to make good, in the order of accounts and numbers.

    A note is booked into the first month that was open when it was issued: its invoice's own month is closed and shared out.
    Final once that month is sealed. Positive amounts, to be subtracted.
    """
    line = (CreditNoteLine.model, CreditNoteLine.exact_usd)
    columns: list[Any] = [CreditNote.account_id, *line, CreditNote.number, Invoice.month]
    query = (
        select(*columns)
        .select_from(CreditNote)
        .join(CreditNoteLine, col(CreditNoteLine.credit_note_id) == col(CreditNote.id))
        .join(Invoice, col(Invoice.id) == col(CreditNote.invoice_id))
        .where(col(CreditNote.booked_month) == month)
        .order_by(col(CreditNote.account_id), col(CreditNote.number), col(CreditNoteLine.line))
    )
    return [Credited(*row) for row in await session.execute(query)]


async def first_credited(session: AsyncSession, after: str, before: str) -> str | None:
    """The first month between two others (both left out) into which credit notes are booked, or None."""
    booked = col(CreditNote.booked_month)
    query = select(func.min(booked)).where(booked > after, booked < before)
    return (await session.execute(query)).scalar_one_or_none()


async def _credit_lines(session: AsyncSession, notes: Sequence[CreditNote]) -> list[IssuedCredit]:
    lines: dict[str, list[CreditNoteLine]] = defaultdict(list)
    query = select(CreditNoteLine).where(col(CreditNoteLine.credit_note_id).in_([note.id for note in notes]))
    for line in (await session.execute(query.order_by(col(CreditNoteLine.line)))).scalars():
        lines[line.credit_note_id].append(line)
    return [IssuedCredit(note, lines[note.id]) for note in notes]
