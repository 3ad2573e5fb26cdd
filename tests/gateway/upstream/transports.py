"""Two transports, ours and httpx's own, behind one maker, and every test over both event loops.

A test that is `EITHER` says what any stock httpx transport does, so that one can take the other's place.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

import httpx
import pytest
import uvloop

from gateway.upstream.transport import PooledTransport

_STORY_TIMEOUT_S = 60.0
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
TIMEOUTS: Mapping[str, float | None] = {"connect": 5.0, "read": 5.0, "write": 5.0, "pool": 5.0}


class Make(Protocol):
    """Makes a transport."""

    def __call__(
        self, *, connections_max: int = 10, idle_expiry_s: float = 30.0, ssl_context: ssl.SSLContext | None = None
    ) -> httpx.AsyncBaseTransport: ...


def make_ours(
    *, connections_max: int = 10, idle_expiry_s: float = 30.0, ssl_context: ssl.SSLContext | None = None
) -> PooledTransport:
    return PooledTransport(
        connections_max=connections_max, idle_expiry_s=idle_expiry_s, ssl_context=ssl_context, tick_s=0.01
    )


def make_httpx(
    *, connections_max: int = 10, idle_expiry_s: float = 30.0, ssl_context: ssl.SSLContext | None = None
) -> httpx.AsyncHTTPTransport:
    limits = httpx.Limits(
        max_connections=connections_max, max_keepalive_connections=connections_max, keepalive_expiry=idle_expiry_s
    )
    return httpx.AsyncHTTPTransport(limits=limits, trust_env=False, verify=ssl_context or True)


EITHER = pytest.mark.parametrize("make", [make_ours, make_httpx], ids=["ours", "httpx"])


def on_every_loop(story: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """An asynchronous test, run on asyncio's own loop and on uvloop, within a bound."""

    @functools.wraps(story)
    def test(new_loop: Callable[[], asyncio.AbstractEventLoop], **arguments: Any) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(_STORY_TIMEOUT_S):
                await story(**arguments)

        loop = new_loop()
        try:
            loop.run_until_complete(bounded())
            loop.run_until_complete(_nothing_left())
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    own = inspect.signature(story)
    new_loop = inspect.Parameter("new_loop", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    test.__signature__ = own.replace(parameters=[new_loop, *own.parameters.values()])  # type: ignore[attr-defined]
    loops = pytest.mark.parametrize(
        "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
    )
    over_loops: Callable[..., None] = loops(test)
    return over_loops


async def _nothing_left() -> None:
    """Every task ends by itself; one of a server's accepting may take a moment longer than the test."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        _, pending = await asyncio.wait(others, timeout=1)
        assert not pending, f"tasks are left over: {pending}"


def post(url: str, body: bytes = b"{}", **timeouts: float | None) -> httpx.Request:
    return httpx.Request("POST", url, content=body, extensions={"timeout": {**TIMEOUTS, **timeouts}})


def get(url: str, method: str = "GET", **timeouts: float | None) -> httpx.Request:
    return httpx.Request(method, url, extensions={"timeout": {**TIMEOUTS, **timeouts}})


def pieces_of(response: httpx.Response) -> AsyncIterator[bytes]:
    assert isinstance(response.stream, httpx.AsyncByteStream)
    return response.stream.__aiter__()


@asynccontextmanager
async def sent(transport: httpx.AsyncBaseTransport, request: httpx.Request) -> AsyncIterator[httpx.Response]:
    """The answer, closed at the end of the block."""
    response = await transport.handle_async_request(request)
    try:
        yield response
    finally:
        await response.aclose()


async def read(transport: httpx.AsyncBaseTransport, request: httpx.Request) -> tuple[int, bytes]:
    """Status and whole body."""
    async with sent(transport, request) as response:
        return response.status_code, b"".join([piece async for piece in pieces_of(response)])


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until something is so; the test's own bound is the bound."""
    while not condition():  # noqa: ASYNC110 - what is waited for is at the other end, or in the kernel, and sets no event
        await asyncio.sleep(0.001)
