"""The fast door: inference calls are taken off in the server's protocol class, before ASGI; everything else goes on to Litestar.

uvicorn's ASGI cycle costs about 80 of the 96 µs that a Litestar route costs here (design.md section 8, 2026-11). `InferenceProtocol` keeps
all that uvicorn does for a connection (parsing, pipelining, keep-alive and its timer, shutdown, flow control), and puts an
`InferenceCycle` where uvicorn would put its ASGI cycle. That cycle is a `Door`: the same journey walks through it.
Source of the attributes that a cycle must have: uvicorn 0.54, protocols/http/httptools_impl.py (2026-11).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gateway.doors.asgi import check_body_headers
from gateway.doors.hang_up import HangUp
from gateway.doors.head import HEAD_MAX_BYTES, KnownHead, RequestHead, to_wire_too_large
from gateway.edge.wire import to_wire_error, to_wire_error_event
from gateway.errors import GatewayError, RequestTooLarge
from gateway.journey import Journey
from gateway.keys.address import Address, Proxies
from gateway.meter.endpoint import Endpoint
from gateway.trip import ClientGone

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CHUNKED = b"transfer-encoding: chunked\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"
_LINE = "%s: %s\r\n".__mod__
"""Of a name and a value, in C."""
_JSON = {"content-type": "application/json"}


class InferenceProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with a door for metered calls. Subclassed by `protocol_of`, which names the journey."""

    journey: Journey
    metered: Mapping[bytes, Endpoint]
    body_max_bytes: int
    proxies: Proxies
    leaving: ClassVar[bool] = False
    """This process serves on for a while, and each answer tells its client to close the connection."""
    _quiet_since_s: float | None = None
    """Since when the client owes the head of a request, or the rest of it; None while it owes none."""
    _head_bytes = 0
    _head_open = False
    """Has a head begun that is not whole yet?"""
    _between = True
    """Has every request so far come to its end, with nothing of another behind it?"""
    _known: KnownHead | None = None
    _default_lines: ClassVar[tuple[object, bytes]] = (None, b"")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._quiet_since_s = self.loop.time()
        self._look_again_in(self.timeout_keep_alive)

    # ---- requests -----------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if not self._between:
            super().data_received(data)
            if self._head_open:
                self._head_bytes += len(data)
                self._bound_head(self._head_bytes)
            return
        cycle, known = self.cycle, self._known
        if known is not None and cycle.response_complete:
            body = known.body_in(data)
            if body is not None and len(body) <= self.body_max_bytes and not self.transport.is_closing():
                self._quiet_since_s = None
                call = InferenceCycle(self, known.head, body)
                self.cycle = call  # type: ignore[assignment]
                call.begin()
                return
        super().data_received(data)
        if self._head_open:
            self._head_bytes += len(data)
            self._bound_head(self._head_bytes)
        if self._between and self.cycle is not cycle and isinstance(self.cycle, InferenceCycle):
            self._known = KnownHead.of(data, self.cycle.head)

    def on_message_begin(self) -> None:
        self._between = False
        self._head_open, self._head_bytes = True, 0
        self._quiet_since_s = self.loop.time()
        # The ASGI scope is built only for requests that go on to ASGI.
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        self._head_open, self._quiet_since_s = False, None
        if self._bound_head(sum([len(name) + len(value) for name, value in self.headers])):
            return
        endpoint = self.metered.get(self.url)
        if endpoint is None or self.parser.get_method() != b"POST" or self.parser.should_upgrade():
            self._go_on_to_asgi()
            return
        before = self.cycle
        keep_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        head = RequestHead(endpoint, self.headers, keep_alive=keep_alive, expects_100=self.expect_100_continue)
        cycle = InferenceCycle(self, head)
        self.cycle = cycle  # type: ignore[assignment]
        if before is None or before.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))  # type: ignore[arg-type]

    def on_message_complete(self) -> None:
        self._between = True
        super().on_message_complete()

    def _bound_head(self, head_bytes: int) -> bool:
        """Refuse a head beyond the bound, and hear no more of this connection: True where it was."""
        if head_bytes <= HEAD_MAX_BYTES:
            return False
        self._head_open = False
        if not self.transport.is_closing():
            self.transport.write(to_wire_too_large())
            self.transport.close()
        return True

    def _go_on_to_asgi(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()  # builds the scope
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if not isinstance(cycle, InferenceCycle):
            super()._start_asgi_task(cycle, app)
            return
        cycle.begin()

    def default_lines(self) -> bytes:
        """The headers that every answer has (`date`); the server makes them anew once a second, we write them out as often."""
        kept, lines = self._default_lines
        fields = self.server_state.default_headers
        if kept is not fields:
            lines = b"".join([b"%b: %b\r\n" % field for field in fields if field[0] != b"connection"])
            InferenceProtocol._default_lines = (fields, lines)
        return lines

    # ---- keep-alive, as uvicorn's, but for its timer: it is looked at when it fires, not cancelled with every request ----------

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._quiet_since_s = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._look_again_in(self.timeout_keep_alive)

    def _look_again_in(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def _unset_keepalive_if_required(self) -> None:
        """Not by any byte that comes: the clock runs until a head is whole, else one byte a minute would keep a connection."""

    def timeout_keep_alive_handler(self) -> None:
        answering = self.cycle is not None and not self.cycle.response_complete
        since_s = None if answering else self._quiet_since_s
        quiet_s = 0.0 if since_s is None else self.loop.time() - since_s
        if quiet_s < self.timeout_keep_alive:
            self._look_again_in(self.timeout_keep_alive - quiet_s)
        else:
            super().timeout_keep_alive_handler()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
        for cycle in (self.cycle, *(waiting for waiting, _ in self.pipeline)):
            if isinstance(cycle, InferenceCycle):
                cycle.hang_up()
        super().connection_lost(exc)


def protocol_of(
    journey: Journey, metered: Mapping[str, Endpoint], body_max_bytes: int, proxies: Proxies
) -> type[InferenceProtocol]:
    """A protocol class for `uvicorn.Config(http=…)` that carries metered calls through a journey."""
    members = {
        "journey": journey,
        "metered": {path.encode(): endpoint for path, endpoint in metered.items()},
        "body_max_bytes": body_max_bytes,
        "proxies": proxies,
    }
    return type("MeteredProtocol", (InferenceProtocol,), members)


def tell_leaving(door: type[asyncio.Protocol] | str) -> None:
    """From now on each answer of this door (`fast_door`) says `connection: close`."""
    if not isinstance(door, str) and issubclass(door, InferenceProtocol):
        door.leaving = True


class InferenceCycle:
    """One metered request, from its headers to the last byte of its answer. In place of uvicorn's `RequestResponseCycle`."""

    task: asyncio.Task[None] | None = None
    started = False
    _head: bytes | None = None
    _chunked = False
    _cancel: Callable[[], None] | None = None
    # What uvicorn's protocol looks for in a cycle, and writes into it:
    disconnected = False
    response_complete = False
    more_body = False

    def __init__(self, protocol: InferenceProtocol, head: RequestHead, whole_body: bytes | None = None) -> None:
        self.head = head
        self.endpoint, self.secret, self.content_type = head.endpoint, head.secret, head.content_type
        self.idempotency_key, self.secret_hash = head.idempotency_key, head.secret_hash
        self.keep_alive = head.keep_alive
        self.whole_body = whole_body
        self._protocol = protocol
        self._transport: asyncio.Transport = protocol.transport
        self._flow: FlowControl = protocol.flow
        if whole_body is None:
            self.more_body, self.body, self.message_event = True, bytearray(), _Bell()
        else:
            self.message_event = _UNHEARD

    def begin(self) -> None:
        """Carry the call in a task, for which the server waits when it stops."""
        protocol = self._protocol
        self.task = task = protocol.loop.create_task(protocol.journey.carry(self))
        protocol.tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """The call was carried: where that went wrong, the client is told so once, or is left without an end."""
        self._protocol.tasks.discard(task)
        if self.response_complete:
            return
        if not self.started and not self.disconnected:
            error = GatewayError("Something went wrong inside the gateway. It has been logged.")
            self._answer(error.status, _JSON, to_wire_error(error, self.endpoint.wire.name))
        else:
            self._transport.close()

    # ---- the request --------------------------------------------------------------------------------------------------------

    def address(self) -> Address | None:
        peer = self._protocol.client
        return self._protocol.proxies.caller_address(peer[0] if peer else None, self.head.headers)

    def header(self, name: bytes) -> bytes | None:
        return next((value for known, value in self.head.headers if known == name), None)

    async def read_body(self) -> bytes:
        """The whole body; raises `RequestTooLarge` before holding more than the bound and one read."""
        if self.whole_body is not None:
            return self.whole_body
        body_max_bytes = self._protocol.body_max_bytes
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
        lines = "".join(map(_LINE, headers.items()))
        if self._protocol.leaving:
            self.keep_alive = False
        if "connection" in headers:
            self.keep_alive = False
        elif not self.keep_alive:
            lines += "connection: close\r\n"
        return STATUS_LINE[status] + self._protocol.default_lines() + lines.encode("latin-1", "replace") + end

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
        self._protocol.on_response_complete()

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
