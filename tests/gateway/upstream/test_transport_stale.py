"""A kept connection that the server has closed: when a request may go out again, and when it must not."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from gateway.upstream.transport import PooledTransport
from tests.fakes.raw_http import Peer, RawServer, Script, raw_server
from tests.gateway.upstream.transports import EITHER, OK, Make, make_ours, on_every_loop, post, read


def dying(server: list[RawServer], *, by_reset: bool, after_request: bool) -> Script:
    """The first connection dies after one answer: at once, or when the next request has come."""

    async def script(peer: Peer) -> None:
        while True:
            server[0].requests.append(await peer.request())
            if peer.number == 0 and len(server[0].requests) > 1:
                break
            await peer.send(OK)
            if peer.number == 0 and not after_request:
                break
        if by_reset:
            peer.reset()

    return script


@EITHER
@pytest.mark.parametrize("by_reset", [False, True], ids=["closed", "reset"])
@on_every_loop
async def test_a_connection_closed_while_idle_is_not_used_again(make: Make, by_reset: bool) -> None:
    servers: list[RawServer] = []
    async with raw_server(dying(servers, by_reset=by_reset, after_request=False)) as server, make() as transport:
        servers.append(server)
        for _ in range(3):
            assert await read(transport, post(server.url())) == (200, b"ok")
            await asyncio.sleep(0.02)
        assert (server.accepted, len(server.requests)) == (2, 3)


@on_every_loop
async def test_a_close_that_the_loop_has_not_seen_yet_is_seen_in_the_kernel() -> None:
    """The transport is asked in the same tick in which the close arrives, before the loop looks at the socket."""
    servers: list[RawServer] = []
    async with raw_server(dying(servers, by_reset=False, after_request=False)) as server, make_ours() as transport:
        servers.append(server)
        assert await read(transport, post(server.url())) == (200, b"ok")
        connection = transport._pools["http", b"127.0.0.1", server.port]._free[0]
        connection._transport.pause_reading()  # the loop no longer tells: only the kernel knows
        await asyncio.sleep(0.02)
        assert connection in transport._pools["http", b"127.0.0.1", server.port]._free
        assert await read(transport, post(server.url())) == (200, b"ok")
        assert (server.accepted, len(server.requests)) == (2, 2)


@EITHER
@pytest.mark.parametrize(
    ("by_reset", "error"),
    [(False, httpx.RemoteProtocolError), (True, httpx.ReadError)],
    ids=["closed", "reset"],
)
@on_every_loop
async def test_a_request_that_may_have_been_read_is_never_sent_twice(
    make: Make, by_reset: bool, error: type[httpx.TransportError]
) -> None:
    servers: list[RawServer] = []
    async with raw_server(dying(servers, by_reset=by_reset, after_request=True)) as server, make() as transport:
        servers.append(server)
        assert await read(transport, post(server.url(), b"first")) == (200, b"ok")
        with pytest.raises(error):
            await read(transport, post(server.url(), b"second"))
        assert sum(b"second" in request for request in server.requests) == 1


@pytest.mark.parametrize("by_reset", [False, True], ids=["closed", "reset"])
@on_every_loop
async def test_who_takes_the_risk_has_it_sent_once_more(by_reset: bool) -> None:
    servers: list[RawServer] = []
    async with (
        raw_server(dying(servers, by_reset=by_reset, after_request=True)) as server,
        PooledTransport(resend_if_closed_unanswered=True) as transport,
    ):
        servers.append(server)
        assert await read(transport, post(server.url(), b"first")) == (200, b"ok")
        assert await read(transport, post(server.url(), b"second")) == (200, b"ok")
        assert sum(b"second" in request for request in server.requests) == 2
        assert transport.resends_count == 1


@pytest.mark.parametrize("said", [b"", b"H"], ids=["on a fresh connection", "after a byte of an answer"])
@on_every_loop
async def test_even_so_it_is_sent_again_only_where_a_kept_connection_said_nothing(said: bytes) -> None:
    asked = 0

    async def script(peer: Peer) -> None:
        nonlocal asked
        if said:
            await peer.request()
            await peer.send(OK)
        await peer.request()
        asked += 1
        await peer.send(said)

    async with raw_server(script) as server, PooledTransport(resend_if_closed_unanswered=True) as transport:
        if said:
            assert await read(transport, post(server.url())) == (200, b"ok")
        with pytest.raises(httpx.RemoteProtocolError):
            await read(transport, post(server.url()))
        assert (asked, transport.resends_count) == (1, 0)
