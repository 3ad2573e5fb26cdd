"""The load of our own, in a process of its own: wholes at saturation, streams, and latency at low load. Run by load.py.

Reads an `Order` as JSON on stdin, does it, says what came of it as JSON on stdout. Every answer is checked for its status and its
bytes: `bad` counts those that were wrong, cut off or refused. Units: seconds.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import cast
from urllib.parse import urlsplit

import httptools
import msgspec
import uvloop

from gateway.processes.lifeline import end_with_parent
from tests.bench import calls

_ANSWER_TIMEOUT_S = 180.0


class Order(msgspec.Struct, kw_only=True):
    """What to ask, of whom, for how long. `per_second` > 0: one call after another, each target in its turn."""

    base_urls: list[str]
    secret: str
    seconds: float
    connections: int = 1
    stream: calls.Stream | None = None
    per_second: float = 0.0


class Report(msgspec.Struct):
    """What came of it: for each target the latencies of its calls, where these were asked for."""

    answers: int = 0
    bad: int = 0
    seconds: float = 0.0
    first_fault: str = ""
    latencies_s: list[list[float]] = []


class Connection(asyncio.Protocol):
    """One keep-alive connection; one request at a time."""

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._pieces: list[bytes] = []
        self._answered: asyncio.Future[tuple[int, bytes]] | None = None

    @classmethod
    async def open(cls, base_url: str) -> Connection:
        at = urlsplit(base_url)
        _, connection = await asyncio.get_running_loop().create_connection(cls, at.hostname or "", at.port or 80)
        return connection

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body; raises `ConnectionError` where the connection ends first."""
        self._answered = self._loop.create_future()
        self._pieces.clear()
        if self._transport.is_closing():
            raise ConnectionResetError("closed between two calls")
        self._transport.write(request)
        return await self._answered

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has the methods, not the class

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(ConnectionResetError("closed before the end of an answer"))

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_result((self._parser.get_status_code(), b"".join(self._pieces)))


class _Load:
    """Carries an order out."""

    def __init__(self, order: Order) -> None:
        self._order = order
        body = calls.whole_body() if order.stream is None else calls.stream_body(order.stream)
        self._requests = [calls.request_of(base_url, order.secret, body) for base_url in order.base_urls]
        self._report = Report()

    async def run(self) -> Report:
        begun = time.perf_counter()
        if self._order.per_second:
            await self._in_turn()
        else:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._order.connections):
                    group.create_task(self._until(begun + self._order.seconds))
        self._report.seconds = time.perf_counter() - begun
        return self._report

    async def _until(self, end: float) -> None:
        """Ask again and again; what was begun in time is heard to its end."""
        connection = await Connection.open(self._order.base_urls[0])
        while True:
            connection = await self._ask(connection, 0)
            if time.perf_counter() >= end:
                break
        connection.close()

    async def _in_turn(self) -> None:
        connections = [await Connection.open(base_url) for base_url in self._order.base_urls]
        latencies: list[list[float]] = [[] for _ in connections]
        gap_s = 1 / (self._order.per_second * len(connections))
        begun = time.perf_counter()
        for number in range(int(self._order.seconds / gap_s)):
            await asyncio.sleep(max(0.0, begun + number * gap_s - time.perf_counter()))
            which = number % len(connections)
            asked = time.perf_counter()
            connections[which] = await self._ask(connections[which], which)
            latencies[which].append(time.perf_counter() - asked)
        for connection in connections:
            connection.close()
        self._report.latencies_s = latencies

    async def _ask(self, connection: Connection, target: int) -> Connection:
        """One call, checked; gives back the connection for the next one."""
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                status, body = await connection.ask(self._requests[target])
        except (OSError, TimeoutError, httptools.HttpParserError) as error:
            self._bad(f"{type(error).__name__}: {error}")
            connection.close()
            return await Connection.open(self._order.base_urls[target])
        self._report.answers += 1
        stream = self._order.stream
        right = calls.is_answer(body) if stream is None else calls.is_stream(body, stream.events)
        if status != 200 or not right:
            self._bad(f"status {status}, {len(body)} bytes: …{body[-120:]!r}")
        return connection

    def _bad(self, fault: str) -> None:
        self._report.bad += 1
        self._report.first_fault = self._report.first_fault or fault


def main() -> None:
    end_with_parent()
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(_Load(order).run())))


if __name__ == "__main__":
    main()
