"""A simulated year, closed month by month on a real Postgres, and reckoned a second time with fractions, straight from the calls.

Tiers change in mid-month, cards at midnight in Seoul; calls come late, estimates are corrected after the close; two currencies.
"""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from billing.accounts import store as accounts
from billing.club import store as club
from billing.database import Sessions
from billing.invoice.read import IssuedInvoice, invoices_of
from billing.ledger.entry import Settled
from billing.ledger.read import calls_since
from billing.periods import Month
from billing.rate_cards import add_card, all_cards
from billing.terms import load_terms
from tests.billing import year
from tests.billing.months import ACTOR, account, book, close, krw_rate

BEGIN = datetime(2025, 12, 1, tzinfo=UTC)
MONTHS = [*((2026, number) for number in range(1, 13)), (2027, 1)]


async def set_up(sessions: Sessions) -> dict[year.Payer, str]:
    """Accounts, cards and contributions, all stated beforehand; payer → account id."""
    ids = {}
    for payer in year.PAYERS:
        country = "KR" if payer.korean else "US"
        fields = {"currency": payer.currency, "timezone": payer.zone, "tax_country": country}
        ids[payer] = await account(sessions, name=payer.name, kind="club" if payer.partner else "standard", **fields)
    async with sessions.begin() as session:
        for own, cards in ((None, year.STANDARD), ("negotiated", year.NEGOTIATED)):
            owner = next((ids[payer] for payer in year.PAYERS if payer.name == own), None)
            for day, prices in cards:
                at = datetime(day.year, day.month, day.day, tzinfo=year.SEOUL)
                models = {model: dict(zip(year.KINDS, price, strict=True)) for model, price in prices.items()}
                await add_card(session, {"effective_at": at, "account_id": owner, "models": models}, calls_since, BEGIN)
    partner = next(ids[payer] for payer in year.PAYERS if payer.partner)
    instants = [instant for instant, _ in year.GIVEN]
    first = await entry(sessions, partner, accepted_at=instants[0], dataset="a", words=1, tokens=120_000_000)
    second = await entry(sessions, partner, accepted_at=instants[1], dataset="b", words=1, tokens=1_000_000_000)
    await entry(sessions, partner, accepted_at=instants[2], corrects=second, tokens=500_000_000)
    await entry(sessions, partner, accepted_at=instants[3], withdraws=first)
    return ids


async def entry(sessions: Sessions, account_id: str, **values: Any) -> str:
    async with sessions.begin() as session:
        return (await club.accept(session, account_id, values, 12, ACTOR, BEGIN))[0].id


async def settled(
    sessions: Sessions, ids: dict[year.Payer, str], facts: list[year.Fact]
) -> list[tuple[year.Fact, list[Settled]]]:
    """The facts as the gateway settles them, by the terms in the database."""
    found = []
    async with sessions() as session:
        cards = await all_cards(session)
        terms = {
            payer: await load_terms(session, await accounts.get(session, ids[payer]), BEGIN) for payer in year.PAYERS
        }
    for fact in facts:
        of = terms[fact.payer]
        assert of is not None
        grants = tuple(("gra_1", kind, n) for kind, n in zip(year.KINDS, fact.granted, strict=True) if n)
        found.append((fact, year.settle(fact, ids[fact.payer], cards, of, grants)))
    return found


def same(issued: IssuedInvoice, lines: dict[year.Key, year.Line], payer: year.Payer, rate: Fraction) -> None:
    """To the last won."""
    unit = Fraction(1) if payer.currency == "KRW" else Fraction(1, 100)
    shown = {
        (tuple(map(int, line.billing_month.split("-"))), line.model, line.kind, *terms(line), line.granted): line
        for line in issued.lines
    }
    assert set(shown) == set(lines)
    assert len(shown) == len(issued.lines)
    for key, line in lines.items():
        exact = line.usd * rate
        assert shown[key].quantity == line.quantity
        assert Fraction(shown[key].exact_usd) == line.usd
        assert Fraction(shown[key].exact_amount) == exact
        assert Fraction(shown[key].amount) == year.half_up(exact, unit)
    subtotal = sum((year.half_up(line.usd * rate, unit) for line in lines.values()), Fraction(0))
    cut = Fraction(int(subtotal / 10 / unit)) * unit if payer.korean else Fraction(0)
    invoice = issued.invoice
    assert (Fraction(invoice.subtotal), Fraction(invoice.tax)) == (subtotal, cut)
    assert Fraction(invoice.total) == subtotal + cut
    assert invoice.grants_used == sum(line.quantity for key, line in lines.items() if key[-1])
    assert ("zero-rated" in (invoice.tax_reason or "")) == (not payer.korean)


def terms(line: Any) -> tuple[Fraction, Fraction]:
    return Fraction(line.unit_price), Fraction(line.discount)


@pytest.mark.parametrize("seed", range(3))
async def test_every_invoice_of_a_year_agrees_to_the_last_won_with_its_recount_in_fractions(
    sessions: Sessions, seed: int
) -> None:
    rng = random.Random(seed)
    ids = await set_up(sessions)
    facts: list[year.Fact] = []
    waiting: list[Settled] = []
    invoices = 0
    await close(sessions, Month(2025, 12), datetime(2026, 1, 3, tzinfo=UTC))
    for month in MONTHS:
        now = datetime(*month, 28, tzinfo=UTC)
        new = year.random_facts(rng, month) if month[0] == 2026 else []
        facts += new
        await book(sessions, *waiting, at=now)
        waiting = []
        for fact, records in await settled(sessions, ids, new):
            times = [fact.booked, fact.exact_booked][: len(records)]
            for record, booked in zip(records, times, strict=True):
                if booked == month:
                    await book(sessions, record, at=now)
                else:
                    waiting.append(record)
        rate = Decimal(rng.randrange(1_250_000_000, 1_450_000_000)).scaleb(-6)
        of = Month(*month)
        await krw_rate(sessions, of.last_day(), str(rate))
        await close(sessions, of, now + timedelta(days=8))
        async with sessions() as session:
            issued = {each.invoice.account_id: each for each in await invoices_of(session, str(of))}
        for payer in year.PAYERS:
            lines = year.expected(facts, payer, month)
            assert (ids[payer] in issued) == bool(lines)
            if lines:
                same(issued[ids[payer]], lines, payer, Fraction(rate) if payer.currency == "KRW" else Fraction(1))
                invoices += 1
    assert invoices >= 48
    discounts = {year.price_of(fact)[1] for fact in facts if fact.payer.partner}
    assert discounts == {Fraction(0), Fraction(1, 10), Fraction(1, 5)}
    assert {year.price_of(fact)[0] for fact in facts if fact.payer.negotiated} >= {
        (Fraction("0.20"), Fraction("0.04"), Fraction("0.9")),
    }


def test_the_cards_of_the_year_change_at_midnight_in_seoul_and_not_in_utc() -> None:
    payer = year.PAYERS[3]
    before, after = datetime(2026, 3, 31, 14, 59, 59, tzinfo=UTC), datetime(2026, 3, 31, 15, 0, tzinfo=UTC)
    assert [
        str(float(year.price_of(year.Fact(payer, at, "solar-pro4", (1, 0, 0)))[0][0])) for at in (before, after)
    ] == [
        "0.3",
        "0.25",
    ]
    assert date(2026, 4, 1) == after.astimezone(year.SEOUL).date()
