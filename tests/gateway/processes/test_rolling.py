"""Workers that leave while keep-alive clients call: nothing is refused, nothing is reset, nothing is lost, and all exit with 0."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.running import Gateway
from tests.waiting import wait_until

CLIENTS = 6
WHOLE = "[[sim: tokens=5 delay_ms=30]] 안녕?"
STREAMED = "[[sim: tokens=12 pace_ms=15]] 안녕?"


@dataclass
class Load:
    """Clients that call without a pause, each over one connection that it keeps."""

    gateway: Gateway
    secret: str
    stopping: threading.Event = field(default_factory=threading.Event)
    answered: int = 0
    told_to_close: int = 0
    wrong: list[str] = field(default_factory=list)

    def call_on(self, number: int) -> None:
        with self.gateway.caller(self.secret) as caller:
            while not self.stopping.is_set():
                streamed = number % 2 == 0
                text = STREAMED if streamed else WHOLE
                body: dict[str, Any] = {"model": "solar-pro4", "messages": [{"role": "user", "content": text}]}
                try:
                    answer = caller.post("/chat/completions", json={**body, "stream": streamed})
                except httpx.TransportError as error:
                    self.wrong.append(f"{type(error).__name__}: {error}")
                    continue
                whole = answer.status_code == 200 and (not streamed or answer.text.endswith("data: [DONE]\n\n"))
                self.answered += 1
                self.told_to_close += answer.headers.get("connection") == "close"
                if not whole:
                    self.wrong.append(f"{answer.status_code} {answer.text[-200:]}")


@contextmanager
def under_load(gateway: Gateway) -> Iterator[Load]:
    load = Load(gateway, gateway.new_key())
    with ThreadPoolExecutor(CLIENTS) as pool:
        calling = [pool.submit(load.call_on, number) for number in range(CLIENTS)]
        wait_until(lambda: load.answered > 2 * CLIENTS or all(c.done() for c in calling), 30, "all clients are calling")
        try:
            yield load
        finally:
            load.stopping.set()
    for client in calling:
        client.result()


def processes_of(gateway: Gateway) -> set[int]:
    """Workers and jobs."""
    found = set()
    for process in psutil.Process(gateway.process.pid).children():
        try:
            if {"gateway.processes.worker", "gateway.processes.jobs"} & set(process.cmdline()):
                found.add(process.pid)
        except psutil.NoSuchProcess:
            continue
    return found


def calls_in_the_ledger(gateway: Gateway, secret: str) -> int:
    with gateway.caller(secret) as caller:
        found = caller.get("/usage").json()
    return int(found["total"]["calls"]) if found["complete"] else -1


def test_a_rolling_restart_under_load_refuses_nothing_and_loses_nothing_and_a_stop_sends_clients_away_first(
    tmp_path: Path,
) -> None:
    with Gateway.started(tmp_path, workers=2, environment={"GATEWAY_SHUTDOWN_DELAY_S": "2"}) as gateway:
        before = processes_of(gateway)
        assert len(before) == 3
        with under_load(gateway) as load:
            gateway.process.send_signal(signal.SIGHUP)
            wait_until(lambda: "rolled" in gateway.log(), 60, "all are replaced")
            sooner = load.answered
            wait_until(lambda: load.answered > sooner + CLIENTS, 30, "the new ones serve")
        assert load.wrong == []
        assert load.told_to_close >= 1
        assert processes_of(gateway).isdisjoint(before)
        assert len(processes_of(gateway)) == 3
        wait_until(lambda: calls_in_the_ledger(gateway, load.secret) == load.answered, 20, "each call is booked once")
        assert len(gateway.truth()) == load.answered
        says_close_while_it_still_serves(gateway, load.secret)


def says_close_while_it_still_serves(gateway: Gateway, secret: str) -> None:
    """Told to stop, it waits for balancers to notice: each answer of every door tells its client to come back elsewhere."""
    ask: dict[str, Any] = {"model": "solar-pro4", "messages": [{"role": "user", "content": WHOLE}]}
    with gateway.caller(secret) as caller:

        def post(**more: Any) -> httpx.Response:
            return caller.post("/chat/completions", json={**ask, **more})

        doors: dict[str, Callable[[], httpx.Response]] = {
            "whole": post,
            "streamed": lambda: post(stream=True),
            "through ASGI": lambda: caller.get("/models"),
        }
        assert [door().headers.get("connection") for door in doors.values()] == [None] * 3
        gateway.process.send_signal(signal.SIGTERM)
        for name, door in doors.items():

            def says_close(door: Callable[[], httpx.Response] = door) -> bool:
                answer = door()
                assert answer.status_code == 200
                return bool(answer.headers.get("connection") == "close")

            wait_until(says_close, 10, f"{name}: connection: close")
