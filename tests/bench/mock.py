"""A fast stand-in for Solar, in a process of its own: asyncio.Protocol and httptools on uvloop. Run: python -m tests.bench.mock

Counts what it serves to the gateway (told by its upstream key), and says so on GET /counts. Prints its port once it serves; ends on
SIGTERM, and with its parent. Back-pressure is honoured: a stream whose reader is slow waits.
"""

from __future__ import annotations

import asyncio
from typing import cast

import httptools
import msgspec
import uvloop

from gateway.processes.lifeline import end_with_parent
from tests.bench import calls

_KEY = f"Bearer {calls.UPSTREAM_KEY}".encode()
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\n%b\r\n\r\n"
_WHOLES = [
    (_HEAD % (b"application/json", b"content-length: %d" % len(body)) + body, tokens)
    for body, tokens in map(calls.answer, range(64))
]
_STREAM_HEAD = _HEAD % (b"text/event-stream", b"transfer-encoding: chunked")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_CONTENT = _chunk(calls.CONTENT_EVENT)


class Counts(msgspec.Struct):
    """What was served to the gateway."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class _Mock(asyncio.Protocol):
    """One connection; one request at a time."""

    _transport: asyncio.Transport

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._parser = httptools.HttpRequestParser(self)
        self._loop = asyncio.get_running_loop()
        self._gap_s = 0.0
        self._events_left = 0
        self._paused = False
        self._next: asyncio.Handle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has the methods, not the class

    def connection_lost(self, exc: Exception | None) -> None:
        if self._next is not None:
            self._next.cancel()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    # ---- what httptools calls -----------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._url, self._body, self._metered = b"", b"", False

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if value == _KEY:
            self._metered = True

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._url == b"/counts":
            said = msgspec.json.encode(self._counts)
            self._transport.write(_HEAD % (b"application/json", b"content-length: %d" % len(said)) + said)
            return
        stream = calls.stream_asked(self._body)
        if stream is None:
            answer, tokens = _WHOLES[self._counts.calls % len(_WHOLES)]
            self._count(tokens)
            self._transport.write(answer)
            return
        self._gap_s, self._events_left = stream.gap_ms / 1000, stream.events
        self._transport.write(_STREAM_HEAD)
        self._schedule()

    # ---- streams ------------------------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        if self._gap_s:
            self._next = self._loop.call_later(self._gap_s, self._send_event)
        else:
            self._next = self._loop.call_soon(self._send_event)

    def _send_event(self) -> None:
        self._next = None
        if self._paused:
            return
        self._events_left -= 1
        if self._events_left > 0:
            self._transport.write(_CONTENT)
            self._schedule()
        else:
            _, tokens = calls.answer(self._counts.calls)
            self._count(tokens)
            self._transport.write(_chunk(calls.usage_event(tokens)) + b"0\r\n\r\n")

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._events_left > 0 and self._next is None:
            self._schedule()

    def _count(self, output_tokens: int) -> None:
        if self._metered:
            self._counts.calls += 1
            self._counts.input_tokens += calls.INPUT_TOKENS
            self._counts.output_tokens += output_tokens


async def _serve() -> None:
    counts = Counts()
    server = await asyncio.get_running_loop().create_server(lambda: _Mock(counts), "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    end_with_parent()
    uvloop.run(_serve())
