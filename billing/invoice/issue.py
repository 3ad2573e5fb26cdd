"""Issuing: a draft gets the next number, for good; so does a credit note, in a series of its own.

The counter's row is locked in the transaction that inserts the invoice: a number is given out only by a commit, so there are
no gaps; and who comes second finds the invoice there, so there are no doubles. Numbers are per issuer and year of issue; the
issuer's year is that of `ISSUER_ZONE`. A credit note locks its invoice's row first, so that of two which together would pass
the invoice the second finds what the first took. The caller commits.
Errors: `InvoiceNotFound`, `credit.CreditRefused`; what SQLAlchemy raises.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from billing.accounts.store import audit
from billing.database import Session
from billing.invoice.credit import Asked, CreditRefused, draft_credit
from billing.invoice.draft import Draft
from billing.invoice.read import InvoiceNotFound, IssuedCredit, credited_before, find_invoices, get_invoice
from billing.invoice.store import (
    add_credit,
    add_invoices,
    lock_counter,
    lock_credit_counter,
    lock_invoice,
    open_month,
    to_row_invoice,
)
from billing.invoice.tables import Invoice
from billing.ledger.read import proof_roots
from billing.periods import zone_of

ISSUER_ZONE = "Asia/Seoul"


CREDITABLE = ("issued", "paid")
REASON_MAX = 1000


async def issue(session: Session, draft: Draft, now: datetime, seller: Mapping[str, Any] | None = None) -> Invoice:
    """The issued invoice of a draft's account and month: a new one, or the one that stands already, unchanged."""
    return (await issue_all(session, [draft], now, seller))[0]


async def issue_all(
    session: Session, drafts: Sequence[Draft], now: datetime, seller: Mapping[str, Any] | None = None
) -> list[Invoice]:
    """The issued invoices of drafts of one month, in their order, and numbered in it; one that stands already stays as it is."""
    if not drafts:
        return []
    year, month = now.astimezone(zone_of(ISSUER_ZONE)).year, drafts[0].month
    accounts = [draft.account_id for draft in drafts]
    # Before the counter is locked: others wait for their number.
    roots = await proof_roots(session, accounts, month)
    counter = await lock_counter(session, year)
    invoices = {invoice.account_id: invoice for invoice in await find_invoices(session, accounts, month)}
    new: list[tuple[Draft, Invoice]] = []
    for draft in drafts:
        if draft.account_id not in invoices:
            counter.last_number += 1
            number = f"{year:04d}-{counter.last_number:06d}"
            invoice = to_row_invoice(draft, number, now, seller, roots.get(draft.account_id))
            invoices[draft.account_id] = invoice
            new.append((draft, invoice))
    await add_invoices(session, new)
    return [invoices[account_id] for account_id in accounts]


async def credit(
    session: Session, invoice_id: str, reason: str, asked: Sequence[Asked], actor: str, now: datetime
) -> IssuedCredit:
    """Take back a part of an issued invoice: a credit note, issued."""
    if not reason.strip() or len(reason) > REASON_MAX:
        raise CreditRefused(f"reason: say why, in at most {REASON_MAX} characters")
    invoice = await lock_invoice(session, invoice_id)
    if invoice is None:
        raise InvoiceNotFound(invoice_id)
    if invoice.status not in CREDITABLE:
        raise CreditRefused(f"invoice {invoice.number} is {invoice.status}: only an issued or paid one can be credited")
    lines = (await get_invoice(session, invoice_id)).lines
    before, tax_before = await credited_before(session, invoice_id)
    draft = draft_credit(invoice, lines, before, tax_before, asked)
    month = await open_month(session, invoice.month)
    year = now.astimezone(zone_of(ISSUER_ZONE)).year
    counter = await lock_credit_counter(session, year)
    counter.last_number += 1
    number = f"CN-{year:04d}-{counter.last_number:06d}"
    note, rows = await add_credit(session, invoice, draft, number=number, month=month, reason=reason, now=now)
    change = {"invoice": invoice.number, "total": str(draft.total), "reason": reason}
    audit(session, actor, "credit_note.issue", number, change, now)
    return IssuedCredit(note, rows)
