"""Two upstream addresses, each killed under load, then both: no call fails while one lives, and none is billed twice."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.solar_process import SolarProcess, a_solar_process
from tests.running import Gateway
from tests.waiting import wait_until

CALLERS = 6


@pytest.fixture(scope="module")
def upstreams() -> Iterator[tuple[SolarProcess, SolarProcess]]:
    with a_solar_process("--keys", "up_a") as first, a_solar_process("--keys", "up_b") as second:
        yield first, second


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, upstreams: tuple[SolarProcess, SolarProcess]
) -> Iterator[Gateway]:
    first, second = upstreams
    environment = {
        "GATEWAY_UPSTREAM_URL": first.url,
        "GATEWAY_UPSTREAM_KEYS": f"one=up_a,two=up_b@{second.url}",
        "GATEWAY_UPSTREAM_PAUSE_MAX_S": "1",
    }
    folder: Path = tmp_path_factory.mktemp("outage")
    with Gateway.started(folder, environment=environment) as running:
        yield running


class Load:
    """Callers that call on and on, and what they saw."""

    def __init__(self, gateway: Gateway, secret: str) -> None:
        self._gateway, self._secret = gateway, secret
        self._goes_on = threading.Event()
        self.answers: list[tuple[int, str, int, int]] = []
        """(status, call id, tokens, attempts)"""
        self._threads = [threading.Thread(target=self._call_on) for _ in range(CALLERS)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._goes_on.set()
        for thread in self._threads:
            thread.join(30)

    def _call_on(self) -> None:
        body = {"model": "solar-pro4", "messages": [{"role": "user", "content": "[[sim: tokens=7 delay_ms=60]]"}]}
        with self._gateway.caller(self._secret) as caller:
            while not self._goes_on.is_set():
                answer = caller.post("/chat/completions", json=body)
                tokens = answer.json()["usage"]["total_tokens"] if answer.status_code == 200 else 0
                attempts = int(answer.headers.get("x-solar-attempts", 1))
                self.answers.append((answer.status_code, answer.headers["x-request-id"], tokens, attempts))

    def more(self, count: int) -> int:
        """Wait for so many more answers; where those began."""
        before = len(self.answers)
        wait_until(lambda: len(self.answers) >= before + count, 30, f"{count} more answers")
        return before

    def good_ones(self, count: int) -> None:
        """Wait until so many in a row are good."""
        wait_until(
            lambda: len(self.answers) > count and all(row[0] == 200 for row in self.answers[-count:]), 30, "calls pass"
        )


def health(gateway: Gateway) -> dict[str, str]:
    rows: list[dict[str, Any]] = gateway.operator.get("/upstream-keys").json()["data"]
    return {row["name"]: row["health"] for row in rows}


def test_killing_one_then_the_other_fails_no_call_and_killing_both_fails_only_while_none_lives(
    gateway: Gateway, upstreams: tuple[SolarProcess, SolarProcess]
) -> None:
    account = gateway.account()["id"]
    secret = gateway.key(account)
    with Load(gateway, secret) as load:
        load.more(30)
        for place, upstream in enumerate(upstreams):
            upstream.kill()
            load.more(40)
            wait_until(lambda name=("one", "two")[place]: health(gateway)[name] == "failing", 10, "the key is out")  # type: ignore[misc]
            upstream.start()
            wait_until(lambda: set(health(gateway).values()) == {"healthy"}, 20, "it is back by itself")
        assert {status for status, *_ in load.answers} == {200}
        for upstream in upstreams:
            upstream.kill()
        wait_until(lambda: load.answers[-1][0] != 200, 20, "calls fail")
        load.more(10)
        for upstream in upstreams:
            upstream.start()
        load.good_ones(20)
        wait_until(lambda: set(health(gateway).values()) == {"healthy"}, 20, "both are back by themselves")
    good = [row for row in load.answers if row[0] == 200]
    bad = Counter(status for status, *_ in load.answers if status != 200)
    assert set(bad) <= {502, 503}
    with gateway.caller(secret) as caller:
        total = caller.get("/usage").json()["total"]
    assert (total["calls"], total["estimated_calls"]) == (len(good), 0)
    assert total["input_tokens"] + total["cached_input_tokens"] + total["output_tokens"] == sum(row[2] for row in good)
    assert len({call_id for _, call_id, *_ in load.answers}) == len(load.answers)
    print(
        f"{len(good)} calls answered, {sum(row[3] > 1 for row in good)} of them by another key; {dict(bad)} while none lived"
    )


def test_what_may_be_billed_for_a_lost_attempt_is_booked_as_pending_and_its_caller_is_not_charged(
    gateway: Gateway, upstreams: tuple[SolarProcess, SolarProcess]
) -> None:
    upstreams[0].fault("up_a", "drop")
    secret = gateway.new_key()
    body = {
        "model": "solar-pro4",
        "messages": [{"role": "user", "content": "[[sim: tokens=7]] 안녕?"}],
        "max_tokens": 50,
    }
    lost = []
    try:
        with gateway.caller(secret) as caller:
            for _ in range(6):
                answer = caller.post("/chat/completions", json=body)
                assert answer.status_code == 200
                if answer.headers.get("x-solar-attempts") == "2":
                    lost.append(answer.headers["x-request-id"])
            total = caller.get("/usage").json()["total"]
        assert (total["calls"], total["output_tokens"]) == (6, 42)
    finally:
        upstreams[0].fault("up_a", "")
    assert lost

    def booked() -> list[dict[str, Any]]:
        today = time.strftime("%Y-%m-%d", time.gmtime())
        page: Any = gateway.operator.get("/lost-attempts", params={"from": today}).json()
        return [row for row in page["data"] if row["call_id"] in lost]

    wait_until(lambda: len(booked()) == len(lost), 10, "the losses are booked")
    for row in booked():
        assert (row["attempt"], row["upstream_key"], row["why"]) == (1, "one", "connection broke")
        assert 0 < float(row["cost"]) <= float(row["cost_max"])
