"""The path alone: protocol, journey, ticker and Solar in one process over sockets that are not there. Run: python -m tests.bench.path

What a call costs without system calls and without noise: the calls of Python functions and of built-in ones that the interpreter counts
(exact, the same on any machine), and the CPU time of the quietest rounds. Upstream, Redis and the client are played by what stands in
this file, whose own time and calls are taken off. `--list` names the functions in the order of their calls.
Units: µs of CPU time of this thread, so that what waits for a core is not counted; asking for it costs some 2 µs a call, which are in it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import redirect_stderr
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from types import FrameType
from typing import Any

import hiredis
import msgspec
import uvicorn
import uvloop
from pydantic import SecretStr
from rich.console import Console
from uvicorn.server import ServerState

from billing.prices import ModelPrice, RateCard
from gateway.app import fast_door, open_house, open_journey
from gateway.call import Caller, RateLimit
from gateway.keys.guesses import Guesses
from gateway.keys.identify import Identify
from gateway.keys.prices import PriceTable
from gateway.settings import Settings
from tests.bench import calls

_ACCOUNT = "acc_0199aaaabbbbccccddddeeee00000000"
_SECRET = "sk-solar-" + "A" * 43
_CONNECTIONS = 32
_EVENTS = 64
_TICKS_FIRST = 8
_HERE = __file__
_CHUNK = b"%x\r\n%b\r\n"
_EVENT = _CHUNK % (len(calls.CONTENT_EVENT), calls.CONTENT_EVENT)
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_LIMITS = tuple(RateLimit(scope, 1_000_000_000, 1_000_000_000, 100_000) for scope in (f"a:{_ACCOUNT}", "k:key_1"))


class _Meter:
    """Time that was spent in this file, to be taken off."""

    off_s = 0.0


def _off(play: Callable[[Any, bytes], None]) -> Callable[[Any, bytes], None]:
    def played(self: Any, data: bytes) -> None:
        begun = time.thread_time()
        play(self, data)
        _Meter.off_s += time.thread_time() - begun

    return played


class _Wire(asyncio.Transport):
    """A socket that is not there: what is written to it is answered in the next tick of the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: Any) -> None:
        super().__init__()
        self.loop = loop
        self.protocol = protocol
        self._socket, self._other_end = socket.socketpair()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"socket": self._socket, "peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)}.get(name, default)

    def is_closing(self) -> bool:
        return False

    def _deliver(self, data: bytes) -> None:
        self.loop.call_soon(self.protocol.data_received, data)

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def abort(self) -> None:
        self._socket.close()
        self._other_end.close()
        self.loop.call_soon(self.protocol.connection_lost, None)

    def close(self) -> None:
        self.abort()


class _Upstream(_Wire):
    """Solar's end: a whole answer, or a stream of which every event is a read of its own."""

    @_off
    def write(self, data: bytes) -> None:  # type: ignore[override]
        if b"events=" not in data:
            body, _ = calls.answer(1)
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
            self._deliver(head + body)
            return
        self._deliver(_STREAM_HEAD)
        self.loop.call_soon(self._next, _EVENTS + _TICKS_FIRST)

    def _next(self, left: int) -> None:
        begun = time.thread_time()
        if left > 1:
            if left <= _EVENTS:
                self._deliver(_EVENT)
            self.loop.call_soon(self._next, left - 1)
        else:
            usage = calls.usage_event(20)
            self._deliver(_CHUNK % (len(usage), usage) + b"0\r\n\r\n")
        _Meter.off_s += time.thread_time() - begun


class _Redis(_Wire):
    """The script's end: everything is admitted and settled."""

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: Any) -> None:
        super().__init__(loop, protocol)
        self._reader = hiredis.Reader()
        self._number = 0

    @_off
    def write(self, data: bytes) -> None:  # type: ignore[override]
        self._reader.feed(data)
        replies = b""
        while (command := self._reader.gets()) is not False:
            packed = msgspec.msgpack.encode([self._reply(msgspec.msgpack.decode(op)) for op in command[5:]])
            replies += b"$%d\r\n%b\r\n" % (len(packed), packed)
        self._deliver(replies)

    def _reply(self, operation: list[Any]) -> list[Any]:
        self._number += 1
        if operation[0] == "A":
            limits = [1_000_000_000, 999_999_000, 60_000, 1_000_000_000, 999_000_000, 60_000]
            return ["ok", limits, operation[9][0] * 600 + 5_000, operation[9][0]]
        if operation[0] == "S":
            return ["ok", 30_000, [], [], f"1764000000000-{self._number}"]
        return ["ok", 1, 256]


class _Client(_Wire):
    """The caller's end: asks again as soon as an answer is complete, until told to stop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: Any, request: bytes, run: _Run) -> None:
        super().__init__(loop, protocol)
        self._request, self._run = request, run

    @_off
    def write(self, data: bytes) -> None:  # type: ignore[override]
        if data.endswith((b"}}", b"0\r\n\r\n")):
            assert data.startswith(b"HTTP/1.1 200") or b"[DONE]" in data, data
            self._run.answered(self)
        else:
            assert b"HTTP/1.1 200" in data or b"data: " in data, data

    def ask(self) -> None:
        self._deliver(self._request)


class _Run:
    """So many calls, over all connections."""

    def __init__(self) -> None:
        self._left = self._open = 0
        self._done: asyncio.Future[None] | None = None

    async def carry_out(self, clients: list[_Client], number: int) -> None:
        self._left, self._open = number - len(clients), len(clients)
        self._done = asyncio.get_running_loop().create_future()
        for client in clients:
            client.ask()
        await self._done

    def answered(self, client: _Client) -> None:
        if self._left > 0:
            self._left -= 1
            client.ask()
            return
        self._open -= 1
        if not self._open and self._done is not None:
            self._done.set_result(None)


class _Loop(uvloop.Loop):
    """Opens connections to what is played here."""

    async def create_connection(self, factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:  # type: ignore[override]
        protocol = factory()
        wire = (_Redis if port == 1 else _Upstream)(self, protocol)
        protocol.connection_made(wire)
        return wire, protocol


class _Counted:
    """What the interpreter calls, other than what this file does."""

    def __init__(self) -> None:
        self.python: Counter[str] = Counter()
        self.builtin: Counter[str] = Counter()
        self.order: list[str] = []

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        caller = frame.f_back
        if code.co_filename == _HERE or (caller is not None and caller.f_code.co_filename == _HERE):
            return
        if event == "call":
            name = f"{code.co_filename.rpartition('/')[2]}:{code.co_qualname}"
            self.python[name] += 1
            self.order.append(name)
        elif event == "c_call":
            name = f"    {getattr(argument, '__qualname__', argument)}  [{code.co_qualname}]"
            self.builtin[name] += 1
            self.order.append(name)


async def _measure(body: bytes, number: int, rounds: int, *, listed: bool) -> tuple[float, float, float]:
    """(µs, Python calls, built-in calls) for each call."""
    settings = Settings(
        database_url=SecretStr("postgresql+asyncpg://u:p@127.0.0.1:9/none"),
        redis_url=SecretStr("redis://127.0.0.1:1/0"),
        upstream_url="http://127.0.0.1:2/v1",
        upstream_keys=SecretStr(calls.UPSTREAM_KEY),
    )
    async with open_house(settings) as house:
        journey = open_journey(replace(house, identify=_identify(house.clock), prices=PriceTable(_cards, fresh_s=1e9)))
        config = uvicorn.Config(
            "none:none",
            http=fast_door(house, journey),
            interface="asgi3",
            ws="none",
            log_config=None,
            server_header=False,
        )
        config.load = lambda: None  # type: ignore[method-assign]
        config.loaded, config.loaded_app, config.ws_protocol_class = True, None, None
        protocol_class: Any = config.http
        state = ServerState()
        state.default_headers = [(b"date", b"Tue, 24 Nov 2026 11:00:00 GMT")]
        loop, run = asyncio.get_running_loop(), _Run()
        request = calls.request_of("http://127.0.0.1:8080", _SECRET, body)
        clients = []
        for _ in range(_CONNECTIONS):
            protocol = protocol_class(config, state, {})
            client = _Client(loop, protocol, request, run)
            protocol.connection_made(client)
            clients.append(client)
        await run.carry_out(clients, number)
        took = []
        for _ in range(rounds):
            _Meter.off_s, begun = 0.0, time.thread_time()
            await run.carry_out(clients, number)
            took.append((time.thread_time() - begun - _Meter.off_s) / number * 1e6)
        counted = _Counted()
        sys.setprofile(counted)
        await run.carry_out(clients, number)
        sys.setprofile(None)
        if listed:
            _list(counted, number)
        for client in clients:
            client.close()
        await asyncio.sleep(0.01)
    return min(took), counted.python.total() / number, counted.builtin.total() / number


def _identify(clock: Any) -> Identify:
    caller = Caller(_ACCOUNT, "key_1", 1, "Asia/Seoul", "USD", rate_limits=_LIMITS, monthly_cap_nano_usd=5 * 10**15)

    async def read(secret_hash: str) -> Caller:
        return caller

    guesses = Guesses(burst=100, per_minute=100, addresses_max=100)
    return Identify(read, clock, entries_max=100, fresh_s=1e9, guesses=guesses)


async def _cards() -> list[RateCard]:
    prices = ModelPrice(Decimal("0.15"), Decimal("0.015"), Decimal("0.60"))
    names = {f"{calls.MODEL}-251201": calls.MODEL}
    return [RateCard("card_1", datetime(1970, 1, 1, tzinfo=UTC), {calls.MODEL: prices}, names)]


def _list(counted: _Counted, number: int) -> None:
    for counts in (counted.python, counted.builtin):
        for name, count in counts.most_common(400):
            print(f"{count / number:8.2f} {name}")


def _carry(measured: Coroutine[Any, Any, tuple[float, float, float]]) -> tuple[float, float, float]:
    with asyncio.Runner(loop_factory=_Loop) as runner, open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
        return runner.run(measured)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    asked.add_argument("--list", action="store_true", help="also the names of what is called, and how often")
    asked.add_argument("--rounds", type=int, default=400, help="of which the quietest counts")
    asked.add_argument("--streams", action="store_true")
    asked.add_argument("--wholes", action="store_true")
    given = asked.parse_args()
    console = Console(highlight=False, stderr=False)
    wholes = _carry(_measure(calls.whole_body(), 32, given.rounds, listed=given.list and not given.streams))
    console.print(
        "a whole answer: {:.1f} µs, {:.1f} calls of Python functions, {:.1f} of built-in ones".format(*wholes)
    )
    if given.wholes:
        return
    body = calls.stream_body(calls.Stream(_EVENTS, 1))
    stream = _carry(_measure(body, 32, given.rounds // 8, listed=given.list and given.streams))
    console.print("a stream of %d events: {:.1f} µs, {:.1f}, {:.1f}".format(*stream) % _EVENTS)
    per = [(s - w) / _EVENTS for s, w in zip(stream, wholes, strict=True)]
    console.print("an event more: {:.2f} µs, {:.2f}, {:.2f}".format(*per))


if __name__ == "__main__":
    main()
