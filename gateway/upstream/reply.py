"""The answer of one attempt: a status, headers, and a body that is read once, piece by piece, whole, or straight into a sink.

Units: bytes, seconds. Errors: `UpstreamInterrupted` where the body breaks off or falls silent for too long.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import NamedTuple

import httpx

from gateway.errors import UpstreamInterrupted
from gateway.fleet.member import Seat
from gateway.upstream.answer import Headers, KnownHead
from gateway.upstream.exchange import Exchange, Sink

_PASSED_HEADERS = {name.encode(): name for name in ("content-type", "openai-processing-ms", "retry-after")}
_FINISH_S = 0.2


class Passed(NamedTuple):
    """What an answer's headers mean to the client."""

    headers: dict[str, str]
    is_event_stream: bool


def passed_of(raw_headers: Headers) -> Passed:
    """The headers that go on to the client, and whether events follow."""
    headers = {
        name: value.decode("latin-1")
        for raw_name, value in raw_headers
        if (name := _PASSED_HEADERS.get(raw_name.lower())) is not None
    }
    return Passed(headers, headers.get("content-type", "").startswith("text/event-stream"))


class UpstreamAnswer:
    """A status, headers, and a body that is read once. `close` gives the connection back, or cuts it where there is more."""

    whole: bytes | None = None
    """Its body, where that is here already; then there is nothing to be read or closed (`WholeAnswer`)."""
    is_event_stream = False

    def __init__(
        self,
        status: int,
        raw_headers: Headers,
        stream: httpx.AsyncByteStream,
        seat: Seat,
        *,
        idle_timeout_s: float | None,
        attempts: int,
    ) -> None:
        self.status = status
        self.raw_headers = raw_headers
        self.seat = seat
        """The key that answered, as the fleet keeps it."""
        self.attempts = attempts
        self._stream = stream
        self._exchange = stream if isinstance(stream, Exchange) else None
        self._parts: AsyncIterator[bytes] | None = None
        self._idle_timeout_s = idle_timeout_s
        passed = passed_of(raw_headers)
        self.passed_headers = passed.headers
        """The headers that mean something to the client as well; to be copied, not changed."""
        self.is_event_stream = passed.is_event_stream

    def all_headers(self) -> httpx.Headers:
        """To be looked up by name."""
        return httpx.Headers(self.raw_headers)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises `UpstreamInterrupted` where it breaks off or falls silent for too long."""
        while (part := await self._next()) is not None:
            yield part

    async def flow_into(self, sink: Sink, tap: Sink | None = None) -> bool:
        """Hand the body's pieces to a sink as they come; False at its end, True where the sink wanted no more for now.

        A tap is offered whole chunks before, frame and all, where our own transport brings them.
        """
        if self._exchange is not None:
            try:
                return await self._exchange.flow_into(sink, tap)
            except (httpx.TransportError, OSError) as error:
                self.seat.broke_off()
                raise UpstreamInterrupted from error
        while (part := await self._next()) is not None:
            if not sink(part):
                return True
        return False

    async def read(self, limit_bytes: int) -> tuple[bytes, bytes | None]:
        """(the whole body, None), or, where it is longer than the limit, (what was read, the piece that went over)."""
        whole = self._exchange.take_whole(limit_bytes) if self._exchange is not None else None
        if whole is not None:
            return whole, None
        parts: list[bytes] = []
        size = 0
        while (part := await self._next()) is not None:
            size += len(part)
            if size > limit_bytes:
                return b"".join(parts), part
            parts.append(part)
        return (parts[0] if len(parts) == 1 else b"".join(parts)), None

    async def _next(self) -> bytes | None:
        """The next piece of the body; None at its end."""
        if self._parts is None:
            self._parts = self._stream.__aiter__()
        try:
            if self._idle_timeout_s is None:
                return await anext(self._parts)
            async with asyncio.timeout(self._idle_timeout_s):
                return await anext(self._parts)
        except StopAsyncIteration:
            return None
        except (httpx.TransportError, TimeoutError, OSError) as error:
            self.seat.broke_off()
            raise UpstreamInterrupted from error

    async def finish(self) -> None:
        """Read what stands behind the end of a stream (its last chunk), so that the connection can be used again."""
        if self._exchange is not None and self._exchange.answer.complete:
            return
        with suppress(UpstreamInterrupted, TimeoutError):
            async with asyncio.timeout(_FINISH_S):
                async for _ in self.chunks():
                    continue

    async def close(self) -> None:
        if self._exchange is not None:
            self._exchange.close()
            return
        with suppress(httpx.TransportError, OSError):
            await self._stream.aclose()


class WholeAnswer(UpstreamAnswer):
    """An answer that came in one read, and whose connection has gone its way: as nearly all that are no streams."""

    def __init__(self, head: KnownHead, body: bytes, seat: Seat, attempts: int) -> None:
        passed = head.notes
        if not isinstance(passed, Passed):
            passed = head.notes = passed_of(head.headers)
        self.status = head.status
        self.raw_headers = head.headers
        self.passed_headers = passed.headers
        self.whole = body
        self.seat = seat
        self.attempts = attempts

    async def read(self, limit_bytes: int) -> tuple[bytes, bytes | None]:
        return self.whole or b"", None

    async def close(self) -> None:
        """The connection carries something else by now."""
