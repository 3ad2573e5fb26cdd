"""Reading invoices: one, those of a month or an account page by page, and what a month brought in.

Pages are ordered by number, whose cursor is the last number seen.
Errors: `InvoiceNotFound`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from billing.invoice.tables import Invoice, InvoiceLine


class InvoiceNotFound(LookupError):
    """No invoice has this id (or not this account's)."""

    def __init__(self, invoice_id: str) -> None:
        super().__init__(f"no invoice {invoice_id!r}; list them with `solar-gateway invoices list`")
        self.invoice_id = invoice_id


@dataclass(frozen=True, slots=True)
class IssuedInvoice:
    """An invoice with its lines, in their order."""

    invoice: Invoice
    lines: Sequence[InvoiceLine]


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


async def _with_lines(session: AsyncSession, invoices: Sequence[Invoice]) -> list[IssuedInvoice]:
    ids = [invoice.id for invoice in invoices]
    query = select(InvoiceLine).where(col(InvoiceLine.invoice_id).in_(ids))
    lines: dict[str, list[InvoiceLine]] = defaultdict(list)
    for line in (await session.execute(query.order_by(col(InvoiceLine.position)))).scalars():
        lines[line.invoice_id].append(line)
    return [IssuedInvoice(invoice, lines[invoice.id]) for invoice in invoices]
