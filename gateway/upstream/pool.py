"""The connections to one origin: kept, bounded, waited for.

Free connections are a stack: the most recent is used first, so that what is not needed grows old and is closed. A request that finds
no free connection opens one; at the bound it waits its turn, first come, first served, and is handed the next connection that is free,
or the place of one that is gone.
Units: seconds on the loop's clock.
Errors: `httpx.ConnectTimeout`, `ConnectError`, `PoolTimeout`, `UnsupportedProtocol`; each says that nothing was sent.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import httpx

from gateway.upstream.connection import Connection
from gateway.upstream.exchange import NEVER_S

_DEFAULT_PORTS = {"http": 80, "https": 443}
_CLOSED = "The transport was closed."


class Origin(NamedTuple):
    """Where connections lead. The tuple of an address's scheme, raw host and port is equal to it, and cheaper to make."""

    scheme: str
    host: bytes
    port: int | None


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of each origin's pool."""

    connections_max: int
    waiting_max: int
    idle_expiry_s: float
    buffer_max_bytes: int


class Pool:
    """Lends connections. It is their `Home`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        origin: Origin,
        limits: Limits,
        tls: Callable[[], ssl.SSLContext],
    ) -> None:
        if origin.scheme not in _DEFAULT_PORTS or not origin.host:
            raise httpx.UnsupportedProtocol(
                f"Only http:// and https:// addresses can be called, not {origin.scheme!r}."
            )
        self._loop = loop
        self._host = origin.host.decode("ascii")
        self._port = origin.port or _DEFAULT_PORTS[origin.scheme]
        self._limits = limits
        self._tls = tls if origin.scheme == "https" else None
        self._closed = False
        self._places = 0
        """Places taken: by open connections, and by those being opened."""
        self._open: set[Connection] = set()
        self._free: list[Connection] = []
        self._turns: dict[asyncio.Future[Connection | None], float] = {}
        """Who waits, in order, and until when. A turn brings a free connection, or (None) a place to open one in."""
        self.connects_count = 0

    @property
    def open_connections(self) -> int:
        return len(self._open)

    @property
    def free_connections(self) -> int:
        return len(self._free)

    @property
    def waiting_requests(self) -> int:
        return len(self._turns)

    @property
    def is_empty(self) -> bool:
        return not self._places and not self._turns

    # ---- lending ------------------------------------------------------------------------------------------------------------

    def take_free(self) -> Connection | None:
        """A connection at once, or None."""
        while self._free:
            connection = self._free.pop()
            if connection.is_quiet():
                return connection
            connection.cut()
        return None

    async def take(self, connect_timeout_s: float | None, pool_timeout_s: float | None) -> Connection:
        """A free connection, or a fresh one."""
        deadline_s = NEVER_S if pool_timeout_s is None else self._loop.time() + pool_timeout_s
        while not self._closed:
            connection = self.take_free()
            if connection is not None:
                return connection
            if self._places < self._limits.connections_max:
                self._places += 1
                return await self._connect(connect_timeout_s)
            connection = await self._turn(deadline_s)
            if connection is None:
                return await self._connect(connect_timeout_s)
            if connection.is_quiet():
                return connection
            connection.cut()
        raise httpx.ConnectError(_CLOSED)

    async def take_fresh(self, connect_timeout_s: float | None, pool_timeout_s: float | None) -> Connection:
        """A connection that has carried nothing yet; every free one is given up for it, since they may all be stale."""
        while self._free:
            self._free.pop().cut()
        connection = await self.take(connect_timeout_s, pool_timeout_s)
        if connection.used:
            connection.cut()
            raise httpx.ConnectError("There was no place for a fresh connection.")
        return connection

    async def _connect(self, timeout_s: float | None) -> Connection:
        """Open a connection in a place that is ours; the place is given on if that fails."""
        connected = False
        try:
            connection = await self._open_socket(timeout_s)
            if self._closed or connection.is_closing():
                connection.cut()
                raise httpx.ConnectError("The connection was closed before anything was sent.")
            connected = True
        finally:
            if not connected:
                self._give_place_on()
        self._open.add(connection)
        self.connects_count += 1
        return connection

    async def _open_socket(self, timeout_s: float | None) -> Connection:
        host, port = self._host, self._port
        try:
            async with asyncio.timeout(timeout_s):
                _, connection = await self._loop.create_connection(
                    lambda: Connection(self._loop, self, buffer_max_bytes=self._limits.buffer_max_bytes),
                    host,
                    port,
                    ssl=None if self._tls is None else self._tls(),
                    server_hostname=None if self._tls is None else host,
                )
        except TimeoutError as error:
            raise httpx.ConnectTimeout(f"No connection to {host}:{port} within {timeout_s} s.") from error
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError(f"No connection to {host}:{port}: {error}") from error
        return connection

    async def _turn(self, deadline_s: float) -> Connection | None:
        if len(self._turns) >= self._limits.waiting_max:
            raise httpx.PoolTimeout(f"{len(self._turns)} requests wait for a connection already.")
        turn: asyncio.Future[Connection | None] = self._loop.create_future()
        self._turns[turn] = deadline_s
        try:
            return await turn
        except BaseException:
            # Cancelled after the turn had come: what it brought goes to the next.
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                brought = turn.result()
                if brought is None:
                    self._give_place_on()
                else:
                    self.take_back(brought)
            raise
        finally:
            self._turns.pop(turn, None)

    # ---- getting back -------------------------------------------------------------------------------------------------------

    def take_back(self, connection: Connection) -> None:
        if connection not in self._open:
            return
        turn = self._next_turn() if self._turns else None
        if turn is not None:
            turn.set_result(connection)
        else:
            self._free.append(connection)

    def forget(self, connection: Connection) -> None:
        if connection in self._open:
            self._open.remove(connection)
            if connection in self._free:
                self._free.remove(connection)
            self._give_place_on()

    def _give_place_on(self) -> None:
        turn = self._next_turn()
        if turn is not None:
            turn.set_result(None)
        else:
            self._places -= 1

    def _next_turn(self) -> asyncio.Future[Connection | None] | None:
        return next((turn for turn in self._turns if not turn.done()), None)

    # ---- time and end -------------------------------------------------------------------------------------------------------

    def check(self, now_s: float) -> None:
        """Called every now and then: cut what is late, close what is not needed."""
        for connection in tuple(self._open):
            connection.check(now_s, self._limits.idle_expiry_s)
        for turn, deadline_s in self._turns.items():
            if now_s >= deadline_s and not turn.done():
                turn.set_exception(httpx.PoolTimeout("No connection was free in time."))

    async def close(self) -> None:
        """Cut everything, and return when the loop has closed the sockets."""
        self._closed = True
        for turn in self._turns:
            if not turn.done():
                turn.set_exception(httpx.ConnectError(_CLOSED))
        connections = tuple(self._open)
        for connection in connections:
            connection.cut()
        for connection in connections:
            await connection.lost()
