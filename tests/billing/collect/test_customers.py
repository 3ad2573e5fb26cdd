"""What changes of an account changes at Stripe, once, and before the next invoice goes there."""

from __future__ import annotations

from typing import Any

import pytest

from billing.accounts import store as accounts
from billing.collect.shapes import to_wire_customer, to_wire_customer_change
from tests.billing.collect.stage import Stage
from tests.billing.months import ACTOR, CLOSING_NOVEMBER, MID_NOVEMBER, NOVEMBER, account, book, call, close

MOVED = {
    "name": "한빛미디어 주식회사",
    "tax_country": "KR",
    "tax_registration_number": "220-81-62517",
    "tax_details": {"email": "tax@hanbit.example.com", "address": "서울시 중구"},
}


async def change(stage: Stage, account_id: str, **values: Any) -> None:
    async with stage.sessions.begin() as session:
        await accounts.change(session, account_id, values, ACTOR, stage.now())


def customer(stage: Stage) -> dict[str, Any]:
    [found] = stage.fake.books.all("customer")
    return found


async def test_a_change_of_name_mail_or_tax_data_reaches_the_customer_once(stage: Stage) -> None:
    payer = await account(stage.sessions, billing="stripe_meter")
    await stage.settle()
    assert (customer(stage)["name"], customer(stage).get("email")) == ("An account", None)
    await change(stage, payer, **MOVED)
    await stage.settle()
    told = customer(stage)
    assert (told["name"], told["email"]) == (MOVED["name"], "tax@hanbit.example.com")
    assert told["address"] == {"country": "KR", "line1": "서울시 중구"}
    assert told["metadata"] == {"solar_account": payer, "solar_registration_number": "220-81-62517"}
    asked = len(stage.fake.asked)
    await change(stage, payer, monthly_cap=5)  # nothing that Stripe knows
    await stage.settle()
    assert len(stage.fake.asked) == asked


async def test_what_is_erased_here_is_erased_there(stage: Stage) -> None:
    payer = await account(stage.sessions, billing="stripe_meter", **MOVED)
    await stage.settle()
    await change(stage, payer, status="closed")
    async with stage.sessions.begin() as session:
        await accounts.erase(session, payer, ACTOR, stage.now())
    await stage.settle()
    told = customer(stage)
    assert (told["name"], told["email"], told["metadata"]) == (accounts.ERASED, None, {"solar_account": payer})
    assert "서울시" not in str(told)


@pytest.mark.parametrize("fault", ["reset_after", "broken_after", "limited"])
async def test_the_last_change_stands_whatever_fails_between_two(stage: Stage, fault: str) -> None:
    payer = await account(stage.sessions, billing="stripe_meter")
    await stage.settle()
    stage.fake.plan = [fault, fault]
    await change(stage, payer, name="second name")
    await stage.outbox.find()
    await stage.outbox.send_due()
    await change(stage, payer, name="third name")
    await stage.settle()
    assert customer(stage)["name"] == "third name"
    assert {how for _, how, _ in await stage.tasks()} == {"done"}


async def test_an_account_that_has_a_mail_by_now_gets_its_next_invoice_there(stage: Stage) -> None:
    first = await stage.invoiced(tax_details=None)
    payer = first.invoice.account_id
    await stage.settle()
    assert stage.at_stripe(first)["collection_method"] == "charge_automatically"
    await book(stage.sessions, call(payer, (1_234_567, 0, 987_654, 0, 0), at=MID_NOVEMBER))
    await close(stage.sessions, NOVEMBER, CLOSING_NOVEMBER)
    await change(stage, payer, tax_details={"email": "new@example.com"})
    await stage.settle()
    methods = {one["collection_method"]: one["status"] for one in stage.fake.books.all("invoice")}
    assert methods == {"charge_automatically": "open", "send_invoice": "open"}
    assert {how for _, how, _ in await stage.tasks()} == {"done"}


def test_a_new_customer_has_only_what_is_known_and_a_change_takes_the_rest_away() -> None:
    class Bare:
        id, name = "acc_1", ""
        tax_country = tax_registration_number = None
        tax_details = None

    assert to_wire_customer(Bare()) == {"name": "acc_1", "metadata": {"solar_account": "acc_1"}}
    assert to_wire_customer_change(Bare()) == {
        "name": "acc_1",
        "email": "",
        "address": "",
        "metadata": {"solar_account": "acc_1", "solar_registration_number": ""},
    }
