"""Connections: how many, kept how long, waited for by whom, and gone when nobody has a use for them."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl

import httpx
import pytest

from gateway.upstream.pool import Limits, Origin, Pool
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

HALF = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"


async def silent(peer: Peer) -> None:
    await peer.request()
    await peer.hung_up()


async def half(peer: Peer) -> None:
    await peer.request()
    await peer.send(HALF)
    await peer.hung_up()


@EITHER
@on_every_loop
async def test_a_request_waits_for_a_free_connection_within_its_bound(make: Make) -> None:
    async with raw_server(silent) as server, make(connections_max=1) as transport:
        first = asyncio.create_task(read(transport, get(server.url())))
        await until(lambda: server.accepted == 1)
        with pytest.raises(httpx.PoolTimeout):
            await read(transport, get(server.url(), pool=0.05))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first


@on_every_loop
async def test_no_more_requests_wait_than_the_bound_says() -> None:
    async with (
        raw_server(silent) as server,
        PooledTransport(connections_max=1, waiting_max=2) as transport,
        asyncio.TaskGroup() as group,
    ):
        tasks = [group.create_task(read(transport, get(server.url()))) for _ in range(3)]
        await until(lambda: transport.waiting_requests == 2)
        with pytest.raises(httpx.PoolTimeout, match="wait for a connection already"):
            await read(transport, get(server.url()))
        for task in tasks:
            task.cancel()


@on_every_loop
async def test_who_waits_first_is_served_first() -> None:
    order: list[int] = []

    async def in_turn(transport: PooledTransport, url: str, number: int) -> None:
        await read(transport, get(url))
        order.append(number)

    async with raw_server(answering(OK)) as server, make_ours(connections_max=1) as transport:
        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(in_turn(transport, server.url(), number))
        assert order == list(range(20))
        assert server.accepted == 1


@pytest.mark.parametrize("cut", [False, True], ids=["a connection", "a place"])
@on_every_loop
async def test_a_turn_that_nobody_takes_goes_to_the_next(cut: bool) -> None:
    """Cancelled in the very tick in which the turn came."""
    loop = asyncio.get_running_loop()
    async with raw_server(answering(OK)) as server:
        limits = Limits(connections_max=1, waiting_max=9, idle_expiry_s=9.0, buffer_max_bytes=9)
        pool = Pool(loop, Origin("http", b"127.0.0.1", server.port), limits, ssl.create_default_context)
        held = await pool.take(None, None)
        second, third = (loop.create_task(pool.take(None, 5.0)) for _ in range(2))
        await until(lambda: pool.waiting_requests == 2)
        if cut:
            held.cut()
        else:
            pool.take_back(held)
        second.cancel()
        given = await third
        assert (given is held) is not cut
        assert second.cancelled()
        assert pool.open_connections == 1
        await pool.close()
        assert pool.is_empty


@on_every_loop
async def test_a_read_that_is_cancelled_closes_the_connection_by_itself() -> None:
    async with raw_server(half) as server, make_ours() as transport:
        answer = await transport.handle_async_request(get(server.url()))
        pieces = pieces_of(answer)
        assert await anext(pieces) == b"half"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await anext(pieces)
        assert transport.open_connections == 0
        await until(lambda: server.open == 0)
        with pytest.raises(httpx.ReadError):
            await anext(pieces)


@EITHER
@on_every_loop
async def test_a_connection_that_fails_to_open_gives_its_place_back(make: Make) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        async with make(connections_max=1) as transport:
            for _ in range(3):
                with pytest.raises(httpx.ConnectError):
                    await read(transport, get(f"http://127.0.0.1:{unheard.getsockname()[1]}/", pool=0.1))


@EITHER
@on_every_loop
async def test_a_connection_is_closed_after_lying_idle(make: Make) -> None:
    async with raw_server(answering(OK)) as server, make(idle_expiry_s=0.05) as transport:
        assert await read(transport, get(server.url())) == (200, b"ok")
        await asyncio.sleep(0.1)
        assert await read(transport, get(server.url())) == (200, b"ok")
        assert server.accepted == 2


@on_every_loop
async def test_idle_connections_and_the_timer_go_without_being_asked() -> None:
    async with raw_server(answering(OK)) as server, make_ours(idle_expiry_s=0.02) as transport:
        await asyncio.gather(*(read(transport, get(server.url())) for _ in range(5)))
        await until(lambda: transport.open_connections == 0 and server.open == 0)
        await until(lambda: transport._timer is None)
        assert await read(transport, get(server.url())) == (200, b"ok")


@EITHER
@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nconnection: close\r\n", b"HTTP/1.0 200 OK\r\n"])
@on_every_loop
async def test_a_connection_that_is_to_be_closed_is_not_kept(make: Make, head: bytes) -> None:
    wire = head + b"content-length: 2\r\n\r\nok"
    async with raw_server(answering(wire)) as server, make() as transport:
        for _ in range(3):
            assert await read(transport, get(server.url())) == (200, b"ok")
        assert server.accepted == 3


@EITHER
@on_every_loop
async def test_closing_a_half_read_answer_closes_its_connection(make: Make) -> None:
    async with raw_server(half) as server, make() as transport:
        async with sent(transport, get(server.url())) as answer:
            assert await anext(pieces_of(answer)) == b"half"
            assert server.open == 1
        await until(lambda: server.open == 0)


@on_every_loop
async def test_an_answer_that_is_there_but_unread_gives_its_connection_back() -> None:
    async with raw_server(answering(OK)) as server, make_ours() as transport:
        for _ in range(3):
            async with sent(transport, get(server.url())) as answer:
                assert answer.status_code == 200
                assert transport.busy_connections == 0
        assert server.accepted == 1


@EITHER
@pytest.mark.parametrize("reading", [False, True], ids=["before the head", "inside the body"])
@on_every_loop
async def test_cancelling_closes_the_connection(make: Make, reading: bool) -> None:
    heard: list[int] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        heard.append(peer.number)
        if reading:
            await peer.send(HALF)
        await peer.hung_up()

    async with raw_server(script) as server, make(connections_max=1) as transport:
        for number in range(3):
            task = asyncio.create_task(read(transport, get(server.url())))
            await until(lambda wanted=number: wanted in heard)  # type: ignore[misc]
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: server.open == 0)


@on_every_loop
async def test_a_storm_of_cancellations_leaves_nothing_busy() -> None:
    """Tasks are cancelled at any await, among them those of waiting and connecting; afterwards everything still works."""
    chance = random.Random(7)  # the same storm every time

    async def moody(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(OK[: chance.randrange(1, len(OK))] if chance.random() < 0.3 else OK)

    async with raw_server(moody) as server, make_ours(connections_max=8) as transport:
        for _ in range(15):
            tasks = [asyncio.create_task(read(transport, post(server.url()))) for _ in range(40)]
            for task in tasks:
                if chance.random() < 0.3:
                    await asyncio.sleep(chance.random() * 0.002)
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert transport.busy_connections == transport.waiting_requests == 0
            assert transport.open_connections <= 8
        await transport.aclose()
        assert transport.open_connections == 0
        await until(lambda: server.open == 0)


@on_every_loop
async def test_closing_the_transport_ends_everything() -> None:
    async with raw_server(silent) as server:
        transport = make_ours(connections_max=2)
        tasks = [asyncio.create_task(read(transport, get(server.url()))) for _ in range(4)]
        await until(lambda: server.accepted == 2 and transport.waiting_requests == 2)
        await transport.aclose()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert sorted(type(end).__name__ for end in ends) == ["ConnectError", "ConnectError", "ReadError", "ReadError"]
        with pytest.raises(httpx.ConnectError):
            await read(transport, get(server.url()))
        await until(lambda: server.open == 0)
        await transport.aclose()


@EITHER
@on_every_loop
async def test_each_origin_has_its_own_connections(make: Make) -> None:
    async with (
        raw_server(answering(OK)) as one,
        raw_server(answering(OK)) as other,
        make(connections_max=4) as transport,
    ):
        for _ in range(3):
            for server in (one, other):
                assert await read(transport, get(server.url())) == (200, b"ok")
        assert (one.accepted, other.accepted) == (1, 1)


@EITHER
@on_every_loop
async def test_timeouts_that_are_missing_never_pass(make: Make) -> None:
    async with raw_server(answering(OK)) as server, make() as transport:
        for timeouts in ({}, dict.fromkeys(TIMEOUTS)):
            request = httpx.Request("GET", server.url(), extensions={"timeout": timeouts})
            assert await read(transport, request) == (200, b"ok")
        assert await read(transport, httpx.Request("GET", server.url())) == (200, b"ok")
