"""One connection to an origin.

A connection carries one exchange at a time. It is free again at the moment when the last byte of an answer has come, whether or not
anyone has read it, and it is cut as soon as an exchange ends in any other way: late, cancelled, closed half-read, malformed.
Back-pressure: more than `buffer_max_bytes` unread pause the socket until they are taken (one read of the loop, 256 KiB
with uvloop, may come on top).
Units: bytes, seconds on the loop's clock. Errors go to the exchange that is under way: `httpx.ReadTimeout`, `WriteTimeout`, `ReadError`,
`RemoteProtocolError`.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Protocol, cast

import httpx

from gateway.upstream.answer import Answer, Heads
from gateway.upstream.exchange import Exchange
from gateway.upstream.outgoing import Outgoing


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

    def begin(
        self,
        outgoing: Outgoing,
        new_answer: Callable[[], Answer],
        read_timeout_s: float | None,
        heads: Heads | None = None,
    ) -> Exchange:
        """Write what is known of a request; with the heads that are known, its answer is looked for as a whole one first."""
        exchange = self._exchange = Exchange(self, new_answer, outgoing, read_timeout_s, heads)
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
        elif exchange.is_late(now_s):
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
        if exchange.tap is not None:
            answer = exchange.answer
            if answer.between_chunks and exchange.tap(data):
                answer.silent_bytes = 0
                exchange.fresh = True
                return
        if exchange.heads is not None:
            whole = exchange.whole = exchange.heads.whole_in(data)
            exchange.heads = None
            if whole is not None:
                self._finish(exchange, reusable=whole[0].reusable)
                exchange.wake()
                return
        answer = exchange.answer
        if exchange.sink is not None:
            piece = answer.whole_chunk(data)
            if piece is not None:
                exchange.hand_over(piece)
                return
        try:
            answer.feed(data)
        except httpx.RemoteProtocolError as error:
            self.cut(error)
            return
        if answer.complete:
            self._finish(exchange, reusable=answer.reusable)
        elif answer.buffered_bytes and exchange.sink is not None:
            exchange.hand_over(answer.take())
            return
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
        self._finish(exchange, reusable=exchange.answer.reusable)
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

    def _finish(self, exchange: Exchange, *, reusable: bool) -> None:
        self._exchange = exchange.connection = None
        self.used = True
        if reusable and exchange.keep_alive and exchange.sent and not self.paused_writing:
            if self._paused_reading:
                self.resume_reading()
            self.free_since_s = self.loop.time()
            self._home.take_back(self)
        else:
            self.cut()
