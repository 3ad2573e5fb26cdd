"""The way of one request to one base address with one key.

Works over any `httpx.AsyncBaseTransport`. Our own takes the bytes of a request as they are, so that httpx's types are left out between two
who do not need them: the head of a request is the same for each path and content type, up to the length of its body.
Units: seconds. Errors: `httpx.TransportError`, `TimeoutError`, `OSError`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import httpx
import msgspec

from gateway.roster.keys import UpstreamKey
from gateway.upstream.answer import Headers
from gateway.upstream.exchange import Exchange
from gateway.upstream.outgoing import Outgoing, to_wire_request
from gateway.upstream.transport import PooledTransport

_HEADS_MAX = 256
_AT_ONCE_MAX_BYTES = 32 * 1024
"""A body that a socket's buffer takes in any case."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one attempt may take to connect (or wait for a connection), to its first byte, and in silence after that."""

    connect_s: float
    first_byte_s: float
    idle_s: float


class Parcel(msgspec.Struct, frozen=True):
    """What is posted."""

    path: str
    body: bytes
    content_type: str
    on_sent: Callable[[], None] | None = None
    """Called when the request is written; before it is handed over, where the transport cannot tell."""
    trace: bytes = b""
    """A whole header line more, or none."""


class Line:
    """One key at one address."""

    def __init__(self, transport: httpx.AsyncBaseTransport, key: UpstreamKey, patience: Patience) -> None:
        self._transport = transport
        self._pooled = transport if isinstance(transport, PooledTransport) else None
        self._key = key
        origin = httpx.URL(key.base_url)
        self._origin = (origin.scheme, origin.raw_host, origin.port)
        self._head_of = lru_cache(maxsize=_HEADS_MAX)(self._make_head)
        self._timeouts = {
            "connect": patience.connect_s,
            "read": None if self._pooled is None else patience.idle_s,
            "first_byte": patience.first_byte_s,
            "write": patience.idle_s,
            "pool": patience.connect_s,
        }
        # Our own transport keeps the first byte's deadline itself; beside any other we watch the clock.
        self._first_byte_s = patience.first_byte_s

    def at_once(self, parcel: Parcel) -> Exchange | None:
        """Post a parcel where a connection is free and takes it now; None where that needs a wait (`post` does). Wait for `heard`."""
        if self._pooled is None or len(parcel.body) > _AT_ONCE_MAX_BYTES:
            return None
        return self._pooled.at_once(self._origin, self._outgoing(parcel), self._timeouts)

    def heard(self, exchange: Exchange) -> asyncio.Future[None]:
        """Done when something is heard of what was posted at once: its answer, most of the time."""
        return exchange.heard(self._first_byte_s)

    async def post(self, parcel: Parcel, begun: Exchange | None = None) -> tuple[int, Headers, httpx.AsyncByteStream]:
        """(status, headers, the body to be read); returns when the headers are there. `begun`: it was posted already."""
        if begun is not None:
            try:
                await begun.head(self._first_byte_s)
            except BaseException:
                begun.give_up()
                raise
            return begun.answer.status, begun.answer.headers, begun
        if self._pooled is not None:
            outgoing = self._outgoing(parcel)
            exchange = await self._pooled.exchange(self._origin, outgoing, self._timeouts, parcel.on_sent)
            return exchange.answer.status, exchange.answer.headers, exchange
        request = self._request(parcel.path, parcel.body, parcel.content_type)
        if parcel.trace:
            name, _, value = parcel.trace.strip().partition(b": ")
            request.headers[name.decode("ascii")] = value.decode("ascii")
        if parcel.on_sent is not None:
            parcel.on_sent()
        async with asyncio.timeout(self._first_byte_s):
            response = await self._transport.handle_async_request(request)
        if not isinstance(response.stream, httpx.AsyncByteStream):
            raise TypeError("the transport must answer with an asynchronous stream")
        return response.status_code, response.headers.raw, response.stream

    def _outgoing(self, parcel: Parcel) -> Outgoing:
        body = parcel.body
        head = self._head_of(parcel.path, parcel.content_type)
        length = b"content-length: %d\r\n\r\n" % len(body)
        return Outgoing(b"".join((head, parcel.trace, length, body)), None, len(body), False, True)

    def _make_head(self, path: str, content_type: str) -> bytes:
        """The head of a request without the length of its body; its parts are looked at as those of any request."""
        wire = to_wire_request(self._request(path, b"", content_type)).data
        return wire.removesuffix(b"content-length: 0\r\n\r\n")

    def _request(self, path: str, body: bytes, content_type: str) -> httpx.Request:
        url, secret = httpx.URL(self._key.base_url + path), self._key.secret
        headers = [
            (b"host", url.netloc),
            (b"content-type", content_type.encode("latin-1", "replace")),
            (b"accept", b"application/json, text/event-stream"),
            (b"accept-encoding", b"identity"),
            *([(b"authorization", b"Bearer " + secret.encode("ascii"))] if secret else ()),
            (b"content-length", b"%d" % len(body)),
        ]
        stream = httpx.ByteStream(body)
        return httpx.Request("POST", url, headers=headers, stream=stream, extensions={"timeout": self._timeouts})
