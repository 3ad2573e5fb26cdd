"""The exchange of one request and its answer over a connection: its sending, its waiting, and the body of the answer.

The body can be read in two ways: piece by piece, as any httpx stream, where each piece is all that came since the last; or handed over
straight from the socket (`flow_into`), which saves each piece of a stream the way through a task.
A writer waits while the peer does not read; whoever is cancelled while waiting gives the exchange up.
Units: bytes, seconds on the loop's clock. Errors: `httpx.ReadTimeout`, `WriteTimeout`, `ReadError`, `RemoteProtocolError`,
`LocalProtocolError`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from functools import cached_property
from typing import Protocol

import httpx

from gateway.upstream.answer import Answer, Heads, KnownHead
from gateway.upstream.outgoing import Outgoing, to_wire_end, to_wire_piece

NEVER_S = math.inf

Sink = Callable[[bytes], bool]
"""Takes a piece of a body at once; False where it wants no more for now."""


class Carrier(Protocol):
    """The connection that carries an exchange."""

    loop: asyncio.AbstractEventLoop
    paused_writing: bool

    def write(self, data: bytes) -> None: ...
    def resume_reading(self) -> None: ...
    def cut(self, error: Exception | None = None) -> None: ...


class Exchange(httpx.AsyncByteStream):
    """A request under way; as a stream, the body of its answer: one piece of bytes for all that came since the last."""

    error: Exception | None = None
    deadline_s = NEVER_S
    late: type[httpx.TimeoutException] = httpx.ReadTimeout
    sink: Sink | None = None
    """Who takes the body's pieces straight from the socket, while `flow_into` waits."""
    tap: Sink | None = None
    """Who is offered each read before that, frame and all, where it may be one chunk; False where nothing of it was taken."""
    fresh = False
    """Has the tap taken anything since the deadline was last looked at?"""
    _waiter: asyncio.Future[None] | None = None
    _begun_s = 0.0
    """Since when the head of the answer is waited for; 0 = not yet."""
    whole: tuple[KnownHead, bytes] | None = None
    """The answer, where all of it came in one read behind a head that is known. Then the connection has gone its way already."""

    def __init__(
        self,
        connection: Carrier,
        new_answer: Callable[[], Answer],
        outgoing: Outgoing,
        read_timeout_s: float | None,
        heads: Heads | None = None,
    ) -> None:
        self.heads = heads
        """To look for a whole answer in what comes first; None once that was done, and where it is not to be done."""
        self._new_answer = new_answer
        self.keep_alive = outgoing.keep_alive
        self.sent = outgoing.pieces is None
        self.connection: Carrier | None = connection
        """None once the connection has gone its way."""
        self._loop = connection.loop
        self._read_timeout_s = read_timeout_s

    @cached_property
    def answer(self) -> Answer:
        """What has come so far; made when it is needed, which it is not for a `whole` one."""
        return self._new_answer()

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

    def heard(self, first_byte_timeout_s: float | None) -> asyncio.Future[None]:
        """Done when anything is heard of the answer: nearly always, all of it. Who is cancelled while waiting must `give_up`."""
        self._begun_s = now_s = self._loop.time()
        timeout_s = self._read_timeout_s if first_byte_timeout_s is None else first_byte_timeout_s
        if timeout_s is not None:
            self.deadline_s = now_s + timeout_s
        waiter = self._waiter = self._loop.create_future()
        return waiter

    async def head(self, first_byte_timeout_s: float | None) -> None:
        """Returns when the head of the answer is there."""
        timeout_s = self._read_timeout_s
        while not self.answer.head_complete:
            if self.error is not None:
                raise self.error
            if first_byte_timeout_s is not None:
                self._begun_s = self._begun_s or self._loop.time()
                timeout_s = self._begun_s + first_byte_timeout_s - self._loop.time()
            await self._news(timeout_s, httpx.ReadTimeout)

    def give_up(self) -> None:
        """Cut the connection, unless the answer is complete and the connection has gone its way."""
        if self.connection is not None:
            self.connection.cut(httpx.ReadError("The exchange was given up."))

    # ---- from the connection ------------------------------------------------------------------------------------------------

    def fail(self, error: Exception) -> None:
        self.connection = None
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
        return self._take()

    def _take(self) -> bytes:
        piece = self.answer.take()
        if self.connection is not None:
            self.connection.resume_reading()
        return piece

    def take_whole(self, limit_bytes: int) -> bytes | None:
        """The body, where all of it has come already and is not larger than the limit."""
        answer = self.answer
        return answer.take() if answer.complete and answer.buffered_bytes <= limit_bytes else None

    async def flow_into(self, sink: Sink, tap: Sink | None = None) -> bool:
        """Hand the body's pieces to a sink as they come, straight from the socket; False at the body's end.

        True where the sink wanted no more for now. What comes until the next call is kept, within the buffer's bound. A tap may take
        whole chunks before they come to the sink. Neither may raise: the loop that calls them could only cut the connection.
        """
        answer = self.answer
        self.sink, self.tap = sink, tap
        try:
            while True:
                if answer.buffered_bytes and not sink(self._take()):
                    return True
                if answer.complete:
                    return False
                if self.error is not None:
                    raise self.error
                await self._news(self._read_timeout_s, httpx.ReadTimeout)
                if self.sink is None:
                    return True
        except BaseException:
            self.give_up()
            raise
        finally:
            self.sink = self.tap = None

    def hand_over(self, piece: bytes) -> None:
        """Give the sink what has come; where it wants no more, whoever waits in `flow_into` goes on."""
        if self.sink is None or not self.sink(piece):
            self.sink = self.tap = None
            self.wake()
        elif self._read_timeout_s is not None:
            self.deadline_s = self._loop.time() + self._read_timeout_s

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back; cut it, where there is more of the answer to come."""
        self.give_up()
        if self.whole is None and self.answer.buffered_bytes:
            self.answer.take()

    def is_late(self, now_s: float) -> bool:
        """Has the deadline passed? What the tap has taken moves it on when somebody asks, and not with each read."""
        if self.fresh:
            self.fresh = False
            if self._read_timeout_s is not None:
                self.deadline_s = now_s + self._read_timeout_s
        return now_s >= self.deadline_s

    # ---- waiting ------------------------------------------------------------------------------------------------------------

    async def _write(self, data: bytes, write_timeout_s: float | None) -> bool:
        """False where there is no use in writing more: the answer is there, or the connection is not."""
        while not self.answer.head_complete and self.error is None and self.connection is not None:
            if not self.connection.paused_writing:
                self.connection.write(data)
                return True
            await self._news(write_timeout_s, httpx.WriteTimeout)
        return False

    def _news(self, timeout_s: float | None, late: type[httpx.TimeoutException]) -> asyncio.Future[None]:
        """Done when anything happens to this exchange. Who is cancelled while waiting for it must give the exchange up."""
        if timeout_s is not None:
            self.deadline_s, self.late = self._loop.time() + timeout_s, late
        self._waiter = self._loop.create_future()
        return self._waiter
