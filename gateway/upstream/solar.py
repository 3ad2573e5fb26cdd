"""One request to Solar, one answer: the pool of keys, deadlines, and retries of what was never sent.

Works over any `httpx.AsyncBaseTransport`. Our own takes the bytes of a request as they are, so that httpx's types are left out between two
who do not need them: the head of a request is the same for each path, content type and key, up to the length of its body.
Units: seconds.
Errors: `UpstreamUnavailable` where no answer came; `UpstreamInterrupted` where one broke off.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from functools import lru_cache

import httpx
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from gateway.errors import UpstreamInterrupted, UpstreamUnavailable
from gateway.upstream.answer import Headers
from gateway.upstream.exchange import Exchange, Sink
from gateway.upstream.outgoing import Outgoing, to_wire_request
from gateway.upstream.transport import PooledTransport

_PASSED_HEADERS = {name.encode(): name for name in ("content-type", "openai-processing-ms", "retry-after")}
_FINISH_S = 0.2
_HEADS_MAX = 256
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class UpstreamAnswer:
    """A status, headers, and a body that is read once. `close` gives the connection back, or cuts it where there is more."""

    __slots__ = (
        "_exchange",
        "_idle_timeout_s",
        "_parts",
        "_stream",
        "attempts",
        "is_event_stream",
        "passed_headers",
        "raw_headers",
        "status",
    )

    def __init__(
        self,
        status: int,
        raw_headers: Headers,
        stream: httpx.AsyncByteStream,
        *,
        idle_timeout_s: float | None,
        attempts: int,
    ) -> None:
        self.status = status
        self.raw_headers = raw_headers
        self.attempts = attempts
        self.is_event_stream = False
        self.passed_headers: dict[str, str] = {}
        """The headers that mean something to the client as well."""
        self._stream = stream
        self._exchange = stream if isinstance(stream, Exchange) else None
        self._parts: AsyncIterator[bytes] | None = None
        self._idle_timeout_s = idle_timeout_s
        for raw_name, value in raw_headers:
            name = _PASSED_HEADERS.get(raw_name.lower())
            if name is not None:
                self.passed_headers[name] = value.decode("latin-1")
                self.is_event_stream = self.is_event_stream or (
                    name == "content-type" and value.startswith(b"text/event-stream")
                )

    @property
    def headers(self) -> httpx.Headers:
        """All of them, to be looked up by name."""
        return httpx.Headers(self.raw_headers)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises `UpstreamInterrupted` where it breaks off or falls silent for too long."""
        while (part := await self._next()) is not None:
            yield part

    async def flow_into(self, sink: Sink) -> bool:
        """Hand the body's pieces to a sink as they come; False at its end, True where the sink wanted no more for now."""
        if self._exchange is not None:
            try:
                return await self._exchange.flow_into(sink)
            except (httpx.TransportError, OSError) as error:
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


class Solar:
    """Upstage's API behind a pool of our keys."""

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        base_url: str,
        keys: Sequence[str],
        *,
        connect_timeout_s: float,
        first_byte_timeout_s: float,
        idle_timeout_s: float,
        connect_attempts: int,
    ) -> None:
        self._transport = transport
        self._pooled = transport if isinstance(transport, PooledTransport) else None
        self._base_url = base_url.rstrip("/")
        origin = httpx.URL(self._base_url)
        self._origin = (origin.scheme, origin.raw_host, origin.port)
        self._head_of = lru_cache(maxsize=_HEADS_MAX)(self._make_head)
        self._keys = itertools.cycle(keys or ("",))
        self._timeouts = {
            "connect": connect_timeout_s,
            "read": None if self._pooled is None else idle_timeout_s,
            "first_byte": first_byte_timeout_s,
            "write": idle_timeout_s,
            "pool": connect_timeout_s,
        }
        # Our own transport keeps these two itself; beside any other we watch the clock.
        self._first_byte_timeout_s = first_byte_timeout_s
        self._idle_timeout_s = idle_timeout_s if self._pooled is None else None
        self._connect_attempts = connect_attempts
        self._retrying = AsyncRetrying(
            retry=retry_if_exception_type(_NEVER_SENT),
            stop=stop_after_attempt(connect_attempts - 1),
            wait=wait_random_exponential(multiplier=0.05, max=1),
            reraise=True,
        )

    async def send(
        self, path: str, body: bytes, content_type: str, on_sent: Callable[[], None] | None = None
    ) -> UpstreamAnswer:
        """POST a body; returns when the answer's headers are there.

        `on_sent` is called when the request is written; before it is handed over, where the transport cannot tell.
        """
        attempts = 1
        try:
            try:
                status, headers, stream = await self._attempt(path, body, content_type, on_sent)
            except _NEVER_SENT:
                if self._connect_attempts <= 1:
                    raise
                # Tenacity keeps the state of a retry in the object: each call needs one of its own.
                async for attempt in self._retrying.copy():
                    with attempt:
                        attempts += 1
                        status, headers, stream = await self._attempt(path, body, content_type, on_sent)
        except (TimeoutError, httpx.ReadTimeout):
            raise UpstreamUnavailable("The model did not answer in time.", status=504) from None
        except _NEVER_SENT:
            raise UpstreamUnavailable("The model cannot be reached.", status=503) from None
        except (httpx.TransportError, OSError):
            raise UpstreamUnavailable("The connection to the model broke.", status=502) from None
        if on_sent is not None:
            on_sent()
        return UpstreamAnswer(status, headers, stream, idle_timeout_s=self._idle_timeout_s, attempts=attempts)

    async def _attempt(
        self, path: str, body: bytes, content_type: str, on_sent: Callable[[], None] | None
    ) -> tuple[int, Headers, httpx.AsyncByteStream]:
        key = next(self._keys)
        if self._pooled is not None:
            head = self._head_of(path, content_type, key) + b"content-length: %d\r\n\r\n" % len(body)
            outgoing = Outgoing(head + body, None, len(body), False, True)
            exchange = await self._pooled.exchange(self._origin, outgoing, self._timeouts, on_sent)
            return exchange.answer.status, exchange.answer.headers, exchange
        request = self._request(path, body, content_type, key)
        if on_sent is not None:
            on_sent()
        async with asyncio.timeout(self._first_byte_timeout_s):
            response = await self._transport.handle_async_request(request)
        if not isinstance(response.stream, httpx.AsyncByteStream):
            raise TypeError("the transport must answer with an asynchronous stream")
        return response.status_code, response.headers.raw, response.stream

    def _make_head(self, path: str, content_type: str, key: str) -> bytes:
        """The head of a request without the length of its body; its parts are looked at as those of any request."""
        wire = to_wire_request(self._request(path, b"", content_type, key)).data
        return wire.removesuffix(b"content-length: 0\r\n\r\n")

    def _request(self, path: str, body: bytes, content_type: str, key: str) -> httpx.Request:
        url = httpx.URL(self._base_url + path)
        headers = [
            (b"host", url.netloc),
            (b"content-type", content_type.encode("latin-1", "replace")),
            (b"accept", b"application/json, text/event-stream"),
            (b"accept-encoding", b"identity"),
            *([(b"authorization", b"Bearer " + key.encode("ascii"))] if key else ()),
            (b"content-length", b"%d" % len(body)),
        ]
        stream = httpx.ByteStream(body)
        return httpx.Request("POST", url, headers=headers, stream=stream, extensions={"timeout": self._timeouts})

    async def close(self) -> None:
        await self._transport.aclose()
