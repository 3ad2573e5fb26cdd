"""The ASGI door, as any ASGI server speaks to it: bodies bounded, hang-ups seen, answers in order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.doors.asgi import AsgiDoor
from gateway.errors import InvalidRequest, RequestTooLarge, ServiceUnavailable
from gateway.meter.endpoint import CHAT
from gateway.trip import ClientGone

LIMIT = 100
GONE: Mapping[str, Any] = {"type": "http.disconnect"}
Headers = list[tuple[bytes, bytes]]


class Server:
    """The server's side of one request: what comes in, in order, and what was sent out."""

    def __init__(self, *messages: Mapping[str, Any], headers: Headers | None = None) -> None:
        self.incoming: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
        for message in messages:
            self.incoming.put_nowait(message)
        self.sent: list[Mapping[str, Any]] = []
        self.read = 0
        self.door = AsgiDoor(CHAT, headers or [], self.receive, self.send, LIMIT)

    async def receive(self) -> Mapping[str, Any]:
        message = await self.incoming.get()
        self.read += 1
        return message

    async def send(self, message: Mapping[str, Any]) -> None:
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


def part(body: bytes, *, more: bool) -> Mapping[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=6))
async def test_a_body_is_joined_from_its_parts_or_refused_above_the_bound(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    server = Server(*[part(piece, more=at + 1 < len(parts)) for at, piece in enumerate(parts)])
    if len(whole) <= LIMIT:
        assert await server.door.read_body() == whole
    else:
        with pytest.raises(RequestTooLarge):
            await server.door.read_body()


@pytest.mark.parametrize("length", [b"101", b"99999999999999999999"])
async def test_a_body_that_says_it_is_too_large_is_refused_unread(length: bytes) -> None:
    server = Server(part(b"", more=False), headers=[(b"content-length", length)])
    with pytest.raises(RequestTooLarge):
        await server.door.read_body()
    assert server.read == 0


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"5")], [(b"content-length", b"x")]])
async def test_a_body_longer_than_it_says_is_refused_at_the_bound_and_read_no_further(headers: Headers) -> None:
    server = Server(*[part(b"x" * 60, more=True)] * 9, headers=headers)
    with pytest.raises(RequestTooLarge):
        await server.door.read_body()
    assert server.read == 2


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"zstd", b"identity, gzip"])
async def test_a_compressed_body_is_refused_unread(encoding: bytes) -> None:
    server = Server(part(b"x", more=False), headers=[(b"content-encoding", encoding)])
    with pytest.raises(InvalidRequest):
        await server.door.read_body()
    assert server.read == 0


async def test_a_body_that_is_called_uncompressed_is_read() -> None:
    server = Server(part(b"x", more=False), headers=[(b"content-encoding", b"identity"), (b"content-length", b"1")])
    assert await server.door.read_body() == b"x"


async def test_a_hang_up_while_the_body_is_read_is_seen() -> None:
    server = Server(part(b"abc", more=True), GONE)
    with pytest.raises(ClientGone):
        await server.door.read_body()


async def test_an_answer_leaves_as_start_body_end() -> None:
    server = Server()
    assert not server.door.started
    await server.door.start(200, {"x-solar-cost": "0.01", "x": "café"})
    await server.door.write(b"")
    await server.door.write(b"one")
    await server.door.end()
    assert server.door.started
    assert [message["type"].rpartition(".")[2] for message in server.sent] == ["start", "body", "body"]
    assert server.sent[0]["headers"] == [(b"x-solar-cost", b"0.01"), (b"x", "café".encode("latin-1"))]
    assert [message["more_body"] for message in server.sent[1:]] == [True, False]
    assert server.body == b"one"


async def test_a_refusal_has_its_length_and_closes_the_connection_where_the_body_was_not_read() -> None:
    for error, closes in ((ServiceUnavailable(), False), (RequestTooLarge(5), True)):
        server = Server()
        await server.door.refuse(error, {"x-request-id": "1"})
        headers = dict(server.sent[0]["headers"])
        assert server.sent[0]["status"] == error.status
        assert headers[b"content-length"] == str(len(server.body)).encode()
        assert (headers.get(b"connection") == b"close") == closes
        assert json.loads(server.body)["error"]["code"] == error.code


# ---- hang-ups -------------------------------------------------------------------------------------------------------------------


async def test_a_hang_up_cancels_what_is_awaited_and_comes_out_as_client_gone() -> None:
    server = Server()
    reached = asyncio.Event()

    async def answering() -> None:
        async with server.door.hang_up_cancels():
            reached.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(answering())
    await reached.wait()
    server.incoming.put_nowait(GONE)
    with pytest.raises(ClientGone):
        await task
    assert task.cancelling() == 0


async def test_parts_of_the_request_that_still_come_in_are_no_hang_up() -> None:
    server = Server(part(b"late", more=False), part(b"later", more=False))
    async with server.door.hang_up_cancels():
        for _ in range(5):
            await asyncio.sleep(0)
    assert server.read == 2


async def test_without_a_hang_up_nothing_is_cancelled_and_the_watch_ends() -> None:
    server = Server()
    async with server.door.hang_up_cancels():
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    server.incoming.put_nowait(GONE)
    await asyncio.sleep(0)
    assert server.incoming.qsize() == 1  # nobody listens any more


@pytest.mark.parametrize("turns", range(6))
async def test_a_hang_up_as_the_answer_completes_never_cancels_what_comes_after(turns: int) -> None:
    """The race: the answer is whole in the same turns of the loop in which the client goes."""
    server = Server()
    settled = []

    async def answering() -> str:
        try:
            async with server.door.hang_up_cancels():
                for at in range(4):
                    if at == turns:
                        server.incoming.put_nowait(GONE)
                    await asyncio.sleep(0)
                if turns >= 4:
                    server.incoming.put_nowait(GONE)
        except ClientGone:
            said = "gone"
        else:
            said = "whole"
        for _ in range(5):
            await asyncio.sleep(0)  # a settlement: it must not be interrupted
        settled.append(said)
        return said

    task = asyncio.ensure_future(answering())
    assert await task in ("gone", "whole")
    assert len(settled) == 1
    assert task.cancelling() == 0


async def test_a_cancellation_from_elsewhere_stays_one() -> None:
    server = Server()

    async def answering() -> None:
        async with server.door.hang_up_cancels():
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await answering()


async def test_an_error_of_our_own_is_not_mistaken_for_a_hang_up() -> None:
    server = Server()
    with pytest.raises(ServiceUnavailable):
        async with server.door.hang_up_cancels():
            raise ServiceUnavailable


@pytest.mark.parametrize("turns", range(5))
async def test_an_error_in_the_turn_of_the_hang_up_leaves_no_cancellation_behind(turns: int) -> None:
    server = Server()

    async def answering() -> str:
        try:
            async with server.door.hang_up_cancels():
                await asyncio.sleep(0)  # the watch waits for a message
                server.incoming.put_nowait(GONE)
                for _ in range(turns):
                    await asyncio.sleep(0)
                raise ServiceUnavailable
        except ServiceUnavailable:
            said = "refused"
        except ClientGone:
            said = "gone"
        for _ in range(5):
            await asyncio.sleep(0)
        return said

    assert await asyncio.ensure_future(answering()) in ("refused", "gone")
