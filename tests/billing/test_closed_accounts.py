"""Accounts that closed: what they used is invoiced, credited and shared as if they had not; on a real Postgres."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from billing.accounts import store as accounts
from billing.database import Sessions
from billing.invoice.credit import Asked
from billing.invoice.issue import credit
from billing.invoice.read import invoices_of
from tests.billing.months import (
    ACTOR,
    CLOSING,
    CLOSING_NOVEMBER,
    MID_NOVEMBER,
    MID_OCTOBER,
    NOVEMBER,
    account,
    book,
    call,
    close,
    contribute,
    plan,
)


async def closed(sessions: Sessions, account_id: str) -> None:
    async with sessions.begin() as session:
        await accounts.change(session, account_id, {"status": "closed"}, ACTOR, MID_OCTOBER)


async def test_an_account_that_closed_in_mid_month_is_invoiced_and_its_late_calls_the_month_after(
    sessions: Sessions,
) -> None:
    payer = await account(sessions, currency="USD", tax_country="KR")
    await book(sessions, call(payer, (1_000_000, 0, 0, 0, 0)))
    await closed(sessions, payer)
    assert [(i.account_id, i.total) for i in (await close(sessions)).invoices] == [(payer, Decimal("0.33"))]
    await book(sessions, call(payer, (2_000_000, 0, 0, 0, 0), at=MID_OCTOBER), at=CLOSING)
    (late,) = (await close(sessions, NOVEMBER, CLOSING_NOVEMBER)).invoices
    assert (late.account_id, late.total) == (payer, Decimal("0.66"))


async def test_the_invoice_of_an_account_that_closed_can_be_credited(sessions: Sessions) -> None:
    payer = await account(sessions)
    await book(sessions, call(payer, (1_000_000, 0, 0, 0, 0)))
    await close(sessions)
    await closed(sessions, payer)
    async with sessions.begin() as session:
        (issued,) = await invoices_of(session, "2026-10")
        asked = [Asked(0, Decimal("0.10"))]
        note = (await credit(session, issued.invoice.id, "it closed", asked, ACTOR, MID_NOVEMBER)).note
    assert (note.total, note.booked_month) == (Decimal("0.10"), "2026-11")


async def test_a_partner_that_closed_keeps_the_share_of_its_text(sessions: Sessions) -> None:
    payer, partner = await account(sessions), await account(sessions, kind="club")
    await contribute(sessions, partner, 1_000)
    await plan(sessions, "0.20")
    await book(sessions, call(payer, (1_000_000, 0, 1_000_000, 0, 0)))
    await closed(sessions, partner)
    assert [(share.account_id, share.amount) for share in (await close(sessions)).shares] == [
        (partner, Decimal("0.30"))
    ]


@pytest.mark.parametrize(("tokens", "total"), [(1, "0.00"), (16_667, "0.01"), (0, None)])
async def test_no_amount_is_too_small_to_be_issued(sessions: Sessions, tokens: int, total: str | None) -> None:
    """What is too small to collect is a question of collection (Stripe carries such sums over to the next invoice)."""
    payer = await account(sessions)
    await book(sessions, *([call(payer, (tokens, 0, 0, 0, 0), at=MID_OCTOBER + timedelta(hours=1))] if tokens else []))
    assert [str(invoice.total) for invoice in (await close(sessions)).invoices] == ([total] if total else [])
