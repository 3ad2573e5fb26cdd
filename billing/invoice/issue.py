"""Issuing: a draft gets the next number, for good.

The counter's row is locked in the transaction that inserts the invoice: a number is given out only by a commit, so there are
no gaps; and who comes second finds the invoice there, so there are no doubles. Numbers are per issuer and year of issue; the
issuer's year is that of `ISSUER_ZONE`. The caller commits.
Errors: what SQLAlchemy raises.
"""

from __future__ import annotations

from datetime import datetime

from billing.database import Session
from billing.invoice.draft import Draft
from billing.invoice.read import find_invoice
from billing.invoice.store import add_invoice, lock_counter
from billing.invoice.tables import Invoice
from billing.periods import zone_of

ISSUER_ZONE = "Asia/Seoul"


async def issue(session: Session, draft: Draft, now: datetime) -> Invoice:
    """The issued invoice of a draft's account and month: a new one, or the one that stands already, unchanged."""
    year = now.astimezone(zone_of(ISSUER_ZONE)).year
    counter = await lock_counter(session, year)
    standing = await find_invoice(session, draft.account_id, draft.month)
    if standing is not None:
        return standing
    counter.last_number += 1
    return await add_invoice(session, draft, f"{year:04d}-{counter.last_number:06d}", now)
