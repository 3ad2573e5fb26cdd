"""A 1T Club partner's year, from its first call to its withdrawal: given, when, then. On a real Postgres, through the ledger."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from billing.accounts import store as accounts
from billing.close import close_month
from billing.club import store as club
from billing.database import Sessions
from billing.fx import set_rate
from billing.ids import uuid7
from billing.invoice.credit import Asked
from billing.invoice.issue import credit
from billing.invoice.read import IssuedInvoice, invoices_of
from billing.ledger.entry import Settled
from billing.ledger.journal import append
from billing.ledger.read import calls_since
from billing.ledger.record import UsageRecord, to_wire_prices
from billing.periods import Month
from billing.prices import find_card, newest_first, price_on
from billing.rate_cards import add_card, all_cards
from billing.share.read import shares_of
from billing.share.store import add_plan
from billing.terms import load_counters, load_terms

SEOUL = ZoneInfo("Asia/Seoul")
ACTOR = "finance"
MILLION = 1_000_000


def at(text: str) -> datetime:
    """A moment in Seoul: a day (its noon), or a day and a time."""
    moment = datetime.fromisoformat(text).replace(tzinfo=SEOUL)
    return moment if "T" in text else moment.replace(hour=12)


@dataclass
class Story:
    """What is told: each step is one sentence of it."""

    sessions: Sessions
    closed: list[Month] = field(default_factory=list)

    async def given_an_account(self, name: str, **fields: Any) -> str:
        async with self.sessions.begin() as session:
            return (await accounts.create(session, {"name": name, **fields}, ACTOR, at("2026-01-01"))).id

    async def given_a_price(self, since: str, output: str) -> None:
        card = {"effective_at": at(f"{since}T00:00"), "models": {"solar-pro4": {"input": "0.30", "output": output}}}
        async with self.sessions.begin() as session:
            await add_card(session, card, calls_since, at("2025-12-01"))

    async def given_a_share_plan(self, pool_rate: str) -> None:
        async with self.sessions.begin() as session:
            await add_plan(session, {"effective_month": "2026-01", "pool_rate": pool_rate}, ACTOR, at("2026-01-01"))

    async def when_it_gives(self, account: str, day: str, **values: Any) -> str:
        """Accepted text, or an entry that corrects or withdraws some; its id."""
        async with self.sessions.begin() as session:
            entry, _ = await club.accept(session, account, values, 12, ACTOR, at(day))
            return entry.id

    async def when_it_asks(self, account: str, day: str, tokens: int, *, arrives: str | None = None) -> str:
        """A call over so many output tokens, settled as the gateway does; what it was charged for by whose leave."""
        moment = at(day)
        async with self.sessions() as session:
            terms = await load_terms(session, await accounts.get(session, account), moment)
            cards = newest_first(await all_cards(session))
        async with self.sessions() as session:
            counters = await load_counters(session, account)
        assert terms is not None
        assert counters is not None
        found = find_card(cards, "solar-pro4", account, moment)
        assert found is not None
        tier = [reached for reached in terms.tiers if reached.since <= moment][-1:]
        price = price_on(*found, tier[0].tier.discount if tier else Decimal(0), tier[0].tier.name if tier else "none")
        grants, left = [], tokens
        for grant in counters.grants:
            taken = min(left, grant.tokens_left) if grant.from_at <= moment < grant.until_at else 0
            grants += [(grant.id, "output", taken)] if taken else []
            left -= taken
        record = UsageRecord(
            call_id=uuid7(int(moment.timestamp() * 1000)).hex,
            account_id=account,
            key_id="key_1",
            accepted_ns=int(moment.timestamp()) * 10**9,
            billing_month=str(Month.of(moment, "Asia/Seoul")),
            endpoint="/v1/chat/completions",
            model_asked="solar-pro4",
            model=price.model,
            model_answered=None,
            card_id=price.card_id,
            prices=to_wire_prices(price),
            discount=str(price.discount),
            discount_reason=price.discount_reason,
            usage=(0, 0, tokens, 0, 0),
            estimated_reason=None,
            streamed=False,
            attempts=1,
        )
        async with self.sessions.begin() as session:
            await append(session, [Settled(record, tuple(grants))], at(arrives or day))
        return price.discount_reason

    async def when_the_months_close(self, *months: str, won: str) -> None:
        for name in months:
            month = Month.parse(name)
            async with self.sessions.begin() as session:
                assert await set_rate(session, month.last_day(), "USD/KRW", Decimal(won))
            now = month.bounds("Asia/Seoul")[1].astimezone(UTC) + timedelta(hours=3)
            await close_month(
                self.sessions, month, now, draft=False, grace_s=7200, actor=ACTOR, progress=lambda done, of: None
            )
            self.closed.append(month)

    async def when_finance_credits(self, invoice: IssuedInvoice, line: int, amount: str, reason: str, day: str) -> Any:
        async with self.sessions.begin() as session:
            asked = [Asked(line, Decimal(amount))]
            return (await credit(session, invoice.invoice.id, reason, asked, ACTOR, at(day))).note

    async def then_its_invoice(self, account: str, month: str) -> IssuedInvoice:
        async with self.sessions() as session:
            [found] = [one for one in await invoices_of(session, month) if one.invoice.account_id == account]
        invoice = found.invoice
        assert invoice.subtotal == sum(line.amount for line in found.lines)
        assert invoice.total == invoice.subtotal + invoice.tax
        return found

    async def then_it_has_no_invoice(self, account: str, month: str) -> None:
        async with self.sessions() as session:
            assert [one for one in await invoices_of(session, month) if one.invoice.account_id == account] == []

    async def then_its_grants(self, account: str, day: str) -> list[tuple[int, int, int, int, int]]:
        """Granted, used, expired, ended, left: of each."""
        async with self.sessions() as session:
            books = await club.grant_book(session, account, at(day))
        return [(book.grant.tokens, book.used, book.expired, book.ended, book.left) for book in books]

    async def then_its_share(self, account: str, month: str) -> Decimal:
        async with self.sessions() as session:
            return sum((one.amount for one in await shares_of(session, month) if one.account_id == account), Decimal(0))


def owes(found: IssuedInvoice) -> tuple[Decimal, Decimal, Decimal]:
    return found.invoice.subtotal, found.invoice.tax, found.invoice.total


def won(*amounts: int) -> tuple[Decimal, ...]:
    return tuple(map(Decimal, amounts))


@pytest.fixture
def story(sessions: Sessions) -> Story:
    return Story(sessions)


async def test_a_partners_year_from_its_first_call_to_its_withdrawal(story: Story) -> None:
    # GIVEN a partner in Korea and a stranger who pays in dollars, prices that fall in June, and a fifth of revenue to share
    hanbit = await story.given_an_account("Hanbit Books", kind="club", currency="KRW", tax_country="KR")
    cafe = await story.given_an_account("Cafe Dev", tax_country="US")
    await story.given_a_price("2026-01-01", output="1.20")
    await story.given_a_price("2026-06-01", output="1.00")
    await story.given_a_share_plan("0.20")

    # WHEN it calls in January, before it has given anything
    assert await story.when_it_asks(hanbit, "2026-01-20", 10 * MILLION) == "none"
    await story.when_the_months_close("2026-01", won="1400")
    # THEN it pays the list price: 12 USD in won, and a tenth of VAT
    assert owes(await story.then_its_invoice(hanbit, "2026-01")) == won(16_800, 1_680, 18_480)

    # WHEN it gives 120 million tokens in February and calls
    first = await story.when_it_gives(hanbit, "2026-02-10", dataset="books", words=100 * MILLION, tokens=120 * MILLION)
    assert await story.when_it_asks(hanbit, "2026-02-09", 5 * MILLION) == "none"
    assert await story.when_it_asks(hanbit, "2026-02-20", 10 * MILLION) == "100M"
    await story.when_the_months_close("2026-02", won="1400")
    # THEN the call before was paid, the one after was covered: a line over nothing
    february = await story.then_its_invoice(hanbit, "2026-02")
    assert owes(february) == won(8_400, 840, 9_240)
    assert [(line.granted, line.quantity) for line in february.lines] == [(False, 5 * MILLION), (True, 10 * MILLION)]
    assert await story.then_its_grants(hanbit, "2026-03-01") == [(120 * MILLION, 10 * MILLION, 0, 0, 110 * MILLION)]

    # WHEN it uses up its grant in March
    await story.when_it_asks(hanbit, "2026-03-15", 130 * MILLION)
    await story.when_the_months_close("2026-03", won="1350")
    # THEN what goes beyond is paid with a tenth off: 20 M x 1.20 x 0.9
    march = await story.then_its_invoice(hanbit, "2026-03")
    assert owes(march) == won(29_160, 2_916, 32_076)

    # WHEN it gives 900 million more in April, the tier rises within the month
    second = await story.when_it_gives(hanbit, "2026-04-15", dataset="news", words=700 * MILLION, tokens=900 * MILLION)
    assert await story.when_it_asks(hanbit, "2026-04-10", 1 * MILLION) == "100M"
    assert await story.when_it_asks(hanbit, "2026-04-20", 905 * MILLION) == "1B"
    await story.when_the_months_close("2026-04", won="1400")
    # THEN one million at a tenth off and five million at a fifth off are paid
    april = await story.then_its_invoice(hanbit, "2026-04")
    assert owes(april) == won(1_512 + 6_720, 823, 9_055)

    # WHEN finance makes up for an outage in March
    note = await story.when_finance_credits(march, 0, "1000", "outage of 15 March", "2026-05-04")
    # THEN the note has its own number and its VAT, and the invoice stands as it was
    assert (note.number, note.total, note.booked_month) == ("CN-2026-000001", Decimal(1_100), "2026-05")
    again = await story.then_its_invoice(hanbit, "2026-03")
    assert (owes(again), [one.number for one in again.credits]) == (owes(march), ["CN-2026-000001"])

    await the_rest_of_the_year(story, hanbit, cafe, first, second)


async def the_rest_of_the_year(story: Story, hanbit: str, cafe: str, first: str, second: str) -> None:
    """From June on: new prices, a correction, a late call, a share, and the withdrawal."""
    # WHEN prices fall at midnight in Seoul, a minute apart
    await story.when_it_asks(hanbit, "2026-05-31T23:59", 1 * MILLION)
    await story.when_it_asks(hanbit, "2026-06-01T00:00", 1 * MILLION)
    await story.when_the_months_close("2026-05", "2026-06", won="1400")
    # THEN each is in its own month at its own price, a fifth off
    assert owes(await story.then_its_invoice(hanbit, "2026-05")) == won(1_344, 134, 1_478)
    assert owes(await story.then_its_invoice(hanbit, "2026-06")) == won(1_120, 112, 1_232)

    # WHEN the second gift turns out smaller: 700 million
    corrected = await story.when_it_gives(hanbit, "2026-07-10", corrects=second, tokens=700 * MILLION)
    # THEN the tier falls from that day on, and nothing that was spent is taken back
    assert await story.when_it_asks(hanbit, "2026-07-09", 1 * MILLION) == "1B"
    assert await story.when_it_asks(hanbit, "2026-07-20", 10 * MILLION) == "100M"
    assert [one[1:] for one in await story.then_its_grants(hanbit, "2026-07-21")] == [
        (900 * MILLION, 0, 0, 0),
        (120 * MILLION, 0, 0, 0),
    ]
    await story.when_the_months_close("2026-07", won="1400")
    assert owes(await story.then_its_invoice(hanbit, "2026-07")) == won(1_120 + 12_600, 1_372, 15_092)

    # WHEN a call of August reaches the ledger only after the close of August
    await story.when_the_months_close("2026-08", won="1400")
    await story.when_it_asks(hanbit, "2026-08-30", 1 * MILLION, arrives="2026-09-02")
    await story.when_the_months_close("2026-09", won="1300")
    # THEN August has no invoice, and September's says whose month it was
    await story.then_it_has_no_invoice(hanbit, "2026-08")
    september = await story.then_its_invoice(hanbit, "2026-09")
    assert owes(september) == won(1_170, 117, 1_287)
    assert "calls of 2026-08 that came after its close" in september.lines[0].description

    # WHEN the stranger pays 100 dollars in October
    await story.when_it_asks(cafe, "2026-10-05", 100 * MILLION)
    await story.when_the_months_close("2026-10", won="1400")
    # THEN the stranger is zero-rated, with the reason, and a fifth of it is the partner's
    abroad = (await story.then_its_invoice(cafe, "2026-10")).invoice
    assert (abroad.total, abroad.tax, "zero-rated" in (abroad.tax_reason or "")) == (
        Decimal("100.00"),
        Decimal(0),
        True,
    )
    assert await story.then_its_share(hanbit, "2026-10") == Decimal("20.00")

    # WHEN it withdraws all that it gave in November
    await story.when_it_gives(hanbit, "2026-11-15", withdraws=first)
    assert await story.when_it_asks(hanbit, "2026-11-16", 1 * MILLION) == "100M"
    await story.when_it_gives(hanbit, "2026-11-20", withdraws=corrected)
    assert await story.when_it_asks(hanbit, "2026-11-25", 10 * MILLION) == "none"
    await story.when_it_asks(cafe, "2026-11-25", 100 * MILLION)
    await story.when_the_months_close("2026-11", "2026-12", won="1400")
    # THEN it pays the list price again, has no share, and a month without calls has no invoice
    assert owes(await story.then_its_invoice(hanbit, "2026-11")) == won(1_260 + 14_000, 1_526, 16_786)
    assert await story.then_its_share(hanbit, "2026-11") == 0
    await story.then_it_has_no_invoice(hanbit, "2026-12")
    assert [str(month) for month in story.closed] == [f"2026-{number:02d}" for number in range(1, 13)]
    assert date(2026, 12, 31) == story.closed[-1].last_day()
