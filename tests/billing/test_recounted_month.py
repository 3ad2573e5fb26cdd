"""A whole simulated month, closed on a real Postgres and reckoned a second time with fractions."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import date
from fractions import Fraction

import pytest

from billing.club.store import set_manifest
from billing.database import Sessions
from billing.invoice.read import IssuedInvoice, invoices_of
from billing.ledger.read import calls_since
from billing.rate_cards import add_card
from tests.billing import recount
from tests.billing.months import (
    ACTOR,
    CLOSING,
    MID_OCTOBER,
    account,
    book,
    call,
    close,
    contribute,
    krw_rate,
    plan,
)

KRW_RATE = "1387.654321"
POOL_RATE = "0.1234"
MODELS = {
    "solar-pro4": ("0.30", "0.06", "1.20", "0", "0"),
    "solar-mini": ("0.123456789", "0.0123", "0.7", "0", "0"),
    "document-parse": ("0", "0", "0", "0.01", "0.0333"),
}
TRAINED_ON = {"solar-pro4": {"news", "law"}}


def random_call(rng: random.Random, account_id: str, discount: str) -> recount.PlainCall:
    model = rng.choice(list(MODELS))
    if model == "document-parse":
        counts, granted = (0, 0, 0, rng.randrange(50), rng.randrange(50)), (0, 0, 0)
    else:
        tokens = [rng.randrange(10 ** rng.randrange(1, 7)) for _ in range(3)]
        counts = (tokens[0], tokens[1], tokens[2], 0, 0)
        out = rng.choice([0, rng.randint(0, tokens[2])])
        granted = (rng.randint(0, tokens[0]) if out == tokens[2] else 0, 0, out)
    return recount.PlainCall(account_id, model, counts, granted, MODELS[model], discount)


async def book_plain(sessions: Sessions, plain: list[recount.PlainCall]) -> None:
    settled = []
    for each in plain:
        kinds = zip(recount.KIND_OF_INDEX, each.granted, strict=False)
        grants = tuple(("gra_1", kind, tokens) for kind, tokens in kinds if tokens)
        settled.append(
            call(
                each.account_id,
                each.counts,
                model=each.model,
                discount=each.discount,
                prices=each.prices,
                card_id=f"card_{each.model}",
                grants=grants,
            )
        )
    assert await book(sessions, *settled) == len(plain)


async def a_month(
    sessions: Sessions, rng: random.Random
) -> tuple[list[recount.PlainCall], dict[str, str], dict[str, str]]:
    """Accounts, contributions and calls; returns the calls, and currency and owner group by account."""
    currencies, groups, plain = {}, {}, []
    for index in range(8):
        currency, group = rng.choice(["USD", "KRW"]), rng.choice(["group_a", "group_b", None])
        tax = rng.choice([None, "KR", "JP"])
        account_id = await account(sessions, currency=currency, owner_group=group, tax_country=tax)
        currencies[account_id], groups[account_id] = currency, group or account_id
        discount = rng.choice(["0", "0.10", "0.20"])
        plain += [random_call(rng, account_id, discount) for _ in range(rng.randrange(12) if index else 0)]
    await book_plain(sessions, plain)
    return plain, currencies, groups


async def give(
    sessions: Sessions, rng: random.Random, groups: dict[str, str]
) -> dict[str, tuple[str, dict[str, Fraction]]]:
    """Contributions of some accounts; partner → (group, dataset → weight)."""
    partners: dict[str, tuple[str, dict[str, Fraction]]] = {}
    for account_id in rng.sample(sorted(groups), 5):
        given: dict[str, Fraction] = defaultdict(Fraction)
        for _ in range(rng.randint(1, 3)):
            tokens, quality = rng.randrange(1, 10**6), rng.choice(["1.0", "0.5", "1.25"])
            dataset = rng.choice(["news", "law", "novels"])
            await contribute(sessions, account_id, tokens, quality=quality, dataset=dataset)
            given[dataset] += tokens * Fraction(quality)
        partners[account_id] = (groups[account_id], given)
    return partners


def same_bill(issued: IssuedInvoice, bill: recount.Bill, currency: str) -> None:
    rate, unit = (Fraction(KRW_RATE), Fraction(1)) if currency == "KRW" else (Fraction(1), Fraction(1, 100))
    paid = {(line.model, line.kind, Fraction(line.discount)): line for line in issued.lines if not line.granted}
    expected = {(model, kind, Fraction(discount)): usd for (model, kind, discount), usd in bill.lines.items()}
    assert {key: Fraction(line.exact_usd) for key, line in paid.items()} == expected
    for key, line in paid.items():
        assert Fraction(line.exact_amount) == expected[key] * rate
        assert Fraction(line.amount) == recount.half_up(expected[key] * rate, unit)
    assert issued.invoice.grants_used == bill.granted
    subtotal = sum(recount.half_up(usd * rate, unit) for usd in expected.values())
    assert Fraction(issued.invoice.subtotal) == subtotal
    korean = (issued.invoice.tax_reason or "").startswith("VAT 10 %")
    tax = (subtotal / 10 // unit) * unit if korean else 0
    assert (Fraction(issued.invoice.tax), Fraction(issued.invoice.total)) == (tax, subtotal + tax)


@pytest.mark.parametrize("seed", range(4))
async def test_a_closed_month_equals_its_recount_in_fractions(sessions: Sessions, seed: int) -> None:
    rng = random.Random(seed)
    plain, currencies, groups = await a_month(sessions, rng)
    partners = await give(sessions, rng, groups)
    await krw_rate(sessions, date(2026, 10, 31), KRW_RATE)
    await plan(sessions, POOL_RATE)
    wire = {"solar-pro4": {"aliases": ["solar-pro4-260806"], "input": "0.30", "output": "1.20"}}
    async with sessions.begin() as session:
        await add_card(session, {"effective_at": CLOSING, "models": wire}, calls_since, MID_OCTOBER)
        await set_manifest(session, "solar-pro4-260806", sorted(TRAINED_ON["solar-pro4"]), ACTOR, MID_OCTOBER)
    closed = await close(sessions)
    bills = recount.bills(plain)
    async with sessions() as session:
        issued = {each.invoice.account_id: each for each in await invoices_of(session, "2026-10")}
    used = {account_id for account_id, bill in bills.items() if bill.lines or bill.granted}
    assert set(issued) == used
    for account_id in used:
        same_bill(issued[account_id], bills[account_id], currencies[account_id])
    revenue = {
        (account_id, groups[account_id], model): usd
        for account_id, bill in bills.items()
        for model, usd in bill.by_model.items()
    }
    amounts, pool = recount.shares(revenue, partners, TRAINED_ON, Fraction(POOL_RATE))
    assert {share.account_id: Fraction(share.amount) for share in closed.shares} == amounts
    assert {Fraction(share.pool) for share in closed.shares} == {pool}
