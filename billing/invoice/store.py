"""Writing invoices and credit notes: the counter of a year, and the rows.

Errors: what SQLAlchemy raises, such as `IntegrityError` for a second invoice of an account's month.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from billing.accounts.store import ERASED
from billing.ids import new_id
from billing.invoice.credit import CreditDraft
from billing.invoice.draft import Draft, DraftLine
from billing.invoice.tables import CreditNote, CreditNoteCounter, CreditNoteLine, Invoice, InvoiceCounter, InvoiceLine
from billing.ledger.journal import CLOSE_LOCK
from billing.ledger.read import closed_months
from billing.periods import Month


async def lock_counter(session: AsyncSession, year: int) -> InvoiceCounter:
    """The counter of a year, as of now, locked until the transaction ends."""
    await session.execute(insert(InvoiceCounter).values(year=year, last_number=0).on_conflict_do_nothing())
    return await session.get_one(InvoiceCounter, year, with_for_update=True, populate_existing=True)


async def lock_invoice(session: AsyncSession, invoice_id: str) -> Invoice | None:
    """An invoice, locked until the transaction ends: its credit notes are written one after another."""
    return await session.get(Invoice, invoice_id, with_for_update=True, populate_existing=True)


async def lock_credit_counter(session: AsyncSession, year: int) -> CreditNoteCounter:
    """The credit notes' counter of a year, as of now, locked until the transaction ends."""
    await session.execute(insert(CreditNoteCounter).values(year=year, last_number=0).on_conflict_do_nothing())
    return await session.get_one(CreditNoteCounter, year, with_for_update=True, populate_existing=True)


async def open_month(session: AsyncSession, at_least: str) -> str:
    """The first month that is not closed, later than a given one; no month is closed before this transaction ends."""
    await session.execute(text("SELECT pg_advisory_xact_lock_shared(:lock)"), {"lock": CLOSE_LOCK})
    return str(Month.parse(max([at_least, *await closed_months(session)])).next())


async def add_credit(
    session: AsyncSession, invoice: Invoice, draft: CreditDraft, *, number: str, month: str, reason: str, now: datetime
) -> tuple[CreditNote, Sequence[CreditNoteLine]]:
    """Insert a credit note and its lines."""
    note = CreditNote(
        id=new_id("crn", now),
        number=number,
        invoice_id=invoice.id,
        account_id=invoice.account_id,
        booked_month=month,
        reason=reason,
        currency=invoice.currency,
        subtotal=draft.subtotal,
        tax=draft.tax,
        tax_reason=invoice.tax_reason,
        total=draft.total,
        issued_at=now,
    )
    session.add(note)
    await session.flush()
    lines = [
        CreditNoteLine(credit_note_id=note.id, line=x.line, model=x.model, amount=x.amount, exact_usd=x.exact_usd)
        for x in draft.lines
    ]
    session.add_all(lines)
    await session.flush()
    return note, lines


async def add_invoices(session: AsyncSession, new: Sequence[tuple[Draft, Invoice]]) -> None:
    """Insert invoices, and the lines of their drafts, in two statements."""
    session.add_all([invoice for _, invoice in new])
    await session.flush()
    lines = [to_row_line(line, invoice.id) for draft, invoice in new for line in draft.lines]
    if lines:
        await session.execute(insert(InvoiceLine), lines)


def to_row_invoice(
    draft: Draft, number: str, now: datetime, seller: Mapping[str, Any] | None, proof_root: str | None
) -> Invoice:
    return Invoice(
        id=new_id("inv", now),
        number=number,
        account_id=draft.account_id,
        month=draft.month,
        status="issued",
        currency=draft.currency,
        grants_used=draft.grants_used,
        subtotal=draft.subtotal,
        tax=draft.tax,
        tax_reason=draft.tax_reason,
        total=draft.total,
        fx_rate=draft.fx_rate,
        fx_day=draft.fx_day,
        issued_at=now,
        payer_name=draft.payer_name,
        tax_country=draft.tax_country,
        tax_registration_number=draft.tax_registration_number,
        payer_details=None if draft.payer_details is None else dict(draft.payer_details),
        seller=None if seller is None else dict(seller),
        proof_root=proof_root,
    )


def to_row_line(line: DraftLine, invoice_id: str) -> dict[str, Any]:
    return {
        "invoice_id": invoice_id,
        "position": line.position,
        "description": line.description,
        "model": line.model,
        "kind": line.kind,
        "quantity": line.quantity,
        "unit_price": line.unit_price,
        "discount": line.discount,
        "exact_amount": line.exact_amount,
        "amount": line.amount,
        "exact_usd": line.exact_usd,
        "card_id": line.card_id,
        "billing_month": line.billing_month,
        "granted": line.granted,
    }


async def erase_parties(session: AsyncSession, account_id: str, kept_from: datetime) -> tuple[int, datetime | None]:
    """Take the payer off invoices that need not be kept any more: (how many must be, when the newest of these was issued)."""
    mine = col(Invoice.account_id) == account_id
    await session.execute(
        update(Invoice)
        .where(mine, col(Invoice.issued_at) < kept_from)
        .values(payer_name=ERASED, tax_registration_number=None, payer_details=None)
    )
    kept = select(func.count(), func.max(Invoice.issued_at)).where(mine, col(Invoice.issued_at) >= kept_from)
    count, newest = (await session.execute(kept)).one()
    return count, newest
