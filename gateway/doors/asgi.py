"""The ASGI door of inference: any ASGI server stands behind it.

Bounds: the request body. A hang-up is seen while the body is read, and inside `hang_up_cancels`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from gateway.doors.hang_up import HangUp
from gateway.edge.wire import from_wire_head, to_wire_error, to_wire_error_event
from gateway.errors import GatewayError, InvalidRequest, RequestTooLarge
from gateway.keys.address import NO_PROXIES, Address, Proxies
from gateway.meter.endpoint import Endpoint
from gateway.trip import ClientGone

Receive: TypeAlias = Callable[[], Awaitable[Any]]
Send: TypeAlias = Callable[[Any], Awaitable[None]]


class AsgiDoor:
    """One request of an ASGI server."""

    secret_hash: str | None = None
    whole_body: bytes | None = None
    task: asyncio.Task[None] | None = None

    def __init__(
        self,
        endpoint: Endpoint,
        headers: list[tuple[bytes, bytes]],
        receive: Receive,
        send: Send,
        body_max_bytes: int,
        peer: str | None = None,
        proxies: Proxies = NO_PROXIES,
    ) -> None:
        self.endpoint = endpoint
        self.secret, self.content_type, self.idempotency_key = from_wire_head(headers)
        self._headers = headers
        self._receive = receive
        self._send = send
        self._body_max_bytes = body_max_bytes
        self._peer = peer
        self._proxies = proxies
        self._started = False
        self._put: list[bytes] = []

    @property
    def started(self) -> bool:
        return self._started

    def address(self) -> Address | None:
        return self._proxies.caller_address(self._peer, self._headers)

    def header(self, name: bytes) -> bytes | None:
        return next((value for known, value in self._headers if known == name), None)

    async def read_body(self) -> bytes:
        """The whole body; raises `RequestTooLarge` before reading more than the bound."""
        check_body_headers(self._headers, self._body_max_bytes)
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part = message.get("body", b"")
            size += len(part)
            if size > self._body_max_bytes:
                raise RequestTooLarge(self._body_max_bytes)
            parts.append(part)
            more = message.get("more_body", False)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def start(self, status: int, headers: dict[str, str]) -> None:
        self._started = True
        raw = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    def put(self, data: bytes) -> bool:
        """An ASGI server takes nothing at once: what is put here leaves with `drained`."""
        self._put.append(data)
        return False

    def put_chunk(self, chunk: bytes) -> bool:
        """The frame is the server's own."""
        return False

    async def drained(self) -> None:
        put, self._put = b"".join(self._put), []
        await self.write(put)

    async def write(self, data: bytes) -> None:
        if data:
            await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, last: bytes = b"") -> None:
        await self._send({"type": "http.response.body", "body": last, "more_body": False})

    async def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        """A whole answer."""
        await self.start(status, {**headers, "content-length": str(len(body))})
        await self.end(body)

    async def refuse(self, error: GatewayError, headers: dict[str, str]) -> None:
        body = to_wire_error(error, self.endpoint.wire.name)
        # A body that was not read to its end cannot be told from the next request.
        closing = {"connection": "close"} if isinstance(error, RequestTooLarge) else {}
        await self.answer(error.status, {**headers, "content-type": "application/json", **closing}, body)

    def error_event(self, error: GatewayError) -> bytes:
        return to_wire_error_event(error, self.endpoint.wire.name)

    def hang_up_cancels(self) -> HangUp:
        return HangUp(self._watch)

    def _watch(self, cancel: Callable[[], None]) -> Callable[[], None]:
        watching = asyncio.ensure_future(self._until_gone(cancel))

        def stop() -> None:
            watching.cancel()

        return stop

    async def _until_gone(self, cancel: Callable[[], None]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            continue
        cancel()


def check_body_headers(headers: list[tuple[bytes, bytes]], body_max_bytes: int) -> None:
    """Refuse what need not be read at all: a body that says it is too large, or a compressed one (whose size says nothing)."""
    for name, value in headers:
        if name == b"content-length" and value.isdigit() and int(value) > body_max_bytes:
            raise RequestTooLarge(body_max_bytes)
        if name == b"content-encoding" and value != b"identity":
            raise InvalidRequest("Send the request body uncompressed.")
