"""One pipelined connection to Redis: what is asked goes out at once, answers come back in order.

redis-py takes 90–200 µs of Python for a round trip; this takes about 10, because it does nothing but write, parse (hiredis, in C) and
resolve a future. It is for the hot path's one script; everything else uses redis-py.
Units: seconds. Errors: `StoreUnavailable` when Redis cannot be reached, breaks the connection, or does not answer in time (whether the
command took effect is then unknown); `redis.exceptions.ResponseError` for what Redis itself refuses.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import hiredis
from redis.asyncio.connection import parse_url
from redis.exceptions import ResponseError

Command = tuple[bytes | str | int, ...]
_SECOND_LOOK_RATIO = 0.1
"""An answer is given up at the second look at it, this part of the timeout after the first."""


class StoreUnavailable(ConnectionError):
    """Redis did not answer."""


class StoreBusy(StoreUnavailable):
    """More waits for Redis than may: the command was not sent."""


def _tls_of(options: Mapping[str, Any]) -> ssl.SSLContext:
    """Whom to trust: those of `?ssl_ca_certs=/path/to/ca.pem` (redis-py's word), else those that this machine trusts."""
    return ssl.create_default_context(cafile=options.get("ssl_ca_certs"))


class Pipe:
    """A connection that is made when it is needed, and made again when it broke. Of one event loop."""

    def __init__(self, url: str, *, timeout_s: float, waiting_max: int, hello: tuple[Command, ...] = ()) -> None:
        options = parse_url(url)
        self._host, self._port = str(options.get("host", "127.0.0.1")), int(options.get("port", 6379))
        self._tls = _tls_of(options) if url.startswith("rediss://") else None
        self._timeout_s = timeout_s
        self._waiting_max = waiting_max
        self._hello = (*_credentials(options), *hello)
        self._link: _Link | None = None
        self._connecting: asyncio.Task[_Link] | None = None

    def ask(self, *command: bytes | str | int) -> asyncio.Future[Any]:
        """Send a command; the future has its reply."""
        link = self._link
        if link is None or link.broken:
            return asyncio.ensure_future(self._ask_when_connected(command))
        return self._ask(link, command)

    def ask_many(self, commands: Sequence[Command]) -> list[asyncio.Future[Any]]:
        """Send commands in one write, one behind the other; each future has its own reply."""
        link = self._link
        if link is None or link.broken or link.waiting_count + len(commands) > self._waiting_max:
            return [self.ask(*command) for command in commands]
        if len(commands) == 1:
            return [link.ask(commands[0])]
        with link.corked():
            return [link.ask(command) for command in commands]

    def ask_behind(self, first: Command, command: Command) -> asyncio.Future[Any]:
        """Send a command directly behind another one, whose reply is nobody's concern."""
        before, sent = self.ask_many([first, command])
        before.add_done_callback(_look_at)
        return sent

    def _ask(self, link: _Link, command: Command) -> asyncio.Future[Any]:
        if link.waiting_count >= self._waiting_max:
            refused: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            refused.set_exception(StoreBusy("too many commands wait for Redis"))
            return refused
        return link.ask(command)

    async def _ask_when_connected(self, command: Command) -> Any:
        if self._connecting is None:
            self._connecting = asyncio.ensure_future(self._connect())
            self._connecting.add_done_callback(self._connected)
        link = await asyncio.shield(self._connecting)
        return await self._ask(link, command)

    def _connected(self, done: asyncio.Task[_Link]) -> None:
        self._connecting = None
        if not done.cancelled() and done.exception() is None:
            self._link = done.result()

    async def _connect(self) -> _Link:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout_s):
                _, link = await loop.create_connection(
                    lambda: _Link(self._timeout_s), self._host, self._port, ssl=self._tls
                )
                for command in self._hello:
                    await link.ask(command)
        except (OSError, TimeoutError, ResponseError) as error:
            raise StoreUnavailable(type(error).__name__) from None
        return link

    async def close(self) -> None:
        """Wait for the answers that are due, then hang up."""
        if self._connecting is not None:
            await asyncio.wait([self._connecting], timeout=self._timeout_s)
            await asyncio.sleep(0)  # those who waited for the connection ask now
        if self._link is not None:
            await self._link.finish()
            self._link = None


class _Link(asyncio.Protocol):
    """One TCP connection and the futures that wait on it, in order."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._reader = hiredis.Reader(replyError=_refusal_of)
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._loop = asyncio.get_running_loop()
        self._watch: asyncio.TimerHandle | None = None
        self._overdue: tuple[float, asyncio.Future[Any]] | None = None
        self._corked: list[bytes] | None = None
        self.broken = False

    @property
    def waiting_count(self) -> int:
        return len(self._waiting)

    def ask(self, command: Command) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._loop.create_future()
        if self.broken:
            future.set_exception(StoreUnavailable("the connection to Redis broke"))
            return future
        first_look_s = self._timeout_s * (1 - _SECOND_LOOK_RATIO)
        self._waiting.append((self._loop.time() + first_look_s, future))
        if self._watch is None:
            self._watch = self._loop.call_later(first_look_s, self._look_at_oldest)
        packed = hiredis.pack_command(command)  # type: ignore[arg-type]
        if self._corked is None:
            self._transport.write(packed)
        else:
            self._corked.append(packed)
        return future

    @contextmanager
    def corked(self) -> Iterator[None]:
        """What is asked inside leaves together."""
        self._corked = []
        try:
            yield
        finally:
            packed, self._corked = self._corked, None
            self._transport.write(b"".join(packed))

    async def finish(self) -> None:
        due = [future for _, future in self._waiting]
        if due:
            await asyncio.wait(due, timeout=self._timeout_s)
        self._break()

    # ---- the protocol's side ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while True:
            try:
                reply = self._reader.gets()
            except hiredis.ProtocolError:
                self._break()
                return
            if reply is False:
                return
            _, future = self._waiting.popleft()
            if future.done():
                continue
            if isinstance(reply, ResponseError):
                future.set_exception(reply)
            else:
                future.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self._break()

    def _look_at_oldest(self) -> None:
        """One timer for all: an answer that is overdue breaks the connection, since those behind it would wait as well."""
        self._watch = None
        if not self._waiting:
            return
        oldest = self._waiting[0]
        left_s = oldest[0] - self._loop.time()
        if left_s <= 0 and oldest is self._overdue:
            self._break()
            return
        # Perhaps it was we who were slow, and the answer lies in the socket: look at that first, and then again.
        self._overdue = oldest if left_s <= 0 else None
        self._watch = self._loop.call_later(max(left_s, self._timeout_s * _SECOND_LOOK_RATIO), self._look_at_oldest)

    def _break(self) -> None:
        if self.broken:
            return
        self.broken = True
        if self._watch is not None:
            self._watch.cancel()
        self._transport.abort()
        waiting, self._waiting = self._waiting, deque()
        for _, future in waiting:
            if not future.done():
                future.set_exception(StoreUnavailable("the connection to Redis broke"))
                future.exception()  # an asker that is gone is no error of ours


def _look_at(done: asyncio.Future[Any]) -> None:
    """An error that nobody waits for is no error of ours."""
    if not done.cancelled():
        done.exception()


def _refusal_of(text: str) -> ResponseError:
    return ResponseError(text)


def _credentials(options: Any) -> tuple[Command, ...]:
    """AUTH and SELECT, as far as the URL names them."""
    hello: list[Command] = []
    password, user, database = options.get("password"), options.get("username"), int(options.get("db", 0))
    if password:
        hello.append(("AUTH", user, password) if user else ("AUTH", password))
    if database:
        hello.append(("SELECT", database))
    return tuple(hello)
