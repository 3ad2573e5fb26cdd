"""The front door against those who mean no good: heads without end, heads that never end, requests that can be read in two ways."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
import uvicorn
from uvicorn.server import ServerState

from gateway.doors.protocol import InferenceProtocol, protocol_of
from gateway.keys.address import NO_PROXIES
from tests.running import Gateway

PATH = b"/v1/chat/completions"
BODY = b'{"model":"solar-pro4","messages":[{"role":"user","content":"hi"}]}'
SECOND = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (PATH, len(BODY), BODY)


def spoken(gateway: Gateway, data: bytes) -> bytes:
    """All that comes back on a connection until the gateway closes it."""
    address = urlsplit(gateway.url)
    with socket.create_connection((str(address.hostname), int(address.port or 80)), timeout=20) as connection:
        connection.sendall(data)
        connection.settimeout(20)
        answer = b""
        try:
            while piece := connection.recv(65536):
                answer += piece
        except ConnectionResetError:
            pass
        return answer


def head(*lines: bytes) -> bytes:
    return b"\r\n".join([b"POST %b HTTP/1.1" % PATH, b"host: x", b"authorization: Bearer %b", *lines, b"", b""])


@pytest.mark.parametrize(
    "framing",
    [
        [b"content-length: 5", b"transfer-encoding: chunked"],
        [b"content-length: 5", b"content-length: 6"],
        [b"content-length: +5"],
        [b"content-length: 5 5"],
        [b"content-length: 0x5"],
        [b"transfer-encoding: identity, xchunked"],
        [b"content-length : 5"],
        [b"content-length: 5", b" folded: 1"],
        [b"x: a\nb: c"],
    ],
    ids=lambda lines: b"|".join(lines).decode(),
)
def test_a_request_that_can_be_read_in_two_ways_is_refused_and_what_follows_it_is_not_heard(
    gateway: Gateway, framing: list[bytes]
) -> None:
    secret = gateway.new_key().encode()
    served = len(gateway.truth())
    answer = spoken(gateway, head(*framing) % secret + b"0\r\n\r\n" + SECOND)
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 401")), answer
    assert answer.count(b"HTTP/1.1") == 1, answer
    assert len(gateway.truth()) == served


@pytest.mark.parametrize("whole", [True, False], ids=["in one piece", "never whole"])
def test_a_head_beyond_the_bound_is_refused_and_the_connection_closed(gateway: Gateway, whole: bool) -> None:
    lines = [b"x-%d: %b" % (at, b"a" * 1000) for at in range(100)]
    sent = head(*lines) % b"x" if whole else (head(*lines) % b"x").removesuffix(b"\r\n\r\n")
    answer = spoken(gateway, sent)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431"), answer
    assert b"200 OK" not in answer


async def _hello(scope: object, receive: object, send: object) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})  # type: ignore[operator]
    await send({"type": "http.response.body", "body": b"hi"})  # type: ignore[operator]


@asynccontextmanager
async def patient(seconds: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to the protocol alone, whose patience is short."""
    config = uvicorn.Config(_hello, timeout_keep_alive=seconds, ws="none", lifespan="off", log_config=None)
    config.load()
    door: type[InferenceProtocol] = protocol_of(None, {}, 1024, NO_PROXIES)  # type: ignore[arg-type]
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: door(config=config, server_state=state, app_state={}), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        yield reader, writer
    finally:
        writer.close()
        server.close()


@pytest.mark.parametrize("first", [b"", b"POST /v1/chat"], ids=["says nothing", "begins a head"])
async def test_who_owes_a_head_is_not_waited_for_for_ever_however_steadily_it_drips(first: bytes) -> None:
    async with patient(1) as (reader, writer):
        writer.write(first)
        closed = asyncio.ensure_future(reader.read())
        async with asyncio.timeout(20):
            while not closed.done():
                if first:
                    writer.write(b"x")
                await asyncio.wait([closed], timeout=0.1)
        assert closed.exception() is not None or closed.result() == b""


async def test_a_head_that_takes_its_time_and_becomes_whole_is_answered_and_the_next_one_too() -> None:
    async with patient(3) as (reader, writer):
        for _ in range(2):
            for piece in (b"GET / HT", b"TP/1.1\r\nho", b"st: x\r\n\r\n"):
                writer.write(piece)
                await writer.drain()
            async with asyncio.timeout(10):
                answer = await reader.readuntil(b"hi")
            assert answer.startswith(b"HTTP/1.1 200")
