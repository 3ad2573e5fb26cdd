"""A second opinion: localstripe, a fake of Stripe by other people, takes our customers and signs deliveries that our door accepts."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace

import httpx
import pytest

from billing.collect.shapes import to_wire_customer
from billing.stripe_client import ForgedWebhook, Stripe, StripeRefused, check_webhook
from tests.gateway.alerts.receiver import receiving
from tests.waiting import wait_until

KEY, SECRET = "sk_test_12345", "whsec_localstripe"


@pytest.fixture
async def url() -> AsyncIterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "localstripe",
        "--from-scratch",
        "--port",
        str(port),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )

    def answers() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/v1/customers", auth=(KEY, ""), trust_env=False).is_success
        except httpx.TransportError:
            return False

    await asyncio.to_thread(wait_until, answers, 60, "localstripe serves")
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    await process.wait()


async def test_customers_cards_and_signed_deliveries_agree_with_a_foreign_stripe(url: str) -> None:
    door = Stripe(KEY, base_url=url, timeout_ms=5000, attempts=2)
    account = SimpleNamespace(
        id="acc_1",
        name="김솔라",
        tax_country="KR",
        tax_registration_number=None,
        tax_details={"email": "sola@example.com", "address": "서울시 중구"},
    )
    async with receiving() as receiver, httpx.AsyncClient(base_url=url, auth=(KEY, ""), trust_env=False) as other:
        hook = {"url": receiver.url, "secret": SECRET, "events": ["customer.created"]}
        assert (await other.post("/_config/webhooks/ours", json=hook)).is_success
        made = await door.create_customer(to_wire_customer(account), "customer:acc_1:1")
        assert (made["name"], made["email"], made["metadata"]) == (
            *("김솔라", "sola@example.com", {"solar_account": "acc_1"}),
        )
        assert made["address"]["country"] == "KR"
        assert [one["id"] for one in await door.customers({})] == [made["id"]]
        card = {
            "card[number]": "4242424242424242",
            "card[exp_month]": "12",
            "card[exp_year]": "2030",
            "card[cvc]": "123",
        }
        method = (await other.post("/v1/payment_methods", data={"type": "card", **card})).json()
        attached = await other.post(f"/v1/payment_methods/{method['id']}/attach", data={"customer": made["id"]})
        assert attached.json()["customer"] == made["id"]
        with pytest.raises(StripeRefused):
            await door.invoice("in_nobody")
        await asyncio.to_thread(wait_until, lambda: receiver.events, 20, "the delivery has come")
    await door.close()
    [event] = receiver.events
    signed = event.headers["stripe-signature"]
    now_s = int(time.time())
    check_webhook(event.body, signed, SECRET, now_s=now_s, age_max_s=300)
    assert event.json["data"]["object"]["id"] == made["id"]
    with pytest.raises(ForgedWebhook):
        check_webhook(event.body, signed, "whsec_other", now_s=now_s, age_max_s=300)
