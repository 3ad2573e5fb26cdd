"""Issued invoices and how they are listed, on a real Postgres."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from sqlalchemy.exc import IntegrityError

from billing.database import Sessions
from billing.invoice.draft import Draft, Payer, draft_invoice
from billing.invoice.issue import issue
from billing.invoice.read import InvoiceNotFound, get_invoice, page_invoices
from billing.invoice.store import add_invoices, to_row_invoice
from billing.rating.rate import Booked
from tests.billing.months import CLOSING, account


def a_draft(account_id: str, month: str = "2026-10") -> Draft:
    booked = Booked("solar-pro4", "input", "card_1", Decimal("0.30"), Decimal(0), month, 1_000_000)
    draft = draft_invoice(Payer(account_id), month, [booked], Decimal("0.30"), None)
    assert draft is not None
    return draft


async def test_issuing_a_draft_again_gives_the_invoice_that_stands(sessions: Sessions) -> None:
    payer = await account(sessions)
    async with sessions.begin() as session:
        first = await issue(session, a_draft(payer), CLOSING)
    async with sessions.begin() as session:
        assert await issue(session, a_draft(payer), CLOSING) == first
        assert (await issue(session, a_draft(payer, "2026-11"), CLOSING)).number == "2026-000002"


async def test_a_rolled_back_invoice_gives_its_number_back(sessions: Sessions) -> None:
    payer = await account(sessions)
    async with sessions() as session:
        assert (await issue(session, a_draft(payer), CLOSING)).number == "2026-000001"
        await session.rollback()
    async with sessions.begin() as session:
        assert (await issue(session, a_draft(payer), CLOSING)).number == "2026-000001"


async def test_numbers_start_anew_with_the_year_of_the_issuer_in_seoul(sessions: Sessions) -> None:
    payer = await account(sessions)
    async with sessions.begin() as session:
        before = await issue(session, a_draft(payer, "2026-11"), datetime(2026, 12, 31, 14, 59, tzinfo=UTC))
        after = await issue(session, a_draft(payer, "2026-12"), datetime(2026, 12, 31, 15, 0, tzinfo=UTC))
    assert (before.number, after.number) == ("2026-000001", "2027-000001")


async def test_the_database_itself_refuses_a_second_invoice_of_a_month(sessions: Sessions) -> None:
    payer = await account(sessions)
    async with sessions() as session:
        draft = a_draft(payer)
        first, second = (to_row_invoice(draft, f"2026-00000{n}", CLOSING, None, None) for n in (1, 2))
        await add_invoices(session, [(draft, first)])
        with pytest.raises(IntegrityError):
            await add_invoices(session, [(draft, second)])


async def test_pages_of_invoices_hold_each_once_with_its_lines(sessions: Sessions) -> None:
    payers = [await account(sessions) for _ in range(5)]
    async with sessions.begin() as session:
        for payer in payers:
            await issue(session, a_draft(payer), CLOSING)
        await issue(session, a_draft(payers[0], "2026-11"), CLOSING)
    seen, after = [], None
    async with sessions() as session:
        while True:
            page, after = await page_invoices(session, month="2026-10", after=after, count_max=2)
            seen += page
            if after is None:
                break
        own, _ = await page_invoices(session, account_id=payers[0])
    assert [each.invoice.number for each in seen] == [f"2026-{n:06d}" for n in range(1, 6)]
    assert all(len(each.lines) == 1 for each in seen)
    assert [each.invoice.month for each in own] == ["2026-10", "2026-11"]


async def test_an_invoice_of_another_account_is_not_found(sessions: Sessions) -> None:
    payer, stranger = await account(sessions), await account(sessions)
    async with sessions.begin() as session:
        invoice = await issue(session, a_draft(payer), CLOSING)
        assert (await get_invoice(session, invoice.id, payer)).invoice == invoice
        for wrong in ((invoice.id, stranger), ("inv_none", None)):
            with pytest.raises(InvoiceNotFound):
                await get_invoice(session, *wrong)
