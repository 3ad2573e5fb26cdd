"""The door to Stripe, against a server that keeps idempotency keys, pages, limits and breaks down: faults in our words, nothing doubled."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import stripe

from billing import stripe_client
from billing.stripe_client import (
    ForgedWebhook,
    Stripe,
    StripeAway,
    StripeBroken,
    StripeLocked,
    StripeRefused,
    check_webhook,
)
from tests.fakes.stripe import API_KEY, WEBHOOK_SECRET, FakeStripe
from tests.fakes.stripe_forms import BadField, checked, read_form

NAMED = {"name": "김", "metadata": {"solar_account": "acc_1"}}


@pytest.fixture
def fake() -> Iterator[FakeStripe]:
    with FakeStripe.running() as running:
        yield running


@pytest.fixture
async def door(fake: FakeStripe) -> AsyncIterator[Stripe]:
    opened = Stripe(API_KEY, base_url=fake.url, timeout_ms=400, attempts=3, pause_max_s=1)
    yield opened
    await opened.close()


def test_the_api_version_is_pinned_to_the_one_the_library_was_made_for() -> None:
    assert stripe.api_version == stripe_client.API_VERSION


async def test_a_request_that_is_sent_twice_under_one_key_takes_effect_once(fake: FakeStripe, door: Stripe) -> None:
    first = await door.create_customer(NAMED, "k1")
    assert await door.create_customer(NAMED, "k1") == first
    assert await door.create_customer(NAMED, "k2") != first
    assert [one["name"] for one in fake.books.all("customer")] == ["김", "김"]


async def test_a_key_is_refused_with_other_fields_and_forgotten_after_a_day(fake: FakeStripe, door: Stripe) -> None:
    await door.create_customer(NAMED, "k1")
    with pytest.raises(StripeRefused) as refused:
        await door.create_customer({"name": "other"}, "k1")
    assert refused.value.code == "idempotency_error"
    fake.books.clock_offset_s = 24 * 3600 + 1
    await door.create_customer({"name": "other"}, "k1")
    assert len(fake.books.all("customer")) == 2


@pytest.mark.parametrize("fault", ["limited", "reset_before", "reset_after", "silent_after"])
async def test_a_lost_request_or_answer_is_repeated_and_takes_effect_once(
    fake: FakeStripe, door: Stripe, fault: str
) -> None:
    fake.plan = [fault]
    made = await door.create_customer(NAMED, "k1")
    assert [one["id"] for one in fake.books.all("customer")] == [made["id"]]
    assert fake.faults == [fault]


async def test_a_stripe_that_stays_away_is_asked_a_stated_number_of_times(fake: FakeStripe, door: Stripe) -> None:
    fake.plan = ["reset_before"] * 5
    with pytest.raises(StripeAway):
        await door.create_customer(NAMED, "k1")
    assert len(fake.faults) == 3


@pytest.mark.parametrize(("fault", "made"), [("broken_before", 0), ("broken_after", 1)])
async def test_a_500_is_told_at_once_because_stripe_would_only_repeat_it(
    fake: FakeStripe, door: Stripe, fault: str, made: int
) -> None:
    fake.plan = [fault]
    for _ in range(2):  # the second is the kept answer
        with pytest.raises(StripeBroken):
            await door.create_customer(NAMED, "k1")
    assert len(fake.asked) == 2
    assert len(fake.books.all("customer")) == made


async def test_a_list_is_read_to_its_end_also_over_faults(fake: FakeStripe, door: Stripe) -> None:
    ids = [fake.books.create_customer({"name": str(i)})["id"] for i in range(250)]
    fake.plan = ["limited", "broken_before", "", "reset_after"]
    found = await door.customers({"created": {"gte": 0}})
    assert sorted(one["id"] for one in found) == sorted(ids)


async def test_a_list_longer_than_its_bound_is_a_fault_and_no_short_list(fake: FakeStripe) -> None:
    for i in range(101):
        fake.books.create_customer({"name": str(i)})
    door = Stripe(API_KEY, base_url=fake.url, timeout_ms=2000, attempts=1, pages_max=1)
    with pytest.raises(StripeAway, match="more than 100"):
        await door.customers({})
    await door.close()


async def test_a_wrong_key_needs_an_operator_and_is_not_shown(fake: FakeStripe) -> None:
    door = Stripe("sk_test_wrong", base_url=fake.url, timeout_ms=2000, attempts=2)
    with pytest.raises(StripeLocked) as locked:
        await door.create_customer(NAMED, "k1")
    assert "sk_test_wrong" not in str(locked.value)
    await door.close()


@pytest.mark.parametrize(
    ("call", "param"),
    [
        (lambda door: door.create_customer({"nickname": "x"}, "k"), "nickname"),
        (lambda door: door.create_customer({"email": ""}, "k"), "email"),
        (lambda door: door.create_invoice({"customer": "cus_0", "days_until_due": "soon"}, "k"), "days_until_due"),
        (lambda door: door.create_invoice({"collection_method": "by_post"}, "k"), "collection_method"),
        (lambda door: door.add_lines("in_0", {"lines": [{"amount": 1, "colour": "red"}]}, "k"), "lines[0][colour]"),
        (lambda door: door.create_transfer({"amount": 1, "currency": "usd"}, "k"), "destination"),
    ],
)
async def test_the_fake_refuses_what_the_librarys_own_types_do_not_know(door: Stripe, call: Any, param: str) -> None:
    with pytest.raises(StripeRefused) as refused:
        await call(door)
    assert refused.value.param == param


def test_a_form_is_read_as_its_types_say() -> None:
    form = read_form("customer=cus_1&automatic_tax[enabled]=false&metadata[a]=1&days_until_due=30")
    assert checked(form, stripe.params.InvoiceCreateParams) == {
        "automatic_tax": {"enabled": False},
        "customer": "cus_1",
        "days_until_due": 30,
        "metadata": {"a": "1"},
    }
    with pytest.raises(BadField, match="idempotency_key"):
        checked(read_form("idempotency_key=1"), stripe.params.InvoiceCreateParams)


def signed(body: bytes = b'{"id": "evt_1"}', **how: Any) -> str:
    header: str = stripe.WebhookSignature.generate_signature_header(
        body.decode(), how.get("secret", WEBHOOK_SECRET), how.get("at_s", 1_000_000)
    )
    return header


@pytest.mark.parametrize(
    ("header", "body", "why"),
    [
        (None, b'{"id": "evt_1"}', "unsigned"),
        ("", b'{"id": "evt_1"}', "unsigned"),
        ("t=1,v1=00", b'{"id": "evt_1"}', "wrong_signature"),
        ("nonsense", b'{"id": "evt_1"}', "wrong_signature"),
        ("t=x,v1=y", b'{"id": "evt_1"}', "wrong_signature"),
        (signed(secret="whsec_other"), b'{"id": "evt_1"}', "wrong_signature"),
        (signed(), b'{"id": "evt_2"}', "wrong_signature"),
        (signed(), b'{"id":  "evt_1"}', "wrong_signature"),
        (signed(at_s=1_000_000 - 301), b'{"id": "evt_1"}', "too_old"),
        (signed(at_s=1_000_000 + 301), b'{"id": "evt_1"}', "too_old"),
        (signed(), b"\xff\xfe", "unreadable"),
    ],
)
def test_a_webhook_that_is_not_stripes_or_is_old_is_refused(header: str | None, body: bytes, why: str) -> None:
    with pytest.raises(ForgedWebhook) as forged:
        check_webhook(body, header, WEBHOOK_SECRET, now_s=1_000_000, age_max_s=300)
    assert forged.value.why == why
    assert forged.value.why in stripe_client.FORGERIES


def test_a_webhook_of_stripes_is_accepted_also_with_two_signatures_while_a_secret_is_rolled(fake: FakeStripe) -> None:
    now_s = int(time.time())
    body, headers = fake.signed(fake.books.tell("ping", {}))
    check_webhook(body, headers["stripe-signature"], WEBHOOK_SECRET, now_s=now_s, age_max_s=300)
    other = signed(body, secret="whsec_new", at_s=now_s).partition(",")[2]
    check_webhook(body, f"{headers['stripe-signature']},{other}", WEBHOOK_SECRET, now_s=now_s, age_max_s=300)
    with pytest.raises(ForgedWebhook):
        check_webhook(body, headers["stripe-signature"], "", now_s=now_s, age_max_s=300)
