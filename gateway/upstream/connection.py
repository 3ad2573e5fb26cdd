"""One connection to an origin, and the exchange of one request and its answer over it.

A connection carries one exchange at a time. It is free again at the moment when the last byte of an answer has come, whether or not
anyone has read it, and it is cut as soon as an exchange ends in any other way: late, cancelled, closed half-read, malformed.
Back-pressure both ways: more than `buffer_max_bytes` unread pause the socket until they are taken (one read of the loop, 256 KiB
with uvloop, may come on top), and a writer waits while the peer does not read.
Units: bytes, seconds on the loop's clock. Errors: `httpx.ReadTimeout`, `WriteTimeout`, `ReadError`, `RemoteProtocolError`,
`LocalProtocolError`.
"""

from __future__ import annotations

import asyncio
import math
import select
from typing import Protocol, cast

import httpx

from gateway.upstream.answer import Answer
from gateway.upstream.outgoing import Outgoing, to_wire_end, to_wire_piece

NEVER_S = math.inf


class Home(Protocol):
    """Where a connection belongs."""

    def take_back(self, connection: Connection) -> None:
        """It can carry another exchange."""

    def forget(self, connection: Connection) -> None:
        """It is cut."""


class Connection(asyncio.Protocol):
    """The loop calls what is public in `asyncio.Protocol`; the rest is for the pool and the transport."""

    __slots__ = (
        "_buffer_max_bytes",
        "_exchange",
        "_home",
        "_lost",
        "_paused_reading",
        "_poll",
        "_transport",
        "free_since_s",
        "loop",
        "paused_writing",
        "used",
    )
    _transport: asyncio.Transport
    _poll: select.poll

    def __init__(self, loop: asyncio.AbstractEventLoop, home: Home, *, buffer_max_bytes: int) -> None:
        self.loop = loop
        self.used = False
        """Has it carried an exchange before?"""
        self.free_since_s = loop.time()
        self.paused_writing = False
        self._home = home
        self._buffer_max_bytes = buffer_max_bytes
        self._exchange: Exchange | None = None
        self._paused_reading = False
        self._lost: asyncio.Future[None] = loop.create_future()

    # ---- from the pool and the transport ------------------------------------------------------------------------------------

    def is_quiet(self) -> bool:
        """Is it open, and has the peer neither closed it nor said anything that nobody asked for, seen from this instant?

        The loop may not have looked at the socket yet, so this asks the kernel (under 1 µs). What was closed before a request is
        written is found here, so that no request has to be written twice for it.
        """
        return not self._transport.is_closing() and not self._poll.poll(0)

    def begin(self, outgoing: Outgoing, answer: Answer, read_timeout_s: float | None) -> Exchange:
        """Write what is known of a request."""
        exchange = Exchange(self, answer, outgoing, read_timeout_s)
        self._exchange = exchange
        self._transport.write(outgoing.data)
        return exchange

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def resume_reading(self) -> None:
        if self._paused_reading:
            self._paused_reading = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def check(self, now_s: float, idle_expiry_s: float) -> None:
        """Called every now and then: cut what is late, or has been of no use for long."""
        exchange = self._exchange
        if exchange is None:
            if now_s - self.free_since_s >= idle_expiry_s:
                self.cut()
        elif now_s >= exchange.deadline_s:
            self.cut(exchange.late("The deadline passed."))

    def cut(self, error: Exception | None = None) -> None:
        """Close without waiting for anything; an exchange under way fails with `error`."""
        exchange, self._exchange = self._exchange, None
        self._home.forget(self)
        self._transport.abort()
        if exchange is not None:
            exchange.fail(error or httpx.ReadError("The connection was closed."))

    async def lost(self) -> None:
        """Returns when the loop has closed the socket."""
        await asyncio.shield(self._lost)

    # ---- from the loop ------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has the methods, not the class
        self._poll = select.poll()
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            self.cut()  # an answer to nothing: nobody can say what the next one would answer
            return
        answer = exchange.answer
        try:
            answer.feed(data)
        except httpx.RemoteProtocolError as error:
            self.cut(error)
            return
        if answer.complete:
            self._finish(exchange)
        elif answer.buffered_bytes > self._buffer_max_bytes and not self._paused_reading:
            self._paused_reading = True
            self._transport.pause_reading()
        exchange.wake()

    def eof_received(self) -> None:
        exchange = self._exchange
        if exchange is None:
            self.cut()
            return
        try:
            exchange.answer.feed_eof()
        except httpx.RemoteProtocolError as error:
            self.cut(error)
            return
        self._finish(exchange)
        exchange.wake()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._exchange is not None and exc is None:
            self.eof_received()
        else:
            self.cut(httpx.ReadError(f"The connection broke: {exc}"))
        if not self._lost.done():
            self._lost.set_result(None)

    def pause_writing(self) -> None:
        self.paused_writing = True

    def resume_writing(self) -> None:
        self.paused_writing = False
        if self._exchange is not None:
            self._exchange.wake()

    def _finish(self, exchange: Exchange) -> None:
        self._exchange = None
        exchange.detach()
        self.used = True
        if exchange.answer.reusable and exchange.keep_alive and exchange.sent and not self.paused_writing:
            self.resume_reading()
            self.free_since_s = self.loop.time()
            self._home.take_back(self)
        else:
            self.cut()


class Exchange(httpx.AsyncByteStream):
    """A request under way; as a stream, the body of its answer: one piece of bytes for all that came since the last."""

    error: Exception | None = None
    deadline_s = NEVER_S
    late: type[httpx.TimeoutException] = httpx.ReadTimeout
    _waiter: asyncio.Future[None] | None = None

    def __init__(
        self, connection: Connection, answer: Answer, outgoing: Outgoing, read_timeout_s: float | None
    ) -> None:
        self.answer = answer
        self.keep_alive = outgoing.keep_alive
        self.sent = outgoing.pieces is None
        self._connection: Connection | None = connection
        self._loop = connection.loop
        self._read_timeout_s = read_timeout_s

    # ---- from the transport -------------------------------------------------------------------------------------------------

    async def send_rest(self, outgoing: Outgoing, write_timeout_s: float | None) -> None:
        """Send the pieces of the body and wait until the peer takes them; an early answer ends the sending."""
        if outgoing.pieces is not None:
            left_bytes = outgoing.length_bytes
            async for piece in outgoing.pieces:
                if piece:
                    data, left_bytes = to_wire_piece(piece, left_bytes)
                    if not await self._write(data, write_timeout_s):
                        return
            if not await self._write(to_wire_end(left_bytes), write_timeout_s):
                return
            self.sent = True
        await self._write(b"", write_timeout_s)

    async def head(self, first_byte_timeout_s: float | None) -> None:
        """Returns when the head of the answer is there."""
        begun_s = self._loop.time()
        while not self.answer.head_complete:
            if self.error is not None:
                raise self.error
            timeout_s = self._read_timeout_s
            if first_byte_timeout_s is not None:
                timeout_s = begun_s + first_byte_timeout_s - self._loop.time()
            await self._news(timeout_s, httpx.ReadTimeout)

    def give_up(self) -> None:
        """Cut the connection, unless the answer is complete and the connection has gone its way."""
        if self._connection is not None:
            self._connection.cut(httpx.ReadError("The exchange was given up."))

    # ---- from the connection ------------------------------------------------------------------------------------------------

    def detach(self) -> None:
        self._connection = None

    def fail(self, error: Exception) -> None:
        self._connection = None
        self.error = error
        self.wake()

    def wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter, self.deadline_s = None, NEVER_S
            if not waiter.done():
                waiter.set_result(None)

    # ---- the answer's body --------------------------------------------------------------------------------------------------

    def __aiter__(self) -> Exchange:
        return self

    async def __anext__(self) -> bytes:
        answer = self.answer
        while not answer.buffered_bytes:
            if answer.complete:
                raise StopAsyncIteration
            if self.error is not None:
                raise self.error
            try:
                await self._news(self._read_timeout_s, httpx.ReadTimeout)
            except BaseException:
                self.give_up()
                raise
        piece = answer.take()
        if self._connection is not None:
            self._connection.resume_reading()
        return piece

    async def aclose(self) -> None:
        self.give_up()
        if self.answer.buffered_bytes:
            self.answer.take()

    # ---- waiting ------------------------------------------------------------------------------------------------------------

    async def _write(self, data: bytes, write_timeout_s: float | None) -> bool:
        """False where there is no use in writing more: the answer is there, or the connection is not."""
        while not self.answer.head_complete and self.error is None and self._connection is not None:
            if not self._connection.paused_writing:
                self._connection.write(data)
                return True
            await self._news(write_timeout_s, httpx.WriteTimeout)
        return False

    def _news(self, timeout_s: float | None, late: type[httpx.TimeoutException]) -> asyncio.Future[None]:
        """Done when anything happens to this exchange. Who is cancelled while waiting for it must give the exchange up."""
        if timeout_s is not None:
            self.deadline_s, self.late = self._loop.time() + timeout_s, late
        self._waiter = self._loop.create_future()
        return self._waiter
