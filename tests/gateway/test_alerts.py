"""Budget alerts as a developer meets them: in the own view, and at a receiver, while calls spend a cap."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests.gateway.alerts.receiver import Receiver, receiving
from tests.gateway.test_refusals import error_of
from tests.running import Gateway

SPENDING = {
    "model": "solar-pro4",
    "max_tokens": 200,
    "messages": [{"role": "user", "content": "[[sim: tokens=200]] 안녕?"}],
}


def spend_all(gateway: Gateway, secret: str) -> list[int]:
    """Call until the cap refuses."""
    statuses: list[int] = []
    with gateway.caller(secret) as caller:
        while 402 not in statuses and len(statuses) < 50:
            statuses.append(caller.post("/chat/completions", json=SPENDING).status_code)
    return statuses


def own_alerts(gateway: Gateway, secret: str) -> list[Any]:
    with gateway.caller(secret) as caller:
        return list(caller.get("/account").json()["alerts"])


async def told(gateway: Gateway, secret: str, receiver: Receiver, count: int) -> list[Any]:
    """The own view once it shows so many alerts and the receiver has them; fails after a bound."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        shown = await asyncio.to_thread(own_alerts, gateway, secret)
        if len(shown) >= count and len(receiver.events) >= count and all(a["delivered_at"] for a in shown):
            return shown
        await asyncio.sleep(0.2)
    raise AssertionError(f"not told: {shown}, {len(receiver.events)} events")


async def test_a_cap_that_is_spent_is_told_at_50_80_and_100_percent_in_the_own_view_and_to_the_receiver(
    gateway: Gateway,
) -> None:
    async with receiving() as receiver:
        account = gateway.account(monthly_cap="0.004", alert_webhook_url=receiver.url)
        signing = account["alert_webhook_secret"]
        key = gateway.key(account["id"])
        assert own_alerts(gateway, key) == []
        statuses = await asyncio.to_thread(spend_all, gateway, key)
        assert statuses[-1] == 402
        assert set(statuses[:-1]) == {200}
        shown = await told(gateway, key, receiver, 3)
        listed = gateway.operator.get(f"/accounts/{account['id']}/alerts").json()["data"]
    assert sorted(alert["threshold"] for alert in shown) == [50, 80, 100]
    assert listed == shown
    for alert in shown:
        assert (alert["scope"], alert["budget"], alert["currency"]) == ("account", "0.004", "USD")
    assert {event.json["data"]["threshold"] for event in receiver.events} == {50, 80, 100}
    assert all(event.is_signed_by(signing) for event in receiver.events)
    assert signing not in gateway.log()


def test_the_signing_secret_is_shown_once_and_anew_for_another_url(gateway: Gateway) -> None:
    account = gateway.account()
    assert (account["alert_webhook_url"], "alert_webhook_secret" in account) == (None, False)
    path, secrets = f"/accounts/{account['id']}", []
    for url in ("https://example.com/a", "https://example.com/a", "https://example.com/b", None):
        changed = gateway.operator.patch(path, json={"alert_webhook_url": url}).json()
        assert changed["alert_webhook_url"] == url
        secrets.append(changed.get("alert_webhook_secret"))
    assert secrets[1] is None
    assert secrets[3] is None
    assert secrets[0] != secrets[2]
    assert "alert_webhook_secret" not in gateway.operator.get(path).json()


@pytest.mark.parametrize("url", ["http://example.com/", "https://u:p@example.com/", "ftp://x", "http://10.0.0.1/", "x"])
def test_a_url_that_nothing_may_be_sent_to_is_refused_when_it_is_set(gateway: Gateway, url: str) -> None:
    answer = gateway.operator.post("/accounts", json={"name": "x", "alert_webhook_url": url})
    assert (answer.status_code, error_of(answer)["param"]) == (400, "alert_webhook_url")
