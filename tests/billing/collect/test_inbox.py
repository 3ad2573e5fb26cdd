"""Deliveries stored once and worked off once; the account's state follows, whatever order they come in; top-ups raise a balance once."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from billing.accounts import store as accounts
from billing.collect import inbox_store, store, top_up_store
from billing.collect.top_up_store import TopUpRefused
from tests.billing.collect.stage import GRACE, Stage
from tests.billing.months import ACTOR, account, book, call

GRACE_S = int(GRACE.total_seconds())


async def test_an_account_that_does_not_pay_has_its_grace_then_is_suspended_then_restored(stage: Stage) -> None:
    invoice = await stage.invoiced()
    payer = invoice.invoice.account_id
    await stage.settle()
    name = stage.at_stripe(invoice)["id"]
    await stage.deliver(stage.fake.books.fail(name))
    assert await stage.status(payer) == "active"
    async with stage.sessions() as session:
        standing = await inbox_store.standing_of(session, payer)
    assert standing is not None
    assert (standing.why, standing.suspended_at) == ("payment failed", None)
    stage.wait(GRACE_S - 60)
    assert await stage.inbox.judge() == 0
    stage.wait(120)
    assert await stage.inbox.judge() == 1
    assert await stage.status(payer) == "suspended"
    await stage.deliver(stage.fake.books.pay(name))
    assert await stage.status(payer) == "active"
    assert (await stage.invoice_of(payer)).invoice.status == "paid"
    assert [who for who, _ in stage.told] == [payer, payer]
    assert stage.told[0][1] < stage.told[1][1]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1), (1, 3, 0, 2)])
async def test_deliveries_in_any_order_and_twice_come_to_the_same_state(stage: Stage, order: tuple[int, ...]) -> None:
    invoice = await stage.invoiced(calls=1)
    payer = invoice.invoice.account_id
    await stage.settle()
    books, name = stage.fake.books, stage.at_stripe(invoice)["id"]
    failed = books.fail(name)
    books.pay(name)
    payment, paid = books.events[-2:]
    disputed = books.dispute(books.all("payment_intent")[0]["id"])
    events = [failed, payment, paid, disputed]
    new = await stage.deliver(*[events[i] for i in order], *[events[i] for i in reversed(order)])
    assert new == [True] * 4 + [False] * 4
    async with stage.sessions() as session:
        standing = await inbox_store.standing_of(session, payer)
    assert standing is not None
    assert (standing.why, await stage.status(payer)) == ("payment disputed", "active")
    assert (await stage.invoice_of(payer)).invoice.status == "paid"
    assert stage.told == []


async def test_a_dispute_suspends_after_the_grace_and_is_over_when_it_is_won(stage: Stage) -> None:
    invoice = await stage.invoiced()
    payer = invoice.invoice.account_id
    await stage.settle()
    books = stage.fake.books
    books.pay(stage.at_stripe(invoice)["id"])
    [intent] = books.all("payment_intent")
    await stage.deliver(*books.events, books.dispute(intent["id"]))
    stage.wait(GRACE_S + 1)
    assert await stage.inbox.judge() == 1
    assert await stage.status(payer) == "suspended"
    await stage.deliver(books.dispute(intent["id"], "won"))
    assert await stage.status(payer) == "active"


async def test_a_voided_invoice_is_owed_no_more(stage: Stage) -> None:
    invoice = await stage.invoiced()
    payer = invoice.invoice.account_id
    await stage.settle()
    books, name = stage.fake.books, stage.at_stripe(invoice)["id"]
    await stage.deliver(books.fail(name))
    stage.wait(GRACE_S + 1)
    await stage.inbox.judge()
    books.void_invoice(name, {})
    await stage.deliver(books.events[-1])
    assert await stage.status(payer) == "active"
    assert (await stage.invoice_of(payer)).invoice.status == "void"


async def test_an_operators_word_stands_above_the_rule(stage: Stage) -> None:
    invoice = await stage.invoiced()
    payer = invoice.invoice.account_id
    await stage.settle()
    name = stage.at_stripe(invoice)["id"]
    await stage.deliver(stage.fake.books.fail(name))
    stage.wait(GRACE_S + 1)
    await stage.inbox.judge()
    async with stage.sessions.begin() as session:
        await accounts.change(session, payer, {"status": "active"}, ACTOR, stage.now())
    stage.wait(60)
    await stage.inbox.judge()
    await stage.deliver(stage.fake.books.fail(name))
    assert await stage.status(payer) == "active"


async def test_a_payment_told_before_its_invoice_is_known_here_waits_for_it(stage: Stage) -> None:
    invoice = await stage.invoiced()
    await stage.settle()
    name = stage.at_stripe(invoice)["id"]
    stage.fake.books.pay(name)
    async with stage.sessions.begin() as session:  # the outbox died before it wrote down what Stripe calls it
        task = await store.task_of(session, "invoice", invoice.invoice.id)
        assert task is not None
        await store.note(session, task, made_id=None)
    await stage.deliver(*stage.fake.books.events)
    assert stage.counted["waits", "invoice_payment.paid"] == 1
    async with stage.sessions.begin() as session:
        await store.note(session, task, made_id=name)
    stage.wait(60)
    await stage.inbox.work_off()
    assert stage.counted["applied", "invoice_payment.paid"] == 1
    async with stage.sessions() as session:
        assert await inbox_store.waiting(session) == 0


async def test_a_payment_of_what_is_not_ours_is_not_waited_for_for_ever(stage: Stage) -> None:
    about = {"invoice": "in_of_somebody_else", "payment": {"type": "payment_intent", "payment_intent": "pi_1"}}
    stranger = stage.fake.books.tell("invoice_payment.paid", about)
    await stage.deliver(stranger)
    for days in (1, 7):
        stage.wait(days * 86_400)
        await stage.inbox.work_off()
    async with stage.sessions() as session:
        assert await inbox_store.waiting(session) == 0
    assert stage.counted["applied", "invoice_payment.paid"] == 1


async def top_up(stage: Stage, payer: str, amount: str) -> tuple[str, dict[str, Any]]:
    """(our id, the checkout at Stripe)."""
    async with stage.sessions.begin() as session:
        asked = await top_up_store.ask(session, payer, Decimal(amount), ACTOR, stage.now(), stage.now())
    await stage.settle()
    [checkout] = stage.fake.books.all("checkout.session", client_reference_id=asked.id)
    return asked.id, checkout


async def balance(stage: Stage, payer: str) -> Decimal:
    async with stage.sessions() as session:
        return (await accounts.get(session, payer)).prepaid_balance


async def test_a_top_up_raises_the_balance_once_however_often_it_is_told(stage: Stage) -> None:
    payer = await account(stage.sessions, billing="prepaid", prepaid_balance=Decimal(5))
    stage.fake.plan = ["reset_after", "", "broken_after"]
    _, checkout = await top_up(stage, payer, "12.34")
    assert (checkout["amount_total"], checkout["currency"]) == (1234, "usd")
    pending = stage.fake.books.complete(checkout["id"], paid=False)
    await stage.deliver(pending)
    assert await balance(stage, payer) == 5
    done = stage.fake.books.complete(checkout["id"])
    again = stage.fake.books.tell("checkout.session.async_payment_succeeded", checkout)
    await asyncio.gather(*[stage.deliver(event) for event in (done, done, again, again)])
    expired = stage.fake.books.tell("checkout.session.expired", {**checkout, "payment_status": "unpaid"})
    await stage.deliver(expired)
    assert await balance(stage, payer) == Decimal("17.34")
    async with stage.sessions() as session:
        [shown] = await top_up_store.of_account(session, payer, 10)
    assert shown.status == "paid"


async def test_another_amount_than_was_asked_for_raises_nothing(stage: Stage) -> None:
    payer = await account(stage.sessions, billing="prepaid")
    _, checkout = await top_up(stage, payer, "10.00")
    checkout["amount_total"] = 1
    await stage.deliver(stage.fake.books.complete(checkout["id"]))
    assert await balance(stage, payer) == 0


async def test_a_top_up_is_given_back_at_most_to_what_is_unspent(stage: Stage) -> None:
    payer = await account(stage.sessions, billing="prepaid")
    ours, checkout = await top_up(stage, payer, "10.00")
    await stage.deliver(stage.fake.books.complete(checkout["id"]))
    await book(stage.sessions, call(payer, (10_000_000, 0, 0, 0, 0)))  # 3.00 USD
    stage.fake.plan = ["broken_after"]

    async def give_back(amount: str) -> None:
        async with stage.sessions.begin() as session:
            await top_up_store.give_back(session, ours, Decimal(amount), "asked", ACTOR, stage.now(), stage.now())

    with pytest.raises(TopUpRefused, match=r"7\.00"):
        await give_back("7.01")
    await give_back("4.00")
    with pytest.raises(TopUpRefused):
        await give_back("3.01")
    await stage.settle()
    assert await balance(stage, payer) == 6
    assert [refund["amount"] for refund in stage.fake.books.all("refund")] == [400]


@pytest.mark.parametrize("amount", ["0", "-1", "0.001"])
async def test_a_top_up_that_cannot_be_paid_is_refused(stage: Stage, amount: str) -> None:
    payer = await account(stage.sessions, billing="prepaid")
    async with stage.sessions() as session:
        with pytest.raises(TopUpRefused, match="amount"):
            await top_up_store.ask(session, payer, Decimal(amount), ACTOR, stage.now(), stage.now())
        other = await account(stage.sessions)
        with pytest.raises(TopUpRefused, match="only a prepaid"):
            await top_up_store.ask(session, other, Decimal(1), ACTOR, stage.now(), stage.now())
