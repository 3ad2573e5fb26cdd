"""An answer lost on the wire, through the real gateway: the SDK asks again, gets the same answer, and it is one call, charged once."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import Any

import pytest

import solar_sdk
from tests.fakes.fault_proxy import Fault, FaultProxy, Kind
from tests.running import Gateway

_numbers = itertools.count()
HEAD_BYTES = 60


def total_of(gateway: Gateway, secret: str) -> Any:
    with gateway.caller(secret) as caller:
        return caller.get("/usage").json()["total"]


@pytest.mark.parametrize("kind", ["cut", "reset"])
@pytest.mark.parametrize("after_bytes", [0, HEAD_BYTES, 500])
def test_the_sdk_gets_an_answer_that_was_lost_on_the_wire_and_pays_once(
    gateway: Gateway, kind: Kind, after_bytes: int
) -> None:
    secret, label = gateway.new_key(), f"lost-{next(_numbers)}"
    faults = iter([Fault(kind, "down", after_bytes)])
    with FaultProxy(gateway.url, lambda: next(faults, None)) as proxy, solar_sdk.Solar(secret, proxy.url) as client:
        reply = client.chat(f"[[sim: id={label} tokens=40]] 안녕?")
        assert proxy.done == {f"{kind} down": 1}
    (record,) = [row for row in gateway.truth() if row["id"] == label]
    total = total_of(gateway, secret)
    assert (total["calls"], total["output_tokens"], total["estimated_calls"]) == (1, 40, 0)
    assert reply.usage is not None
    assert reply.usage.output_tokens == record["completion_tokens"] == 40
    assert reply.cost == Decimal(total["cost"]) > 0


def test_a_stream_whose_beginning_was_lost_comes_whole_the_second_time(gateway: Gateway) -> None:
    secret, label = gateway.new_key(), f"lost-{next(_numbers)}"
    faults = iter([Fault("cut", "down", 0)])
    with FaultProxy(gateway.url, lambda: next(faults, None)) as proxy, solar_sdk.Solar(secret, proxy.url) as client:
        stream = client.chat(f"[[sim: id={label} tokens=40 pace_ms=30]] 안녕?", stream=True)
        text = "".join(stream)
    assert stream.reply.text == text
    assert stream.reply.usage is not None
    assert stream.reply.usage.output_tokens == 40
    assert len([row for row in gateway.truth() if row["id"] == label]) == 1
    assert (total_of(gateway, secret)["calls"], total_of(gateway, secret)["output_tokens"]) == (1, 40)
