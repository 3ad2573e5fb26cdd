"""An httpx transport for a few origins and very many requests, on asyncio.Protocol and httptools.

Any `httpx.AsyncBaseTransport` can take its place, and the tests run over httpx's own beside it; this one costs under a fiftieth of its CPU
(design.md section 8; `python -m tests.bench.transport`).

When a request may be written twice. A server may close a kept connection at any time (RFC 9112 section 9.3.1, June 2022), perhaps while a
request is on its way to it, and a POST must not be repeated unless it is known that it was not carried out (RFC 9110 section 9.2.2).
What is known:
 - closed before the write, as the kernel tells us in that instant (`Connection.is_quiet`): the connection is not used, the next one is;
 - closed after the write, without a byte of an answer: perhaps only the idle connection was closed, and perhaps the server had carried
   the call out and died. Nobody on this side can tell, and a write that fails may have reached the peer in part.
So by default nothing is ever written twice: the second case is an error (`RemoteProtocolError`, or `ReadError` for a reset), because a
call that fails is better than one that is billed twice. `resend_if_closed_unanswered=True` takes the risk: once, on a fresh connection,
only for a body that was known at once, and only where the closed connection had carried an answer before.

Deadlines come with each request, in `extensions["timeout"]`, in seconds: `connect`, `read` (silence), `write` (the peer takes nothing),
`pool` (waiting for a connection), all as httpx has them, and `first_byte` (from the request to the end of the answer's head, in place of
`read`). A missing or None one never passes. They are looked at every `tick_s`, so they pass that much late at most; only
connecting has an exact one.
Errors: of `httpx.TransportError`, the kind that httpx's own transport raises.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from functools import partial

import httpx

from gateway.upstream.answer import Answer, Heads
from gateway.upstream.exchange import Exchange
from gateway.upstream.outgoing import Outgoing, to_wire_request
from gateway.upstream.pool import Limits, Origin, Pool

Timeouts = Mapping[str, float | None]
OriginKey = tuple[str, bytes, int | None]


class PooledTransport(httpx.AsyncBaseTransport):
    """Belongs to the event loop of its first request."""

    def __init__(
        self,
        *,
        connections_max: int = 100,
        waiting_max: int = 1_000,
        idle_expiry_s: float = 30.0,
        ssl_context: ssl.SSLContext | None = None,
        head_max_bytes: int = 64 * 1024,
        buffer_max_bytes: int = 256 * 1024,
        tick_s: float = 0.1,
        resend_if_closed_unanswered: bool = False,
    ) -> None:
        self._limits = Limits(connections_max, waiting_max, idle_expiry_s, buffer_max_bytes)
        self._ssl_context = ssl_context
        self._heads = Heads()
        self._new_answer = partial(Answer, head_only=False, head_max_bytes=head_max_bytes, heads=self._heads)
        self._tick_s = tick_s
        self._resend_if_closed_unanswered = resend_if_closed_unanswered
        self._pools: dict[OriginKey, Pool] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self.resends_count = 0

    # ---- what there is, for metrics and tests -------------------------------------------------------------------------------

    @property
    def open_connections(self) -> int:
        return sum(pool.open_connections for pool in self._pools.values())

    @property
    def busy_connections(self) -> int:
        return self.open_connections - sum(pool.free_connections for pool in self._pools.values())

    @property
    def waiting_requests(self) -> int:
        return sum(pool.waiting_requests for pool in self._pools.values())

    # ---- a request ----------------------------------------------------------------------------------------------------------

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Returns when the answer's head is there; its stream brings the body, and must be read to its end or closed."""
        url = request.url
        timeouts: Timeouts = request.extensions.get("timeout") or {}
        exchange = await self.exchange((url.scheme, url.raw_host, url.port), to_wire_request(request), timeouts)
        answer = exchange.answer
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=exchange,
            extensions={"http_version": answer.version, "reason_phrase": answer.reason},
        )

    def at_once(self, origin: OriginKey, outgoing: Outgoing, timeouts: Timeouts) -> Exchange | None:
        """Send a request whose body is known, where a free connection takes it at once; None where that needs a wait.

        Wait for `heard`; what is not complete then goes on through `exchange`, which takes an exchange that has begun.
        """
        pool = self._pools.get(origin)
        connection = None if pool is None or self._resend_if_closed_unanswered else pool.take_free()
        if connection is None:
            return None
        return connection.begin(outgoing, self._new_answer, timeouts["read"], self._heads)

    async def exchange(
        self, origin: OriginKey, outgoing: Outgoing, timeouts: Timeouts, on_sent: Callable[[], None] | None = None
    ) -> Exchange:
        """The same without httpx's types around it, for whoever has the bytes of a request and wants those of the answer.

        `on_sent` is called as soon as a connection has taken the request.
        """
        pool, again = self._pools.get(origin) or self._open_pool(origin), False
        new_answer = partial(self._new_answer, head_only=True) if outgoing.head_only else self._new_answer
        while True:
            if again:
                connection = await pool.take_fresh(timeouts.get("connect"), timeouts.get("pool"))
            else:
                connection = pool.take_free() or await pool.take(timeouts.get("connect"), timeouts.get("pool"))
            was_used = connection.used
            exchange = connection.begin(outgoing, new_answer, timeouts.get("read"))
            if on_sent is not None:
                on_sent()
            try:
                if outgoing.pieces is not None or connection.paused_writing:
                    await exchange.send_rest(outgoing, timeouts.get("write"))
                await exchange.head(timeouts.get("first_byte"))
                return exchange
            except (httpx.RemoteProtocolError, httpx.ReadError):
                exchange.give_up()
                unanswered = was_used and outgoing.pieces is None and not exchange.answer.begun
                if again or not (unanswered and self._resend_if_closed_unanswered):
                    raise
            except BaseException:
                exchange.give_up()
                raise
            self.resends_count += 1
            pool, again = self._pools.get(origin) or self._open_pool(origin), True

    async def aclose(self) -> None:
        """Cut all connections; what is under way fails with `httpx.ReadError`, what comes later with `httpx.ConnectError`."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for pool in tuple(self._pools.values()):
            await pool.close()

    # ---- inside -------------------------------------------------------------------------------------------------------------

    def _open_pool(self, origin: OriginKey) -> Pool:
        if self._closed:
            raise httpx.ConnectError("The transport was closed.")
        loop = asyncio.get_running_loop()
        pool = self._pools[origin] = Pool(loop, Origin(*origin), self._limits, self._tls)
        if self._timer is None:
            self._timer = loop.call_later(self._tick_s, self._tick, loop)
        return pool

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        """The one timer: looks at all deadlines, and stops when there are no connections left."""
        now_s = loop.time()
        for origin, pool in tuple(self._pools.items()):
            pool.check(now_s)
            if pool.is_empty:
                del self._pools[origin]
        self._timer = loop.call_later(self._tick_s, self._tick, loop) if self._pools else None

    def _tls(self) -> ssl.SSLContext:
        """Made on first use: reading the certificates takes tens of milliseconds."""
        if self._ssl_context is None:
            self._ssl_context = httpx.create_ssl_context(trust_env=False)
            self._ssl_context.set_alpn_protocols(["http/1.1"])
        return self._ssl_context
