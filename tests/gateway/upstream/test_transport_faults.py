"""What goes wrong at the other end: refused, silent, cut, reset, malformed. The same exceptions as httpx's own transport raises."""

from __future__ import annotations

import asyncio
import socket

import httpx
import pytest

from gateway.upstream.transport import PooledTransport
from tests.fakes.raw_http import Peer, answering, raw_server
from tests.gateway.upstream.transports import (
    EITHER,
    OK,
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

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"

BROKEN = {
    "closed at once": b"",
    "closed in the status line": b"HTTP/1.1 20",
    "closed in the head": HEAD + b"content-le",
    "closed in a counted body": HEAD + b"content-length: 10\r\n\r\nhello",
    "closed in a chunk": CHUNKED + b"a\r\nhello",
    "closed between chunks": CHUNKED + b"5\r\nhello\r\n",
    "closed before the last line": CHUNKED + b"5\r\nhello\r\n0\r\n",
    "closed after 1xx": b"HTTP/1.1 100 Go\r\n\r\n",
    "not HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "a status of words": b"HTTP/1.1 okay\r\n\r\n",
    "a status too low": b"HTTP/1.1 099 Low\r\ncontent-length: 0\r\n\r\n",
    "a header without a colon": HEAD + b"content-length\r\n\r\n",
    "a space before the colon": HEAD + b"content-length : 0\r\n\r\n",
    "a zero byte": HEAD + b"x: a\0b\r\ncontent-length: 0\r\n\r\n",
    "lengths that differ": HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\nabc",
    "a length that is no number": HEAD + b"content-length: two\r\n\r\nab",
    "a negative length": HEAD + b"content-length: -1\r\n\r\n",
    "an unknown coding": HEAD + b"transfer-encoding: gzip\r\n\r\n",
    "a chunk size of words": CHUNKED + b"five\r\nhello\r\n0\r\n\r\n",
    "a chunk too long": CHUNKED + b"3\r\nhello\r\n0\r\n\r\n",
}
"""Refused by both."""

AMBIGUOUS = {
    "both framings": HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "both framings, the other way": HEAD + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    "the same length twice": HEAD + b"content-length: 2\r\ncontent-length: 2\r\n\r\nok",
    "a list of lengths": HEAD + b"content-length: 2, 2\r\n\r\nok",
    "chunked twice": HEAD + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a coding before chunked": HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "lines that end in LF": b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok\r\n\r\n",
    "a folded header": HEAD + b"x: a\r\n b\r\ncontent-length: 0\r\n\r\n",
    "a chunk size that ends in LF": CHUNKED + b"2\nok\r\n0\r\n\r\n",
    "a switch of protocols": b"HTTP/1.1 101 Switch\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
    "an empty line first": b"\r\n" + OK,
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "a head without end": HEAD + b"x: " + b"y" * 70_000,
    "1xx without end": b"HTTP/1.1 102 Wait\r\n\r\n" * 4_000,
    "trailers without end": CHUNKED + b"0\r\n" + b"x: y\r\n" * 20_000,
    "an extension without end": CHUNKED + b"5;" + b"x" * 140_000,
}
"""Refused by ours, which is stricter: each of these has been read in two ways by two programs."""


@EITHER
@pytest.mark.parametrize("fault", BROKEN)
@on_every_loop
async def test_a_broken_answer_is_a_protocol_error_and_its_connection_is_gone(make: Make, fault: str) -> None:
    async with raw_server(answering(BROKEN[fault], then_close=True)) as server, make() as transport:
        with pytest.raises(httpx.RemoteProtocolError):
            await read(transport, post(server.url()))
        if isinstance(transport, PooledTransport):
            assert transport.open_connections == 0


@pytest.mark.parametrize("fault", AMBIGUOUS)
@pytest.mark.parametrize("piece_bytes", [9, 1_000_000])
@on_every_loop
async def test_an_answer_that_can_be_read_in_two_ways_is_refused(fault: str, piece_bytes: int) -> None:
    wire = AMBIGUOUS[fault]
    if piece_bytes * 1_000 < len(wire):
        piece_bytes = 4_000

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(*(wire[at : at + piece_bytes] for at in range(0, len(wire), piece_bytes)))
        await peer.hung_up()

    async with raw_server(script) as server, make_ours() as transport:
        with pytest.raises(httpx.RemoteProtocolError):
            await read(transport, post(server.url()))
        assert transport.open_connections == 0


@pytest.mark.parametrize("behind", [b"\r\n", b"\r\n\r\n", b"x", OK, b"0\r\n\r\n"])
@pytest.mark.parametrize("first", [OK, CHUNKED + b"2\r\nok\r\n0\r\n\r\n", b"HTTP/1.1 204 No\r\n\r\n"])
@pytest.mark.parametrize("apart", [False, True], ids=["same packet", "next packet"])
@on_every_loop
async def test_bytes_behind_an_answer_never_reach_the_next(first: bytes, behind: bytes, apart: bool) -> None:
    """The answer itself is whole and good; its connection is not used again."""
    told = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number:
            await peer.send(HEAD + b"content-length: 6\r\n\r\nsecond")
        elif apart:
            await peer.send(first)
            await told.wait()
            await peer.send(behind)
        else:
            await peer.send(first + behind)
        await peer.hung_up()

    async with raw_server(script) as server, make_ours() as transport:
        status, body = await read(transport, post(server.url()))
        assert (status, body) in ((200, b"ok"), (204, b""))
        if apart:
            assert transport.open_connections == 1
            told.set()
        await until(lambda: transport.open_connections == 0)
        assert await read(transport, post(server.url())) == (200, b"second")
        assert server.accepted == 2


@EITHER
@on_every_loop
async def test_what_came_before_the_break_is_handed_over_first(make: Make) -> None:
    wire = CHUNKED + b"5\r\nhello\r\nnonsense\r\n"
    async with raw_server(answering(wire)) as server, make() as transport, sent(transport, get(server.url())) as answer:
        pieces = pieces_of(answer)
        assert await anext(pieces) == b"hello"
        with pytest.raises(httpx.RemoteProtocolError):
            await anext(pieces)


@EITHER
@pytest.mark.parametrize("said", [b"", HEAD, CHUNKED + b"5\r\nhe"])
@on_every_loop
async def test_a_reset_is_a_read_error(make: Make, said: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(said, b"")
        peer.reset()

    async with raw_server(script) as server, make() as transport:
        with pytest.raises(httpx.ReadError):
            await read(transport, post(server.url()))


@EITHER
@on_every_loop
async def test_nobody_there_is_a_connect_error(make: Make) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        async with make() as transport:
            with pytest.raises(httpx.ConnectError):
                await read(transport, get(f"http://127.0.0.1:{unheard.getsockname()[1]}/"))


@EITHER
@on_every_loop
async def test_a_connection_that_is_not_accepted_in_time_is_a_connect_timeout(make: Make) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]  # they fill the queue of connections that nobody accepts
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(address)
        async with make() as transport:
            with pytest.raises(httpx.ConnectTimeout):
                await read(transport, get(f"http://127.0.0.1:{address[1]}/", connect=0.1))
        for client in waiting:
            client.close()


@EITHER
@on_every_loop
async def test_only_http_and_https_can_be_called(make: Make) -> None:
    async with make() as transport:
        with pytest.raises(httpx.UnsupportedProtocol):
            await transport.handle_async_request(get("ftp://127.0.0.1/"))
