"""An answer piece by piece. The connection ends with the stream, however it ends.

    with client.chat("...", stream=True) as stream:             async with await client.chat("...", stream=True) as stream:
        for piece in stream: ...                                    async for piece in stream: ...
    stream.reply                                                stream.reply

`events()` gives the events as they came, decoded, instead of the pieces of text. Closed on: the end, an error, `close()`, leaving `with`,
and when nobody holds the stream any more. The first bytes have already come when a stream exists; up to then the call may be retried,
afterwards never. Units: pieces of text as they came. Raises the errors of the tree; what came before an error comes out first.
"""

import weakref
from collections import deque
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

from ..core.call import Call
from ..core.wire import Json
from ..errors import SolarError, StreamInterruptedError, TransportError
from .exchange import AsyncExchange, Exchange

_T = TypeVar("_T")


class _Progress(Generic[_T]):
    """What both forms of a stream know, without I/O."""

    def __init__(self, call: Call[_T], exchange: Exchange | AsyncExchange, first: bytes) -> None:
        self.call = call
        self.response = exchange.response
        self.fold = call.begin_stream(exchange.response)
        self.fold.feed(first)
        self.reply: _T | None = None
        self.closed = False

    def take(self) -> tuple[Json, str] | None:
        """The next event and its text; None where bytes are needed, or where the stream is over."""
        try:
            taken = self.fold.take()
        except SolarError as error:
            self.call.known(error, self.response)
            raise
        if taken is None and self.fold.done and self.reply is None:
            self.reply = self.call.end_stream(self.fold, self.response)
        return taken

    @property
    def call_id(self) -> str | None:
        call_id: str | None = self.response.headers.get("x-request-id")
        return call_id

    def finished_reply(self) -> _T:
        if self.reply is None:
            raise StreamInterruptedError(
                "The stream was not read to its end, so there is no reply.",
                code="stream_unfinished",
                call_id=self.call_id,
            )
        return self.reply


class Stream(Generic[_T]):
    """Iterate for pieces of text; then `reply` is the whole answer with usage and cost."""

    def __init__(self, exchange: Exchange, first: bytes, abandoned: "deque[Exchange]", drain: bool) -> None:
        self._exchange = exchange
        self._drain = drain
        self._progress: _Progress[_T] = _Progress(exchange.call, exchange, first)
        self._finalizer = weakref.finalize(self, _abandon, exchange, abandoned)
        self._finalizer.atexit = False

    @property
    def reply(self) -> _T:
        """The final answer; raises StreamInterruptedError unless the stream was read to its end."""
        return self._progress.finished_reply()

    @property
    def call_id(self) -> str | None:
        return self._progress.call_id

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        while (taken := self._next()) is not None:
            if taken[1]:
                return taken[1]
        raise StopIteration

    def events(self) -> Iterator[Json]:
        """The events as they came, decoded: of a chat its chunks, of a response its typed events."""
        while (taken := self._next()) is not None:
            yield taken[0]

    def _next(self) -> tuple[Json, str] | None:
        while not self._progress.closed:
            try:
                taken = self._progress.take()
                if taken is not None:
                    return taken
                if self._progress.reply is not None:
                    self._end(whole=True)
                else:
                    self._progress.fold.feed(self._exchange.read())
            except TransportError as error:
                interrupted = self._progress.call.interrupted(error)
                self._end(interrupted)
                raise interrupted from error
            except SolarError as error:
                self._end(error)
                raise
        return None

    def close(self) -> None:
        """Ends the connection. Safe to repeat."""
        if not self._progress.closed:
            self._end()

    def _end(self, error: SolarError | None = None, whole: bool = False) -> None:
        self._progress.closed = True
        self._finalizer.detach()
        if whole:
            self._exchange.finish(self._drain)
        else:
            self._exchange.close()
        self._progress.call.over(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncStream(Generic[_T]):
    """Iterate with `async for` for pieces of text; then `reply` is the whole answer with usage and cost."""

    def __init__(self, exchange: AsyncExchange, first: bytes) -> None:
        self._exchange = exchange
        self._progress: _Progress[_T] = _Progress(exchange.call, exchange, first)

    @property
    def reply(self) -> _T:
        """The final answer; raises StreamInterruptedError unless the stream was read to its end."""
        return self._progress.finished_reply()

    @property
    def call_id(self) -> str | None:
        return self._progress.call_id

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        while (taken := await self._next()) is not None:
            if taken[1]:
                return taken[1]
        raise StopAsyncIteration

    async def events(self) -> AsyncIterator[Json]:
        """The events as they came, decoded: of a chat its chunks, of a response its typed events."""
        while (taken := await self._next()) is not None:
            yield taken[0]

    async def _next(self) -> tuple[Json, str] | None:
        while not self._progress.closed:
            try:
                taken = self._progress.take()
                if taken is not None:
                    return taken
                if self._progress.reply is not None:
                    await self._end(whole=True)
                else:
                    self._progress.fold.feed(await self._exchange.read())
            except TransportError as error:
                interrupted = self._progress.call.interrupted(error)
                await self._end(interrupted)
                raise interrupted from error
            except SolarError as error:
                await self._end(error)
                raise
        return None

    async def aclose(self) -> None:
        """Ends the connection. Safe to repeat."""
        if not self._progress.closed:
            await self._end()

    async def _end(self, error: SolarError | None = None, whole: bool = False) -> None:
        self._progress.closed = True
        if whole:
            await self._exchange.finish()
        else:
            await self._exchange.close()
        self._progress.call.over(error)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _abandon(exchange: Exchange, abandoned: "deque[Exchange]") -> None:
    # The pool learns of it at the client's next call: its lock must not be taken from a finalizer.
    exchange.hang_up()
    abandoned.append(exchange)
