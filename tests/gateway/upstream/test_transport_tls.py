"""TLS: certificates are checked against the name that was asked for, and everything else is as without."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.fakes.raw_http import Peer, answering, client_context, raw_server
from tests.gateway.upstream.transports import EITHER, OK, Make, get, make_ours, on_every_loop, post, read, until


@EITHER
@on_every_loop
async def test_a_trusted_server_is_called_and_its_connection_kept(make: Make) -> None:
    async with raw_server(answering(OK), tls=True) as server, make(ssl_context=client_context()) as transport:
        for _ in range(5):
            assert await read(transport, post(server.url(), b"x" * 100_000)) == (200, b"ok")
        assert server.accepted == 1


@EITHER
@on_every_loop
async def test_a_server_that_nobody_vouches_for_is_not_called(make: Make) -> None:
    async with raw_server(answering(OK), tls=True) as server, make() as transport:
        with pytest.raises(httpx.ConnectError):
            await read(transport, post(server.url()))


@EITHER
@on_every_loop
async def test_a_certificate_for_another_name_is_refused(make: Make) -> None:
    async with raw_server(answering(OK), tls=True) as server, make(ssl_context=client_context()) as transport:
        with pytest.raises(httpx.ConnectError):
            await read(transport, post(server.url(host="127.0.0.1")))


@EITHER
@on_every_loop
async def test_a_server_that_speaks_no_tls_is_a_connect_error(make: Make) -> None:
    async def plain(peer: Peer) -> None:
        await peer.reader.read(100)
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with raw_server(plain) as server, make(ssl_context=client_context()) as transport:
        with pytest.raises(httpx.ConnectError):
            await read(transport, get(f"https://localhost:{server.port}/"))


@EITHER
@on_every_loop
async def test_a_handshake_that_does_not_end_is_a_connect_timeout(make: Make) -> None:
    async def mute(peer: Peer) -> None:
        await peer.hung_up()

    async with raw_server(mute) as server, make(ssl_context=client_context()) as transport:
        with pytest.raises(httpx.ConnectTimeout):
            await read(transport, get(f"https://localhost:{server.port}/", connect=0.1))
        await until(lambda: server.open == 0)


@on_every_loop
async def test_cancelling_and_closing_leave_no_connection_over_tls() -> None:
    async def half(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK[:-1])
        await peer.hung_up()

    async with raw_server(half, tls=True) as server, make_ours(ssl_context=client_context()) as transport:
        tasks = [asyncio.create_task(read(transport, post(server.url()))) for _ in range(6)]
        await until(lambda: server.open == 6)
        for task in tasks[:3]:
            task.cancel()
        await until(lambda: server.open == 3 and transport.open_connections == 3)
        await transport.aclose()
        await asyncio.gather(*tasks, return_exceptions=True)
        await until(lambda: server.open == 0)
        assert transport.open_connections == 0


@on_every_loop
async def test_a_close_while_idle_is_noticed_over_tls() -> None:
    async with (
        raw_server(answering(OK, then_close=True), tls=True) as server,
        make_ours(ssl_context=client_context()) as transport,
    ):
        for number in range(3):
            assert await read(transport, post(server.url())) == (200, b"ok")
            await until(lambda wanted=number + 1: server.accepted == wanted and server.open == 0)  # type: ignore[misc]
