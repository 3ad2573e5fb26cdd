"""One metered request of the fast door, from its headers to the last byte of its answer. In place of uvicorn's `RequestResponseCycle`.

Source of the attributes that a cycle must have: uvicorn 0.54, protocols/http/httptools_impl.py (2026-11).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar, Protocol

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from gateway.doors.asgi import check_body_headers
from gateway.doors.hang_up import HangUp
from gateway.doors.head import RequestHead
from gateway.edge.wire import to_wire_error, to_wire_error_event
from gateway.errors import GatewayError, RequestTooLarge
from gateway.journey import Journey
from gateway.keys.address import Address, Proxies
from gateway.trip import ClientGone

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CHUNKED = b"transfer-encoding: chunked\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"
_LINE = ": ".join
"""Of a name and a value; any formatting of text takes four times as long."""
_JSON = {"content-type": "application/json"}


class Wire(Protocol):
    """The connection that a request came by (`InferenceProtocol`)."""

    journey: Journey
    body_max_bytes: int
    proxies: Proxies
    leaving: ClassVar[bool]
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    flow: FlowControl
    tasks: set[asyncio.Task[None]]
    client: tuple[str, int] | None

    def default_lines(self) -> bytes: ...
    def on_response_complete(self) -> None: ...


class InferenceCycle:
    """A `Door`, and a cycle as uvicorn's protocol knows them."""

    task: asyncio.Task[None] | None = None
    started = False
    _head: bytes | None = None
    _chunked = False
    _cancel: Callable[[], None] | None = None
    # What uvicorn's protocol looks for in a cycle, and writes into it:
    disconnected = False
    response_complete = False
    more_body = False

    def __init__(self, wire: Wire, head: RequestHead, whole_body: bytes | None = None) -> None:
        self.head = head
        self.endpoint, self.secret, self.content_type = head.endpoint, head.secret, head.content_type
        self.idempotency_key, self.secret_hash = head.idempotency_key, head.secret_hash
        self.keep_alive = head.keep_alive
        self.whole_body = whole_body
        self._wire = wire
        self._transport: asyncio.Transport = wire.transport
        self._flow: FlowControl = wire.flow
        if whole_body is None:
            self.more_body, self.body, self.message_event = True, bytearray(), _Bell()
        else:
            self.message_event = _UNHEARD

    def begin(self) -> None:
        """Carry the call in a task, for which the server waits when it stops."""
        wire = self._wire
        self.task = task = wire.loop.create_task(wire.journey.carry(self))
        wire.tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """The call was carried: where that went wrong, the client is told so once, or is left without an end."""
        self._wire.tasks.discard(task)
        if self.response_complete:
            return
        if not self.started and not self.disconnected:
            error = GatewayError("Something went wrong inside the gateway. It has been logged.")
            self._answer(error.status, _JSON, to_wire_error(error, self.endpoint.wire.name))
        else:
            self._transport.close()

    # ---- the request --------------------------------------------------------------------------------------------------------

    def address(self) -> Address | None:
        peer = self._wire.client
        return self._wire.proxies.caller_address(peer[0] if peer else None, self.head.headers)

    def header(self, name: bytes) -> bytes | None:
        return next((value for known, value in self.head.headers if known == name), None)

    async def read_body(self) -> bytes:
        """The whole body; raises `RequestTooLarge` before holding more than the bound and one read."""
        if self.whole_body is not None:
            return self.whole_body
        body_max_bytes = self._wire.body_max_bytes
        check_body_headers(self.head.headers, body_max_bytes)
        if self.head.expects_100:
            self._transport.write(_CONTINUE)
        while self.more_body:
            self._flow.resume_reading()
            await self.message_event.wait()
            if self.disconnected:
                raise ClientGone
            if len(self.body) > body_max_bytes:
                raise RequestTooLarge(body_max_bytes)
        return bytes(self.body)

    def hang_up(self) -> None:
        """The client is gone."""
        self.disconnected = True
        if self._cancel is not None:
            self._cancel()

    def hang_up_cancels(self) -> HangUp:
        return HangUp(self._watch)

    def _watch(self, cancel: Callable[[], None]) -> Callable[[], None]:
        self._cancel = cancel
        if self.disconnected:
            cancel()
        return self._stop_watching

    def _stop_watching(self) -> None:
        self._cancel = None

    # ---- the answer ---------------------------------------------------------------------------------------------------------

    async def start(self, status: int, headers: dict[str, str]) -> None:
        """The head; it leaves with the first byte of the body where the length is known, else at once."""
        self._chunked = "content-length" not in headers
        head = self._to_wire_head(status, headers, _CHUNKED if self._chunked else b"\r\n")
        if self._chunked:
            self._send(head)
        else:
            self._head = head

    def _to_wire_head(self, status: int, headers: dict[str, str], end: bytes) -> bytes:
        self.started = True
        lines = "\r\n".join([*map(_LINE, headers.items()), ""])
        if self._wire.leaving:
            self.keep_alive = False
        if "connection" in headers:
            self.keep_alive = False
        elif not self.keep_alive:
            lines += "connection: close\r\n"
        return STATUS_LINE[status] + self._wire.default_lines() + lines.encode("latin-1", "replace") + end

    async def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        """A whole answer, in one write."""
        if self._flow.write_paused:
            await self.drained()
        self._answer(status, headers, body)

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        head = self._to_wire_head(status, headers, b"content-length: %d\r\n\r\n" % len(body))
        if not self.disconnected and not self._transport.is_closing():
            self._transport.write(head + body)
        self._complete()

    def put(self, data: bytes) -> bool:
        """Write at once; False where the client is slow, so that `drained` should be awaited before more."""
        if self.disconnected:
            return True
        if not self._transport.is_closing():
            self._transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        return not self._flow.write_paused

    def put_chunk(self, chunk: bytes) -> bool:
        """A chunk that upstream sent is a chunk for the client, where it can be written at once."""
        if not self._chunked or self._flow.write_paused or self.disconnected or self._transport.is_closing():
            return False
        self._transport.write(chunk)
        return True

    async def drained(self) -> None:
        """Until the client has read most of what was written, or is gone."""
        if self._flow.write_paused and not self.disconnected:
            await self._flow.drain()

    async def write(self, data: bytes) -> None:
        if data:
            await self.drained()
            self._send(self._take_head() + self._framed(data))

    async def end(self, last: bytes = b"") -> None:
        await self.drained()
        self._send(self._take_head() + self._framed(last) + (_LAST_CHUNK if self._chunked else b""))
        self._complete()

    def _complete(self) -> None:
        self.response_complete = True
        if self.disconnected:
            return
        if not self.keep_alive:
            self._transport.close()
        self._wire.on_response_complete()

    async def refuse(self, error: GatewayError, headers: dict[str, str]) -> None:
        body = to_wire_error(error, self.endpoint.wire.name)
        closing = {"connection": "close"} if isinstance(error, RequestTooLarge) else {}
        await self.answer(error.status, {**headers, **_JSON, **closing}, body)

    def error_event(self, error: GatewayError) -> bytes:
        return to_wire_error_event(error, self.endpoint.wire.name)

    def _framed(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked and data else data

    def _send(self, data: bytes) -> None:
        if not self.disconnected and not self._transport.is_closing():
            self._transport.write(data)

    def _take_head(self) -> bytes:
        head, self._head = self._head, None
        return head or b""


class _Bell:
    """What a cycle needs of an `asyncio.Event`: it is rung by the protocol, for the one who waits."""

    __slots__ = ("_rung", "_waiter")

    def __init__(self) -> None:
        self._rung = False
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        self._rung = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> None:
        """Until it has been rung since the last waiting."""
        if not self._rung:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        self._rung, self._waiter = False, None


_UNHEARD = _Bell()
"""Of all whose body has come: nobody waits for it."""
