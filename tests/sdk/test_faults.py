"""The fault matrix: what a developer gets, and how long it may take at most, for each fault, from both clients.

And after a thousand broken streams nothing is left open: no connection, no task.
"""

import asyncio
import gc
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

import solar_sdk
from solar_sdk import AsyncSolar, Solar, SolarError

from .answers import START, TALE, completion, delta
from .conftest import KEY
from .true_server import Act, Fault, Slowly, TrueServer, error, head, stream, whole

DEADLINE_S = 1.0
SLACK_S = 2.0  # how much later than promised a busy machine may be


@dataclass(frozen=True)
class Cell:
    """One fault: what the server does, whether the call streams, what comes out, and after how long at most."""

    name: str
    acts: tuple[Act, ...]
    outcome: type[SolarError] | str
    within_s: float = DEADLINE_S
    streamed: bool = False
    attempts: int = 1
    retries: int = 0


def dated(seconds: float) -> str:
    """A `retry-after` as a date, which has whole seconds."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


GOOD = whole(completion())
SLOW_HEAD = Act((Slowly((b"H", b"T", b"T", b"P"), 0.2, endless=True),))
MATRIX = (
    Cell("reset before the answer", (Act((Fault.RESET,)),), solar_sdk.TransportError),
    Cell("cut inside the head", (Act((b"HTTP/1.1 200 OK\r\ncontent-", Fault.CUT)),), solar_sdk.TransportError),
    Cell("cut inside the body", (Act((head(200, {"content-length": "99"}) + b"{", Fault.CUT)),), solar_sdk.TransportError),
    Cell("stall before the answer", (Act((Fault.HOLD,)),), solar_sdk.DeadlineExceededError),
    Cell("stall inside the body", (Act((head(200, {"content-length": "9"}) + b"{", Fault.HOLD)),), solar_sdk.DeadlineExceededError),
    Cell("slow headers", (SLOW_HEAD,), solar_sdk.DeadlineExceededError),
    Cell("not HTTP", (Act((b"SSH-2.0-x\r\n", Fault.CUT)),), solar_sdk.TransportError),
    Cell("not JSON", (whole(b"<html>"),), solar_sdk.MalformedAnswerError),
    Cell("429 without a time, then good", (error(429, "rate_limit_exceeded"), GOOD), "안녕하세요!", 1.0, False, 2, 2),
    Cell("429 with milliseconds, then good", (error(429, "x", {"retry-after-ms": "100"}), GOOD), "안녕하세요!", 0.6, False, 2, 2),
    Cell("429 with a far date", (error(429, "x", {"retry-after": dated(3600)}),), solar_sdk.RateLimitError, 0.3, False, 1, 2),
    Cell("500s to the end", (error(500, "x", {"retry-after-ms": "10"}),) * 3, solar_sdk.ServerError, 0.5, False, 3, 2),
    Cell("502 that must not be repeated", (error(502, "x", {"x-should-retry": "false"}),), solar_sdk.UpstreamError, 0.3, False, 1, 2),
    Cell("stream is reset", (stream((START, delta(content="안")), Fault.RESET),), solar_sdk.StreamInterruptedError, streamed=True),
    Cell("stream stalls in its middle", (stream((START,), Fault.HOLD),), solar_sdk.DeadlineExceededError, streamed=True),
    Cell("stream ends without its end", (stream(TALE[:3]),), solar_sdk.StreamInterruptedError, streamed=True),
    Cell("stream, truncated event", (stream((START, b'data: {"choi'), b"0\r\n\r\n"),), solar_sdk.StreamInterruptedError, streamed=True),
    Cell("stream with a broken event", (stream((START, b"data: {oops}\n\n")),), solar_sdk.StreamInterruptedError, streamed=True),
    Cell("stream refused, then good", (error(503, "x", {"retry-after-ms": "10"}), stream(TALE)), "안녕하세요", 0.5, True, 2, 2),
)  # fmt: skip


def told(cell: Cell, outcome: str | SolarError, seconds: float, server: TrueServer) -> None:
    """Compares what came out with what was promised."""
    if isinstance(cell.outcome, str):
        assert outcome == cell.outcome
    else:
        assert type(outcome) is cell.outcome, repr(outcome)
        assert KEY not in repr(outcome) + str(outcome)
    assert seconds < cell.within_s + SLACK_S
    assert len(server.requests) == cell.attempts


@pytest.mark.parametrize("cell", MATRIX, ids=lambda cell: cell.name)
def test_each_fault_has_its_outcome_and_its_time_from_the_sync_client(server: TrueServer, cell: Cell) -> None:
    server.play(*cell.acts)
    begun = time.monotonic()
    outcome: str | SolarError
    with Solar(KEY, server.base_url, timeout_s=DEADLINE_S, max_retries=cell.retries) as client:
        try:
            outcome = "".join(client.chat("?", stream=True)) if cell.streamed else client.chat("?").text
        except SolarError as error_:
            outcome = error_
    told(cell, outcome, time.monotonic() - begun, server)


@pytest.mark.parametrize("cell", MATRIX, ids=lambda cell: cell.name)
async def test_each_fault_has_its_outcome_and_its_time_from_the_async_client(server: TrueServer, cell: Cell) -> None:
    server.play(*cell.acts)
    begun = time.monotonic()
    outcome: str | SolarError
    async with AsyncSolar(KEY, server.base_url, timeout_s=DEADLINE_S, max_retries=cell.retries) as client:
        try:
            if cell.streamed:
                outcome = "".join([piece async for piece in await client.chat("?", stream=True)])
            else:
                outcome = (await client.chat("?")).text
        except SolarError as error_:
            outcome = error_
    told(cell, outcome, time.monotonic() - begun, server)


def test_a_refused_connection_is_told_at_once() -> None:
    begun = time.monotonic()
    client = Solar(KEY, "http://127.0.0.1:9", timeout_s=DEADLINE_S, max_retries=0)
    with client, pytest.raises(solar_sdk.TransportError, match="No connection"):
        client.chat("?")
    assert time.monotonic() - begun < SLACK_S


BREAKS = (
    stream((START, delta(content="안")), Fault.RESET),
    stream((START, delta(content="안")), Fault.CUT),
    stream((START, b"data: {oops}\n\n")),
    stream(TALE[:3]),
)
_ROUNDS = 250


def open_connections(pool: Any) -> int:
    """Connections of httpcore's pool; none may be busy. One whose last body ended well may wait for its next request."""
    assert [connection for connection in pool.connections if not connection.is_idle()] == []
    return len(pool.connections)


def test_after_a_thousand_broken_streams_no_connection_is_busy(server: TrueServer) -> None:
    server.play(*BREAKS * _ROUNDS, stream(TALE))
    transport = httpx.HTTPTransport()
    with Solar(KEY, server.base_url, transport=transport, max_retries=0) as client:
        for _ in range(len(BREAKS) * _ROUNDS):
            with pytest.raises(SolarError):
                list(client.chat("?", stream=True))
        assert open_connections(transport._pool) <= 1
        assert "".join(client.chat("?", stream=True)) == "안녕하세요"


async def test_after_a_thousand_broken_async_streams_no_connection_and_no_task_is_left(server: TrueServer) -> None:
    server.play(*BREAKS * _ROUNDS, stream(TALE))
    transport = httpx.AsyncHTTPTransport()
    before = asyncio.all_tasks()
    async with AsyncSolar(KEY, server.base_url, transport=transport, max_retries=0) as client:
        for _ in range(len(BREAKS) * _ROUNDS):
            with pytest.raises(SolarError):
                async for _piece in await client.chat("?", stream=True):
                    pass
        gc.collect()
        assert open_connections(transport._pool) <= 1
        assert asyncio.all_tasks() - before == set()
        assert "".join([piece async for piece in await client.chat("?", stream=True)]) == "안녕하세요"
