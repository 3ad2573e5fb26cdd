"""Slow ends: memory stays bounded in both directions, and silence has a bound."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from gateway.upstream.exchange import Exchange
from gateway.upstream.transport import PooledTransport
from tests.fakes.raw_http import Peer, answering, raw_server
from tests.gateway.upstream.transports import (
    EITHER,
    OK,
    TIMEOUTS,
    Make,
    get,
    make_ours,
    on_every_loop,
    pieces_of,
    post,
    read,
    sent,
    until,
)

MIB = 1024 * 1024
LOOP_READ_BYTES = 256 * 1024
"""What one read of either loop brings at most."""
SOME = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome"


class Pieces(httpx.AsyncByteStream):
    """A body that comes piece by piece, and says whether it was read to its end."""

    def __init__(self, pieces: list[bytes], error: Exception | None = None) -> None:
        self.pieces = pieces
        self.error = error
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            await asyncio.sleep(0)
            self.taken += 1
            yield piece
        if self.error is not None:
            raise self.error


def upload(url: str, body: Pieces, headers: dict[str, str], **timeouts: float | None) -> httpx.Request:
    return httpx.Request("POST", url, content=body, headers=headers, extensions={"timeout": {**TIMEOUTS, **timeouts}})


@pytest.mark.parametrize("chunked", [False, True])
@on_every_loop
async def test_a_slow_reader_holds_the_server_back_and_not_the_memory(chunked: bool) -> None:
    total, block = 64 * MIB, b"x" * MIB

    async def flood(peer: Peer) -> None:
        await peer.request()
        head = b"HTTP/1.1 200 OK\r\n"
        await peer.send(
            head + (b"transfer-encoding: chunked" if chunked else b"content-length: %d" % total) + b"\r\n\r\n"
        )
        for _ in range(total // MIB):
            await peer.send(b"%x\r\n%b\r\n" % (MIB, block) if chunked else block)
        await peer.send(b"0\r\n\r\n" if chunked else b"")
        await peer.hung_up()

    buffer_max_bytes = 128 * 1024
    async with (
        raw_server(flood) as server,
        PooledTransport(buffer_max_bytes=buffer_max_bytes) as transport,
        sent(transport, get(server.url())) as answer,
    ):
        exchange = answer.stream
        assert isinstance(exchange, Exchange)
        read_bytes, most = 0, 0
        async for piece in exchange:
            read_bytes += len(piece)
            if read_bytes % 16 == 0:
                await asyncio.sleep(0.001)  # slower than the server
            most = max(most, exchange.answer.buffered_bytes, len(piece))
        assert read_bytes == total
        assert most <= buffer_max_bytes + LOOP_READ_BYTES


@EITHER
@pytest.mark.parametrize("chunked", [False, True])
@on_every_loop
async def test_a_body_that_comes_in_pieces_is_sent_as_declared(make: Make, chunked: bool) -> None:
    got: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            got.append((await peer.request()).partition(b"\r\n\r\n")[2])
            await peer.send(OK)

    headers = {"transfer-encoding": "chunked"} if chunked else {"content-length": "11"}
    async with raw_server(script) as server, make() as transport:
        for _ in range(2):
            body = Pieces([b"hello", b"", b" world"])
            assert await read(transport, upload(server.url(), body, headers)) == (200, b"ok")
        assert set(got) == {b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n" if chunked else b"hello world"}
        assert server.accepted == 1


@pytest.mark.parametrize("length", ["5", "50"])
@on_every_loop
async def test_a_body_of_another_length_than_declared_is_an_error_of_ours(length: str) -> None:
    """httpx's own transport lets an exception of h11 through here."""
    async with raw_server(answering(OK)) as server, make_ours() as transport:
        with pytest.raises(httpx.LocalProtocolError):
            await read(transport, upload(server.url(), Pieces([b"hello", b" world"]), {"content-length": length}))
        await until(lambda: server.open == 0)


@EITHER
@on_every_loop
async def test_an_error_of_the_body_itself_comes_through_and_closes_the_connection(make: Make) -> None:
    async with raw_server(answering(OK)) as server, make() as transport:
        with pytest.raises(ZeroDivisionError):
            await read(
                transport, upload(server.url(), Pieces([b"hello"], ZeroDivisionError()), {"content-length": "9"})
            )
        await until(lambda: server.open == 0)


@on_every_loop
async def test_an_early_answer_ends_the_sending() -> None:
    refusal = b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n"

    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(refusal)
        await peer.hung_up()

    body = Pieces([b"x" * 65_536] * 2_000)
    async with raw_server(script) as server, make_ours() as transport:
        request = upload(server.url(), body, {"content-length": str(65_536 * 2_000)})
        assert await read(transport, request) == (413, b"")
        assert body.taken < 2_000
        assert transport.open_connections == 0


@EITHER
@pytest.mark.parametrize("in_pieces", [False, True])
@on_every_loop
async def test_a_server_that_does_not_read_is_a_write_timeout(make: Make, in_pieces: bool) -> None:
    stop = asyncio.Event()

    async def deaf(peer: Peer) -> None:
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await stop.wait()

    size = 32 * MIB
    async with raw_server(deaf) as server, make() as transport:
        if in_pieces:
            request = upload(server.url(), Pieces([b"x" * MIB] * 32), {"content-length": str(size)}, write=0.1)
        else:
            request = post(server.url(), b"x" * size, write=0.1)
        with pytest.raises(httpx.WriteTimeout):
            await read(transport, request)
        stop.set()


@EITHER
@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200", SOME], ids=["nothing", "half a head", "half a body"])
@on_every_loop
async def test_silence_is_a_read_timeout_and_closes_the_connection(make: Make, said: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(said)
        await peer.hung_up()

    async with raw_server(script) as server, make() as transport:
        begun = time.monotonic()
        with pytest.raises(httpx.ReadTimeout):
            await read(transport, get(server.url(), read=0.1))
        assert 0.09 < time.monotonic() - begun < 2
        await until(lambda: server.open == 0)


@EITHER
@on_every_loop
async def test_an_answer_may_take_longer_than_any_of_its_silences(make: Make) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n")
        for _ in range(10):
            await asyncio.sleep(0.05)
            await peer.send(b"x")

    async with raw_server(script) as server, make() as transport:
        assert await read(transport, get(server.url(), read=0.3)) == (200, b"x" * 10)


@EITHER
@on_every_loop
async def test_a_reader_that_takes_its_time_is_not_late(make: Make) -> None:
    async with (
        raw_server(answering(SOME[:-4], b"x" * 100)) as server,
        make() as transport,
        sent(transport, get(server.url(), read=0.1)) as answer,
    ):
        await asyncio.sleep(0.3)
        assert b"".join([piece async for piece in pieces_of(answer)]) == b"x" * 100


@on_every_loop
async def test_the_first_byte_has_a_deadline_of_its_own() -> None:
    """It stands in place of the bound of silence, and is not extended by interim answers."""

    async def script(peer: Peer) -> None:
        await peer.request()
        while True:
            await peer.send(b"HTTP/1.1 102 Wait\r\n\r\n")
            await asyncio.sleep(0.02)

    async with raw_server(script) as server, make_ours() as transport:
        begun = time.monotonic()
        with pytest.raises(httpx.ReadTimeout):
            await read(transport, get(server.url(), read=0.05, first_byte=0.2))
        assert 0.19 < time.monotonic() - begun < 2
        assert transport.open_connections == 0
