"""Writing invoices: the counter of a year, and the rows of an invoice.

Errors: what SQLAlchemy raises, such as `IntegrityError` for a second invoice of an account's month.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from billing.ids import new_id
from billing.invoice.draft import Draft, DraftLine
from billing.invoice.tables import Invoice, InvoiceCounter, InvoiceLine


async def lock_counter(session: AsyncSession, year: int) -> InvoiceCounter:
    """The counter of a year, as of now, locked until the transaction ends."""
    await session.execute(insert(InvoiceCounter).values(year=year, last_number=0).on_conflict_do_nothing())
    return await session.get_one(InvoiceCounter, year, with_for_update=True, populate_existing=True)


async def add_invoice(session: AsyncSession, draft: Draft, number: str, now: datetime) -> Invoice:
    """Insert an invoice and its lines."""
    invoice = to_row_invoice(draft, number, now)
    session.add(invoice)
    await session.flush()
    session.add_all([to_row_line(line, invoice.id) for line in draft.lines])
    await session.flush()
    return invoice


def to_row_invoice(draft: Draft, number: str, now: datetime) -> Invoice:
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
    )


def to_row_line(line: DraftLine, invoice_id: str) -> InvoiceLine:
    return InvoiceLine(
        invoice_id=invoice_id,
        position=line.position,
        description=line.description,
        model=line.model,
        kind=line.kind,
        quantity=line.quantity,
        unit_price=line.unit_price,
        discount=line.discount,
        exact_amount=line.exact_amount,
        amount=line.amount,
        exact_usd=line.exact_usd,
        card_id=line.card_id,
        billing_month=line.billing_month,
        granted=line.granted,
    )
