"""Stripe and a whole running gateway: an issued invoice reaches it, deliveries change keys within a second, forgeries are counted."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.billing.months import call
from tests.fakes.stripe import API_KEY, WEBHOOK_SECRET, FakeStripe
from tests.gateway.office.conftest import AFTER_OCTOBER, use
from tests.running import Gateway
from tests.waiting import wait_until

BODY = {"model": "solar-pro4", "messages": [{"role": "user", "content": "안녕"}], "max_tokens": 5}
PATH = "/webhooks/stripe"


@dataclass
class House:
    """A gateway that is set up for Stripe, in a November in which an October can be closed, and the Stripe it talks to."""

    gateway: Gateway
    fake: FakeStripe
    ops_port: int

    def deliver(self, event: dict[str, Any], **how: Any) -> httpx.Response:
        body, headers = self.fake.signed(event, **how)
        return httpx.post(f"{self.gateway.url}{PATH}", content=body, headers=headers, trust_env=False)

    def calls(self, secret: str) -> int:
        with self.gateway.caller(secret) as caller:
            return caller.post("/chat/completions", json=BODY).status_code

    def counted(self, found: str) -> int:
        text = httpx.get(f"http://127.0.0.1:{self.ops_port}/metrics", trust_env=False).text
        value = re.search(rf'^solar_stripe_events_total{{found="{found}"}} ([\d.]+)$', text, re.M)
        return int(float(value[1])) if value else 0


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with FakeStripe.running() as fake:
        environment = {
            "STRIPE_API_KEY": API_KEY,
            "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "GATEWAY_STRIPE_URL": fake.url,
            "GATEWAY_STRIPE_GRACE_DAYS": "0",
            "GATEWAY_STRIPE_EVERY_MS": "50",
            "GATEWAY_SANDBOX_CLOCK": AFTER_OCTOBER,
            "GATEWAY_OPS_PORT": str(port),
            "GATEWAY_MONTH_GRACE_S": "0",
        }
        with Gateway.started(tmp_path_factory.mktemp("stripe"), environment=environment) as gateway:
            yield House(gateway, fake, port)


def test_a_prepaid_account_pays_in_at_stripe_and_can_call_within_a_second(house: House) -> None:
    gateway = house.gateway
    payer = gateway.account(billing="prepaid")
    secret = gateway.key(payer["id"])
    assert house.calls(secret) == 402
    asked = gateway.post(f"/accounts/{payer['id']}/top-ups", {"amount": "5.00"})
    assert (asked["status"], asked["amount"], asked["currency"]) == ("pending", "5.00", "USD")

    def url() -> str | None:
        [shown] = gateway.operator.get(f"/accounts/{payer['id']}/top-ups").json()["data"]
        found: str | None = shown["url"]
        return found

    session = wait_until(url, 20, "Stripe has made the checkout").rpartition("/")[2]
    event = house.fake.books.complete(session)
    assert house.deliver(event).status_code == 200
    assert house.deliver(event).status_code == 200
    began = time.monotonic()
    wait_until(lambda: house.calls(secret) == 200, 20, "the balance is raised")
    assert time.monotonic() - began < 5  # within a second where the machine is quiet
    assert gateway.operator.get(f"/accounts/{payer['id']}").json()["prepaid_balance"] == "5.00"
    assert (house.counted("accepted"), house.counted("repeated")) == (1, 1)


def test_forged_old_and_altered_deliveries_are_refused_and_counted_and_say_nothing(house: House) -> None:
    event = house.fake.books.tell("invoice.paid", {"id": "in_1", "status": "paid", "metadata": {}})
    forged = house.deliver(event, secret="whsec_guessed")
    old = house.deliver(event, at_s=int(time.time()) - 3600)
    body, headers = house.fake.signed(event)
    altered = httpx.post(f"{house.gateway.url}{PATH}", content=body + b" ", headers=headers, trust_env=False)
    unsigned = httpx.post(f"{house.gateway.url}{PATH}", content=body, trust_env=False)
    answers = [forged, old, altered, unsigned]
    assert {(answer.status_code, answer.json()["error"]["code"]) for answer in answers} == {(400, "invalid_signature")}
    assert len({answer.json()["error"]["message"] for answer in answers}) == 1
    assert house.deliver({"no": "event"}).json()["error"]["code"] == "invalid_event"
    too_large = house.deliver({**event, "padding": "x" * 2_000_000})
    assert too_large.status_code == 413
    wait_until(lambda: house.counted("wrong_signature") == 2, 10, "forgeries are counted")
    assert (house.counted("too_old"), house.counted("unsigned"), house.counted("too_large")) == (1, 1, 1)
    assert WEBHOOK_SECRET not in house.gateway.log()
    assert API_KEY not in house.gateway.log()


def test_an_operator_sees_how_far_things_are_and_tries_again(house: House) -> None:
    shown = house.gateway.operator.get("/stripe").json()
    assert (shown["enabled"], shown["why"], shown["webhooks"], shown["given_up"]) == (True, None, True, [])
    assert {"kind": "top_up", "waiting": 0, "given_up": 0, "done": 1} in shown["outbox"]
    assert house.gateway.post("/stripe/retry", {}) == {"tasks": 0}
    refused = house.gateway.operator.post(f"/accounts/{house.gateway.account()['id']}/top-ups", json={"amount": "5"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "account")


def test_without_a_key_everything_else_works_and_says_so(gateway: Gateway) -> None:
    shown = gateway.operator.get("/stripe").json()
    assert (shown["enabled"], shown["webhooks"]) == (False, False)
    assert "STRIPE_API_KEY" in shown["why"]
    assert "stripe_off" in gateway.log()
    payer = gateway.account(billing="prepaid")
    refused = gateway.operator.post(f"/accounts/{payer['id']}/top-ups", json={"amount": "5"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "stripe_off")
    compared = gateway.operator.get("/stripe/reconciliation", params={"month": "2026-10"})
    assert (compared.status_code, compared.json()["error"]["code"]) == (409, "stripe_off")
    assert httpx.post(f"{gateway.url}{PATH}", content=b"{}", trust_env=False).status_code == 404


async def test_an_unpaid_invoice_suspends_the_keys_and_its_payment_restores_them_within_a_second(house: House) -> None:
    gateway, books = house.gateway, house.fake.books
    payer = gateway.account(tax={"country": "KR", "email": "a@example.com"})
    secret = gateway.key(payer["id"])
    await use(gateway.addresses["database_url"], call(payer["id"], (1_000_000, 0, 100_000, 0, 0)))
    gateway.post("/months/2026-10/close", {})
    [invoice] = gateway.operator.get("/invoices", params={"account": payer["id"]}).json()["data"]

    def sent() -> dict[str, Any] | None:
        found = [one for one in books.all("invoice") if one["metadata"].get("solar_invoice") == invoice["id"]]
        return found[0] if found and found[0].get("times_sent") else None

    theirs = wait_until(sent, 30, "the invoice is at Stripe, and on its way to the customer")
    assert (theirs["total"], invoice["total"]) == (46, "0.46")  # 0.30 + 0.12, and 10 % of it
    assert house.deliver(books.fail(theirs["id"])).status_code == 200
    wait_until(lambda: house.calls(secret) == 403, 20, "the keys are refused")
    books.pay(theirs["id"])
    assert house.deliver(books.events[-1]).status_code == 200
    began = time.monotonic()
    wait_until(lambda: house.calls(secret) == 200, 20, "the keys work again")
    took_s = time.monotonic() - began
    print(f"restored {took_s:.2f} s after the delivery was answered")
    assert took_s < 5  # a second on a quiet machine
    assert gateway.operator.get(f"/invoices/{invoice['id']}").json()["status"] == "paid"
    agreed = gateway.operator.get("/stripe/reconciliation", params={"month": "2026-10"}).json()
    assert (agreed["clean"], agreed["invoices"], agreed["minor_units"], agreed["findings"]) == (
        True,
        1,
        {"USD": 46},
        [],
    )
