"""What finance issued is at Stripe once, to the cent, whatever fails or dies in between."""

from __future__ import annotations

import asyncio
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from billing.agreement.months import agree_with_stripe
from billing.collect import store
from billing.collect.shapes import to_wire_minor
from billing.collect.tables import StripeTask
from billing.invoice.read import IssuedInvoice
from tests.billing.collect.stage import METER, Stage
from tests.billing.months import CLOSING_NOVEMBER, MID_NOVEMBER, NOVEMBER, OCTOBER, account, book, call, close, krw_rate

DAY = 24 * 3600


def equal_to_ours(stage: Stage, invoice: IssuedInvoice) -> None:
    """Head, lines, VAT and total of the one invoice at Stripe are ours, in whole minor units."""
    ours, theirs = invoice.invoice, stage.at_stripe(invoice)
    assert (theirs["number"], theirs["currency"]) == (ours.number, ours.currency.lower())
    assert theirs["total"] == to_wire_minor(ours.total, ours.currency)
    lines = {line["metadata"]["solar_line"]: line["amount"] for line in stage.fake.books.lines_of(theirs["id"])}
    wanted = {str(line.position): to_wire_minor(line.amount, ours.currency) for line in invoice.lines}
    if ours.tax_reason:
        wanted["tax"] = to_wire_minor(ours.tax, ours.currency)
    assert lines == wanted
    assert len(stage.fake.books.all("customer", name="An account")) == 1


async def test_an_issued_invoice_reaches_its_customer_with_our_lines_and_vat_as_a_line(stage: Stage) -> None:
    invoice = await stage.invoiced()
    await stage.settle()
    equal_to_ours(stage, invoice)
    theirs = stage.at_stripe(invoice)
    assert (theirs["status"], theirs["collection_method"], theirs["times_sent"]) == ("open", "send_invoice", 1)
    assert theirs["automatic_tax"] == {"enabled": False}
    assert {kind for kind, _ in stage.counted} == {"sent", "not_yet"}
    asked = len(stage.fake.asked)
    await stage.settle()
    assert len(stage.fake.asked) == asked


async def test_won_are_sent_as_whole_won_and_a_customer_without_mail_is_charged_by_card(stage: Stage) -> None:
    await krw_rate(stage.sessions, date(2026, 10, 31), "1387.5")
    invoice = await stage.invoiced(currency="KRW", tax_details=None)
    await stage.settle()
    equal_to_ours(stage, invoice)
    theirs = stage.at_stripe(invoice)
    assert theirs["total"] == int(invoice.invoice.total)
    assert theirs["collection_method"] == "charge_automatically"


async def test_prepaid_and_metered_accounts_are_not_asked_to_pay_an_invoice(stage: Stage) -> None:
    prepaid = await stage.invoiced(billing="prepaid", prepaid_balance=Decimal(100))
    metered = await account(stage.sessions, billing="stripe_meter")
    await book(stage.sessions, call(metered))
    closed = await close(stage.sessions)
    await stage.settle()
    assert prepaid.invoice.account_id in {name.account_id for name in closed.invoices}
    assert metered not in {name.account_id for name in closed.invoices}
    assert stage.fake.books.all("invoice") == []
    assert [one["metadata"]["solar_account"] for one in stage.fake.books.all("customer")] == [metered]


async def test_only_invoices_from_the_stated_month_on_are_sent(stage: Stage) -> None:
    await stage.invoiced()
    stage.outbox = stage.new_outbox(from_month=str(OCTOBER.next()))
    await stage.settle()
    assert stage.fake.asked == []
    stage.outbox = stage.new_outbox(from_month=str(OCTOBER))
    await stage.settle()
    assert len(stage.fake.books.all("invoice")) == 1


FAULTS = ("limited", "reset_before", "reset_after", "broken_before", "broken_after", "unavailable")


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_at_every_second_request_doubles_nothing_and_loses_nothing(stage: Stage, fault: str) -> None:
    stage.fake.plan = (
        [fault, ""] * 4 + [fault, fault] + ["", fault] * 4
    )  # so that each request is hit, some twice in a row
    invoice = await stage.invoiced()
    await stage.settle()
    equal_to_ours(stage, invoice)
    assert len(stage.fake.faults) >= 5


async def test_an_answer_lost_for_longer_than_stripe_keeps_its_key_is_looked_for_and_not_asked_again(
    stage: Stage,
) -> None:
    invoice = await stage.invoiced()
    stage.fake.plan = [
        "",
        "reset_after",
        "reset_after",
    ]  # the customer is made; the invoice too, and nobody hears of it
    for _ in range(3):
        await stage.outbox.find()
        await stage.outbox.send_due()
        stage.wait(2)
    assert len(stage.fake.books.all("invoice")) == 1
    stage.wait(3 * DAY)
    await stage.settle()
    equal_to_ours(stage, invoice)


async def test_what_stripe_refuses_is_given_up_after_a_few_times_and_tried_again_when_an_operator_says_so(
    stage: Stage,
) -> None:
    invoice = await stage.invoiced(name="The second")
    stage.fake.books.create_customer({"name": "other"})
    stage.fake.books.create_invoice({"customer": "cus_000001", "number": invoice.invoice.number})
    await stage.settle()
    [(kind, how, why)] = [task for task in await stage.tasks() if task[1] != "done"]
    assert (kind, how) == ("invoice", "given up")
    assert why is not None
    assert "number is in use" in why
    assert stage.counted["given_up", "invoice"] == 1
    stage.fake.books.objects.pop("in_000002")
    async with stage.sessions.begin() as session:
        assert [task.kind for task in await store.given_up(session, 10)] == ["invoice"]
        assert await store.try_again(session, stage.now()) == 1
    await stage.settle()
    assert stage.at_stripe(invoice)["total"] == to_wire_minor(invoice.invoice.total, "USD")


async def test_an_invoice_whose_sum_at_stripe_is_not_ours_is_never_shown_to_the_customer(stage: Stage) -> None:
    invoice = await stage.invoiced()
    real = stage.fake.books.add_lines

    def one_too_many(name: str, form: dict[str, Any]) -> dict[str, Any]:
        real(name, form)
        return real(name, {"lines": [{"amount": 1, "metadata": {}}]})

    stage.fake.books.add_lines = one_too_many  # type: ignore[method-assign]
    await stage.settle()
    assert stage.at_stripe(invoice)["status"] == "draft"
    assert ("invoice", "given up") in {(kind, how) for kind, how, _ in await stage.tasks()}


async def test_two_senders_at_once_and_one_that_was_thought_dead_double_nothing(stage: Stage) -> None:
    invoice = await stage.invoiced()
    others = [stage.new_outbox() for _ in range(3)]
    await asyncio.gather(*[outbox.find() for outbox in others])
    await asyncio.gather(*[outbox.send_due() for outbox in others])
    async with stage.sessions.begin() as session:  # claimed, and then silent for longer than its lease
        [claimed] = await store.claim_due(session, stage.now(), 600, 10)
    stage.wait(601)
    await stage.settle()
    with pytest.raises(store.LostClaim):
        async with stage.sessions.begin() as session:
            await store.note(session, claimed, fault="too late")
    equal_to_ours(stage, invoice)


async def test_a_credit_note_before_payment_lessens_what_is_due_and_after_it_refunds_the_card(stage: Stage) -> None:
    invoice = await stage.invoiced()
    before = await stage.credited(invoice, "0.10")
    await stage.settle()
    theirs = stage.at_stripe(invoice)
    [note] = stage.fake.books.all("credit_note")
    assert note["metadata"]["solar_credit_note"] == before
    assert theirs["amount_remaining"] == theirs["total"] - note["total"]
    assert note["total"] == 11  # with VAT
    stage.fake.books.pay(theirs["id"])
    await stage.credited(invoice, "0.20")
    await stage.settle()
    [refund] = stage.fake.books.all("refund")
    assert (refund["amount"], len(stage.fake.books.all("credit_note"))) == (22, 2)


@pytest.mark.parametrize("fault", ["reset_after", "broken_after"])
async def test_a_credit_note_whose_answer_was_lost_is_not_given_twice_though_it_changed_what_is_due(
    stage: Stage, fault: str
) -> None:
    invoice = await stage.invoiced()
    await stage.settle()
    theirs = stage.at_stripe(invoice)
    due = theirs["amount_remaining"]
    await stage.credited(invoice, "0.10")
    stage.fake.plan = ["", fault, fault]
    await stage.settle()
    assert len(stage.fake.books.all("credit_note")) == 1
    assert theirs["amount_remaining"] == due - 11


async def test_an_account_is_one_customer_however_many_invoices_it_has(stage: Stage) -> None:
    first = await stage.invoiced()
    async with stage.sessions() as session:
        customer = await store.customer_of(session, first.invoice.account_id, stage.now())
    assert customer is None
    await stage.settle()
    async with stage.sessions() as session:
        made = await store.made(session, "customer", first.invoice.account_id)
        task = await store.subject_of(session, "customer", str(made))
        counts = {one.kind: (one.waiting, one.given_up, one.done) for one in await store.waiting(session)}
    assert isinstance(task, StripeTask)
    assert task.account_id == first.invoice.account_id
    assert counts == {"customer": (0, 0, 1), "invoice": (0, 0, 1)}


async def test_a_minimum_puts_off_the_collection_and_never_the_invoice(stage: Stage) -> None:
    small = await stage.invoiced(tax_country=None)  # 2 calls
    total = small.invoice.total
    assert small.invoice.status == "issued"
    stage.outbox = stage.new_outbox(minima={"USD": total + Decimal("0.01"), "KRW": Decimal(0)})
    await stage.settle()
    assert stage.fake.asked == []
    agreed = await agree_with_stripe(stage.stripe, stage.sessions, OCTOBER, METER)
    assert [(found.kind, found.account_id) for found in agreed.findings] == [("uncollected", small.invoice.account_id)]
    await book(stage.sessions, call(small.invoice.account_id, (1_234_567, 0, 987_654, 0, 0), at=MID_NOVEMBER))
    closed = await close(stage.sessions, NOVEMBER, CLOSING_NOVEMBER)
    await stage.settle()
    assert len(closed.invoices) == 1
    assert len(stage.fake.books.all("invoice")) == 2  # what is owed came to the minimum: all of it is asked for
    equal_to_ours(stage, small)


async def test_what_was_credited_does_not_count_towards_the_minimum(stage: Stage) -> None:
    invoice = await stage.invoiced(tax_country=None)
    await stage.credited(invoice, "0.01")
    stage.outbox = stage.new_outbox(minima={"USD": invoice.invoice.total, "KRW": Decimal(0)})
    await stage.settle()
    assert stage.fake.asked == []
    stage.outbox = stage.new_outbox(minima={"USD": invoice.invoice.total - Decimal("0.01"), "KRW": Decimal(0)})
    await stage.settle()
    equal_to_ours(stage, invoice)
