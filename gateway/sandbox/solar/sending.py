"""Writes answers to the client, broken in the ways a directive asks for, and counts what was really written.

Events go out one write each, unless told otherwise. After a hang-up nothing more is generated; a stream looks for one every 8
events and in every wait.
A cut returns without finishing the answer: the server then closes the connection. Times in milliseconds.
Raises nothing of its own.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.sandbox.solar.call import Answer, Event
from gateway.sandbox.solar.directives import Steer
from gateway.sandbox.solar.limits import Headers
from gateway.sandbox.solar.refusals import to_wire_error

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_YIELD_EVENTS = 8
_JSON = (b"content-type", b"application/json")
_SSE = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
_MALFORMED = b'data: {"id":"broken","choices":[{"index":0,"delta":{"content":"\n\n'
_COMMENT = b": keep-alive\n\n"


@dataclass(slots=True)
class Sent:
    """What went out. `reasoning` is part of `completion`."""

    outcome: str = "served"
    events: int = 0
    completion: int = 0
    reasoning: int = 0
    usage: bool = False

    def count(self, event: Event) -> None:
        """Adds an event that was written."""
        self.events += event.counted
        self.completion += event.tokens
        self.reasoning += event.tokens if event.reasoning else 0
        self.usage = self.usage or event.has_usage


class HangUp:
    """Notices that the client is gone. Close it when the answer is out."""

    def __init__(self, receive: Receive) -> None:
        self._task = asyncio.create_task(self._wait(receive))

    @staticmethod
    async def _wait(receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    @property
    def gone(self) -> bool:
        """Whether it hung up."""
        return self._task.done()

    async def pause(self, wait_ms: int) -> None:
        """Waits, but not for a client that is gone."""
        await asyncio.wait({self._task}, timeout=wait_ms / 1000)

    def close(self) -> None:
        """Stops watching."""
        self._task.cancel()


class _Writer:
    """Hands events to the server: one write each, several in one write, or in pieces of a fixed size."""

    def __init__(self, send: Send, steer: Steer) -> None:
        self._send = send
        self._chunk_bytes = steer.chunk_bytes
        self._batch = steer.batch
        self._waiting = b""
        self._waiting_events = 0

    async def write(self, data: bytes) -> None:
        self._waiting += data
        self._waiting_events += 1
        if self._chunk_bytes is None:
            if self._waiting_events >= self._batch:
                await self.flush()
            return
        while len(self._waiting) >= self._chunk_bytes:
            piece, self._waiting = self._waiting[: self._chunk_bytes], self._waiting[self._chunk_bytes :]
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(0)

    async def flush(self) -> None:
        if self._waiting:
            await self._send({"type": "http.response.body", "body": self._waiting, "more_body": True})
            self._waiting = b""
        self._waiting_events = 0


async def send_body(send: Send, status: int, headers: Headers, body: bytes) -> None:
    """A whole answer or refusal."""
    kind = [_JSON] if body else []
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*kind, length, *headers]})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def send_whole(send: Send, answer: Answer, steer: Steer, headers: Headers) -> Sent:
    """A whole answer; cut in its middle if told so."""
    sent = Sent(completion=answer.usage.completion, reasoning=answer.usage.reasoning)
    if steer.cut_after is None:
        await send_body(send, 200, headers, answer.whole)
        sent.usage = answer.has_usage
        return sent
    length = (b"content-length", b"%d" % len(answer.whole))
    await send({"type": "http.response.start", "status": 200, "headers": [_JSON, length, *headers]})
    half = answer.whole[: len(answer.whole) // 2]
    await send({"type": "http.response.body", "body": half, "more_body": True})
    sent.outcome = "cut"
    return sent


def _dressed(event: Event, position: int, steer: Steer) -> bytes:
    """The event's bytes, with what belongs before them."""
    data = event.data
    if steer.malformed_after == position:
        data = _MALFORMED + data
    if steer.keepalive and position % steer.keepalive == 0:
        data = _COMMENT + data
    return data


def _error_event(steer: Steer, *, anthropic: bool) -> bytes:
    name = b"event: error\n" if anthropic else b""
    return name + b"data: " + msgspec.json.encode(to_wire_error(steer.refusal(), anthropic=anthropic)) + b"\n\n"


async def send_stream(
    send: Send, hang_up: HangUp, answer: Answer, steer: Steer, headers: Headers, *, anthropic: bool
) -> Sent:
    """A stream, event by event."""
    sent = Sent()
    writer = _Writer(send, steer)
    await send({"type": "http.response.start", "status": 200, "headers": [*_SSE, *headers]})
    for position, event in enumerate(answer.events or ()):
        if steer.stall_after == position:
            await writer.flush()
            await hang_up.pause(steer.stall_ms)
        if hang_up.gone:
            sent.outcome = "client_gone"
            return sent
        if steer.cut_after == position:
            await writer.flush()
            sent.outcome = "cut"
            return sent
        if steer.error_after == position:
            await writer.write(_error_event(steer, anthropic=anthropic))
            sent.outcome = "cut"
            break
        if event.is_last and steer.no_done:
            break
        await writer.write(_dressed(event, position, steer))
        sent.count(event)
        if steer.pace_ms:
            await hang_up.pause(steer.pace_ms)
        elif position % _YIELD_EVENTS == 0:
            await asyncio.sleep(0)
    await writer.flush()
    await send({"type": "http.response.body", "body": b"", "more_body": False})
    return sent
