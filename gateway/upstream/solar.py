"""One request to Solar, one answer: the pool of keys, deadlines, and retries of what was never sent.

Units: seconds. Works over any `httpx.AsyncBaseTransport`.
Errors: `UpstreamUnavailable` where no answer came; `UpstreamInterrupted` where one broke off.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress

import httpx
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from gateway.errors import UpstreamInterrupted, UpstreamUnavailable

_PASSED_HEADERS = ("content-type", "openai-processing-ms", "retry-after")
_FINISH_S = 0.2
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class UpstreamAnswer:
    """A status, headers, and a body that is read once. `close` gives the connection back, or cuts it where there is more."""

    def __init__(self, response: httpx.Response, *, idle_timeout_s: float | None, attempts: int) -> None:
        self._response = response
        self._idle_timeout_s = idle_timeout_s
        self._parts: AsyncIterator[bytes] | None = None
        self.status = response.status_code
        self.headers = response.headers
        self.attempts = attempts

    @property
    def is_event_stream(self) -> bool:
        return str(self.headers.get("content-type", "")).startswith("text/event-stream")

    @property
    def passed_headers(self) -> dict[str, str]:
        """The headers that mean something to the client as well."""
        return {name: self.headers[name] for name in _PASSED_HEADERS if name in self.headers}

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises `UpstreamInterrupted` where it breaks off or falls silent for too long."""
        while (part := await self._next()) is not None:
            yield part

    async def read(self, limit_bytes: int) -> tuple[bytes, bytes | None]:
        """(the whole body, None), or, where it is longer than the limit, (what was read, the piece that went over)."""
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
            stream = self._response.stream
            if not isinstance(stream, httpx.AsyncByteStream):
                raise TypeError("the transport must answer with an asynchronous stream")
            self._parts = stream.__aiter__()
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
        with suppress(UpstreamInterrupted, TimeoutError):
            async with asyncio.timeout(_FINISH_S):
                async for _ in self.chunks():
                    continue

    async def close(self) -> None:
        with suppress(httpx.TransportError, OSError):
            await self._response.aclose()


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
        transport_keeps_deadlines: bool = False,
    ) -> None:
        """`transport_keeps_deadlines`: it obeys `read` and `first_byte` itself, so that we need not watch the clock beside it."""
        self._transport = transport
        self._base_url = base_url.rstrip("/")
        self._urls: dict[str, httpx.URL] = {}
        self._keys = itertools.cycle(keys or ("",))
        self._timeouts = {
            "connect": connect_timeout_s,
            "read": idle_timeout_s if transport_keeps_deadlines else None,
            "first_byte": first_byte_timeout_s,
            "write": idle_timeout_s,
            "pool": connect_timeout_s,
        }
        self._first_byte_timeout_s = None if transport_keeps_deadlines else first_byte_timeout_s
        self._idle_timeout_s = None if transport_keeps_deadlines else idle_timeout_s
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

        `on_sent` is called when the request is written, if the transport can tell, and at the latest when it is answered.
        """
        attempts = 1
        try:
            try:
                response = await self._attempt(path, body, content_type, on_sent)
            except _NEVER_SENT:
                if self._connect_attempts <= 1:
                    raise
                # Tenacity keeps the state of a retry in the object: each call needs one of its own.
                async for attempt in self._retrying.copy():
                    with attempt:
                        attempts += 1
                        response = await self._attempt(path, body, content_type, on_sent)
        except (TimeoutError, httpx.ReadTimeout):
            raise UpstreamUnavailable("The model did not answer in time.", status=504) from None
        except _NEVER_SENT:
            raise UpstreamUnavailable("The model cannot be reached.", status=503) from None
        except (httpx.TransportError, OSError):
            raise UpstreamUnavailable("The connection to the model broke.", status=502) from None
        if on_sent is not None:
            on_sent()
        return UpstreamAnswer(response, idle_timeout_s=self._idle_timeout_s, attempts=attempts)

    async def _attempt(
        self, path: str, body: bytes, content_type: str, on_sent: Callable[[], None] | None
    ) -> httpx.Response:
        request = self._request(path, body, content_type)
        if on_sent is not None:
            request.extensions["on_sent"] = on_sent
        if self._first_byte_timeout_s is None:
            return await self._transport.handle_async_request(request)
        async with asyncio.timeout(self._first_byte_timeout_s):
            return await self._transport.handle_async_request(request)

    def _request(self, path: str, body: bytes, content_type: str) -> httpx.Request:
        url = self._urls.get(path)
        if url is None:
            url = self._urls[path] = httpx.URL(self._base_url + path)
        headers = [
            (b"host", url.netloc),
            (b"content-type", content_type.encode("latin-1", "replace")),
            (b"accept", b"application/json, text/event-stream"),
            (b"accept-encoding", b"identity"),
            (b"content-length", b"%d" % len(body)),
        ]
        if key := next(self._keys):
            headers.append((b"authorization", b"Bearer " + key.encode("ascii")))
        stream = httpx.ByteStream(body)
        return httpx.Request("POST", url, headers=headers, stream=stream, extensions={"timeout": self._timeouts})

    async def close(self) -> None:
        await self._transport.aclose()
