"""One request to upstream over a real socket: retried only where nothing was sent, bounded everywhere, and no key leaks."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Awaitable

import httpx
import pytest

from gateway.errors import GatewayError, UpstreamInterrupted, UpstreamUnavailable
from gateway.upstream.reply import UpstreamAnswer
from gateway.upstream.transport import PooledTransport
from tests.gateway.upstream.peer import KEYS, a_peer, a_solar, says

WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


async def read(answer: UpstreamAnswer) -> bytes:
    return b"".join([chunk async for chunk in answer.chunks()])


async def refused(sending: Awaitable[object], kind: type[GatewayError], status: int) -> GatewayError:
    with pytest.raises(kind) as caught:
        await sending
    assert caught.value.status == status
    told = "".join(traceback.format_exception(caught.value)) + caught.value.message + str(caught.value.headers)
    assert not any(key in told for key in KEYS)
    return caught.value


async def test_a_request_carries_our_keys_in_turn_and_the_body_byte_for_byte() -> None:
    async with a_peer(says(WHOLE)) as peer:
        solar = a_solar(peer.url + "/")
        for _ in range(3):
            answer = await solar.send("/chat/completions", b'{"a": 1 }', "application/json")
            assert (answer.status, await read(answer), answer.attempts) == (200, b"{}", 1)
            assert not answer.is_event_stream
            await answer.close()
        await solar.close()
    lines = {(line, body) for line, _, body in peer.requests}
    assert lines == {("POST /v1/chat/completions HTTP/1.1", b'{"a": 1 }')}
    assert [headers["authorization"] for _, headers, _ in peer.requests] == [f"Bearer {KEYS[at]}" for at in (0, 1, 0)]
    assert peer.requests[0][1]["accept-encoding"] == "identity"


async def test_a_refused_connection_is_tried_again_and_then_unavailable(unused_tcp_port: int) -> None:
    solar = a_solar(f"http://127.0.0.1:{unused_tcp_port}/v1")
    begun = time.monotonic()
    error = await refused(solar.send("/x", b"{}", "application/json"), UpstreamUnavailable, 503)
    assert error.code == "upstream_unavailable"
    assert time.monotonic() - begun < 3.0
    await solar.close()


class Refusing(httpx.AsyncBaseTransport):
    """A network that refuses so many connections, and counts them, before it lets any through."""

    def __init__(self, refusals: int = 1_000_000) -> None:
        self.tries = 0
        self.refusals = refusals
        self.network = httpx.AsyncHTTPTransport(retries=0, trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.tries += 1
        if self.tries <= self.refusals:
            await asyncio.sleep(0)
            raise httpx.ConnectError("refused", request=request)
        return await self.network.handle_async_request(request)

    async def aclose(self) -> None:
        await self.network.aclose()


async def test_a_server_that_comes_back_between_two_attempts_answers() -> None:
    async with a_peer(says(WHOLE)) as peer:
        solar = a_solar(peer.url, network=Refusing(refusals=2))
        answer = await solar.send("/x", b"{}", "application/json")
        assert await read(answer) == b"{}"
        assert answer.attempts == 3
        await answer.close()
        assert len(peer.requests) == 1
        await solar.close()


@pytest.mark.parametrize(("attempts", "calls"), [(1, 1), (2, 1), (3, 1), (3, 20)])
async def test_each_call_makes_as_many_attempts_as_the_setting_says_however_many_fail_at_once(
    attempts: int, calls: int
) -> None:
    network = Refusing()
    solar = a_solar("http://nowhere.invalid/v1", attempts=attempts, network=network)
    results = await asyncio.gather(
        *[solar.send("/x", b"{}", "application/json") for _ in range(calls)], return_exceptions=True
    )
    assert all(isinstance(result, UpstreamUnavailable) and result.status == 503 for result in results)
    assert network.tries == attempts * calls
    await solar.close()


async def test_no_first_byte_in_time_is_504_and_is_not_sent_twice() -> None:
    async with a_peer(says()) as peer:
        solar = a_solar(peer.url, first_byte_s=0.15)
        begun = time.monotonic()
        await refused(solar.send("/x", b"{}", "application/json"), UpstreamUnavailable, 504)
        assert time.monotonic() - begun < 2.0
        async with asyncio.timeout(2):
            await peer.hung_up.wait()
        assert len(peer.requests) == 1
        await solar.close()


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200", b"no http at all\r\n\r\n"])
async def test_a_connection_that_breaks_before_the_headers_is_502_and_is_not_sent_twice(sent: bytes) -> None:
    async with a_peer(says(sent, close=True)) as peer:
        solar = a_solar(peer.url, keys=KEYS[:1])
        await refused(solar.send("/x", b"{}", "application/json"), UpstreamUnavailable, 502)
        assert len(peer.requests) == 1
        await solar.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc",
        STREAM + b"3\r\nabc\r\n",
        STREAM + b"3\r\nabc\r\nnot a length\r\n",
    ],
)
async def test_an_answer_that_breaks_off_gives_what_came_and_then_says_so(sent: bytes) -> None:
    async with a_peer(says(sent, close=True)) as peer:
        solar = a_solar(peer.url)
        answer = await solar.send("/x", b"{}", "application/json")
        parts: list[bytes] = []

        async def reading() -> None:
            async for part in answer.chunks():
                parts.append(part)

        await refused(reading(), UpstreamInterrupted, 502)
        assert b"".join(parts) in (b"abc", b"")
        await answer.close()
        await solar.close()


async def test_silence_in_mid_stream_ends_it_and_cuts_the_connection() -> None:
    async with a_peer(says(STREAM, b"3\r\nabc\r\n")) as peer:
        solar = a_solar(peer.url, idle_s=0.15)
        answer = await solar.send("/x", b"{}", "application/json")
        assert answer.is_event_stream
        error = await refused(read(answer), UpstreamInterrupted, 502)
        assert error.headers["x-should-retry"] == "false"
        await answer.close()
        async with asyncio.timeout(2):
            await peer.hung_up.wait()
        await solar.close()


async def test_closing_an_answer_that_is_not_read_to_its_end_cancels_it_upstream() -> None:
    async with a_peer(says(STREAM, b"3\r\nabc\r\n")) as peer:
        solar = a_solar(peer.url)
        answer = await solar.send("/x", b"{}", "application/json")
        async for part in answer.chunks():
            assert part == b"abc"
            break
        await answer.close()
        async with asyncio.timeout(2):
            await peer.hung_up.wait()
        await solar.close()


async def test_without_a_key_the_request_still_is_well_formed() -> None:
    async with a_peer(says(WHOLE)) as peer:
        solar = a_solar(peer.url, keys=())
        answer = await solar.send("/x", b"{}", "application/json")
        assert await read(answer) == b"{}"
        await answer.close()
        await solar.close()
    assert "authorization" not in peer.requests[0][1]


NETWORKS = pytest.mark.parametrize("ours", [True, False], ids=["ours", "httpx"])


def network(ours: bool) -> httpx.AsyncBaseTransport:
    return PooledTransport(tick_s=0.01) if ours else httpx.AsyncHTTPTransport(retries=0, trust_env=False)


@NETWORKS
async def test_a_request_is_the_same_over_our_transport_and_over_httpxs_own(ours: bool) -> None:
    async with a_peer(says(WHOLE)) as peer:
        solar = a_solar(peer.url + "/", network=network(ours))
        for body in (b'{"a": 1 }', b"{}"):
            answer = await solar.send("/chat/completions", body, "application/json; charset=utf-8")
            assert await answer.read(1000) == (b"{}", None)
            assert answer.passed_headers == {"content-type": "application/json"}
            await answer.close()
        await solar.close()
    (line, headers, body), (_, later, _) = peer.requests
    assert (line, body) == ("POST /v1/chat/completions HTTP/1.1", b'{"a": 1 }')
    assert headers["content-type"] == "application/json; charset=utf-8"
    assert (headers["content-length"], later["content-length"]) == ("9", "2")
    assert headers["authorization"] == f"Bearer {KEYS[0]}"


@NETWORKS
async def test_a_content_type_with_a_line_break_is_never_sent(ours: bool) -> None:
    async with a_peer(says(WHOLE)) as peer:
        solar = a_solar(peer.url, network=network(ours))
        await refused(solar.send("/x", b"{}", "text/plain\r\nx-evil: 1"), UpstreamUnavailable, 502)
        assert not peer.requests
        await solar.close()


@NETWORKS
async def test_a_body_flows_into_a_sink_which_may_pause_it_at_any_piece(ours: bool) -> None:
    chunks = [b"5\r\nhello\r\n", b"5\r\nworld\r\n", b"1\r\n!\r\n", b"0\r\n\r\n"]
    async with a_peer(says(STREAM, *chunks)) as peer:
        solar = a_solar(peer.url, network=network(ours))
        answer = await solar.send("/x", b"{}", "application/json")
        assert answer.is_event_stream
        taken: list[bytes] = []

        def sink(piece: bytes) -> bool:
            taken.append(piece)
            return len(taken) != 1

        pauses = 0
        while await answer.flow_into(sink):
            pauses += 1
        assert (b"".join(taken), pauses) == (b"helloworld!", 1)
        await answer.finish()
        await answer.close()
        await solar.close()


@NETWORKS
async def test_a_flow_that_breaks_off_gives_what_came_and_then_says_so(ours: bool) -> None:
    async with a_peer(says(STREAM + b"3\r\nabc\r\n", b"5\r\nde", close=True)) as peer:
        solar = a_solar(peer.url, network=network(ours))
        answer = await solar.send("/x", b"{}", "application/json")
        taken: list[bytes] = []

        def sink(piece: bytes) -> bool:
            taken.append(piece)
            return True

        with pytest.raises(UpstreamInterrupted):
            await answer.flow_into(sink)
        assert b"".join(taken).startswith(b"abc")
        await answer.close()
        await solar.close()


@NETWORKS
async def test_a_flow_that_falls_silent_is_interrupted_in_time(ours: bool) -> None:
    async with a_peer(says(STREAM + b"3\r\nabc\r\n")) as peer:
        solar = a_solar(peer.url, network=network(ours), idle_s=0.15)
        answer = await solar.send("/x", b"{}", "application/json")
        begun = time.monotonic()
        with pytest.raises(UpstreamInterrupted):
            await answer.flow_into(lambda piece: bool(piece))
        assert 0.1 <= time.monotonic() - begun < 5.0
        await answer.close()
        await solar.close()
