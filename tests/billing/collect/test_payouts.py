"""A partner's payout is one transfer, its reversal takes it back; what was taken back before it was sent is neither."""

from __future__ import annotations

from typing import Any

import pytest

from billing.agreement.months import agree_with_stripe
from billing.collect import store
from billing.payouts import store as payouts
from billing.payouts.tables import Payout
from tests.billing.collect.stage import METER, Stage
from tests.billing.months import ACTOR, OCTOBER, account, book, call, close, contribute, plan

PAYEE = {
    "kind": "business",
    "country": "KR",
    "legal_name": "파트너",
    "registration_number": "220-81-62517",
    "currency": "USD",
    "destination": {"kind": "stripe", "account": "acct_1"},
}


async def paid(stage: Stage, to: str = "acct_1") -> Payout:
    """A payout of a partner's October, not sent yet."""
    partner = await account(stage.sessions, kind="club")
    payer = await account(stage.sessions)
    await contribute(stage.sessions, partner, 1_000_000)
    await plan(stage.sessions, "0.20")
    await book(stage.sessions, call(payer, (10_000_000, 0, 0, 0, 0)))
    await close(stage.sessions)
    stage.outbox = stage.new_outbox(from_month="2099-01")  # payouts only
    async with stage.sessions.begin() as session:
        payee = {**PAYEE, "destination": {"kind": "stripe", "account": to}}
        await payouts.set_payee(session, partner, payee, ACTOR, stage.now())
        [made], _ = await payouts.pay_until(session, OCTOBER, ACTOR, stage.now())
    return made


async def taken_back(stage: Stage, payout: Payout) -> Payout:
    async with stage.sessions.begin() as session:
        return await payouts.reverse(session, payout.id, "it came back", ACTOR, stage.now())


async def transfers_differ(stage: Stage) -> list[Any]:
    agreed = await agree_with_stripe(stage.stripe, stage.sessions, OCTOBER, METER)
    return [one for one in agreed.findings if one.kind == "transfer"]


async def test_a_partners_payout_is_one_transfer_and_its_reversal_takes_it_back(stage: Stage) -> None:
    payout = await paid(stage)
    stage.fake.plan = ["reset_after", "broken_after", "broken_after"]
    await stage.settle()
    [transfer] = stage.fake.books.all("transfer")
    assert transfer["amount"] == payout.payable * 100
    assert (transfer["destination"], transfer["transfer_group"]) == ("acct_1", payout.id)
    assert await transfers_differ(stage) == []
    await taken_back(stage, payout)
    await stage.settle()
    assert transfer["amount_reversed"] == transfer["amount"]
    assert await transfers_differ(stage) == []


@pytest.mark.parametrize("is_found_first", [False, True])
async def test_a_payout_that_was_taken_back_before_it_was_sent_makes_neither(
    stage: Stage, is_found_first: bool
) -> None:
    payout = await paid(stage)
    if is_found_first:  # its transfer is in the outbox, and not begun
        assert await stage.outbox.find() == 1
    await taken_back(stage, payout)
    await stage.settle()
    assert stage.fake.books.all("transfer") == stage.fake.books.all("transfer_reversal") == []
    assert {(kind, how) for kind, how, _ in await stage.tasks()} == (
        {("transfer", "done"), ("reversal", "done")} if is_found_first else set()
    )
    assert (stage.counted["netted", "transfer"], stage.counted["netted", "reversal"]) == (1, 1) or not is_found_first
    assert await transfers_differ(stage) == []


async def test_a_transfer_whose_answer_was_lost_is_found_again_and_then_taken_back(stage: Stage) -> None:
    payout = await paid(stage)
    stage.fake.plan = ["reset_after", "reset_after"]
    await stage.outbox.find()
    await stage.outbox.send_due()
    await taken_back(stage, payout)
    stage.wait(3 * 86_400)  # its key is forgotten by now
    await stage.settle()
    [transfer] = stage.fake.books.all("transfer")
    assert transfer["amount_reversed"] == transfer["amount"]


async def test_a_transfer_that_stripe_refused_is_not_sent_any_more_once_it_was_taken_back(stage: Stage) -> None:
    payout = await paid(stage, to="acct_closed")
    await stage.settle()
    assert [(kind, how) for kind, how, _ in await stage.tasks()] == [("transfer", "given up")]
    await taken_back(stage, payout)
    stage.fake.books.accounts.add("acct_closed")  # it would be taken by now
    async with stage.sessions.begin() as session:
        await store.try_again(session, stage.now())
    await stage.settle()
    assert stage.fake.books.all("transfer") == []
    assert {(kind, how) for kind, how, _ in await stage.tasks()} == {("transfer", "done"), ("reversal", "done")}
