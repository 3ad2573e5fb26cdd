"""A month with Stripe failing at random, and senders that are killed: customers, invoices, lines and totals there are ours to the cent."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from billing.agreement.bills import Agreement, Finding
from billing.agreement.months import agree_with_stripe
from billing.collect import top_up_store
from billing.invoice.read import IssuedInvoice, invoices_of
from tests.billing.collect.stage import METER, Stage
from tests.billing.months import ACTOR, OCTOBER, account, book, call, close, krw_rate

CHANCES = {
    "limited": 0.05,
    "reset_before": 0.05,
    "reset_after": 0.06,
    "silent_after": 0.04,
    "broken_before": 0.05,
    "broken_after": 0.06,
    "unavailable": 0.04,
}
USAGE = (1_234_567, 76_543, 456_789, 3, 2)


async def lived_month(stage: Stage, dice: random.Random, payers: int) -> list[IssuedInvoice]:
    """October with accounts of all kinds, closed; credits are given for some of it."""
    await krw_rate(stage.sessions, date(2026, 10, 31), "1387.25")
    for i in range(payers):
        won = i % 3 == 2
        payer = await account(
            stage.sessions,
            name=f"payer {i}",
            currency="KRW" if won else "USD",
            tax_country=dice.choice([None, "KR", "US"]),
            tax_details=dice.choice([None, {"email": f"payer{i}@example.com"}]),
        )
        usage = [tuple(dice.randrange(n + 1) for n in USAGE) for _ in range(dice.randint(1, 4))]
        await book(stage.sessions, *[call(payer, each, model=f"model-{k}") for k, each in enumerate(usage)])  # type: ignore[arg-type]
    await close(stage.sessions)
    async with stage.sessions() as session:
        issued = await invoices_of(session, str(OCTOBER))
    for invoice in issued[::2]:
        if invoice.lines[0].amount >= 2:
            await stage.credited(invoice, "1")
    return issued


async def agreement(stage: Stage) -> Agreement:
    stage.fake.chances, stage.fake.plan = {}, []
    return await agree_with_stripe(stage.stripe, stage.sessions, OCTOBER, METER)


def sums(stage: Stage) -> dict[str, Fraction]:
    """What Stripe's invoices come to by currency, in whole units, reckoned from their lines."""
    found: dict[str, Fraction] = {}
    for invoice in stage.fake.books.all("invoice"):
        units = sum(line["amount"] for line in stage.fake.books.lines_of(invoice["id"]))
        assert invoice["total"] == units
        currency = invoice["currency"].upper()
        found[currency] = found.get(currency, Fraction(0)) + Fraction(units, 1 if currency == "KRW" else 100)
    return found


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_month_of_faults_ends_with_stripe_equal_to_us_to_the_cent(stage: Stage, seed: int) -> None:
    dice = random.Random(seed)
    stage.fake.chances, stage.fake.dice = CHANCES, random.Random(seed)
    issued = await lived_month(stage, dice, payers=9)
    await stage.settle()
    books, faults = stage.fake.books, len(stage.fake.faults)
    for invoice in issued[::4]:  # some are paid meanwhile, and credited after that
        theirs = stage.at_stripe(invoice)
        if theirs["status"] == "open":
            books.pay(theirs["id"])
            if invoice.lines[-1].amount >= 1:
                await stage.credited(invoice, "1", line=invoice.lines[-1].position)
    stage.fake.chances = CHANCES
    await stage.settle()
    events = [event for event in books.events for _ in range(2)]
    dice.shuffle(events)
    await stage.deliver(*events)
    for _ in range(12):  # a payment that was told before its invoice waits a moment
        stage.wait(600)
        await stage.inbox.work_off()
    agreed = await agreement(stage)
    assert agreed.findings == []
    assert (agreed.invoices, agreed.customers) == (len(issued), len(issued))
    ours: dict[str, Fraction] = {}
    for invoice in issued:
        currency = invoice.invoice.currency
        ours[currency] = ours.get(currency, Fraction(0)) + Fraction(invoice.invoice.total)
    assert sums(stage) == ours
    assert len(books.all("customer")) == len(books.all("invoice")) == len(issued)
    assert ("given_up", "invoice") not in stage.counted
    assert faults > 5
    print(
        f"seed {seed}: {len(stage.fake.asked)} requests, {len(stage.fake.faults)} faults, {len(issued)} invoices agree"
    )


async def test_senders_killed_between_answer_and_note_double_nothing(stage: Stage, engine: AsyncEngine) -> None:
    await lived_month(stage, random.Random(5), payers=3)
    url = engine.url.render_as_string(hide_password=False)
    deaths = 0
    for seed in range(40):
        percent = "35" if seed < 3 else "0"
        arguments = ["-m", "tests.billing.collect.dying_sender", url, stage.fake.url, str(seed), percent]
        process = await asyncio.create_subprocess_exec(sys.executable, *arguments)
        code = await process.wait()
        if code == 0:
            break
        assert code == -signal.SIGKILL
        deaths += 1
    assert deaths > 0
    assert (await agreement(stage)).findings == []
    assert len(stage.fake.books.all("invoice")) == len(stage.fake.books.all("customer")) == 3
    print(f"{deaths} senders were killed")


async def test_metered_usage_is_told_once_in_whole_numbers_and_a_repeated_identifier_is_success(stage: Stage) -> None:
    await stage.outbox.find()
    stage.outbox = stage.new_outbox(meter_every_s=60)
    metered = await account(stage.sessions, billing="stripe_meter", timezone="UTC")
    at = stage.now()
    month = f"{at:%Y-%m}"
    total = 0
    stage.fake.plan = ["", "reset_after", "reset_after"]
    for i in range(3):
        await book(stage.sessions, call(metered, (1001 + i, 3, 7, 0, 0), at=at, zone="UTC", discount="0.15"))
        total += ((1001 + i) * 300 + 3 * 60 + 7 * 1200) * 85
        await stage.outbox.find()
        await stage.settle()
        stage.wait(61)
    events = list(stage.fake.books.meter_events.values())
    values = [int(event["payload"]["value"]) for event in events]
    assert sum(values) == total // 100
    assert len({event["timestamp"] for event in events}) == len(events) >= 1
    assert all(how == "done" for _, how, _ in await stage.tasks())
    assert f"{at:%Y-%m}" == month


async def test_an_event_whose_answer_was_lost_for_days_is_looked_for_in_its_minute(stage: Stage) -> None:
    stage.outbox = stage.new_outbox(meter_every_s=10**9)
    metered = await account(stage.sessions, billing="stripe_meter", timezone="UTC")
    await book(stage.sessions, call(metered, at=stage.now(), zone="UTC"))
    stage.fake.plan = ["", "reset_after", "reset_after"]  # the customer; then the event, of which nobody hears
    for _ in range(3):
        await stage.outbox.find()
        await stage.outbox.send_due()
        stage.wait(2)
    assert len(stage.fake.books.meter_events) == 1
    stage.wait(3 * 86_400)
    await stage.settle()
    assert len(stage.fake.books.meter_events) == 1
    assert {how for _, how, _ in await stage.tasks()} == {"done"}


async def test_every_planted_difference_is_found_and_named(stage: Stage) -> None:
    issued = await lived_month(stage, random.Random(9), payers=4)
    await stage.settle()
    books = stage.fake.books
    assert (await agreement(stage)).findings == []
    gone, changed, twice, paid = [stage.at_stripe(invoice) for invoice in issued]
    lines = books.lines_of(changed["id"])
    lines[0]["amount"] += 1
    changed["total"] += 1
    books.objects["in_copy"] = {**twice, "id": "in_copy"}
    books.pay(paid["id"])  # and nobody told us
    del books.objects[gone["id"]]
    stray = books.create_customer({"metadata": {"solar_account": issued[0].invoice.account_id}})
    books.objects["in_stray"] = {
        **twice,
        "id": "in_stray",
        "customer": stray["id"],
        "metadata": {**twice["metadata"], "solar_invoice": "inv_nobody"},
    }
    found = (await agreement(stage)).findings
    kinds = {(one.kind, one.account_id) for one in found}
    accounts = [invoice.invoice.account_id for invoice in issued]
    wanted = {
        ("doubled", accounts[0]),
        ("missing", accounts[0]),
        ("total", accounts[1]),
        ("line", accounts[1]),
        ("doubled", accounts[2]),
        ("unknown", accounts[2]),
        ("state", accounts[3]),
    }
    assert wanted <= kinds
    assert all(isinstance(one, Finding) for one in found)


async def test_a_top_up_and_its_payment_stand_through_faults(stage: Stage) -> None:
    payer = await account(stage.sessions, billing="prepaid", currency="KRW")
    stage.fake.chances, stage.fake.dice = CHANCES, random.Random(3)
    ids = []
    async with stage.sessions.begin() as session:
        for won in ("5000", "700"):
            asked: Any = await top_up_store.ask(session, payer, Decimal(won), ACTOR, stage.now(), stage.now())
            ids.append(asked.id)
    await stage.settle()
    sessions = stage.fake.books.all("checkout.session")
    assert sorted(one["amount_total"] for one in sessions) == [700, 5000]
    assert {one["client_reference_id"] for one in sessions} == set(ids)
