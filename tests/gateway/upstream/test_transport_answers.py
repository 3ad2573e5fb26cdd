"""What comes back over the transport: every framing, in every chunking, in the order in which it was asked."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.fakes.raw_http import Peer, answering, raw_server
from tests.gateway.upstream.transports import EITHER, OK, Make, get, on_every_loop, pieces_of, post, read, sent

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
FRAMINGS = {
    "length": (HEAD + b"Content-Length: 11\r\n\r\nhello world", b"hello world"),
    "nothing": (HEAD + b"Content-Length: 0\r\n\r\n", b""),
    "chunks": (CHUNKED + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world"),
    "trailers": (CHUNKED + b"b;x=y\r\nhello world\r\n0\r\nx-sum: 1\r\n\r\n", b"hello world"),
    "no chunks": (CHUNKED + b"0\r\n\r\n", b""),
    "until close": (HEAD + b"X: y\r\n\r\nhello world", b"hello world"),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\nhello world", b"hello world"),
    "1xx first": (b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 100 Go\r\n\r\n" + OK, b"ok"),
}


@EITHER
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("piece_bytes", [1, 7, 10_000])
@on_every_loop
async def test_each_framing_brings_the_same_body_in_any_chunking(make: Make, framing: str, piece_bytes: int) -> None:
    wire, body = FRAMINGS[framing]
    pieces = [wire[at : at + piece_bytes] for at in range(0, len(wire), piece_bytes)]
    async with raw_server(answering(*pieces, then_close=True)) as server, make() as transport:
        assert await read(transport, post(server.url())) == (200, body)


@EITHER
@on_every_loop
async def test_status_and_headers_arrive_as_they_were_sent(make: Make) -> None:
    wire = b"HTTP/1.1 429 Too Many\r\nRetry-After: 3 \r\nX-Two: a\r\nx-two: \xc3\xa9\r\ncontent-length: 0\r\n\r\n"
    async with raw_server(answering(wire)) as server, make() as transport, sent(transport, get(server.url())) as answer:
        assert answer.status_code == 429
        assert answer.headers.raw[:3] == [(b"Retry-After", b"3"), (b"X-Two", b"a"), (b"x-two", b"\xc3\xa9")]
        assert answer.extensions["http_version"] == b"HTTP/1.1"
        assert answer.extensions["reason_phrase"] == b"Too Many"


@EITHER
@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
@on_every_loop
async def test_an_answer_without_a_body_ends_with_its_head(make: Make, method: str, status: int) -> None:
    length = b"" if status == 204 else b"Content-Length: 500\r\n"
    wire = b"HTTP/1.1 %d Fine\r\n" % status + length + b"\r\n"
    async with raw_server(answering(wire)) as server, make() as transport:
        for _ in range(3):
            assert await read(transport, get(server.url(), method)) == (status, b"")
        assert server.accepted == 1


@EITHER
@on_every_loop
async def test_a_thousand_requests_in_a_row_share_one_connection(make: Make) -> None:
    async def echo(peer: Peer) -> None:
        while True:
            body = (await peer.request()).partition(b"\r\n\r\n")[2]
            await peer.send(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body)

    async with raw_server(echo) as server, make() as transport:
        for number in range(1_000):
            assert await read(transport, post(server.url(), b"%d" % number)) == (200, b"%d" % number)
        assert server.accepted == 1


@EITHER
@on_every_loop
async def test_two_hundred_at_once_each_get_their_own_answer(make: Make) -> None:
    async def echo_in_chunks(peer: Peer) -> None:
        while True:
            body = (await peer.request()).partition(b"\r\n\r\n")[2]
            await peer.send(CHUNKED, b"%x\r\n%b\r\n" % (len(body), body), b"0\r\n\r\n")

    async with raw_server(echo_in_chunks) as server, make(connections_max=20) as transport:
        asked = [post(server.url(), b"%d" % number) for number in range(200)]
        answers = await asyncio.gather(*(read(transport, request) for request in asked))
        assert answers == [(200, b"%d" % number) for number in range(200)]
        assert server.accepted <= 20


@EITHER
@on_every_loop
async def test_each_event_is_there_before_the_next_is_sent(make: Make) -> None:
    seen = asyncio.Event()

    async def events(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        for number in range(5):
            await peer.send(b"9\r\ndata: %d\n\n\r\n" % number)
            await seen.wait()
            seen.clear()
        await peer.send(b"0\r\n\r\n")

    async with raw_server(events) as server, make() as transport, sent(transport, post(server.url())) as answer:
        came = []
        async for piece in pieces_of(answer):
            came.append(piece)
            seen.set()
        assert came == [b"data: %d\n\n" % number for number in range(5)]


@EITHER
@on_every_loop
async def test_the_httpx_client_works_over_it(make: Make) -> None:
    async with raw_server(answering(OK)) as server, httpx.AsyncClient(transport=make()) as client:
        answer = await client.post(server.url("/v1/x?y=z"), json={"a": 1}, headers={"x-1": "2"})
        assert (answer.status_code, answer.text) == (200, "ok")
