"""Streams without a bound, over both doors: extended ahead of use, and ended in order where a cap is reached.

(Messages always have a bound: Solar refuses those without `max_tokens`.)
"""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import Any

import pytest

from tests.running import Gateway
from tests.waiting import wait_until

BODIES: dict[str, dict[str, Any]] = {
    "/chat/completions": {"messages": [{"role": "user", "content": "{}"}]},
    "/responses": {"input": "{}"},
}


def body_of(path: str, words: str, **fields: Any) -> dict[str, Any]:
    shape = json.dumps(BODIES[path]).replace("{}", f"[[sim: {words}]] 안녕?")
    return {"model": "solar-pro4", "stream": True, **json.loads(shape), **fields}


def events_of(text: str) -> list[Any]:
    """The data of each event; the last may be [DONE]."""
    payloads = [line[5:].strip() for line in text.splitlines() if line.startswith("data:")]
    return [payload if payload == "[DONE]" else json.loads(payload) for payload in payloads]


def used(gateway: Gateway, secret: str) -> dict[str, Any]:
    with gateway.caller(secret) as caller:
        usage: dict[str, Any] = caller.get("/usage").json()["total"]
        account = caller.get("/account").json()
    assert account["month_to_date"]["held"] == "0.000000000"
    return usage


@pytest.fixture
def capped(either_door: Gateway) -> tuple[Gateway, str]:
    return either_door, either_door.new_key(monthly_cap="0.0060")


@pytest.mark.parametrize("path", BODIES)
def test_a_stream_that_reaches_the_cap_ends_in_order_and_what_was_delivered_is_charged(
    capped: tuple[Gateway, str], path: str
) -> None:
    gateway, secret = capped
    before = len(gateway.truth())
    # The cap is met at about 5,000 tokens. Beyond 9,000 the simulator falls silent for longer than any test: however much of the stream
    # lies in kernel buffers when the gateway cuts it, it cannot have been served to its end.
    words = "tokens=30000 batch=7 stall_after=9000:120000"
    with gateway.caller(secret) as caller:
        answer = caller.post(path, json=body_of(path, words))
    assert answer.status_code == 200
    events = events_of(answer.text)
    last = events[-1]
    error = last.get("error") or last  # responses: the event itself
    assert error["code"] == "budget_exceeded"
    assert "[DONE]" not in events
    usage = used(gateway, secret)
    delivered = answer.text.count('"delta"')
    assert Decimal("0.0057") <= Decimal(usage["cost"]) <= Decimal("0.0060")  # at least 95 % of it could be used
    assert usage["estimated_calls"] == 1
    assert abs(usage["output_tokens"] - delivered) <= 5

    def upstream_was_told() -> bool:
        return [record["outcome"] for record in gateway.truth()[before:]] == ["client_gone"]

    wait_until(upstream_was_told, 10, "the stream is closed upstream")
    with gateway.caller(secret) as caller:
        assert caller.post(path, json=body_of(path, "tokens=5", max_tokens=500)).status_code == 402


@pytest.mark.parametrize("path", BODIES)
def test_a_long_stream_within_its_cap_is_extended_as_it_goes_and_its_cost_is_exact(
    capped: tuple[Gateway, str], path: str
) -> None:
    gateway, secret = capped
    with gateway.caller(secret) as caller:
        answer = caller.post(path, json=body_of(path, "tokens=4600"))
    assert "budget_exceeded" not in answer.text
    usage = used(gateway, secret)
    assert (usage["output_tokens"], usage["estimated_calls"]) == (4600, 0)
    assert Decimal("0.0055") < Decimal(usage["cost"]) < Decimal("0.0060")


def test_without_a_bound_only_a_slice_is_held_and_with_one_all_of_it(gateway: Gateway) -> None:
    secret = gateway.new_key(monthly_cap="0.0040")  # 2,048 tokens cost 0.0024576
    with gateway.caller(secret) as caller:
        assert caller.post("/chat/completions", json=body_of("/chat/completions", "tokens=5")).status_code == 200
        bounded = body_of("/chat/completions", "tokens=5", max_tokens=4000)
        assert caller.post("/chat/completions", json=bounded).status_code == 402


def test_an_account_without_a_cap_is_never_cut(gateway: Gateway) -> None:
    secret = gateway.new_key()
    with gateway.caller(secret) as caller:
        answer = caller.post("/chat/completions", json=body_of("/chat/completions", "tokens=9000"))
    assert answer.text.endswith("data: [DONE]\n\n")
    assert used(gateway, secret)["output_tokens"] == 9000


def test_nobody_waits_for_an_extension_while_the_slice_reaches(gateway: Gateway) -> None:
    """Paced events of a capped stream arrive as those of one without a cap: the extension goes on beside them."""
    gaps = {}
    for name, fields in (("capped", {"monthly_cap": "1.00"}), ("free", {})):
        with gateway.caller(gateway.new_key(**fields)) as caller:
            words = body_of("/chat/completions", "tokens=2600 batch=26 pace_ms=1")
            begun = time.monotonic()
            with caller.stream("POST", "/chat/completions", json=words) as answer:
                for _ in answer.iter_bytes():
                    continue
            gaps[name] = time.monotonic() - begun
    assert gaps["capped"] < gaps["free"] * 2 + 1
