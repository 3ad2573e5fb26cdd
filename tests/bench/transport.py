"""What one upstream request costs in the client: our transport beside httpx's own. Run: python -m tests.bench.transport

A tiny server in a process of its own, on another core, answers either 545 bytes of JSON or a stream of events, one millisecond
apart. 32 callers share one transport. Figures: CPU time of the client's process (user and system, `time.process_time`) per request
and per event, in µs, with the cost of making the `httpx.Request` and reading the whole answer; the median of three rounds. The
floor is what no httpx transport can go below: the same system calls and the same httpx types, with nothing parsed, pooled or bounded.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection as Pipe
from typing import Any, cast

import httpx
import uvloop
from rich.console import Console
from rich.table import Table

from gateway.upstream.transport import PooledTransport

_CALLERS = 32
_ROUNDS = 3
_EVENTS = 100
_BODY = b'{"model":"solar-pro3","messages":[{"role":"user","content":"Say hello."}],"stream":false}'
_JSON = b'{"id":"0"' + b" " * 535 + b"}"
_EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"hello"}}]}\n\n'
_HEADERS = [
    (b"host", b"127.0.0.1"),
    (b"authorization", b"Bearer up-0123456789"),
    (b"content-type", b"application/json"),
]
_TIMEOUTS = {"connect": 5.0, "read": 30.0, "write": 30.0, "pool": 5.0}

Ask = Callable[[], Awaitable[None]]


class _Server(asyncio.Protocol):
    """Answers a request as soon as its small body is there; POST /events streams."""

    _transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has the methods, not the class

    def data_received(self, data: bytes) -> None:
        if not data.endswith(_BODY):
            return
        if data.startswith(b"POST /json"):
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(_JSON)
            self._transport.write(head + _JSON)
        else:
            head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            self._transport.write(head)
            self._send_event(_EVENTS)

    def _send_event(self, left: int) -> None:
        if not left:
            self._transport.write(b"0\r\n\r\n")
            return
        self._transport.write(b"%x\r\n%b\r\n" % (len(_EVENT), _EVENT))
        asyncio.get_running_loop().call_later(0.001, self._send_event, left - 1)


class _Floor(httpx.AsyncBaseTransport):
    """One connection a caller, kept by its task; every answer is taken to be whole, and to be one packet."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ends: dict[asyncio.Task[Any] | None, _FloorEnd] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        caller = asyncio.current_task()
        if caller not in self._ends:
            loop = asyncio.get_running_loop()
            _, self._ends[caller] = await loop.create_connection(_FloorEnd, "127.0.0.1", self._port)
        body = await self._ends[caller].ask(b"POST /json HTTP/1.1\r\nhost: x\r\n\r\n" + _BODY)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"545")]
        return httpx.Response(200, headers=headers, stream=httpx.ByteStream(body))


class _FloorEnd(_Server):
    """A connection of the floor's."""

    _answer: asyncio.Future[bytes]

    def ask(self, data: bytes) -> asyncio.Future[bytes]:
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._answer.set_result(data)


def _pin(core: int) -> None:
    """To one core, where there is more than one."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[core % len(cores)]})


def _serve(pipe: Pipe) -> None:
    _pin(1)

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(_Server, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(serve())


async def _ask(transport: httpx.AsyncBaseTransport, url: httpx.URL) -> None:
    headers = [*_HEADERS, (b"content-length", b"%d" % len(_BODY))]
    request = httpx.Request(
        "POST", url, headers=headers, stream=httpx.ByteStream(_BODY), extensions={"timeout": _TIMEOUTS}
    )
    response = await transport.handle_async_request(request)
    assert isinstance(response.stream, httpx.AsyncByteStream)
    try:
        async for _ in response.stream:
            pass
    finally:
        await response.aclose()


async def _cpu_us(ask: Ask, times: int) -> float:
    """CPU per call, asked by `_CALLERS` at once."""
    left = times

    async def caller() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await ask()

    begun = time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(_CALLERS):
            group.create_task(caller())
    return (time.process_time() - begun) / times * 1e6


async def _measure(transport: httpx.AsyncBaseTransport, port: int, requests: int, streams: int) -> tuple[float, float]:
    """(µs per request, µs per event), medians; without streams, no events."""
    base = f"http://127.0.0.1:{port}"
    wholes, events = httpx.URL(base + "/json"), httpx.URL(base + "/events")
    async with transport:
        await _cpu_us(lambda: _ask(transport, wholes), max(_CALLERS, requests // 10))
        per_request = [await _cpu_us(lambda: _ask(transport, wholes), requests) for _ in range(_ROUNDS)]
        per_stream = [await _cpu_us(lambda: _ask(transport, events), streams) for _ in range(_ROUNDS) if streams]
    return statistics.median(per_request), statistics.median(per_stream or [0]) / _EVENTS


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    asked.add_argument(
        "--requests", type=int, default=20_000, help="requests a round, of our transport; a tenth for httpx's"
    )
    scale: Any = asked.parse_args()
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs,), daemon=True)
    server.start()
    port = ours.recv()
    _pin(0)
    limits = httpx.Limits(max_connections=_CALLERS, max_keepalive_connections=_CALLERS)
    streams = max(_CALLERS, scale.requests // 50)
    rows: list[tuple[str, httpx.AsyncBaseTransport, int, int]] = [
        ("the floor", _Floor(port), scale.requests, 0),
        ("gateway.upstream.transport", PooledTransport(connections_max=_CALLERS), scale.requests, streams),
        (
            "httpx.AsyncHTTPTransport",
            httpx.AsyncHTTPTransport(limits=limits, trust_env=False),
            scale.requests // 10,
            64,
        ),
    ]
    table = Table("transport", "CPU µs/request", "CPU µs/event", title=f"{_CALLERS} callers, medians of {_ROUNDS}")
    for name, transport, requests, streamed in rows:
        per_request, per_event = uvloop.run(_measure(transport, port, requests, streamed))
        table.add_row(name, f"{per_request:,.1f}", f"{per_event:,.1f}" if streamed else "")
    server.terminate()
    server.join()
    Console().print(table)


if __name__ == "__main__":
    main()
